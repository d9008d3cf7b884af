//! `indexer snapshot` into an object store: what is there is what a folder would hold, refusals are said without a secret, and a run
//! that is killed anywhere leaves nothing that looks whole and is not. The store is an S3 server on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use indexer_tests::{
    Daemon, Ground, Place, Rng, Skipped, blake3_of, done, indexer, indexer_binary, json_lines, need_tool,
    parquet_rows, skipped, stderr,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

const SERVER: &str = "s3rver@3.7.1";
/// The server knows one account, by these.
const KEY: &str = "S3RVER";
/// For a line that has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An S3 server with one bucket, `bucket`.
struct Store {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    endpoint: String,
}

/// What is in the bucket.
struct Listing {
    /// Of each object the file that has its bytes.
    objects: BTreeMap<String, PathBuf>,
    uploads: u64,
}

/// The folder that the server is installed in, which the tests of this file share.
fn installed() -> Result<PathBuf, Skipped> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let npm = need_tool("npm", "npm")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3rver");
    fs::create_dir_all(&folder).unwrap();
    let words: [&dyn AsRef<OsStr>; 6] =
        [&"install", &"--silent", &"--no-audit", &"--prefix", &folder, &SERVER];
    brokers::run(&npm, &words).map_err(Skipped)?;
    // What a program asks for is looked for where it lies.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/serve.js");
    fs::copy(script, folder.join("serve.js")).unwrap();
    Ok(folder)
}

