//! The walk: one thread, relative to open descriptors, depth first with names in byte order, so that it can be
//! compared step by step with what the index lists in the same order. No recursion, few descriptors, any depth.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::RawDir;
use rustix::io::Errno;

use crate::verify::Side;
use crate::verify::look::{Looked, look, look_self, open, open_found, open_path};
use crate::verify::scope::Scope;

/// Directories kept open; those further up are opened again on the way back.
const OPEN: usize = 128;

/// One step.
#[derive(Debug)]
pub(crate) enum Step {
    /// An entry of the root.
    Entry {
        /// Its absolute path.
        path: Vec<u8>,
        /// What it is.
        side: Side,
    },
    /// Something is mounted at this path that is no part of the root: what it covers cannot be seen.
    Covered {
        /// The path.
        path: Vec<u8>,
    },
    /// Nothing is known of what is at and below this path.
    Blind {
        /// The path.
        path: Vec<u8>,
        /// Why.
        why: Errno,
    },
}

struct Level {
    fd: Option<OwnedFd>,
    here: Looked,
    names: std::vec::IntoIter<Box<[u8]>>,
    path_length: usize,
    /// Never closed before it is left.
    pinned: bool,
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    scope: &'a Scope,
    path: Vec<u8>,
    levels: Vec<Level>,
    /// The directory just told, to be entered next.
    entering: Option<Looked>,
    begun: bool,
    /// Levels above the beginning.
    base: u32,
    /// Looks at links, not through them, and enters none of these (device, inode).
    plain: Option<BTreeSet<(u64, u64)>>,
}

