//! The dirty names of one directory. Knows nothing of other directories and no bound.

use crate::Flags;
use record::Name;
use std::collections::BTreeMap;

/// Names with their flags, at least one. Most directories have one, which then costs no allocation but its own.
#[derive(Debug)]
pub(super) enum Names {
    One(Name, Flags),
    /// Sorted, so that a batch is; a tree, since users choose the names and could aim at a hash.
    Many(BTreeMap<Name, Flags>),
}

impl Names {
    pub(super) fn len(&self) -> usize {
        match self {
            Names::One(..) => 1,
            Names::Many(names) => names.len(),
        }
    }

    /// The flags of `name`, if it is known.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Flags> {
        match self {
            Names::One(known, flags) => (**known == *name).then_some(flags),
            Names::Many(names) => names.get_mut(name),
        }
    }

    /// Adds a name that is not known.
    pub(super) fn insert(&mut self, name: Name, flags: Flags) {
        match self {
            Names::One(known, known_flags) => {
                let one = (std::mem::take(known), *known_flags);
                *self = Names::Many(BTreeMap::from([one, (name, flags)]));
            }
            Names::Many(names) => {
                names.insert(name, flags);
            }
        }
    }

    /// All of them, sorted.
    pub(super) fn into_sorted(self) -> Vec<(Name, Flags)> {
        match self {
            Names::One(name, flags) => vec![(name, flags)],
            Names::Many(names) => names.into_iter().collect(),
        }
    }
}
