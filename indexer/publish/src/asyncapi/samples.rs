//! One record of each shape, as examples of what is published. Made up, and nothing else is.

use record::wire::message::{Message, Origin, Read, Replay, Shape};
use record::wire::v1::Entry;
use record::{
    Body, Category, Change, EntryId, Gap, How, Kind, Op, Place, Record, RootId, Row, Seq, Stat, State, Time,
    VolumeId,
};

use crate::letter::Letter;

/// Where the root is configured.
const ROOT: &[u8] = b"/srv/films";

/// A moment in November 2025.
const SEEN: Time = Time(1_764_000_000_123_456_789);

fn origin() -> Origin {
    Origin {
        source: "/indexer/nas".to_owned(),
        host: "nas".to_owned(),
        epoch: "50887d0f34b0c9e2a6d15f7b8c431e09".to_owned(),
        version: "1.0.0".to_owned(),
    }
}

/// A message of the shape.
pub(super) fn letter(shape: Shape) -> Letter {
    let origin = origin();
    let (seq, body) = match shape {
        Shape::Read => return read(&origin),
        Shape::Created => (6, change(Op::Created, "new.mkv", None)),
        Shape::Updated => (7, change(Op::Renamed, "film.mkv", Some("new.mkv"))),
        Shape::Deleted => (8, change(Op::Deleted, "film.mkv", None)),
        Shape::Notice => (9, Body::Gap(gap())),
    };
    let record = Record { seq: Seq(seq), seen: SEEN, how: How::Fanotify, root: RootId(1), body };
    let body = text(&Message::new(&record, ROOT, &origin));
    Letter::of(&record, &origin, &origin.id(seq), body)
}

fn read(origin: &Origin) -> Letter {
    let replay = Replay { origin, as_of: 9, at: SEEN, root: RootId(1), path: ROOT };
    let (id, path) = (EntryId::new(volume(), 42), [ROOT, b"/film.mkv"].concat());
    let row = Row::new(stat(), SEEN);
    let at = Place::new(folder(), b"film.mkv");
    let read = replay.read(Entry::new(&path, id, &row), id, Some((&at).into()), Vec::new());
    let Read { key, id, verb, subject, message } = read;
    let (source, verb) = (origin.source.clone(), verb.to_owned());
    Letter { key, id, source, verb, subject, seen: SEEN, body: text(&message), batch: None }
}

fn text(message: &Message) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

fn volume() -> VolumeId {
    VolumeId(1)
}

fn folder() -> EntryId {
    EntryId::new(volume(), 2)
}

fn stat() -> Stat {
    Stat {
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
    }
}

fn gap() -> Gap {
    let from = Time(SEEN.0 - 2_000_000_000);
    Gap { from, to: SEEN, scope: ROOT.into(), why: "queue overflow".to_owned() }
}

fn change(op: Op, name: &str, old: Option<&str>) -> Body {
    let path = |name: &str| [ROOT, b"/", name.as_bytes()].concat().into_boxed_slice();
    let place = |name: &str| Place::new(folder(), name.as_bytes());
    let stat = stat();
    let directory =
        Stat { kind: Kind::Directory, mode: 0o755, links: 2, size: 4096, allocated: 4096, ..stat };
    let state = State { stat, digest: None, category: Some(Category::Video) };
    Body::Change(Box::new(Change {
        entry: EntryId::new(volume(), 42),
        birth: stat.created,
        op,
        at: Some(place(name)),
        old: old.map(place),
        before: (op != Op::Created).then_some(state),
        after: (op != Op::Deleted).then_some(state),
        parents: vec![(folder(), directory)],
        complete: true,
        pair: None,
        path: path(name),
        old_path: old.map(path),
    }))
}
