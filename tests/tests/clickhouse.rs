//! `indexer export clickhouse` against ClickHouse's own engine behind a server that loses answers, refuses and holds back, and killed at any
//! moment: every row of the snapshot is in the table, once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use indexer_tests::{
    Ground, Killer, Place, Skipped, done, http, indexer, indexer_binary, json_lines, parquet_rows,
    python_with, skipped, stderr,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The engine, and the way to it.
struct Engine {
    server: Child,
    port: String,
    /// Files in it can be read by SQL.
    folder: PathBuf,
}

impl Engine {
    fn start(ground: &Ground) -> Result<Engine, Skipped> {
        let packages = ground.beside("packages");
        let python = python_with(&packages, &["chdb==4.4.0"])?;
        let folder = ground.beside("engine");
        fs::create_dir(&folder).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clickhouse/server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(&folder).env("PYTHONPATH", &packages);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Ok(Engine { server, port: port.trim().to_owned(), folder })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Rows of JSON, past all trouble.
    fn ask(&self, sql: &str) -> Value {
        let mut stream = http::dial_port(&format!("127.0.0.1:{}", self.port));
        let sql: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        http::send(&mut stream, "GET", &format!("/{sql}"), "");
        let answer = http::receive(&mut stream);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    fn trouble(&self, word: &str) {
        fs::write(self.folder.join("trouble"), word).unwrap();
    }

    /// Whether `table` holds the rows of `file` and no others, each once, with all columns as they are in the file.
    fn assert_same(&self, table: &str, file: &Path, when: &str) {
        fs::copy(file, self.folder.join("same.parquet")).unwrap();
        let ours = format!("SELECT * EXCEPT (host, root, date) FROM {table}");
        let theirs = "SELECT * FROM file('same.parquet', Parquet)";
        let sql = format!(
            "SELECT (SELECT count() FROM {table}), (SELECT uniqExact(path) FROM {table}), \
             (SELECT count() FROM ({ours} EXCEPT {theirs})), (SELECT count() FROM ({theirs} EXCEPT {ours}))"
        );
        let rows = parquet_rows(file).len();
        assert_eq!(self.numbers(&sql), [rows, rows, 0, 0], "{table}, {when}");
    }

    /// One row of numbers, which are words where they may be long.
    fn numbers(&self, sql: &str) -> Vec<usize> {
        let rows = self.ask(sql);
        let number = |cell: &Value| {
            cell.as_str().map_or_else(|| cell.as_u64().map(|n| n as usize), |text| text.parse().ok())
        };
        rows[0].as_array().unwrap().iter().map(|cell| number(cell).unwrap()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It ends with its standard input; what it still does is of no use.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A tree whose names and values are as odd as they come, scanned; and its root.
fn scanned(ground: &Ground) -> PathBuf {
    let root = ground.root().join("a `root'\t\\x {h:String}");
    fs::create_dir_all(root.join("sub")).unwrap();
    for number in 0..300 {
        fs::write(root.join("sub").join(format!("{number:03}.Txt")), "x".repeat(number % 7)).unwrap();
    }
    for name in
        [&b"no\xffutf8"[..], b"tab\tline\nback\\slash'\"`", b"\xe2\x82\xac.jpg", b"{x:String}?a=b&c%41"]
    {
        fs::write(root.join(OsStr::from_bytes(name)), "odd").unwrap();
    }
    fs::hard_link(root.join("sub/001.Txt"), root.join("again.Txt")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
    for (name, seconds) in [("far", 13_569_465_600), ("last", 1 << 33)] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = File::create(root.join(name)).unwrap();
        file.set_times(FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
    }
    done(&indexer(&ground.state(), &[&"scan", &"--hash", &"full", &root]));
    root
}

/// A snapshot, in the layout of a folder; and its file.
fn rolled(ground: &Ground, root: &Path) -> PathBuf {
    done(&indexer(&ground.state(), &[&"scan", &root]));
    done(&indexer(&ground.state(), &[&"snapshots", &"roll", &"--output", &ground.beside("out")]));
    let listed = indexer(&ground.state(), &[&"snapshots", &"list", &ground.beside("out"), &"--json"]);
    Path::new(json_lines(&listed)[0]["folder"].as_str().unwrap()).join("snapshot.parquet")
}

/// `indexer export clickhouse` as ada, with this password.
fn export(ground: &Ground, password: &str, words: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(indexer_binary());
    command.args(["export", "clickhouse", "--user", "ada"]).env("CLICKHOUSE_PASSWORD", password);
    command.env("INDEXER_STATE", ground.state()).env("INDEXER_CONFIG", "/dev/null");
    command.args(words.iter().map(|word| word.as_ref()));
    command
}

/// One that ends so, with such words on its standard error, and no secret.
fn refused(mut command: Command, code: i32, words: &[&str]) {
    let said = command.output().unwrap();
    let text = stderr(&said);
    assert_eq!(said.status.code(), Some(code), "{command:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("lovelace") && !text.contains("hunter2"), "{text}");
}

#[test]
fn every_row_is_in_the_table_once_whatever_happens() {
    let ground = Place::Here.open().unwrap();
    let engine = match Engine::start(&ground) {
        Ok(engine) => engine,
        Err(reason) => return skipped(reason),
    };
    let root = scanned(&ground);
    let file = rolled(&ground, &root);
    all_values_arrive(&ground, &engine, &root, &file);
    answers_get_lost(&ground, &engine, &file);
    killed_at_any_moment(&ground, &engine, &file);
    tables_that_do_not_fit(&ground, &engine, &file);
    another_snapshot_of_the_day(&ground, &engine, &root, &file);
}

/// The folder's newest, by its words; a second time there is nothing to send.
fn all_values_arrive(ground: &Ground, engine: &Engine, root: &Path, file: &Path) {
    let url = engine.url().replace("//", "//ada:lovelace@");
    let words: [&dyn AsRef<OsStr>; 6] =
        [&"--url", &url, &"--in", &ground.beside("out"), &"--create", &"--json"];
    let first = export(ground, "", &words).output().unwrap();
    done(&first);
    engine.assert_same("files", file, "at first");
    let line = &json_lines(&first)[0];
    let told = engine.ask("SELECT DISTINCT host, root, toString(date) FROM files");
    assert_eq!(told, json!([[line["host"], root.to_str().unwrap(), line["date"]]]));
    let day = file.parent().unwrap().file_name().unwrap().to_str().unwrap().replace("date=", "");
    assert_eq!((line["date"].as_str(), line["batches_sent"].as_u64()), (Some(&*day), Some(1)));
    for more in ["--rows-per-batch=100000", "--rows-per-batch=7", "--all"] {
        let mut again = export(ground, "", &words);
        let again = again.arg(more).output().unwrap();
        done(&again);
        assert_eq!(json_lines(&again)[0]["sent_rows"], 0, "{more}");
    }
    engine.assert_same("files", file, "again");
}

/// In ways that leave open whether a batch was taken.
fn answers_get_lost(ground: &Ground, engine: &Engine, file: &Path) {
    for trouble in ["lost", "busy", "memory", "late"] {
        engine.trouble(trouble);
        let words: [&dyn AsRef<OsStr>; 7] =
            [&"--url", &engine.url(), &"--create", &"--table", &trouble, &"--rows-per-batch=160", &file];
        let said = export(ground, "lovelace", &words).output().unwrap();
        done(&said);
        assert!(stderr(&said).contains("it is tried again"), "{}", stderr(&said));
        engine.assert_same(trouble, file, "with trouble");
    }
    // The first comes to its end when the second is on its way: only the token tells.
    engine.trouble("held");
    let words: [&dyn AsRef<OsStr>; 7] = [
        &"--url",
        &engine.url(),
        &"--timeout=2s",
        &"--rows-per-batch=200",
        &file,
        &"--create",
        &"--table=held",
    ];
    done(&export(ground, "lovelace", &words).output().unwrap());
    engine.assert_same("held", file, "held back");
    // A table without a memory is told of; and when it comes to the worst, that is seen.
    let mut sql = String::from_utf8(indexer(&ground.state(), &[&"schema", &"clickhouse"]).stdout).unwrap();
    sql = sql[sql.find("CREATE").unwrap()..].replace("files", "forgets");
    engine.ask(sql.split("SETTINGS").next().unwrap());
    let mut words = words;
    words[5] = &"--quiet";
    words[6] = &"--table=forgets";
    refused(export(ground, "lovelace", &words), 2, &["that are not those of the snapshot", "--replace"]);
    engine.trouble("");
    words[5] = &"--replace";
    let said = export(ground, "lovelace", &words).output().unwrap();
    done(&said);
    assert!(stderr(&said).contains("does not remember"), "{}", stderr(&said));
    engine.assert_same("forgets", file, "replaced");
}

/// By SIGKILL or SIGINT, twice, and then to the end.
fn killed_at_any_moment(ground: &Ground, engine: &Engine, file: &Path) {
    let url = engine.url();
    let command = |table: &str| {
        let table = OsString::from(format!("--table={table}"));
        let words: [&dyn AsRef<OsStr>; 6] =
            [&"--url", &url, &table, &"--create", &"--rows-per-batch=40", &file];
        export(ground, "lovelace", &words)
    };
    let began = Instant::now();
    done(&command("whole").output().unwrap());
    let (mut killer, mut went_on) = (Killer::new(7, began.elapsed()), 0);
    for round in 0..4 {
        let table = format!("kill{round}");
        for signal in [Signal::KILL, if round % 2 == 0 { Signal::KILL } else { Signal::INT }] {
            let ended = killer.run(command(&table), signal);
            assert!(signal == Signal::KILL || matches!(ended.code(), Some(0 | 3) | None), "{ended}");
        }
        let said = command(&table).arg("--json").output().unwrap();
        done(&said);
        let line = &json_lines(&said)[0];
        went_on += u32::from(line["batches_sent"] != 0 && line["batches_there"] != 0);
        engine.assert_same(&table, file, "after kills");
    }
    let died = killer.died();
    assert!(died >= 4 && went_on >= 1, "{died} of 8 died before their end, {went_on} of 4 left a part");
}

fn tables_that_do_not_fit(ground: &Ground, engine: &Engine, file: &Path) {
    let url = engine.url();
    let to = |password: &str, table: &str| {
        let table = OsString::from(format!("--table={table}"));
        export(ground, password, &[&"--url", &url, &file, &table])
    };
    refused(to("hunter2", "files"), 3, &["Code: 516", "Authentication failed"]);
    refused(to("lovelace", "no`ne\\"), 2, &["there is no table default.no`ne\\", "--create"]);
    engine.ask("CREATE TABLE `odd ``name` AS files");
    engine.ask("ALTER TABLE `odd ``name` DROP COLUMN digest_kind");
    refused(to("lovelace", "odd `name"), 2, &["no column digest_kind", "indexer schema clickhouse"]);
    engine.ask("ALTER TABLE `odd ``name` ADD COLUMN digest_kind UInt8 AFTER digest");
    refused(
        to("lovelace", "odd `name"),
        2,
        &["digest_kind of the table", "is UInt8, and should be LowCardinality"],
    );
    engine.ask("ALTER TABLE `odd ``name` MODIFY COLUMN digest_kind Nullable(String)");
    done(&to("lovelace", "odd `name").output().unwrap());
    engine.assert_same("`odd ``name`", file, "with another type and an odd name");
    let mut elsewhere = to("lovelace", "files");
    elsewhere.arg("--database=none");
    refused(elsewhere, 2, &["there is no table none.files"]);
    let whole = fs::read(file).unwrap();
    let mut turned = whole.clone();
    turned[100] ^= 1;
    fs::write(file, turned).unwrap();
    refused(to("lovelace", "files"), 3, &["not what its manifest says"]);
    fs::write(file, whole).unwrap();
}

/// It is told of and nothing is touched, until it is to be replaced. What somebody removed is sent again, though its tokens are known.
fn another_snapshot_of_the_day(ground: &Ground, engine: &Engine, root: &Path, file: &Path) {
    let before = ground.beside("before.parquet");
    fs::copy(file, &before).unwrap();
    fs::write(root.join("sub/new"), "new").unwrap();
    let after = rolled(ground, root);
    let url = engine.url();
    let send = |file: &Path, more: &str| {
        export(ground, "lovelace", &[&"--url", &url, &file, &"--rows-per-batch=80", &"--json", &more])
    };
    refused(send(&after, "--create"), 2, &["that are not those of the snapshot", "--replace"]);
    engine.assert_same("files", &before, "refused");
    let said = send(&after, "--replace").output().unwrap();
    done(&said);
    assert_eq!(json_lines(&said)[0]["removed_rows"], parquet_rows(&before).len());
    engine.assert_same("files", &after, "replaced");
    done(&send(&before, "--replace").output().unwrap());
    engine.assert_same("files", &before, "and back");
    // Whole batches of the first run, and then all.
    done(&send(&before, "--table=removed").arg("--create").output().unwrap());
    for which in ["path > (SELECT path FROM removed ORDER BY path LIMIT 1 OFFSET 79)", "true"] {
        engine.ask(&format!("ALTER TABLE removed DELETE WHERE {which} SETTINGS mutations_sync = 2"));
        done(&send(&before, "--table=removed").output().unwrap());
        engine.assert_same("removed", &before, which);
    }
}

#[test]
fn what_cannot_be_sent_or_has_nowhere_to_go_is_told() {
    let ground = Place::Here.open().unwrap();
    let file = rolled(&ground, &scanned(&ground));
    let away = "--url=http://127.0.0.1:1";
    let to = |words: &[&dyn AsRef<OsStr>]| export(&ground, "hunter2", words);
    refused(to(&[&away, &file]), 3, &["failed to reach ClickHouse", "refused", "tried 6 times"]);
    refused(to(&[&away, &"now"]), 2, &["indexer snapshots roll"]);
    refused(to(&[&"--url=http://db.example", &file]), 2, &["http://db.example", "--insecure"]);
    refused(to(&[&"--url=db.example:8123", &file]), 2, &["http://HOST:8123"]);
    refused(to(&[&"--url=http://u:hunter2@h/?x=1", &file]), 2, &["--database"]);
    refused(to(&[&away, &file, &"--password-file=/nowhere"]), 2, &["/nowhere cannot be read"]);
    refused(to(&[&away, &file, &file]), 2, &["of another that is to be sent"]);
    refused(to(&[&away, &ground.beside("none"), &"--all"]), 2, &["is no snapshot"]);

    let bytes = fs::read(&file).unwrap();
    let other = ground.beside("other.parquet");
    for (bytes, why) in [(&bytes[..bytes.len() - 9], "cut off"), (b"hello, world", "is no Parquet")] {
        fs::write(&other, bytes).unwrap();
        refused(to(&[&away, &other]), 3, &[why]);
    }
    done(&indexer(&ground.state(), &[&"snapshot", &"--output", &other, &"--compat", &"unix", &"--force"]));
    refused(to(&[&away, &other]), 2, &["--compat unix"]);

    for answer in ["404 Not Found\r\nContent-Length: 0", "200 OK\r\nContent-Length: 5\r\n\r\nhello"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("--url=http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 8192]).unwrap();
            assert!(read > 0);
            let end = if answer.contains("hello") { "" } else { "\r\n\r\n" };
            stream.write_all(format!("HTTP/1.1 {answer}{end}").as_bytes()).unwrap();
        });
        refused(to(&[&url, &file]), 3, &["not ClickHouse's"]);
        server.join().unwrap();
    }
}
