//! Which directories of a group have marks of their own. Makes no system call.
//!
//! The kernel drops a mark with its directory and tells so by the directory's last event, so there is nothing to
//! take off here but what that event names. An overflow may eat it.

use super::inode::decode;
use super::limits::MarkShare;
use super::parse::{Event, FileId};
use crate::Handle;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Directories by inode number, of one tree of inode numbers.
#[derive(Debug)]
pub(super) struct Marks {
    share: Arc<MarkShare>,
    by_inode: FxHashMap<u64, Mark>,
    /// Overflows so far.
    epoch: u32,
}

#[derive(Debug)]
struct Mark {
    /// Tells the directory from one that has its number later.
    handle: Handle,
    /// The epoch when the kernel last confirmed it.
    epoch: u32,
}

impl Marks {
    pub(super) fn new(share: Arc<MarkShare>) -> Marks {
        Marks { share, by_inode: FxHashMap::default(), epoch: 0 }
    }

    /// Takes one mark of the share for a directory that has none here; false when the share is used up.
    pub(super) fn reserve(&self, inode: u64) -> bool {
        self.by_inode.contains_key(&inode) || self.share.take()
    }

    /// The kernel refused what was reserved.
    pub(super) fn release(&self, inode: u64) {
        if !self.by_inode.contains_key(&inode) {
            self.share.give_back(1);
        }
    }

    /// The kernel has the mark that was reserved. Under a number that was used before, it is another directory: the
    /// mark of the old one ended with it.
    pub(super) fn insert(&mut self, inode: u64, handle: Handle) {
        self.by_inode.insert(inode, Mark { handle, epoch: self.epoch });
    }

    /// The mark was taken off.
    pub(super) fn remove(&mut self, inode: u64) {
        if self.by_inode.remove(&inode).is_some() {
            self.share.give_back(1);
        }
    }

    /// Learns from an event which marks ended.
    pub(super) fn note(&mut self, event: &Event<'_>) {
        if event.mask & libc::FAN_Q_OVERFLOW != 0 {
            self.overflowed();
        }
        if event.mask & libc::FAN_DELETE_SELF != 0
            && let Some(dir) = event.at.map(|named| named.dir).or(event.object)
        {
            self.gone(dir);
        }
    }

    fn gone(&mut self, dir: FileId<'_>) {
        let Some(of) = decode(dir) else { return };
        let same = |mark: &Mark| mark.handle.kind() == dir.kind && mark.handle.bytes() == dir.handle;
        if self.by_inode.get(&of.inode).is_some_and(same) {
            self.remove(of.inode);
        }
    }

    /// Ends of directories may have gone unheard. The sweep that follows confirms the marks there are, so what no
    /// sweep confirmed since the overflow before is none.
    fn overflowed(&mut self) {
        let before = self.by_inode.len();
        let epoch = self.epoch;
        self.by_inode.retain(|_, mark| mark.epoch == epoch);
        self.share.give_back(before - self.by_inode.len());
        self.epoch = epoch.wrapping_add(1);
    }

    /// Whether the directory surely has a mark.
    pub(super) fn sure(&self, inode: u64) -> bool {
        self.by_inode.get(&inode).is_some_and(|mark| mark.epoch == self.epoch)
    }

    pub(super) fn len(&self) -> usize {
        self.by_inode.len()
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        self.share.give_back(self.by_inode.len());
    }
}
