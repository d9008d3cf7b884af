//! Sums of few rows, each of which could be counted wrongly. Another engine adds up whole snapshots in `tests/tests/compare.rs`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use record::{EntryId, Stat, Time, VolumeId};

use super::*;
use crate::columns::Owners;
use crate::entry::{Entry, Facts};

const TAKEN: i64 = 1_000_000_000;

fn head(columns: Columns) -> Head {
    Head {
        root: "/r".into(),
        root_raw: None,
        host: "h".into(),
        epoch: Some("e".into()),
        watermark: Some(1),
        taken_us: TAKEN,
        columns,
    }
}

/// Path, inode, links, size, allocated, modified (µs); a directory ends in a slash.
type Row = (&'static str, u64, u32, u64, u64, i64);

const ROWS: [Row; 7] = [
    ("/r/", 1, 2, 4096, 4096, 0),
    ("/r/a.TXT", 2, 2, 1000, 4096, 0),
    ("/r/d/", 3, 2, 4096, 4096, 0),
    ("/r/d/b.txt", 2, 2, 1000, 4096, 0),
    ("/r/d/hole", 4, 1, 1 << 20, 8192, TAKEN - 5),
    ("/r/d/small.txt", 5, 1, 10, 0, TAKEN - 500),
    ("/r/e", 6, 1, 0, 0, TAKEN),
];

fn lines(rows: &[Row]) -> Lines {
    let owners = Arc::new(Owners { users: [(1, "me".to_owned())].into(), ..Owners::default() });
    let mut gather = Columns::Native.gather("/r", owners);
    for (path, inode, links, size, allocated, modified) in rows {
        let text = path.trim_end_matches('/');
        let kind = if path.ends_with('/') { Kind::Directory } else { Kind::File };
        let stat = Stat {
            kind,
            mode: 0o644,
            uid: if *inode == 6 { 7 } else { 1 },
            gid: 1,
            links: *links,
            size: *size,
            allocated: *allocated,
            modified: Time(i128::from(*modified) * 1000),
            changed: Time(0),
            accessed: Time(0),
            created: None,
        };
        let id = EntryId::new(VolumeId(1), *inode);
        let facts = Facts { id, stat, category: None, digest: None, digest_time: None };
        let depth = u32::try_from(text.matches('/').count()).unwrap() - 1;
        gather.push(&Entry { text, raw: None, depth, facts });
    }
    let batch = RecordBatch::try_new(Columns::Native.schema(), gather.take()).unwrap();
    Lines::new(&batch, Columns::Native).unwrap()
}

fn page(report: Report) -> Page {
    let mut reports = Reports::new(&[report]);
    reports.begin(&head(Columns::Native)).unwrap();
    reports.add(&lines(&ROWS));
    reports.pages().pop().unwrap()
}

/// A page in short, a line a row.
fn short(page: &Page) -> Vec<String> {
    let cell = |cell: &Value| match cell {
        Value::Null => "-".to_owned(),
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
    };
    page.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_file_with_two_names_counts_once() {
    assert_eq!(short(&page(Report::Types)), ["- 2 1048576 8192", "txt 2 1010 4096"]);
    assert_eq!(short(&page(Report::Owners)), ["me 1 3 2 1049586 12288", "7 7 1 0 0 0"]);
    assert_eq!(
        short(&page(Report::Sizes)),
        ["0 0 1 0 0", "1 1024 2 1010 4096", "262145 1048576 1 1048576 8192"]
    );
}

#[test]
fn stale_is_counted_back_from_when_it_was_taken() {
    let stale = |age_us| short(&page(Report::Stale { age_us, accessed: false }));
    assert_eq!(stale(400), ["/r 1 1000 4096 2 1000 0", "/r/d 1 10 0 2 1048586 999999500"]);
    assert_eq!(stale(500)[1..], [] as [&str; 0], "not yet so old");
    assert!(page(Report::Stale { age_us: 1, accessed: true }).notes[0].contains("access time"));
}

#[test]
fn the_parts_of_usage_add_up() {
    let rows = page(Report::Usage).rows;
    let bytes: Vec<i64> = rows.iter().map(|row| row[2].number().unwrap()).collect();
    let [names, again, apparent, less, more, directories, others, allocated] = bytes[..] else {
        panic!("{rows:?}")
    };
    assert_eq!((names, again, apparent), (1_050_586, -1000, 1_049_586));
    assert_eq!((less, more, directories, others), (8192 - (1 << 20) - 10, 3096, 8192, 0));
    assert_eq!(apparent + less + more + directories + others, allocated);
    let once: u64 = [4096, 4096, 4096, 8192].iter().sum();
    assert_eq!(allocated, i64::try_from(once).unwrap(), "each inode once, as du has it");
}

#[test]
fn eleven_columns_do_not_say_all() {
    for (report, says) in
        [(Report::Owners, false), (Report::Usage, false), (Report::Types, true), (Report::Sizes, true)]
    {
        let begun = Reports::new(&[report]).begin(&head(Columns::Unix));
        assert_eq!(begun.is_ok(), says, "{report:?}: {begun:?}");
    }
    Growth::new(By::Owner).begin(&head(Columns::Unix)).unwrap_err();
}

#[test]
fn growth_is_by_what_it_is_parted_by() {
    let grown = |by, before: &[Row], after: &[Row]| {
        let mut growth = Growth::new(by);
        for (side, rows) in [before, after].into_iter().enumerate() {
            growth.begin(&head(Columns::Native)).unwrap();
            growth.add(side, &lines(rows));
        }
        short(&growth.page())
    };
    assert_eq!(grown(By::Directory, &ROWS[..3], &ROWS), ["/r/d 0 1048586 1048586 0 2", "/r 1000 1000 0 1 2"]);
    assert_eq!(grown(By::Type, &ROWS, &ROWS[..1]), ["txt 1010 0 -1010 2 0", "- 1048576 0 -1048576 2 0"]);
}

#[test]
fn sizes_are_parted_without_gap() {
    let mut next = 0;
    for step in 0..=17 {
        let (least, most) = step_ends(step);
        assert_eq!((least, size_step(least)), (next, step));
        if let Some(most) = most {
            assert_eq!((size_step(most), size_step(most + 1)), (step, step + 1));
            next = most + 1;
        }
    }
    assert_eq!(size_step(u64::MAX), 17);
}

#[test]
fn words_without_end_are_told_together() {
    let mut sums = Sums::default();
    for number in 0..sums::MOST + 500 {
        sums.get(&number.to_string()).entries += 1;
    }
    assert!(sums.is_cut());
    assert_eq!(sums.get("(others)").entries, 500);
    assert!(sums.by_key().len() <= sums::MOST + 1);
}

#[test]
fn a_page_is_cut_into_rows_and_the_sum_of_the_rest() {
    let types = page(Report::Types);
    let (rows, rest) = types.cut(1);
    assert_eq!(rows.len(), 1);
    let (left, sums) = rest.unwrap();
    assert_eq!((left, sums), (1, vec![Value::Null, 2_u64.into(), 1010_u64.into(), 4096_u64.into()]));
    assert!(page(Report::Usage).cut(1).1.is_none(), "parts of one sum");
}
