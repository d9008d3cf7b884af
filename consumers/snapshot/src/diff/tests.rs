//! Random trees and random changes of them: what is told makes the one of the other, and nothing is told of what is alike.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use arrow_array::RecordBatch;
use proptest::prelude::*;
use record::{EntryId, Kind, Stat, Time, VolumeId};

use super::*;
use crate::entry::{Entry, Facts};
use crate::read::Lines;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    directory: bool,
    size: u64,
    mode: u16,
    born: i128,
}

/// Names, and what they stand for.
#[derive(Clone, Debug, Default)]
struct Tree {
    names: BTreeMap<String, u64>,
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Tree {
    fn new() -> Tree {
        let mut tree = Tree { next: 10, ..Tree::default() };
        tree.make("/r", true);
        tree
    }

    /// With the least number that is free: they are recycled.
    fn make(&mut self, path: &str, directory: bool) {
        self.next += 1;
        self.names.remove(path);
        let used: BTreeSet<u64> = self.names.values().copied().collect();
        let id = (1..).find(|id| !used.contains(id)).unwrap();
        self.nodes.insert(id, Node { directory, size: self.next, mode: 0o644, born: i128::from(self.next) });
        self.names.insert(path.to_owned(), id);
    }

    /// What a name stands for: a number, and when it was born.
    fn entry(&self, path: &str) -> Option<(u64, i128)> {
        self.names.get(path).map(|id| (*id, self.nodes[id].born))
    }

    fn at(&self, nth: usize) -> String {
        self.names.keys().nth(nth % self.names.len()).unwrap().clone()
    }

    fn dir(&self, nth: usize) -> String {
        let dirs: Vec<_> =
            self.names.iter().filter(|(_, id)| self.nodes[id].directory).map(|(path, _)| path).collect();
        dirs[nth % dirs.len()].clone()
    }

    fn remove(&mut self, path: &str) {
        self.names.retain(|name, _| name != path && !name.starts_with(&format!("{path}/")));
    }

    fn rename(&mut self, from: &str, to: &str) {
        if from == "/r"
            || to == from
            || to.starts_with(&format!("{from}/"))
            || from.starts_with(&format!("{to}/"))
        {
            return;
        }
        self.remove(to);
        let moved: Vec<_> = self
            .names
            .iter()
            .filter(|(name, _)| *name == from || name.starts_with(&format!("{from}/")))
            .collect();
        let moved: Vec<_> =
            moved.into_iter().map(|(name, id)| (format!("{to}{}", &name[from.len()..]), *id)).collect();
        self.remove(from);
        self.names.extend(moved);
    }

    /// One of the ways in which a tree changes; few names, so that they meet.
    fn change(&mut self, (way, one, other, name): Step) {
        let new = format!("{}/{}", self.dir(other), ["a", "b", "c", "a!", "a.b"][name % 5]);
        let old = self.at(one);
        let free = !self.names.contains_key(&new);
        match way % 9 {
            0 if free => self.make(&new, true),
            1 | 2 if free => self.make(&new, false),
            3 if old != "/r" => self.remove(&old),
            4 | 5 => self.rename(&old, &new),
            // An atomic save.
            6 if !self.nodes[&self.names[&old]].directory => self.make(&old, false),
            7 if free && !self.nodes[&self.names[&old]].directory => {
                self.names.insert(new, self.names[&old]);
            }
            _ => {
                self.next += 1;
                let node = self.nodes.get_mut(&self.names[&old]).unwrap();
                (node.size, node.mode) = (self.next, if one % 2 == 0 { 0o600 } else { node.mode });
            }
        }
    }

    fn links(&self, id: u64) -> u32 {
        u32::try_from(self.names.values().filter(|other| **other == id).count()).unwrap()
    }

    fn lines(&self) -> Vec<Lines> {
        let rows: Vec<_> = self.names.iter().collect();
        rows.chunks(3).map(|rows| self.batch(rows)).collect()
    }

    fn batch(&self, rows: &[(&String, &u64)]) -> Lines {
        let mut gather = Columns::Native.gather("/r", Arc::default());
        for &(path, id) in rows {
            let node = self.nodes[id];
            let stat = Stat {
                kind: if node.directory { Kind::Directory } else { Kind::File },
                mode: node.mode,
                uid: 1,
                gid: 1,
                links: if node.directory { 2 } else { self.links(*id) },
                size: node.size,
                allocated: node.size * 2,
                modified: Time(i128::from(node.size) * 1000),
                changed: Time(0),
                accessed: Time(0),
                created: Some(Time(node.born * 1000)),
            };
            let id = EntryId::new(VolumeId(1), *id);
            let facts = Facts { id, stat, category: None, digest: None, digest_time: None };
            let depth = u32::try_from(path.matches('/').count()).unwrap() - 1;
            gather.push(&Entry { text: path, raw: None, depth, facts });
        }
        Lines::new(&RecordBatch::try_new(Columns::Native.schema(), gather.take()).unwrap(), Columns::Native)
            .unwrap()
    }

    /// Bytes of files, each once.
    fn bytes(&self) -> i64 {
        let ids: BTreeSet<_> = self.names.values().filter(|id| !self.nodes[id].directory).collect();
        ids.iter().map(|id| i64::try_from(self.nodes[id].size).unwrap()).sum()
    }

    /// What counts of each name: a directory's size follows from what is in it.
    fn told(&self) -> BTreeMap<String, (bool, u64, u16)> {
        let of = |node: Node| (node.directory, if node.directory { 0 } else { node.size }, node.mode);
        self.names.iter().map(|(path, id)| (path.clone(), of(self.nodes[id]))).collect()
    }
}

type Step = (u8, usize, usize, usize);

fn head(host: &str, epoch: &str) -> Head {
    Head {
        root: "/r".into(),
        root_raw: None,
        host: host.into(),
        epoch: Some(epoch.into()),
        watermark: Some(1),
        taken_us: 0,
        columns: Columns::Native,
    }
}

/// One change, owned.
#[derive(Clone, Debug)]
struct Told {
    op: Op,
    path: String,
    old: Option<String>,
    after: Option<(bool, u64, u16)>,
    implied: bool,
    link: bool,
    below: u64,
    fields: Vec<&'static str>,
}

fn told(a: &Tree, b: &Tree, heads: [&Head; 2], most: usize) -> (Vec<Told>, Summary) {
    let (mut ones, mut others) = (a.lines().into_iter(), b.lines().into_iter());
    let mut all = Vec::new();
    let summary = diff::<Infallible>(
        heads,
        [&mut || Ok(ones.next()), &mut || Ok(others.next())],
        most,
        &mut |change| {
            let of = |state: &State| {
                (state.is_directory(), if state.is_directory() { 0 } else { state.size }, state.mode.unwrap())
            };
            all.push(Told {
                op: change.op,
                path: change.path.to_owned(),
                old: change.old_path.map(str::to_owned),
                after: change.after.map(of),
                implied: change.is_implied(),
                link: change.link,
                below: change.below,
                fields: change.fields.words(),
            });
            Ok(())
        },
    );
    let Ok(summary) = summary;
    (all, summary)
}

fn same_index() -> [Head; 2] {
    [head("h", "e"), head("h", "e")]
}

fn compared(a: &Tree, b: &Tree) -> (Vec<Told>, Summary) {
    let [one, other] = same_index();
    told(a, b, [&one, &other], MOST_WAITING)
}

/// What the changes make of `a`: all of them, each at its own path.
fn applied(a: &Tree, changes: &[Told]) -> BTreeMap<String, (bool, u64, u16)> {
    let mut names = a.told();
    for change in changes {
        if change.op == Op::Deleted {
            names.remove(&change.path).expect("it was there");
        }
        if let Some(old) = &change.old {
            names.remove(old).expect("it was there");
        }
    }
    names.extend(changes.iter().filter_map(|change| Some((change.path.clone(), change.after?))));
    names
}

/// The same of those that are shown: what lies in a renamed directory goes with it, but for what is told or where it was.
fn applied_as_shown(a: &Tree, b: &Tree, changes: &[Told]) -> BTreeMap<String, (bool, u64, u16)> {
    let shown: Vec<_> = changes.iter().filter(|change| !change.implied).collect();
    let gone: BTreeSet<_> =
        shown.iter().filter(|change| change.op == Op::Deleted).map(|change| change.path.clone()).collect();
    let moved: BTreeMap<_, _> =
        shown.iter().filter_map(|change| Some((change.old.clone()?, change.path.clone()))).collect();
    let mut names = BTreeMap::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for (path, node) in a.told() {
        let place = match (moved.get(&path), path.rsplit_once('/')) {
            (Some(to), _) => to.clone(),
            (None, Some((parent, name))) if b.entry(&path) != a.entry(&path) && !parent.is_empty() => {
                format!("{}/{name}", places[parent])
            }
            _ => path.clone(),
        };
        if !gone.contains(&path) {
            names.insert(place.clone(), node);
        }
        places.insert(path, place);
    }
    names.extend(shown.iter().filter_map(|change| Some((change.path.clone(), change.after?))));
    names
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((any::<u8>(), 0..64_usize, 0..64_usize, 0..64_usize), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_told_makes_the_one_of_the_other(before in steps(40), after in steps(30), room in prop::option::of(0..6_usize)) {
        let mut a = Tree::new();
        before.into_iter().for_each(|step| a.change(step));
        let mut b = a.clone();
        after.into_iter().for_each(|step| b.change(step));
        let [one, other] = same_index();
        let (changes, summary) = told(&a, &b, [&one, &other], room.unwrap_or(MOST_WAITING));
        prop_assert_eq!(applied(&a, &changes), b.told(), "{:#?}", changes);
        if room.is_none() {
            prop_assert!(summary.complete);
            prop_assert_eq!(applied_as_shown(&a, &b, &changes), b.told(), "{:#?}", changes);
            let grown = [summary.created, summary.deleted, summary.modified, summary.renamed];
            prop_assert_eq!(grown.iter().map(|sum| sum.bytes).sum::<i64>(), b.bytes() - a.bytes(), "{:#?}", changes);
            // No entry is told to have come and to have gone.
            for change in &changes {
                let lives = |tree: &Tree, entry| tree.names.keys().any(|name| tree.entry(name) == entry);
                match change.op {
                    Op::Created => prop_assert!(change.link || !lives(&a, b.entry(&change.path)), "{:#?}", changes),
                    Op::Deleted => prop_assert!(change.link || !lives(&b, a.entry(&change.path)), "{:#?}", changes),
                    Op::Renamed => prop_assert_eq!(a.entry(change.old.as_ref().unwrap()), b.entry(&change.path)),
                    Op::Modified => {}
                }
            }
        }
        let shown = changes.iter().filter(|change| !change.implied).count() as u64;
        prop_assert_eq!((summary.differences(), shown == 0), (shown, a.told() == b.told() && same_entries(&a, &b)));
        prop_assert_eq!((summary.rows_before, summary.rows_after), (a.names.len() as u64, b.names.len() as u64));
        prop_assert!(told(&b, &b, [&one, &other], 1).0.is_empty());
    }

    /// Another host's inodes say nothing; what was indexed anew has other volumes and the same inodes.
    #[test]
    fn without_common_numbers_paths_are_compared(before in steps(30), after in steps(10)) {
        let mut a = Tree::new();
        before.into_iter().for_each(|step| a.change(step));
        let mut b = a.clone();
        after.into_iter().for_each(|step| b.change(step));
        let (changes, _) = told(&a, &b, [&head("h", "e"), &head("other", "e")], 10);
        prop_assert_eq!(applied(&a, &changes), b.told());
        prop_assert!(changes.iter().all(|change| change.op != Op::Renamed && !change.fields.contains(&"entry")));
        let (anew, _) = told(&a, &b, [&head("h", "e"), &head("h", "f")], MOST_WAITING);
        prop_assert_eq!(anew.len(), compared(&a, &b).0.len());
    }
}

fn same_entries(a: &Tree, b: &Tree) -> bool {
    a.names.keys().all(|name| a.entry(name) == b.entry(name))
}

/// A tree of `paths`; those that end in a slash are directories.
fn tree(paths: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for path in paths {
        tree.make(&format!("/r/{}", path.trim_end_matches('/')), path.ends_with('/'));
    }
    tree
}

/// In short: `renamed a -> b +2`.
fn short(a: &Tree, b: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for change in compared(a, b).0.iter().filter(|change| !change.implied) {
        let mut line = format!("{} ", change.op.word());
        if let Some(old) = &change.old {
            line += &format!("{} -> ", &old[3..]);
        }
        line += &change.path[3..];
        if change.below > 0 {
            line += &format!(" +{}", change.below);
        }
        if change.link {
            line += " link";
        }
        if !change.fields.is_empty() {
            line += &format!(" {}", change.fields.join(","));
        }
        lines.push(line);
    }
    lines
}

#[test]
fn a_renamed_directory_is_one_rename_and_what_changed_in_it_is_told_by_itself() {
    let a = tree(&["d/", "d/kept", "d/sub/", "d/sub/kept", "d/gone", "d/written", "d/out", "z"]);
    let mut b = a.clone();
    b.rename("/r/d", "/r/e");
    b.remove("/r/e/gone");
    b.make("/r/e/new", false);
    b.rename("/r/e/out", "/r/out");
    b.rename("/r/z", "/r/e/in");
    let id = b.names["/r/e/written"];
    b.nodes.get_mut(&id).unwrap().size = 9999;
    assert_eq!(
        short(&a, &b),
        [
            "deleted d/gone",
            "renamed d -> e +4",
            "renamed z -> e/in",
            "created e/new",
            "modified d/written -> e/written size,modified",
            "renamed d/out -> out",
        ]
    );
}

#[test]
fn exchanges_saves_and_recycled_numbers() {
    let a = tree(&["one", "two", "saved", "d/", "d/x"]);
    let mut b = a.clone();
    let (one, two) = (a.names["/r/one"], a.names["/r/two"]);
    b.names.extend([("/r/one".to_owned(), two), ("/r/two".to_owned(), one)]);
    b.make("/r/saved", false);
    assert_eq!(
        short(&a, &b),
        ["renamed two -> one", "modified saved entry,size,modified", "renamed one -> two"]
    );
    // What lies where a renamed directory was replaces nothing.
    let mut b = a.clone();
    b.rename("/r/d", "/r/e");
    b.make("/r/d", true);
    b.remove("/r/e/x");
    b.make("/r/d/x", false);
    assert_eq!(short(&a, &b), ["deleted d/x", "created d", "created d/x", "renamed d -> e"]);
    // The number is that of another file now: it was born at another time.
    let mut b = a.clone();
    b.remove("/r/one");
    b.names.insert("/r/three".to_owned(), one);
    b.nodes.get_mut(&one).unwrap().born += 1;
    assert_eq!(short(&a, &b), ["deleted one", "created three"]);
    // What lies where a directory was that went along, and was removed there, replaces nothing either.
    let a = tree(&["d/", "d/sub/", "d/sub/x"]);
    let mut b = a.clone();
    b.rename("/r/d", "/r/e");
    b.remove("/r/e/sub");
    for (path, directory) in [("/r/d", true), ("/r/d/sub", true), ("/r/d/sub/x", false)] {
        b.make(path, directory);
    }
    assert_eq!(
        short(&a, &b),
        [
            "deleted d/sub",
            "deleted d/sub/x",
            "created d",
            "created d/sub",
            "created d/sub/x",
            "renamed d -> e"
        ]
    );
    assert_eq!(applied_as_shown(&a, &b, &compared(&a, &b).0), b.told());
}

#[test]
fn names_of_one_file_are_no_files_of_their_own() {
    let a = tree(&["x", "y"]);
    let mut b = a.clone();
    let x = a.names["/r/x"];
    b.names.insert("/r/again".to_owned(), x);
    assert_eq!(short(&a, &b), ["created again link"]);
    assert_eq!(short(&b, &a), ["deleted again link"]);
    let mut c = b.clone();
    c.rename("/r/again", "/r/moved");
    assert_eq!(short(&b, &c), ["renamed again -> moved"]);
    c.remove("/r/x");
    c.remove("/r/moved");
    assert_eq!(short(&b, &c), ["deleted again", "deleted x link"]);
    assert_eq!(compared(&b, &c).1.deleted.bytes, -i64::try_from(a.nodes[&x].size).unwrap());
    // Written to: its bytes count once.
    let mut d = b.clone();
    d.nodes.get_mut(&x).unwrap().size += 100;
    assert_eq!((short(&b, &d).len(), compared(&b, &d).1.modified.bytes), (2, 100));
}

#[test]
fn what_finds_no_room_is_told_at_once() {
    let a = tree(&["a", "b", "c"]);
    let mut b = a.clone();
    for (from, to) in [("/r/a", "/r/x"), ("/r/b", "/r/y"), ("/r/c", "/r/z")] {
        b.rename(from, to);
    }
    let [one, other] = same_index();
    let (changes, summary) = told(&a, &b, [&one, &other], 2);
    let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
    assert_eq!(ops, [Op::Deleted, Op::Created, Op::Renamed, Op::Renamed]);
    assert!(!summary.complete);
}
