//! `dups`: sets of files with equal contents, and of equal directories, from the digests that the index has. Reads no file.

mod cover;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use index::{IndexError, Paths, Reader};
use reconcile::Stored as _;
use record::wire::v1;
use record::{Digest, DigestKind, EntryId, Row};
use rustc_hash::FxHashSet;

use self::cover::{Class, Cover};
use crate::engine::{wasted, wasted_by};
use crate::paths::is_below;
use crate::query::{DupsRequest, Emit, QueryError, bytes, resolve};

/// Sets held at once; those beyond that waste least.
const MOST_SETS: usize = 1 << 20;

/// A set that is not looked into yet, or waits for its turn. `most` is what it may waste. Of those that waste as much,
/// directories come first, since they may explain the files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Set {
    most: u64,
    directories: bool,
    digest: Reverse<Digest>,
    size: u64,
    found: Option<Box<Found>>,
}

/// What is told of a set, that is, of copies by their paths and other names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    wasted: u64,
    /// Files below each directory.
    files: Option<u64>,
    copies: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// Emits every set that `request` asks for, those that waste most first.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there.
pub(crate) fn dups(
    reader: &Reader,
    request: &DupsRequest,
    emit: Emit<'_, v1::Duplicates>,
) -> Result<(), QueryError> {
    let below = match &request.path {
        Some(path) => {
            let path = bytes(path, request.path_raw.as_deref())?;
            resolve(reader, &path)?;
            Some(path)
        }
        None => None,
    };
    let least = request.min_size.unwrap_or(0);
    // Rows came in past the digests of directories: they will be made anew.
    let files_alone = request.files || !reader.keeps_contents()?;
    let (mut sets, mut left) = file_sets(reader, least)?;
    if !files_alone {
        directory_sets(reader, least, &mut sets)?;
    }
    let several: FxHashSet<[u8; 32]> =
        sets.iter().filter(|set| set.directories).map(|set| set.digest.0.bytes).collect();
    let mut look = Look { reader, paths: Paths::new(reader)?, below, cover: None };
    // Where no directories are equal, no file is asked for those that it lies in.
    if !several.is_empty() {
        look.cover = Some(Cover::new(reader, look.below.clone(), several)?);
    }
    let mut heap = BinaryHeap::from(sets);
    // Sets that were looked into and are not told yet.
    let mut owed = 0;
    let mut told = 0;
    while let Some(mut set) = heap.pop() {
        // All copies there are have been told of, by their directories.
        if told >= request.top.unwrap_or(usize::MAX) || (left == 0 && owed == 0) {
            break;
        }
        let found = match set.found.take() {
            Some(found) => {
                owed -= 1;
                *found
            }
            None => {
                let (found, explained) = look.at(&set)?;
                left = left.saturating_sub(explained);
                let Some(found) = found else { continue };
                if heap.peek().is_some_and(|next| next.most > found.wasted) {
                    owed += 1;
                    set.most = found.wasted;
                    set.found = Some(Box::new(found));
                    heap.push(set);
                    continue;
                }
                found
            }
        };
        told += 1;
        let line = match found.files {
            Some(files) => {
                let paths: Vec<Vec<u8>> = found.copies.into_iter().map(|(path, _)| path).collect();
                v1::Duplicates::of_directories(set.digest.0.bytes, (set.size, files), found.wasted, &paths)
            }
            None => v1::Duplicates::new(&set.digest.0, set.size, found.wasted, &found.copies),
        };
        if !emit(line) {
            break;
        }
    }
    Ok(())
}

/// Sets of files, and the bytes of all copies but one, each.
fn file_sets(reader: &Reader, least: u64) -> Result<(Vec<Set>, u64), QueryError> {
    let (mut sets, mut all) = (Vec::new(), 0u64);
    reader.each_set::<QueryError>(|index::Set { digest, size, copies, .. }| {
        let most = wasted_by(size, copies);
        all = all.saturating_add(most);
        if size >= least {
            sets.push(Set { most, directories: false, digest: Reverse(digest), size, found: None });
            keep_most(&mut sets);
        }
        Ok(true)
    })?;
    Ok((sets, all))
}

