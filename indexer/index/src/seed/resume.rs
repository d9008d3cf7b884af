//! What an interrupted seed left: which directories it listed, which it knew and did not, and the way to those.
//!
//! Neither is stored as such. A directory in the runs without a mark of its own is one that waits. Both lists are
//! sorted files here too, with every 64th key in memory: under a byte a directory.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use record::{EntryId, Kind, Name, Place, RootId, Row, Time};
use rustc_hash::{FxHashMap, FxHashSet};

use super::keep::Keep;
use super::load::{decode_row, split_root};
use super::manifest::{DIRECTORIES, ENTRIES_RUN, LISTED, Manifest, SeedKey, WAITING};
use super::sort::{HEAD, Merge, Run, RunWriter, Runs, Sorter, lengths};
use super::sum::Sum;
use super::{RunResult, run_error};
use crate::error::{Corrupt, IndexError};
use crate::roots::{Blind, blind};
use crate::tables::{dir_prefix, split_name_key};

/// Directories between two whose keys are in memory.
const STRIDE: u64 = 64;

/// Bytes of the buffer that sorts the directories that wait.
const WAITING_BUFFER: usize = 4 << 20;

/// Most children told at once of one directory.
const MOST_CHILDREN: usize = 256;

/// Most levels between a directory and its root; more is a circle, made by a tree that moved under the scan.
const MOST_LEVELS: usize = 1 << 17;

/// Places of directories remembered while paths are found.
const MOST_PLACES: usize = 1 << 16;

/// What is left of an earlier seed.
pub(crate) struct Resumed {
    pub(crate) directories: u64,
    pub(crate) between: (Time, Time),
    pub(crate) blind: Vec<(EntryId, Blind)>,
    known: Directories,
    waiting: Mutex<FxHashMap<RootId, Runs>>,
    /// Roots whose own directory was listed.
    begun: FxHashSet<RootId>,
}

/// A directory that was listed, and some in it that were not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// Its entry.
    pub dir: EntryId,
    /// Its path from the root.
    pub components: Vec<Name>,
    /// Names in it, and the directories they stand for.
    pub children: Vec<(Name, EntryId)>,
}

/// The directories of one root that wait, by the directory they are in. After an error it ends early.
pub struct Waiting<'a> {
    merge: Merge<'static>,
    /// The next record: key and what it stands for.
    next: Option<(Vec<u8>, EntryId)>,
    known: &'a Directories,
    places: FxHashMap<EntryId, Option<Place>>,
    /// Why it ended early, if it did.
    failed: &'a Mutex<Option<IndexError>>,
}

/// Every directory in the runs, sorted: whether it was listed, and its place.
struct Directories {
    file: File,
    path: std::path::PathBuf,
    length: u64,
    /// Every [`STRIDE`]th key, and where its record begins.
    sparse: Vec<(EntryId, u64)>,
    failed: Mutex<Option<IndexError>>,
}

/// Goes on with the seed whose manifest is `bytes`; or why not, in words.
pub(crate) fn go_on(dir: &Path, bytes: &[u8], key: &SeedKey) -> Result<(Arc<Keep>, Resumed), String> {
    let manifest = Manifest::parse(bytes).map_err(|why| format!("its manifest is of no use: {why}"))?;
    if let Some(why) = manifest.refuses(key) {
        return Err(why);
    }
    // What was added since is part of it from now on.
    let manifest = Manifest { key: key.clone(), ..manifest };
    let (runs, directories) = (manifest.runs.clone(), manifest.directories);
    let between = (manifest.began, manifest.written);
    let say = |error: IndexError| error.to_string();
    let keep = Arc::new(Keep::new(dir.to_path_buf(), manifest, true).map_err(say)?);
    for run in &runs {
        let path = keep.path(run);
        let (length, sum) = sum_of(&path).map_err(|error| say(run_error("read", &path)(error)))?;
        if (length, sum) != (run.length, run.sum) {
            return Err(format!("{} is not what was written", path.display()));
        }
    }
    let of = |kind| runs.iter().filter(|run| run.kind == kind).map(|run| Run::File(keep.path(run))).collect();
    let resumed = read(&keep, of(ENTRIES_RUN), of(LISTED)).map_err(say)?;
    Ok((keep, Resumed { directories, between, ..resumed }))
}

fn sum_of(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::io::Read as _;
    let mut file = File::open(path)?;
    let (mut sum, mut length, mut buffer) = (Sum::default(), 0, vec![0; 256 << 10]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, sum.finish()));
        }
        length += read as u64;
        sum.add(&buffer[..read]);
    }
}

