//! `indexer consume alert`: rules on a host without an index tell of every record that they look for, however often they are killed; of
//! several indexers, and of nothing else. It could break by an acknowledgement before the effect, by a cursor that moves before it, by
//! what a replay says, by garbage.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use indexer_tests::{
    AMQPValue, Daemon, Follower, Ground, Place, Rng, Subscriber, broker_url, indexer_binary, stderr, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One exchange, and the host that is told.
struct Here {
    url: String,
    exchange: String,
    folder: PathBuf,
    config: PathBuf,
    subscriber: Subscriber,
}

impl Here {
    fn new(ground: &Ground, name: &str, rules: &str) -> Here {
        let (url, config) = (broker_url(), ground.beside("alerts.toml"));
        let exchange = format!("{name}-{}", std::process::id());
        let subscriber = Subscriber::new(&url);
        fs::write(&config, rules).unwrap();
        Here { url, exchange, folder: ground.beside("inbox"), config, subscriber }
    }

    fn queue(&self) -> String {
        format!("{}.q", self.exchange)
    }

    fn daemon(&self, state: &Path, root: &Path) -> Daemon {
        Daemon::publishing(state, root, &self.exchange, &self.url, &[])
    }

    fn consume(&self) -> Command {
        let mut command = Command::new(indexer_binary());
        command.env("INDEXER_CONFIG", &self.config).env("INDEXER_AMQP_URL", &self.url).stdin(Stdio::null());
        command.arg("--state").arg(&self.folder).args(["consume", "alert", "--exchange", &self.exchange]);
        command.args(["--queue", &self.queue()]);
        command
    }

    fn wait_read(&self) {
        wait_for("a reader", || self.subscriber.waiting(&self.queue()).filter(|(_, readers)| *readers > 0));
    }

    /// One that runs and will be asked to leave.
    fn start(&self) -> Running {
        Running(self.consume().stdout(Stdio::null()).spawn().unwrap())
    }

    fn replay(&self, state: &Path) {
        let mut command = Command::new(indexer_binary());
        command.env("INDEXER_AMQP_URL", &self.url).stdin(Stdio::null()).arg("--state").arg(state);
        command.arg("--config").arg(state.with_extension("toml")).args(["replay", "--as-reads"]);
        let said = command.output().unwrap();
        assert!(said.status.success(), "replay: {}", stderr(&said));
    }
}

/// Killed on drop, if it was not asked to leave before.
struct Running(Child);

