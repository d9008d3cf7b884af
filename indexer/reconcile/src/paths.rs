//! Where an entry stands in the tree, before a batch and after it: the way up to a root.

use std::cell::OnceCell;
use std::rc::Rc;

use record::{EntryId, Name, Place, RootId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::Batch;
use crate::{Detached, Root, Stored};

/// Where a directory is: a name below another directory, up to the end of the way. Shared upwards, so that a
/// directory costs one of these however deep it lies; the path is rendered when a record asks for it.
#[derive(Debug)]
pub(crate) struct DirPath {
    /// None when no root is known to hold the nameless directory at the end of the way up.
    pub(crate) root: Option<RootId>,
    /// The directory at the end of the way up: a root's, or a nameless one.
    pub(crate) top: EntryId,
    /// Directories between it and the root.
    pub(crate) depth: u32,
    /// The directory above and the name there.
    above: Option<(Rc<DirPath>, Name)>,
    /// The absolute path of the end of the way, or of a directory that was asked for.
    path: OnceCell<Box<[u8]>>,
}

impl DirPath {
    fn end(root: Option<RootId>, top: EntryId, path: Box<[u8]>) -> DirPath {
        DirPath { root, top, depth: 0, above: None, path: OnceCell::from(path) }
    }

    fn below(above: &Rc<DirPath>, name: Name) -> DirPath {
        DirPath {
            root: above.root,
            top: above.top,
            depth: above.depth + 1,
            above: Some((above.clone(), name)),
            path: OnceCell::new(),
        }
    }

    /// The absolute path; rendered once.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.get_or_init(|| {
            let mut names: Vec<&[u8]> = Vec::new();
            let mut at = self;
            let mut path = loop {
                match (&at.above, at.path.get()) {
                    (Some((above, name)), None) => {
                        names.push(name);
                        at = above;
                    }
                    (_, Some(known)) => break known.to_vec(),
                    (None, None) => break Vec::new(),
                }
            };
            for name in names.into_iter().rev() {
                push_name(&mut path, name);
            }
            path.into()
        })
    }
}

impl Drop for DirPath {
    /// One after the other: a chain as deep as the tree must not be dropped by recursion.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some((dir, _)) = above {
            above = Rc::into_inner(dir).and_then(|mut dir| dir.above.take());
        }
    }
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
        let mut way = FxHashSet::default();
        let mut found = loop {
            if let Some(known) = self.side(side).get(&at) {
                break known.clone();
            }
            if let Some(root) = top(batch.roots, at) {
                let known = Rc::new(DirPath::end(Some(root.id), at, root.path.clone()));
                self.side(side).insert(at, known.clone());
                break known;
            }
            let place = match side {
                Side::Before => batch.place_before(at)?,
                Side::After => batch.place_after(at)?,
            };
            match place {
                // Names may run in a circle, which leads to no root.
                Some(place) if way.insert(at) => {
                    at = place.dir;
                    names.push(place);
                }
                _ => break self.nameless(batch, side, at)?,
            }
        };
        while let Some(place) = names.pop() {
            let below = names.last().map_or(dir, |next| next.dir);
            found = Rc::new(DirPath::below(&found, place.name));
            self.side(side).insert(below, found.clone());
        }
        Ok(found)
    }

    /// The end of a way up that leads to no root: a directory that waits for its name is where it was.
    fn nameless<S: Stored>(
        &mut self,
        batch: &mut Batch<'_, S>,
        side: Side,
        at: EntryId,
    ) -> Result<Rc<DirPath>, S::Error> {
        let end = if side == Side::After && batch.place_before(at)?.is_some() {
            // It lost its name in this batch.
            let was = self.dir(batch, Side::Before, at)?;
            DirPath::end(was.root, at, was.path().into())
        } else if let Some(detached) = batch.stored.detached(at)? {
            DirPath::end(batch.root_of(&detached)?, at, detached.path)
        } else {
            DirPath::end(None, at, Box::from(&b"?"[..]))
        };
        let end = Rc::new(end);
        self.side(side).insert(at, end.clone());
        Ok(end)
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
    push_name(&mut path, name);
    path.into()
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
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

    /// The root that a detached directory was in: up by the names that were, or, where one of those is gone too, by its
    /// path.
    pub(crate) fn root_of(&mut self, detached: &Detached) -> Result<Option<RootId>, S::Error> {
        let mut way = FxHashSet::default();
        let mut next = Some(detached.place.dir);
        while let Some(at) = next.filter(|at| way.insert(*at)) {
            if let Some(root) = top(self.roots, at) {
                return Ok(Some(root.id));
            }
            next = match self.place_before(at)? {
                Some(place) => Some(place.dir),
                None => self.stored.detached(at)?.map(|above| above.place.dir),
            };
        }
        let holds = |root: &&Root| {
            let rest = detached.path.strip_prefix(&*root.path);
            rest.is_some_and(|rest| rest.first() == Some(&b'/') || root.path.ends_with(b"/"))
        };
        Ok(self.roots.iter().filter(holds).max_by_key(|root| root.path.len()).map(|root| root.id))
    }

    /// The first name of `id` as this batch leaves it.
    pub(crate) fn place_after(&mut self, id: EntryId) -> Result<Option<Place>, S::Error> {
        match self.touched.get(&id) {
            Some(touched) => Ok(touched.after.as_ref().and_then(|node| node.names.first().cloned())),
            None => self.place_before(id),
        }
    }
}
