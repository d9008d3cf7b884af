//! Whatever comes, in whatever order and however many runs it takes, comes out once and in order.

use proptest::prelude::*;
use record::{EntryId, VolumeId};

use super::run::NOTHING;
use super::{Arena, Sorted};
use crate::entry::{Entry, Facts};

type Row = (String, Option<Vec<u8>>, u32, u64);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Few letters, so that many begin alike; some long, so that a frame holds only few of them.
    let text = prop_oneof![9 => "(/[ab!ü]{1,3}){1,4}", 1 => "/[a-z]{200,900}"];
    let row = (text, any::<Option<Vec<u8>>>(), any::<u32>(), any::<u64>());
    prop::collection::vec(row, 0..200)
}

fn facts(inode: u64) -> Facts {
    Facts { id: EntryId::new(VolumeId(1), inode), ..NOTHING }
}

proptest! {
    #[test]
    fn all_rows_come_out_in_order(rows in rows(), parts in prop::collection::vec(1_usize..20, 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorted = Sorted::new(folder.path());
        let (mut arena, mut other) = (Arena::default(), Arena::default());
        let mut left = parts.iter().cycle();
        let mut until = 0;
        for (at, (text, raw, depth, inode)) in rows.iter().enumerate() {
            let entry = Entry { text, raw: raw.as_deref(), depth: *depth, facts: facts(*inode) };
            // By both ways into the arena.
            if at % 2 == 0 { other.push(&entry) } else { arena.push(&entry) }
            if at >= until {
                arena.append(&mut other);
                sorted.add(&mut arena).unwrap();
                assert!(arena.is_empty() && other.is_empty());
                until = at + left.next().unwrap();
            }
        }
        arena.append(&mut other);
        sorted.add(&mut arena).unwrap();
        prop_assert_eq!(sorted.is_empty(), rows.is_empty());
        let mut out: Vec<Row> = Vec::new();
        sorted.merge().unwrap().each(&mut |entry| {
            assert_eq!(entry.facts, facts(entry.facts.id.inode));
            out.push((entry.text.to_owned(), entry.raw.map(<[u8]>::to_vec), entry.depth, entry.facts.id.inode));
            Ok(())
        }).unwrap();
        prop_assert!(out.is_sorted_by(|one, next| one.0 <= next.0));
        out.sort();
        let mut expected = rows;
        expected.sort();
        prop_assert_eq!(out, expected);
        // Nothing of it is left, even while it is there.
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let mut arena = Arena::default();
    arena.push(&Entry { text: "/a", raw: None, depth: 0, facts: facts(1) });
    let said = Sorted::new(&missing).add(&mut arena).unwrap_err().to_string();
    assert!(said.contains("missing") && said.contains("No such file"), "{said}");
}
