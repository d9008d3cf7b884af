//! A first scan that is cut off is gone on with: what was listed is not listed again before `live`, what changed meanwhile
//! is found by a sweep after it, and what cannot be trusted is begun anew. It could break wherever a run, a mark and the
//! manifest are not of one moment, and wherever the tree changes while nobody looks.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexer_tests::{Daemon, Place, Rng, TmpfsMount, indexer, indexer_binary, json_lines, skipped, wait_for};
use rustix::process::Signal;

/// Directories of [`tree`], its root among them.
const DIRECTORIES: u64 = 1 + 20 + 20 * 25 + 20 * 25 * 12;

/// 6,521 directories and three times as many files, some with a name more.
fn tree(root: &Path) {
    for a in 0..20 {
        for b in 0..25 {
            for c in 0..12 {
                let folder = root.join(format!("{a}/{b}/{c}"));
                fs::create_dir_all(&folder).unwrap();
                for file in 0..3 {
                    fs::write(folder.join(format!("{file}")), vec![b'x'; file * 100]).unwrap();
                }
            }
        }
        fs::hard_link(root.join(format!("{a}/0/0/0")), root.join(format!("{a}/24/11/link"))).unwrap();
    }
}

/// Flags by which a scan is made safe all the time, and takes its time.
fn flags(beside: &Path) -> [String; 5] {
    let config = beside.with_extension("toml");
    fs::write(&config, "checkpoint = \"5ms\"\n").unwrap();
    ["--config".into(), config.to_str().unwrap().into(), "--threads".into(), "2".into(), "--verbose".into()]
}

fn spawn(state: &Path, root: &Path, more: &[&str]) -> Daemon {
    let flags = flags(state);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Daemon::spawn(indexer_binary(), state, &[root], &flags)
}

fn manifest(state: &Path) -> PathBuf {
    state.join("seed/manifest")
}

fn inode(path: &Path) -> Option<u64> {
    path.symlink_metadata().ok().map(|meta| meta.ino())
}

/// Starts a first scan, or goes on with one, and ends it by `end` once it was made safe `times` more. False: it was done
/// before that.
fn cut_off(state: &Path, root: &Path, times: u64, end: fn(&mut Daemon)) -> bool {
    let mut last = inode(&manifest(state));
    let mut daemon = spawn(state, root, &[]);
    let mut seen = 0;
    let done = wait_for("a checkpoint or the end of the scan", || {
        let now = inode(&manifest(state));
        if now.is_some() && now != last {
            (last, seen) = (now, seen + 1);
        }
        let stored = daemon.log().contains("first scan is stored");
        (stored || seen >= times).then_some(stored)
    });
    end(&mut daemon);
    !done && is_cut_off(state)
}

/// Whether a scan that has ended is to be gone on with: it may have been stored, and its manifest not removed yet.
fn is_cut_off(state: &Path) -> bool {
    let records = json_lines(&indexer(state, &[&"changes", &"--since", &"0", &"--json"]));
    manifest(state).try_exists().unwrap() && records.iter().all(|record| record["op"] != "seeded")
}

fn kill(daemon: &mut Daemon) {
    daemon.kill9();
}

/// A state folder with a scan that was cut off.
fn interrupted(state: &Path, root: &Path) {
    for _ in 0..20 {
        if cut_off(state, root, 1, kill) {
            return;
        }
        let _ = fs::remove_dir_all(state);
    }
    panic!("twenty scans were done before their first checkpoint");
}

