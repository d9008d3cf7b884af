//! The order of a snapshot: all names below a root, by the bytes of the text of their whole path. A path sorts its children where
//! `path/` sorts, so `a.txt` comes between `a` and `a/x`. Knows no index: names of one directory come from a [`Tree`].
//!
//! Held are one page of names for each level, the directories whose turn has not come (each a prefix of the next, so at most as many
//! as a name has bytes), and those names of a directory whose text is not their bytes: they do not come where they are wanted.

mod level;
#[cfg(test)]
mod tests;

use record::EntryId;

use crate::text::{escaped, path_text};
use level::{Child, Level};

/// Names held of one directory at a time. Few in tests, which turn many pages.
const PAGE: usize = if cfg!(test) { 3 } else { 512 };

/// Names of directories.
pub trait Tree {
    /// Why it cannot be read.
    type Error;

    /// Calls `each` with the names in `dir` after `after`, what they stand for and whether that is a directory, in the order of
    /// their bytes, until it answers false.
    ///
    /// # Errors
    /// When it cannot be read.
    fn names(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8], EntryId, bool) -> bool,
    ) -> Result<(), Self::Error>;

    /// What is to be said of a directory that lies in itself.
    fn circle(&self, dir: EntryId) -> Self::Error;
}

/// Where a walk is.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The path as text.
    pub text: &'a str,
    /// Its bytes, where they are not UTF-8.
    pub raw: Option<&'a [u8]>,
    /// Levels below the root.
    pub depth: u32,
    /// What is there.
    pub id: EntryId,
}

/// Called with each name, in order; answers false for no more.
pub type Visit<'a, E> = &'a mut dyn FnMut(Spot<'_>) -> Result<bool, E>;

/// Visits the root at `path` and all names below it. Answers false when no more was wanted.
///
/// # Errors
/// What the tree or `visit` answers.
pub fn in_order<T: Tree>(
    tree: &T,
    path: &[u8],
    (top, directory): (EntryId, bool),
    visit: Visit<'_, T::Error>,
) -> Result<bool, T::Error> {
    let mut at = Path::new(path);
    if !visit(at.spot(0, top))? {
        return Ok(false);
    }
    if !directory {
        return Ok(true);
    }
    let mut levels = vec![Level::enter(tree, top, at.mark())?];
    while let Some(level) = levels.last_mut() {
        at.back_to(level.mark);
        let depth = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let Some(level) = levels.last_mut() else { break };
        let child = match level.next(tree)? {
            level::Next::Name(child) => {
                at.push(&child);
                if !visit(at.spot(depth, child.id))? {
                    return Ok(false);
                }
                if child.directory {
                    level.wait(child);
                }
                continue;
            }
            level::Next::Below(child) => child,
            level::Next::End => {
                levels.pop();
                continue;
            }
        };
        if levels.iter().any(|above| above.dir == child.id) {
            return Err(tree.circle(child.id));
        }
        at.push(&child);
        levels.push(Level::enter(tree, child.id, at.mark())?);
    }
    Ok(true)
}

/// A path as text and as bytes, and whether these differ.
struct Path {
    text: String,
    raw: Vec<u8>,
    differs: bool,
}

/// A point to go back to.
#[derive(Clone, Copy)]
struct Mark {
    text: usize,
    raw: usize,
    differs: bool,
}

impl Path {
    fn new(path: &[u8]) -> Path {
        let text = path_text(path);
        Path { differs: text.as_bytes() != path, text, raw: path.to_vec() }
    }

    fn push(&mut self, child: &Child) {
        // The root of all ends in the slash already.
        if self.raw.last() != Some(&b'/') {
            self.text.push('/');
            self.raw.push(b'/');
        }
        self.text.push_str(child.text());
        self.raw.extend_from_slice(child.bytes());
        self.differs |= child.is_escaped();
    }

    fn mark(&self) -> Mark {
        Mark { text: self.text.len(), raw: self.raw.len(), differs: self.differs }
    }

    fn back_to(&mut self, mark: Mark) {
        self.text.truncate(mark.text);
        self.raw.truncate(mark.raw);
        self.differs = mark.differs;
    }

    fn spot(&self, depth: u32, id: EntryId) -> Spot<'_> {
        Spot { text: &self.text, raw: self.differs.then_some(&self.raw), depth, id }
    }
}
