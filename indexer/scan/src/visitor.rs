//! What a walk shows, and to whom. Knows nothing of how the walk is done.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;

use record::{EntryId, Name};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::look::Seen;

/// What is done with what the walk sees. All calls may come from any of the walk's threads at once, but those
/// for one directory come one after the other: `enter`, any number of `entry` and `failed`, `listed`, `done`.
/// After a stop, calls are missing: a directory is `listed` or `done` only if that is so.
pub trait Visitor: Sync {
    /// State of one thread for a while; there are never more than jobs running at once.
    type Worker: Send;
    /// State of one directory, kept until all below it was walked.
    type Data: Default + Send + Sync;

    /// Makes a worker.
    fn worker(&self) -> Self::Worker;

    /// Takes a worker back at the end of the walk, also of a stopped one.
    fn finish(&self, worker: Self::Worker);

    /// Whether a directory need not be looked at: then the directories stored in it, by name and inode, all on the
    /// volume of `dir` and none of them a followed link. It is not even opened; those in it are walked, and of the
    /// calls for it only `done` follows. `None`: it is to be looked at.
    fn pass(&self, worker: &mut Self::Worker, dir: EntryId) -> Option<Vec<(Name, u64)>> {
        let _ = (worker, dir);
        None
    }

    /// The directory is open and not yet listed: watches are armed here. `seen` is a look at what was opened.
    /// False: it is not to be listed; `done` follows at once.
    fn enter(
        &self,
        worker: &mut Self::Worker,
        dir: &Directory<Self::Data>,
        fd: BorrowedFd<'_>,
        seen: &Seen,
    ) -> bool;

    /// One name in it, which belongs to the root.
    fn entry(
        &self,
        worker: &mut Self::Worker,
        dir: &Directory<Self::Data>,
        name: &[u8],
        id: EntryId,
        seen: &Seen,
    );

    /// Something was not seen. With a name: that one (`doing` is `look`, `identify` or `open`; the last comes after
    /// its `entry`, and after `listed` too). Without: the rest of the listing (`list`), or the second look (`look`).
    fn failed(
        &self,
        worker: &mut Self::Worker,
        dir: &Directory<Self::Data>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    );

    /// Its own listing ended. `seen_after` is a look made then (the first one, should that have failed); `complete`:
    /// every name in it that belongs to the root was seen.
    fn listed(
        &self,
        worker: &mut Self::Worker,
        dir: &Directory<Self::Data>,
        seen_after: &Seen,
        complete: bool,
    );

    /// All below it has been walked, or failed to be. Once a directory entered, children before parents.
    fn done(&self, worker: &mut Self::Worker, dir: &Directory<Self::Data>);
}

/// Counts while the walk runs, for whoever wants to show them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries seen, the start excluded.
    pub entries: AtomicU64,
    /// Directories listed, or tried in vain.
    pub directories: AtomicU64,
    /// Directories that an earlier walk listed, with which this one goes on; set by whoever knows.
    pub directories_before: AtomicU64,
    /// Directories found and not yet listed.
    pub directories_left: AtomicU64,
    /// Sum of sizes of the entries seen, in bytes; hard links count as often as they are seen.
    pub bytes: AtomicU64,
}
