//! Whatever a file system can hold is indexed or reported: names of any bytes, paths of any length, odd times, large files,
//! large folders, entries that are no files, folders that cannot be read. It could break wherever a path passes through
//! text, a fixed buffer, the stack, or a number too small for it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use indexer_tests::{
    Daemon, Place, WalkedStat, find_json, indexer_binary, is_root, skipped, stderr, wait_for,
};
use record::wire::v1;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, mkdirat, mknodat, openat, utimensat,
};
use serde_json::Value;

/// Every name that has ever broken a program of this kind.
fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"new\nline"[..],
        b"\xff\xfe no utf-8",
        b"half \xc3",
        b"back\\slash",
        b"-leading-dash",
        b"--json",
        b"#123",
        b" space ",
        b"quote\"and'",
        b"tab\t",
        b"\x01\x1b[31m",
        b"*?[a]",
        b"$HOME",
        b"%41",
        b"...",
        b".hidden",
        b"~",
        b"\xe2\x80\xae over",
        b"e\xcc\x81",
        b"\xc3\xa9",
        b",;:|&",
    ]
    .iter()
    .map(|name| name.to_vec())
    .collect();
    names.push(vec![b'x'; 255]);
    names.push(vec![0xfe; 255]);
    names
}

fn paths(found: &std::collections::BTreeMap<Vec<u8>, Value>) -> BTreeSet<Vec<u8>> {
    found.keys().cloned().collect()
}

fn any_bytes(flags: &[&str]) {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let make = |below: &Path| {
        fs::create_dir_all(below).unwrap();
        for name in odd_names() {
            fs::write(below.join(OsStr::from_bytes(&name)), &name).unwrap();
            let folder = below.join("in").join(OsStr::from_bytes(&name));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(OsStr::from_bytes(&name)), b"x").unwrap();
        }
    };
    make(&root.join("before"));
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    let seq = daemon.seq();
    daemon.assert_exact(root);
    make(&root.join("after"));
    daemon.settle();
    daemon.assert_exact(root);

    // `path` is exact where it can be; elsewhere `path_raw` is, and `path` is for people.
    let records = daemon.changes(seq);
    let told: BTreeSet<Vec<u8>> = records
        .iter()
        .filter(|record| record["op"] == "created")
        .map(|record| {
            let (path, raw) = (record["path"].as_str().unwrap(), record["path_raw"].as_str());
            let bytes = v1::bytes_of(path, raw).unwrap();
            assert_eq!(raw.is_some(), std::str::from_utf8(&bytes).is_err(), "{record}");
            bytes
        })
        .collect();
    let found = find_json(&daemon, &root.join("after"));
    assert_eq!(told, paths(&found));
    for (path, entry) in &found {
        assert_eq!(entry["path_raw"].is_string(), std::str::from_utf8(path).is_err(), "{entry}");
    }

    // --print0 gives the bytes themselves.
    let said = daemon.run(&[&"find", &root, &"--print0"]);
    let bare: BTreeSet<Vec<u8>> =
        said.stdout.split(|&byte| byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect();
    assert_eq!(bare, paths(&find_json(&daemon, root)));
    // What people read stays one line an entry.
    let said = daemon.run(&[&"find", &root]);
    let lines = said.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(lines, bare.len());
    assert!(!said.stdout.contains(&0x1b), "an escape sequence reaches the terminal");

    for name in odd_names() {
        let path = root.join("after/in").join(OsStr::from_bytes(&name));
        let listed = daemon.ask(&[&"ls", &path]);
        assert_eq!(listed.len(), 1, "ls {}: {listed:?}", name.escape_ascii());
        let du = daemon.ask(&[&"du", &path]);
        assert_eq!((&du[0]["files"], &du[0]["directories"]), (&Value::from(1), &Value::from(1)), "{du:?}");
    }
    fs::remove_dir_all(root.join("before")).unwrap();
    fs::rename(root.join("after"), root.join(OsStr::from_bytes(b"\xffmoved\n"))).unwrap();
    daemon.settle();
    daemon.assert_exact(root);
}

#[test]
fn names_of_any_bytes() {
    any_bytes(&[]);
}

#[test]
fn names_of_any_bytes_by_inotify() {
    any_bytes(&["--backend", "inotify"]);
}

/// Makes a folder in the folder `at` and opens it.
fn deeper(at: &OwnedFd, name: &[u8]) -> OwnedFd {
    mkdirat(at, name, Mode::from_raw_mode(0o755)).unwrap();
    openat(at, name, OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).unwrap()
}