impl Running {
    fn leave(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let ended = self.0.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A rule that writes a line a message into a file, in one piece.
fn rule(name: &str, conditions: &str, file: &Path) -> String {
    let (script, file) = ("m=$(cat); printf '%s\\n' \"$m\" >> \"$1\"", file.to_str().unwrap());
    format!(
        "[[alert]]\nname = {name:?}\n{conditions}\nrate = {{ most = 1000, per = \"1s\" }}\n\
         command = [\"/bin/sh\", \"-c\", {script:?}, \"script\", {file:?}]\n"
    )
}

const ALL_OPS: &str = "op = [\"created\", \"modified\", \"attrib\", \"renamed\", \"linked\", \"unlinked\", \"deleted\"]\n\
                       unfinished = true\npath = \"*.film\"";

/// Messages in a file. What a rule that was killed had begun to write to its program is no message.
fn messages(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// Op and path of what was told, by the identity that its message had.
fn told(file: &Path) -> BTreeMap<String, (String, String)> {
    let mut told = BTreeMap::new();
    for message in messages(file) {
        let word =
            |key: &str| message[key].as_str().unwrap_or_else(|| panic!("no {key}: {message}")).to_owned();
        let is = (word("op"), word("path"));
        let before = told.insert(word("origin"), is.clone());
        assert!(before.is_none_or(|before| before == is), "one identity, two records: {message}");
    }
    told
}

/// The same of what a daemon's journal has after `since`, for names that end in `.film`.
fn journal(daemon: &Daemon, since: u64) -> BTreeMap<String, (String, String)> {
    let epoch = daemon.status()["epoch"].as_str().unwrap().to_owned();
    let host = host();
    let mut records = BTreeMap::new();
    for record in daemon.changes(since) {
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        if text("path").ends_with(".film") || text("old_path").ends_with(".film") {
            let id = format!("/indexer/{host}/{epoch}/{}", record["seq"]);
            records.insert(id, (text("op"), text("path")));
        }
    }
    records
}

#[test]
fn killed_again_and_again_every_record_is_told() {
    let ground = Place::Here.open().unwrap();
    let (root, file) = (ground.root(), ground.beside("told"));
    let here = Here::new(&ground, "alerted", &rule("films", ALL_OPS, &file));
    fs::write(root.join("before.film"), "not told").unwrap();
    let daemon = here.daemon(&ground.state(), root);
    // The queue is made by who reads from it.
    let first = Follower::of(here.consume());
    here.wait_read();
    drop(first);
    daemon.settle();
    let since = daemon.seq();
    let mut rng = Rng::new(7);
    for round in 0..8 {
        let (before, consumer) = (told(&file).len(), Follower::of(here.consume()));
        let name = |nth: usize, end: &str| root.join(format!("{round}-{nth}.{end}"));
        for nth in 0..30 {
            fs::write(name(nth, "film"), vec![b'f'; nth]).unwrap();
            fs::write(name(nth, "else"), "nobody asks").unwrap();
        }
        daemon.settle();
        for nth in (0..30).step_by(3) {
            fs::rename(name(nth, "film"), name(nth, "txt")).unwrap();
            fs::remove_file(name(nth + 1, "film")).unwrap();
        }
        daemon.settle();
        if round == 3 {
            here.replay(&ground.state());
        }
        // SIGKILL after some of it was told, wherever it is.
        let some = before + rng.below(40) as usize;
        wait_for("some of it to be told", || (told(&file).len() >= some).then_some(()));
        drop(consumer);
    }
    daemon.settle();
    let expected = journal(&daemon, since);
    assert!(expected.len() > 300, "there is something to tell: {}", expected.len());
    let consumer = here.start();
    wait_for("all of it to be told", || {
        let told = told(&file);
        expected.keys().all(|id| told.contains_key(id)).then_some(())
    });
    wait_for("the queue to be empty", || {
        let (messages, _) = here.subscriber.waiting(&here.queue())?;
        (messages == 0).then_some(())
    });
    consumer.leave();
    assert_eq!(told(&file), expected, "each of them as it is, and nothing else");
    let all = messages(&file);
    let host = host();
    for message in &all {
        assert_eq!(message["host"], host.as_str());
        assert!(message["text"].as_str().unwrap().ends_with(&format!(" on {host}")), "{message}");
        let key = format!("{}/{}/films", message["epoch"].as_str().unwrap(), message["seq"]);
        assert_eq!(message["key"], key.as_str());
    }
    // After an end that was asked for nothing is told again, but perhaps what was in hand when patience ended.
    let consumer = here.start();
    fs::write(root.join("last.film"), "last").unwrap();
    daemon.settle();
    let last = journal(&daemon, since);
    wait_for("the last one to be told", || (told(&file) == last).then_some(()));
    consumer.leave();
    let again = messages(&file).len() - all.len() - (last.len() - expected.len());
    assert!(again <= 1, "{again} are told again");
}

#[test]
fn two_indexers_are_told_apart_and_garbage_is_put_aside() {
    let ground = Place::Here.open().unwrap();
    let (one, two, file) = (ground.root().to_owned(), ground.beside("two"), ground.beside("told"));
    fs::create_dir(&two).unwrap();
    let rules = [
        rule("films", ALL_OPS, &file),
        rule("any", "op = [\"created\", \"seeded\", \"gap\"]\nunfinished = true", &ground.beside("any")),
    ];
    let here = Here::new(&ground, "apart", &rules.concat());
    let states = [ground.beside("state-1"), ground.beside("state-2")];
    // One of them in batches: both forms are read.
    let arrow = ["--amqp-format", "arrow"];
    let second = Daemon::publishing(&states[1], &two, &here.exchange, &here.url, &arrow);
    let daemons = [here.daemon(&states[0], &one), second];
    // The first scans are told of to nobody.
    for daemon in &daemons {
        wait_for("all to be published", || (daemon.status()["amqp"]["lag"] == 0).then_some(()));
    }
    let consumer = here.start();
    here.wait_read();
    let since: Vec<u64> = daemons.iter().map(Daemon::seq).collect();
    fs::write(one.join("same.film"), "one").unwrap();
    fs::write(two.join("same.film"), "two").unwrap();
    for (daemon, state) in daemons.iter().zip(&states) {
        daemon.settle();
        here.replay(state);
    }
    let escape = r#"{"op":"c","ts_ms":1,"before":null,"after":{"path":"/srv/../etc/passwd.film","kind":"file","size":5,"allocated":8,
        "modified_ns":1,"changed_ns":1,"created_ns":null,"accessed_ns":0,"mode":420,"uid":0,"gid":0,"links":1,"inode":42,"volume":1,
        "category":null,"digest":null},"source":{"version":"0","connector":"indexer","name":"/indexer/nas","host":"nas","ts_ms":1,
        "ts_ns":1,"epoch":"0123456789abcdef0123456789abcdef","seq":7,"root":"/srv","root_id":1,"how":"sweep"},
        "change":{"verb":"created","complete":true}}"#;
    let wrong = escape.replace("/../", "/").replace("\"op\":\"c\"", "\"op\":\"d\"");
    let poison: [(&str, Vec<u8>, &str); 4] = [
        ("fs.v1.r1.file.created.p00", b"\x00\xffgarbage".to_vec(), "no body of the schema v1"),
        ("fs.v1.r1.file.created.p01", vec![b'x'; 3 << 20], "bytes"),
        ("fs.v1.r1.file.created.p02", escape.as_bytes().to_vec(), "no name"),
        ("fs.v1.r1.file.created.p03", wrong.into_bytes(), "verb"),
    ];
    for (key, body, _) in &poison {
        here.subscriber.publish(&here.exchange, key, body);
    }
    fs::write(one.join("after.film"), "three").unwrap();
    daemons[0].settle();
    let mut expected = BTreeMap::new();
    for (daemon, since) in daemons.iter().zip(since) {
        expected.extend(journal(daemon, since));
    }
    wait_for("both to be told of", || (told(&file).len() >= expected.len()).then_some(()));
    assert_eq!(told(&file), expected);
    let epochs: Vec<Value> = daemons.iter().map(|daemon| daemon.status()["epoch"].clone()).collect();
    assert_ne!(epochs[0], epochs[1]);
    let dead = format!("{}.dead", here.queue());
    let mut left = poison.len();
    let taken = here.subscriber.take_until(&dead, |_| {
        left -= 1;
        left == 0
    });
    for (_, body, why) in poison {
        let one = taken.iter().find(|one| one.data == body).unwrap();
        let headers = one.properties.headers().clone().unwrap();
        let Some(AMQPValue::LongString(said)) = headers.inner().get("indexer-why") else {
            panic!("no reason")
        };
        assert!(said.to_string().contains(why), "{said}");
    }
    // Each rule has a thread of its own.
    wait_for("the other rule", || (told(&ground.beside("any")).len() >= 3).then_some(()));
    consumer.leave();
    let any = told(&ground.beside("any"));
    let ops: Vec<&str> = any.values().map(|(op, _)| op.as_str()).collect();
    assert_eq!(ops, ["created"; 3], "a replay is nothing that happened: {any:?}");
}

/// A webhook that takes requests and answers none, until it is told to.
struct Hook {
    address: String,
    answers: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    fn listen() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (answers, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let hook = Hook { address, answers: Arc::clone(&answers), heard: Arc::clone(&heard) };
        std::thread::spawn(move || {
            // Held, so that nobody is told of an end.
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                if !answers.load(Ordering::Relaxed) {
                    held.push(stream);
                    continue;
                }
                let mut from = BufReader::new(stream);
                // Several requests may come over one connection.
                while let Some(body) = request(&mut from) {
                    heard.lock().unwrap().push(body);
                    // Who asks may have lost patience: then it asks again.
                    if from.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        break;
                    }
                }
            }
        });
        hook
    }
}

