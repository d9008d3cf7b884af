//! The handles by which hints name one directory. Opens none.

use crate::Handle;

/// What is known of them. An inode number is reused at once, and hints that were put off or came late may be of the directory
/// that had it before: two handles are two directories, and then neither stands for all hints.
#[derive(Debug, Default)]
pub(super) enum Told {
    #[default]
    Nobody,
    By(Handle),
    Several,
}

impl Told {
    pub(super) fn add(&mut self, handle: Option<Handle>) {
        let Some(handle) = handle else { return };
        match self {
            Told::Nobody => *self = Told::By(handle),
            Told::By(known) if *known != handle => *self = Told::Several,
            Told::By(_) | Told::Several => {}
        }
    }

    pub(super) fn join(&mut self, other: Told) {
        match other {
            Told::Nobody => {}
            Told::By(handle) => self.add(Some(handle)),
            Told::Several => *self = Told::Several,
        }
    }

    /// The handle that all hints are by.
    pub(super) fn handle(self) -> Option<Handle> {
        match self {
            Told::By(handle) => Some(handle),
            Told::Nobody | Told::Several => None,
        }
    }
}

impl From<Option<Handle>> for Told {
    fn from(handle: Option<Handle>) -> Told {
        handle.map_or(Told::Nobody, Told::By)
    }
}
