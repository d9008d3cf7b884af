//! What the tests on real disks share: a visitor that writes everything down, and scopes to walk.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use record::{EntryId, RootId, VolumeId};
use scan::{Directory, Errno, Progress, Scope, Seen, Start, Visitor, WalkError, walk};

/// Everything a walk showed, by path from the root.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) entries: BTreeMap<Vec<u8>, (EntryId, Seen)>,
    pub(crate) failed: Vec<(Vec<u8>, Errno, &'static str)>,
    pub(crate) listed: BTreeMap<Vec<u8>, bool>,
    /// In the order of the calls.
    pub(crate) done: Vec<Vec<u8>>,
}

impl Shown {
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.entries.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }
}

/// Writes down what it is shown; `at_enter` is called with the path of each directory before it is listed.
pub(crate) struct Writer<F> {
    pub(crate) shown: Mutex<Shown>,
    pub(crate) at_enter: F,
}

impl<F: Fn(&[u8]) -> bool + Sync> Visitor for Writer<F> {
    type Worker = ();
    type Data = AtomicBool;

    fn worker(&self) {}

    fn finish(&self, (): ()) {}

    fn enter(&self, (): &mut (), dir: &Directory<AtomicBool>, _: BorrowedFd<'_>, _: &Seen) -> bool {
        (self.at_enter)(&dir.relative_path())
    }

    fn entry(&self, (): &mut (), dir: &Directory<AtomicBool>, name: &[u8], id: EntryId, seen: &Seen) {
        let mut path = dir.relative_path();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let before = self.shown.lock().unwrap().entries.insert(path, (id, *seen));
        assert!(before.is_none(), "shown twice: {:?}", String::from_utf8_lossy(name));
    }

    fn failed(
        &self,
        (): &mut (),
        dir: &Directory<AtomicBool>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    ) {
        let mut path = dir.relative_path();
        path.push(b'/');
        path.extend_from_slice(name.unwrap_or_default());
        self.shown.lock().unwrap().failed.push((path, error, doing));
    }

    fn listed(&self, (): &mut (), dir: &Directory<AtomicBool>, _: &Seen, complete: bool) {
        self.shown.lock().unwrap().listed.insert(dir.relative_path(), complete);
    }

    fn done(&self, (): &mut (), dir: &Directory<AtomicBool>) {
        assert!(!dir.data.swap(true, Ordering::Relaxed), "done twice");
        if let Some(parent) = dir.parent() {
            assert!(!parent.data.load(Ordering::Relaxed), "a parent was done before its child");
        }
        self.shown.lock().unwrap().done.push(dir.relative_path());
    }
}

/// A scope whose volumes are numbered from 1 as they are met.
pub(crate) fn scope(root: &Path) -> Scope {
    let next = AtomicU32::new(1);
    let binder = move |_: &scan::VolumeIdentity, _: u64| VolumeId(next.fetch_add(1, Ordering::Relaxed));
    Scope::new(RootId(1), root.as_os_str().as_bytes().to_vec(), Box::new(binder))
}

pub(crate) fn shown(scope: &Scope) -> Shown {
    shown_while(scope, |_| true)
}

pub(crate) fn shown_while(scope: &Scope, at_enter: impl Fn(&[u8]) -> bool + Sync) -> Shown {
    let writer = Writer { shown: Mutex::default(), at_enter };
    let progress = Progress::default();
    let start = Start::root(scope).unwrap();
    walk(scope, start, 3, &writer, &AtomicBool::new(false), &progress).unwrap();
    let shown = writer.shown.into_inner().unwrap();
    assert_eq!(progress.entries.load(Ordering::Relaxed), shown.entries.len() as u64);
    assert_eq!(progress.directories_left.load(Ordering::Relaxed), 0);
    shown
}

pub(crate) fn stopped(
    scope: &Scope,
    stop: &AtomicBool,
    at_enter: impl Fn(&[u8]) -> bool + Sync,
) -> (bool, Shown) {
    let writer = Writer { shown: Mutex::default(), at_enter };
    let start = Start::root(scope).unwrap();
    let result = walk(scope, start, 1, &writer, stop, &Progress::default());
    (matches!(result, Err(WalkError::Stopped)), writer.shown.into_inner().unwrap())
}

pub(crate) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
