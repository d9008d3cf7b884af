//! Digests of directories: one number over the names in a directory and the contents behind them, all the way down. Kept with the
//! rows, where contents are; a directory has one only while everything below it is known.

use record::{Digest, DigestKind, EntryId, Kind, Place, Row, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::bytes::{Cursor, put};
use crate::commit::meta_word;
use crate::contents::is_kept;
use crate::error::{Corrupt, IndexError};
use crate::reader::Reader;
use crate::row_code::row;
use crate::tables::{
    ENTRIES, LINKS, META, TREE_DIGESTS, TREES, TREES_DUE, dir_prefix, dir_prefix_end, id, key, split_name_key,
};

/// The number of the last transaction that made directories due.
const META_TURN: &str = "trees";

/// Keeps these digests apart from those of files, and from other forms of this one.
const CONTEXT: &str = "indexer 2026-11 digest of a directory: kinds, names, digests";

/// Directories that are looked through at once, and entries in them.
const MOST_TREES: usize = 4096;
const MOST_CHILDREN: usize = 1 << 16;

/// A directory of which everything below is known. `digest`, `bytes` and `files` are equal where names and contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Over the names in it, in byte order, and the digests behind them.
    pub digest: [u8; 32],
    /// Bytes of the files below, one that has two names there twice.
    pub bytes: u64,
    /// Names of files below.
    pub files: u64,
    /// Some file below has several names.
    pub linked: bool,
    /// Some file below shares its place on the disk, as far as that was known.
    pub shared: bool,
}

/// What came of looking through a directory that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    dir: EntryId,
    /// When it became due. If that moved on meanwhile, this is of the past.
    turn: u64,
    what: What,
    /// Directories in it whose digests were made beside this one.
    uses: Vec<EntryId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Tree(Tree),
    /// What lies at this name in it is not known; no name: it cannot be looked into itself.
    Lacks(Box<[u8]>),
    /// It is no directory.
    Gone,
}

const LACKS: u8 = 0;
const KNOWN: u8 = 1;
const LINKED: u8 = 1 << 1;
const SHARED: u8 = 1 << 2;

fn put_what(out: &mut Vec<u8>, what: &What) {
    match what {
        What::Tree(tree) => {
            let flag = |on: bool, bit: u8| if on { bit } else { 0 };
            out.push(KNOWN | flag(tree.linked, LINKED) | flag(tree.shared, SHARED));
            out.extend_from_slice(&tree.digest);
            put(out, u128::from(tree.bytes));
            put(out, u128::from(tree.files));
        }
        What::Lacks(name) => {
            out.push(LACKS);
            out.extend_from_slice(name);
        }
        What::Gone => {}
    }
}

fn what(bytes: &[u8]) -> Result<What, Corrupt> {
    let mut from = Cursor::new(bytes);
    let flags = from.byte()?;
    if flags & KNOWN == 0 {
        return Ok(What::Lacks(bytes[1..].into()));
    }
    let digest = from.take(32)?.try_into().map_err(|_| Corrupt("ends early"))?;
    let (bytes, files) = (from.uint()?, from.uint()?);
    from.end()?;
    let (linked, shared) = (flags & LINKED != 0, flags & SHARED != 0);
    Ok(What::Tree(Tree { digest, bytes, files, linked, shared }))
}

fn damaged(dir: EntryId) -> impl FnOnce(Corrupt) -> IndexError {
    move |error| IndexError::damaged(format!("tree {dir}"), error)
}

/// What an entry adds to the digest of a directory by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    word: Word,
    linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Directory,
    Empty,
    Content(Digest, u64),
}

/// `None` where that is not known: a file that was not read in full, or what has no content.
fn share(row: &Row) -> Option<Share> {
    let word = match row.stat.kind {
        Kind::Directory => Word::Directory,
        Kind::File if row.stat.size == 0 => Word::Empty,
        Kind::File => {
            let digest = row.current_digest().filter(|digest| digest.kind != DigestKind::Blake3Sampled)?;
            Word::Content(digest, row.stat.size)
        }
        _ => return None,
    };
    Some(Share { word, linked: row.many_names })
}

/// What a transaction changes that digests of directories follow.
#[derive(Default)]
pub(crate) struct Touched {
    /// Directories that came, and that went.
    came: Vec<EntryId>,
    went: Vec<EntryId>,
    /// Entries that add something else than before, by whatever names they have.
    entries: Vec<EntryId>,
    /// Names that came, went or changed; one without bytes is the directory itself.
    names: Vec<Place>,
}

