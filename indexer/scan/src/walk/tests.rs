//! What the walk does at its limits: no descriptors to spare, and a stop in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use record::{RootId, VolumeId};

use super::*;

/// Writes down the paths of directories; nothing may fail.
#[derive(Default)]
struct Paths {
    entered: Mutex<BTreeSet<Vec<u8>>>,
    done: AtomicUsize,
    /// Directories to go past, by inode, with those in them.
    passed: BTreeMap<u64, Vec<(Name, u64)>>,
}

impl Visitor for Paths {
    type Worker = ();
    type Data = ();

    fn worker(&self) {}

    fn finish(&self, (): ()) {}

    fn enter(&self, (): &mut (), dir: &Directory<()>, _: BorrowedFd<'_>, _: &Seen) -> bool {
        self.entered.lock().unwrap().insert(dir.relative_path())
    }

    fn pass(&self, (): &mut (), dir: EntryId) -> Option<Vec<(Name, u64)>> {
        self.passed.get(&dir.inode).cloned()
    }

    fn entry(&self, (): &mut (), _: &Directory<()>, _: &[u8], _: EntryId, _: &Seen) {}

    fn failed(&self, (): &mut (), _: &Directory<()>, name: Option<&[u8]>, error: Errno, doing: &'static str) {
        panic!("failed to {doing} {name:?}: {error}");
    }

    fn listed(&self, (): &mut (), _: &Directory<()>, _: &Seen, _: bool) {}

    fn done(&self, (): &mut (), _: &Directory<()>) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}

fn directories(root: &Path, budget: i64) -> BTreeSet<Vec<u8>> {
    walked(root, budget, Paths::default()).entered.into_inner().unwrap()
}

fn walked(root: &Path, budget: i64, paths: Paths) -> Paths {
    let binder = Box::new(|_: &crate::VolumeIdentity, _| VolumeId(1));
    let scope = Scope::new(RootId(1), root.as_os_str().as_bytes().to_vec(), binder);
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let start = Start::root(&scope).unwrap();
    Walk::run(&scope, start, 2, &paths, &stop, &progress, false, Budget::new(budget)).unwrap();
    assert_eq!(progress.directories_left.load(Ordering::Relaxed), 0);
    paths
}

/// Whatever the budget of descriptors, all is found: without one, children are opened by path from the nearest
/// directory above that is open.
#[test]
fn a_walk_without_descriptors_to_spare_finds_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::from([Vec::new()]);
    for a in 0..5 {
        for b in 0..5 {
            for c in 0..20 {
                let path = format!("a{a}/b{b}/c{c}/d");
                std::fs::create_dir_all(temp.path().join(&path)).unwrap();
                let ends = path.char_indices().filter(|(_, byte)| *byte == '/').map(|(at, _)| at);
                expected.extend(ends.chain([path.len()]).map(|end| path.as_bytes()[..end].to_vec()));
            }
        }
    }
    for budget in [0, 1, 3, 4096] {
        assert!(directories(temp.path(), budget) == expected, "with {budget} descriptors");
    }
}

/// More directories than a batch holds, so that batches are sent off while the listing goes on.
#[test]
fn more_directories_than_a_batch_are_all_walked() {
    let temp = tempfile::tempdir().unwrap();
    for number in 0..1_500 {
        std::fs::create_dir(temp.path().join(format!("dir{number}"))).unwrap();
    }
    for budget in [0, 4096] {
        assert_eq!(directories(temp.path(), budget).len(), 1_501);
    }
}

/// Directories that are gone past are not opened, the first of the walk and deep ones too, and what is stored in them
/// is walked; more of those than a batch holds.
#[test]
fn what_is_gone_past_is_not_entered_and_what_is_below_is() {
    let temp = tempfile::tempdir().unwrap();
    for number in 0..600 {
        std::fs::create_dir_all(temp.path().join(format!("a/b/dir{number}/below"))).unwrap();
    }
    let inode = |path: &str| std::fs::symlink_metadata(temp.path().join(path)).unwrap().ino();
    let child = |path: &str| (Name::from(path.rsplit('/').next().unwrap().as_bytes()), inode(path));
    let passed = || {
        let many = (0..600).map(|number| child(&format!("a/b/dir{number}"))).collect();
        BTreeMap::from([
            (inode("."), vec![child("a")]),
            (inode("a"), vec![child("a/b")]),
            (inode("a/b"), many),
            (inode("a/b/dir7"), vec![child("a/b/dir7/below")]),
        ])
    };
    for budget in [0, 4096] {
        let shown = walked(temp.path(), budget, Paths { passed: passed(), ..Paths::default() });
        let entered = shown.entered.into_inner().unwrap();
        assert_eq!(entered.len(), 599 + 600);
        assert!(entered.contains(&b"a/b/dir7/below"[..]) && !entered.contains(&b"a/b/dir7"[..]));
        assert_eq!(shown.done.into_inner(), entered.len() + 4, "each is done, entered or not");
    }
}