fn open_folder(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn file_in(at: &OwnedFd, name: &str) {
    drop(openat(at, name, OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap());
}

/// A chain of `depth` folders with a file at the bottom; returns the bottom.
fn chain(root: &Path, name: &[u8], depth: usize) -> OwnedFd {
    let mut at = open_folder(root);
    for _ in 0..depth {
        at = deeper(&at, name);
    }
    file_in(&at, "bottom");
    at
}

fn assert_verified(daemon: &Daemon, root: &Path) {
    let said = daemon.run(&[&"verify", &root]);
    assert!(said.status.success(), "{}{}", String::from_utf8_lossy(&said.stdout), stderr(&said));
    daemon.assert_whole();
}

fn beyond_path_max(flags: &[&str]) {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let name = [b'n'; 255];
    let bottom = chain(root, &name, 40);
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    assert_verified(&daemon, root);
    let seq = daemon.seq();
    file_in(&bottom, "another");
    let new = deeper(&bottom, b"folder");
    file_in(&new, "in it");
    daemon.settle();
    let told = daemon.told(seq);
    for wanted in ["created another", "created folder", "created in it"] {
        assert!(told.iter().any(|line| line == wanted), "no `{wanted}` in {told:?}");
    }
    assert_verified(&daemon, root);
    let longest = find_json(&daemon, root).keys().map(Vec::len).max().unwrap();
    assert!(longest > 40 * 256, "{longest}");
    let told = daemon.ask(&[&"du", &root]);
    assert_eq!(told[0]["directories"], 42);
}

#[test]
fn paths_beyond_path_max() {
    beyond_path_max(&[]);
}

#[test]
fn paths_beyond_path_max_by_inotify() {
    beyond_path_max(&["--backend", "inotify"]);
}

fn very_deep(flags: &[&str]) {
    const DEPTH: usize = 10_000;
    // Recursion in the removal of the folder would not survive this: let the file system go as a whole where that can be.
    let ground = if is_root() { Place::Tmpfs.open().unwrap() } else { Place::Here.open().unwrap() };
    let root = ground.root();
    let bottom = chain(root, b"d", DEPTH);
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    assert_verified(&daemon, root);
    let seq = daemon.seq();
    file_in(&bottom, "another");
    daemon.settle();
    let told = daemon.told(seq);
    assert!(told.iter().any(|line| line == "created another"), "{told:?}");
    assert_verified(&daemon, root);
    assert_eq!(daemon.ask(&[&"du", &root])[0]["directories"], DEPTH + 1);
    // Moved as a whole, it is one record.
    let seq = daemon.seq();
    fs::rename(root.join("d"), root.join("e")).unwrap();
    daemon.settle();
    assert_eq!(daemon.told(seq), ["renamed d e"]);
    assert_verified(&daemon, root);
    // And gone.
    let said = std::process::Command::new("rm").arg("-rf").arg(root.join("e")).status().unwrap();
    assert!(said.success());
    daemon.settle();
    daemon.assert_exact(root);
    assert_eq!(daemon.ask(&[&"du", &root])[0]["directories"], 1);
}

#[test]
fn depth_of_ten_thousand() {
    very_deep(&[]);
}

#[test]
fn depth_of_ten_thousand_by_inotify() {
    very_deep(&["--backend", "inotify"]);
}

/// The million is measured in the benches.
#[test]
fn a_hundred_thousand_entries_in_one_folder() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let folder = root.join("large");
    fs::create_dir(&folder).unwrap();
    let at = open_folder(&folder);
    for file in 0..100_000 {
        file_in(&at, &format!("file {file}"));
    }
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    assert_eq!(daemon.status()["entries"], 100_002);
    let seq = daemon.seq();
    // No look at it comes between the making of a file and its close.
    daemon.while_stopped(|| {
        file_in(&at, "one more");
        fs::rename(folder.join("file 77"), folder.join("seven")).unwrap();
        fs::remove_file(folder.join("file 78")).unwrap();
    });
    daemon.settle();
    let told: BTreeSet<String> = daemon.told(seq).into_iter().collect();
    let wanted = ["created one more", "renamed file 77 seven", "deleted file 78"];
    assert_eq!(told, wanted.map(str::to_owned).into());
    daemon.assert_exact(root);
}

/// Times as far as the file system keeps them, sizes beyond 32 bits, and every kind of entry.
fn odd_entries(place: Place) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root().to_owned();
    let times: [(&str, i64); 5] = [
        ("1901", -2_147_483_648),
        ("1969", -1),
        ("1970", 0),
        ("2039", 2_177_452_800),
        ("2400", 13_569_465_600),
    ];
    let make = |below: PathBuf| {
        fs::create_dir(&below).unwrap();
        for (name, seconds) in times {
            fs::write(below.join(name), name).unwrap();
            let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
            let both = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, below.join(name), &both, AtFlags::empty()).unwrap();
        }
        File::create(below.join("sparse")).unwrap().set_len(5 << 30).unwrap();
        mknodat(CWD, below.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        drop(UnixListener::bind(below.join("socket")).unwrap());
        if is_root() {
            for (name, kind) in [("char", FileType::CharacterDevice), ("block", FileType::BlockDevice)] {
                mknodat(CWD, below.join(name), kind, Mode::from_raw_mode(0o600), rustix::fs::makedev(1, 3))
                    .unwrap();
            }
        }
        symlink(&below, below.join("loop")).unwrap();
        symlink("itself", below.join("itself")).unwrap();
        symlink("nowhere", below.join("dangling")).unwrap();
        symlink("x".repeat(1000), below.join("long")).unwrap();
        fs::set_permissions(below.join("1970"), fs::Permissions::from_mode(0o6755)).unwrap();
    };
    make(root.join("before"));
    let daemon = Daemon::start(&ground.state(), &[&root], &[]);
    make(root.join("after"));
    daemon.settle();
    daemon.assert_exact(&root);
    let walked = indexer_tests::independent_walk(&root);
    let at = |name: &str| -> &WalkedStat { &walked[root.join("after").join(name).as_os_str().as_bytes()] };
    assert!(at("1969").modified_ns < 0 && at("sparse").size == 5 << 30 && at("itself").kind == "symlink");
    if matches!(place, Place::Ext4 | Place::Xfs) {
        assert_eq!(at("2400").modified_ns, 13_569_465_600_123_456_789, "the file system keeps it");
    }
    let kinds: BTreeSet<&str> = walked.values().map(|stat| stat.kind).collect();
    assert_eq!(kinds.len(), if is_root() { 7 } else { 5 }, "{kinds:?}");
    for kind in kinds {
        let count = walked.values().filter(|stat| stat.kind == kind).count();
        assert_eq!(daemon.ask(&[&"find", &root, &"--type", &kind]).len(), count, "{kind}");
    }
}

