//! `indexer replay`: a subscriber that begins with nothing has all that is there, whatever changes meanwhile, and is not told of an end
//! that was none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use indexer_tests::{
    AMQPValue, Daemon, Delivery, Ground, Place, Subscriber, broker_url, independent_walk, indexer,
    indexer_binary, json_lines, stderr, wait_for,
};
use record::wire::message::Message;
use record::wire::v1;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A configuration file that names a broker and an exchange.
fn config(ground: &Ground, url: &str, exchange: &str) -> PathBuf {
    let path = ground.beside(&format!("{exchange}.toml"));
    fs::write(&path, format!("[amqp]\nurl = {url:?}\nexchange = {exchange:?}\n")).unwrap();
    path
}

fn message(delivery: &Delivery) -> Message {
    serde_json::from_slice(&delivery.data).unwrap()
}

/// Files, directories, links of both kinds, a name that is no text.
fn fill(root: &Path) {
    for dir in ["x", "x/y", "z"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        for number in 0..40 {
            fs::write(root.join(dir).join(format!("{number}")), vec![b'x'; number]).unwrap();
        }
    }
    fs::hard_link(root.join("x/3"), root.join("z/three")).unwrap();
    fs::hard_link(root.join("x/3"), root.join("3")).unwrap();
    std::os::unix::fs::symlink("x/3", root.join("link")).unwrap();
    fs::write(root.join(OsString::from_vec(b"torn\xff".to_vec())), "x").unwrap();
}

fn path_of(entry: &v1::Entry) -> PathBuf {
    let bytes = v1::bytes_of(&entry.path, entry.path_raw.as_deref()).unwrap();
    PathBuf::from(OsStr::from_bytes(&bytes))
}

fn is_of_replay(message: &Message) -> bool {
    ["read", "replay_begun", "replay_ended"].contains(&message.change.verb.as_str())
}

/// The only object that a replay printed.
fn summary(said: &Output) -> Value {
    assert!(said.status.success(), "{}", stderr(said));
    let lines = json_lines(said);
    assert_eq!(lines.len(), 1);
    lines[0].clone()
}

/// What a replay of `root` says has to be what a walk finds: each entry once, between the two words.
fn check(messages: &[Message], root: &Path, as_of: u64) {
    let of_root: Vec<&Message> =
        messages.iter().filter(|message| Path::new(&message.source.root) == root).collect();
    assert!(of_root.iter().all(|message| message.source.seq == as_of), "one moment");
    let verb = |message: &Message| message.change.verb.clone();
    let (first, rest) = of_root.split_first().unwrap();
    let (last, entries) = rest.split_last().unwrap();
    assert_eq!((verb(first).as_str(), verb(last).as_str()), ("replay_begun", "replay_ended"));
    assert_eq!(last.change.entries, Some(entries.len() as u64));
    assert_eq!(last.change.path.as_deref(), root.to_str());
    let walk = independent_walk(root);
    let walked: BTreeSet<u64> = walk.values().map(|stat| stat.inode).collect();
    let told: BTreeSet<u64> = entries.iter().map(|message| message.after.as_ref().unwrap().inode).collect();
    assert_eq!((told.len(), &told), (entries.len(), &walked), "each once");
    for message in entries {
        assert_eq!((message.op.as_str(), message.before.is_none()), ("r", true));
        let after = message.after.as_ref().unwrap();
        let path = path_of(after);
        let stat = &walk[path.as_os_str().as_bytes()];
        assert_eq!(
            (stat.inode, stat.size, stat.kind),
            (after.inode, after.stat.size, after.stat.kind.as_str())
        );
        let names = walk.values().filter(|other| other.inode == after.inode).count();
        assert_eq!(message.change.names.len(), if names > 1 { names } else { 0 }, "{}", path.display());
    }
}

/// A replica as docs/amqp.md tells how to keep one: the seq of each entry, and tombstones until the replay ends.
#[derive(Default)]
struct Replica {
    entries: BTreeMap<u64, (u64, Option<v1::Entry>)>,
    named: BTreeSet<u64>,
}