/// The number after `field=` in the first line of the log that holds `line`.
fn logged(daemon: &Daemon, line: &str, field: &str) -> Option<u64> {
    let log = daemon.log();
    let line = log.lines().find(|at| at.contains(line))?;
    let at = line.find(&format!("{field}="))? + field.len() + 1;
    line[at..].split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Goes on to the end; what it says of itself: directories listed before `live`, and before the interruption.
fn go_on(state: &Path, root: &Path, more: &[&str]) -> (Daemon, u64, u64) {
    let mut daemon = spawn(state, root, more);
    daemon.wait_live();
    let said = wait_for("what it listed", || logged(&daemon, "all directories are listed", "directories"));
    let before = logged(&daemon, "all directories are listed", "before").unwrap();
    (daemon, said, before)
}

/// Exact, whole, and told: one `seeded` record first, and a gap where the scan was gone on with.
fn assert_right(daemon: &Daemon, state: &Path, root: &Path, resumed: bool) {
    daemon.settle();
    daemon.assert_exact(root);
    let doctor = daemon.run(&[&"doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    let records = daemon.changes(0);
    assert_eq!(records.iter().filter(|record| record["op"] == "seeded").count(), 1);
    assert_eq!(records[0]["op"], "seeded");
    let gaps: Vec<_> = records.iter().filter(|record| record["op"] == "gap").collect();
    assert_eq!(gaps.len(), usize::from(resumed), "{gaps:#?}");
    assert!(gaps.iter().all(|gap| gap["why"].as_str().unwrap().contains("interrupted")));
    assert!(!state.join("seed").try_exists().unwrap(), "nothing is left of the runs");
    assert_eq!(daemon.status()["roots"][0]["state"], "live");
}

/// Killed at any moments, told to leave at others: each start goes on where the last one was safe.
#[test]
fn cut_off_again_and_again_it_goes_on() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root);
    let mut rng = Rng::new(11);
    for round in 0..4 {
        let state = ground.beside(&format!("state-{round}"));
        let ends: [fn(&mut Daemon); 3] = [
            kill,
            |daemon| assert!(daemon.terminate().success(), "{}", daemon.log()),
            |daemon| {
                daemon.signal(Signal::INT);
                wait_for("its end", || daemon.log().contains("stopping").then_some(()));
                daemon.kill9();
            },
        ];
        let mut cuts = 0;
        let mut through = false;
        while cuts < 4 && !through {
            through = !cut_off(&state, root, 1 + rng.below(3), ends[rng.below(3) as usize]);
            cuts += u32::from(!through);
        }
        if through {
            // It was quicker than its end; that must do no harm either.
            let daemon = Daemon::start(&state, &[root], &[]);
            daemon.settle();
            daemon.assert_exact(root);
            assert!(!state.join("seed").try_exists().unwrap(), "nothing is left of the runs");
            continue;
        }
        let (daemon, listed, before) = go_on(&state, root, &[]);
        assert_eq!(listed + before, DIRECTORIES, "after {cuts} cuts:\n{}", daemon.log());
        assert!(before > 0, "{}", daemon.log());
        assert!(daemon.log().contains("going on with the first scan"), "{}", daemon.log());
        assert_right(&daemon, &state, root, true);
    }
}

/// Whatever was done to the tree while nothing ran, in what was listed and in what was not.
#[test]
fn what_changed_meanwhile_is_found() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root);
    let mut rng = Rng::new(12);
    for round in 0..4 {
        let state = ground.beside(&format!("state-{round}"));
        interrupted(&state, root);
        for work in 0..60 {
            let at =
                |rng: &mut Rng| root.join(format!("{}/{}/{}", rng.below(20), rng.below(25), rng.below(12)));
            let (one, other) = (at(&mut rng), at(&mut rng));
            let new = other.join(format!("new {round} {work}"));
            // Some of these have nothing to do where an earlier one was: that is as good as another.
            let _ = match rng.below(9) {
                0 => fs::remove_dir_all(&one),
                1 => fs::rename(&one, &new),
                2 => fs::rename(one.parent().unwrap(), &new),
                3 => fs::write(&new, b"more"),
                4 => fs::remove_file(one.join("0")).and_then(|()| fs::create_dir_all(new.join("sub"))),
                5 => fs::remove_dir_all(&one).and_then(|()| fs::write(&new, b"its number")),
                6 => fs::hard_link(one.join("1"), &new),
                7 => fs::rename(one.join("1"), &new),
                _ => fs::write(one.join("2"), b"other"),
            };
        }
        let (daemon, _, before) = go_on(&state, root, &[]);
        assert!(before > 0, "{}", daemon.log());
        assert_right(&daemon, &state, root, true);
    }
}