/// The body of the next request.
fn request(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

/// The bound is 256 MiB of messages: these are as large as messages may be.
#[test]
fn a_webhook_that_hangs_fills_the_inbox_and_nothing_is_lost() {
    let (ground, hook) = (Place::Here.open().unwrap(), Hook::listen());
    let rule = format!(
        "[[alert]]\nname = \"films\"\nop = \"created\"\nunfinished = true\nwebhook = {:?}\ntimeout = \"10s\"\n\
         rate = {{ most = 1000, per = \"1s\" }}\n",
        hook.address
    );
    let here = Here::new(&ground, "stuck", &rule);
    let consumer = here.start();
    here.wait_read();
    let padding = "x".repeat(1_000_000);
    let messages = 330u64;
    for seq in 1..=messages {
        let body = format!(
            r#"{{"op":"c","ts_ms":1,"before":null,"after":{{"path":"/srv/{seq}","kind":"file","size":5,"allocated":8,
            "modified_ns":1,"changed_ns":1,"created_ns":null,"accessed_ns":0,"mode":420,"uid":0,"gid":0,"links":1,"inode":{seq},
            "volume":1,"category":null,"digest":null}},"source":{{"version":"0","connector":"indexer","name":"/indexer/nas",
            "host":"nas","ts_ms":1,"ts_ns":1,"epoch":"0123456789abcdef0123456789abcdef","seq":{seq},"root":"/srv",
            "root_id":1,"how":"sweep"}},"change":{{"verb":"created","complete":true}},"padding":"{padding}"}}"#
        );
        here.subscriber.publish(&here.exchange, "fs.v1.r1.file.created.p00", body.as_bytes());
    }
    let left = wait_for("the queue to be left alone", || {
        here.subscriber.waiting(&here.queue()).filter(|(messages, readers)| *messages > 0 && *readers == 0)
    });
    assert!((1..messages as u32 - 200).contains(&left.0), "{left:?}: the inbox took what it has room for");
    assert!(hook.heard.lock().unwrap().is_empty());

    hook.answers.store(true, Ordering::Relaxed);
    // What came while it hung is folded: how many, and from which to which.
    let told = || -> Vec<(u64, u64, u64)> {
        let heard = hook.heard.lock().unwrap();
        let number =
            |body: &Value, name: &str| body[name].as_u64().unwrap_or_else(|| panic!("no {name}: {body}"));
        let one = |body: &Value| match body["op"] == "summary" {
            true => (number(body, "first_seq"), number(body, "last_seq"), number(body, "more")),
            false => (number(body, "seq"), number(body, "seq"), 1),
        };
        let mut told: Vec<(u64, u64, u64)> = heard.iter().map(one).collect();
        // What was heard by then and not answered in time.
        told.dedup();
        told
    };
    wait_for("all of it to be told", || {
        (told().iter().map(|(.., records)| records).sum::<u64>() >= messages).then_some(())
    });
    wait_for("the queue to be empty", || {
        here.subscriber.waiting(&here.queue()).filter(|(messages, readers)| (*messages, *readers) == (0, 1))
    });
    consumer.leave();
    let told = told();
    let mut next = told[0].0;
    for (first, last, records) in &told {
        assert_eq!((*first, *records), (next, last + 1 - first), "each, in order, and once: {told:?}");
        next = last + 1;
    }
    assert_eq!(next - told[0].0, messages);
    assert_eq!(here.subscriber.waiting(&format!("{}.dead", here.queue())), Some((0, 0)));
}

#[test]
fn what_cannot_be_followed_is_said_before_anything_is_begun() {
    let ground = Place::Here.open().unwrap();
    for (rules, said) in
        [("", "[[alert]]"), ("[[alert]]\nname = \"behind\"\nlag = \"1m\"\nlog = true\n", "alert behind: lag")]
    {
        let here = Here::new(&ground, "refused", rules);
        let ended = here.consume().output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
        assert!(stderr(&ended).contains(said), "{}", stderr(&ended));
        assert!(!here.folder.join("inbox.redb").try_exists().unwrap());
        assert!(here.subscriber.waiting(&here.queue()).is_none());
    }
    let here = Here::new(&ground, "refused", "[[alert]]\nname = \"x\"\nop = \"gap\"\nlog = true\n");
    let none = here.consume().env_remove("INDEXER_AMQP_URL").output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", stderr(&none));
    assert!(stderr(&none).contains("--amqp"), "{}", stderr(&none));
}
