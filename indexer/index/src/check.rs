//! Whether the index agrees with itself: every name has a row, every row its names, totals add up.

use std::sync::PoisonError;

use reconcile::Stored;
use record::{EntryId, Place, Row, Totals};
use rustc_hash::FxHashMap;

use crate::error::IndexError;
use crate::file::{Index, META_TORN};
use crate::reader::Reader;
use crate::row_code::put_totals;
use crate::tables::{
    DIGESTS, ENTRIES, JOURNAL, LINKS, META, NAMES, NOTES, SIZES, TOTALS, TREE_DIGESTS, TREES, key,
};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Rows looked at.
    pub entries: u64,
    /// Names looked at.
    pub names: u64,
    /// The first faults, at most [`Check::MOST`].
    pub faults: Vec<Fault>,
    /// All faults, listed or not.
    pub count: u64,
}

/// One disagreement inside the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The entry.
    pub entry: EntryId,
    /// What is wrong.
    pub what: String,
}

/// Where the bytes of the file go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Table name and bytes of keys and values in it.
    pub tables: Vec<(String, u64)>,
    /// Length of the file.
    pub file: u64,
}

impl Check {
    /// Faults that are listed one by one.
    pub const MOST: usize = 100;

    fn add(&mut self, entry: EntryId, what: impl Into<String>) {
        self.count += 1;
        if self.faults.len() < Check::MOST {
            self.faults.push(Fault { entry, what: what.into() });
        }
    }
}

/// A directory's parent and what counts in it, itself included but nothing further down.
type Own = FxHashMap<EntryId, (Option<EntryId>, Totals)>;

impl Reader {
    /// Checks rows, names, links and totals against each other. Memory grows with the number of
    /// directories, about 150 bytes each.
    ///
    /// # Errors
    /// When the file cannot be read or a row is damaged.
    pub fn check(&self) -> Result<Check, IndexError> {
        let mut check = Check::default();
        let roots = self.roots()?;
        let is_top = |id: EntryId| roots.iter().any(|root| root.top == id);
        // Names come by directory.
        let mut directory = None;
        self.each_name::<IndexError>(|dir, name, target| {
            check.names += 1;
            if directory != Some(dir) {
                directory = Some(dir);
                if !self.row(dir)?.is_some_and(|row| row.stat.is_directory()) {
                    check.add(dir, "there are names in it and it is no directory");
                }
            }
            match self.row(target.id)? {
                None => check.add(target.id, format!("a name in {dir} points at no row")),
                Some(row) => {
                    if row.stat.is_directory() != target.directory {
                        check.add(target.id, "its name and its row disagree on being a directory");
                    }
                    let place = Place::new(dir, name);
                    let known = if row.many_names {
                        self.links(target.id)?.contains(&place)
                    } else {
                        row.place.as_ref() == Some(&place)
                    };
                    if !known {
                        check.add(target.id, format!("it does not know its name in {dir}"));
                    }
                }
            }
            Ok(true)
        })?;
        self.each_row::<IndexError>(|id, row| {
            check.entries += 1;
            self.check_names(id, &row, is_top(id), &mut check)?;
            Ok(true)
        })?;
        self.each_linked(|id| {
            if !self.row(id)?.is_some_and(|row| row.many_names) {
                check.add(id, "it has links and does not know of several names");
            }
            Ok(())
        })?;
        let tops: Vec<EntryId> = roots.iter().map(|root| root.top).collect();
        let mut directories = self.own_totals(&tops)?;
        let order = add_up(&mut directories, |id| check.add(id, "its way up runs in a circle"));
        for id in order {
            self.check_total(id, &directories[&id].1, &mut check)?;
        }
        self.each_total(|id| {
            if !directories.contains_key(&id) {
                check.add(id, "it has totals and is no directory");
            }
        })?;
        self.check_contents(|id, what| check.add(id, what))?;
        Ok(check)
    }

    /// What counts in each directory itself, by the rows. Memory grows with the number of directories, about
    /// 150 bytes each.
    fn own_totals(&self, tops: &[EntryId]) -> Result<Own, IndexError> {
        let mut directories = Own::default();
        let mut counted: Vec<EntryId> = Vec::new();
        self.each_row::<IndexError>(|id, row| {
            if row.stat.is_directory() {
                let slot = directories.entry(id).or_default();
                slot.0 = row.place.as_ref().map(|place| place.dir);
                slot.1.add(&Totals::of(&row.stat));
            } else if row.many_names {
                counted.push(id);
            } else if let Some(place) = &row.place {
                directories.entry(place.dir).or_default().1.add(&Totals::of(&row.stat));
            }
            Ok(true)
        })?;
        for id in counted {
            let Some(row) = self.row(id)? else { continue };
            for dir in self.counted_at(id, &directories, tops)? {
                directories.entry(dir).or_default().1.add(&Totals::of(&row.stat));
            }
        }
        Ok(directories)
    }

    fn check_names(&self, id: EntryId, row: &Row, top: bool, check: &mut Check) -> Result<(), IndexError> {
        let names = if row.many_names { self.links(id)? } else { row.place.iter().cloned().collect() };
        if names.is_empty() && !top && self.detached(id)?.is_none() {
            check.add(id, "it has no name and is no root");
        }
        if row.place.as_ref() != names.iter().min() {
            check.add(id, "its first name is not its least");
        }
        for place in names {
            if self.lookup(place.dir, &place.name)?.map(|target| target.id) != Some(id) {
                check.add(id, format!("its name in {} is not there", place.dir));
            }
        }
        Ok(())
    }

