//! What a path says, and times at their ends.

use record::{EntryId, Kind, Stat, Time, VolumeId};

use super::{Columns, Parts, file_type, micros, root_length};
use crate::entry::{Entry, Facts};

fn entry(text: &str, depth: u32, kind: Kind) -> Entry<'_> {
    let stat = Stat {
        kind,
        mode: 0o644,
        uid: 1,
        gid: 2,
        links: 1,
        size: 5,
        allocated: 512,
        modified: Time(0),
        changed: Time(0),
        accessed: Time(0),
        created: None,
    };
    let id = EntryId::new(VolumeId(1), 2);
    Entry {
        text,
        raw: None,
        depth,
        facts: Facts { id, stat, category: None, digest: None, digest_time: None },
    }
}

#[test]
fn a_path_tells_parent_name_and_top_level() {
    for (root, text, depth, kind, expected) in [
        ("/r", "/r", 0, Kind::Directory, ("/", "r", "")),
        ("/r", "/r/a", 1, Kind::Directory, ("/r", "a", "a")),
        ("/r", "/r/a", 1, Kind::File, ("/r", "a", "")),
        ("/r", "/r/a/b", 2, Kind::File, ("/r/a", "b", "a")),
        ("/r/s", "/r/s/a/b/c", 3, Kind::File, ("/r/s/a/b", "c", "a")),
        ("/", "/", 0, Kind::Directory, ("", "/", "")),
        ("/", "/a", 1, Kind::Directory, ("/", "a", "a")),
        ("/", "/a/b", 2, Kind::File, ("/a", "b", "a")),
    ] {
        let entry = entry(text, depth, kind);
        let parts = Parts::of(&entry, root_length(root));
        assert_eq!((parts.parent, parts.name, parts.top_level), expected, "{text}");
    }
}

#[test]
fn the_type_of_a_file_is_its_extension() {
    let lower = &mut String::new();
    for (kind, name, expected) in [
        (Kind::Directory, "a.txt", Some("directory")),
        (Kind::File, "a.TXT", Some("txt")),
        (Kind::File, "a.tar.gz", Some("gz")),
        (Kind::Symlink, "a.so", Some("so")),
        (Kind::File, ".hidden", None),
        (Kind::File, "ends.", None),
        (Kind::File, "none", None),
        (Kind::File, "a.Ü", Some("Ü")),
    ] {
        assert_eq!(file_type(kind, name, lower), expected, "{name}");
    }
}

#[test]
fn times_are_rounded_down_and_none_where_they_do_not_fit() {
    let most = i128::from(i64::MAX) * 1000;
    for (ns, expected) in [
        (0, Some(0)),
        (999, Some(0)),
        (-1, Some(-1)),
        (-1000, Some(-1)),
        (most - 1, Some(i64::MAX - 1)),
        (most, None),
        (-most, None),
        (-most + 1000, Some(-i64::MAX + 1)),
        (i128::MAX, None),
        (i128::MIN, None),
    ] {
        assert_eq!(micros(Time(ns)), expected, "{ns}");
    }
}

#[test]
fn columns_fit_their_schema() {
    for columns in [Columns::Native, Columns::Unix] {
        let mut gather = columns.gather("/r", Default::default());
        gather.push(&entry("/r/a", 1, Kind::File));
        let arrays = gather.take();
        let batch = arrow_array::RecordBatch::try_new(columns.schema(), arrays).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, columns.specs().len()));
        assert_eq!(gather.take()[0].len(), 0, "it begins anew");
    }
}
