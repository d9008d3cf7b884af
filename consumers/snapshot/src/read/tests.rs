//! What was written is read back as it was; whatever else a file holds is an error that says so.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::Int32Type;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use record::{Category, Digest, DigestKind, EntryId, Kind, Stat, Time, VolumeId};

use super::*;
use crate::columns::Owners;
use crate::entry::{Entry, Facts, Moment, RootHead};
use crate::error::SnapshotError;
use crate::place::ROWS;
use crate::stream::{Ending, Teller};
use crate::write::{Form, Rows};

const ALL: [Column; 16] = [
    Column::PathRaw,
    Column::TopLevelDir,
    Column::Depth,
    Column::FileType,
    Column::Kind,
    Column::Category,
    Column::Size,
    Column::Allocated,
    Column::Modified,
    Column::Accessed,
    Column::Created,
    Column::Permissions,
    Column::Owners,
    Column::OwnerName,
    Column::Entry,
    Column::Digest,
];

fn moment() -> Moment {
    Moment {
        epoch: "e".repeat(32),
        watermark: 7,
        taken_us: 1_795_000_000_000_000,
        host: "h".into(),
        tool: "indexer 0".into(),
        roots: 1,
        expected: 2,
    }
}

fn entry(text: &str, number: u64) -> Entry<'_> {
    let depth = u32::try_from(text.matches('/').count()).unwrap() - 1;
    let kind = if depth == 0 { Kind::Directory } else { Kind::File };
    let stat = Stat {
        kind,
        mode: 0o640,
        uid: 1000,
        gid: 7,
        links: 2,
        size: number * 1000,
        allocated: 4096,
        modified: Time(1_999_999_999),
        changed: Time(3_000),
        accessed: Time(-1),
        created: number.is_multiple_of(2).then_some(Time(5_000_000_000)),
    };
    let digest = number.is_multiple_of(3).then_some(Digest { kind: DigestKind::Blake3, bytes: [7; 32] });
    let facts = Facts {
        id: EntryId::new(VolumeId(3), u64::MAX - number),
        stat,
        category: (depth > 0).then_some(Category::Other),
        digest,
        digest_time: None,
    };
    Entry { text, raw: (number == 1).then_some(b"/r/\xff"), depth, facts }
}

fn owners() -> Arc<Owners> {
    Arc::new(Owners { users: [(1000, "me".to_owned())].into(), ..Owners::default() })
}

fn written(columns: Columns, paths: &[&str]) -> Vec<u8> {
    let form = Form { columns, threads: NonZeroUsize::MIN, owners: owners() };
    let mut rows = Rows::begin(Vec::new(), &form, &moment(), b"/r").unwrap();
    for (number, path) in (0..).zip(paths) {
        rows.push(&entry(path, number)).unwrap();
    }
    rows.finish().unwrap().0
}

struct Made(#[expect(dead_code, reason = "it removes the folder")] tempfile::TempDir, PathBuf);

fn file(bytes: &[u8]) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    std::fs::write(&path, bytes).unwrap();
    Made(dir, path)
}

/// All rows, or why there are none.
fn read(bytes: &[u8], wanted: &[Column]) -> Result<(Head, Vec<String>), ReadError> {
    let made = file(bytes);
    let mut reader = Reader::open(&made.1, wanted)?;
    let mut rows = Vec::new();
    while let Some(lines) = reader.next_lines()? {
        rows.extend((0..lines.len()).map(|row| format!("{:?}", lines.line(row))));
    }
    Ok((reader.head().clone(), rows))
}