    /// The directories that count an entry with several names: the least in each root.
    fn counted_at(
        &self,
        id: EntryId,
        directories: &FxHashMap<EntryId, (Option<EntryId>, Totals)>,
        tops: &[EntryId],
    ) -> Result<Vec<EntryId>, IndexError> {
        let mut links = self.links(id)?;
        links.sort();
        let mut seen = Vec::new();
        let mut dirs = Vec::new();
        for place in links {
            let mut top = place.dir;
            // No way up is longer than there are directories, but one that runs in a circle.
            for _ in 0..directories.len() {
                if tops.contains(&top) {
                    break;
                }
                let Some((Some(parent), _)) = directories.get(&top) else { break };
                top = *parent;
            }
            if !seen.contains(&top) {
                seen.push(top);
                dirs.push(place.dir);
            }
        }
        Ok(dirs)
    }

    fn check_total(&self, id: EntryId, expected: &Totals, check: &mut Check) -> Result<(), IndexError> {
        match self.totals(id)? {
            None => check.add(id, "it is a directory without totals"),
            Some(stored) if stored.newest < expected.newest => {
                check.add(id, "its newest change is older than a change below it");
            }
            Some(stored) if stored != (Totals { newest: stored.newest, ..*expected }) => {
                check.add(id, format!("its totals are {stored:?}, the rows add up to {expected:?}"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Adds every directory's totals to its parent's, deepest first; answers the directories in that order.
/// `circle` hears of directories whose way up has no end.
fn add_up(directories: &mut Own, mut circle: impl FnMut(EntryId)) -> Vec<EntryId> {
    let mut depths: FxHashMap<EntryId, u32> = FxHashMap::default();
    let mut order: Vec<(u32, EntryId)> = Vec::with_capacity(directories.len());
    for id in directories.keys().copied() {
        let mut way = Vec::new();
        let mut at = id;
        let base = loop {
            if let Some(known) = depths.get(&at) {
                break *known;
            }
            way.push(at);
            match directories.get(&at).and_then(|(parent, _)| *parent) {
                Some(parent) if way.len() <= directories.len() => at = parent,
                Some(_) => {
                    circle(id);
                    break 0;
                }
                None => break 0,
            }
        };
        let mut depth = base;
        for at in way.into_iter().rev() {
            depth += 1;
            depths.insert(at, depth);
        }
        order.push((depth, id));
    }
    order.sort_by(|a, b| b.cmp(a));
    for (_, id) in &order {
        let (parent, totals) = directories[id];
        if let Some((_, up)) = parent.and_then(|parent| directories.get_mut(&parent)) {
            up.add(&totals);
        }
    }
    order.into_iter().map(|(_, id)| id).collect()
}

impl Index {
    /// Makes totals what the rows add up to, if a seed left them otherwise. Answers whether it did.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn mend_totals(&self) -> Result<bool, IndexError> {
        let reader = self.read()?;
        if reader.meta.get(META_TORN)?.is_none_or(|torn| torn.value() == 0) {
            return Ok(false);
        }
        let tops: Vec<EntryId> = reader.roots()?.iter().map(|root| root.top).collect();
        let mut directories = reader.own_totals(&tops)?;
        add_up(&mut directories, |_| {});
        // The walk added up a directory that ended under it; its number may be another's by now.
        let mut strays = Vec::new();
        reader.each_total(|id| {
            if !directories.contains_key(&id) {
                strays.push(id);
            }
        })?;
        drop(reader);
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = self.begin_write()?;
        {
            let mut table = transaction.open_table(TOTALS)?;
            for (id, (_, totals)) in &directories {
                let mut bytes = Vec::new();
                put_totals(&mut bytes, totals);
                table.insert(key(*id), &bytes[..])?;
            }
            for id in strays {
                table.remove(key(id))?;
            }
            transaction.open_table(META)?.insert(META_TORN, 0)?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Where the bytes of the file go.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sizes(&self) -> Result<Sizes, IndexError> {
        use redb::ReadableTableMetadata as _;
        let read = self.begin_read()?;
        let tables = vec![
            ("entries".to_owned(), read.open_table(ENTRIES)?.stats()?.stored_bytes()),
            ("names".to_owned(), read.open_table(NAMES)?.stats()?.stored_bytes()),
            ("links".to_owned(), read.open_table(LINKS)?.stats()?.stored_bytes()),
            ("totals".to_owned(), read.open_table(TOTALS)?.stats()?.stored_bytes()),
            ("sizes".to_owned(), read.open_table(SIZES)?.stats()?.stored_bytes()),
            ("digests".to_owned(), read.open_table(DIGESTS)?.stats()?.stored_bytes()),
            ("contents".to_owned(), read.open_table(NOTES)?.stats()?.stored_bytes()),
            ("trees".to_owned(), read.open_table(TREES)?.stats()?.stored_bytes()),
            ("tree_digests".to_owned(), read.open_table(TREE_DIGESTS)?.stats()?.stored_bytes()),
            ("journal".to_owned(), read.open_table(JOURNAL)?.stats()?.stored_bytes()),
        ];
        Ok(Sizes { tables, file: self.file_length() })
    }

    /// Length of the file in bytes; 0 when it cannot be looked at.
    #[must_use]
    pub fn file_length(&self) -> u64 {
        self.path().symlink_metadata().map_or(0, |meta| meta.len())
    }
}
