//! `consume rehash`: files are read by others for an index that reads nothing, and the digests are those of the files, whoever
//! is killed and whatever is sent. The workers see the tree under another path.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use indexer_tests::{
    AMQPValue, Daemon, Follower, Ground, Place, Rng, Subscriber, Workload, broker_url, indexer,
    indexer_binary, stderr, wait_for,
};
use serde_json::{Value, json};

struct Here {
    url: String,
    exchange: String,
    ground: Ground,
    /// The folder that holds the tree, as workers see it.
    there: PathBuf,
    subscriber: Subscriber,
}

impl Here {
    fn new(name: &str) -> Here {
        let (url, ground) = (broker_url(), Place::Here.open().unwrap());
        let there = ground.beside("there");
        symlink(ground.root().parent().unwrap(), &there).unwrap();
        let subscriber = Subscriber::new(&url);
        Here { exchange: format!("{name}-{}", std::process::id()), url, ground, there, subscriber }
    }

    fn root(&self) -> &Path {
        self.ground.root()
    }

    fn daemon(&self) -> Daemon {
        let flags = ["--hash", "remote"];
        Daemon::publishing(&self.ground.state(), self.root(), &self.exchange, &self.url, &flags)
    }

    /// A worker that runs until it is dropped, which kills it.
    fn worker(&self) -> Follower {
        let mut map = self.root().as_os_str().to_owned();
        map.push("=");
        map.push(self.there.join(self.root().file_name().unwrap()));
        let mut command = Command::new(indexer_binary());
        command
            .env_remove("INDEXER_CONFIG")
            .env("XDG_CONFIG_HOME", &self.there)
            .env("INDEXER_AMQP_URL", &self.url);
        command
            .args(["consume", "rehash", "--exchange", &self.exchange, "--host", &host(), "--map"])
            .arg(map);
        Follower::of(command)
    }

    /// The first job, taken before any worker does.
    fn job(&self) -> Value {
        wait_for("a job", || self.subscriber.waiting(&self.jobs()).filter(|(jobs, _)| *jobs > 0));
        serde_json::from_slice(&self.subscriber.take_until(&self.jobs(), |_| true)[0].data).unwrap()
    }

    fn jobs(&self) -> String {
        format!("{}.rehash.{}", self.exchange, host())
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// Text of a header.
fn header(delivery: &indexer_tests::Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

#[test]
fn what_others_read_is_what_the_files_hold() {
    let here = Here::new("rehashed");
    let root = here.root();
    fs::create_dir_all(root.join("a/b")).unwrap();
    for number in 0..40 {
        fs::write(root.join(format!("a/{number}")), vec![b'x'; number * 1000]).unwrap();
    }
    fs::write(root.join("large"), vec![7; 20 << 20]).unwrap();
    fs::write(root.join("a/b/copy"), vec![7; 20 << 20]).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"no \xff text")), "text").unwrap();
    fs::hard_link(root.join("large"), root.join("a/other name")).unwrap();
    symlink("large", root.join("link")).unwrap();
    let daemon = here.daemon();
    // There were jobs before there was anybody to do them.
    wait_for("jobs", || here.subscriber.waiting(&here.jobs()).filter(|(jobs, _)| *jobs > 0));
    assert_eq!(daemon.hashing("hashed"), 0, "nobody reads here");
    let workers = [here.worker(), here.worker()];
    assert_eq!(daemon.assert_hashed(root), 42);
    daemon.wait_at_rest();
    assert!(daemon.hashing("bytes_read") >= 40 << 20);
    let sets = daemon.ask(&[&"dups", &"--files"]);
    assert!(sets.iter().any(|set| set["size"] == 20 << 20 && set["wasted"] == 20 << 20), "{sets:?}");