impl Touched {
    /// Where contents are kept.
    pub(crate) fn new(transaction: &WriteTransaction) -> Result<Option<Touched>, IndexError> {
        Ok(is_kept(&transaction.open_table(META)?)?.then(Touched::default))
    }

    pub(crate) fn row(&mut self, id: EntryId, old: Option<&Row>, new: Option<&Row>) {
        let (was, is) = (old.and_then(share), new.and_then(share));
        if was == is {
            return;
        }
        let directory = |share: Option<Share>| share.is_some_and(|share| share.word == Word::Directory);
        match (directory(was), directory(is)) {
            (true, false) => self.went.push(id),
            (false, true) => self.came.push(id),
            _ => {}
        }
        self.entries.push(id);
    }

    pub(crate) fn name(&mut self, place: &Place) {
        self.names.push(place.clone());
    }

    pub(crate) fn entry(&mut self, id: EntryId) {
        self.entries.push(id);
    }

    pub(crate) fn sight(&mut self, dir: EntryId) {
        self.names.push(Place::new(dir, b""));
    }

    fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty() && self.entries.is_empty() && self.names.is_empty()
    }

    /// Takes away what does not hold any more, after all else of the transaction, and puts in what was found. What was found
    /// before a change of this or an earlier transaction is left out.
    pub(crate) fn settle(self, transaction: &WriteTransaction, grown: Vec<Grown>) -> Result<(), IndexError> {
        if self.is_empty() && grown.is_empty() {
            return Ok(());
        }
        let turn = {
            let mut meta = transaction.open_table(META)?;
            let turn = meta_word(&meta, META_TURN)? + 1;
            meta.insert(META_TURN, turn)?;
            turn
        };
        let mut trees = Trees {
            trees: transaction.open_table(TREES)?,
            digests: transaction.open_table(TREE_DIGESTS)?,
            due: transaction.open_table(TREES_DUE)?,
            entries: transaction.open_table(ENTRIES)?,
            links: transaction.open_table(LINKS)?,
            turn,
        };
        for dir in &self.came {
            trees.due.insert(key(*dir), turn)?;
        }
        let mut names = self.names;
        for id in self.entries {
            names.extend(trees.places(id)?);
        }
        names.sort_unstable();
        names.dedup();
        trees.touch(names)?;
        for dir in &self.went {
            trees.forget(*dir)?;
            trees.due.remove(key(*dir))?;
        }
        trees.take(grown)
    }
}

/// The tables, while they change.
struct Trees<'t> {
    trees: Table<'t, (u32, u64), &'static [u8]>,
    digests: Table<'t, ([u8; 32], u32, u64), u64>,
    due: Table<'t, (u32, u64), u64>,
    entries: Table<'t, (u32, u64), &'static [u8]>,
    links: Table<'t, &'static [u8], ()>,
    turn: u64,
}