#[test]
fn odd_entries_here() {
    odd_entries(Place::Here);
}

#[test]
fn odd_entries_on_ext4() {
    odd_entries(Place::Ext4);
}

#[test]
fn odd_entries_on_xfs() {
    odd_entries(Place::Xfs);
}

#[test]
fn odd_entries_on_btrfs() {
    odd_entries(Place::Btrfs);
}

/// R4: a folder that cannot be read any more keeps its rows, and `status` says that nobody vouches for them.
#[test]
fn r4_what_cannot_be_read_is_kept_and_told() {
    let ground = Place::Here.open().unwrap();
    let binary = ground.lend(indexer_binary());
    let root = ground.root();
    for folder in ["closed/below", "never", "open"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("file"), b"x").unwrap();
    }
    let own = |mode: u32, name: &str| {
        let path = root.join(name);
        if is_root() {
            std::os::unix::fs::chown(&path, Some(indexer_tests::NOBODY), None).unwrap();
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    own(0o000, "never");
    own(0o755, "closed");
    let mut daemon = Daemon::spawn_unprivileged(&binary, &ground.state(), &[root], &[]);
    daemon.wait_live();
    let blind = |daemon: &Daemon| -> String { daemon.status()["roots"][0]["blind_paths"].to_string() };
    assert!(blind(&daemon).contains("never"), "{}", daemon.status());
    let rows = |daemon: &Daemon| find_json(daemon, root).len();
    assert_eq!(rows(&daemon), 7, "the file in `never` cannot be seen, all else can");
    assert!(daemon.ask(&[&"ls", &root.join("never")]).is_empty());

    own(0o000, "closed");
    daemon.settle();
    fs::write(root.join("open/another"), b"x").unwrap();
    let _ = daemon.run(&[&"sweep", &root]);
    daemon.settle();
    assert_eq!(rows(&daemon), 8, "what cannot be looked at is not gone");
    wait_for("`closed` among what nobody vouches for", || blind(&daemon).contains("closed").then_some(()));
    // The same over a restart.
    assert!(daemon.terminate().success());
    let mut daemon = Daemon::spawn_unprivileged(&binary, &ground.state(), &[root], &[]);
    daemon.wait_live();
    assert_eq!(rows(&daemon), 8);
    assert!(blind(&daemon).contains("closed"), "{}", daemon.status());

    // Opened again, both are looked into.
    own(0o755, "closed");
    own(0o755, "never");
    daemon.settle();
    daemon.assert_exact(root);
    assert_eq!(daemon.status()["roots"][0]["blind"], 0, "{}", daemon.status());
}

/// A file that was made without a name pins the directory it was made in, and the watch there; after that directory went, its
/// number is all that an event tells.
fn made_without_a_name(flags: &[&str]) {
    let ground = match Place::Ext4.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let (root, gone) = (ground.root(), ground.root().join("gone"));
    fs::create_dir(&gone).unwrap();
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    let unnamed = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &gone, unnamed, Mode::from_raw_mode(0o644)).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    let opened = format!("/proc/self/fd/{number}");
    rustix::fs::linkat(CWD, opened, CWD, root.join("linked"), AtFlags::SYMLINK_FOLLOW).unwrap();
    fs::remove_dir(&gone).unwrap();
    daemon.settle();
    daemon.assert_exact(root);
    rustix::io::write(&file, b"written where nobody has a name for it").unwrap();
    daemon.settle();
    daemon.assert_exact(root);
}

#[test]
fn made_without_a_name_in_what_is_gone() {
    made_without_a_name(&[]);
}

#[test]
fn made_without_a_name_in_what_is_gone_by_inotify() {
    made_without_a_name(&["--backend", "inotify"]);
}
