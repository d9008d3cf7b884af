//! One event, its hints: the whole table, without a kernel.

use super::*;
use libc::FAN_ONDIR;
use std::sync::atomic::Ordering;

const VOLUME: VolumeId = VolumeId(3);
const OTHER: VolumeId = VolumeId(4);

/// Test handles are one byte, the inode; a second byte is the tree. Inode 99 is gone.
fn inode_of(id: FileId<'_>) -> Option<InodeOf> {
    let inode = u64::from(*id.handle.first()?);
    (inode != 99).then(|| InodeOf { inode, tree: u64::from(id.handle.get(1).copied().unwrap_or(0)) })
}

fn id(handle: &[u8]) -> FileId<'_> {
    FileId { fsid: [0; 2], kind: 1, handle }
}

fn at<'a>(dir: &'a [u8], name: &'a [u8]) -> Option<Named<'a>> {
    Some(Named { dir: id(dir), name: Some(name) })
}

fn hints(event: &Event<'_>) -> (Vec<String>, Counts) {
    let scope = Scope {
        trees: vec![(0, VOLUME), (5, OTHER)],
        ignored: vec![(VOLUME, 50)],
        openable: true,
        links_are_silent: false,
    };
    let (counts, mut hints) = (Counts::default(), Vec::new());
    translate(event, &scope, inode_of, &counts, &mut hints);
    let lines = hints.into_iter().map(|hint| {
        let what = match hint.what {
            What::Entry { dir, name } => format!("{dir}/{}", String::from_utf8_lossy(&name)),
            What::Inode(inode) => format!("inode {inode}"),
            What::Listing(dir) => format!("listing {dir}"),
            What::Subtree(dir) => format!("subtree {dir}"),
            What::Lost { .. } => "lost".to_owned(),
        };
        assert_eq!(hint.handle.is_some(), what.contains('/') || what.contains("listing"));
        format!("{}: {what} {:?}", hint.volume.0, hint.flags)
    });
    (lines.collect(), counts)
}

#[test]
fn each_event_gives_its_hints() {
    let none = Event::default();
    let file = Some(id(&[20]));
    let cases: Vec<(&str, Event<'_>, Vec<&str>)> = vec![
        (
            "made, written and closed, merged",
            Event {
                mask: FAN_CREATE | FAN_MODIFY | FAN_CLOSE_WRITE,
                at: at(&[2], b"a"),
                object: file,
                ..none
            },
            vec!["3: 2/a {WRITTEN, CLOSED, NAMED}"],
        ),
        (
            "made and removed, the order lost: the inode may live on under another name",
            Event { mask: FAN_CREATE | FAN_DELETE | FAN_MODIFY, at: at(&[2], b"a"), object: file, ..none },
            vec!["3: 2/a {WRITTEN, NAMED}", "3: inode 20 {WRITTEN}"],
        ),
        (
            "written: the name may be one that went",
            Event { mask: FAN_MODIFY, at: at(&[2], b"a"), object: file, ..none },
            vec!["3: 2/a {WRITTEN}", "3: inode 20 {WRITTEN}"],
        ),
        (
            "removed",
            Event { mask: FAN_DELETE, at: at(&[2], b"a"), object: file, ..none },
            vec!["3: 2/a {NAMED}"],
        ),
        (
            "a directory came and went",
            Event { mask: FAN_CREATE | FAN_DELETE | FAN_ONDIR, at: at(&[2], b"sub"), ..none },
            vec!["3: 2/sub {NAMED, DIRECTORY}"],
        ),
        (
            "the link count moved",
            Event { mask: FAN_ATTRIB, object: file, ..none },
            vec!["3: inode 20 {META}"],
        ),
        (
            "the directory itself",
            Event { mask: FAN_ATTRIB | FAN_ONDIR, at: at(&[2], b"."), ..none },
            vec!["3: inode 2 {META}"],
        ),
        (
            "a directory of it",
            Event { mask: FAN_ATTRIB | FAN_ONDIR, at: at(&[2], b"sub"), object: Some(id(&[21])), ..none },
            vec!["3: 2/sub {META}", "3: inode 21 {META}"],
        ),
        (
            "renamed",
            Event { mask: FAN_RENAME, from: at(&[2], b"a"), to: at(&[4], b"b"), object: file, ..none },
            vec!["3: 2/a {MOVED, NAMED}", "3: 4/b {MOVED, NAMED}", "3: inode 20 {MOVED, NAMED}"],
        ),
        (
            "renamed out of an ignored directory",
            Event { mask: FAN_RENAME, from: at(&[50], b"a"), to: at(&[4], b"b"), object: file, ..none },
            vec!["3: 4/b {MOVED, NAMED}", "3: inode 20 {MOVED, NAMED}"],
        ),
        (
            "in an ignored directory",
            Event { mask: FAN_MODIFY, at: at(&[50], b"db"), object: file, ..none },
            vec![],
        ),
        (
            "an unlinked temporary file, written",
            Event { mask: FAN_MODIFY, at: at(&[2], b"#20"), object: file, ..none },
            vec!["3: inode 20 {WRITTEN}"],
        ),
        (
            "a file that only looks like one",
            Event { mask: FAN_MODIFY, at: at(&[2], b"#21"), object: file, ..none },
            vec!["3: 2/#21 {WRITTEN}", "3: inode 20 {WRITTEN}"],
        ),
        (
            "a file truly called so",
            Event { mask: FAN_CREATE, at: at(&[2], b"#20"), object: file, ..none },
            vec!["3: 2/#20 {NAMED}", "3: inode 20 {}"],
        ),
        ("a directory that is gone", Event { mask: FAN_CREATE, at: at(&[99], b"a"), ..none }, vec![]),
        (
            "another subvolume that is ours",
            Event { mask: FAN_CREATE, at: at(&[2, 5], b"a"), ..none },
            vec!["4: 2/a {NAMED}"],
        ),
        ("one that is not", Event { mask: FAN_CREATE, at: at(&[2, 6], b"a"), ..none }, vec![]),
        ("overflow", Event { mask: FAN_Q_OVERFLOW, ..none }, vec!["3: lost {}", "4: lost {}"]),
        (
            "no name",
            Event { mask: FAN_ATTRIB, at: Some(Named { dir: id(&[2]), name: None }), ..none },
            vec!["3: inode 2 {META}"],
        ),
    ];
    for (what, event, expected) in cases {
        assert_eq!(hints(&event).0, expected, "{what}");
    }
}

#[test]
fn what_is_dropped_is_counted() {
    let none = Event::default();
    let count = |event: &Event<'_>| {
        let (_, counts) = hints(event);
        [counts.foreign, counts.ignored, counts.overflows].map(|count| count.load(Ordering::Relaxed))
    };
    assert_eq!(count(&Event { mask: FAN_CREATE, at: at(&[2, 6], b"a"), ..none }), [1, 0, 0]);
    assert_eq!(count(&Event { mask: FAN_CREATE, at: at(&[50], b"a"), ..none }), [0, 1, 0]);
    assert_eq!(count(&Event { mask: FAN_Q_OVERFLOW, ..none }), [0, 0, 1]);
}
