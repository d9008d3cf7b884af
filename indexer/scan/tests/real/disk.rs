//! The walk on real directories: odd names, great depth and width, what cannot be read, and what goes meanwhile.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{is_root, scope, set, shown, shown_while, stopped};
use record::{EntryId, Kind, Time};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use scan::{Errno, Look, Rules, Start, look, open_below, open_root};

fn put(root: &Path, paths: &[&str]) {
    for path in paths {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"content").unwrap();
    }
}

#[test]
fn odd_names_come_out_byte_for_byte() {
    let temp = tempfile::tempdir().unwrap();
    let long = [b'n'; 255];
    let names: [&[u8]; 8] =
        [b"new\nline", b"\xff\xfe\x80", &long, b"back\\slash", b" ", b"-rf", b"...", "ü😀".as_bytes()];
    for name in names {
        let dir = temp.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(OsStr::from_bytes(name)), b"").unwrap();
    }
    let shown = shown(&scope(temp.path()));
    assert_eq!(shown.entries.len(), 2 * names.len());
    for name in names {
        assert_eq!(shown.entries[name].1.stat.kind, Kind::Directory);
        assert_eq!(shown.entries[&[name, b"/", name].concat()].1.stat.kind, Kind::File);
    }
    assert!(shown.failed.is_empty());
}

