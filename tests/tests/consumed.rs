//! `indexer consume`: a host without an index has all that others publish, however often it is killed; equal files are found across
//! indexers; what nobody can use is put aside with the reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexer_tests::{
    AMQPValue, Daemon, Follower, Ground, Place, Rng, Subscriber, Workload, broker_url, find_json, indexer,
    indexer_binary, json_lines, stderr, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One exchange, and who is at it.
struct Here {
    url: String,
    exchange: String,
    folder: PathBuf,
    subscriber: Subscriber,
}

impl Here {
    fn new(ground: &Ground, name: &str) -> Here {
        let url = broker_url();
        let exchange = format!("{name}-{}", std::process::id());
        let subscriber = Subscriber::new(&url);
        Here { url, exchange, folder: ground.beside("replica"), subscriber }
    }

    fn queue(&self) -> String {
        format!("{}.q", self.exchange)
    }

    fn daemon(&self, state: &Path, root: &Path, flags: &[&str]) -> Daemon {
        Daemon::publishing(state, root, &self.exchange, &self.url, flags)
    }

    fn command(&self, state: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(indexer_binary());
        command.env_remove("INDEXER_CONFIG").env("XDG_CONFIG_HOME", &self.folder).stdin(Stdio::null());
        command.env("INDEXER_AMQP_URL", &self.url).arg("--state").arg(state).args(arguments);
        command
    }

    /// A consumer that runs.
    fn consume(&self, what: &str) -> Command {
        let queue = self.queue();
        self.command(
            &self.folder,
            &["consume", what, "--json", "--queue", &queue, "--exchange", &self.exchange],
        )
    }

    /// Waits until somebody reads, when the queue is bound, too.
    fn wait_read(&self) {
        wait_for("a reader", || self.subscriber.waiting(&self.queue()).filter(|(_, readers)| *readers > 0));
    }

    /// Runs a consumer until nothing waits for it, and asks it to leave.
    fn drain(&self, what: &str) -> String {
        // One that was killed is gone when the broker says so.
        wait_for("nobody to read", || {
            let told = self.subscriber.waiting(&self.queue());
            told.is_none_or(|(_, readers)| readers == 0).then_some(())
        });
        let consumer = self.consume(what).stdout(Stdio::piped()).spawn().unwrap();
        wait_for("the queue to be empty", || {
            let (messages, readers) = self.subscriber.waiting(&self.queue())?;
            (messages == 0 && readers > 0).then_some(())
        });
        kill_process(Pid::from_child(&consumer), Signal::TERM).unwrap();
        let said = consumer.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", said.status);
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// What the replica says of itself.
    fn asked(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<&dyn AsRef<OsStr>> =
            arguments.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        let said = indexer(&self.folder, &arguments);
        assert!(matches!(said.status.code(), Some(0 | 1)), "{}: {}", said.status, stderr(&said));
        json_lines(&said)
    }

    fn status(&self) -> Vec<Value> {
        self.asked(&["consume", "snapshot", "--status", "--json"])
    }

    fn replay(&self, state: &Path) {
        let config = state.with_extension("toml");
        let flags = ["--config", config.to_str().unwrap(), "replay", "--as-reads"];
        let said = self.command(state, &flags).output().unwrap();
        assert!(said.status.success(), "replay: {}", stderr(&said));
    }

    /// Drains until the replica has all that `daemon` knows.
    fn catch_up(&self, daemon: &Daemon, what: &str) -> String {
        daemon.settle();
        wait_for("all to be published", || (daemon.status()["amqp"]["lag"] == 0).then_some(()));
        let mut said = String::new();
        wait_for("the replica to have it", || {
            said += &self.drain(what);
            let status = self.status();
            let epoch = daemon.status()["epoch"].clone();
            let of = status.iter().find(|source| source["epoch"] == epoch)?;
            (of["watermark"] == daemon.seq() && of["complete"] == true).then_some(())
        });
        said
    }
}

/// What `find` says of each path, and what the replica says.
fn both(here: &Here, daemon: &Daemon, root: &Path) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let whole = |value: &Value| value["path_raw"].as_str().or(value["path"].as_str()).unwrap().to_owned();
    let said = daemon.run(&[&"find", &root, &"--json"]);
    let found = json_lines(&said).into_iter().map(|value| (whole(&value), value)).collect();
    let mut held = BTreeMap::new();
    for mut value in here.asked(&["consume", "snapshot", "--list", "--json"]) {
        for beside in ["source", "host", "seq"] {
            assert!(value.as_object_mut().unwrap().remove(beside).is_some());
        }
        assert!(held.insert(whole(&value), value).is_none(), "a path comes twice");
    }
    (found, held)
}

