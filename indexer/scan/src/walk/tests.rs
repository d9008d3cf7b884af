//! What the walk does at its limits: no descriptors to spare, and a stop in the middle.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use record::{RootId, VolumeId};

use super::*;

/// Writes down the paths of directories; nothing may fail.
#[derive(Default)]
struct Paths(Mutex<BTreeSet<Vec<u8>>>);

impl Visitor for Paths {
    type Worker = ();
    type Data = ();

    fn worker(&self) {}

    fn finish(&self, (): ()) {}

    fn enter(&self, (): &mut (), dir: &Directory<()>, _: BorrowedFd<'_>, _: &Seen) -> bool {
        self.0.lock().unwrap().insert(dir.relative_path())
    }

    fn entry(&self, (): &mut (), _: &Directory<()>, _: &[u8], _: EntryId, _: &Seen) {}

    fn failed(&self, (): &mut (), _: &Directory<()>, name: Option<&[u8]>, error: Errno, doing: &'static str) {
        panic!("failed to {doing} {name:?}: {error}");
    }

    fn listed(&self, (): &mut (), _: &Directory<()>, _: &Seen, _: bool) {}

    fn done(&self, (): &mut (), _: &Directory<()>) {}
}

fn directories(root: &Path, budget: i64) -> BTreeSet<Vec<u8>> {
    let binder = Box::new(|_: &crate::VolumeIdentity, _| VolumeId(1));
    let scope = Scope::new(RootId(1), root.as_os_str().as_bytes().to_vec(), binder);
    let (stop, progress, paths) = (AtomicBool::new(false), Progress::default(), Paths::default());
    let start = Start::root(&scope).unwrap();
    Walk::run(&scope, start, 2, &paths, &stop, &progress, false, Budget::new(budget)).unwrap();
    paths.0.into_inner().unwrap()
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
