//! Scans that are killed, that run out of room, that may not read, or that are asked for what makes no sense.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indexer_tests::{
    Ground, Place, Rng, TmpfsMount, done, independent_walk, indexer, indexer_binary, parquet_rows, skipped,
    stderr, unprivileged, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{begin, check, chunk, ground, in_chunks, in_order, manifest_at, scan, summary, text};

/// What is under a final name in the folder can be read to its end, now.
fn check_files(output: &Path) {
    for entry in fs::read_dir(output.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some(OsStr::new("parquet"))
            && !path.file_name().unwrap().as_bytes().starts_with(b".")
        {
            assert!(!parquet_rows(&path).is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn killed_again_and_again_no_row_is_lost_or_doubled() {
    let ground = ground(250);
    let walked = independent_walk(ground.root()).len();
    let mut rng = Rng::new(17);
    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "60", "-t", "4"];
    let (mut killed, mut between) = (0, 0);
    // The busier the machine, the later each is killed, and the fewer a scan takes.
    for round in 0..20 {
        if round >= 4 && killed >= 40 {
            break;
        }
        let folder = ground.beside(&format!("{round}"));
        fs::create_dir(&folder).unwrap();
        let output = folder.join("scan.parquet");
        let mut times = 0;
        loop {
            let mut child = begin(&ground, &output, &words);
            // After some chunks, and then at any moment of the next ones.
            let there = (1..).take_while(|number| chunk(&output, *number).is_file()).count();
            let until = chunk(&output, there + rng.below(5) as usize);
            wait_for("some chunks", || {
                (until.is_file()
                    || until.ends_with("scan_chunk_0000.parquet")
                    || child.try_wait().unwrap().is_some())
                .then_some(())
            });
            let (began, after) = (Instant::now(), Duration::from_micros(rng.below(40_000)));
            while began.elapsed() < after {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            let ended = child.wait_with_output().unwrap();
            check_files(&output);
            if ended.status.success() {
                break;
            }
            assert_eq!(ended.status.code(), None, "{}", stderr(&ended));
            times += 1;
            if let Some(manifest) = manifest_at(&output) {
                let rows = in_chunks(&output);
                assert!(rows.len() <= walked);
                // Between a chunk and the manifest.
                let chunks = manifest["chunk_count"].as_u64().unwrap() as usize;
                between += u32::from(chunk(&output, chunks + 1).is_file());
            }
            assert!(times < 400, "it never ends");
        }
        killed += times;
        assert_eq!(manifest_at(&output).unwrap()["completed"], true);
        let rows = in_chunks(&output);
        check(&rows, ground.root());
        // Beyond the manifest's there is nothing that a pattern finds.
        let chunks = manifest_at(&output).unwrap()["chunk_count"].as_u64().unwrap();
        let mut found: Vec<OsString> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.retain(|name| name.to_str().is_none_or(|name| !name.starts_with("scan_chunk_")));
        assert_eq!(found, ["scan_manifest.json"]);
        assert_eq!(fs::read_dir(&folder).unwrap().count() as u64, chunks + 1);
    }
    println!("{killed} were killed, {between} of them between a chunk and the manifest");
    assert!(killed >= 40, "only {killed} were killed");
}

/// What a scan says that got the signal when it had finished a directory below the top; none when it was over before that.
fn interrupted(ground: &Ground, output: &Path, signal: Signal) -> Option<Output> {
    let words = ["--compat", "none", "--incremental", "--rows-per-chunk", "20", "-t", "2"];
    let depth = |path: &str| path.matches('/').count();
    let top = depth(ground.root().to_str().unwrap());
    let mut child = begin(ground, output, &words);
    let reading = AtomicBool::new(true);
    let said = std::thread::scope(|scope| {
        // What is in place can be read at each moment.
        scope.spawn(|| {
            while reading.load(Ordering::Relaxed) {
                check_files(output);
            }
        });
        let is_over = wait_for("a directory below the top, or the end", || {
            let below = |manifest: Value| {
                let finished = manifest["finished_directories"].as_array().unwrap();
                finished.iter().any(|dir| depth(dir["path"].as_str().unwrap()) > top + 1)
            };
            let is_over = child.try_wait().unwrap().is_some();
            (is_over || manifest_at(output).is_some_and(below)).then_some(is_over)
        });
        if !is_over {
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        let said = child.wait_with_output().unwrap();
        reading.store(false, Ordering::Relaxed);
        said
    });
    (!said.status.success()).then_some(said)
}

#[test]
fn a_signal_ends_it_with_all_that_was_listed_and_it_goes_on_at_any_directory() {
    let ground = ground(200);
    for signal in [Signal::INT, Signal::TERM] {
        // On a busy machine it may be over before the signal comes: then once more, into other files.
        let mut attempts = (0..20).map(|nth| ground.beside(&format!("{nth} of {}.parquet", signal.as_raw())));
        let (output, said) = attempts
            .find_map(|output| Some((output.clone(), interrupted(&ground, &output, signal)?)))
            .unwrap();
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("--resume"), "{}", stderr(&said));
        let before = manifest_at(&output).unwrap();
        assert_eq!(before["completed"], false);
        let rows = in_chunks(&output);
        let finished = before["finished_directories"].as_array().unwrap();

        let said = scan(&ground, &output, &["--compat", "none", "--resume", "--json", "-v"]);
        let told = summary(&said);
        assert!(stderr(&said).contains("passed over"), "{}", stderr(&said));
        let named = finished.iter().filter_map(|dir| dir["path"].as_str());
        assert!(named.clone().count() > 0, "{before}");
        for path in named.filter(|path| path.is_ascii()) {
            assert!(stderr(&said).contains(path), "{path} is not named: {}", stderr(&said));
        }
        assert_eq!(told["passed_over"], finished.len());
        let all = in_chunks(&output);
        check(&all, ground.root());
        assert_eq!(told["rows"], all.len());
        assert!(rows.iter().all(|(path, row)| all.get(path) == Some(row)), "what was written is as it was");
    }
}

/// All files of a folder, and what is in them.
fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn what_cannot_be_gone_on_from_is_said_and_left_alone() {
    let ground = ground(30);
    let folder = ground.beside("out");
    fs::create_dir(&folder).unwrap();
    let output = folder.join("x.parquet");
    let (manifest, first) = (folder.join("x_manifest.json"), chunk(&output, 1));
    done(&scan(&ground, &output, &["--incremental", "--rows-per-chunk", "40"]));
    // As if it had been cut off before its end.
    let mut cut = manifest_at(&output).unwrap();
    cut["completed"] = json!(false);
    fs::write(&manifest, cut.to_string()).unwrap();
    let whole = contents(&folder);
    let refused = |more: &[&str], code: i32, why: &str| {
        let before = contents(&folder);
        let said = scan(&ground, &output, more);
        assert_eq!(said.status.code(), Some(code), "{}", stderr(&said));
        assert!(stderr(&said).contains(why), "{why}: {}", stderr(&said));
        assert_eq!(contents(&folder), before, "{why}");
    };
    refused(&["--resume", "--max-depth", "2"], 2, "max_depth");
    refused(&["--resume", "--follow-symlinks"], 2, "follow_symlinks");
    refused(&["--resume", "--exclude", "*.dat"], 2, "exclude");
    refused(&["--resume", "--compat", "none"], 2, "columns are unix-1");
    refused(&["--incremental"], 2, "was begun there already");
    let root = ground.root().join("a");
    let said = indexer(&ground.state(), &[&"scan", &"-p", &root, &"-o", &output, &"--resume"]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("its root is"), "{}", stderr(&said));

    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    refused(&["--resume"], 3, "is missing");
    fs::write(&first, &bytes[..bytes.len() - 9]).unwrap();
    refused(&["--resume"], 3, "bytes");
    fs::write(&first, vec![b'x'; bytes.len()]).unwrap();
    refused(&["--resume"], 3, "not what was written");
    fs::write(&first, &bytes).unwrap();
    let foreign = chunk(&output, cut["chunk_count"].as_u64().unwrap() as usize + 1);
    fs::copy(&first, folder.join("other")).unwrap();
    fs::write(&foreign, "mine").unwrap();
    refused(&["--resume"], 2, "is there already");
    fs::remove_file(&foreign).unwrap();
    for torn in ["", "{", "[]", "{\"format\": 1}", &cut.to_string().replace("\"format\":1", "\"format\":9")] {
        fs::write(&manifest, torn).unwrap();
        refused(&["--resume"], 3, "no scan can go on");
        refused(&["--incremental"], 3, "no scan can go on");
    }
    fs::remove_file(&manifest).unwrap();
    refused(&["--incremental"], 2, "is there already");
    refused(&["--resume"], 2, "is there already");
    fs::write(&manifest, cut.to_string()).unwrap();
    fs::remove_file(folder.join("other")).unwrap();
    assert_eq!(contents(&folder), whole);
    // As it was left it goes on, and has nothing to do.
    done(&scan(&ground, &output, &["--resume"]));
    assert_eq!(manifest_at(&output).unwrap()["total_rows"], cut["total_rows"]);
    assert_eq!(manifest_at(&output).unwrap()["completed"], true);

    // Anew: what an earlier scan left goes, and nothing else.
    fs::write(folder.join("x_chunk_mine.parquet"), "mine").unwrap();
    fs::write(&manifest, "{").unwrap();
    done(&scan(&ground, &output, &["--incremental", "--force", "--compat", "none"]));
    check(&in_chunks(&output), ground.root());
    let mut names: Vec<OsString> = contents(&folder).into_keys().collect();
    names.sort();
    assert_eq!(names, ["x_chunk_0001.parquet", "x_chunk_mine.parquet", "x_manifest.json"]);
}

#[test]
fn flags_that_are_for_an_index_or_make_no_sense_are_refused() {
    let ground = ground(0);
    let (root, output) = (ground.root(), ground.beside("x.parquet"));
    let refused = |words: &[&dyn AsRef<OsStr>], why: &str| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"scan"];
        all.extend(words);
        let said = indexer(&ground.state(), &all);
        assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
        assert!(stderr(&said).contains(why), "{why}: {}", stderr(&said));
    };
    refused(&[&root, &"-p", &root, &"-o", &output], "ROOT");
    for flag in ["--hash=full", "--algorithm=blake3", "--hash-rate=1MiB", "--profile=default"] {
        let name = flag.split('=').next().unwrap();
        refused(&[&"-p", &root, &"-o", &output, &flag], name);
    }
    refused(&[&"-p", &root], "--output");
    refused(&[&"-o", &output], "--path");
    refused(&[&root, &"--resume"], "--path");
    refused(&[&"-p", &root, &"-o", &output, &"--rows-per-chunk", &"9"], "--incremental");
    refused(&[&"-p", &root, &"-o", &output, &"--resume", &"--force"], "--force");
    refused(&[&"-p", &root, &"-o", &output, &"-b", &"0"], "--batch-size");
    refused(&[&"-p", &root, &"-o", &output, &"-t", &"0"], "at least one");
    refused(&[&"-p", &root, &"-o", &ground.beside("folder")], "ends in .parquet");
    refused(&[&"-p", &root, &"-o", &"s3://bucket/x.parquet"], "with files alone");
    refused(&[&"-p", &root.join("a/x"), &"-o", &output], "not a directory");
    refused(&[&"-p", &root.join("none"), &"-o", &output], "does not exist");
    assert!(!output.try_exists().unwrap());
}

#[test]
fn a_full_disk_leaves_what_was_whole_and_it_goes_on_with_more_room() {
    let ground = ground(300);
    let mount = match TmpfsMount::new("size=160k") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let output = mount.path().join("x.parquet");
    let said = scan(&ground, &output, &["--compat", "none"]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("No space left"), "{}", stderr(&said));
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);

    let words = ["--compat", "none", "--resume", "--rows-per-chunk", "300"];
    let said = scan(&ground, &output, &words);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(
        stderr(&said).contains("No space left") && stderr(&said).contains("--resume"),
        "{}",
        stderr(&said)
    );
    check_files(&output);
    assert!(!in_chunks(&output).is_empty(), "some were whole before it was full");
    // Moved to where there is more room.
    let folder = ground.beside("moved");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in contents(mount.path()) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let output = folder.join("x.parquet");
    done(&scan(&ground, &output, &words));
    check(&in_chunks(&output), ground.root());
}

#[test]
fn what_may_not_be_read_or_written_is_said() {
    let ground = Place::Here.open().unwrap();
    let closed = ground.root().join("closed");
    fs::create_dir_all(closed.join("below")).unwrap();
    fs::create_dir_all(ground.root().join("open")).unwrap();
    fs::write(ground.root().join("open/file"), "x").unwrap();
    let program = ground.lend(indexer_binary());
    let run = |words: &[&dyn AsRef<OsStr>]| {
        let mut command = Command::new(&program);
        command.arg("--state").arg(ground.state()).args(words.iter().map(|word| word.as_ref()));
        command.env("HOME", ground.state()).env_remove("XDG_CONFIG_HOME");
        unprivileged(&mut command);
        command.output().unwrap()
    };
    let folder = ground.beside("out");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut names = Vec::new();
    for (name, more) in [("one", &[][..]), ("many", &["--incremental", "--rows-per-chunk", "1"])] {
        let output = folder.join(format!("{name}.parquet"));
        let root = ground.root();
        let mut words: Vec<&dyn AsRef<OsStr>> =
            vec![&"scan", &"-p", &root, &"-o", &output, &"--json", &"--compat", &"none"];
        words.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        let said = run(&words);
        let told = summary(&said);
        assert_eq!((&told["unreadable"], &told["rows"]), (&json!(1), &json!(4)), "{}", stderr(&said));
        assert!(stderr(&said).contains("closed") && stderr(&said).contains("could not be looked at"));
        let rows =
            if more.is_empty() { in_order(&output) } else { in_chunks(&output).into_values().collect() };
        let told: BTreeSet<String> = rows.iter().map(|row| text(row, "name").to_owned()).collect();
        assert_eq!(told.len(), 4);
        assert!(told.contains("closed"), "it is there, and that is known: {told:?}");
        names.push(told);
    }
    assert_eq!(names[0], names[1]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();

    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let before = contents(&folder);
    for more in ["--compat=none", "--incremental"] {
        let said = run(&[&"scan", &"-p", &ground.root(), &"-o", &folder.join("new.parquet"), &more]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("ermission denied"), "{}", stderr(&said));
        let said = run(&[&"scan", &"-p", &ground.root(), &"-o", &ground.beside("none/new.parquet"), &more]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("No such file"), "{}", stderr(&said));
    }
    assert_eq!(contents(&folder), before);
}