/// Rules, the root, the files of the seed: what is not what it was begins anew, aloud.
#[test]
fn what_is_not_what_it_was_begins_anew() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root);
    type Change = fn(&Path, &Path);
    let changes: [(&str, Change); 8] = [
        ("flip", |state, _| change_file(&manifest(state), |bytes| bytes[40] ^= 4)),
        ("version", |state, _| change_file(&manifest(state), |bytes| bytes[8] = 2)),
        ("cut", |state, _| change_file(&manifest(state), |bytes| bytes.truncate(60))),
        ("run flip", |state, _| for_runs(state, "entries", |run| change_file(run, |bytes| flip(bytes)))),
        ("run cut", |state, _| for_runs(state, "names", |run| change_file(run, |bytes| bytes.truncate(7)))),
        ("run gone", |state, _| for_runs(state, "listed", |run| fs::remove_file(run).unwrap())),
        ("patterns", |_, root| fs::write(root.join(".indexerignore"), b"nothing-like-it\n").unwrap()),
        ("root", |_, root| {
            let old = root.with_extension("old");
            fs::rename(root, &old).unwrap();
            fs::create_dir(root).unwrap();
            for folder in fs::read_dir(&old).unwrap() {
                let folder = folder.unwrap();
                fs::rename(folder.path(), root.join(folder.file_name())).unwrap();
            }
            fs::remove_dir(&old).unwrap();
        }),
    ];
    for (name, change) in changes {
        let state = ground.beside(&format!("state {name}"));
        interrupted(&state, root);
        change(&state, root);
        let (daemon, listed, before) = go_on(&state, root, &[]);
        assert!(daemon.log().contains("it begins anew"), "{name}:\n{}", daemon.log());
        assert_eq!((listed, before), (DIRECTORIES, 0), "{name}");
        assert_right(&daemon, &state, root, false);
    }
    let state = ground.beside("state rules");
    interrupted(&state, root);
    let (daemon, listed, before) = go_on(&state, root, &["--exclude", "19/24"]);
    assert!(daemon.log().contains("the rules of"), "{}", daemon.log());
    assert_eq!((listed, before), (DIRECTORIES - 13, 0));
}

fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A bit of the 20th byte, where there is one: a run that is not named may end anywhere.
fn flip(bytes: &mut [u8]) {
    if let Some(byte) = bytes.get_mut(20) {
        *byte ^= 1;
    }
}

/// Every run of this kind: the manifest names one of them at least, and not always the oldest, as a worker may be at
/// that one still when another has ended its own.
fn for_runs(state: &Path, kind: &str, change: impl Fn(&Path)) {
    for file in fs::read_dir(state.join("seed")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(kind) {
            change(&path);
        }
    }
}

/// No room for the runs: the daemon ends and says what to do; with room it goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let mount = match TmpfsMount::new("size=2m") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    tree(root);
    let state = mount.path().join("state");
    let beside = flags(&ground.state());
    let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"scan", &root, &"--config", &beside[1], &"--threads", &"2", &"--verbose"];
    let full = indexer(&state, &arguments);
    let said = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(3), "{said}");
    assert!(said.contains("make room"), "{said}");
    let more = Command::new("mount").args(["-o", "remount,size=64m"]).arg(mount.path()).status().unwrap();
    assert!(more.success());
    let (daemon, listed, before) = {
        let mut daemon =
            Daemon::spawn(indexer_binary(), &state, &[root], &["--config", &beside[1], "--verbose"]);
        daemon.wait_live();
        let said =
            wait_for("what it listed", || logged(&daemon, "all directories are listed", "directories"));
        let before = logged(&daemon, "all directories are listed", "before").unwrap();
        (daemon, said, before)
    };
    assert_eq!(listed + before, DIRECTORIES, "{}", daemon.log());
    assert_right(&daemon, &state, root, before > 0);
}

/// `indexer scan` goes on likewise, and compares with the disk before it ends.
#[test]
fn a_scan_goes_on_too() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    tree(root);
    let flags = flags(&state);
    let mut scan = Command::new(indexer_binary());
    scan.arg("--state").arg(&state).arg("scan").arg(root).args(&flags);
    scan.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = scan.spawn().unwrap();
    wait_for("a checkpoint", || {
        (manifest(&state).try_exists().unwrap() || child.try_wait().unwrap().is_some()).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let cut = is_cut_off(&state);
    fs::write(root.join("0/0/0/meanwhile"), b"x").unwrap();
    fs::remove_dir_all(root.join("7/7")).unwrap();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"scan", &root];
    arguments.extend(flags.iter().map(|flag| flag as &dyn AsRef<std::ffi::OsStr>));
    let again = indexer(&state, &arguments);
    let log = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success(), "{log}");
    assert_eq!(log.contains("going on with the first scan"), cut, "{log}");
    let verify = indexer(&state, &[&"verify"]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    assert!(indexer(&state, &[&"doctor"]).status.success());
}