/// Adds sets of directories.
fn directory_sets(reader: &Reader, least: u64, sets: &mut Vec<Set>) -> Result<(), QueryError> {
    let mut last: Option<([u8; 32], u64, u64)> = None;
    let mut take = |set: Option<([u8; 32], u64, u64)>| {
        let Some((digest, size, copies)) = set else { return };
        if copies < 2 || size == 0 || size < least {
            return;
        }
        let digest = Reverse(Digest { kind: DigestKind::Blake3, bytes: digest });
        let most = wasted_by(size, copies);
        sets.push(Set { most, directories: true, digest, size, found: None });
        keep_most(sets);
    };
    reader.each_tree::<QueryError>(|digest, size, _| {
        match &mut last {
            Some((known, _, copies)) if *known == digest => *copies += 1,
            _ => take(last.replace((digest, size, 1))),
        }
        Ok(true)
    })?;
    take(last);
    Ok(())
}

fn keep_most(sets: &mut Vec<Set>) {
    if sets.len() >= 2 * MOST_SETS {
        sets.select_nth_unstable_by(MOST_SETS, |one, other| other.cmp(one));
        sets.truncate(MOST_SETS);
    }
}

/// Looks into sets, one by one.
struct Look<'r> {
    reader: &'r Reader,
    paths: Paths<'r>,
    below: Option<Vec<u8>>,
    /// `None`: nothing is explained by directories.
    cover: Option<Cover<'r>>,
}

impl Look<'_> {
    /// What there is to tell, and the bytes of copies but one that need no more explanation.
    fn at(&mut self, set: &Set) -> Result<(Option<Found>, u64), QueryError> {
        if !set.directories {
            return self.at_files(set);
        }
        let Some(cover) = &mut self.cover else { return Ok((None, 0)) };
        let class = cover.class(&set.digest.0.bytes)?;
        let Class { members, explains: true } = &*class else { return Ok((None, 0)) };
        let (explained, wasted, files) = cover.waste(members, set.size)?;
        let copies = members.iter().map(|(path, _)| (path.clone(), Vec::new())).collect();
        // Names of the same files are no copies of them.
        let found = (explained > 0).then_some(Found { wasted, files: Some(files), copies });
        Ok((found, explained))
    }

    fn at_files(&mut self, set: &Set) -> Result<(Option<Found>, u64), QueryError> {
        let mut files = Vec::new();
        for id in self.reader.with_digest(&set.digest.0, usize::MAX)? {
            let Some(row) = self.reader.row(id)? else { continue };
            if let Some(cover) = &mut self.cover
                && cover.is_spare(id, &row)?
            {
                continue;
            }
            files.push((id, row));
        }
        if files.len() < 2 {
            return Ok((None, 0));
        }
        let explained = set.size.saturating_mul(files.len() as u64 - 1);
        let (mut copies, mut ids) = (Vec::new(), Vec::new());
        for (id, row) in files {
            let mut paths = self.paths(id, &row)?.into_iter();
            // What waits for a name, or is out of sight, has none.
            let Some(first) = paths.next() else { continue };
            copies.push((first, paths.collect::<Vec<_>>()));
            ids.push(id);
        }
        let is_asked_for = |below: &Vec<u8>| {
            copies
                .iter()
                .any(|(path, links)| is_below(path, below) || links.iter().any(|path| is_below(path, below)))
        };
        if copies.len() < 2 || !self.below.as_ref().is_none_or(is_asked_for) {
            return Ok((None, explained));
        }
        copies.sort();
        let placed = self.reader.set(&set.digest.0)?.is_some_and(|set| set.placed > 0);
        let wasted = match placed {
            true => wasted(set.size, &ids, |id| self.reader.note(id))?,
            false => wasted_by(set.size, ids.len() as u64),
        };
        Ok((Some(Found { wasted, files: None, copies }), explained))
    }

    /// Paths of all names of a file, in byte order.
    fn paths(&mut self, id: EntryId, row: &Row) -> Result<Vec<Vec<u8>>, IndexError> {
        let places =
            if row.many_names { self.reader.links(id)? } else { row.place.iter().cloned().collect() };
        let mut paths = Vec::new();
        for place in places {
            paths.extend(self.paths.at(&place)?.map(|(_, path)| path));
        }
        paths.sort();
        Ok(paths)
    }
}
