//! A directory on its way through the walk: who it is, what is above it, and its descriptor while it is needed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock, Weak};

use record::EntryId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A directory being walked. It lives until all below it was walked.
pub struct Directory<D> {
    /// Its entry.
    pub id: EntryId,
    /// Levels below the root; the root's own directory is 0.
    pub depth: u32,
    /// The visitor's own.
    pub data: D,
    /// Its device, as `makedev(major, minor)`.
    pub device: u64,
    /// Its mount id, 0 where the kernel gives none.
    pub mount: u64,
    parent: Option<Arc<Directory<D>>>,
    /// For the top of the walk its whole path; its name otherwise.
    name: Box<[u8]>,
    /// For the top, how much of `name` is the root's path.
    root_length: usize,
    /// Where it really is, if it was entered through a link.
    pub(crate) target: Option<Box<[u8]>>,
    fd: Weak<HeldFd>,
    /// The top of a walk stays open: what is below it is opened from it when no other descriptor is left.
    held: Option<Arc<HeldFd>>,
    /// Its own listing and the directories in it that are not done.
    pub(crate) pending: AtomicU64,
}

impl<D: Default> Directory<D> {
    pub(crate) fn top(
        id: EntryId,
        depth: u32,
        standing: (u64, u64),
        path: Vec<u8>,
        root: usize,
        fd: Option<Arc<HeldFd>>,
    ) -> Directory<D> {
        Directory {
            id,
            depth,
            data: D::default(),
            device: standing.0,
            mount: standing.1,
            parent: None,
            name: path.into(),
            root_length: root,
            target: None,
            fd: Weak::new(),
            held: fd,
            pending: AtomicU64::new(1),
        }
    }

    pub(crate) fn child(
        parent: Arc<Directory<D>>,
        name: &[u8],
        id: EntryId,
        standing: (u64, u64),
        target: Option<Box<[u8]>>,
        fd: Weak<HeldFd>,
    ) -> Directory<D> {
        Directory {
            id,
            depth: parent.depth + 1,
            data: D::default(),
            device: standing.0,
            mount: standing.1,
            parent: Some(parent),
            name: name.into(),
            root_length: 0,
            target,
            fd,
            held: None,
            pending: AtomicU64::new(1),
        }
    }
}

impl<D> Directory<D> {
    /// The directory it is in; `None` for the one the walk started at.
    #[must_use]
    pub fn parent(&self) -> Option<&Directory<D>> {
        self.parent.as_deref()
    }

    /// Its descriptor, while it is open.
    pub(crate) fn fd(&self) -> Option<Arc<HeldFd>> {
        self.held.clone().or_else(|| self.fd.upgrade())
    }

    pub(crate) fn parent_arc(&self) -> Option<Arc<Directory<D>>> {
        self.parent.clone()
    }

    /// Its name; empty for `/`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let start = self.name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        &self.name[start..]
    }

    /// Its absolute path, through the links it was entered by.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        self.path_from(0)
    }

    /// Its path from the root; empty for the root's own directory.
    #[must_use]
    pub fn relative_path(&self) -> Vec<u8> {
        self.path_from(self.top_of_walk().root_length)
    }

    fn top_of_walk(&self) -> &Directory<D> {
        let mut top = self;
        while let Some(parent) = top.parent() {
            top = parent;
        }
        top
    }

    fn path_from(&self, skip: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(parent) = at.parent() {
            names.push(&*at.name);
            at = parent;
        }
        let top = at.name.get(skip..).unwrap_or_default();
        let mut path = top.strip_prefix(b"/").filter(|_| skip > 0).unwrap_or(top).to_vec();
        for name in names.into_iter().rev() {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }
}

impl<D> Drop for Directory<D> {
    /// One by one up the chain: left to itself it would recurse once a level, and trees are deeper than stacks.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut last| last.parent.take());
        }
    }
}

/// An open directory; one that stays open for its children takes from the budget.
pub(crate) struct HeldFd {
    fd: OwnedFd,
    budget: OnceLock<Arc<Budget>>,
}

impl HeldFd {
    pub(crate) fn new(fd: OwnedFd) -> Arc<HeldFd> {
        Arc::new(HeldFd { fd, budget: OnceLock::new() })
    }

    /// Asks to stay open beyond the listing. False: there are too many already.
    pub(crate) fn keep(&self, budget: &Arc<Budget>) -> bool {
        if self.budget.get().is_some() {
            return true;
        }
        // Only the thread that lists the directory asks, so nobody sets it in between.
        budget.take() && self.budget.set(Arc::clone(budget)).is_ok()
    }
}

impl AsFd for HeldFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for HeldFd {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.get() {
            budget.give_back();
        }
    }
}

/// Most descriptors a walk holds for directories that wait, whatever the limit of the process.
const MOST: i64 = 4096;

/// How many directories may stay open at once.
pub(crate) struct Budget(AtomicI64);

impl Budget {
    /// Half of what the process may open, 4,096 at most.
    pub(crate) fn of_process() -> Budget {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i64::try_from(limit).ok());
        Budget::new(limit.map_or(MOST, |limit| (limit / 2).min(MOST)))
    }

    pub(crate) fn new(descriptors: i64) -> Budget {
        Budget(AtomicI64::new(descriptors))
    }

    fn take(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        let taken = self.0.fetch_sub(1, Relaxed) > 0;
        if !taken {
            self.give_back();
        }
        taken
    }

    fn give_back(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Raises the soft limit of open files of this process to its hard limit, and returns the limit then in force
/// (`None`: none). A refusal changes nothing.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::VolumeId;

    #[test]
    fn a_chain_of_a_hundred_thousand_drops_on_a_small_stack() {
        let id = EntryId::new(VolumeId(1), 1);
        let top = Directory::<()>::top(id, 0, (1, 1), b"/top".to_vec(), 4, None);
        let mut last = Arc::new(top);
        for _ in 0..100_000 {
            last = Arc::new(Directory::child(last, b"d", id, (1, 1), None, Weak::new()));
        }
        assert_eq!(last.depth, 100_000);
        assert_eq!(last.relative_path().len(), 2 * 100_000 - 1);
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        small.spawn(move || drop(last)).unwrap().join().unwrap();
    }

    #[test]
    fn paths_of_tops_and_children() {
        let id = EntryId::new(VolumeId(1), 1);
        for (root, top, relative, absolute) in [
            ("/", "/", "d", "/d"),
            ("/r", "/r", "d", "/r/d"),
            ("/r", "/r/a/b", "a/b/d", "/r/a/b/d"),
            ("/", "/a", "a/d", "/a/d"),
        ] {
            let dir = Directory::<()>::top(id, 0, (1, 1), top.into(), root.len(), None);
            let child = Directory::child(Arc::new(dir), b"d", id, (1, 1), None, Weak::new());
            assert_eq!(child.path(), absolute.as_bytes());
            assert_eq!(child.relative_path(), relative.as_bytes());
            assert_eq!(child.parent().unwrap().path(), top.as_bytes());
        }
    }
}
