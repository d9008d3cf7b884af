//! Every entry below a directory, each as often as it counts: once a root, as totals do, or once below, as du(1) does.
//! Adds nothing up.

use index::{IndexError, Reader, RootRow};
use reconcile::Stored as _;
use record::{EntryId, Row};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::query::QueryError;

/// Entries of one directory that are looked up together.
const TOGETHER: usize = 4096;

/// Where an entry with several names counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// At its least name in this root, wherever that lies in it.
    OnceIn(EntryId),
    /// Wherever it is met first.
    WhereMet,
}

impl Counts {
    /// As totals do in `root`, or exactly as du(1) does.
    pub(super) fn new(root: &RootRow, exact: bool) -> Counts {
        if exact { Counts::WhereMet } else { Counts::OnceIn(root.top) }
    }
}

struct Walk<'a> {
    reader: &'a Reader,
    counts: Counts,
    /// Entries with several names that counted.
    counted: FxHashSet<EntryId>,
    /// Whether a directory with a name of such an entry lies in the root.
    inside: FxHashMap<EntryId, bool>,
    waiting: Vec<EntryId>,
}

/// Calls `each` with the row of `top` and those of all that counts below it. Memory grows with the number of entries that have
/// several names.
///
/// # Errors
/// When the index cannot be read, or its names run in a circle.
pub(super) fn each_counted(
    reader: &Reader,
    top: EntryId,
    row: &Row,
    counts: Counts,
    each: &mut dyn FnMut(&Row),
) -> Result<(), QueryError> {
    each(row);
    if !row.stat.is_directory() {
        return Ok(());
    }
    let (counted, inside) = (FxHashSet::default(), FxHashMap::default());
    let mut walk = Walk { reader, counts, counted, inside, waiting: vec![top] };
    let (most, mut visited) = (reader.entries()?, 0);
    let mut ids = Vec::new();
    while let Some(dir) = walk.waiting.pop() {
        visited += 1;
        if visited > most {
            return Err(IndexError::circle(dir).into());
        }
        reader.each_child::<QueryError>(dir, |_, target| {
            ids.push(target.id);
            if ids.len() == TOGETHER {
                walk.rows(dir, &mut ids, each)?;
            }
            Ok(true)
        })?;
        walk.rows(dir, &mut ids, each)?;
    }
    Ok(())
}

impl Walk<'_> {
    /// Looks up `ids`, which have names in `dir`, in the order in which their rows lie, and takes them out.
    fn rows(
        &mut self,
        dir: EntryId,
        ids: &mut Vec<EntryId>,
        each: &mut dyn FnMut(&Row),
    ) -> Result<(), QueryError> {
        ids.sort_unstable();
        for id in ids.drain(..) {
            let Some(row) = self.reader.row(id)? else { continue };
            if row.stat.is_directory() {
                self.waiting.push(id);
            } else if row.many_names && !(self.counts_in(dir, id)? && self.counted.insert(id)) {
                continue;
            }
            each(&row);
        }
        Ok(())
    }

    /// Whether an entry with several names counts by one it has in `dir`.
    fn counts_in(&mut self, dir: EntryId, id: EntryId) -> Result<bool, QueryError> {
        let Counts::OnceIn(root) = self.counts else { return Ok(true) };
        let mut links = self.reader.links(id)?;
        links.sort();
        for place in links {
            if self.is_inside(root, place.dir)? {
                return Ok(place.dir == dir);
            }
        }
        Ok(false)
    }

    fn is_inside(&mut self, root: EntryId, dir: EntryId) -> Result<bool, QueryError> {
        let mut way = Vec::new();
        let mut at = dir;
        let inside = loop {
            if let Some(known) = self.inside.get(&at) {
                break *known;
            }
            way.push(at);
            if at == root {
                break true;
            }
            match self.reader.row(at)?.and_then(|row| row.place) {
                None => break false,
                Some(_) if way.len() as u64 > self.reader.entries()? => {
                    return Err(IndexError::circle(dir).into());
                }
                Some(place) => at = place.dir,
            }
        };
        self.inside.extend(way.into_iter().map(|dir| (dir, inside)));
        Ok(inside)
    }
}
