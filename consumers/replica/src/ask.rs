//! What a replica answers: entries as `indexer find --json` has them, and sets of equal files. Changes nothing.

use record::wire::v1::{Entry, EntryState, text_and_raw};
use redb::ReadableTable as _;
use serde::Serialize;

use crate::apply::{Replica, all_of};
use crate::keys::{ENTRY, Who};
use crate::paths::Paths;
use crate::sets::{self, Set};
use crate::store::{DIGESTS, ENTRIES, Held, LINKS, ReplicaError, TOPS};

/// An entry of a source at one of its paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Of which indexer.
    pub source: String,
    /// The host it is on.
    pub host: String,
    /// The seq it is of.
    pub seq: u64,
    /// What it is.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Replica {
    /// Every entry at each of its paths, source by source, until `each` answers false; those of journals that began anew are left
    /// out. What has no path is not shown.
    ///
    /// # Errors
    /// [`ReplicaError`], and what `each` says.
    pub fn list<E: From<ReplicaError>>(
        &self,
        each: &mut dyn FnMut(&Listed) -> Result<bool, E>,
    ) -> Result<(), E> {
        let read = self.reader()?;
        let open = |table| read.open_table(table).map_err(ReplicaError::from);
        let (entries, links, tops) = (open(ENTRIES)?, open(LINKS)?, open(TOPS)?);
        let mut paths = Paths::new(&links, &tops);
        for (number, source) in self.sources().iter().filter(|(_, source)| !source.stale) {
            let (first, end) = all_of(*number);
            for row in entries.range(first.as_slice()..end.as_slice()).map_err(ReplicaError::from)? {
                let (key, value) = row.map_err(ReplicaError::from)?;
                let held = Held::read(value.value())?;
                let (Some(who), Some(state)) = (Who::of(key.value()), held.state) else { continue };
                for path in paths.of(who)? {
                    let listed = Listed {
                        source: source.name.clone(),
                        host: source.host.clone(),
                        seq: held.seq,
                        entry: entry(&path, who, state.clone()),
                    };
                    if !each(&listed)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets of equal files of at least `min_size`, those that waste most first, at most `top`.
    ///
    /// # Errors
    /// [`ReplicaError`], and what `each` says.
    pub fn list_sets<E: From<ReplicaError>>(
        &self,
        (min_size, top): (u64, usize),
        each: &mut dyn FnMut(&Set) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = self.reader()?;
        let open = |table| read.open_table(table).map_err(ReplicaError::from);
        let (digests, entries, links, tops) = (open(DIGESTS)?, open(ENTRIES)?, open(LINKS)?, open(TOPS)?);
        let mut found: Vec<(u64, String)> = Vec::new();
        // Equal digests lie together.
        let mut now: (String, u64, u64) = Default::default();
        let mut close = |(digest, copies, size): (String, u64, u64)| {
            if copies > 1 && size >= min_size {
                found.push((size.saturating_mul(copies - 1), digest));
            }
        };
        for row in digests.iter().map_err(ReplicaError::from)? {
            let (key, _) = row.map_err(ReplicaError::from)?;
            let key = key.value();
            let Some(at) = key.len().checked_sub(ENTRY + 1) else { continue };
            let digest = String::from_utf8_lossy(&key[..at]);
            let Some(who) = Who::of(&key[at + 1..]) else { continue };
            if self.sources().get(&who.source).is_none_or(|source| source.stale) {
                continue;
            }
            if digest != now.0 {
                let held = entries.get(who.key().as_slice()).map_err(ReplicaError::from)?;
                let held = held.map(|row| Held::read(row.value())).transpose()?;
                let size = held.and_then(|held| held.state).map_or(0, |state| state.stat.size);
                close(std::mem::replace(&mut now, (digest.into_owned(), 0, size)));
            }
            now.1 += 1;
        }
        close(now);
        found.sort_unstable_by(|one, other| other.cmp(one));
        for (_, digest) in found.into_iter().take(top) {
            each(&sets::set((&digests, &entries, &links, &tops), self.sources(), &digest)?)?;
        }
        Ok(())
    }
}

fn entry(path: &[u8], who: Who, state: EntryState) -> Entry {
    let (path, path_raw) = text_and_raw(path);
    Entry {
        path,
        path_raw,
        stat: state.stat,
        inode: who.id.inode,
        volume: who.id.volume.0,
        category: state.category,
        digest: state.digest,
    }
}
