//! `find`: a walk down the names, depth first, names in byte order. Rows are read only of what may match.

use index::{IndexError, Reader};
use reconcile::Stored as _;
use record::wire::v1;
use record::{EntryId, Name};

use crate::query::{Emit, Filter, FindRequest, QueryError, bytes, push_name, resolve, root_paths};

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

struct Find<'a> {
    reader: &'a Reader,
    filter: Filter,
    max_depth: u32,
    left: u64,
}

/// Emits every entry that `request` asks for, the beginning included, until `emit` has enough.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there, [`QueryError::Bad`] for a test that is none.
pub(crate) fn find(
    reader: &Reader,
    request: &FindRequest,
    emit: Emit<'_, v1::Entry>,
) -> Result<(), QueryError> {
    let starts = match &request.path {
        Some(path) => vec![bytes(path, request.path_raw.as_deref())?],
        None => root_paths(reader)?,
    };
    let mut find = Find {
        reader,
        filter: Filter::new(request)?,
        max_depth: request.max_depth.unwrap_or(u32::MAX),
        left: request.limit.unwrap_or(u64::MAX),
    };
    for start in starts {
        if !find.below(start, emit)? {
            break;
        }
    }
    Ok(())
}

impl Find<'_> {
    /// Answers false when no more is wanted.
    fn below(&mut self, mut path: Vec<u8>, emit: Emit<'_, v1::Entry>) -> Result<bool, QueryError> {
        let (_, top) = resolve(self.reader, &path)?;
        let Some(row) = self.reader.row(top)? else { return Ok(true) };
        let directory = row.stat.is_directory();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec();
        if self.filter.may_match(&name, directory) && !self.emit(&path, top, emit)? {
            return Ok(false);
        }
        if !directory || self.max_depth == 0 {
            return Ok(self.left > 0);
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
            let depth = level.depth;
            push_name(&mut path, &item.name);
            if item.wanted && !self.emit(&path, item.id, emit)? {
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

    fn emit(&mut self, path: &[u8], id: EntryId, emit: Emit<'_, v1::Entry>) -> Result<bool, QueryError> {
        if self.left == 0 {
            return Ok(false);
        }
        let Some(row) = self.reader.row(id)? else { return Ok(true) };
        if !self.filter.matches(&row) {
            return Ok(true);
        }
        self.left -= 1;
        Ok(emit(v1::Entry::new(path, id, &row)) && self.left > 0)
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