/// Reads all rows beside the marks, both by entry.
fn read(keep: &Arc<Keep>, entries: Runs, listed: Runs) -> RunResult<Resumed> {
    let mut entries = Merge::new(keep, entries)?;
    let mut marks = Merge::new(keep, listed)?;
    let mut mark = next_mark(&mut marks)?;
    let mut known = DirectoriesWriter::new(keep)?;
    let mut sorters: FxHashMap<RootId, Sorter> = FxHashMap::default();
    let mut begun = FxHashSet::default();
    let mut all_blind = Vec::new();
    let mut group: Option<(EntryId, RootId, Row)> = None;
    loop {
        let next = match entries.next()? {
            Some((key, value)) => {
                let Some((id, _)) = split_name_key(key) else { return Err(odd("a key is too short")) };
                let (root, _, bytes) = split_root(value);
                // The kind stands in the second byte: files need no decoding.
                let is_directory = bytes.get(1).is_some_and(|kind| kind & 7 == Kind::Directory as u8);
                if !is_directory {
                    continue;
                }
                Some((id, root, decode_row(id, bytes)?))
            }
            None => None,
        };
        match (&mut group, &next) {
            // Seen twice, by another name or in a tree that moved: the newest look has the say.
            (Some((id, root, row)), Some((again, its_root, newer))) if *id == *again => {
                if newer.looked_at > row.looked_at {
                    (*root, *row) = (*its_root, newer.clone());
                }
                continue;
            }
            _ => {}
        }
        if let Some((id, root, row)) = group.take() {
            let mut is_listed = false;
            while let Some((marked, value)) = &mark
                && *marked <= id
            {
                if *marked < id {
                    return Err(odd("a directory is listed and has no row"));
                }
                is_listed = true;
                if !value.is_empty() {
                    let why = blind(value).map_err(|error| IndexError::damaged("a mark", error))?;
                    all_blind.push((id, why));
                }
                mark = next_mark(&mut marks)?;
            }
            known.put(id, is_listed, row.place.as_ref())?;
            match (&row.place, is_listed) {
                (None, true) => drop(begun.insert(root)),
                (Some(place), false) => {
                    let sorter = sorters
                        .entry(root)
                        .or_insert_with(|| Sorter::new(Arc::clone(keep), WAITING, WAITING_BUFFER));
                    sorter.push(&dir_prefix(place.dir), &place.name, &dir_prefix(id))?;
                }
                _ => {}
            }
        }
        group = next;
        if group.is_none() {
            break;
        }
    }
    if mark.is_some() {
        return Err(odd("a directory is listed and has no row"));
    }
    let mut waiting = FxHashMap::default();
    for (root, sorter) in sorters {
        let mut runs = Runs::new();
        sorter.finish(&mut runs);
        waiting.insert(root, runs);
    }
    Ok(Resumed {
        directories: 0,
        between: Default::default(),
        blind: all_blind,
        known: known.finish()?,
        waiting: Mutex::new(waiting),
        begun,
    })
}

fn odd(what: &'static str) -> IndexError {
    IndexError::damaged("runs", Corrupt(what))
}

fn next_mark(marks: &mut Merge) -> RunResult<Option<(EntryId, Vec<u8>)>> {
    let Some((key, value)) = marks.next()? else { return Ok(None) };
    let Some((id, _)) = split_name_key(key) else { return Err(odd("a key is too short")) };
    Ok(Some((id, value.to_vec())))
}

impl Resumed {
    pub(crate) fn waiting(&self, keep: &Keep, root: RootId) -> RunResult<Option<Waiting<'_>>> {
        if !self.begun.contains(&root) {
            return Ok(None);
        }
        let runs = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&root);
        let merge = Merge::new(keep, runs.unwrap_or_default())?;
        let (known, places) = (&self.known, FxHashMap::default());
        let mut waiting = Waiting { merge, next: None, known, places, failed: &self.known.failed };
        waiting.next = waiting.read()?;
        Ok(Some(waiting))
    }

    pub(crate) fn failed(&self) -> Option<IndexError> {
        self.known.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_listed(&self, dir: EntryId) -> RunResult<bool> {
        Ok(self.known.find(dir)?.is_some_and(|(listed, _)| listed))
    }
}

