//! The end of a comparison: names that went and names that came, put together by their entries. Knows no streams.
//!
//! Directories first, since what lies in one that was renamed came along with it and is no rename of its own.

use std::collections::{HashMap, HashSet};

use record::Kind;

use super::shelf::{NOBODY, Shelf, number};
use super::{Change, Fields, Op, Terms, Work};

/// What is known of the rows of both shelves.
struct Pairs {
    /// The other half of each row of both.
    other: [Vec<u32>; 2],
    /// Whether a row is one of several names of a file that is told elsewhere.
    link: [Vec<bool>; 2],
    /// Directories that were renamed: from the number on the one shelf to that on the other, and the row that says so.
    moved: HashMap<u32, (u32, usize)>,
}

/// Tells all that waited.
pub(super) fn tell<E>(work: &mut Work<'_, E>) -> Result<(), E> {
    let [a, b] = std::mem::take(&mut work.shelves);
    let pairs = Pairs::find(work, &a, &b);
    let replaced = pairs.replaced(&a);
    let is_replaced = |d: u32| d != NOBODY && replaced[d as usize];
    let (along, below) = pairs.along(&a, &b);
    let untold = |(d, replaced): &(usize, &bool)| !**replaced && pairs.other[0][*d] == NOBODY;
    for (d, _) in replaced.iter().enumerate().filter(untold) {
        let (path, state) = (a.path(d), a.state(d));
        let link = pairs.link[0][d];
        work.say(&Change {
            op: Op::Deleted,
            path: &path,
            raw: a.raw(d),
            old_path: None,
            old_raw: None,
            before: Some(&state),
            after: None,
            fields: Fields::default(),
            link,
            along: false,
            below: 0,
            counts: [!link; 2],
        })?;
    }
    for (c, row) in b.rows.iter().enumerate() {
        let (path, after) = (b.path(c), b.state(c));
        let d = pairs.other[1][c];
        let at = d as usize;
        let link = pairs.link[1][c];
        let told = Change {
            op: Op::Created,
            path: &path,
            raw: b.raw(c),
            old_path: None,
            old_raw: None,
            before: None,
            after: Some(&after),
            fields: Fields::default(),
            link,
            along: false,
            below: 0,
            counts: [!link; 2],
        };
        if d != NOBODY {
            let (old, before) = (a.path(at), a.state(at));
            let fields = work.terms.fields(&before, &after);
            let op = if along[at] && !fields.is_empty() { Op::Modified } else { Op::Renamed };
            let several = after.links.is_some_and(|links| links > 1) && !after.is_directory();
            let counts = !several || row.key().is_none_or(|key| work.counted.insert(key));
            let (before, old_path) = (Some(&before), Some(&*old));
            let (along, below) = (along[at], below[at]);
            work.say(&Change {
                op,
                old_path,
                old_raw: a.raw(at),
                before,
                fields,
                along,
                below,
                counts: [counts; 2],
                ..told
            })?;
        } else if is_replaced(row.twin) {
            let before = a.state(row.twin as usize);
            let mut fields = work.terms.fields(&before, &after);
            fields.put(Fields::ENTRY, true);
            // What went and what came are two entries, each of which may have other names.
            let counts = [!pairs.link[0][row.twin as usize], !link];
            work.say(&Change { op: Op::Modified, before: Some(&before), fields, counts, ..told })?;
        } else {
            work.say(&told)?;
        }
    }
    Ok(())
}

/// Names of one entry above so many on both sides are put together in their order and nothing else.
const MANY: usize = 256;

/// Directories, or all else, with an entry, by entry and path. A number that was recycled may be both.
fn keyed(shelf: &Shelf, directories: bool) -> Vec<u32> {
    let fits = |at: &u32| {
        let row = &shelf.rows[*at as usize];
        row.key().is_some() && (row.kind == Kind::Directory) == directories
    };
    let mut keyed: Vec<u32> = (0..number(shelf.rows.len())).filter(fits).collect();
    keyed.sort_unstable_by_key(|at| (shelf.rows[*at as usize].key(), *at));
    keyed
}

/// How many of the first belong to the entry of the very first.
fn group(shelf: &Shelf, rows: &[u32]) -> usize {
    let key = |at: &u32| shelf.rows[*at as usize].key();
    rows.iter().take_while(|at| key(at) == rows.first().and_then(key)).count()
}