impl Trees<'_> {
    fn what(&self, dir: EntryId) -> Result<Option<What>, IndexError> {
        let Some(value) = self.trees.get(key(dir))? else { return Ok(None) };
        what(value.value()).map(Some).map_err(damaged(dir))
    }

    /// All names of an entry.
    fn places(&self, id: EntryId) -> Result<Vec<Place>, IndexError> {
        let Some(value) = self.entries.get(key(id))? else { return Ok(Vec::new()) };
        let row = row(id, value.value()).map_err(|error| IndexError::damaged(format!("row {id}"), error))?;
        if !row.many_names {
            return Ok(row.place.into_iter().collect());
        }
        let prefix = dir_prefix(id);
        let mut places = Vec::new();
        let end = dir_prefix_end(id);
        let upper =
            end.as_ref().map_or(std::ops::Bound::Unbounded, |end| std::ops::Bound::Excluded(&end[..]));
        for item in self.links.range::<&[u8]>((std::ops::Bound::Included(&prefix[..]), upper))? {
            let (key, _) = item?;
            if let Some((dir, name)) = key.value().get(12..).and_then(split_name_key) {
                places.push(Place::new(dir, name));
            }
        }
        Ok(places)
    }

    /// What is at these names changed. A directory that has no digest ends the way up: none above it has one.
    fn touch(&mut self, mut names: Vec<Place>) -> Result<(), IndexError> {
        while let Some(Place { dir, name }) = names.pop() {
            let again = if self.due.get(key(dir))?.is_some() {
                true
            } else {
                match self.what(dir)? {
                    None | Some(What::Gone) => true,
                    // Whatever else changes, it lacks that one.
                    Some(What::Lacks(lacks)) => *lacks == *name,
                    Some(What::Tree(_)) => {
                        self.forget(dir)?;
                        names.extend(self.places(dir)?);
                        true
                    }
                }
            };
            if again {
                self.due.insert(key(dir), self.turn)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, dir: EntryId) -> Result<(), IndexError> {
        if let Some(What::Tree(tree)) = self.what(dir)? {
            self.digests.remove((tree.digest, dir.volume.0, dir.inode))?;
        }
        self.trees.remove(key(dir))?;
        Ok(())
    }

    fn take(&mut self, grown: Vec<Grown>) -> Result<(), IndexError> {
        let beside: FxHashSet<(EntryId, EntryId)> =
            grown.iter().flat_map(|one| one.uses.iter().map(|used| (one.dir, *used))).collect();
        let mut refused: FxHashSet<EntryId> = FxHashSet::default();
        let mut bytes = Vec::with_capacity(64);
        for Grown { dir, turn, what, uses } in grown {
            let due = self.due.get(key(dir))?.map(|turn| turn.value());
            if due != Some(turn) || uses.iter().any(|used| refused.contains(used)) {
                refused.insert(dir);
                // What was to go with this is news to it after all.
                for used in uses.iter().filter(|used| !refused.contains(used)) {
                    let mut names = self.places(*used)?;
                    names.retain(|place| place.dir == dir);
                    self.touch(names)?;
                }
                continue;
            }
            self.due.remove(key(dir))?;
            self.forget(dir)?;
            if what == What::Gone {
                continue;
            }
            bytes.clear();
            put_what(&mut bytes, &what);
            self.trees.insert(key(dir), &bytes[..])?;
            if let What::Tree(tree) = what {
                self.digests.insert((tree.digest, dir.volume.0, dir.inode), tree.bytes)?;
                let mut names = self.places(dir)?;
                names.retain(|place| !beside.contains(&(place.dir, dir)));
                self.touch(names)?;
            }
        }
        Ok(())
    }
}

/// All directories are to be looked through: the rows came in past this module.
pub(crate) fn begin_anew(
    transaction: &WriteTransaction,
    directories: impl Iterator<Item = EntryId>,
) -> Result<(), IndexError> {
    transaction.delete_table(TREES)?;
    transaction.delete_table(TREE_DIGESTS)?;
    transaction.delete_table(TREES_DUE)?;
    transaction.open_table(TREES)?;
    transaction.open_table(TREE_DIGESTS)?;
    let mut due = transaction.open_table(TREES_DUE)?;
    let mut meta = transaction.open_table(META)?;
    let turn = meta_word(&meta, META_TURN)? + 1;
    meta.insert(META_TURN, turn)?;
    for dir in directories {
        due.insert(key(dir), turn)?;
    }
    Ok(())
}

/// What a look through a directory says.
enum Looked {
    /// All of it, and what of it was found beside.
    Known(Tree, Vec<EntryId>),
    Lacks(Box<[u8]>),
    Gone,
    /// These directories in it are to be looked through first.
    Awaits(Vec<EntryId>),
}

/// What is known of a directory that lies in another.
enum Below {
    Known(Tree),
    /// By a look whose result is not committed yet.
    Beside(Tree),
    Unknown,
    Awaited,
}

/// A directory that was met while those that are due are looked through.
enum Met {
    Open,
    Done(Option<Tree>),
}

/// Makes a digest of what lies in a directory, told in the order of names.
struct Sum {
    hasher: blake3::Hasher,
    tree: Tree,
}

impl Sum {
    fn new() -> Sum {
        let tree = Tree { digest: [0; 32], bytes: 0, files: 0, linked: false, shared: false };
        Sum { hasher: blake3::Hasher::new_derive_key(CONTEXT), tree }
    }

    fn add(&mut self, name: &[u8], head: [u8; 2], digest: &[u8; 32]) {
        self.hasher.update(&head);
        self.hasher.update(digest);
        self.hasher.update(&(name.len() as u32).to_le_bytes());
        self.hasher.update(name);
    }

    fn file(&mut self, name: &[u8], share: Share, shared: bool) {
        match share.word {
            Word::Content(digest, size) => {
                self.add(name, [0, digest.kind as u8], &digest.bytes);
                self.tree.bytes = self.tree.bytes.saturating_add(size);
            }
            _ => self.add(name, [1, 0], &[0; 32]),
        }
        self.tree.files += 1;
        self.tree.linked |= share.linked;
        self.tree.shared |= shared;
    }

    fn directory(&mut self, name: &[u8], below: &Tree) {
        self.add(name, [2, 0], &below.digest);
        self.tree.bytes = self.tree.bytes.saturating_add(below.bytes);
        self.tree.files = self.tree.files.saturating_add(below.files);
        self.tree.linked |= below.linked;
        self.tree.shared |= below.shared;
    }

    fn end(self) -> Tree {
        Tree { digest: *self.hasher.finalize().as_bytes(), ..self.tree }
    }
}

impl Reader {
    /// What is known of a directory, if everything below it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tree(&self, dir: EntryId) -> Result<Option<Tree>, IndexError> {
        match self.what_of(dir)? {
            Some(What::Tree(tree)) => Ok(Some(tree)),
            _ => Ok(None),
        }
    }

    fn what_of(&self, dir: EntryId) -> Result<Option<What>, IndexError> {
        let Some(value) = self.trees.get(key(dir))? else { return Ok(None) };
        what(value.value()).map(Some).map_err(damaged(dir))
    }

    /// Directories with this digest, by number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn with_tree(&self, digest: &[u8; 32]) -> Result<Vec<EntryId>, IndexError> {
        let mut found = Vec::new();
        for item in self.tree_digests.range((*digest, 0, 0)..=(*digest, u32::MAX, u64::MAX))? {
            let (_, volume, inode) = item?.0.value();
            found.push(EntryId::new(VolumeId(volume), inode));
        }
        Ok(found)
    }

    /// Calls `each` with every digest of a directory, the bytes below it and its number, by digest and number, until it answers
    /// false.
    ///
    /// # Errors
    /// When the file cannot be read, or what `each` answers.
    pub fn each_tree<E: From<IndexError>>(
        &self,
        mut each: impl FnMut([u8; 32], u64, EntryId) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.tree_digests.iter().map_err(IndexError::from)? {
            let (at, bytes) = item.map_err(IndexError::from)?;
            let (digest, volume, inode) = at.value();
            if !each(digest, bytes.value(), EntryId::new(VolumeId(volume), inode))? {
                break;
            }
        }
        Ok(())
    }

    /// How many directories are to be looked through.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count_due_trees(&self) -> Result<u64, IndexError> {
        Ok(self.trees_due.len()?)
    }

    /// Looks through some of the directories that are due, and before each through those in it. To be committed
    /// ([`crate::Edits::grown`]); nothing at the end. Takes memory for the directories that are due in those.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn grow(&self) -> Result<Vec<Grown>, IndexError> {
        let mut grown = Vec::new();
        if !is_kept(&self.meta)? {
            return Ok(grown);
        }
        let mut met: FxHashMap<EntryId, Met> = FxHashMap::default();
        let mut children = 0;
        for item in self.trees_due.iter()? {
            let mut open = vec![id(item?.0.value())];
            while let Some(dir) = open.pop() {
                if matches!(met.get(&dir), Some(Met::Done(_))) {
                    continue;
                }
                let Some(turn) = self.due_since(dir)? else { continue };
                let first = met.insert(dir, Met::Open).is_none();
                let mut below = |child| match met.get(&child) {
                    Some(Met::Done(Some(tree))) => Ok(Below::Beside(*tree)),
                    // One that is open lies above this one: a circle.
                    Some(Met::Done(None) | Met::Open) => Ok(Below::Unknown),
                    None => match self.tree(child)? {
                        Some(tree) => Ok(Below::Known(tree)),
                        None if first && self.due_since(child)?.is_some() => Ok(Below::Awaited),
                        None => Ok(Below::Unknown),
                    },
                };
                let (what, uses) = match self.look_into(dir, &mut children, &mut below)? {
                    Looked::Awaits(before) => {
                        open.push(dir);
                        open.extend(before);
                        continue;
                    }
                    Looked::Known(tree, uses) => (What::Tree(tree), uses),
                    Looked::Lacks(name) => (What::Lacks(name), Vec::new()),
                    Looked::Gone => (What::Gone, Vec::new()),
                };
                let tree = if let What::Tree(tree) = &what { Some(*tree) } else { None };
                met.insert(dir, Met::Done(tree));
                grown.push(Grown { dir, turn, what, uses });
                if grown.len() >= MOST_TREES || children >= MOST_CHILDREN {
                    return Ok(grown);
                }
            }
        }
        Ok(grown)
    }

    fn due_since(&self, dir: EntryId) -> Result<Option<u64>, IndexError> {
        Ok(self.trees_due.get(key(dir))?.map(|turn| turn.value()))
    }

    fn share_of(&self, file: EntryId) -> Result<Option<Share>, IndexError> {
        Ok(reconcile::Stored::row(self, file)?.and_then(|row| share(&row)))
    }

    /// `below` answers for directories in it.
    fn look_into(
        &self,
        dir: EntryId,
        children: &mut usize,
        below: &mut dyn FnMut(EntryId) -> Result<Below, IndexError>,
    ) -> Result<Looked, IndexError> {
        if !reconcile::Stored::row(self, dir)?.is_some_and(|row| row.stat.is_directory()) {
            return Ok(Looked::Gone);
        }
        if self.is_blind(dir)? {
            return Ok(Looked::Lacks(Box::default()));
        }
        // What it lacked it may lack still, and all before that need not be gone through.
        if let Some(What::Lacks(name)) = self.what_of(dir)?
            && let Some(target) = self.lookup(dir, &name)?
        {
            let unknown = if target.directory {
                matches!(below(target.id)?, Below::Unknown)
            } else {
                self.share_of(target.id)?.is_none()
            };
            if unknown {
                return Ok(Looked::Lacks(name));
            }
        }
        let (mut sum, mut uses, mut awaited, mut lacks) = (Sum::new(), Vec::new(), Vec::new(), None);
        self.each_child::<IndexError>(dir, |name, target| {
            *children += 1;
            if target.directory {
                match below(target.id)? {
                    Below::Known(tree) => sum.directory(name, &tree),
                    Below::Beside(tree) => {
                        sum.directory(name, &tree);
                        uses.push(target.id);
                    }
                    Below::Unknown if awaited.is_empty() => lacks = Some(name.into()),
                    Below::Unknown => {}
                    Below::Awaited => awaited.push(target.id),
                }
            } else if awaited.is_empty() {
                match self.share_of(target.id)? {
                    Some(share) => {
                        let note = if matches!(share.word, Word::Content(..)) {
                            self.note(target.id)?
                        } else {
                            None
                        };
                        sum.file(name, share, note.is_some_and(|note| note.extents.is_some()));
                    }
                    None => lacks = Some(name.into()),
                }
            }
            Ok(lacks.is_none())
        })?;
        Ok(match lacks {
            Some(name) => Looked::Lacks(name),
            None if !awaited.is_empty() => Looked::Awaits(awaited),
            None => Looked::Known(sum.end(), uses),
        })
    }

    /// Calls `fault` where the tables are not what rows and names say.
    pub(crate) fn check_trees(&self, mut fault: impl FnMut(EntryId, &str)) -> Result<(), IndexError> {
        let mut known = 0;
        self.each_row::<IndexError>(|dir, row| {
            if !row.stat.is_directory() {
                return Ok(true);
            }
            let (what, due) = (self.what_of(dir)?, self.due_since(dir)?.is_some());
            if let Some(What::Tree(tree)) = &what {
                known += 1;
                let bytes = self.tree_digests.get((tree.digest, dir.volume.0, dir.inode))?;
                if bytes.map(|bytes| bytes.value()) != Some(tree.bytes) {
                    fault(dir, "its digest as a directory is not where it is looked for");
                }
                if due {
                    fault(dir, "it has a digest as a directory and waits for one");
                }
            }
            if due {
                return Ok(true);
            }
            let mut below = |child| Ok(self.tree(child)?.map_or(Below::Unknown, Below::Known));
            match (what, self.look_into(dir, &mut 0, &mut below)?) {
                (Some(What::Tree(tree)), Looked::Known(now, _)) if tree.digest == now.digest => {
                    // Of places on the disk nothing tells; what is known of them is as of the look.
                    if (Tree { shared: now.shared, ..tree }) != now {
                        fault(dir, "bytes and files below it are not what its digest says");
                    }
                }
                // What else it lacks does not wake it.
                (Some(What::Lacks(noted)), Looked::Lacks(lacks)) if noted == lacks || lacks.is_empty() => {}
                _ => fault(dir, "its digest as a directory is not that of what lies in it"),
            }
            Ok(true)
        })?;
        if known != self.tree_digests.len()? {
            fault(EntryId::new(VolumeId(0), 0), "there are digests of directories that have others");
        }
        Ok(())
    }
}
