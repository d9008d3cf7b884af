//! Paths of entries, by climbing from directory to directory up to one that no name leads to. A directory that was renamed takes all
//! below it along.

use std::collections::HashMap;

use redb::ReadableTable;

use crate::apply::is_there;
use crate::keys::{Who, end_of, of_link};
use crate::store::ReplicaError;

/// Bytes of a path; a ring of directories, which only garbage can make, ends here too.
const MOST: usize = 1 << 20;
/// Directories whose paths are remembered.
const REMEMBERED: usize = 65_536;

/// Finds paths.
pub(crate) struct Paths<'a, L, T> {
    links: &'a L,
    tops: &'a T,
    known: HashMap<Who, Option<Vec<u8>>>,
}

impl<'a, L, T> Paths<'a, L, T>
where
    L: ReadableTable<&'static [u8], &'static [u8]>,
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    pub(crate) fn new(links: &'a L, tops: &'a T) -> Paths<'a, L, T> {
        Paths { links, tops, known: HashMap::new() }
    }

    /// All paths of an entry; none where it has no name that leads anywhere.
    pub(crate) fn of(&mut self, who: Who) -> Result<Vec<Vec<u8>>, ReplicaError> {
        let names = self.names(who, usize::MAX)?;
        if names.is_empty() {
            return Ok(self.top(who)?.into_iter().collect());
        }
        let mut paths = Vec::with_capacity(names.len());
        for (dir, name) in names {
            if let Some(path) = self.dir(dir)? {
                paths.push(joined(path, &name));
            }
        }
        Ok(paths)
    }

    fn dir(&mut self, who: Who) -> Result<Option<Vec<u8>>, ReplicaError> {
        let (mut below, mut bytes, mut at) = (Vec::new(), 0, who);
        let top = loop {
            if let Some(known) = self.known.get(&at) {
                break known.clone();
            }
            // A directory has one name.
            let Some((dir, name)) = self.names(at, 1)?.pop() else { break self.top(at)? };
            bytes += name.len() + 1;
            if bytes > MOST {
                break None;
            }
            below.push((at, name));
            at = dir;
        };
        if self.known.len() + below.len() > REMEMBERED {
            self.known.clear();
        }
        let mut path = top;
        for (dir, name) in below.into_iter().rev() {
            path = path.map(|path| joined(path, &name));
            if self.known.len() < REMEMBERED {
                self.known.insert(dir, path.clone());
            }
        }
        Ok(path)
    }

    fn top(&self, who: Who) -> Result<Option<Vec<u8>>, ReplicaError> {
        Ok(self.tops.get(who.key().as_slice())?.map(|path| path.value().to_vec()))
    }

    /// Names that it has, at most so many.
    fn names(&self, who: Who, most: usize) -> Result<Vec<(Who, Vec<u8>)>, ReplicaError> {
        let key = who.key();
        let mut names = Vec::new();
        for row in self.links.range(key.as_slice()..end_of(&key).as_slice())? {
            let (key, value) = row?;
            if names.len() < most
                && is_there(value.value())
                && let Some((_, id, name)) = of_link(key.value())
            {
                names.push((Who { id, ..who }, name.to_vec()));
            }
        }
        Ok(names)
    }
}

fn joined(mut path: Vec<u8>, name: &[u8]) -> Vec<u8> {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend(name);
    path
}