#[test]
fn killed_again_and_again_the_replica_is_what_the_index_is() {
    let ground = Place::Here.open().unwrap();
    let (root, here) = (ground.root(), Here::new(&ground, "snapshot"));
    fs::create_dir(root.join("old")).unwrap();
    fs::write(root.join("old/file"), "there before").unwrap();
    fs::hard_link(root.join("old/file"), root.join("other name")).unwrap();
    let daemon = here.daemon(&ground.state(), root, &[]);
    let mut rng = Rng::new(5);
    for round in 0..8 {
        let consumer = Follower::of(here.consume("snapshot"));
        if round == 0 {
            here.wait_read();
        }
        Workload { seed: round, threads: 2 }.run_operations(root, 150 + rng.below(300));
        if round == 2 {
            // A replay in the middle of all that.
            daemon.settle();
            here.replay(&ground.state());
        }
        // SIGKILL, wherever it is.
        drop(consumer);
    }
    assert!(!find_json(&daemon, root).is_empty());
    here.catch_up(&daemon, "snapshot");
    let (found, held) = both(&here, &daemon, root);
    let wrong: Vec<_> = found.iter().filter(|(path, entry)| held.get(*path) != Some(entry)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {:?} is {:?}",
        wrong.len(),
        found.len(),
        wrong[0],
        held.get(wrong[0].0)
    );
    assert_eq!(held.len(), found.len());
    assert!(found.len() > 20, "there is something to compare: {}", found.len());
    // Renaming a directory is one record, and takes all below along.
    let dir = root.join("tree");
    fs::create_dir_all(dir.join("x/y")).unwrap();
    fs::write(dir.join("x/y/z"), "z").unwrap();
    here.catch_up(&daemon, "snapshot");
    fs::rename(&dir, root.join("moved")).unwrap();
    here.catch_up(&daemon, "snapshot");
    let (found, held) = both(&here, &daemon, root);
    assert!(held.contains_key(root.join("moved/x/y/z").to_str().unwrap()));
    assert_eq!(held, found);
}

