//! Directories told by several threads at once: all rows of each are in one chunk, chunks end when they are full or their time is over,
//! and what is said of directories is what is in the chunks.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use record::{EntryId, VolumeId};
use serde_json::Map;

use super::{Begin, Chunks, Collector, Names, OneFile, Output, Pace, Way};
use crate::columns::{Columns, Owners};
use crate::entry::{Entry, Facts, Moment};
use crate::error::SnapshotError;
use crate::sort::NOTHING;
use crate::write::Form;

fn output() -> Output {
    let moment = Moment {
        epoch: String::new(),
        watermark: 0,
        taken_us: 1,
        host: "h".into(),
        tool: "t".into(),
        roots: 1,
        expected: 0,
    };
    let (threads, owners) = (NonZeroUsize::MIN, Arc::new(Owners::default()));
    let form = Form { columns: Columns::Native, threads, owners };
    Output { form, moment, root: b"/r".to_vec(), batch: NonZeroUsize::new(7).unwrap() }
}

fn names(folder: &Path) -> Names {
    Names::new(&folder.join("x.parquet")).unwrap()
}

fn begin(folder: &Path, how: Begin) -> Result<Chunks, SnapshotError> {
    Chunks::begin(names(folder), output(), Map::new(), how)
}

/// Says that `rows` names are in the directory `dir` of the root.
fn tell(collector: &Collector, dir: &str, rows: usize, way: Way) -> bool {
    let mut unit = collector.unit();
    for number in 0..rows {
        let text = format!("/r/{dir}/{number}");
        let facts = Facts { id: EntryId::new(VolumeId(1), number as u64), ..NOTHING };
        unit.push(&Entry { text: &text, raw: None, depth: 2, facts }).unwrap();
    }
    collector.listed(dir.as_bytes(), way, &mut unit)
}

/// The paths in a file, in order.
fn paths(file: &Path) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap()).unwrap();
    let mut paths = Vec::new();
    for batch in reader.build().unwrap() {
        paths.extend(batch.unwrap().column(0).as_string::<i32>().iter().map(|path| path.unwrap().to_owned()));
    }
    assert!(paths.is_sorted());
    paths
}

#[test]
fn many_threads_tell_and_each_directory_is_in_one_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { rows: 50, interval: Duration::from_secs(3600) };
    let chunks = begin(folder.path(), Begin::Anew { over: false }).unwrap();
    let collector = Collector::chunks(chunks, folder.path(), pace).unwrap();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let collector = &collector;
            threads.spawn(move || {
                for dir in 0..25 {
                    let name = format!("{thread}-{dir}");
                    // Now and then one that is too large for memory, as that is for tests.
                    let rows = if dir % 9 == 8 { 300 } else { dir };
                    assert!(tell(collector, &name, rows, Way::Whole));
                }
            });
        }
    });
    let done = collector.finish(true).unwrap();
    let mut home = BTreeMap::new();
    let mut rows = 0;
    for (at, chunk) in done.files.iter().enumerate() {
        let paths = paths(&names(folder.path()).chunk(at as u64 + 1));
        assert_eq!(paths.len() as u64, chunk.rows);
        assert!(chunk.rows >= 50 || at + 1 == done.files.len(), "only the last is not full");
        rows += paths.len();
        for path in paths {
            let dir = path.split('/').nth(2).unwrap().to_owned();
            assert_eq!(*home.entry(dir).or_insert(at), at, "{path} is in two chunks");
        }
    }
    let wanted: usize = (0..25).map(|dir| if dir % 9 == 8 { 300 } else { dir }).sum();
    assert_eq!(rows, 4 * wanted);
    let again = begin(folder.path(), Begin::GoOn).unwrap();
    assert!(again.is_completed());
    assert_eq!(again.frontier().len(), 100);
}