    let seq = daemon.seq();
    fs::write(root.join("a/1"), "something else").unwrap();
    fs::rename(root.join("large"), root.join("renamed")).unwrap();
    fs::write(root.join("new"), "new").unwrap();
    fs::remove_file(root.join("a/2")).unwrap();
    assert_eq!(daemon.assert_hashed(root), 42);
    let told: BTreeSet<String> =
        daemon.told(seq).into_iter().filter(|one| one.starts_with("hashed")).collect();
    assert_eq!(told, ["hashed 1", "hashed new"].map(str::to_owned).into(), "a rename is no other content");
    drop(workers);
    daemon.assert_exact(root);
}

#[test]
fn workers_and_the_index_are_killed_and_nothing_is_forgotten() {
    let here = Here::new("reread");
    let root = here.root();
    let mut daemon = here.daemon();
    let mut rng = Rng::new(8);
    for round in 0..6 {
        let workers = [here.worker(), here.worker()];
        Workload { seed: round, threads: 2 }.run_operations(root, 150 + rng.below(200));
        for number in 0..200 {
            fs::write(root.join(format!("{round} {number}")), vec![number; 5_000 + usize::from(number)])
                .unwrap();
        }
        daemon.settle();
        wait_for("some answers", || (daemon.hashing("files_read") > 0).then_some(()));
        // SIGKILL, whatever they have in hand.
        drop(workers);
        if round % 2 == 1 {
            daemon.kill9();
            daemon = here.daemon();
        }
    }
    let _worker = here.worker();
    assert!(daemon.assert_hashed(root) >= 1200);
    daemon.wait_at_rest();
    daemon.assert_exact(root);
}

#[test]
fn answers_count_only_for_what_the_file_is() {
    let here = Here::new("forged");
    let root = here.root();
    fs::write(root.join("a"), "aaaa").unwrap();
    let daemon = here.daemon();
    let job = here.job();
    assert_eq!((job["path"].as_str(), job["digest"].as_str()), (root.join("a").to_str(), Some("blake3")));
    let epoch = daemon.status()["epoch"].as_str().unwrap().to_owned();
    let answer = |change: &dyn Fn(&mut Value)| {
        let digest = format!("blake3:{}", "0".repeat(64));
        let mut answer = json!({"worker": "w", "epoch": epoch, "which": job["which"], "digest": digest, "magic": "other",
            "head": "0".repeat(32), "read": 4});
        change(&mut answer);
        serde_json::to_vec(&answer).unwrap()
    };
    let results = format!("{}.results", here.exchange);
    let send = |body: &[u8]| here.subscriber.publish(&results, &epoch, body);
    // Of another moment, another file, another epoch, another digest: let go. Nothing that can be read: put aside.
    send(&answer(&|answer| answer["which"]["changed_ns"] = 5.into()));
    send(&answer(&|answer| answer["which"]["inode"] = 1.into()));
    send(&answer(&|answer| answer["epoch"] = "e".repeat(32).into()));
    send(&answer(&|answer| answer["digest"] = format!("blake2b-256:{}", "0".repeat(64)).into()));
    let unreadable: [(Vec<u8>, &str); 3] = [
        (b"garbage".to_vec(), "no answer"),
        (answer(&|answer| answer["digest"] = "blake3:12".into()), "digest"),
        (answer(&|answer| answer["refused"] = "and yet".into()), "or why nothing was"),
    ];
    unreadable.iter().for_each(|(body, _)| send(body));
    let mut left = unreadable.len();
    let dead = here.subscriber.take_until(&format!("{}.results.{epoch}.dead", here.exchange), |_| {
        left -= 1;
        left == 0
    });
    for (body, why) in &unreadable {
        let one = dead.iter().find(|one| one.data == *body).unwrap();
        assert!(header(one, "indexer-why").unwrap().contains(why), "{:?}", header(one, "indexer-why"));
    }
    assert_eq!(daemon.digest_of(&root.join("a")), None, "nothing of that was taken");
    // It changes while somebody reads it.
    fs::write(root.join("a"), "bbbb").unwrap();
    daemon.settle();
    send(&answer(&|_| {}));
    let _worker = here.worker();
    assert_eq!(daemon.assert_hashed(root), 1);
}