#[test]
fn all_columns_come_back_and_no_others_than_were_asked_for() {
    let bytes = written(Columns::Native, &["/r", "/r/\\xff", "/r/b.TXT"]);
    let (head, rows) = read(&bytes, &ALL).unwrap();
    assert_eq!((head.root.as_str(), head.host.as_str(), head.watermark), ("/r", "h", Some(7)));
    assert_eq!((head.columns, head.taken_us), (Columns::Native, moment().taken_us));
    for (row, parts) in [
        (0, &["kind: Directory", "depth: 0", "created: Some(5000000)", "file_type: Some(\"directory\")"][..]),
        (1, &["raw: Some([47, 114, 47, 255])", "created: None", "digest: None", "modified: Some(1999999)"]),
        (
            2,
            &[
                "size: 2000",
                "file_type: Some(\"txt\")",
                "owner: Some(\"me\")",
                "uid: Some(1000)",
                "links: Some(2)",
            ],
        ),
        (2, &["inode: 18446744073709551613", "volume: Some(3)", "mode: Some(416)", "accessed: Some(-1)"]),
        (0, &["digest: Some(Digest { kind: Blake3", "category: None"]),
    ] {
        for part in parts {
            assert!(rows[row].contains(part), "{part} in {}", rows[row]);
        }
    }
    let (_, rows) = read(&bytes, &[Column::Size]).unwrap();
    assert!(rows[2].contains("size: 2000") && rows[2].contains("modified: None"), "{}", rows[2]);
}

#[test]
fn eleven_columns_say_what_they_can() {
    let (head, rows) = read(&written(Columns::Unix, &["/r", "/r/a"]), &ALL).unwrap();
    assert_eq!(head.columns, Columns::Unix);
    assert!(rows[0].contains("kind: Directory"));
    for part in ["kind: File", "modified: Some(1000000)", "volume: None", "allocated: None", "uid: None"] {
        assert!(rows[1].contains(part), "{part} in {}", rows[1]);
    }
}

#[test]
fn rows_of_an_index_are_those_of_its_snapshot() {
    let paths = ["/r", "/r/\\xff", "/r/b.TXT"];
    let mut bytes = Vec::new();
    let mut emit = |frame: Vec<u8>| {
        bytes.extend(frame);
        true
    };
    let mut teller = Teller::new(&mut emit);
    teller.moment(&moment());
    teller.root(&RootHead { path: b"/r".to_vec(), expected: 2 });
    (0..).zip(paths).for_each(|(number, path)| assert!(teller.row(&entry(path, number))));
    teller.end_root();
    teller.end(Ending::default());
    let mut unframed = Unframed::new(owners());
    let (mut heads, mut rows) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(7) {
        let more = unframed.feed(piece, &mut |part| {
            match part {
                Part::Begin(head) => heads.push(*head),
                Part::Rows(lines) => {
                    rows.extend((0..lines.len()).map(|row| format!("{:?}", lines.line(row))));
                }
            }
            true
        });
        assert!(more.unwrap());
    }
    unframed.finish().unwrap();
    let (head, expected) = read(&written(Columns::Native, &paths), &ALL).unwrap();
    assert_eq!((heads, rows), (vec![head], expected));
    assert!(matches!(Unframed::new(owners()).finish(), Err(SnapshotError::Ended)));
}