#[test]
fn ten_thousand_levels_are_walked_and_opened() {
    const DEPTH: usize = 10_000;
    let temp = tempfile::tempdir().unwrap();
    let name = b"level_of_some_length";
    let mut at = open_root(temp.path().as_os_str().as_bytes()).unwrap();
    let root = at.try_clone().unwrap();
    for _ in 0..DEPTH {
        mkdirat(&at, &name[..], Mode::RWXU).unwrap();
        at = openat(&at, &name[..], OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let deepest = scan::look_self(at.as_fd()).unwrap();
    let scope = scope(temp.path());
    // To write down 10,000 paths of 200 kB would take longer than the walk: this only counts.
    let counted = count(&scope);
    assert_eq!(counted, (DEPTH as u64, DEPTH as u64 + 1));
    let components = vec![&name[..]; DEPTH];
    let opened = open_below(root.as_fd(), &components).unwrap();
    assert!(scan::look_self(opened.as_fd()).unwrap().same_inode(&deepest));
    // The same by one long path.
    let mut path = temp.path().as_os_str().as_bytes().to_vec();
    for _ in 0..DEPTH {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    assert!(scan::look_self(open_root(&path).unwrap().as_fd()).unwrap().same_inode(&deepest));
    drop((at, root, opened));
    // The standard library removes recursively, and runs out of stack or descriptors here.
    assert!(Command::new("rm").arg("-rf").arg(temp.path()).status().unwrap().success());
}

fn count(scope: &scan::Scope) -> (u64, u64) {
    struct Counter;
    impl scan::Visitor for Counter {
        type Worker = ();
        type Data = ();
        fn worker(&self) {}
        fn finish(&self, (): ()) {}
        fn enter(
            &self,
            (): &mut (),
            _: &scan::Directory<()>,
            _: std::os::fd::BorrowedFd<'_>,
            _: &scan::Seen,
        ) -> bool {
            true
        }
        fn entry(&self, (): &mut (), _: &scan::Directory<()>, _: &[u8], _: EntryId, _: &scan::Seen) {}
        fn failed(
            &self,
            (): &mut (),
            _: &scan::Directory<()>,
            _: Option<&[u8]>,
            error: Errno,
            doing: &'static str,
        ) {
            panic!("failed to {doing}: {error}");
        }
        fn listed(&self, (): &mut (), _: &scan::Directory<()>, _: &scan::Seen, complete: bool) {
            assert!(complete);
        }
        fn done(&self, (): &mut (), _: &scan::Directory<()>) {}
    }
    let progress = scan::Progress::default();
    scan::walk(scope, Start::root(scope).unwrap(), 2, &Counter, &AtomicBool::new(false), &progress).unwrap();
    (progress.entries.load(Ordering::Relaxed), progress.directories.load(Ordering::Relaxed))
}

#[test]
fn a_hundred_thousand_entries_in_one_directory() {
    let temp = tempfile::tempdir().unwrap();
    let dir = open_root(temp.path().as_os_str().as_bytes()).unwrap();
    std::fs::write(temp.path().join("first"), b"").unwrap();
    // Hard links are the cheapest entries; ext4 allows 65,000 a file, so a second one takes the rest.
    std::fs::write(temp.path().join("second"), b"").unwrap();
    for number in 0..98_998 {
        let from = if number % 2 == 0 { "first" } else { "second" };
        rustix::fs::linkat(&dir, from, &dir, format!("f{number}"), AtFlags::empty()).unwrap();
    }
    for number in 0..1_000 {
        mkdirat(&dir, format!("d{number}"), Mode::RWXU).unwrap();
    }
    assert_eq!(count(&scope(temp.path())), (100_000, 1_001));
}

#[test]
fn every_kind_is_seen_and_loops_of_links_are_only_links() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    put(root, &["dir/file"]);
    symlink(".", root.join("dir/loop")).unwrap();
    symlink("..", root.join("dir/up")).unwrap();
    symlink("self", root.join("self")).unwrap();
    symlink("/nowhere/at/all", root.join("broken")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let dir = open_root(root.as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(&dir, "fifo", rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let shown = shown(&scope(root));
    let kinds: Vec<(&str, Kind)> = shown
        .entries
        .iter()
        .map(|(path, (_, seen))| (std::str::from_utf8(path).unwrap(), seen.stat.kind))
        .collect();
    let expected = [
        ("broken", Kind::Symlink),
        ("dir", Kind::Directory),
        ("dir/file", Kind::File),
        ("dir/loop", Kind::Symlink),
        ("dir/up", Kind::Symlink),
        ("fifo", Kind::Fifo),
        ("self", Kind::Symlink),
        ("socket", Kind::Socket),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(shown.done.last().unwrap(), b"");
    assert_eq!(shown.listed.len(), 2);
}

#[test]
fn a_look_says_what_the_standard_library_says() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["file"]);
    let told = std::fs::symlink_metadata(temp.path().join("file")).unwrap();
    let dir = open_root(temp.path().as_os_str().as_bytes()).unwrap();
    let Look::Present(seen) = look(dir.as_fd(), b"file") else { panic!("not seen") };
    assert_eq!((seen.inode, seen.device, seen.stat.size), (told.ino(), told.dev(), told.len()));
    assert_eq!(u32::from(seen.stat.mode), told.mode() & 0o7777);
    assert_eq!(
        (seen.stat.uid, seen.stat.gid, u64::from(seen.stat.links)),
        (told.uid(), told.gid(), told.nlink())
    );
    assert_eq!(seen.stat.allocated, told.blocks() * 512);
    let time = |seconds, nanoseconds: i64| Time::from_parts(seconds, u32::try_from(nanoseconds).unwrap());
    assert_eq!(seen.stat.modified, time(told.mtime(), told.mtime_nsec()));
    assert_eq!(seen.stat.changed, time(told.ctime(), told.ctime_nsec()));
    assert_eq!(seen.stat.created.is_some(), told.created().is_ok());
    assert_eq!(look(dir.as_fd(), b"absent"), Look::Absent);
    assert_eq!(look(dir.as_fd(), b"file/below"), Look::Absent);
    assert_eq!(look(dir.as_fd(), &[b'n'; 256]), Look::Failed(Errno::NAMETOOLONG));
}

#[test]
fn depth_and_rules_and_the_state_folder_limit_what_is_shown() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    put(root, &["a/b/c/file", "a/x.tmp", "cache/file", "state/db", "top"]);
    let mut deep = scope(root);
    deep.max_depth = Some(2);
    let found = shown(&deep);
    assert_eq!(
        found.names(),
        set(&["a", "a/b", "a/x.tmp", "cache", "cache/file", "state", "state/db", "top"])
    );
    // The directory at the limit is listed, and nothing in it belongs to the root.
    assert_eq!(found.listed.get(&b"a/b"[..]), Some(&true));
    deep.max_depth = Some(0);
    assert!(shown(&deep).names().is_empty());
    let mut ruled = scope(root);
    ruled.rules = Rules::new(root.as_os_str().as_bytes(), &["*.tmp".into(), "/cache/".into()], None).unwrap();
    let state = std::fs::symlink_metadata(root.join("state")).unwrap();
    ruled.left_out = vec![(state.dev(), state.ino())];
    assert_eq!(shown(&ruled).names(), set(&["a", "a/b", "a/b/c", "a/b/c/file", "top"]));
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_shown() {
    const DIR: &str = "SCAN_TEST_UNREADABLE";
    if let Some(root) = std::env::var_os(DIR) {
        let root = PathBuf::from(root);
        let shown = shown(&scope(&root));
        assert_eq!(shown.names(), set(&["closed", "open", "open/file"]));
        assert_eq!(shown.failed, [(b"/closed".to_vec(), Errno::ACCESS, "open")]);
        assert!(shown.listed[&b""[..]]);
        assert!(!shown.listed.contains_key(&b"closed"[..]));
        assert_eq!(shown.done.len(), 2);
        println!("it ran");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["closed/file", "open/file"]);
    std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(temp.path().join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "disk::what_cannot_be_read_is_told_and_the_rest_is_shown", "--nocapture"]);
    again.env(DIR, temp.path());
    if is_root() {
        // Root may read everything; nobody may not.
        std::os::unix::process::CommandExt::uid(&mut again, 65_534);
    }
    let result = again.current_dir("/").output();
    std::fs::set_permissions(temp.path().join("closed"), PermissionsExt::from_mode(0o755)).unwrap();
    match result {
        Err(error) => println!("SKIPPED: nobody may not run this test's program: {error}"),
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && told.contains("it ran"), "{told}");
        }
    }
}

#[test]
fn a_directory_that_goes_in_mid_walk_is_told_as_gone() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["a/inner/file", "b/inner/file"]);
    // Each directory removes the other's inner one when entered: both were looked at, or are gone by then.
    let root = temp.path().to_path_buf();
    let shown = shown_while(&scope(temp.path()), |path| {
        if path == b"a" || path == b"b" {
            let other = if path == b"a" { "b" } else { "a" };
            drop(std::fs::remove_dir_all(root.join(other).join("inner")));
        }
        true
    });
    for (path, error, doing) in &shown.failed {
        let path = String::from_utf8_lossy(path).into_owned();
        assert!(matches!((*error, *doing), (Errno::NOENT, "open" | "list")), "{path} {error} {doing}");
    }
    assert!(shown.names().is_superset(&set(&["a", "b"])));
    assert!(shown.listed[&b""[..]]);
}