#[test]
fn what_a_worker_cannot_or_must_not_read_is_said() {
    let here = Here::new("refused");
    let root = here.root();
    fs::create_dir(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), "file").unwrap();
    let secret = here.ground.beside("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "root").unwrap();
    let daemon = here.daemon();
    let (queue, job) = (here.jobs(), here.job());
    let sent = |path: &Path| {
        let mut job = job.clone();
        job["path"] = path.to_str().into();
        job["epoch"] = "f".repeat(32).into();
        here.subscriber.publish("", &queue, &serde_json::to_vec(&job).unwrap());
    };
    let results = format!("{}.results", here.exchange);
    let answers = format!("{}.mine", here.exchange);
    here.subscriber.bind(&answers, &results, &"f".repeat(32), &[]);
    symlink(&secret, root.join("out")).unwrap();
    sent(&root.join("out/file"));
    sent(&root.join("dir/../../secret/file"));
    sent(&secret.join("file"));
    sent(&root.join("dir/gone"));
    here.subscriber.publish("", &queue, b"garbage");
    let _worker = here.worker();
    let mut left = 4;
    let taken = here.subscriber.take_until(&answers, |_| {
        left -= 1;
        left == 0
    });
    let mut why: Vec<String> = taken
        .iter()
        .map(|one| {
            let answer: Value = serde_json::from_slice(&one.data).unwrap();
            assert_eq!(answer["digest"], Value::Null, "{answer}");
            answer["refused"].as_str().unwrap().to_owned()
        })
        .collect();
    why.sort();
    for said in ["No such file", "a symbolic link", "it lies in no --map", "its path is no plain one"] {
        assert!(why.iter().any(|why| why.contains(said)), "{said}: {why:?}");
    }
    let dead = here.subscriber.take_until(&format!("{queue}.dead"), |_| true);
    assert!(header(&dead[0], "indexer-why").unwrap().contains("no job"));

    // What was answered by nobody is asked for again when it changes.
    fs::write(root.join("dir/file"), "other").unwrap();
    assert_eq!(daemon.assert_hashed(root), 1);
}

/// A queue of that name with other arguments is in the way.
#[test]
fn a_refusal_stands_in_the_status() {
    let here = Here::new("inway");
    here.subscriber.declare(&here.jobs());
    let daemon = here.daemon();
    let why = wait_for("a warning", || {
        let status = daemon.status();
        let warnings = status["warnings"].as_array().unwrap().clone();
        warnings.into_iter().find(|why| why.as_str().is_some_and(|why| why.contains("read by nobody")))
    });
    assert!(why.as_str().unwrap().contains(&here.jobs()), "{why}");
}

#[test]
fn nobody_is_left_to_wait_for_what_cannot_come() {
    let ground = Place::Here.open().unwrap();
    let state = ground.state();
    let refused = |arguments: &[&dyn AsRef<OsStr>], why: &str| {
        let said = indexer(&state, arguments);
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
        assert!(stderr(&said).contains(why), "{}", stderr(&said));
    };
    refused(&[&"watch", &ground.root(), &"--hash", &"remote"], "INDEXER_AMQP_URL");
    refused(&[&"scan", &ground.root(), &"--hash", &"remote"], "--hash full");
    refused(&[&"consume", &"rehash", &"--host", &"nas"], "--map");
    refused(&[&"consume", &"rehash", &"--host", &"nas", &"--map", &"/srv"], "FROM=TO");
    let away: [&dyn AsRef<OsStr>; 8] = [
        &"consume",
        &"rehash",
        &"--host",
        &"nas",
        &"--map",
        &"/srv=/nowhere",
        &"--amqp",
        &"amqp://127.0.0.1:1",
    ];
    refused(&away, "/nowhere");
}
