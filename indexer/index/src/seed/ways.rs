//! The totals of a first scan: what the walk added up is merged; what it could not add up goes up the ways that the rows
//! tell.

use record::{EntryId, Totals};
use redb::{ReadableTable, Table, WriteTransaction};
use rustc_hash::FxHashMap;

use super::RunResult;
use super::keep::Keep;
use super::load::decode_row;
use super::sort::{Merge, Runs};
use crate::error::IndexError;
use crate::meter::Meter;
use crate::row_code::{put_totals, totals};
use crate::tables::{ENTRIES, TOTALS, key, split_name_key};

/// Sums held back before they are written up the tree: about 8 MB.
const MOST_SUMS: usize = 1 << 16;

/// Most levels of a tree whose sums are added up the way; more is a circle.
const MOST_LEVELS: usize = 1 << 17;

/// Writes what the walk added up.
pub(super) fn load_totals(
    transaction: &WriteTransaction,
    keep: &Keep,
    meter: &Meter,
    runs: Runs,
) -> RunResult<()> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut table = transaction.open_table(TOTALS)?;
    while let Some((record, value)) = merge.next()? {
        if let Some((dir, _)) = split_name_key(record) {
            table.insert(key(dir), value)?;
        }
    }
    Ok(())
}

/// Adds sums to the totals of their directories and all above. False: some way up runs in a circle.
pub(super) fn add_sums(
    transaction: &WriteTransaction,
    keep: &Keep,
    meter: &Meter,
    runs: Runs,
) -> RunResult<bool> {
    let mut merge = Merge::new(keep, runs)?.telling(meter);
    let mut ways = Ways {
        entries: transaction.open_table(ENTRIES)?,
        parents: FxHashMap::default(),
        all: FxHashMap::default(),
        straight: true,
    };
    let mut table = transaction.open_table(TOTALS)?;
    let mut held: Option<(EntryId, Totals)> = None;
    while let Some((record, value)) = merge.next()? {
        let Some((dir, _)) = split_name_key(record) else { continue };
        let sum = decode_totals(dir, value)?;
        match &mut held {
            Some((at, all)) if *at == dir => all.add(&sum),
            _ => {
                if let Some((dir, sum)) = held.replace((dir, sum)) {
                    ways.up(dir, &sum)?;
                }
            }
        }
        if ways.all.len() > MOST_SUMS {
            write_sums(&mut table, &mut ways.all)?;
            ways.parents.clear();
        }
    }
    if let Some((dir, sum)) = held {
        ways.up(dir, &sum)?;
    }
    write_sums(&mut table, &mut ways.all)?;
    Ok(ways.straight)
}

/// The ways up from directories, by the rows.
struct Ways<'t> {
    entries: Table<'t, (u32, u64), &'static [u8]>,
    parents: FxHashMap<EntryId, Option<EntryId>>,
    all: FxHashMap<EntryId, Totals>,
    straight: bool,
}

impl Ways<'_> {
    fn up(&mut self, dir: EntryId, sum: &Totals) -> RunResult<()> {
        let mut at = Some(dir);
        let mut levels = 0;
        while let Some(id) = at {
            self.all.entry(id).or_default().add(sum);
            levels += 1;
            if levels > MOST_LEVELS {
                self.straight = false;
                return Ok(());
            }
            at = match self.parents.get(&id) {
                Some(parent) => *parent,
                None => {
                    let value = self.entries.get(key(id))?;
                    let place = match &value {
                        Some(value) => decode_row(id, value.value())?.place,
                        None => None,
                    };
                    let parent = place.map(|place| place.dir);
                    self.parents.insert(id, parent);
                    parent
                }
            };
        }
        Ok(())
    }
}

fn write_sums(
    table: &mut Table<'_, (u32, u64), &'static [u8]>,
    all: &mut FxHashMap<EntryId, Totals>,
) -> RunResult<()> {
    for (id, sum) in all.drain() {
        let mut new = match table.get(key(id))? {
            Some(value) => decode_totals(id, value.value())?,
            None => Totals::default(),
        };
        new.add(&sum);
        let mut bytes = Vec::new();
        put_totals(&mut bytes, &new);
        table.insert(key(id), &bytes[..])?;
    }
    Ok(())
}

fn decode_totals(id: EntryId, bytes: &[u8]) -> RunResult<Totals> {
    totals(bytes).map_err(|error| IndexError::damaged(format!("totals {id}"), error))
}
