//! How far a scan is: which directories are listed, and below which of them nothing is left to do. Knows no row and no file.
//!
//! Where nothing is left below a directory it stands for all in it, so what is kept is about as long as the way to where the scan is, and
//! the siblings on that way.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How far a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is listed, and not all below it is.
    Listed,
    /// It is listed, and so is all below it.
    Whole,
}

/// Directories by their path from the root; the root's own is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier(BTreeMap<Vec<u8>, Way>);

impl Frontier {
    /// How far the directory at `path` is; none where it is not listed. What lies in one that is whole is not asked about.
    #[must_use]
    pub fn way(&self, path: &[u8]) -> Option<Way> {
        self.0.get(path).copied()
    }

    /// Directories that it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no directory is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each directory, in the order of its path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Way)> {
        self.0.iter().map(|(path, way)| (&path[..], *way))
    }

    /// A directory got so far.
    pub fn set(&mut self, path: &[u8], way: Way) {
        match way {
            Way::Listed => {
                if let Entry::Vacant(place) = self.0.entry(path.to_vec()) {
                    place.insert(way);
                }
            }
            Way::Whole => {
                self.forget_below(path);
                self.0.insert(path.to_vec(), way);
            }
        }
    }

    /// Takes over what came after.
    pub fn absorb(&mut self, later: Frontier) {
        for (path, way) in later.0 {
            self.set(&path, way);
        }
    }

    fn forget_below(&mut self, path: &[u8]) {
        if path.is_empty() {
            self.0.clear();
            return;
        }
        // All that begins with `path/`, and nothing else, lies between it and `path0`: a slash is before a zero.
        let (first, end) = ([path, b"/"].concat(), [path, b"0"].concat());
        let below: Vec<Vec<u8>> = self.0.range(first..end).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.0.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(all: &[(&str, Way)]) -> Frontier {
        let mut frontier = Frontier::default();
        for (path, way) in all {
            frontier.set(path.as_bytes(), *way);
        }
        frontier
    }

    #[test]
    fn what_is_whole_stands_for_all_in_it_and_for_nothing_else() {
        use Way::{Listed, Whole};
        let mut at =
            frontier(&[("", Listed), ("a", Listed), ("a/b", Whole), ("a/c", Listed), ("a/c/d", Whole)]);
        for like in ["a!", "a.b", "a0", "ab"] {
            at.set(like.as_bytes(), Whole);
        }
        assert_eq!(at.len(), 9);
        at.set(b"a/c", Whole);
        assert_eq!((at.way(b"a/c"), at.way(b"a/c/d"), at.way(b"a")), (Some(Whole), None, Some(Listed)));
        at.set(b"a", Whole);
        let left: Vec<&[u8]> = at.iter().map(|(path, _)| path).collect();
        assert_eq!(left, [b"".as_slice(), b"a", b"a!", b"a.b", b"a0", b"ab"]);
        // A directory that is whole is not listed again by a word that comes late.
        at.set(b"a", Listed);
        assert_eq!(at.way(b"a"), Some(Whole));
        at.set(b"", Whole);
        assert_eq!(at, frontier(&[("", Whole)]));
    }

    #[test]
    fn what_came_later_is_taken_over() {
        use Way::{Listed, Whole};
        let mut at = frontier(&[("", Listed), ("x", Listed), ("x/y", Whole)]);
        at.absorb(frontier(&[("x", Whole), ("z", Listed)]));
        assert_eq!(at, frontier(&[("", Listed), ("x", Whole), ("z", Listed)]));
    }
}
