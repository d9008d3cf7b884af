//! Where an entry stands in the tree, before a batch and after it: the way up to a root.

use std::rc::Rc;

use record::{EntryId, Place, RootId};
use rustc_hash::FxHashMap;

use crate::batch::Batch;
use crate::{Root, Stored};

/// More levels than any tree has: a bound for assertions.
const MOST_LEVELS: usize = 1 << 20;

/// A directory's root and absolute path; no root when the way up ends at a nameless directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirPath {
    pub(crate) root: Option<RootId>,
    /// The directory at the end of the way up: a root's, or a nameless one.
    pub(crate) top: EntryId,
    pub(crate) path: Box<[u8]>,
    /// Directories between it and the root.
    pub(crate) depth: u32,
}

/// Which of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Before,
    After,
}

/// Paths already found.
#[derive(Default)]
pub(crate) struct Paths {
    before: FxHashMap<EntryId, Rc<DirPath>>,
    after: FxHashMap<EntryId, Rc<DirPath>>,
}

impl Paths {
    /// The path of directory `dir` on one side of the batch.
    pub(crate) fn dir<S: Stored>(
        &mut self,
        batch: &mut Batch<'_, S>,
        side: Side,
        dir: EntryId,
    ) -> Result<Rc<DirPath>, S::Error> {
        // Upwards until something known, then downwards joining names: no recursion, trees may be deep.
        let mut names: Vec<Place> = Vec::new();
        let mut at = dir;
        let mut found = loop {
            if let Some(known) = self.side(side).get(&at) {
                break known.clone();
            }
            if let Some(root) = top(batch.roots, at) {
                let known =
                    Rc::new(DirPath { root: Some(root.id), top: at, path: root.path.clone(), depth: 0 });
                self.side(side).insert(at, known.clone());
                break known;
            }
            let place = match side {
                Side::Before => batch.place_before(at)?,
                Side::After => batch.place_after(at)?,
            };
            match place {
                Some(place) => {
                    let up = place.dir;
                    names.push(place);
                    debug_assert!(names.len() < MOST_LEVELS, "the way up from {dir} runs in a circle");
                    at = up;
                }
                None => {
                    let path = match batch.stored.detached(at)? {
                        Some(detached) => detached.path,
                        None => Box::from(&b"?"[..]),
                    };
                    break Rc::new(DirPath { root: None, top: at, path, depth: 0 });
                }
            }
        };
        while let Some(place) = names.pop() {
            let below = names.last().map_or(dir, |next| next.dir);
            found = Rc::new(DirPath {
                root: found.root,
                top: found.top,
                path: join(&found.path, &place.name),
                depth: found.depth + 1,
            });
            self.side(side).insert(below, found.clone());
        }
        Ok(found)
    }

    fn side(&mut self, side: Side) -> &mut FxHashMap<EntryId, Rc<DirPath>> {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }
}

/// `dir/name`, without doubling the slash of the root of all.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Box<[u8]> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if dir.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path.into()
}

pub(crate) fn top(roots: &[Root], id: EntryId) -> Option<&Root> {
    roots.iter().find(|root| root.top == id)
}

impl<S: Stored> Batch<'_, S> {
    /// The first name of `id` as stored.
    pub(crate) fn place_before(&mut self, id: EntryId) -> Result<Option<Place>, S::Error> {
        if let Some(touched) = self.touched.get(&id) {
            return Ok(touched.before.as_ref().and_then(|node| node.names.first().cloned()));
        }
        if let Some(place) = self.places.get(&id) {
            return Ok(place.clone());
        }
        let place = self.stored.row(id)?.and_then(|row| row.place);
        self.places.insert(id, place.clone());
        Ok(place)
    }

    /// The first name of `id` as this batch leaves it.
    pub(crate) fn place_after(&mut self, id: EntryId) -> Result<Option<Place>, S::Error> {
        match self.touched.get(&id) {
            Some(touched) => Ok(touched.after.as_ref().and_then(|node| node.names.first().cloned())),
            None => self.place_before(id),
        }
    }
}
