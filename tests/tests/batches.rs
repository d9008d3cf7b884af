//! A daemon that publishes batches of columns: pyarrow reads them, and the numbers that arrive are those of the journal, however often broker,
//! daemon and reader are killed; the consumers of ours keep from them what the index has. It could break by a cursor that moves over a
//! batch that is not confirmed, by a record that stands between two batches, by columns that others read otherwise.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brokers::Broker;
use indexer_tests::{
    Daemon, Follower, Ground, Place, Rng, Skipped, Subscriber, broker_url, indexer, indexer_binary,
    json_lines, need_tool, skipped, stderr, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const ARROW: [&str; 2] = ["--amqp-format", "arrow"];

/// Python with what reads a batch.
struct Python {
    program: PathBuf,
    packages: PathBuf,
}

impl Python {
    fn bring(ground: &Ground) -> Result<Python, Skipped> {
        let program = need_tool("python3", "python3-pip")?;
        let packages = ground.beside("packages");
        let mut install = Command::new(&program);
        install.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&packages);
        let done = install.args(["pika==1.3.2", "pyarrow"]).output();
        let done = done.map_err(|error| Skipped(format!("pip: {error}")))?;
        if !done.status.success() {
            return Err(Skipped(format!("pip: {}", stderr(&done))));
        }
        Ok(Python { program, packages })
    }

    /// The subscriber of `deploy/examples`, reading.
    fn listen(&self, url: &str, exchange: &str) -> Follower {
        let example =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/examples/batches.py");
        let mut command = Command::new(&self.program);
        command.arg(example).arg(exchange).env("PYTHONPATH", &self.packages);
        command.env("AMQP_URL", url).env("INDEXER_EXCHANGE", exchange);
        let lines = Follower::of(command);
        let (_, first) = lines.next_line(Duration::from_secs(60)).unwrap();
        assert_eq!(first, "listening");
        lines
    }
}

/// What the subscriber printed, by seq.
#[derive(Default)]
struct Heard(BTreeMap<u64, (String, String)>);

impl Heard {
    /// Takes lines up to that of the record `last`, or as long as there are some.
    fn take(&mut self, lines: &Follower, last: Option<u64>) {
        let until = Instant::now() + Duration::from_secs(100);
        while last.is_none_or(|last| !self.0.contains_key(&last)) {
            let left = if last.is_some() {
                until.saturating_duration_since(Instant::now())
            } else {
                Duration::from_millis(300)
            };
            let Some((_, line)) = lines.next_line(left) else {
                assert!(last.is_none(), "{last:?} never came");
                return;
            };
            self.note(&line);
        }
    }

    /// Ends the reader and takes all that it said: what it acknowledged does not come again.
    fn take_the_rest(&mut self, mut lines: Follower) {
        lines.kill9();
        while let Some((_, line)) = lines.next_line(Duration::from_secs(100)) {
            self.note(&line);
        }
    }

    fn note(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let seq = words.next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?}"));
        let is = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let before = self.0.insert(seq, is.clone());
        assert!(before.is_none_or(|before| before == is), "{seq} is two records");
    }
}

fn journal(daemon: &Daemon) -> BTreeMap<u64, (String, String)> {
    let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let one = |record: &Value| (record["seq"].as_u64().unwrap(), (word(record, "op"), word(record, "path")));
    daemon.changes(0).iter().map(one).collect()
}

fn amqp(daemon: &Daemon) -> Value {
    daemon.status()["amqp"].clone()
}

#[test]
fn pyarrow_reads_every_record_though_broker_daemon_and_reader_are_killed() {
    let ground = Place::Here.open().unwrap();
    let python = match Python::bring(&ground) {
        Ok(python) => python,
        Err(reason) => return skipped(reason),
    };
    let (root, mut broker, mut rng) = (ground.root(), Broker::start(), Rng::new(5));
    let url = broker.url();
    let begin = || Daemon::publishing(&ground.state(), root, "batches", &url, &ARROW);
    let mut daemon = begin();
    let mut lines = python.listen(&url, "batches");
    broker.keeps("batches");
    let (mut heard, mut made) = (Heard::default(), 0);
    for round in 0..9u64 {
        for _ in 0..(200 + rng.below(800)) {
            fs::write(root.join(format!("{made:06} ü")), format!("{round}")).unwrap();
            made += 1;
        }
        match round % 3 {
            0 => {
                broker.kill();
                broker.run();
                // The reader noticed, and says why.
                heard.take(&lines, None);
                heard.take_the_rest(lines);
                lines = python.listen(&url, "batches");
            }
            1 => {
                let some = rng.below(4);
                wait_for("some batches", || (amqp(&daemon)["confirmed"].as_u64()? >= some).then_some(()));
                daemon.kill9();
                daemon = begin();
            }
            _ => {
                heard.take(&lines, None);
                heard.take_the_rest(lines);
                lines = python.listen(&url, "batches");
            }
        }
    }
    fs::write(root.join("the last"), "x").unwrap();
    daemon.settle();
    wait_for("all to be published", || (amqp(&daemon)["lag"] == 0).then_some(()));
    let journal = journal(&daemon);
    heard.take(&lines, journal.keys().last().copied());
    // What was published before anybody was bound is not there.
    let first = *heard.0.keys().next().unwrap();
    let left_out: Vec<&u64> =
        journal.range(first..).map(|(seq, _)| seq).filter(|seq| !heard.0.contains_key(seq)).collect();
    assert!(first <= 2 && left_out.is_empty(), "from {first} on: {left_out:?} of {}", journal.len());
    let wrong: BTreeSet<&u64> =
        heard.0.iter().filter(|(seq, is)| journal.get(seq) != Some(is)).map(|(seq, _)| seq).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let batches = amqp(&daemon)["confirmed"].as_u64().unwrap();
    eprintln!("{} records, {made} files; since the daemon began last {batches} batches", journal.len());
    daemon.assert_exact(root);
}