impl Replica {
    fn apply(&mut self, message: &Message) {
        let seq = message.source.seq;
        match (message.op.as_str(), message.change.verb.as_str()) {
            ("m", "replay_begun") => self.named.clear(),
            ("m", "replay_ended") => {
                let named = std::mem::take(&mut self.named);
                self.entries
                    .retain(|inode, (held, entry)| *held > seq || entry.is_some() && named.contains(inode));
            }
            ("m", _) => {}
            (op, _) => {
                let entry = message.after.as_ref().or(message.before.as_ref()).unwrap();
                if op == "r" {
                    self.named.insert(entry.inode);
                }
                let held = self.entries.get(&entry.inode).map_or(0, |(held, _)| *held);
                if seq > held {
                    self.entries.insert(entry.inode, (seq, message.after.clone()));
                }
            }
        }
    }
}

#[test]
fn a_replay_tells_all_there_is_while_the_daemon_publishes_and_without_one() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    let (still, busy) = (ground.root().join("still"), ground.root().join("busy"));
    for root in [&still, &busy] {
        fs::create_dir(root).unwrap();
        fill(root);
    }
    let exchange = format!("replays-{}", std::process::id());
    let config = config(&ground, &url, &exchange);
    let flags = ["--config", config.to_str().unwrap()];
    let mut daemon = Daemon::start(&ground.state(), &[&still, &busy], &flags);
    let amqp = |daemon: &Daemon| daemon.status()["amqp"].clone();
    wait_for("all to be published", || {
        let amqp = amqp(&daemon);
        (amqp["lag"] == 0 && amqp["state"] == "publishing").then_some(())
    });
    // Somebody begins here, and knows nothing of what was before.
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let stop = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let path = busy.join("x").join(format!("{}", number % 60));
                match number % 5 {
                    0 => drop(fs::remove_file(&path)),
                    1 => drop(fs::rename(&path, busy.join("z").join(format!("moved {}", number % 7)))),
                    _ => fs::write(&path, vec![b'y'; (number % 97) as usize]).unwrap(),
                }
            }
        });
        let from = daemon.seq();
        wait_for("changes", || (daemon.seq() > from + 100).then_some(()));
        let told = summary(&daemon.run(&[&"replay", &"--as-reads", &"--json", &"--config", &config]));
        let during = daemon.seq();
        wait_for("more changes", || (daemon.seq() > during + 100).then_some(()));
        stop.store(true, Ordering::Relaxed);
        told
    });
    fs::write(busy.join("the last"), "x").unwrap();
    daemon.settle();
    wait_for("all to be published", || (amqp(&daemon)["lag"] == 0).then_some(()));
    let last = daemon.seq();
    let (mut replica, mut taken, mut ends) = (Replica::default(), Vec::new(), 0);
    let mut at_end = false;
    let deliveries = subscriber.take_until(&exchange, |one| {
        let message = message(one);
        ends += u32::from(message.change.verb == "replay_ended");
        at_end |= message.source.seq == last && !is_of_replay(&message);
        at_end && ends == 2
    });
    for one in &deliveries {
        taken.push(message(one));
        if message(one).source.root == busy.to_str().unwrap() {
            replica.apply(taken.last().unwrap());
        }
    }
    let as_of = told["as_of"].as_u64().unwrap();
    let (reads, stream): (Vec<Message>, Vec<Message>) = taken.into_iter().partition(is_of_replay);
    check(&reads, &still, as_of);
    assert!(
        stream.iter().any(|one| one.source.seq > as_of) && stream.iter().any(|one| one.source.seq <= as_of)
    );
    assert_eq!(told["epoch"], daemon.status()["epoch"]);
    assert_eq!(
        (told["messages"].as_u64(), told["connections"].as_u64()),
        (Some(reads.len() as u64), Some(1))
    );
    let kept: BTreeMap<PathBuf, (u64, u64)> = replica
        .entries
        .values()
        .filter_map(|(_, entry)| entry.as_ref())
        .filter(|entry| entry.stat.kind == "file" && entry.stat.links == 1)
        .map(|entry| (path_of(entry), (entry.inode, entry.stat.size)))
        .collect();
    let there: BTreeMap<PathBuf, (u64, u64)> = independent_walk(&busy)
        .into_iter()
        .filter(|(_, stat)| stat.kind == "file" && stat.links == 1)
        .map(|(path, stat)| (PathBuf::from(OsString::from_vec(path)), (stat.inode, stat.size)))
        .collect();
    assert_eq!(kept, there, "replay and stream together are what is there");

    // Without a daemon: the same, of one root alone, twice with the same ids.
    assert!(daemon.terminate().success());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let arguments: [&dyn AsRef<OsStr>; 7] =
            [&"replay", &"--root", &still, &"--as-reads", &"--json", &"--config", &config];
        let told = summary(&indexer(&ground.state(), &arguments));
        assert_eq!(told["roots"].as_array().unwrap().len(), 1);
        let taken = subscriber.take_until(&exchange, |one| message(one).change.verb == "replay_ended");
        let messages: Vec<Message> = taken.iter().map(message).filter(|one| one.source.seq > as_of).collect();
        check(&messages, &still, told["as_of"].as_u64().unwrap());
        assert_eq!(
            told["epoch"],
            messages[0].source.epoch.as_str(),
            "without a daemon the epoch is the same"
        );
        let of_all = taken.iter().map(|one| one.properties.message_id().as_ref().unwrap().to_string());
        ids.push(of_all.collect::<BTreeSet<_>>());
    }
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn what_cannot_be_replayed_is_said_and_no_end_is_told() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    fill(ground.root());
    let exchange = format!("unended-{}", std::process::id());
    let config = config(&ground, &url, &exchange);
    let scanned = indexer(&ground.state(), &[&"scan", &ground.root()]);
    assert!(scanned.status.success(), "{}", stderr(&scanned));
    let refused = |arguments: &[&dyn AsRef<OsStr>], code: i32, words: &str| {
        let said = indexer(&ground.state(), arguments);
        assert_eq!(said.status.code(), Some(code), "{}", stderr(&said));
        assert!(stderr(&said).contains(words), "{}", stderr(&said));
        assert!(said.stdout.is_empty());
    };
    refused(&[&"replay", &"--config", &config], 2, "indexer replay --as-reads");
    refused(&[&"replay", &"--as-reads"], 2, "no broker is configured");
    refused(&[&"replay", &"--as-reads", &"--root", &"/nowhere", &"--config", &config], 2, "no root");
    let away = ground.beside("away.toml");
    fs::write(&away, "[amqp]\nurl = \"amqp://guest:hunter2@127.0.0.1:1/%2f\"\n").unwrap();
    let patient: [&dyn AsRef<OsStr>; 6] =
        [&"replay", &"--as-reads", &"--config", &away, &"--patience", &"1s"];
    refused(&patient, 3, "nothing was replayed: the broker amqp://127.0.0.1:1/%2f took nothing for 1s");

    // A queue that takes five: it is tried again until somebody stops it.
    let subscriber = Subscriber::new(&url);
    let declared = indexer(&ground.state(), &[&"replay", &"--as-reads", &"--config", &config]);
    assert!(declared.status.success(), "{}", stderr(&declared));
    let limits = [
        ("x-max-length", AMQPValue::LongLongInt(5)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &limits);
    let mut replay = Command::new(indexer_binary())
        .env("XDG_CONFIG_HOME", ground.state())
        .args([OsStr::new("--state"), ground.state().as_os_str(), "replay".as_ref(), "--as-reads".as_ref()])
        .args([OsStr::new("--config"), config.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the queue to be full", || subscriber.waiting(&exchange).filter(|(messages, _)| *messages >= 5));
    kill_process(Pid::from_child(&replay), Signal::INT).unwrap();
    let code = replay.wait().unwrap().code();
    let first = subscriber.take_until(&exchange, |_| true);
    assert_eq!(message(&first[0]).change.verb, "replay_begun");
    let mut said = String::new();
    replay.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the replay is incomplete: it was stopped") && said.contains("no end"), "{said}");
}
