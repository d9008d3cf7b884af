//! A view of the index as of one commit: rows, names, paths, roots.

use std::ops::Bound;

use reconcile::{Detached, Stored, Target};
use record::{EntryId, Name, Place, RootId, Row, Seq, Totals, VolumeId};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::error::IndexError;
use crate::file::META_SEQ;
use crate::roots::{Blind, RootRow, VolumeRow, blind, detached, root, volume};
use crate::row_code::{row, totals};
use crate::tables::{
    COVERAGE, CURSORS, DETACHED, DIGESTS, ENTRIES, JOURNAL, LINKS, META, NAMES, NOTES, PENDING, ROOTS,
    ROTTEN, SETS, SIZES, TOTALS, TREE_DIGESTS, TREES, TREES_DUE, VOLUMES, dir_prefix, dir_prefix_end, id,
    key, name_key, split_name_key, target,
};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The name.
    pub name: Name,
    /// What it stands for.
    pub target: Target,
}

/// An open view. It keeps freed pages of later commits in the file while it lives.
pub struct Reader {
    pub(crate) entries: ReadOnlyTable<(u32, u64), &'static [u8]>,
    names: ReadOnlyTable<&'static [u8], (u32, u64)>,
    links: ReadOnlyTable<&'static [u8], ()>,
    totals: ReadOnlyTable<(u32, u64), &'static [u8]>,
    detached: ReadOnlyTable<(u32, u64), &'static [u8]>,
    pub(crate) journal: ReadOnlyTable<u64, &'static [u8]>,
    cursors: ReadOnlyTable<&'static str, u64>,
    volumes: ReadOnlyTable<u32, &'static [u8]>,
    roots: ReadOnlyTable<u32, &'static [u8]>,
    pub(crate) coverage: ReadOnlyTable<(u32, u64), &'static [u8]>,
    pub(crate) meta: ReadOnlyTable<&'static str, u64>,
    pub(crate) sizes: ReadOnlyTable<(u64, u32, u64), ()>,
    pub(crate) digests: ReadOnlyTable<(u8, [u8; 32], u32, u64), u64>,
    pub(crate) sets: ReadOnlyTable<(u8, [u8; 32]), (u64, u64, u64)>,
    pub(crate) pending: ReadOnlyTable<(u32, u64), i64>,
    pub(crate) notes: ReadOnlyTable<(u32, u64), &'static [u8]>,
    pub(crate) rotten: ReadOnlyTable<(u32, u64), &'static [u8]>,
    pub(crate) trees: ReadOnlyTable<(u32, u64), &'static [u8]>,
    pub(crate) tree_digests: ReadOnlyTable<([u8; 32], u32, u64), u64>,
    pub(crate) trees_due: ReadOnlyTable<(u32, u64), u64>,
}

impl Reader {
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Reader, IndexError> {
        Ok(Reader {
            entries: transaction.open_table(ENTRIES)?,
            names: transaction.open_table(NAMES)?,
            links: transaction.open_table(LINKS)?,
            totals: transaction.open_table(TOTALS)?,
            detached: transaction.open_table(DETACHED)?,
            journal: transaction.open_table(JOURNAL)?,
            cursors: transaction.open_table(CURSORS)?,
            volumes: transaction.open_table(VOLUMES)?,
            roots: transaction.open_table(ROOTS)?,
            coverage: transaction.open_table(COVERAGE)?,
            meta: transaction.open_table(META)?,
            sizes: transaction.open_table(SIZES)?,
            digests: transaction.open_table(DIGESTS)?,
            sets: transaction.open_table(SETS)?,
            pending: transaction.open_table(PENDING)?,
            notes: transaction.open_table(NOTES)?,
            rotten: transaction.open_table(ROTTEN)?,
            trees: transaction.open_table(TREES)?,
            tree_digests: transaction.open_table(TREE_DIGESTS)?,
            trees_due: transaction.open_table(TREES_DUE)?,
        })
    }

