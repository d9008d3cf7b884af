//! Questions over a small index: order, tests, limits, sums.

use super::testing::{Leaf, made};
use super::*;
use record::Kind;

const TREE: &[Leaf<'_>] = &[
    (b"b", 10, Kind::Directory, 1),
    (b"b/two.RS", 11, Kind::File, 5000),
    (b"b/deep", 12, Kind::Directory, 2),
    (b"b/deep/\xff\n", 13, Kind::File, 70),
    (b"b.txt", 14, Kind::File, 10),
    (b"a", 15, Kind::Symlink, 3),
    (b"c", 16, Kind::Directory, 4),
    (b"c/linked", 17, Kind::File, 100_000),
    (b"b/linked", 17, Kind::File, 100_000),
    (b"c/again", 17, Kind::File, 100_000),
];

fn found(request: &FindRequest) -> Vec<String> {
    let made = made(b"/r", TREE);
    let mut paths = Vec::new();
    find(&made.reader(), request, &mut |entry| {
        paths.push(entry.path);
        true
    })
    .unwrap();
    paths
}

fn all() -> FindRequest {
    FindRequest { path: Some("/r".into()), ..FindRequest::default() }
}

#[test]
fn find_goes_depth_first_with_names_in_byte_order() {
    let expected = [
        "/r",
        "/r/a",
        "/r/b",
        "/r/b/deep",
        "/r/b/deep/\u{fffd}\n",
        "/r/b/linked",
        "/r/b/two.RS",
        "/r/b.txt",
        "/r/c",
        "/r/c/again",
        "/r/c/linked",
    ];
    assert_eq!(found(&all()), expected);
    assert_eq!(found(&FindRequest::default()), expected, "no path means all roots");
    assert_eq!(found(&FindRequest { path: Some("/r/b/deep".into()), ..all() }), expected[3..5]);
    assert_eq!(found(&FindRequest { path: Some("/r/b.txt".into()), ..all() }), expected[7..8]);
}

#[test]
fn each_test_of_find_leaves_out_what_fails_it() {
    let some = |text: &str| Some(text.to_owned());
    let below = |path: &str| format!("/r/{path}");
    for (request, expected) in [
        (FindRequest { name: some("*.rs"), ..all() }, vec![]),
        (FindRequest { iname: some("*.rs"), ..all() }, vec!["b/two.RS"]),
        (FindRequest { kinds: some("l"), ..all() }, vec!["a"]),
        (FindRequest { kinds: some("d,symlink"), name: some("[a-b]"), ..all() }, vec!["a", "b"]),
        (FindRequest { min_size: Some(71), max_size: Some(6000), ..all() }, vec!["b/two.RS"]),
        (
            FindRequest { min_links: Some(2), kinds: some("f"), ..all() },
            vec!["b/linked", "c/again", "c/linked"],
        ),
        (
            FindRequest { newer_ns: Some(70_000_000_000), older_ns: Some(5_000_000_000_001), ..all() },
            vec!["b/deep/\u{fffd}\n", "b/two.RS"],
        ),
        (FindRequest { category: some("document"), ..all() }, vec!["b.txt"]),
        (FindRequest { owner: Some(0), ..all() }, vec![]),
        (FindRequest { max_depth: Some(1), kinds: some("d"), min_size: Some(1), ..all() }, vec!["b", "c"]),
        (FindRequest { limit: Some(2), kinds: some("f"), ..all() }, vec!["b/deep/\u{fffd}\n", "b/linked"]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(below).collect();
        assert_eq!(found(&request), expected, "{request:?}");
    }
    assert_eq!(found(&FindRequest { max_depth: Some(0), ..all() }), ["/r"]);
}

#[test]
fn what_makes_no_sense_is_said() {
    let made = made(b"/r", TREE);
    let reader = made.reader();
    let ask = |request: FindRequest| find(&reader, &request, &mut |_| true).unwrap_err().to_string();
    assert!(ask(FindRequest { kinds: Some("x".into()), ..all() }).contains("unknown kind \"x\""));
    assert!(ask(FindRequest { category: Some("x".into()), ..all() }).contains("photo video"));
    assert!(ask(FindRequest { name: Some("[".into()), ..all() }).contains("bad pattern"));
    assert!(ask(FindRequest { path: Some("/other".into()), ..all() }).contains("its roots are /r"));
    assert!(ask(FindRequest { path: Some("/r/none".into()), ..all() }).contains("indexer settle"));
}

/// More names than a page, directories among them: nothing twice, nothing lost, order kept.
#[test]
fn large_directories_come_in_pages() {
    let names: Vec<Vec<u8>> = (0..3000).map(|n| format!("n{n:04}").into_bytes()).collect();
    let inside = b"n2500/in".to_vec();
    let mut leaves: Vec<Leaf<'_>> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let kind = if n % 100 == 0 { Kind::Directory } else { Kind::File };
        leaves.push((name, 100 + n as u64, kind, 1));
    }
    leaves.push((&inside, 99, Kind::File, 1));
    let made = made(b"/r", &leaves);
    let reader = made.reader();
    let collect = |request: &FindRequest| {
        let mut paths = Vec::new();
        find(&reader, request, &mut |entry| {
            paths.push(entry.path);
            true
        })
        .unwrap();
        paths
    };
    let mut expected: Vec<String> =
        names.iter().map(|name| format!("/r/{}", String::from_utf8_lossy(name))).collect();
    let at = expected.iter().position(|path| path == "/r/n2501").unwrap();
    expected.insert(at, "/r/n2500/in".into());
    assert_eq!(collect(&all())[1..], expected);
    assert_eq!(collect(&FindRequest { name: Some("in".into()), ..all() }), ["/r/n2500/in"]);
    let mut listed = Vec::new();
    ls(&reader, &PathRequest::from(&b"/r"[..]), &mut |entry| {
        listed.push(entry.path);
        true
    })
    .unwrap();
    expected.remove(at);
    assert_eq!(listed, expected);
}

