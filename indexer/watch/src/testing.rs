//! What the tests on the real kernel share: file systems to mount, and hints made readable.

use crate::{Batch, Flags};
use record::{EntryId, VolumeId};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// The one volume of most tests.
pub(crate) const VOLUME: VolumeId = VolumeId(7);

/// Far enough that only a hang reaches it.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Starting a program copies every descriptor for a moment, so that a close in another test is not the last.
static SPAWNING: RwLock<()> = RwLock::new(());

/// While this is held, no test starts a program: what is closed is closed.
pub(crate) fn undisturbed() -> RwLockReadGuard<'static, ()> {
    SPAWNING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `command` could be run and succeeded.
pub(crate) fn ran(command: &mut Command) -> bool {
    let _alone = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    command.output().is_ok_and(|output| output.status.success())
}

/// A file system of a test's own; unmounted at the end.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Mounted {
    /// A tmpfs; `None`, said aloud, without the privilege.
    pub(crate) fn tmpfs() -> Option<Mounted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        match rustix::mount::mount("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(c"size=64m")) {
            Ok(()) => Some(Mounted { path, _folder: folder }),
            Err(errno) => {
                eprintln!("SKIPPED: cannot mount a tmpfs: {errno}");
                None
            }
        }
    }

    /// A loop-mounted image made by `mkfs.KIND`; `None`, said aloud, where that is not to be had.
    pub(crate) fn image(kind: &str, bytes: u64) -> Option<Mounted> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let path = folder.path().join("mounted");
        std::fs::create_dir(&path).unwrap();
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        if !ran(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image)) {
            eprintln!("SKIPPED: mkfs.{kind} is not here or failed");
            return None;
        }
        if !ran(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path)) {
            eprintln!("SKIPPED: cannot loop-mount {kind}");
            return None;
        }
        Some(Mounted { path, _folder: folder })
    }

    /// An overlay whose handles can be opened, over a tmpfs; `None`, said aloud, without the privilege.
    pub(crate) fn overlay(below: &Mounted) -> Option<Mounted> {
        Mounted::overlay_with(below, ",nfs_export=on,index=on")
    }

    /// An overlay as most are, without handles.
    pub(crate) fn plain_overlay(below: &Mounted) -> Option<Mounted> {
        Mounted::overlay_with(below, "")
    }

    fn overlay_with(below: &Mounted, further: &str) -> Option<Mounted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(below.path.join(name)).unwrap();
        }
        let at = |name: &str| below.path.join(name).display().to_string();
        let (lower, upper, work) = (at("lower"), at("upper"), at("work"));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}{further}");
        let options = std::ffi::CString::new(options).unwrap();
        match rustix::mount::mount("overlay", &path, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        {
            Ok(()) => Some(Mounted { path, _folder: folder }),
            Err(errno) => {
                eprintln!("SKIPPED: cannot mount an overlay with `{further}`: {errno}");
                None
            }
        }
    }

    /// A folder of `below` seen through FUSE; `None`, said aloud, without bindfs.
    pub(crate) fn bindfs(below: &Mounted) -> Option<Mounted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        if !ran(Command::new("bindfs").arg(&below.path).arg(&path)) {
            eprintln!("SKIPPED: bindfs is not here or failed");
            return None;
        }
        Some(Mounted { path, _folder: folder })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
    }
}

pub(crate) fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

pub(crate) fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

pub(crate) fn id(path: &Path) -> EntryId {
    EntryId::new(VOLUME, inode(path))
}

/// A batch as lines, for the directories and inodes that have a label: `D/name {NAMED}`, `inode f {META}`.
pub(crate) fn render(batch: &Batch, labels: &BTreeMap<u64, String>) -> Vec<String> {
    let line = |what: String, flags: Flags| format!("{what} {flags:?}");
    let mut lines = Vec::new();
    for dir in &batch.directories {
        if let Some(label) = labels.get(&dir.inode) {
            for (name, flags) in &dir.names {
                lines.push(line(format!("{label}/{}", String::from_utf8_lossy(name)), *flags));
            }
        }
    }
    for (entry, flags, _) in &batch.inodes {
        if let Some(label) = labels.get(&entry.inode) {
            lines.push(line(format!("inode {label}"), *flags));
        }
    }
    lines.extend(batch.lost.iter().map(|(volume, why)| format!("lost {}: {why}", volume.0)));
    lines.sort();
    lines
}