impl<'a> Walk<'a> {
    /// A walk of all of `scope`.
    pub(crate) fn new(scope: &'a Scope) -> Walk<'a> {
        Walk {
            scope,
            path: scope.path.clone(),
            levels: Vec::new(),
            entering: None,
            begun: false,
            base: 0,
            plain: None,
        }
    }

    /// A walk that follows no link and enters none of `known`.
    pub(crate) fn plain(scope: &'a Scope, known: BTreeSet<(u64, u64)>) -> Walk<'a> {
        Walk { plain: Some(known), ..Walk::new(scope) }
    }

    /// The same of the directory `start` that the link at `relative` leads to.
    pub(crate) fn plain_below(
        scope: &'a Scope,
        known: BTreeSet<(u64, u64)>,
        relative: &[u8],
        start: Looked,
    ) -> Walk<'a> {
        let mut walk = Walk::plain(scope, known);
        if walk.path.last() != Some(&b'/') {
            walk.path.push(b'/');
        }
        walk.path.extend_from_slice(relative);
        let slashes = relative.iter().filter(|&&byte| byte == b'/').count();
        walk.base = u32::try_from(slashes).unwrap_or(u32::MAX).saturating_add(1);
        walk.entering = Some(start);
        walk.begun = true;
        walk
    }

    fn begin(&mut self) -> Step {
        let looked = open_path(&self.path).and_then(|fd| look_self(fd.as_fd()));
        match looked {
            Ok(looked) => {
                let side = looked.side.clone();
                self.entering = Some(looked);
                Step::Entry { path: self.path.clone(), side }
            }
            Err(why) => Step::Blind { path: self.path.clone(), why },
        }
    }

    /// Opens and lists the directory at the present path.
    fn enter(&mut self, expected: &Looked) -> Result<(), Errno> {
        let fd = match self.levels.last() {
            None => open_path(expected.through.as_ref().unwrap_or(&self.path))?,
            Some(level) => {
                let name = self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                open_found(level.fd.as_ref().ok_or(Errno::STALE)?.as_fd(), name, expected)?
            }
        };
        let here = look_self(fd.as_fd())?;
        if !here.same_inode(expected) {
            return Err(Errno::STALE);
        }
        let names = list(fd.as_fd())?.into_iter();
        // From below a followed link there is no way back up, so what it lies in stays open; as does the root.
        if expected.through.is_some()
            && let Some(above) = self.levels.last_mut()
        {
            above.pinned = true;
        }
        let close = self.levels.len().saturating_sub(OPEN);
        if close > 0 && !self.levels[close].pinned {
            self.levels[close].fd = None;
        }
        let pinned = expected.through.is_some();
        self.levels.push(Level { fd: Some(fd), here, names, path_length: self.path.len(), pinned });
        Ok(())
    }

    /// Goes back up; the directory there may have to be opened again.
    fn leave(&mut self) -> Result<(), Errno> {
        let Some(child) = self.levels.pop() else { return Ok(()) };
        let Some(level) = self.levels.last() else { return Ok(()) };
        if level.fd.is_some() {
            return Ok(());
        }
        let same = |fd: &OwnedFd| look_self(fd.as_fd()).is_ok_and(|looked| looked.same_inode(&level.here));
        let up = child.fd.and_then(|fd| open(fd.as_fd(), b"..").ok()).filter(same);
        let fd = match up {
            Some(fd) => fd,
            // It was moved meanwhile, or another file system begins here: the long way.
            None => {
                let above =
                    self.levels.iter().rev().find_map(|above| Some((above.fd.as_ref()?, above.path_length)));
                let (fd, from) = above.ok_or(Errno::STALE)?;
                let mut at: Option<OwnedFd> = None;
                let names = self.path[from..level.path_length].split(|&byte| byte == b'/');
                for name in names.filter(|name| !name.is_empty()) {
                    let dir = at.as_ref().unwrap_or(fd);
                    at = Some(open(dir.as_fd(), name)?);
                }
                at.filter(same).ok_or(Errno::STALE)?
            }
        };
        if let Some(level) = self.levels.last_mut() {
            level.fd = Some(fd);
        }
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if !self.begun {
            self.begun = true;
            return Some(self.begin());
        }
        if let Some(expected) = self.entering.take()
            && let Err(why) = self.enter(&expected)
        {
            return Some(Step::Blind { path: self.path.clone(), why });
        }
        loop {
            let depth = u32::try_from(self.levels.len()).unwrap_or(u32::MAX).saturating_add(self.base);
            let level = self.levels.last_mut()?;
            self.path.truncate(level.path_length);
            let Some(name) = level.names.next() else {
                if let Err(why) = self.leave() {
                    // What was not told of the directory above stays untold.
                    let level = self.levels.last_mut()?;
                    level.names = Vec::new().into_iter();
                    return Some(Step::Blind { path: self.path[..level.path_length].to_vec(), why });
                }
                continue;
            };
            if self.path.last() != Some(&b'/') {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            let relative = self.scope.relative(&self.path).unwrap_or_default();
            let looked = level.fd.as_ref().ok_or(Errno::STALE).and_then(|fd| match &self.plain {
                Some(_) => look(fd.as_fd(), &name),
                None => self.scope.look(fd.as_fd(), &name, relative),
            });
            let held =
                looked.and_then(|found| Ok((self.scope.holds(&level.here, &found, relative, depth)?, found)));
            match held {
                Ok((true, found)) => {
                    let side = found.side.clone();
                    let known = (found.device, found.side.inode);
                    let enters =
                        found.is_directory() && self.plain.as_ref().is_none_or(|left| !left.contains(&known));
                    self.entering = enters.then_some(found);
                    return Some(Step::Entry { path: self.path.clone(), side });
                }
                Ok((false, found))
                    if found.through.is_none()
                        && found.mount != level.here.mount
                        && self.plain.is_none()
                        && !self.scope.bars(&found, relative, depth) =>
                {
                    return Some(Step::Covered { path: self.path.clone() });
                }
                // It went since it was listed.
                Ok((false, _)) | Err(Errno::NOENT) => {}
                Err(why) => return Some(Step::Blind { path: self.path.clone(), why }),
            }
        }
    }
}

/// All names in a directory, in byte order.
fn list(fd: BorrowedFd<'_>) -> Result<Vec<Box<[u8]>>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut names: Vec<Box<[u8]>> = Vec::new();
    let mut listing = RawDir::new(fd, &mut buffer);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.into());
        }
    }
    names.sort_unstable();
    // A directory that changes while it is listed may tell a name twice.
    names.dedup();
    Ok(names)
}
