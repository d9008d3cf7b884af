//! The directories found in one directory and not yet walked, packed: a million of them is one allocation of
//! names and some thousand jobs, not a million of each.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use record::VolumeId;
use rustix::io::Errno;

use crate::directory::{Budget, Directory, HeldFd};
use crate::disk::Disk;
use crate::look::Seen;

/// Most directories in a batch.
const MOST: usize = 256;

/// Directories of one parent, all on one device.
pub(crate) struct Batch<D> {
    pub(crate) dir: Arc<Directory<D>>,
    /// The parent's descriptor; `None` when too many are open.
    pub(crate) fd: Option<Arc<HeldFd>>,
    pub(crate) volume: VolumeId,
    pub(crate) device: u64,
    /// For a link entered: where it leads. Such a batch holds one.
    pub(crate) target: Option<Box<[u8]>>,
    /// Each with its NUL.
    names: Vec<u8>,
    /// Inode, and where its name begins.
    children: Vec<(u64, u32)>,
}

impl<D> Batch<D> {
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn child(&self, at: usize) -> (&CStr, u64) {
        let (inode, start) = self.children[at];
        let name = CStr::from_bytes_until_nul(&self.names[start as usize..]).unwrap_or_default();
        (name, inode)
    }

    /// Opens the child called `name`: by its parent's descriptor, else by a path from the nearest directory
    /// above that is open, which is the top of the walk at the latest.
    pub(crate) fn open(&self, disk: &dyn Disk, name: &CStr) -> Result<OwnedFd, Errno> {
        if let Some(target) = &self.target {
            return disk.open_root(target);
        }
        if let Some(fd) = &self.fd {
            return disk.open_dir(fd.as_fd(), name.to_bytes());
        }
        let mut components = vec![name.to_bytes()];
        let mut at = &*self.dir;
        loop {
            if let Some(fd) = at.fd() {
                components.reverse();
                return disk.open_below(fd.as_fd(), &components);
            }
            if let Some(target) = &at.target {
                components.reverse();
                return disk.open_below(disk.open_root(target)?.as_fd(), &components);
            }
            let Some(parent) = at.parent() else { break };
            components.push(at.name());
            at = parent;
        }
        // The top holds its descriptor as long as it lives.
        Err(Errno::BADF)
    }
}

/// A batch being filled.
#[derive(Default)]
pub(crate) struct Gathered {
    of: Option<(VolumeId, u64)>,
    target: Option<Box<[u8]>>,
    names: Vec<u8>,
    children: Vec<(u64, u32)>,
}

impl Gathered {
    /// Whether one more can be added; otherwise take the batch first.
    pub(crate) fn fits(&self, volume: VolumeId, seen: &Seen) -> bool {
        self.of.is_none_or(|of| of == (volume, seen.device))
            && self.target.is_none()
            && self.children.len() < MOST
    }

    /// Adds a directory that nobody has looked at.
    pub(crate) fn add_unseen(&mut self, name: &[u8], volume: VolumeId, device: u64, inode: u64) {
        self.of = Some((volume, device));
        self.children.push((inode, self.names.len() as u32));
        self.names.extend_from_slice(name);
        self.names.push(0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.children.len() >= MOST
    }

    pub(crate) fn add(&mut self, name: &CStr, volume: VolumeId, seen: &Seen, target: Option<Vec<u8>>) {
        self.of = Some((volume, seen.device));
        self.target = target.map(Into::into);
        // 256 names of 256 bytes are far below 4 GiB.
        self.children.push((seen.inode, self.names.len() as u32));
        self.names.extend_from_slice(name.to_bytes_with_nul());
    }

    pub(crate) fn take<D>(
        &mut self,
        dir: &Arc<Directory<D>>,
        fd: &Arc<HeldFd>,
        budget: &Arc<Budget>,
    ) -> Option<Batch<D>> {
        self.take_with(dir, || fd.keep(budget).then(|| Arc::clone(fd)))
    }

    /// Takes the batch of a directory that is not open.
    pub(crate) fn take_unopened<D>(&mut self, dir: &Arc<Directory<D>>) -> Option<Batch<D>> {
        self.take_with(dir, || None)
    }

    fn take_with<D>(
        &mut self,
        dir: &Arc<Directory<D>>,
        fd: impl FnOnce() -> Option<Arc<HeldFd>>,
    ) -> Option<Batch<D>> {
        let full = std::mem::take(self);
        let (volume, device) = full.of?;
        Some(Batch {
            dir: Arc::clone(dir),
            fd: fd(),
            volume,
            device,
            target: full.target,
            names: full.names,
            children: full.children,
        })
    }
}
