//! What sets of equal directories explain. Of each, one directory stays, the first by path; all below the others is spare and
//! is in no other set. Sets are looked into as they are asked for, and what was found is kept.

use std::rc::Rc;

use index::{IndexError, Paths, Reader};
use reconcile::{Stored as _, Target};
use record::{EntryId, Row};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::paths::is_below;

/// Sets that are looked into to look into one: equal directories lie in others that lie in others. Below that nothing is
/// explained.
const MOST_NESTED: usize = 128;

/// Directories with one digest.
#[derive(Debug, Default)]
pub(super) struct Class {
    /// Those that are not spare with what they lie in, by path.
    pub(super) members: Vec<(Vec<u8>, EntryId)>,
    /// There are several, and they are asked for: all but the first are spare.
    pub(super) explains: bool,
}

pub(super) struct Cover<'r> {
    reader: &'r Reader,
    paths: Paths<'r>,
    below: Option<Vec<u8>>,
    /// Digests that several directories have, of the sets that are told of.
    several: FxHashSet<[u8; 32]>,
    spare: FxHashMap<EntryId, bool>,
    classes: FxHashMap<[u8; 32], Rc<Class>>,
    nested: usize,
    /// Files with several names that were counted by a set.
    counted: FxHashSet<EntryId>,
}

impl<'r> Cover<'r> {
    /// Of directories whose digests `several` have, in sets that have one at or below `below`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn new(
        reader: &'r Reader,
        below: Option<Vec<u8>>,
        several: FxHashSet<[u8; 32]>,
    ) -> Result<Cover<'r>, IndexError> {
        Ok(Cover {
            reader,
            paths: Paths::new(reader)?,
            below,
            several,
            spare: FxHashMap::default(),
            classes: FxHashMap::default(),
            nested: 0,
            counted: FxHashSet::default(),
        })
    }

    /// The directories with this digest.
    pub(super) fn class(&mut self, digest: &[u8; 32]) -> Result<Rc<Class>, IndexError> {
        if !self.several.contains(digest) || self.nested >= MOST_NESTED {
            return Ok(Rc::default());
        }
        if let Some(class) = self.classes.get(digest) {
            return Ok(Rc::clone(class));
        }
        let ids = self.reader.with_tree(digest)?;
        self.nested += 1;
        let mut members = Vec::new();
        for id in ids {
            let place = self.reader.row(id)?.and_then(|row| row.place);
            if let Some(place) = place
                && self.is_spare_below(place.dir)?
            {
                continue;
            }
            members.extend(self.paths.of(id)?.map(|(_, path)| (path, id)));
        }
        self.nested -= 1;
        members.sort_unstable();
        let asked_for =
            self.below.as_ref().is_none_or(|below| members.iter().any(|(path, _)| is_below(path, below)));
        let class = Rc::new(Class { explains: members.len() > 1 && asked_for, members });
        self.classes.insert(*digest, Rc::clone(&class));
        Ok(class)
    }

    /// Whether each name of a file lies in a directory that is spare.
    pub(super) fn is_spare(&mut self, file: EntryId, row: &Row) -> Result<bool, IndexError> {
        if !row.many_names {
            return row.place.as_ref().map_or(Ok(false), |place| self.is_spare_below(place.dir));
        }
        for place in self.reader.links(file)? {
            if !self.is_spare_below(place.dir)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a directory is spare, or lies in one that is.
    fn is_spare_below(&mut self, dir: EntryId) -> Result<bool, IndexError> {
        let mut way = Vec::new();
        let mut at = dir;
        let mut spare = loop {
            if let Some(known) = self.spare.get(&at) {
                break *known;
            }
            // None above one without a digest has one.
            let Some(tree) = self.reader.tree(at)? else {
                self.spare.insert(at, false);
                break false;
            };
            way.push((at, tree));
            let Some(place) = self.reader.row(at)?.and_then(|row| row.place) else { break false };
            at = place.dir;
        };
        for (at, tree) in way.into_iter().rev() {
            if !spare {
                let class = self.class(&tree.digest)?;
                spare = class.explains && class.members.first().is_some_and(|(_, first)| *first != at);
            }
            self.spare.insert(at, spare);
        }
        Ok(spare)
    }

    /// What of equal directories with so many bytes each is spare: bytes of files, of those what would be free, and how many
    /// files are in each.
    pub(super) fn waste(
        &mut self,
        members: &[(Vec<u8>, EntryId)],
        bytes: u64,
    ) -> Result<(u64, u64, u64), IndexError> {
        let (mut files, mut plain) = (0, true);
        for (_, id) in members {
            let Some(tree) = self.reader.tree(*id)? else { continue };
            files = tree.files;
            plain &= !tree.linked && !tree.shared;
        }
        if plain {
            let spare = bytes.saturating_mul(members.len() as u64 - 1);
            return Ok((spare, spare, files));
        }
        let (mut explained, mut wasted) = (0u64, 0u64);
        let mut taken = FxHashSet::default();
        for (nth, (_, top)) in members.iter().enumerate() {
            let mut waiting = vec![*top];
            while let Some(dir) = waiting.pop() {
                let mut targets: Vec<Target> = Vec::new();
                self.reader.each_child::<IndexError>(dir, |_, target| {
                    targets.push(target);
                    Ok(true)
                })?;
                for target in targets {
                    if target.directory {
                        waiting.push(target.id);
                        continue;
                    }
                    let Some(row) = self.reader.row(target.id)? else { continue };
                    let extents = self.reader.note(target.id)?.and_then(|note| note.extents);
                    let extents = extents.map(|extents| (target.id.volume, extents));
                    if nth > 0 {
                        // It stays by another name, or was counted by one.
                        if !self.is_spare(target.id, &row)?
                            || (row.many_names && !self.counted.insert(target.id))
                        {
                            continue;
                        }
                        explained = explained.saturating_add(row.stat.size);
                        if extents.is_some_and(|extents| taken.contains(&extents)) {
                            continue;
                        }
                        wasted = wasted.saturating_add(row.stat.size);
                    }
                    taken.extend(extents);
                }
            }
        }
        Ok((explained, wasted, files))
    }
}
