//! The order, on trees made of names that are easily confused.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;
use record::{EntryId, VolumeId};

use super::{Tree, in_order};

/// Names that sort around the slash, that are prefixes of each other, and that look as others do once these are escaped.
const NAMES: [&[u8]; 18] = [
    b"a",
    b"a!",
    b"a.",
    b"a.b",
    b"a0",
    b"b",
    b"A",
    "ü".as_bytes(),
    b"a\xff",
    b"a\\xff",
    b"a\\xff\\",
    b"a\\xff\\\\",
    b"a\\",
    b"a\\\xff",
    b"a\\x5c\\xff",
    b"\xc3",
    b"\\xc3",
    b"\xc3!",
];

type Names = BTreeMap<Vec<u8>, (EntryId, bool)>;

#[derive(Debug, Default)]
struct Model {
    directories: BTreeMap<EntryId, Names>,
    next: u64,
}

fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

const TOP: u64 = 1;

impl Model {
    /// Of paths below the root; what is gone through is a directory.
    fn new(paths: &[Vec<usize>]) -> Model {
        let mut model = Model { directories: BTreeMap::from([(id(TOP), Names::new())]), next: TOP };
        for path in paths {
            let mut dir = id(TOP);
            for &name in path {
                let next = &mut model.next;
                let names = model.directories.entry(dir).or_default();
                let made = names.entry(NAMES[name].to_vec()).or_insert_with(|| {
                    *next += 1;
                    (id(*next), true)
                });
                dir = made.0;
            }
        }
        for names in model.directories.clone().values() {
            for (child, _) in names.values() {
                model.directories.entry(*child).or_default();
            }
        }
        model
    }

    fn all(&self, dir: EntryId, path: &[u8], found: &mut BTreeSet<Vec<u8>>) {
        found.insert(path.to_vec());
        for (name, (child, _)) in &self.directories[&dir] {
            let mut below = path.to_vec();
            if path != b"/" {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            self.all(*child, &below, found);
        }
    }
}

impl Tree for Model {
    type Error = Infallible;

    fn names(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8], EntryId, bool) -> bool,
    ) -> Result<(), Infallible> {
        for (name, (child, directory)) in &self.directories[&dir] {
            if after.is_none_or(|after| &name[..] > after) && !each(name, *child, *directory) {
                break;
            }
        }
        Ok(())
    }

    fn circle(&self, dir: EntryId) -> Infallible {
        panic!("{dir} lies in itself")
    }
}

/// Every path by its text, in the order it came, with its bytes and depth.
fn walked(model: &Model, root: &[u8]) -> Vec<(String, Vec<u8>, u32)> {
    let mut rows = Vec::new();
    let all = in_order(model, root, (id(TOP), true), &mut |spot| {
        let exact = spot.raw.is_none();
        let bytes = spot.raw.unwrap_or(spot.text.as_bytes()).to_vec();
        assert_eq!(exact, std::str::from_utf8(&bytes).is_ok(), "{bytes:?}");
        rows.push((spot.text.to_owned(), bytes, spot.depth));
        Ok(true)
    });
    assert!(all.unwrap());
    rows
}

fn judge(model: &Model, root: &[u8]) {
    let rows = walked(model, root);
    for pair in rows.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{:?} before {:?}", pair[0], pair[1]);
    }
    let mut all = BTreeSet::new();
    model.all(id(TOP), root, &mut all);
    assert_eq!(rows.len(), all.len());
    assert_eq!(rows.iter().map(|row| row.1.clone()).collect::<BTreeSet<_>>(), all);
    let slashes = |path: &[u8]| path.iter().filter(|&&byte| byte == b'/').count();
    let above = if root == b"/" { 0 } else { slashes(root) };
    for (_, bytes, depth) in rows {
        let depth = depth as usize;
        assert_eq!(if bytes == b"/" { 0 } else { slashes(&bytes) - above }, depth, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn texts_ascend_and_nothing_is_missing(
        paths in prop::collection::vec(prop::collection::vec(0..NAMES.len(), 1..5), 0..60)
    ) {
        let model = Model::new(&paths);
        for root in [b"/r".as_slice(), b"/", b"/a\xff/r\\s"] {
            judge(&model, root);
        }
    }
}

#[test]
fn children_come_after_siblings_that_sort_before_the_slash() {
    // a, a/a, a!, a!/a, a.b
    let model = Model::new(&[vec![0, 0], vec![1, 0], vec![3]]);
    let texts: Vec<String> = walked(&model, b"/r").into_iter().map(|row| row.0).collect();
    assert_eq!(texts, ["/r", "/r/a", "/r/a!", "/r/a!/a", "/r/a.b", "/r/a/a"]);
}

#[test]
fn an_escaped_name_moves_on_where_its_text_is_a_name() {
    // The byte ff after an a, and names that are its escape, with one more backslash, with two.
    let model = Model::new(&[vec![8, 0], vec![9, 0], vec![10], vec![11]]);
    let rows = walked(&model, b"/r");
    let escaped: Vec<&str> =
        rows.iter().filter(|row| row.1.starts_with(b"/r/a\xff")).map(|row| &row.0[..]).collect();
    assert_eq!(escaped, ["/r/a\\xff\\\\\\", "/r/a\\xff\\\\\\/a"]);
    judge(&model, b"/r");
}

#[test]
fn no_more_is_no_more() {
    let model = Model::new(&[vec![0, 0], vec![1]]);
    for most in 1..4 {
        let mut seen = 0;
        let all = in_order(&model, b"/r", (id(TOP), true), &mut |_| {
            seen += 1;
            Ok(seen < most)
        });
        assert_eq!((all, seen), (Ok(false), most));
    }
}
