//! Looks through directories that are due, and makes their digests of what lies in them. Writes nothing.

use record::{EntryId, VolumeId};
use redb::{ReadableTable, ReadableTableMetadata as _};
use rustc_hash::FxHashMap;

use super::{Grown, Share, Tree, What, Word, share};
use crate::contents::is_kept;
use crate::error::IndexError;
use crate::reader::Reader;
use crate::tables::id;

/// Keeps these digests apart from those of files, and from other forms of this one.
const CONTEXT: &str = "indexer 2026-11 digest of a directory: kinds, names, digests";

/// Directories that are looked through at once, and entries in them.
const MOST_TREES: usize = 4096;
const MOST_CHILDREN: usize = 1 << 16;

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
