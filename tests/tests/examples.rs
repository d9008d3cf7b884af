//! The subscribers of `deploy/examples` hear what happens on the disk.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use indexer_tests::{Daemon, Follower, Ground, Place, Skipped, broker_url, example, need_tool, skipped};

/// For a line that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/examples")
}

/// Has a package manager bring what a subscriber stands on.
fn bring(mut command: Command) -> Result<(), Skipped> {
    let done = command.output().map_err(|error| Skipped(format!("{command:?}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    Err(Skipped(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr))))
}

fn hears(ground: &Ground, mut subscriber: Command, name: &str) {
    let (url, exchange) = (broker_url(), format!("{name}-{}", std::process::id()));
    let daemon = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);

    subscriber.env("AMQP_URL", &url).env("INDEXER_EXCHANGE", &exchange).args([&exchange, "fs.v1.*.file.#"]);
    let lines = Follower::of(subscriber);
    let until = Instant::now() + PATIENCE;
    let line = |end: &str| loop {
        let left = until.saturating_duration_since(Instant::now());
        let (_, line) = lines.next_line(left).unwrap_or_else(|| panic!("{name} never said {end:?}"));
        if line.ends_with(end) {
            return;
        }
    };
    line("listening");
    let (old, new) = (ground.root().join("old film"), ground.root().join("new film"));
    fs::write(&old, "a film").unwrap();
    daemon.settle();
    fs::rename(&old, &new).unwrap();
    line(&format!("created {}", old.display()));
    line(&format!("renamed {}", new.display()));
}

#[test]
fn the_subscriber_in_rust_hears() {
    let ground = Place::Here.open().unwrap();
    hears(&ground, Command::new(example("publish", "subscribe")), "rust");
}

#[test]
fn the_subscriber_in_python_hears() {
    let ground = Place::Here.open().unwrap();
    let packages = ground.beside("packages");
    let ready = || -> Result<Command, Skipped> {
        let python = need_tool("python3", "python3-pip")?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&packages).arg("pika==1.3.2");
        bring(install)?;
        let mut subscriber = Command::new(python);
        subscriber.arg(examples().join("subscribe.py")).env("PYTHONPATH", &packages);
        Ok(subscriber)
    };
    match ready() {
        Ok(subscriber) => hears(&ground, subscriber, "python"),
        Err(reason) => skipped(reason),
    }
}

#[test]
fn the_subscriber_in_javascript_hears() {
    let ground = Place::Here.open().unwrap();
    let packages = ground.beside("packages");
    let ready = || -> Result<Command, Skipped> {
        let (node, npm) = (need_tool("node", "nodejs")?, need_tool("npm", "npm")?);
        fs::create_dir(&packages).unwrap();
        let mut install = Command::new(npm);
        install.args(["install", "--silent", "--prefix"]).arg(&packages).arg("amqplib@0.10");
        bring(install)?;
        // What a module imports is looked for where it lies.
        let program = packages.join("subscribe.mjs");
        fs::copy(examples().join("subscribe.mjs"), &program).unwrap();
        let mut subscriber = Command::new(node);
        subscriber.arg(program);
        Ok(subscriber)
    };
    match ready() {
        Ok(subscriber) => hears(&ground, subscriber, "javascript"),
        Err(reason) => skipped(reason),
    }
}