fn sizes(request: &DuRequest) -> Vec<(String, u64, u64, u64)> {
    let made = made(b"/r", TREE);
    let mut sums = Vec::new();
    du(&made.reader(), request, &mut |du| {
        sums.push((du.path, du.files, du.directories, du.allocated));
        true
    })
    .unwrap();
    sums
}

#[test]
fn du_counts_a_file_once_a_root_and_exactly_where_asked() {
    const BIG: u64 = 102_400;
    let root = ("/r".to_owned(), 5, 4, BIG + 8192 + 3 * 4096 + 3 * 4096);
    let whole = DuRequest { path: Some("/r".into()), ..DuRequest::default() };
    assert_eq!(sizes(&whole), std::slice::from_ref(&root));
    let below = sizes(&DuRequest { depth: Some(2), ..whole.clone() });
    assert_eq!(below[0], root, "itself first");
    // The file with three names counts at the least of them, which is in `b` (the lower directory number).
    let of = |path: &str| below.iter().find(|(known, ..)| known == path).cloned().unwrap();
    assert_eq!(of("/r/c").3, 4096);
    assert_eq!(of("/r/b").3, BIG + 8192 + 4096 + 8192);
    assert!(below[1].0 == "/r/b" && below.len() == 4, "largest first: {below:?}");
    let exact = sizes(&DuRequest { path: Some("/r/c".into()), exact: Some(true), ..DuRequest::default() });
    assert_eq!(exact, [("/r/c".to_owned(), 1, 1, BIG + 4096)]);
    let exact = sizes(&DuRequest { exact: Some(true), ..whole.clone() });
    assert_eq!(exact, [root], "at a root both are equal");
    let top = sizes(&DuRequest { top: Some(1), ..whole });
    assert_eq!(top.iter().map(|(path, ..)| &**path).collect::<Vec<_>>(), ["/r", "/r/b"]);
    let file = sizes(&DuRequest { path: Some("/r/b.txt".into()), ..DuRequest::default() });
    assert_eq!(file, [("/r/b.txt".to_owned(), 1, 0, 4096)]);
}

#[test]
fn changes_begin_where_asked_and_say_when_they_cannot() {
    let made = made(b"/r", TREE);
    let reader = made.reader();
    let request = ChangesRequest::default();
    let first = start(&reader, &request).unwrap();
    let seeded = batch(&reader, &request, first, 10).unwrap();
    assert_eq!((seeded.changes.len(), seeded.end, &*seeded.changes[0].op), (1, true, "seeded"));
    assert_eq!(seeded.changes[0].root, "/r");
    let elsewhere = ChangesRequest { root: Some("/x".into()), ..ChangesRequest::default() };
    assert!(matches!(batch(&reader, &elsewhere, first, 10), Err(QueryError::Bad(_))));
    let cursors = vec![("c".to_owned(), record::Seq(1))];
    made.index.commit(index::Edits { cursors, ..index::Edits::default() }).unwrap();
    let reader = made.reader();
    let mine = ChangesRequest { consumer: Some("c".into()), since: Some(0), ..ChangesRequest::default() };
    assert_eq!(start(&reader, &mine).unwrap(), record::Seq(1), "the cursor is over --since");
    let new = ChangesRequest { consumer: Some("new".into()), ..ChangesRequest::default() };
    assert_eq!(start(&reader, &new).unwrap(), record::Seq(0));
}

#[test]
fn a_look_up_answers_in_the_order_of_its_paths() {
    let made = made(b"/r", TREE);
    let paths = [&b"/r/none"[..], b"/r/b/deep/\xff\n", b"/r"].map(PathRequest::from).to_vec();
    let mut inodes = Vec::new();
    look_up(&made.reader(), &LookupRequest { paths }, &mut |entry| {
        inodes.push(entry.map(|entry| entry.inode));
        true
    })
    .unwrap();
    assert_eq!(inodes, [None, Some(13), Some(2)]);
}