#[test]
fn what_is_no_snapshot_is_refused_by_what_it_is() {
    let good = written(Columns::Native, &["/r", "/r/a"]);
    let said = |bytes: &[u8]| read(bytes, &ALL).unwrap_err().to_string();
    for end in [0, 3, 11] {
        assert!(said(&good[..end]).contains("is no Parquet file"), "{end}");
    }
    for end in [12, 100, good.len() - 1] {
        assert!(said(&good[..end]).contains("is cut off"), "{end}");
    }
    assert!(said(b"name,size\n/r,1\n").contains("is no Parquet file"));
    let mut long = good.clone();
    let at = long.len() - 8;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(said(&long).contains("its footer is said to have 4294967295 bytes"));

    let foreign = |pairs: &[(&str, &str)], schema: &str| {
        let pairs = pairs.iter().map(|(key, value)| {
            parquet::file::metadata::KeyValue::new((*key).to_owned(), (*value).to_owned())
        });
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_key_value_metadata(Some(pairs.collect()));
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            column.typed::<Int32Type>().write_batch(&[1], None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.into_inner().unwrap()
    };
    let bare = "message m { required int32 path; }";
    assert!(said(&foreign(&[], bare)).contains("no snapshot of indexer"));
    let mut pairs = vec![("indexer.schema", "2")];
    let newer = said(&foreign(&pairs, bare));
    assert!(newer.contains("version \"2\""), "{newer}");
    pairs[0].1 = "1";
    assert!(said(&foreign(&pairs, bare)).contains("lacks indexer."));
    pairs.extend([("indexer.root", "/r"), ("indexer.host", "h"), ("indexer.epoch", "e")]);
    pairs.extend([("indexer.watermark", "x"), ("indexer.taken_us", "1")]);
    assert!(said(&foreign(&pairs, bare)).contains("indexer.watermark is no number"));
    pairs[4].1 = "9";
    let typed = said(&foreign(&pairs, bare));
    assert!(typed.contains("its column path is of the type Int32"), "{typed}");
    let missing = said(&foreign(&pairs, "message m { required int32 other; }"));
    assert!(missing.contains("it has no column path"), "{missing}");
    assert!(
        Reader::open(Path::new("/nowhere/x"), &ALL)
            .map(|_| ())
            .unwrap_err()
            .to_string()
            .contains("failed to open")
    );
}

#[test]
fn rows_out_of_order_are_said() {
    for paths in [&["/r", "/r/b", "/r/a"][..], &["/r", "/r/a", "/r/a"]] {
        let said = read(&written(Columns::Native, paths), &[]).unwrap_err().to_string();
        assert!(said.contains("order of their paths, at \"/r/a\""), "{said}");
    }
    // Also where a batch ends.
    let mut paths: Vec<String> = (0..=BATCH).map(|number| format!("/r/{number:06}")).collect();
    paths[BATCH] = "/r/000001x".to_owned();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    read(&written(Columns::Native, &paths), &[]).unwrap_err();
}

#[test]
fn folders_are_found_by_day_root_and_host() {
    let dir = tempfile::tempdir().unwrap();
    for (host, root, days) in
        [("h", "%2Fr", &["2026-01-01", "2026-02-01"][..]), ("h", "%2Fa%20b", &["2026-01-01"])]
    {
        for day in days {
            let leaf = dir.path().join(format!("host={host}/root={root}/date={day}"));
            std::fs::create_dir_all(&leaf).unwrap();
            std::fs::write(leaf.join(ROWS), "").unwrap();
        }
    }
    // Begun and not done.
    std::fs::create_dir_all(dir.path().join("host=h/root=%2Fr/date=2026-03-01")).unwrap();
    let days = |found: Vec<Found>| found.into_iter().map(|one| (one.root, one.date)).collect::<Vec<_>>();
    let newest = days(find(dir.path(), Day::Newest, None, None).unwrap());
    assert_eq!(newest, [("/a b".into(), "2026-01-01".into()), ("/r".into(), "2026-02-01".into())]);
    let oldest = days(find(dir.path(), Day::Oldest, Some(b"/r"), None).unwrap());
    let up_to = days(find(dir.path(), Day::UpTo("2026-01-31"), Some(b"/r"), None).unwrap());
    assert_eq!((oldest, up_to.len()), (up_to.clone(), 1));
    let one = find(dir.path(), Day::Of("2026-01-01"), Some(b"/r"), Some("h")).unwrap();
    assert!(one.len() == 1 && one[0].file.ends_with("date=2026-01-01/snapshot.parquet"));
    let said = find(dir.path(), Day::Of("2026-03-01"), Some(b"/r"), None).unwrap_err();
    assert!(said.is_usage() && said.to_string().contains("of 2026-03-01 of the root /r in"), "{said}");
    find(&dir.path().join("none"), Day::Newest, None, None).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes that were turned anywhere, footer and pages alike, end in rows or in an error.
    #[test]
    fn turned_bytes_are_rows_or_an_error(turns in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), near in any::<bool>()) {
        let paths: Vec<String> = (0..50).map(|number| format!("/r/{number:03}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let mut bytes = written(Columns::Native, &paths);
        let length = bytes.len();
        for (at, byte) in turns {
            // Pages are few of the bytes of so small a file.
            let at = if near { at.index(length / 3) } else { at.index(length) };
            bytes[at] = byte;
        }
        let _ = read(&bytes, &ALL);
    }

    #[test]
    fn cut_files_are_errors(end in any::<prop::sample::Index>()) {
        let bytes = written(Columns::Unix, &["/r", "/r/a"]);
        prop_assert!(read(&bytes[..end.index(bytes.len())], &ALL).is_err());
    }
}
