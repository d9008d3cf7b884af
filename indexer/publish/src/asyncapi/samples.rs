//! One record of each shape, as examples of what is published. Made up, and nothing else is.

use record::wire::message::{Origin, Shape};
use record::{
    Body, Category, Change, EntryId, Gap, How, Kind, Op, Place, Record, RootId, Seq, Stat, State, Time,
    VolumeId,
};

/// Where the root is configured.
pub(super) const ROOT: &[u8] = b"/srv/films";

/// A moment in November 2025.
const SEEN: Time = Time(1_764_000_000_123_456_789);

pub(super) fn origin() -> Origin {
    Origin {
        source: "/indexer/nas".to_owned(),
        host: "nas".to_owned(),
        epoch: "50887d0f34b0c9e2a6d15f7b8c431e09".to_owned(),
        version: "1.0.0".to_owned(),
    }
}

pub(super) fn record(shape: Shape) -> Record {
    let (seq, body) = match shape {
        Shape::Created => (6, change(Op::Created, "new.mkv", None)),
        Shape::Updated => (7, change(Op::Renamed, "film.mkv", Some("new.mkv"))),
        Shape::Deleted => (8, change(Op::Deleted, "film.mkv", None)),
        Shape::Notice => (9, Body::Gap(gap())),
    };
    Record { seq: Seq(seq), seen: SEEN, how: How::Fanotify, root: RootId(1), body }
}

fn gap() -> Gap {
    let from = Time(SEEN.0 - 2_000_000_000);
    Gap { from, to: SEEN, scope: ROOT.into(), why: "queue overflow".to_owned() }
}

fn change(op: Op, name: &str, old: Option<&str>) -> Body {
    let volume = VolumeId(1);
    let folder = EntryId::new(volume, 2);
    let path = |name: &str| [ROOT, b"/", name.as_bytes()].concat().into_boxed_slice();
    let place = |name: &str| Place::new(folder, name.as_bytes());
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        links: 1,
        size: 5_000_000_000,
        allocated: 5_000_003_584,
        modified: Time(SEEN.0 - 1_000_000_000),
        changed: Time(SEEN.0 - 1_000_000),
        accessed: Time(SEEN.0 - 1_000_000_000),
        created: Some(Time(SEEN.0 - 60_000_000_000)),
    };
    let directory =
        Stat { kind: Kind::Directory, mode: 0o755, links: 2, size: 4096, allocated: 4096, ..stat };
    let state = State { stat, digest: None, category: Some(Category::Video) };
    Body::Change(Box::new(Change {
        entry: EntryId::new(volume, 42),
        birth: stat.created,
        op,
        at: Some(place(name)),
        old: old.map(place),
        before: (op != Op::Created).then_some(state),
        after: (op != Op::Deleted).then_some(state),
        parents: vec![(folder, directory)],
        complete: true,
        pair: None,
        path: path(name),
        old_path: old.map(path),
    }))
}
