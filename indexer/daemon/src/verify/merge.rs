//! Two streams in one order, compared step by step: what the index lists and what the walk finds.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::verify::Side;
use crate::verify::walk::{Step, Walk};

/// A path at which the two disagree, as far as one look tells.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The path.
    pub(crate) path: Vec<u8>,
    /// What the index holds.
    pub(crate) stored: Option<Side>,
    /// What the disk has.
    pub(crate) seen: Option<Side>,
}

/// The comparison under way.
pub(crate) struct Merge<'a> {
    walk: Peekable<Walk<'a>>,
    /// The last path of which nothing is known.
    blind: Option<Vec<u8>>,
    /// The last path at which another file system is stored than the disk shows.
    hidden: Option<Vec<u8>>,
    /// What disagrees, until the caller takes it.
    pub(crate) candidates: Vec<Candidate>,
    /// Paths of which nothing is known, with the reason, until the caller takes them.
    pub(crate) unknown: Vec<(Vec<u8>, String)>,
    /// Entries that both have.
    pub(crate) compared: u64,
}

impl<'a> Merge<'a> {
    /// Compares `walk` with what [`Merge::stored`] is told.
    pub(crate) fn new(walk: Walk<'a>) -> Merge<'a> {
        Merge {
            walk: walk.peekable(),
            blind: None,
            hidden: None,
            candidates: Vec::new(),
            unknown: Vec::new(),
            compared: 0,
        }
    }

    /// Compares nothing at and below `path`: the index has another file system there, which is not mounted.
    pub(crate) fn hide(&mut self, path: Vec<u8>) {
        self.unknown.push((path.clone(), "a file system is stored here that is not mounted".to_owned()));
        self.hidden = Some(path);
    }

    fn is_hidden(&self, path: &[u8]) -> bool {
        self.hidden.as_deref().is_some_and(|hidden| crate::paths::is_below(path, hidden))
    }

    /// The index's next entry; entries come in the order of [`order`].
    pub(crate) fn stored(&mut self, path: Vec<u8>, side: Side) {
        if self.is_hidden(&path) {
            return;
        }
        loop {
            let ordering = match self.walk.peek() {
                None => Ordering::Greater,
                Some(Step::Blind { .. }) => {
                    self.pass();
                    continue;
                }
                Some(Step::Covered { path: seen }) if *seen == path => {
                    self.walk.next();
                    self.unknown.push((path.clone(), "covered by a mount that is not followed".to_owned()));
                    self.blind = Some(path);
                    return;
                }
                Some(Step::Entry { path: seen, .. } | Step::Covered { path: seen }) => order(seen, &path),
            };
            match ordering {
                Ordering::Less => self.pass(),
                Ordering::Equal => {
                    if let Some(Step::Entry { side: seen, .. }) = self.walk.next() {
                        self.compared += 1;
                        if !seen.agrees(&side) {
                            self.candidates.push(Candidate { path, stored: Some(side), seen: Some(seen) });
                        }
                    }
                    return;
                }
                Ordering::Greater => {
                    let unknown =
                        self.blind.as_deref().is_some_and(|blind| crate::paths::is_below(&path, blind));
                    if !unknown {
                        self.candidates.push(Candidate { path, stored: Some(side), seen: None });
                    }
                    return;
                }
            }
        }
    }

    /// The walk's next step, which the index has no entry for. Answers whether there was one.
    pub(crate) fn rest(&mut self) -> bool {
        let more = self.walk.peek().is_some();
        self.pass();
        more
    }

    fn pass(&mut self) {
        match self.walk.next() {
            Some(Step::Entry { path, .. }) if self.is_hidden(&path) => {}
            Some(Step::Entry { path, side }) => {
                self.candidates.push(Candidate { path, stored: None, seen: Some(side) });
            }
            Some(Step::Blind { path, why }) => {
                self.unknown.push((path.clone(), why.to_string()));
                self.blind = Some(path);
            }
            // The index has nothing there either.
            Some(Step::Covered { .. }) | None => {}
        }
    }
}

/// The order of a walk depth first with names in byte order: as bytes, but a slash before all else.
pub(crate) fn order(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(key).cmp(b.iter().map(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_come_right_after_their_directory() {
        let walk: [&[u8]; 6] = [b"/a", b"/a/x", b"/a/x/y", b"/a\x01", b"/a b", b"/a.b"];
        for pair in walk.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(order(b"/a", b"/a"), Ordering::Equal);
    }
}
