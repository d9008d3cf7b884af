//! For roots that follow symbolic links: which links to directories are entered, each target once, the least
//! path first; and what a link to a file outside stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;

use crate::paths::is_below;
use crate::verify::look::{Looked, look_self, looked, open_path};
use crate::verify::mounts;
use crate::verify::scope::Scope;
use crate::verify::walk::{Step, Walk};

/// Links that are entered, and the inodes they lead to.
#[derive(Clone, Default)]
pub(crate) struct Links {
    /// By the link's path from the root: where it leads, without any link on the way.
    entered: BTreeMap<Vec<u8>, Target>,
    /// Device and inode of every target and of the root: none of them is told under a second path.
    inodes: BTreeSet<(u64, u64)>,
}

#[derive(Clone)]
struct Target {
    path: Vec<u8>,
    looked: Looked,
}

impl Links {
    /// Walks the tree, and each target found, for links that lead to directories outside the root.
    pub(crate) fn find(scope: &Scope) -> Result<Links, Errno> {
        let mut links = Links::default();
        let top = look_self(open_path(&scope.path)?.as_fd())?;
        links.inodes.insert((top.device, top.side.inode));
        let mut waiting = BTreeMap::new();
        gather(scope, Walk::plain(scope, BTreeSet::new()), &mut waiting);
        while let Some((link, target)) = waiting.pop_first() {
            let inode = (target.looked.device, target.looked.side.inode);
            let within = links.entered.values().any(|other| is_below(&target.path, &other.path));
            if within || links.inodes.contains(&inode) || mounts::is_pseudo(&target.looked)? {
                continue;
            }
            let start = Looked { through: Some(target.path.clone()), ..target.looked.clone() };
            gather(scope, Walk::plain_below(scope, links.inodes.clone(), &link, start), &mut waiting);
            links.inodes.insert(inode);
            links.entered.insert(link, target);
        }
        Ok(links)
    }

    /// Whether a directory is told under the path of a link, or is the root.
    pub(crate) fn is_target(&self, found: &Looked) -> bool {
        self.inodes.contains(&(found.device, found.side.inode))
    }

    /// What the link `name` in `dir` stands for, if it is followed.
    pub(crate) fn follow(
        &self,
        scope: &Scope,
        dir: BorrowedFd<'_>,
        name: &[u8],
        relative: &[u8],
    ) -> Option<Looked> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let there = looked(&statx(dir, name, AtFlags::NO_AUTOMOUNT, wanted).ok()?).ok()?;
        let fd = openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let path = readlinkat(CWD, link, Vec::new()).ok()?.into_bytes();
        let followed = if there.is_directory() {
            let target = self.entered.get(relative)?;
            target.path == path && target.looked.same_inode(&there)
        } else {
            !is_below(&path, &scope.path)
                && !self.entered.values().any(|target| is_below(&path, &target.path))
        };
        let followed = followed && !mounts::is_pseudo(&there).ok()?;
        followed.then_some(Looked { through: Some(path), ..there })
    }
}

fn gather(scope: &Scope, walk: Walk<'_>, waiting: &mut BTreeMap<Vec<u8>, Target>) {
    for step in walk {
        let Step::Entry { path, side } = step else { continue };
        if side.stat.kind != "symlink" {
            continue;
        }
        // What leads nowhere, in circles, or to what cannot be opened stays a link.
        let Ok(target) = std::fs::canonicalize(OsStr::from_bytes(&path)) else { continue };
        let target = target.as_os_str().as_bytes().to_vec();
        if is_below(&target, &scope.path) {
            continue;
        }
        let Some(looked) = open_path(&target).ok().and_then(|fd| look_self(fd.as_fd()).ok()) else {
            continue;
        };
        let relative = scope.relative(&path).unwrap_or_default().to_vec();
        waiting.insert(relative, Target { path: target, looked });
    }
}
