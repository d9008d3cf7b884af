//! From paths to entries and back: names from a root down, and directories from an entry up.

use std::rc::Rc;

use reconcile::Stored as _;
use record::{EntryId, Name, Place, RootId};
use rustc_hash::FxHashMap;

use crate::error::IndexError;
use crate::reader::Reader;
use crate::roots::RootRow;

/// Directories whose paths are remembered at once: some megabytes.
const MOST_KNOWN: usize = 16_384;

impl Reader {
    /// The entry at an absolute path, with the root it lies in. The path must be spelled as the index has
    /// it: no `.`, `..` or doubled slashes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn resolve(&self, path: &[u8]) -> Result<Option<(RootRow, EntryId)>, IndexError> {
        for root in self.roots()? {
            let Some(below) = below(&root.path, path) else { continue };
            let mut at = root.top;
            let mut found = true;
            for name in below.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
                match self.lookup(at, name)? {
                    Some(target) => at = target.id,
                    None => {
                        found = false;
                        break;
                    }
                }
            }
            if found && self.row(at)?.is_some() {
                return Ok(Some((root, at)));
            }
        }
        Ok(None)
    }

    /// The absolute path of an entry by its first name; `None` when the way up ends at no root.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn path(&self, roots: &[RootRow], of: EntryId) -> Result<Option<Vec<u8>>, IndexError> {
        let Some((root, names)) = self.way(roots, of)? else { return Ok(None) };
        let mut path = root.path.to_vec();
        for name in &names {
            push_name(&mut path, name);
        }
        Ok(Some(path))
    }

    /// The root an entry lies in by its first name, and the names from there down to it.
    fn way<'r>(
        &self,
        roots: &'r [RootRow],
        of: EntryId,
    ) -> Result<Option<(&'r RootRow, Vec<Name>)>, IndexError> {
        let mut names: Vec<Name> = Vec::new();
        let mut at = of;
        let root = loop {
            if let Some(root) = roots.iter().find(|root| root.top == at) {
                break root;
            }
            let Some(place) = self.row(at)?.and_then(|row| row.place) else { return Ok(None) };
            if names.len() as u64 > self.entries()? {
                return Err(IndexError::circle(of));
            }
            names.push(place.name);
            at = place.dir;
        };
        names.reverse();
        Ok(Some((root, names)))
    }
}

/// The root that a directory lies in, and its path.
pub type Way = Option<(RootId, Rc<[u8]>)>;

/// Ways to many entries of which several lie in one directory: the way up to it is gone once. Takes memory for some thousand
/// directories. To be used with one reader, whose moment it remembers.
pub struct Ways {
    roots: Vec<RootRow>,
    known: FxHashMap<EntryId, Way>,
}

impl Ways {
    /// Nothing is remembered yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(reader: &Reader) -> Result<Ways, IndexError> {
        Ok(Ways { roots: reader.roots()?, known: FxHashMap::default() })
    }

    /// The roots there are.
    #[must_use]
    pub fn roots(&self) -> &[RootRow] {
        &self.roots
    }

    /// The root that a directory lies in, and its absolute path; `None` when the way up ends at no root.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn to(&mut self, reader: &Reader, dir: EntryId) -> Result<Way, IndexError> {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let mut up: Vec<(EntryId, Name)> = Vec::new();
        let mut at = dir;
        let mut found = loop {
            if let Some(known) = self.known.get(&at) {
                break known.clone();
            }
            if let Some(root) = self.roots.iter().find(|root| root.top == at) {
                break Some((root.id, Rc::from(&root.path[..])));
            }
            let Some(place) = reader.row(at)?.and_then(|row| row.place) else { break None };
            if up.len() as u64 > reader.entries()? {
                return Err(IndexError::circle(dir));
            }
            up.push((at, place.name));
            at = place.dir;
        };
        self.known.insert(at, found.clone());
        for (at, name) in up.into_iter().rev() {
            found = found.map(|(root, path)| (root, Rc::from(joined(&path, &name))));
            self.known.insert(at, found.clone());
        }
        Ok(found)
    }
}

/// Paths of many entries, by [`Ways`].
pub struct Paths<'r> {
    reader: &'r Reader,
    ways: Ways,
}

impl<'r> Paths<'r> {
    /// Nothing is remembered yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(reader: &'r Reader) -> Result<Paths<'r>, IndexError> {
        Ok(Paths { reader, ways: Ways::new(reader)? })
    }

    /// The root of an entry and its absolute path by its first name; `None` when the way up ends at no root.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(&mut self, id: EntryId) -> Result<Option<(RootId, Vec<u8>)>, IndexError> {
        if let Some(root) = self.ways.roots.iter().find(|root| root.top == id) {
            return Ok(Some((root.id, root.path.to_vec())));
        }
        self.reader.row(id)?.and_then(|row| row.place).map_or(Ok(None), |place| self.at(&place))
    }

    /// The same of what has this name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn at(&mut self, place: &Place) -> Result<Option<(RootId, Vec<u8>)>, IndexError> {
        let way = self.ways.to(self.reader, place.dir)?;
        Ok(way.map(|(root, dir)| (root, joined(&dir, &place.name))))
    }
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    push_name(&mut path, name);
    path
}

/// Appends `/name`, without doubling the slash of the root of all.
fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// What is left of `path` below `root`; `None` when it lies elsewhere.
fn below<'a>(root: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest[0] == b'/' || root.last() == Some(&b'/')).then_some(rest)
}