impl Waiting<'_> {
    fn read(&mut self) -> RunResult<Option<(Vec<u8>, EntryId)>> {
        let Some((key, value)) = self.merge.next()? else { return Ok(None) };
        let Some((id, _)) = split_name_key(value) else { return Err(odd("a key is too short")) };
        Ok(Some((key.to_vec(), id)))
    }

    fn next_group(&mut self) -> RunResult<Option<Unlisted>> {
        loop {
            let Some((key, _)) = &self.next else { return Ok(None) };
            let Some((dir, _)) = split_name_key(key) else { return Err(odd("a key is too short")) };
            let mut children: Vec<(Name, EntryId)> = Vec::new();
            while let Some((key, id)) = &self.next
                && let Some((at, name)) = split_name_key(key)
                && at == dir
                && children.len() < MOST_CHILDREN
            {
                children.push((name.into(), *id));
                self.next = self.read()?;
            }
            // What has no way to the root was moved under the scan; the sweep finds it where it is now.
            if let Some(components) = self.path(dir)? {
                return Ok(Some(Unlisted { dir, components, children }));
            }
        }
    }

    /// The names from the root to `dir`.
    fn path(&mut self, dir: EntryId) -> RunResult<Option<Vec<Name>>> {
        let mut names = Vec::new();
        let mut at = dir;
        while names.len() < MOST_LEVELS {
            let place = match self.places.get(&at) {
                Some(place) => place.clone(),
                None => {
                    let Some((_, place)) = self.known.find(at)? else { return Ok(None) };
                    if self.places.len() >= MOST_PLACES {
                        self.places.clear();
                    }
                    self.places.insert(at, place.clone());
                    place
                }
            };
            let Some(Place { dir, name }) = place else {
                names.reverse();
                return Ok(Some(names));
            };
            names.push(name);
            at = dir;
        }
        Ok(None)
    }
}

impl Iterator for Waiting<'_> {
    type Item = Unlisted;

    fn next(&mut self) -> Option<Unlisted> {
        match self.next_group() {
            Ok(next) => next,
            Err(error) => {
                self.next = None;
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

/// Writes [`Directories`].
struct DirectoriesWriter<'a> {
    keep: &'a Keep,
    out: RunWriter,
    sparse: Vec<(EntryId, u64)>,
    count: u64,
    length: u64,
    value: Vec<u8>,
}

impl<'a> DirectoriesWriter<'a> {
    fn new(keep: &'a Keep) -> RunResult<DirectoriesWriter<'a>> {
        let out = RunWriter::new(keep, DIRECTORIES)?;
        Ok(DirectoriesWriter { keep, out, sparse: Vec::new(), count: 0, length: 0, value: Vec::new() })
    }

    fn put(&mut self, id: EntryId, is_listed: bool, place: Option<&Place>) -> RunResult<()> {
        if self.count.is_multiple_of(STRIDE) {
            self.sparse.push((id, self.length));
        }
        self.count += 1;
        self.value.clear();
        self.value.push(u8::from(is_listed));
        if let Some(place) = place {
            self.value.extend_from_slice(&dir_prefix(place.dir));
            self.value.extend_from_slice(&place.name);
        }
        let key = dir_prefix(id);
        self.length += (HEAD + key.len() + self.value.len()) as u64;
        self.out.put(&key, &self.value)
    }

    fn finish(self) -> RunResult<Directories> {
        let run = self.out.finish()?;
        let path = self.keep.path(&run);
        let file = File::open(&path).map_err(run_error("open", &path))?;
        Ok(Directories { file, path, length: run.length, sparse: self.sparse, failed: Mutex::default() })
    }
}

impl Directories {
    /// Whether `id` was listed, and its place; `None` where it is not in the runs.
    fn find(&self, id: EntryId) -> RunResult<Option<(bool, Option<Place>)>> {
        let after = self.sparse.partition_point(|(first, _)| *first <= id);
        let Some((_, start)) = after.checked_sub(1).and_then(|at| self.sparse.get(at)) else {
            return Ok(None);
        };
        let end = self.sparse.get(after).map_or(self.length, |(_, end)| *end);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, *start).map_err(run_error("read", &self.path))?;
        let mut rest = &bytes[..];
        while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
            let (key, value) = lengths(head);
            let (Some(key_bytes), Some(value_bytes)) = (after.get(..key), after.get(key..key + value)) else {
                return Err(odd("ends early"));
            };
            rest = &after[key + value..];
            if split_name_key(key_bytes).is_some_and(|(found, _)| found == id) {
                let Some((listed, place)) = value_bytes.split_first() else { return Err(odd("ends early")) };
                let place = split_name_key(place).map(|(dir, name)| Place::new(dir, name));
                return Ok(Some((*listed != 0, place)));
            }
        }
        Ok(None)
    }
}