#[test]
fn a_directory_exchanged_between_look_and_open_is_stale() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["dir/file"]);
    let root = open_root(temp.path().as_os_str().as_bytes()).unwrap();
    let scope = scope(temp.path());
    struct Exchange<'a>(&'a Path, AtomicBool);
    impl scan::Visitor for Exchange<'_> {
        type Worker = ();
        type Data = ();
        fn worker(&self) {}
        fn finish(&self, (): ()) {}
        fn enter(
            &self,
            (): &mut (),
            dir: &scan::Directory<()>,
            _: std::os::fd::BorrowedFd<'_>,
            _: &scan::Seen,
        ) -> bool {
            assert_eq!(dir.depth, 0);
            true
        }
        fn entry(&self, (): &mut (), _: &scan::Directory<()>, _: &[u8], _: EntryId, _: &scan::Seen) {}
        fn failed(
            &self,
            (): &mut (),
            _: &scan::Directory<()>,
            name: Option<&[u8]>,
            error: Errno,
            doing: &'static str,
        ) {
            assert_eq!((name, error, doing), (Some(&b"dir"[..]), Errno::STALE, "open"));
            self.1.store(true, Ordering::Relaxed);
        }
        fn listed(&self, (): &mut (), _: &scan::Directory<()>, _: &scan::Seen, _: bool) {
            std::fs::rename(self.0.join("dir"), self.0.join("moved")).unwrap();
            std::fs::create_dir(self.0.join("dir")).unwrap();
        }
        fn done(&self, (): &mut (), _: &scan::Directory<()>) {}
    }
    let visitor = Exchange(temp.path(), AtomicBool::new(false));
    let start = Start::root(&scope).unwrap();
    scan::walk(&scope, start, 1, &visitor, &AtomicBool::new(false), &scan::Progress::default()).unwrap();
    assert!(visitor.1.load(Ordering::Relaxed));
    unlinkat(&root, "dir", AtFlags::REMOVEDIR).unwrap();
}