/// A consumer of ours that runs until its queue is empty, and is asked to leave.
fn drain(what: &[&str], state: &Path, (url, exchange, queue): (&str, &str, &str)) {
    let mut command = Command::new(indexer_binary());
    command.env_remove("INDEXER_CONFIG").env("INDEXER_AMQP_URL", url).arg("--state").arg(state);
    command.args(["consume"]).args(what).args(["--queue", queue, "--exchange", exchange]);
    let consumer = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let subscriber = Subscriber::new(url);
    wait_for("the queue to be empty", || {
        let (messages, readers) = subscriber.waiting(queue)?;
        (messages == 0 && readers > 0).then_some(())
    });
    kill_process(Pid::from_child(&consumer), Signal::TERM).unwrap();
    let said = consumer.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", said.status);
}

#[test]
fn a_replica_is_what_the_index_is_and_garbage_is_put_aside() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    let (root, state) = (ground.root(), ground.beside("replica"));
    let exchange = format!("columnar-{}", std::process::id());
    let queue = format!("{exchange}.q");
    let here = (url.as_str(), exchange.as_str(), queue.as_str());
    fs::create_dir(root.join("old")).unwrap();
    let daemon = Daemon::publishing(&ground.state(), root, &exchange, &url, &ARROW);
    drain(&["snapshot"], &state, here);
    let config = ground.state().with_extension("toml");
    let replay = || {
        let mut command = Command::new(indexer_binary());
        command.env("INDEXER_AMQP_URL", &url).arg("--state").arg(ground.state()).arg("--config").arg(&config);
        let said = command.args(["replay", "--as-reads"]).output().unwrap();
        assert!(said.status.success(), "{}", stderr(&said));
    };
    replay();
    for nth in 0..300 {
        fs::write(root.join(format!("old/{nth}")), vec![b'x'; nth]).unwrap();
    }
    daemon.settle();
    fs::rename(root.join("old"), root.join("new")).unwrap();
    fs::hard_link(root.join("new/7"), root.join("seven")).unwrap();
    for nth in 100..200 {
        fs::remove_file(root.join(format!("new/{nth}"))).unwrap();
    }
    daemon.settle();
    wait_for("all to be published", || (amqp(&daemon)["lag"] == 0).then_some(()));
    let subscriber = Subscriber::new(&url);
    let arrow = "application/vnd.apache.arrow.stream";
    subscriber.publish_as(arrow, &exchange, "fs.v1.r1.any.batch.pall", b"garbage");

    let told = |arguments: &[&str]| -> Vec<Value> {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        json_lines(&indexer(&state, &arguments))
    };
    // What a consumer had in hand when it was asked to leave goes back.
    wait_for("the replica to have it", || {
        drain(&["snapshot"], &state, here);
        let status = told(&["consume", "snapshot", "--status", "--json"]);
        (status[0]["watermark"] == daemon.seq() && status[0]["complete"] == true).then_some(())
    });
    let path = |value: &Value| value["path"].as_str().unwrap().to_owned();
    let held: BTreeMap<String, Value> = told(&["consume", "snapshot", "--list", "--json"])
        .into_iter()
        .map(|mut value| {
            for beside in ["source", "host", "seq"] {
                assert!(value.as_object_mut().unwrap().remove(beside).is_some());
            }
            (path(&value), value)
        })
        .collect();
    let found: BTreeMap<String, Value> = json_lines(&daemon.run(&[&"find", &root, &"--json"]))
        .into_iter()
        .map(|value| (path(&value), value))
        .collect();
    assert!(held.len() > 200 && held == found, "{} held, {} found", held.len(), found.len());
    let dead = subscriber.take_until(&format!("{queue}.dead"), |_| true);
    assert_eq!(dead[0].data, b"garbage");
}
