//! Lines of streams, read back by the commands: those fields that they print or compare.
//!
//! The wire types write 128-bit times inside flattened fields, which serde cannot read back; so an entry is read
//! in two passes, its stat apart.

use record::wire::v1;
use serde::Deserialize;

use crate::failure::Failure;

/// An entry, its path as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryView {
    /// Absolute path.
    pub(crate) path: Vec<u8>,
    /// Its stat.
    pub(crate) stat: v1::Stat,
    /// Its inode number.
    pub(crate) inode: u64,
    /// The number of its file system.
    pub(crate) volume: u32,
}

#[derive(Deserialize)]
struct EntryHead {
    path: String,
    path_raw: Option<String>,
    inode: u64,
    volume: u32,
}

impl EntryView {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is no entry.
    pub(crate) fn read(line: &[u8]) -> Result<EntryView, Failure> {
        let bad = |error: serde_json::Error| Failure::doing("read the daemon's answer", error);
        let head: EntryHead = serde_json::from_slice(line).map_err(bad)?;
        let stat = serde_json::from_slice(line).map_err(bad)?;
        let path = bytes(&head.path, head.path_raw.as_deref())?;
        Ok(EntryView { path, stat, inode: head.inode, volume: head.volume })
    }

    /// Takes what this process read itself.
    ///
    /// # Errors
    /// Never for entries of our own making.
    pub(crate) fn of(entry: v1::Entry) -> Result<EntryView, Failure> {
        let path = bytes(&entry.path, entry.path_raw.as_deref())?;
        Ok(EntryView { path, stat: entry.stat, inode: entry.inode, volume: entry.volume })
    }
}

/// A change, in the fields that its line of text shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ChangeView {
    /// Number of the record.
    pub(crate) seq: u64,
    /// What happened.
    pub(crate) op: String,
    path: String,
    path_raw: Option<String>,
    old_path: Option<String>,
    old_path_raw: Option<String>,
    /// When it was seen.
    pub(crate) seen_ns: i128,
    /// False while a writer is still at it.
    pub(crate) complete: bool,
    /// For gap and `root_lost`: what happened.
    pub(crate) why: Option<String>,
    /// For seeded: entries in the root.
    pub(crate) entries: Option<u64>,
}

impl ChangeView {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is no change.
    pub(crate) fn read(line: &[u8]) -> Result<ChangeView, Failure> {
        serde_json::from_slice(line).map_err(|error| Failure::doing("read the daemon's answer", error))
    }

    /// Takes what this process read itself.
    pub(crate) fn of(change: v1::Change) -> ChangeView {
        ChangeView {
            seq: change.seq,
            op: change.op,
            path: change.path,
            path_raw: change.path_raw,
            old_path: change.old_path,
            old_path_raw: change.old_path_raw,
            seen_ns: change.seen_ns,
            complete: change.complete,
            why: change.why,
            entries: change.entries,
        }
    }

    /// The path, as bytes.
    ///
    /// # Errors
    /// When `path_raw` is not base64.
    pub(crate) fn path(&self) -> Result<Vec<u8>, Failure> {
        bytes(&self.path, self.path_raw.as_deref())
    }

    /// The path it had, as bytes.
    ///
    /// # Errors
    /// When `old_path_raw` is not base64.
    pub(crate) fn old_path(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.old_path.as_deref().map(|path| bytes(path, self.old_path_raw.as_deref())).transpose()
    }
}

fn bytes(text: &str, raw: Option<&str>) -> Result<Vec<u8>, Failure> {
    v1::bytes_of(text, raw).map_err(|error| Failure::doing("read a path", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::{EntryId, Kind, Row, Stat, Time, VolumeId};

    #[test]
    fn an_entry_comes_back_whole_whatever_its_times() {
        let stat = Stat {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            links: 3,
            size: u64::MAX,
            allocated: 512,
            modified: Time(-1),
            changed: Time(15_032_385_535_000_000_000),
            accessed: Time(0),
            created: None,
        };
        let row = Row::new(stat, Time(0));
        let entry = v1::Entry::new(b"/a\xff\n", EntryId::new(VolumeId(1), u64::MAX), &row);
        let line = serde_json::to_vec(&entry).unwrap();
        let view = EntryView::read(&line).unwrap();
        assert_eq!(view, EntryView::of(entry).unwrap());
        assert_eq!((&view.path[..], view.inode), (&b"/a\xff\n"[..], u64::MAX));
        assert_eq!(view.stat.changed_ns, 15_032_385_535_000_000_000);
    }
}
