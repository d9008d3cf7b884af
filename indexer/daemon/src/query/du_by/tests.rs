//! Sums by category are true of the totals of every directory, wherever names of one file lie; and so is `find --category`.

use index::Edits;
use record::{EntryId, Kind, VolumeId};

use super::*;
use crate::query::testing::{Leaf, Made, made};
use crate::query::{FindRequest, du, find};

/// Files of 7 have a name in each directory, the least of them (in `a`, the lower number) a photo's.
const TREE: &[Leaf<'_>] = &[
    (b"a", 10, Kind::Directory, 1),
    (b"b", 20, Kind::Directory, 2),
    (b"b/deep", 30, Kind::Directory, 3),
    (b"a/x.jpg", 7, Kind::File, 100_000),
    (b"a/y.pdf", 7, Kind::File, 100_000),
    (b"b/w.mp3", 7, Kind::File, 100_000),
    (b"b/deep/v.rs", 7, Kind::File, 100_000),
    (b"b/one.TXT", 41, Kind::File, 10_000),
    (b"b/deep/two.mkv", 42, Kind::File, 50_000),
    (b"b/deep/link.mkv", 43, Kind::Symlink, 9),
    (b"README", 44, Kind::File, 5000),
    (b"c.tar.gz", 45, Kind::File, 30_000),
    // Counts in `b`, where both its names are.
    (b"b/p.png", 46, Kind::File, 20_000),
    (b"b/q.gif", 46, Kind::File, 20_000),
];

fn sums(made: &Made, path: &str, exact: bool) -> Vec<(String, u64, u64)> {
    let request = DuRequest {
        path: Some(path.into()),
        exact: Some(exact),
        by: Some("category".into()),
        ..DuRequest::default()
    };
    let mut sums = Vec::new();
    du_by(&made.reader(), &request, &mut |sum| {
        assert_eq!(sum.path, path);
        sums.push((sum.category.unwrap_or_else(|| "-".into()), sum.files + sum.directories, sum.bytes));
        true
    })
    .unwrap();
    sums
}

fn found(made: &Made, category: &str) -> Vec<String> {
    let request = FindRequest { category: Some(category.into()), ..FindRequest::default() };
    let mut paths = Vec::new();
    find(&made.reader(), &request, &mut |entry| {
        paths.push(entry.path);
        true
    })
    .unwrap();
    paths
}

#[test]
fn sums_by_category_are_the_totals_of_every_directory() {
    let made = made(b"/r", TREE);
    let reader = made.reader();
    for path in ["/r", "/r/a", "/r/b", "/r/b/deep", "/r/b/one.TXT", "/r/b/w.mp3"] {
        for exact in [false, true] {
            let request = DuRequest { path: Some(path.into()), exact: Some(exact), ..DuRequest::default() };
            let mut whole = None;
            du(&reader, &request, &mut |du| {
                whole.get_or_insert((du.files + du.directories, du.bytes));
                true
            })
            .unwrap();
            let sums = sums(&made, path, exact);
            let added = sums.iter().fold((0, 0), |(count, bytes), sum| (count + sum.1, bytes + sum.2));
            assert_eq!(Some(added), whole, "{path}, exact: {exact}: {sums:?}");
        }
    }
}

#[test]
fn a_file_counts_once_and_is_of_one_category() {
    let made = made(b"/r", TREE);
    let sum = |category: &str, count, bytes| (category.to_owned(), count, bytes);
    assert_eq!(
        sums(&made, "/r", false),
        [
            sum("photo", 2, 120_000),
            sum("video", 1, 50_000),
            sum("archive", 1, 30_000),
            sum("document", 1, 10_000),
            sum("other", 1, 5000),
            sum("-", 5, 15),
        ],
        "largest first; directories and links are no files"
    );
    assert_eq!(sums(&made, "/r", true), sums(&made, "/r", false));
    // The large one counts in `a`.
    let deep = [sum("video", 1, 50_000), sum("-", 2, 12)];
    assert_eq!(sums(&made, "/r/b/deep", false), deep);
    let exact = sums(&made, "/r/b/deep", true);
    assert_eq!(exact[0], sum("photo", 1, 100_000), "and it is a photo wherever it is met");
    assert_eq!(exact[1..], deep);
    assert_eq!(sums(&made, "/r/b/w.mp3", false), [sum("photo", 1, 100_000)]);

    assert_eq!(found(&made, "music"), Vec::<String>::new());
    let photos = ["/r/a/x.jpg", "/r/a/y.pdf", "/r/b/deep/v.rs", "/r/b/p.png", "/r/b/q.gif", "/r/b/w.mp3"];
    assert_eq!(found(&made, "photo"), photos);
    let several = found(&made, "document,other,photo");
    assert_eq!(several.len(), photos.len() + 2);
    assert!(
        several.contains(&"/r/README".to_owned()) && !several.contains(&"/r/b".to_owned()),
        "{several:?}"
    );
}

#[test]
fn first_bytes_that_are_stored_count_where_the_name_says_nothing() {
    let made = made(b"/r", TREE);
    for inode in [44, 45] {
        let id = EntryId::new(VolumeId(1), inode);
        let mut row = made.reader().row(id).unwrap().unwrap();
        row.magic = Some(Category::Video);
        let mut edits = Edits::default();
        edits.plan.rows.push((id, Some(row)));
        made.index.commit(edits).unwrap();
    }
    assert_eq!(found(&made, "video"), ["/r/README", "/r/b/deep/two.mkv"]);
    assert_eq!(found(&made, "other"), Vec::<String>::new());
    assert_eq!(sums(&made, "/r", false)[1], ("video".to_owned(), 2, 55_000));
}

#[test]
fn what_is_no_sort_of_sums_is_said() {
    let made = made(b"/r", TREE);
    let ask = |request: DuRequest| du_by(&made.reader(), &request, &mut |_| true).unwrap_err().to_string();
    assert!(ask(DuRequest { by: Some("owner".into()), ..DuRequest::default() }).contains("write category"));
    let by = Some("category".to_owned());
    assert!(ask(DuRequest { by: by.clone(), depth: Some(1), ..DuRequest::default() }).contains("leave out"));
    assert!(
        ask(DuRequest { by, path: Some("/x".into()), ..DuRequest::default() }).contains("not in the index")
    );
    let request = FindRequest { category: Some("photo,vidoe".into()), ..FindRequest::default() };
    let error = find(&made.reader(), &request, &mut |_| true).unwrap_err().to_string();
    assert!(error.contains("\"vidoe\"") && error.contains("photo video music"), "{error}");
}
