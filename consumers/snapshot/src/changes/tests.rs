//! Files of changes: what they are called, in what order they stand, and what is wrong with them.

use record::wire::v1::Change;
use serde_json::json;

use super::*;
use crate::manifest::Manifest;

const EPOCH: &str = "0123456789abcdef0123456789abcdef";

fn moment(watermark: u64, taken_us: i64) -> Moment {
    let word = str::to_owned;
    Moment {
        epoch: word(EPOCH),
        watermark,
        taken_us,
        host: word("na s"),
        tool: word("t"),
        roots: 1,
        expected: 0,
    }
}

fn change(seq: u64) -> Change {
    let line = json!({
        "seq": seq, "op": "gap", "path": "/r", "root": "/r", "seen_ns": 5_999, "how": "sweep", "complete": true,
        "why": "somebody slept",
    });
    serde_json::from_value(line).unwrap()
}

fn begin(top: &Path, moment: &Moment, after: u64) -> Result<Writer, SnapshotError> {
    Writer::begin(Claim::new(top, moment)?, moment, after)
}

fn put(top: &Path, after: u64, moment: &Moment) -> Put {
    let mut writer = begin(top, moment, after).unwrap();
    for seq in after + 1..=moment.watermark {
        assert_eq!(writer.push(change(seq)).unwrap(), seq < moment.watermark);
    }
    writer.finish().unwrap()
}

fn manifest() -> Manifest {
    let manifest = json!({
        "format": 1, "schema": "s", "tool": "t", "host": "na s", "root": "/r", "epoch": EPOCH, "watermark": 3, "taken_us": 0,
        "rows": 0, "bytes": 0, "files": [],
    });
    serde_json::from_value(manifest).unwrap()
}

const DAY: i64 = 86_400_000_000;

#[test]
fn each_goes_on_where_the_last_one_ended() {
    let top = tempfile::tempdir().unwrap();
    let first = put(top.path(), 3, &moment(9, 0));
    put(top.path(), 9, &moment(10_000, DAY));
    let spans = files(top.path(), Some("na s")).unwrap();
    assert_eq!(spans.iter().map(|span| (span.after, span.upto)).collect::<Vec<_>>(), [(3, 9), (9, 10_000)]);
    assert_eq!((first.records, &first.file), (6, &spans[0].file));
    assert_eq!(fs::read(&first.file).unwrap().len() as u64, first.bytes);
    assert!(verify(&spans).is_empty(), "{:?}", verify(&spans));
    assert!(files(top.path(), Some("other")).unwrap().is_empty());
    assert!(files(&top.path().join("none"), None).unwrap().is_empty());

    let day =
        |text: &str| Shelved { folder: "f".into(), date: text.parse().unwrap(), manifest: Ok(manifest()) };
    let days = [day("1970-01-01"), day("1970-01-02")];
    let spare = |daily| super::spare(&spans, &days, Keep { daily, ..Keep::default() });
    assert!(spare(2).is_empty());
    assert_eq!(spare(1), [&spans[0]]);
    assert!(super::spare(&spans, &[], Keep::default()).is_empty(), "nothing goes where there is no snapshot");
    remove(&spare(0)).unwrap();
    assert_eq!(files(top.path(), None).unwrap(), spans[1..]);
    assert!(!first.file.parent().unwrap().try_exists().unwrap(), "an empty day is left");
}

#[test]
fn what_is_missing_is_told() {
    let top = tempfile::tempdir().unwrap();
    let short = put(top.path(), 0, &moment(5, 0)).file;
    put(top.path(), 7, &moment(8, 0));
    let wrong = verify(&files(top.path(), None).unwrap());
    assert!(
        wrong.len() == 1 && wrong[0].contains("after seq 7") && wrong[0].ends_with("ends at 5"),
        "{wrong:?}"
    );
    fs::rename(&short, short.with_file_name(format!("{EPOCH}-0-7.parquet"))).unwrap();
    let wrong = verify(&files(top.path(), None).unwrap());
    assert!(wrong.len() == 1 && wrong[0].contains("before seq 6"), "{wrong:?}");
    fs::write(short.with_file_name(format!("{EPOCH}-0-7.parquet")), "PAR1").unwrap();
    assert_eq!(verify(&files(top.path(), None).unwrap()).len(), 1);
}

#[test]
fn a_hole_or_an_early_end_leaves_no_file() {
    let top = tempfile::tempdir().unwrap();
    let mut writer = begin(top.path(), &moment(5, 0), 0).unwrap();
    assert!(writer.push(change(1)).unwrap());
    assert!(matches!(writer.push(change(3)), Err(SnapshotError::Ended)));
    assert!(matches!(writer.finish(), Err(SnapshotError::Ended)));
    assert!(files(top.path(), None).unwrap().is_empty());
    let writer = begin(top.path(), &moment(5, 0), 0).unwrap();
    for (moment, after) in [(moment(6, 0), 0), (moment(6, DAY), 0), (moment(6, 0), 3)] {
        let refused = begin(top.path(), &moment, after);
        assert!(matches!(refused, Err(SnapshotError::Busy(_))), "{after}, {}", moment.taken_us);
    }
    drop(writer);
    put(top.path(), 0, &moment(6, 0));
    put(top.path(), 6, &moment(8, DAY));
}

#[test]
fn other_names_are_passed_over() {
    for name in [
        format!("{EPOCH}-1-2.parquet"),
        format!("{EPOCH}-000000000001-000000000002.parquet"),
        format!("{EPOCH}-2-2.parquet"),
        format!("{EPOCH}-1-2-3.parquet"),
        format!(".{EPOCH}-1.parquet.partial"),
        "epoch-1-2.parquet".to_owned(),
    ] {
        let is = spanned(Path::new(&name)).is_some();
        assert_eq!(is, name.starts_with(EPOCH) && !name.contains("2-2") && !name.contains("-3"), "{name}");
    }
}