#[test]
fn a_chunk_ends_with_its_time_and_without_rows_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { rows: 1000, interval: Duration::ZERO };
    let chunks = begin(folder.path(), Begin::Anew { over: false }).unwrap();
    let collector = Collector::chunks(chunks, folder.path(), pace).unwrap();
    assert!(collector.tick());
    for dir in ["a", "b"] {
        assert!(tell(&collector, dir, 3, Way::Listed));
        assert!(collector.tick() && collector.tick());
    }
    let done = collector.finish(false).unwrap();
    assert_eq!(done.files.iter().map(|chunk| chunk.rows).collect::<Vec<_>>(), [3, 3]);
    // It was not the end, and the next run knows how far it was.
    let chunks = begin(folder.path(), Begin::GoOn).unwrap();
    assert!(!chunks.is_completed());
    assert_eq!((chunks.frontier().way(b"a"), chunks.frontier().way(b"c")), (Some(Way::Listed), None));
    assert!(matches!(begin(folder.path(), Begin::GoOn), Err(SnapshotError::Busy(_))), "two at once");
    let collector = Collector::chunks(chunks, folder.path(), pace).unwrap();
    assert!(tell(&collector, "c", 2, Way::Whole));
    collector.whole(b"a");
    let done = collector.finish(true).unwrap();
    assert_eq!(done.files.len(), 3);
    assert_eq!(paths(&names(folder.path()).chunk(3)), ["/r/c/0", "/r/c/1"]);
    assert_eq!(begin(folder.path(), Begin::GoOn).unwrap().frontier().way(b"a"), Some(Way::Whole));
}

#[test]
fn a_chunk_that_nobody_names_is_written_again_and_anothers_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Pace { rows: 1, interval: Duration::from_secs(3600) };
    let names = names(folder.path());
    let write = |dirs: &[&str], how| {
        let collector = Collector::chunks(begin(folder.path(), how).unwrap(), folder.path(), pace).unwrap();
        for dir in dirs {
            assert!(tell(&collector, dir, 2, Way::Whole));
        }
        collector.finish(false).unwrap()
    };
    write(&["a"], Begin::Anew { over: false });
    // Killed between the chunk and the manifest.
    let manifest = fs::read(names.manifest()).unwrap();
    write(&["b"], Begin::GoOn);
    fs::write(names.manifest(), manifest).unwrap();
    assert_eq!(paths(&names.chunk(2)).len(), 2);
    assert!(begin(folder.path(), Begin::GoOn).unwrap().frontier().way(b"b").is_none());
    assert!(!names.chunk(2).try_exists().unwrap(), "what it holds is told again");
    write(&["b"], Begin::GoOn);
    // One of another scan in that place.
    let other = tempfile::tempdir().unwrap();
    let chunks = begin(other.path(), Begin::Anew { over: false }).unwrap();
    let collector = Collector::chunks(chunks, other.path(), pace).unwrap();
    assert!(tell(&collector, "z", 5, Way::Whole));
    collector.finish(true).unwrap();
    fs::copy(other.path().join("x_chunk_0001.parquet"), names.chunk(3)).unwrap();
    assert!(matches!(begin(folder.path(), Begin::GoOn), Err(SnapshotError::Exists(_))));
    assert_eq!(paths(&names.chunk(3)).len(), 5);
    begin(folder.path(), Begin::Anew { over: true }).unwrap();
    assert!(!names.chunk(1).try_exists().unwrap() && !names.chunk(3).try_exists().unwrap());
}

#[test]
fn one_file_is_there_when_it_is_whole_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let names = names(folder.path());
    let begin = |stop: &Arc<AtomicBool>| {
        let file = OneFile::begin(&names, output(), false, Arc::clone(stop)).unwrap();
        let collector = Collector::one(file, folder.path()).unwrap();
        for dir in 0..40 {
            assert!(tell(&collector, &format!("{dir}"), 40, Way::Whole));
        }
        collector
    };
    let going = Arc::new(AtomicBool::new(false));
    assert!(begin(&going).finish(false).unwrap().files.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let said = begin(&Arc::new(AtomicBool::new(true))).finish(true);
    assert!(matches!(said, Err(SnapshotError::Stopped)), "{said:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let done = begin(&going).finish(true).unwrap();
    assert_eq!((done.files[0].rows, paths(&names.file()).len()), (1600, 1600));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
