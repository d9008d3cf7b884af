//! Any record comes back from its message, and nothing else does: fields that are lost, numbers that are cut and paths that are no
//! text are what could break it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::tests::origin;
use super::super::{Message, Replay, key};
use crate::{
    Body, Category, Change, Digest, DigestKind, Duplicates, EntryId, Gap, How, Kind, Op, Place, Record,
    RootId, Seeded, Seq, Stat, State, Time, VolumeId,
};

const ROOT: &[u8] = b"/srv/r\xff";

fn entry() -> impl Strategy<Value = EntryId> {
    (any::<u32>(), any::<u64>()).prop_map(|(volume, inode)| EntryId::new(VolumeId(volume), inode))
}

/// JSON is read by way of 64 bits of either sign.
fn time() -> impl Strategy<Value = Time> {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).prop_map(Time)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"a.\n \\\"\xc3\xa9\xff"[..]), 1..6).prop_map(|mut name| {
        name.push(b'x');
        name
    })
}

fn path(root: &'static [u8]) -> impl Strategy<Value = Box<[u8]>> {
    prop::collection::vec(name(), 0..4).prop_map(move |names| {
        let mut path = root.to_vec();
        for name in names {
            path.push(b'/');
            path.extend(name);
        }
        path.into()
    })
}

fn place() -> impl Strategy<Value = Place> {
    (entry(), name()).prop_map(|(dir, name)| Place::new(dir, &name))
}

fn stat() -> impl Strategy<Value = Stat> {
    let times = (time(), time(), time(), prop::option::of(time()));
    (prop::sample::select(&Kind::ALL[..]), 0..=0o7777u16, any::<[u32; 3]>(), any::<[u64; 2]>(), times)
        .prop_map(
            |(kind, mode, [uid, gid, links], [size, allocated], (modified, changed, accessed, created))| {
                Stat { kind, mode, uid, gid, links, size, allocated, modified, changed, accessed, created }
            },
        )
}

fn digest() -> impl Strategy<Value = Digest> {
    (prop::sample::select(&DigestKind::ALL[..]), any::<[u8; 32]>())
        .prop_map(|(kind, bytes)| Digest { kind, bytes })
}

fn state() -> impl Strategy<Value = State> {
    let category = prop::option::of(prop::sample::select(&Category::ALL[..]));
    (stat(), prop::option::of(digest()), category).prop_map(|(stat, digest, category)| State {
        stat,
        digest,
        category,
    })
}