#[test]
fn equal_files_of_two_indexers_are_found_and_dissolve() {
    let ground = Place::Here.open().unwrap();
    let (one, here) = (ground.root().to_owned(), Here::new(&ground, "equal"));
    let two = ground.beside("two");
    fs::create_dir(&two).unwrap();
    fs::write(one.join("film"), vec![b'f'; 50_000]).unwrap();
    fs::write(two.join("copy"), vec![b'f'; 50_000]).unwrap();
    fs::hard_link(two.join("copy"), two.join("same file")).unwrap();
    fs::write(two.join("other"), vec![b'o'; 50_000]).unwrap();
    let states = [ground.beside("state-1"), ground.beside("state-2")];
    let flags = ["--hash", "full"];
    let first = here.daemon(&states[0], &one, &flags);
    // In batches: both forms are read.
    let second = here.daemon(&states[1], &two, &["--hash", "full", "--amqp-format", "arrow"]);
    // The queue is made by who reads from it.
    let consumer = Follower::of(here.consume("duplicates"));
    here.wait_read();
    drop(consumer);
    for (daemon, state) in [(&first, &states[0]), (&second, &states[1])] {
        wait_for("the digests", || {
            daemon.settle();
            let files = daemon.ask(&[&"find", &"--type", &"file"]);
            files.iter().all(|file| file["digest"].is_string()).then_some(())
        });
        here.replay(state);
    }
    let mut said = here.catch_up(&first, "duplicates");
    said += &here.catch_up(&second, "duplicates");
    let host = first.status()["amqp"]["broker"].is_string();
    assert!(host);
    let came: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(came.iter().any(|change| change["event"] == "came" && change["copies"] == 2), "{said}");
    let sets = here.asked(&["consume", "duplicates", "--list", "--json"]);
    let [set] = &sets[..] else { panic!("{sets:?}") };
    assert_eq!((set["copies"].as_u64(), set["wasted"].as_u64()), (Some(2), Some(50_000)));
    let paths: Vec<&str> =
        set["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&one.join("film").to_str().unwrap()), "{paths:?}");
    assert!(paths.iter().any(|path| path.starts_with(two.to_str().unwrap())), "{paths:?}");
    fs::write(two.join("copy"), "something else").unwrap();
    wait_for("the digest", || {
        second.settle();
        let files = second.ask(&[&"find", &"--name", &"copy"]);
        (files[0]["size"] == 14 && files[0]["digest"].is_string()).then_some(())
    });
    let said = here.catch_up(&second, "duplicates");
    assert!(said.contains("dissolved"), "{said}");
    assert!(here.asked(&["consume", "duplicates", "--list", "--json"]).is_empty());
}

#[test]
fn what_nobody_can_use_is_put_aside_with_the_reason() {
    let ground = Place::Here.open().unwrap();
    let (root, here) = (ground.root(), Here::new(&ground, "poison"));
    let daemon = here.daemon(&ground.state(), root, &[]);
    let consumer = Follower::of(here.consume("snapshot"));
    here.wait_read();
    drop(consumer);
    fs::write(root.join("before"), "1").unwrap();
    daemon.settle();
    let escape = r#"{"op":"c","ts_ms":1,"before":null,"after":{"path":"/srv/../etc/passwd","kind":"file","size":5,"allocated":8,
        "modified_ns":1,"changed_ns":1,"created_ns":null,"accessed_ns":0,"mode":420,"uid":0,"gid":0,"links":1,"inode":42,"volume":1,
        "category":null,"digest":null},"source":{"version":"0","connector":"indexer","name":"/indexer/nas","host":"nas","ts_ms":1,
        "ts_ns":1,"epoch":"0123456789abcdef0123456789abcdef","seq":7,"root":"/srv","root_id":1,"how":"sweep"},
        "change":{"verb":"created","complete":true}}"#;
    let poison: [(&str, Vec<u8>, &str); 4] = [
        ("fs.v1.r1.file.created.p00", b"\x00\xffgarbage".to_vec(), "no body of the schema v1"),
        ("fs.v1.r1.file.created.p01", vec![b'x'; 3 << 20], "bytes"),
        ("fs.v1.r1.file.created.p02", escape.as_bytes().to_vec(), "no name"),
        ("fs.v1.r1.file.created.p03", b"{}".to_vec(), "no body of the schema v1"),
    ];
    for (key, body, _) in &poison {
        here.subscriber.publish(&here.exchange, key, body);
    }
    fs::write(root.join("after"), "2").unwrap();
    daemon.settle();
    here.replay(&ground.state());
    here.catch_up(&daemon, "snapshot");
    let (found, held) = both(&here, &daemon, root);
    assert_eq!(held, found, "all others were handled");
    let dead = format!("{}.dead", here.queue());
    let mut left = poison.len();
    let taken = here.subscriber.take_until(&dead, |_| {
        left -= 1;
        left == 0
    });
    for (key, body, why) in poison {
        let of = |name: &str| {
            taken.iter().find(|one| one.data == body).and_then(|one| {
                match one.properties.headers().as_ref()?.inner().get(name)? {
                    AMQPValue::LongString(text) => Some(text.to_string()),
                    _ => None,
                }
            })
        };
        assert_eq!(of("indexer-key").as_deref(), Some(key));
        assert!(of("indexer-why").unwrap().contains(why), "{:?}", of("indexer-why"));
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let ground = Place::Here.open().unwrap();
    let here = Here::new(&ground, "refused");
    // A queue of that name with other arguments.
    here.subscriber.declare(&here.queue());
    let said = here.consume("snapshot").output().unwrap();
    let why = stderr(&said);
    assert_eq!(said.status.code(), Some(3), "{why}");
    assert!(why.contains("other arguments") && why.contains(&here.queue()), "{why}");
    let wrong = here.url.replace("guest:guest", "guest:hunter2");
    let said = here.consume("snapshot").args(["--amqp", &wrong]).output().unwrap();
    let why = stderr(&said);
    assert_eq!(said.status.code(), Some(3), "{why}");
    assert!(why.contains("ACCESS_REFUSED") && why.contains("rights") && !why.contains("hunter2"), "{why}");
    let none = here.consume("snapshot").env_remove("INDEXER_AMQP_URL").output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    assert!(stderr(&none).contains("--amqp"), "{}", stderr(&none));
}
