//! Where a walk begins, and why it may not go to its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use record::{EntryId, Name};
use rustix::io::Errno;

use crate::scope::Scope;

/// Where a walk begins.
pub struct Start {
    pub(crate) fd: OwnedFd,
    pub(crate) id: EntryId,
    pub(crate) path: Vec<u8>,
    /// How much of `path` is the root's.
    pub(crate) root_length: usize,
    pub(crate) depth: u32,
}

impl Start {
    /// At the root's own directory.
    ///
    /// # Errors
    /// When it cannot be opened or its volume not be told.
    pub fn root(scope: &Scope) -> Result<Start, WalkError> {
        let (fd, _) = scope.open().map_err(|source| WalkError::root(scope, source))?;
        let id = scope.root_entry().ok_or_else(|| WalkError::root(scope, Errno::STALE))?;
        Ok(Start { fd, id, path: scope.path.clone(), root_length: scope.path.len(), depth: 0 })
    }

    /// At the open directory `fd`, whose entry is `id` and whose path from the root is `components`.
    #[must_use]
    pub fn below(scope: &Scope, fd: OwnedFd, id: EntryId, components: Vec<Name>) -> Start {
        let mut path = scope.path.clone();
        for name in &components {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        let depth = u32::try_from(components.len()).unwrap_or(u32::MAX);
        Start { fd, id, path, root_length: scope.path.len(), depth }
    }

    /// The open directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A directory that was listed before, and directories in it that were not.
pub struct Rest {
    /// Its entry.
    pub id: EntryId,
    /// Its path from the root.
    pub components: Vec<Name>,
    /// Names in it of directories to walk, and what they were seen to be.
    pub children: Vec<(Name, EntryId)>,
}

/// Why a walk did not go to its end. What fails inside the tree is told to the visitor instead.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The start cannot be looked at.
    #[error("failed to open {path:?}: {source}")]
    Root {
        /// The start, for display.
        path: String,
        /// Why.
        source: Errno,
    },
    /// It was told to stop.
    #[error("the walk was stopped")]
    Stopped,
    /// Its threads could not be made.
    #[error("failed to start {threads} threads for the walk: {why}")]
    Threads {
        /// How many.
        threads: usize,
        /// Why.
        why: String,
    },
}

impl WalkError {
    pub(crate) fn root(scope: &Scope, source: Errno) -> WalkError {
        WalkError::Root { path: String::from_utf8_lossy(&scope.path).into_owned(), source }
    }
}