/// What the engine may say: each op with the states that it has, and the birth of the stat.
fn change() -> impl Strategy<Value = Change> {
    let who = (entry(), prop::sample::select(&Op::ALL[..]), any::<bool>(), prop::option::of(1..u64::MAX));
    let names = (prop::option::of(place()), prop::option::of(place()), path(ROOT), path(b"/other"));
    (who, names, state(), state(), prop::collection::vec((entry(), stat()), 0..3)).prop_map(
        |((entry, op, complete, pair), (at, old, path, old_path), before, after, parents)| {
            let before = (op != Op::Created).then_some(before);
            let after = (op != Op::Deleted).then_some(after);
            let birth = after.or(before).and_then(|state| state.stat.created);
            let old_path = (op == Op::Renamed).then_some(old_path);
            let pair = pair.map(Seq);
            Change { entry, birth, op, at, old, before, after, parents, complete, pair, path, old_path }
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        6 => change().prop_map(|change| Body::Change(Box::new(change))),
        1 => (time(), time(), path(ROOT), any::<String>())
            .prop_map(|(from, to, scope, why)| Body::Gap(Gap { from, to, scope, why })),
        1 => (path(ROOT), any::<String>()).prop_map(|(path, why)| Body::RootLost { path, why }),
        1 => path(ROOT).prop_map(|path| Body::RootFound { path }),
        1 => (path(ROOT), any::<u64>()).prop_map(|(path, entries)| Body::Seeded(Seeded { path, entries })),
        1 => (digest(), any::<[u64; 4]>(), prop::collection::vec(path(ROOT), 0..4)).prop_map(
            |(digest, [size, copies, were, wasted], paths)| {
                Body::Duplicates(Box::new(Duplicates { digest, size, copies, were, wasted, paths }))
            }
        ),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (1..u64::MAX, time(), prop::sample::select(&How::ALL[..]), any::<u32>(), body()).prop_map(
        |(seq, seen, how, root, body)| Record { seq: Seq(seq), seen, how, root: RootId(root), body },
    )
}

proptest! {
    #[test]
    fn a_record_comes_back_from_its_message(record in record()) {
        let message = Message::new(&record, ROOT, &origin());
        let text = serde_json::to_vec(&message).unwrap();
        let read = Message::read(&key(&record), &text).unwrap();
        prop_assert_eq!(&read, &message);
        prop_assert_eq!(read.record(), Ok(Some(record.clone())));
        // And that one says the same again.
        prop_assert_eq!(Message::new(&record, ROOT, &origin()), message);
    }

    #[test]
    fn what_was_tampered_with_is_read_or_refused(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = serde_json::to_vec(&Message::new(&record, ROOT, &origin())).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(message) = Message::read(&key(&record), &body) {
            let _ = message.record();
        }
    }
}

fn good() -> Value {
    let entry = json!({"path": "/r/a", "kind": "file", "size": 5, "allocated": 8, "modified_ns": 1, "changed_ns": 1,
        "created_ns": null, "accessed_ns": 0, "mode": 420, "uid": 0, "gid": 0, "links": 1, "inode": 42, "volume": 1,
        "category": "other", "digest": null});
    json!({"op": "u", "ts_ms": 1, "before": entry, "after": entry,
        "source": {"version": "0", "connector": "indexer", "name": "/indexer/nas", "host": "nas", "ts_ms": 1, "ts_ns": 1,
            "epoch": "e".repeat(32), "seq": 7, "root": "/r", "root_id": 1, "how": "sweep"},
        "change": {"verb": "renamed", "complete": true, "at": {"volume": 1, "parent": 2, "name": "a"}}})
}

fn told(message: &Value) -> Result<Option<Record>, String> {
    let body = message.to_string();
    let read = Message::read("fs.v1.r1.file.renamed.p00", body.as_bytes());
    read.and_then(|message| message.record()).map_err(|error| error.to_string())
}

#[test]
fn what_no_record_says_is_refused_with_the_reason() {
    assert!(told(&good()).unwrap().is_some());
    for (pointer, value, said) in [
        ("/op", json!("x"), "op"),
        ("/op", json!("c"), "verb"),
        ("/op", json!("r"), "verb"),
        ("/change/verb", json!("read"), "verb"),
        ("/change/verb", json!("exploded"), "verb"),
        ("/source/how", json!("magic"), "magic"),
        ("/source/seq", json!(0), "before all records"),
        ("/source/seq", json!(u64::MAX), "seq"),
        ("/after", json!(null), "lacks the entry"),
        ("/after/inode", json!(43), "two entries"),
        ("/after/path", json!("/r/../etc/passwd"), ".."),
        ("/after/path", json!("/else/a"), "outside its root"),
        ("/before/path", json!("else/a"), "not absolute"),
        ("/after/kind", json!("door"), "kind"),
        ("/after/category", json!("poem"), "category"),
        ("/before/digest", json!("blake3:00"), "digest"),
        ("/before/digest", json!(format!("blake3:{}", "E".repeat(64))), "digest"),
        ("/before/digest", json!(format!("blake3:{}", "é".repeat(32))), "digest"),
        ("/after/mode", json!(0o100_644), "mode"),
        ("/change/at/name", json!("a/b"), "names"),
    ] {
        let mut message = good();
        *message.pointer_mut(pointer).unwrap() = value;
        let error = told(&message).expect_err(pointer);
        assert!(error.contains(said), "{pointer}: {error}");
    }
    for (detail, said) in [
        (json!({"verb": "gap", "complete": true, "path": "/r", "why": "w"}), "from when"),
        (json!({"verb": "gap", "complete": true, "path": "/r", "from_ns": 1, "to_ns": 2}), "why"),
        (json!({"verb": "root_lost", "complete": true, "path": "r", "why": "w"}), "not absolute"),
        (json!({"verb": "seeded", "complete": true, "path": "/r"}), "how many"),
        (json!({"verb": "duplicate", "complete": true, "path": "/r"}), "the set"),
        (
            json!({"verb": "duplicate", "complete": true, "set": {"digest": "x", "size": 1, "copies": 2, "were": 1, "wasted": 1,
                "paths": ["/r/a"], "paths_raw": []}}),
            "paths_raw",
        ),
    ] {
        let mut message = good();
        message["op"] = json!("m");
        message["change"] = detail.clone();
        let error = told(&message).expect_err("it lacks something");
        assert!(error.contains(said), "{detail}: {error}");
    }
}

#[test]
fn what_a_replay_says_is_of_no_record() {
    let origin = origin();
    let replay = Replay { origin: &origin, as_of: 0, at: Time(1), root: RootId(3), path: b"/r" };
    for read in [replay.begun(), replay.ended(9)] {
        let body = serde_json::to_vec(&read.message).unwrap();
        assert_eq!(Message::read(&read.key, &body).unwrap().record(), Ok(None));
    }
    let mut message = good();
    (message["op"], message["change"]["verb"], message["before"]) = (json!("r"), json!("read"), json!(null));
    assert_eq!(told(&message), Ok(None));
}

#[test]
fn a_relays_word_of_what_is_lost_is_told_from_a_gap_by_its_identity() {
    let gap = Gap { from: Time(1), to: Time(2), scope: b"/r".as_slice().into(), why: "retention".into() };
    let record =
        Record { seq: Seq(7), seen: Time(3), how: How::Import, root: RootId(3), body: Body::Gap(gap) };
    let message = Message::new(&record, b"/r", &origin());
    assert!(message.tells_of_lost(&format!("{}/r3", origin().id(7))));
    assert!(!message.tells_of_lost(&origin().id(7)) && !message.tells_of_lost("x/r4"));
}

/// File systems store years that 64 bits of nanoseconds do not reach; tmpfs takes any.
#[test]
fn times_beyond_sixty_four_bits_come_back_to_some_microseconds() {
    for ns in [32_503_680_000_123_456_789, -32_503_680_000_123_456_789, i128::from(i64::MAX) * 1_000_000_000]
    {
        let mut message = good();
        let mut text = message.to_string();
        text = text.replace("\"modified_ns\":1", &format!("\"modified_ns\":{ns}"));
        let read = Message::read("fs.v1.r1.file.renamed.p00", text.as_bytes()).unwrap();
        let Some(Record { body: Body::Change(change), .. }) = read.record().unwrap() else {
            panic!("a change")
        };
        let off = change.after.unwrap().stat.modified.0 - ns;
        assert!(off.unsigned_abs() <= ns.unsigned_abs() / (1 << 52), "{ns} is off by {off}");
        for wrong in [json!(1.5), json!(1e300), json!("1")] {
            message["after"]["modified_ns"] = wrong.clone();
            assert!(told(&message).is_err(), "{wrong}");
        }
    }
}
