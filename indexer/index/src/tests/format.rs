//! The bytes of format 1, as `docs/formats/index.md` draws them. A test that fails here means a new format
//! version, not new bytes in the test.

use record::{
    Body, Category, Change, Digest, DigestKind, How, Kind, Op, Place, Record, RootId, Row, Seq, Stat, State,
    StoredDigest, Time, Totals,
};

use super::make::id;
use crate::fuzz;
use crate::row_code::{put_totals, totals};

fn stat() -> Stat {
    Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        links: 2,
        size: 5000,
        allocated: 8192,
        modified: Time(1_700_000_000_000_000_000),
        changed: Time(1_700_000_000_000_000_001),
        accessed: Time(1_700_000_000_000_000_001),
        created: Some(Time(1_699_999_999_000_000_001)),
    }
}

fn row() -> Row {
    let digest = Digest { kind: DigestKind::Blake3, bytes: [0xab; 32] };
    Row {
        stat: stat(),
        place: Some(Place::new(id(300), b"n\xff")),
        many_names: true,
        looked_at: Time(1_700_000_001_000_000_000),
        writing: true,
        digest: Some(StoredDigest {
            digest,
            size: 5000,
            modified: stat().modified,
            changed: stat().changed,
            carried: false,
        }),
        magic: None,
    }
}

fn record() -> Record {
    let change = Change {
        entry: id(301),
        birth: stat().created,
        op: Op::Renamed,
        at: Some(Place::new(id(300), b"b")),
        old: Some(Place::new(id(302), b"a")),
        before: None,
        after: Some(State { stat: stat(), digest: None, category: None }),
        parents: vec![(id(300), Stat { kind: Kind::Directory, created: None, ..stat() })],
        complete: true,
        pair: Some(Seq(8)),
        path: (*b"/r/b").into(),
        old_path: Some((*b"/r/a").into()),
    };
    let body = Body::Change(Box::new(change));
    Record { seq: Seq(7), seen: Time(-1), how: How::Fanotify, root: RootId(1), body }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_row_has_these_bytes() {
    let bytes = fuzz::put_row(id(301), &row());
    assert_eq!(hex(&bytes), ROW);
    assert_eq!(fuzz::row(id(301), &bytes), Ok(row()));
}

/// What was written before there were categories is read as it was, and a category is one byte more.
#[test]
fn a_category_is_a_flag_and_a_byte() {
    let row = Row { magic: Some(Category::Archive), ..row() };
    let bytes = fuzz::put_row(id(301), &row);
    assert_eq!(hex(&bytes), ROW.replacen("78", "f8", 1) + "04");
    assert_eq!(fuzz::row(id(301), &bytes), Ok(row));
    let mut bytes = bytes;
    *bytes.last_mut().unwrap() = 7;
    assert!(fuzz::row(id(301), &bytes).is_err(), "no category has this number");

    let mut record = record();
    let Body::Change(change) = &mut record.body else { panic!("a change") };
    change.after.as_mut().unwrap().category = Some(Category::Photo);
    let bytes = fuzz::put_records(&[record.clone()]);
    let (stat, end) = ("80a403e80764028827", "ffa7d6b907");
    let expected =
        BLOCK.replacen(stat, &stat.replacen("80", "90", 1), 1).replacen(end, &format!("{end}00"), 1);
    assert_eq!(hex(&bytes), expected);
    assert_eq!(fuzz::records(Seq(7), &bytes), Ok(vec![record]));
}

#[test]
fn totals_have_these_bytes() {
    let value = Totals { files: 300, directories: 2, bytes: 5000, allocated: 8192, newest: Time(-64) };
    let mut bytes = Vec::new();
    put_totals(&mut bytes, &value);
    assert_eq!(hex(&bytes), "ac02".to_owned() + "02" + "8827" + "10" + "7f");
    assert_eq!(totals(&bytes), Ok(value));
}

#[test]
fn a_block_has_these_bytes() {
    let bytes = fuzz::put_records(&[record()]);
    assert_eq!(hex(&bytes), BLOCK);
    assert_eq!(fuzz::records(Seq(7), &bytes), Ok(vec![record()]));
}

/// A group of fields a line.
#[rustfmt::skip]
const ROW: &str = concat!(
    "78", // flags: first name, several names, writing, digest
    "80", // kind 0, birth known
    "a403", "e807", "64", "02", "8827", "10", // mode, uid, gid, links, size, blocks
    "8280d0e2c6bfce972f", // changed
    "01", "00", "ffa7d6b907", // modified, accessed, birth, as differences to it
    "d0afabfef962", // looked at, in milliseconds
    "00", "01", "02", "6eff", // directory as a difference, name
    "00", "abababababababababababababababababababababababababababababababab", // digest
    "8827", "8080d0e2c6bfce972f", "8280d0e2c6bfce972f", // size and times it was taken at
);

/// A group of fields a line.
#[rustfmt::skip]
const BLOCK: &str = concat!(
    "01", "01", // one record; the first seen at -1
    "00", "00", "01", // how, seen as a difference, root
    "00", "03", "f7", // a change: op, flags
    "01", "ad02", // entry
    "82d8f9a8bfbfce972f", // birth
    "00", "01", "01", "62", // directory as a difference to the entry, new name
    "00", "02", "01", "61", // old directory and name
    "80", "a403", "e807", "64", "02", "8827", "10", "8280d0e2c6bfce972f", "01", "00", "ffa7d6b907", // after
    "01", "00", "01", // one parent
    "01", "a403", "e807", "64", "02", "8827", "10", "8280d0e2c6bfce972f", "01", "00", // its stat
    "02", // pair: the next seq
    "00", "04", "2f722f62", // path
    "03", "01", "61", // old path: three bytes shared
);