    /// The seq of the last record.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seq(&self) -> Result<Seq, IndexError> {
        Ok(Seq(self.meta.get(META_SEQ)?.map_or(0, |value| value.value())))
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries(&self) -> Result<u64, IndexError> {
        Ok(self.entries.len()?)
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lookup(&self, dir: EntryId, name: &[u8]) -> Result<Option<Target>, IndexError> {
        Ok(self.names.get(&name_key(dir, name)[..])?.map(|value| target(value.value())))
    }

    /// Calls `each` with every name in `dir` in byte order until it answers false.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_child<E: From<IndexError>>(
        &self,
        dir: EntryId,
        each: impl FnMut(&[u8], Target) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.each_child_after(dir, None, each)
    }

    /// The same for the names after `after`.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_child_after<E: From<IndexError>>(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], Target) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.name_range(dir, after)? {
            let (key, value) = item.map_err(IndexError::from)?;
            let Some((_, name)) = split_name_key(key.value()) else { continue };
            if !each(name, target(value.value()))? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with every name there is, by directory number and then name, until it answers false:
    /// the fastest way over everything, without paths.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_name<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(EntryId, &[u8], Target) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.names.iter().map_err(IndexError::from)? {
            let (key, value) = item.map_err(IndexError::from)?;
            let Some((dir, name)) = split_name_key(key.value()) else { continue };
            if !each(dir, name, target(value.value()))? {
                break;
            }
        }
        Ok(())
    }

    /// Directories from number `from` on, in the order of numbers, at most `limit`. Each has totals.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn directories(&self, from: EntryId, limit: usize) -> Result<Vec<EntryId>, IndexError> {
        let mut found = Vec::new();
        for item in self.totals.range(key(from)..)?.take(limit) {
            found.push(id(item?.0.value()));
        }
        Ok(found)
    }

    /// Calls `each` with every row, by number, until it answers false.
    ///
    /// # Errors
    /// When the file cannot be read, a row is damaged, or what `each` answers.
    pub fn each_row<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(EntryId, Row) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.entries.iter().map_err(IndexError::from)? {
            let (key, value) = item.map_err(IndexError::from)?;
            let id = id(key.value());
            let row =
                row(id, value.value()).map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
            if !each(id, row)? {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with every entry that has links, once.
    pub(crate) fn each_linked(
        &self,
        mut each: impl FnMut(EntryId) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut last = None;
        for item in self.links.iter()? {
            let (key, _) = item?;
            let Some((id, _)) = split_name_key(key.value()) else { continue };
            if last.replace(id) != Some(id) {
                each(id)?;
            }
        }
        Ok(())
    }

    /// Calls `each` with every entry that has totals.
    pub(crate) fn each_total(&self, mut each: impl FnMut(EntryId)) -> Result<(), IndexError> {
        for item in self.totals.iter()? {
            each(id(item?.0.value()));
        }
        Ok(())
    }

    /// The configured trees.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn roots(&self) -> Result<Vec<RootRow>, IndexError> {
        let mut roots = Vec::new();
        for item in self.roots.iter()? {
            let (key, value) = item?;
            let id = RootId(key.value());
            roots.push(
                root(id, value.value())
                    .map_err(|error| IndexError::damaged(format!("root {}", id.0), error))?,
            );
        }
        Ok(roots)
    }

    /// The known file systems.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn volumes(&self) -> Result<Vec<(VolumeId, VolumeRow)>, IndexError> {
        let mut volumes = Vec::new();
        for item in self.volumes.iter()? {
            let (key, value) = item?;
            let id = key.value();
            let row =
                volume(value.value()).map_err(|error| IndexError::damaged(format!("volume {id}"), error))?;
            volumes.push((VolumeId(id), row));
        }
        Ok(volumes)
    }

    /// Consumers and the last record each is done with.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn cursors(&self) -> Result<Vec<(String, Seq)>, IndexError> {
        let mut cursors = Vec::new();
        for item in self.cursors.iter()? {
            let (key, value) = item?;
            cursors.push((key.value().to_owned(), Seq(value.value())));
        }
        Ok(cursors)
    }

    /// Directories that cannot be vouched for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn blind(&self) -> Result<Vec<(EntryId, Blind)>, IndexError> {
        let mut all = Vec::new();
        for item in self.coverage.iter()? {
            let (key, value) = item?;
            let id = id(key.value());
            all.push((
                id,
                blind(value.value()).map_err(|error| IndexError::damaged(format!("coverage {id}"), error))?,
            ));
        }
        Ok(all)
    }

    /// Whether one directory cannot be vouched for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_blind(&self, dir: EntryId) -> Result<bool, IndexError> {
        Ok(self.coverage.get(key(dir))?.is_some())
    }

    /// Why a directory cannot be vouched for, and since when, if it cannot.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn blind_at(&self, dir: EntryId) -> Result<Option<Blind>, IndexError> {
        let Some(value) = self.coverage.get(key(dir))? else { return Ok(None) };
        blind(value.value()).map(Some).map_err(|error| IndexError::damaged(format!("coverage {dir}"), error))
    }

    /// Entries whose last name went to another.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn all_detached(&self) -> Result<Vec<EntryId>, IndexError> {
        let mut all = Vec::new();
        for item in self.detached.iter()? {
            all.push(id(item?.0.value()));
        }
        Ok(all)
    }

    /// Whether a directory waits for a name that is still to be found: neither it nor anything below it is on a path. One that
    /// is out of sight does not wait.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn has_waiting(&self) -> Result<bool, IndexError> {
        for id in self.all_detached()? {
            if self.row(id)?.is_some_and(|row| row.stat.is_directory()) && !self.is_blind(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn name_range(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
    ) -> Result<redb::Range<'static, &'static [u8], (u32, u64)>, IndexError> {
        let prefix = dir_prefix(dir);
        let from = after.map(|name| name_key(dir, name));
        let lower = match &from {
            Some(key) => Bound::Excluded(&key[..]),
            None => Bound::Included(&prefix[..]),
        };
        let end = dir_prefix_end(dir);
        let upper = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        Ok(self.names.range::<&[u8]>((lower, upper))?)
    }
}

impl Stored for Reader {
    type Error = IndexError;

    fn row(&self, id: EntryId) -> Result<Option<Row>, IndexError> {
        let Some(value) = self.entries.get(key(id))? else { return Ok(None) };
        row(id, value.value()).map(Some).map_err(|error| IndexError::damaged(format!("row {id}"), error))
    }

    fn name(&self, dir: EntryId, name: &[u8]) -> Result<Option<EntryId>, IndexError> {
        Ok(self.lookup(dir, name)?.map(|target| target.id))
    }

    fn links(&self, id: EntryId) -> Result<Vec<Place>, IndexError> {
        let prefix = dir_prefix(id);
        let end = dir_prefix_end(id);
        let upper = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        let mut places = Vec::new();
        for item in self.links.range::<&[u8]>((Bound::Included(&prefix[..]), upper))? {
            let (key, _) = item?;
            if let Some((dir, name)) = key.value().get(12..).and_then(split_name_key) {
                places.push(Place::new(dir, name));
            }
        }
        Ok(places)
    }

    fn detached(&self, id: EntryId) -> Result<Option<Detached>, IndexError> {
        let Some(value) = self.detached.get(key(id))? else { return Ok(None) };
        detached(value.value())
            .map(Some)
            .map_err(|error| IndexError::damaged(format!("detached {id}"), error))
    }

    fn totals(&self, dir: EntryId) -> Result<Option<Totals>, IndexError> {
        let Some(value) = self.totals.get(key(dir))? else { return Ok(None) };
        totals(value.value()).map(Some).map_err(|error| IndexError::damaged(format!("totals {dir}"), error))
    }

    fn children(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Name, EntryId)>, IndexError> {
        let mut children = Vec::new();
        for item in self.name_range(dir, after)?.take(limit) {
            let (key, value) = item?;
            if let Some((_, name)) = split_name_key(key.value()) {
                children.push((name.into(), target(value.value()).id));
            }
        }
        Ok(children)
    }
}
