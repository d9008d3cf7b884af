//! The walk down the names of the index, depth first, names in byte order. Holds a page of names a level, whatever the size of the
//! tree; knows no question.

use index::{IndexError, Reader};
use reconcile::Stored as _;
use record::{EntryId, Name};

use crate::query::{Filter, QueryError, push_name};

/// Names held of one directory at a time: the bound of memory is this times the depth.
const PAGE: usize = 1024;

/// A name that may match or leads on down.
struct Item {
    name: Name,
    id: EntryId,
    directory: bool,
    /// Whether the tests that need no row hold.
    wanted: bool,
}

/// A directory on the way down.
struct Level {
    dir: EntryId,
    items: std::vec::IntoIter<Item>,
    /// Where the next page begins, if there may be one.
    after: Option<Name>,
    path_length: usize,
    depth: u32,
}

/// Called with what may match: its path, the directory and the name in it (none for where the walk began), and the entry; answers
/// false for no more.
pub(crate) type Visit<'a> =
    &'a mut dyn FnMut(&[u8], Option<(EntryId, &[u8])>, EntryId) -> Result<bool, QueryError>;

/// How to walk.
pub(crate) struct Walk<'a> {
    pub(crate) reader: &'a Reader,
    /// Of its tests only those that need no row are made.
    pub(crate) filter: &'a Filter,
    pub(crate) max_depth: u32,
}

impl Walk<'_> {
    /// Visits `top` at `path`, and all below it. Answers false when no more is wanted.
    pub(crate) fn below(
        &self,
        mut path: Vec<u8>,
        (top, directory): (EntryId, bool),
        visit: Visit<'_>,
    ) -> Result<bool, QueryError> {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec();
        if self.filter.may_match(&name, directory) && !visit(&path, None, top)? {
            return Ok(false);
        }
        if !directory || self.max_depth == 0 {
            return Ok(true);
        }
        let mut levels = vec![self.enter(top, path.len(), 1)?];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_length);
            let Some(item) = level.items.next() else {
                match level.after.take() {
                    Some(after) => {
                        (level.items, level.after) = self.page(level.dir, Some(&after), level.depth)?;
                    }
                    None => drop(levels.pop()),
                }
                continue;
            };
            let (dir, depth) = (level.dir, level.depth);
            push_name(&mut path, &item.name);
            if item.wanted && !visit(&path, Some((dir, &item.name)), item.id)? {
                return Ok(false);
            }
            if item.directory && depth < self.max_depth {
                if levels.iter().any(|above| above.dir == item.id) {
                    return Err(IndexError::circle(item.id).into());
                }
                levels.push(self.enter(item.id, path.len(), depth + 1)?);
            }
        }
        Ok(true)
    }

    fn enter(&self, dir: EntryId, path_length: usize, depth: u32) -> Result<Level, QueryError> {
        let (items, after) = self.page(dir, None, depth)?;
        Ok(Level { dir, items, after, path_length, depth })
    }

    /// What matters of the names in `dir` after `after`: at most a page, and where to go on.
    fn page(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        depth: u32,
    ) -> Result<(std::vec::IntoIter<Item>, Option<Name>), QueryError> {
        let enters = depth < self.max_depth;
        let mut items = Vec::new();
        let mut take = |name: &[u8], id: EntryId, directory: bool| {
            let wanted = self.filter.may_match(name, directory);
            if wanted || (directory && enters) {
                items.push(Item { name: name.into(), id, directory, wanted });
            }
            items.len() < PAGE
        };
        let mut next = None;
        match after {
            None => self.reader.each_child::<QueryError>(dir, |name, target| {
                let more = take(name, target.id, target.directory);
                if !more {
                    next = Some(name.into());
                }
                Ok(more)
            })?,
            Some(after) => {
                let children = self.reader.children(dir, Some(after), PAGE)?;
                if children.len() == PAGE {
                    next = children.last().map(|(name, _)| name.clone());
                }
                for (name, id) in children {
                    let directory = self.reader.lookup(dir, &name)?.is_some_and(|target| target.directory);
                    take(&name, id, directory);
                }
            }
        }
        Ok((items.into_iter(), next))
    }
}
