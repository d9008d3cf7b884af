//! What is known of contents: a digest belongs to a stat, and speaks of the file while that is the row's.

use record::{Category, Digest, EntryId, Kind, Row, Stat, StoredDigest, Time};

use crate::batch::Batch;
use crate::{Look, Stored};

/// What reading a file said of its content, and the stat that it had before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The file.
    pub id: EntryId,
    /// Its birth: with the id, its identity.
    pub birth: Option<Time>,
    /// Its digest.
    pub digest: Digest,
    /// What its first bytes say; [`Category::Other`]: nothing known.
    pub magic: Category,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Time,
    /// Change time.
    pub changed: Time,
    /// The content is not what it was, and the stat is: told as `corrupt`.
    pub corrupt: bool,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The row has the digest now.
    Yes,
    /// The row is of another file, or of another moment of this one: a look at it is on its way, or was.
    Stale,
}

impl<S: Stored> Batch<'_, S> {
    /// Takes what reading a file said.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn content(&mut self, observed: &Observed, look: &Look) -> Result<Taken, S::Error> {
        let stale = |row: &Row| {
            row.stat.kind != Kind::File
                || row.stat.created != observed.birth
                || (row.stat.size, row.stat.modified, row.stat.changed)
                    != (observed.size, observed.modified, observed.changed)
        };
        if self.row_of(observed.id)?.as_ref().is_none_or(stale) || self.names_of(observed.id)?.is_empty() {
            return Ok(Taken::Stale);
        }
        self.touch(observed.id, look)?;
        self.note(observed.id, look);
        if let Some(touched) = self.touched.get_mut(&observed.id) {
            touched.read = true;
            touched.corrupt = observed.corrupt;
        }
        if let Some(node) = self.node_mut(observed.id) {
            let Observed { digest, size, modified, changed, .. } = *observed;
            node.row.digest = Some(StoredDigest { digest, size, modified, changed, carried: false });
            node.row.magic = Some(observed.magic);
        }
        Ok(Taken::Yes)
    }
}

/// What stays known of a file's content when a look finds another stat.
pub(crate) fn carry(row: &mut Row, seen: &Stat, look: &Look) {
    if !row.stat.same_content(seen) {
        // Another content may begin by other bytes.
        row.magic = None;
        return;
    }
    let current = row.current_digest().is_some();
    if let Some(digest) =
        row.digest.as_mut().filter(|_| current && look.told && !look.written && !look.closed)
    {
        // Renamed, linked, or given other rights: without the kernel's word, a write whose modification time was set back
        // would look the same.
        digest.changed = seen.changed;
        digest.carried = true;
    }
}