impl Pairs {
    fn find<E>(work: &Work<'_, E>, a: &Shelf, b: &Shelf) -> Pairs {
        let shelves = [a, b];
        let mut pairs = Pairs {
            other: shelves.map(|shelf| vec![NOBODY; shelf.rows.len()]),
            link: shelves.map(|shelf| vec![false; shelf.rows.len()]),
            moved: HashMap::new(),
        };
        for directories in [true, false] {
            let (gone, came) = (keyed(a, directories), keyed(b, directories));
            let (mut gone, mut came): (&[_], &[_]) = (&gone, &came);
            while !gone.is_empty() || !came.is_empty() {
                let key =
                    |shelf: &Shelf, rows: &[u32]| rows.first().and_then(|at| shelf.rows[*at as usize].key());
                let (g, c) = match (key(a, gone), key(b, came)) {
                    (one, other) if one == other => (group(a, gone), group(b, came)),
                    (Some(one), other) if other.is_none_or(|other| one < other) => (group(a, gone), 0),
                    _ => (0, group(b, came)),
                };
                let (mine, yours) = (&gone[..g], &came[..c]);
                (gone, came) = (&gone[g..], &came[c..]);
                let first = mine.first().map(|at| &a.rows[*at as usize]);
                let Some(first) = first.or(yours.first().map(|at| &b.rows[*at as usize])) else { break };
                pairs.one_entry(&work.terms, shelves, mine, yours);
                if directories {
                    pairs.note_moved(a, b, mine);
                } else {
                    let lives = first.key().is_some_and(|key| work.relinked.contains(&key));
                    pairs.note_links(lives, mine, yours);
                }
            }
        }
        pairs
    }

    /// Puts names of one entry together: those that came along with their directory, then any, by path.
    fn one_entry(&mut self, terms: &Terms, [a, b]: [&Shelf; 2], gone: &[u32], came: &[u32]) {
        let may_be = |d: u32, c: u32| {
            let (d, c) = (d as usize, c as usize);
            terms.may_be((a.rows[d].kind, a.created(d)), (b.rows[c].kind, b.created(c)))
        };
        if gone.len().min(came.len()) > MANY {
            for (&d, &c) in gone.iter().zip(came).filter(|(d, c)| may_be(**d, **c)) {
                (self.other[0][d as usize], self.other[1][c as usize]) = (c, d);
            }
            return;
        }
        for with_directory in [true, false] {
            for &d in gone.iter().filter(|_| !came.is_empty()) {
                if self.other[0][d as usize] != NOBODY {
                    continue;
                }
                let fits = came.iter().copied().find(|&c| {
                    self.other[1][c as usize] == NOBODY
                        && (!with_directory || self.is_along(a, b, d as usize, c as usize))
                        && may_be(d, c)
                });
                if let Some(c) = fits {
                    (self.other[0][d as usize], self.other[1][c as usize]) = (c, d);
                }
            }
        }
    }

    fn note_moved(&mut self, a: &Shelf, b: &Shelf, gone: &[u32]) {
        for &d in gone {
            let c = self.other[0][d as usize];
            if c == NOBODY {
                continue;
            }
            if let Some(from) = a.known_dir(&a.path(d as usize)) {
                // Nothing waits in it: nothing came along.
                let to = b.known_dir(&b.path(c as usize)).unwrap_or(NOBODY);
                self.moved.insert(from, (to, d as usize));
            }
        }
    }

    /// Of names that found no other half: those of a file that lives on are no file's end, and of a file that is new or gone one
    /// name stands for all.
    fn note_links(&mut self, lives: bool, gone: &[u32], came: &[u32]) {
        let renamed = gone.iter().any(|d| self.other[0][*d as usize] != NOBODY);
        for (side, rows) in [gone, came].into_iter().enumerate() {
            let mut told = lives || renamed;
            for &at in rows {
                let at = at as usize;
                if self.other[side][at] == NOBODY {
                    self.link[side][at] = told;
                    told = true;
                }
            }
        }
    }

    /// Of which rows of the first shelf another entry has the name, while nothing else became of the one that had it. In a directory that is no
    /// longer where it was nothing is replaced: what has the path now lies in another one.
    fn replaced(&self, a: &Shelf) -> Vec<bool> {
        let mut replaced = vec![false; a.rows.len()];
        let mut left = HashSet::new();
        // A directory comes before what is in it.
        for (d, row) in a.rows.iter().enumerate() {
            replaced[d] = row.twin != NOBODY
                && self.other[0][d] == NOBODY
                && self.other[1][row.twin as usize] == NOBODY
                && !left.contains(&row.parent);
            if !replaced[d] && row.kind == Kind::Directory {
                left.extend(a.known_dir(&a.path(d)));
            }
        }
        replaced
    }

    /// Whether a name is where the rename of its directory brought it.
    fn is_along(&self, a: &Shelf, b: &Shelf, d: usize, c: usize) -> bool {
        let moved = self.moved.get(&a.rows[d].parent);
        moved.is_some_and(|(to, _)| *to == b.rows[c].parent) && a.name(d) == b.name(c)
    }

    /// Which rows of the first shelf came along, and with each renamed directory how many names.
    fn along(&self, a: &Shelf, b: &Shelf) -> (Vec<bool>, Vec<u64>) {
        let mut along = vec![false; a.rows.len()];
        let mut below = vec![0; a.rows.len()];
        // A directory comes before what is in it.
        let mut top: Vec<usize> = (0..a.rows.len()).collect();
        for d in 0..a.rows.len() {
            let c = self.other[0][d];
            let Some((_, dir)) = self.moved.get(&a.rows[d].parent).filter(|_| c != NOBODY) else { continue };
            if self.is_along(a, b, d, c as usize) {
                along[d] = true;
                top[d] = top[*dir];
                below[top[d]] += 1;
            }
        }
        (along, below)
    }
}
