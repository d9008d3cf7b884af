//! Bytes out, the same values in; and no bytes make a decoder panic or reserve what is not there.

use proptest::prelude::*;
use record::{EntryId, Seq};

use super::make;
use crate::fuzz;
use crate::journal_code::{BLOCK_RECORDS, header};
use crate::roots::{Blind, RootRow, VolumeRow, blind, put_blind, put_root, put_volume, root, volume};
use crate::row_code::{put_totals, totals};

proptest! {
    #[test]
    fn rows_come_back(id in make::entry(), row in make::row()) {
        prop_assert_eq!(fuzz::row(id, &fuzz::put_row(id, &row)), Ok(row));
    }

    #[test]
    fn totals_come_back(value in make::totals()) {
        let mut bytes = Vec::new();
        put_totals(&mut bytes, &value);
        prop_assert_eq!(totals(&bytes), Ok(value));
    }

    #[test]
    fn journal_blocks_come_back(records in make::records()) {
        let bytes = fuzz::put_records(&records);
        prop_assert_eq!(header(&bytes), Ok((records.len() as u64, records[0].seen)));
        prop_assert_eq!(fuzz::records(records[0].seq, &bytes), Ok(records));
    }

    #[test]
    fn roots_and_volumes_come_back(
        top in make::entry(),
        path in make::name(),
        rules in any::<String>(),
        verified in make::time(),
        lost in prop::option::of(any::<String>()),
        uuid in prop::option::of(any::<[u8; 16]>()),
        numbers in any::<[u64; 3]>(),
        seeded in prop::option::of(1..u64::MAX),
    ) {
        let id = record::RootId(7);
        let row = RootRow { id, path: path.clone(), top, seeded: seeded.map(Seq), rules: rules.clone(), verified, lost };
        prop_assert_eq!(root(id, &put_root(&row)), Ok(row));
        let [fsid, subvolume, root_inode] = numbers;
        let root_created = seeded.map(|_| verified);
        let row = VolumeRow { fs_type: rules.clone(), uuid, fsid, subvolume, source: path, root_inode, root_created };
        prop_assert_eq!(volume(&put_volume(&row)), Ok(row));
        let row = Blind { since: verified, why: rules };
        prop_assert_eq!(blind(&put_blind(&row)), Ok(row));
    }

    #[test]
    fn any_bytes_decode_or_fail(id in make::entry(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(id, &bytes);
    }

    /// Valid bytes with a few of them changed, cut or repeated get deeper into a decoder than noise does.
    #[test]
    fn damaged_bytes_decode_or_fail(
        id in make::entry(),
        row in make::row(),
        records in make::records(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [fuzz::put_row(id, &row), fuzz::put_records(&records)] {
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            decode_all(id, &bytes);
            bytes.truncate(cut.index(bytes.len()));
            decode_all(id, &bytes);
            bytes.extend_from_within(..);
            decode_all(id, &bytes);
        }
    }
}

/// What decodes must encode to something that decodes to the same: nothing is half understood.
fn decode_all(id: EntryId, bytes: &[u8]) {
    if let Ok(row) = fuzz::row(id, bytes) {
        assert_eq!(fuzz::row(id, &fuzz::put_row(id, &row)), Ok(row));
    }
    if let Ok(records) = fuzz::records(Seq(5), bytes) {
        assert_eq!(fuzz::records(Seq(5), &fuzz::put_records(&records)), Ok(records));
    }
    let _ = header(bytes);
    let _ = totals(bytes);
    let _ = volume(bytes);
    let _ = blind(bytes);
    let _ = root(record::RootId(1), bytes);
    let _ = crate::roots::detached(bytes);
}

/// A count or a length that promises 2^60 things reserves no memory for them: a process that did would
/// be killed here.
#[test]
fn a_huge_count_reserves_nothing() {
    let huge = |out: &mut Vec<u8>| crate::bytes::put(out, 1 << 60);
    let mut block = Vec::new();
    huge(&mut block);
    block.extend([0; 40]);
    assert!(fuzz::records(Seq(1), &block).is_err());
    assert!(header(&block).is_err(), "a count that no block has");
    let mut none = vec![0];
    none.extend([0; 40]);
    assert!(header(&none).is_err(), "a block without records");
    // A length inside: the path of a root, the parents of a change.
    let mut bytes = Vec::new();
    huge(&mut bytes);
    bytes.extend([7; 40]);
    assert!(root(record::RootId(1), &bytes).is_err());
    let mut change = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 9];
    huge(&mut change);
    change.extend([0; 60]);
    assert!(fuzz::records(Seq(1), &change).is_err());
    assert_eq!(BLOCK_RECORDS, 256, "drawn in docs/formats/index.md");
}