#[test]
fn a_stop_ends_the_walk_and_nothing_unfinished_is_done() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["a/b/c/d/file"]);
    let stop = AtomicBool::new(false);
    let scope = scope(temp.path());
    let (was_stopped, shown) = stopped(&scope, &stop, |path| {
        if path == b"a/b" {
            stop.store(true, Ordering::Relaxed);
        }
        true
    });
    assert!(was_stopped);
    assert!(shown.done.is_empty());
    assert_eq!(shown.names(), set(&["a", "a/b", "a/b/c"]));
}

#[test]
fn a_walk_may_begin_below_the_root() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["a/b/c/file", "a/other"]);
    let scope = scope(temp.path());
    let (root, _) = scope.open().unwrap();
    let dir = scope.open_below(root.as_fd(), &[b"a", b"b"]).unwrap();
    let seen = scan::look_self(dir.as_fd()).unwrap();
    let id = EntryId::new(scope.root_entry().unwrap().volume, seen.inode);
    let writer = crate::common::Writer { shown: Default::default(), at_enter: |_: &[u8]| true };
    let start = Start::below(&scope, dir, id, vec![b"a"[..].into(), b"b"[..].into()]);
    scan::walk(&scope, start, 2, &writer, &AtomicBool::new(false), &scan::Progress::default()).unwrap();
    let shown = writer.shown.into_inner().unwrap();
    assert_eq!(shown.names(), set(&["a/b/c", "a/b/c/file"]));
    assert_eq!(shown.done, [b"a/b/c".to_vec(), b"a/b".to_vec()]);
}

/// What jwalk finds below `root`; none where something goes meanwhile.
fn walked(root: &str) -> Option<Vec<(Vec<u8>, u64, u64)>> {
    // One thread of its own: in a busy pool jwalk may find nothing and call that success.
    let oracle = jwalk::WalkDir::new(root)
        .skip_hidden(false)
        .follow_links(false)
        .parallelism(jwalk::Parallelism::Serial);
    let mut found = Vec::new();
    for entry in oracle {
        let path = entry.ok()?.path();
        if path != Path::new(root) {
            let told = std::fs::symlink_metadata(&path).ok()?;
            let path = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            found.push((path, told.ino(), told.len()));
        }
    }
    found.sort();
    Some(found)
}

#[test]
fn jwalk_finds_the_same() {
    for root in ["/usr/share/doc", "/etc", "/usr/include"] {
        if !Path::new(root).try_exists().unwrap() {
            println!("SKIPPED: {root} is not here");
            continue;
        }
        // The system may be at work in it: what counts is what was the same before and after.
        let judged = (0..10).any(|_| {
            let before = walked(root);
            let found: Vec<(Vec<u8>, u64, u64)> = shown(&scope(Path::new(root)))
                .entries
                .into_iter()
                .map(|(path, (id, seen))| (path, id.inode, seen.stat.size))
                .collect();
            let Some(expected) = before.filter(|before| walked(root).as_ref() == Some(before)) else {
                return false;
            };
            assert!(found == expected, "{root}: {} found, {} expected", found.len(), expected.len());
            true
        });
        assert!(judged, "{root} changes all the time");
    }
}