impl Store {
    fn start(ground: &Ground) -> Result<Store, Skipped> {
        let (node, folder) = (need_tool("node", "nodejs")?, ground.beside("store"));
        let program = installed()?.join("serve.js");
        fs::create_dir(&folder).unwrap();
        let mut server = Command::new(node);
        server.arg(program).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = server.spawn().map_err(|error| Skipped(format!("{server:?}: {error}")))?;
        let (commands, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(said).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut store = Store { child, commands, lines, endpoint: String::new() };
        store.endpoint = format!("http://127.0.0.1:{}", store.line(""));
        Ok(store)
    }

    /// The next line that begins so, without that.
    fn line(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the store never said {begin:?}"));
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Tells the server something; see its script.
    fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.line("told")
    }

    fn list(&mut self) -> Listing {
        let said: Value = serde_json::from_str(&self.tell("list")).unwrap();
        let objects = said["objects"].as_object().unwrap().iter();
        Listing {
            objects: objects.map(|(key, file)| (key.clone(), file.as_str().unwrap().into())).collect(),
            uploads: said["uploads"].as_u64().unwrap(),
        }
    }

    /// `indexer …`, with what the server knows us by.
    fn command(&self, ground: &Ground, words: &[&dyn AsRef<OsStr>]) -> Command {
        let mut command = Command::new(indexer_binary());
        for (name, _) in std::env::vars_os() {
            // Nor is a store of whoever runs the tests meant.
            let text = name.to_string_lossy().to_ascii_uppercase();
            if ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|word| text.starts_with(word))
                || text.ends_with("_PROXY")
            {
                command.env_remove(name);
            }
        }
        command
            .env_remove("INDEXER_CONFIG")
            .env("XDG_CONFIG_HOME", ground.state())
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", KEY)
            .arg("--state")
            .arg(ground.state())
            .args(words.iter().map(|word| word.as_ref()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, ground: &Ground, words: &[&dyn AsRef<OsStr>]) -> Output {
        self.command(ground, words).output().unwrap()
    }

    /// Exports, and has to.
    fn export(&self, ground: &Ground, url: &str, more: &[&dyn AsRef<OsStr>]) -> Value {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshot", &"--json", &"--output", &url];
        words.extend(more);
        let said = self.run(ground, &words);
        done(&said);
        json_lines(&said).remove(0)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Listing {
    /// The objects of the only snapshot below `prefix`, by their last names.
    fn below(&self, prefix: &str) -> BTreeMap<String, PathBuf> {
        let ours = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let last = |key: &str| key.rsplit('/').next().unwrap().to_owned();
        ours.map(|(key, file)| (last(key), file.clone())).collect()
    }

    /// Whether there is one below `prefix`; what is there is whole.
    fn holds(&self, prefix: &str, expected: &[Map<String, Value>]) -> bool {
        let objects = self.below(prefix);
        assert!(objects.keys().all(|name| ["snapshot.parquet", "_manifest.json"].contains(&name.as_str())));
        let rows = objects.get("snapshot.parquet");
        if let Some(file) = rows {
            assert_eq!(parquet_rows(file), expected);
        }
        let Some(manifest) = objects.get("_manifest.json") else { return false };
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        let rows = rows.expect("a manifest stands by its rows");
        assert_eq!(manifest["rows"], expected.len());
        assert_eq!(manifest["files"][0]["bytes"], fs::symlink_metadata(rows).unwrap().len());
        assert_eq!(manifest["files"][0]["blake3"], digest(rows));
        true
    }
}

fn digest(file: &Path) -> String {
    blake3_of(file).unwrap().trim_start_matches("blake3:").to_owned()
}

/// A tree of `files`, in the index. Their names are long, and nothing makes them shorter.
fn scanned(files: usize, length: usize) -> Ground {
    let ground = Place::Here.open().unwrap();
    let mut rng = Rng::new(7);
    for number in 0..files {
        let mut name = format!("{number} ");
        while name.len() < length {
            // Any character that one sees, but `/`.
            name.push(char::from(b'0' + u8::try_from(rng.index(75)).unwrap()));
        }
        fs::write(ground.root().join(name), "").unwrap();
    }
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    ground
}

/// What a file on the disk holds.
fn local(ground: &Ground, store: &Store, name: &str) -> Vec<Map<String, Value>> {
    let file = ground.beside(name);
    done(&store.run(ground, &[&"snapshot", &"--output", &file]));
    parquet_rows(&file)
}

#[test]
fn a_store_holds_what_a_folder_would() {
    let ground = scanned(300, 30);
    let mut store = match Store::start(&ground) {
        Ok(store) => store,
        Err(reason) => return skipped(reason),
    };
    let rows = local(&ground, &store, "one.parquet");
    let folder = ground.beside("folder");
    done(&store.run(&ground, &[&"snapshot", &"--output", &folder]));

    // The same names below the prefix as in a folder.
    let told = store.export(&ground, "s3://bucket/some/prefix/", &[]);
    let listed = store.list();
    assert!(listed.holds("some/prefix/host=", &rows));
    let file = told["roots"][0]["file"].as_str().unwrap().strip_prefix("s3://bucket/some/prefix/").unwrap();
    assert!(folder.join(file).is_file(), "{file}");
    assert!(listed.objects.contains_key(&format!("some/prefix/{file}")));
    let mut names: Vec<_> = listed.objects.keys().map(|key| key.rsplit('/').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!((names, listed.uploads), (vec!["_manifest.json", "snapshot.parquet"], 0));

    // One of a day, and of a name; replaced when that is asked for.
    store.export(&ground, "s3://bucket/one.parquet", &[]);
    fs::write(ground.root().join("another"), "").unwrap();
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    let newer = local(&ground, &store, "newer.parquet");
    assert_eq!(newer.len(), rows.len() + 1);
    for url in ["s3://bucket/some/prefix", "s3://bucket/one.parquet"] {
        let said = store.run(&ground, &[&"snapshot", &"--output", &url]);
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
        assert!(stderr(&said).contains("is there already"), "{}", stderr(&said));
    }
    let listed = store.list();
    assert!(listed.holds("some/prefix", &rows));
    assert_eq!(parquet_rows(&listed.objects["one.parquet"]), rows);
    for url in ["s3://bucket/some/prefix", "s3://bucket/one.parquet"] {
        store.export(&ground, url, &[&"--force"]);
    }
    let listed = store.list();
    assert!(listed.holds("some/prefix", &newer));
    assert_eq!(parquet_rows(&listed.objects["one.parquet"]), newer);

    // Rows that no manifest tells of are nobody's.
    fs::remove_file(&listed.below("some/")["_manifest.json"]).unwrap();
    store.export(&ground, "s3://bucket/some/prefix", &[]);
    assert!(store.list().holds("some/prefix", &newer));

    // A store that knows no conditions, and one that is busy for a moment.
    for (number, told) in
        ["lacks .", "stumble partNumber", "stumble uploads", "stumble ^POST.*uploadId="].iter().enumerate()
    {
        store.tell(told);
        let prefix = format!("told/{number}");
        store.export(&ground, &format!("s3://bucket/{prefix}"), &[]);
        store.tell("go");
        let listed = store.list();
        assert!(listed.holds(&prefix, &newer), "{told}");
        assert_eq!(listed.uploads, 0, "{told}");
    }

    // Rolled: the day's is renewed.
    for _ in 0..2 {
        done(&store.run(&ground, &[&"snapshots", &"roll", &"--output", &"s3://bucket/rolled"]));
        assert!(store.list().holds("rolled/host=", &newer));
    }
}

#[test]
fn two_at_once_do_not_mix() {
    let ground = scanned(50, 30);
    let mut store = match Store::start(&ground) {
        Ok(store) => store,
        Err(reason) => return skipped(reason),
    };
    let _daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    let rows = local(&ground, &store, "one.parquet");
    for url in ["s3://bucket/raced", "s3://bucket/raced.parquet"] {
        store.tell("before ^POST.*uploadId=");
        let slow = store.command(&ground, &[&"snapshot", &"--output", &url]).spawn().unwrap();
        assert!(store.line("held").starts_with("POST"));
        store.tell("calm");
        let told = store.export(&ground, url, &[]);
        store.tell("go");
        let said = slow.wait_with_output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
        assert!(stderr(&said).contains("is there already"), "{}", stderr(&said));
        let listed = store.list();
        let key = told["roots"][0]["file"].as_str().unwrap().strip_prefix("s3://bucket/").unwrap();
        assert_eq!(digest(&listed.objects[key]), told["roots"][0]["blake3"]);
        assert_eq!(listed.uploads, 0);
    }
    assert!(store.list().holds("raced/", &rows));
}

/// Where to, what the environment says, the exit code, and parts of what is told.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], i32, &'a [&'a str]);

#[test]
fn what_is_refused_is_said_without_a_secret_and_leaves_nothing() {
    let ground = scanned(20, 30);
    let mut store = match Store::start(&ground) {
        Ok(store) => store,
        Err(reason) => return skipped(reason),
    };
    let (secret, nobody) = ("SESAME-SESAME-SESAME", "http://127.0.0.1:9");
    let cases: [Refused<'_>; 12] = [
        (
            "s3://bucket/x",
            &[("AWS_SECRET_ACCESS_KEY", secret)],
            3,
            &["s3://bucket/x", &store.endpoint, "refuses the credentials (403", "AWS_SECRET_ACCESS_KEY"],
        ),
        ("s3://bucket/x", &[("AWS_ACCESS_KEY_ID", secret)], 3, &["refuses the credentials (403"]),
        ("s3://none/x", &[], 3, &["has no bucket none", "AWS_ENDPOINT_URL"]),
        (
            "s3://bucket/x",
            &[("AWS_ENDPOINT_URL", nobody)],
            3,
            &[nobody, "cannot be reached", "AWS_ENDPOINT_URL"],
        ),
        // Documentation's own addresses: nothing is sent there.
        ("s3://bucket/x", &[("AWS_ENDPOINT_URL", "http://192.0.2.1")], 2, &["plain HTTP", "AWS_ALLOW_HTTP"]),
        (
            "gs://bucket/x",
            &[("GOOGLE_BASE_URL", "http://192.0.2.1"), ("GOOGLE_SKIP_SIGNATURE", "true")],
            2,
            &["GOOGLE_ALLOW_HTTP"],
        ),
        ("az://box/x", &[], 2, &["az://box/x", "AZURE_STORAGE_ACCOUNT_NAME"]),
        ("s3://bucket/x", &[("AWS_ENDPOINT_URL", "localhost:9000")], 2, &["AWS_ENDPOINT_URL is no address"]),
        ("s3:///x", &[], 2, &["names no bucket"]),
        ("s3://KEY:SESAME-SESAME-SESAME@bucket/x", &[], 2, &["a bucket is called"]),
        ("ftp://me:SESAME-SESAME-SESAME@host/x", &[], 2, &["s3://, gs:// and az://"]),
        ("https://host/x.parquet?sig=SESAME-SESAME-SESAME", &[], 2, &["s3://, gs:// and az://"]),
    ];
    for (url, environment, code, parts) in cases {
        let mut command = store.command(&ground, &[&"snapshot", &"--output", &url]);
        let said = command.envs(environment.iter().copied()).output().unwrap();
        let text = stderr(&said);
        assert_eq!(said.status.code(), Some(code), "{url} {environment:?}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{url} {environment:?}: {text}");
        assert!(!text.contains("SESAME") && !text.contains(KEY), "{url} {environment:?}: {text}");
    }

    // What is done with files alone says so, and makes none that are called as a URL.
    let (url, folder) = ("s3://bucket/x.parquet", "s3://bucket/x");
    let wrong: [&[&dyn AsRef<OsStr>]; 9] = [
        &[&"scan", &"--path", &ground.root(), &"--output", &url],
        &[&"diff", &url, &"now"],
        &[&"report", &"types", &"--output", &"s3://bucket/x.csv"],
        &[&"snapshots", &"list", &folder],
        &[&"snapshots", &"verify", &folder],
        &[&"snapshots", &"prune", &folder, &"--keep-daily", &"1"],
        &[&"snapshots", &"roll", &"--output", &url],
        &[&"snapshots", &"roll", &"--output", &folder, &"--keep-daily", &"1"],
        &[&"snapshots", &"roll", &"--output", &folder, &"--table", &"delta"],
    ];
    for words in wrong {
        let mut command = store.command(&ground, words);
        let said = command.current_dir(ground.root()).output().unwrap();
        let words: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        assert_eq!(said.status.code(), Some(2), "{words:?}: {}", stderr(&said));
        assert!(stderr(&said).contains("s3://bucket/x"), "{words:?}: {}", stderr(&said));
    }
    assert!(!ground.root().join("s3:").try_exists().unwrap());

    // Refused in the midst, and stopped: what went up is taken back.
    store.tell("refuse partNumber");
    let said = store.run(&ground, &[&"snapshot", &"--output", &folder]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("403 AccessDenied"), "{}", stderr(&said));
    // The signal is heard by a thread of its own, which may be too late for what little there is to write: then once more.
    let stopped = (0..20).find_map(|nth| {
        store.tell("before uploads");
        let folder = format!("{folder}/{nth}");
        let stopped = store.command(&ground, &[&"snapshot", &"--output", &folder]).spawn().unwrap();
        assert!(store.line("held").starts_with("POST"));
        kill_process(Pid::from_child(&stopped), Signal::INT).unwrap();
        store.tell("go");
        let said = stopped.wait_with_output().unwrap();
        (!said.status.success()).then_some((format!("x/{nth}/"), said))
    });
    let (prefix, said) = stopped.unwrap();
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("stopped"), "{}", stderr(&said));

    let listed = store.list();
    let left: Vec<_> = listed.objects.keys().filter(|key| key.starts_with(&prefix)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(listed.uploads, 0);
}

/// Killed at a request, before or after it was carried out.
fn killed_at(store: &mut Store, ground: &Ground, at: &str, url: &str, more: &[&dyn AsRef<OsStr>]) {
    store.tell(at);
    let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshot", &"--output", &url];
    words.extend(more);
    let mut child = store.command(ground, &words).stderr(Stdio::inherit()).spawn().unwrap();
    store.line("held");
    child.kill().unwrap();
    child.wait().unwrap();
    store.tell("calm");
}

#[test]
fn killed_anywhere_it_leaves_nothing_that_looks_whole_and_is_not() {
    // More than two parts.
    let large = scanned(36_000, 250);
    let mut store = match Store::start(&large) {
        Ok(store) => store,
        Err(reason) => return skipped(reason),
    };
    let rows = local(&large, &store, "one.parquet");
    assert!(fs::symlink_metadata(large.beside("one.parquet")).unwrap().len() > 12 << 20);
    for (number, at) in
        ["before partNumber=1&", "after partNumber=2&", "before partNumber=3&"].iter().enumerate()
    {
        let prefix = format!("large/{number}");
        killed_at(&mut store, &large, at, &format!("s3://bucket/{prefix}"), &[]);
        let listed = store.list();
        assert!(listed.below(&prefix).is_empty(), "{at}");
        assert_eq!(listed.uploads, number as u64 + 1, "{at}");
        if number == 2 {
            store.export(&large, &format!("s3://bucket/{prefix}"), &[]);
            assert!(store.list().holds(&prefix, &rows), "{at}");
        }
    }

    let small = scanned(100, 30);
    let rows = local(&small, &store, "one.parquet");
    let places = [
        ("before ^HEAD", 0),
        ("before uploads", 0),
        ("after uploads", 0),
        ("before partNumber", 0),
        ("after partNumber", 0),
        ("before ^POST.*uploadId=", 0),
        ("after ^POST.*uploadId=", 1),
        ("before ^PUT.*manifest", 1),
        ("after ^PUT.*manifest", 2),
    ];
    for (number, (at, left)) in places.iter().enumerate() {
        let prefix = format!("small/{number}");
        let url = format!("s3://bucket/{prefix}");
        killed_at(&mut store, &small, at, &url, &[]);
        let listed = store.list();
        assert_eq!(listed.below(&prefix).len(), *left, "{at}");
        let whole = listed.holds(&prefix, &rows);
        assert_eq!(whole, *left == 2, "{at}");
        store.export(&small, &url, if whole { &[&"--force"] } else { &[] });
        assert!(store.list().holds(&prefix, &rows), "{at}");
    }
    // In place of another: that one, or rows without a manifest, or the new one.
    for at in [
        "before partNumber",
        "before ^DELETE",
        "after ^DELETE",
        "after ^POST.*uploadId=",
        "before ^PUT.*manifest",
    ] {
        killed_at(&mut store, &small, at, "s3://bucket/small/1", &[&"--force"]);
        let whole = store.list().holds("small/1", &rows);
        assert_eq!(whole, ["before partNumber", "before ^DELETE"].contains(&at), "{at}");
        store.export(&small, "s3://bucket/small/1", if whole { &[&"--force"] } else { &[] });
        assert!(store.list().holds("small/1", &rows), "{at}");
    }
}
