//! A batch holds what the JSON bodies of its records hold, and garbage is refused.

use proptest::prelude::*;
use record::wire::message::Origin;
use record::{
    Body, Category, Change, Digest, DigestKind, Duplicates, EntryId, Gap, How, Kind, Op, Place, Record,
    RootId, Seeded, Seq, Stat, State, Time, VolumeId,
};

use crate::{MOST_ROWS, Row, read, schema, weight, write};

fn origin() -> Origin {
    let word = str::to_owned;
    Origin { source: word("/indexer/nas"), host: word("nas"), epoch: "0a".repeat(16), version: word("0.1.0") }
}

/// Mostly of these years, but also the edges of 64 bits of nanoseconds and what lies beyond.
fn time() -> impl Strategy<Value = Time> {
    let edge = |at: i64| (-2..=2i128).prop_map(move |by| Time(i128::from(at) + by));
    let any = any::<i64>().prop_map(|time| Time(i128::from(time)));
    let beyond = (-(1i128 << 90)..1i128 << 90).prop_map(Time);
    prop_oneof![4 => any, 1 => edge(i64::MAX), 1 => edge(i64::MIN), 1 => edge(0), 1 => beyond]
}

fn bytes() -> impl Strategy<Value = Box<[u8]>> {
    let text = "(/[a-zäß \n\"]{1,9}){0,3}".prop_map(|text| text.into_bytes().into());
    let raw = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Into::into);
    prop_oneof![3 => text, 1 => raw]
}

fn id() -> impl Strategy<Value = EntryId> {
    (any::<u32>(), any::<u64>()).prop_map(|(volume, inode)| EntryId::new(VolumeId(volume), inode))
}

fn stat() -> impl Strategy<Value = Stat> {
    let numbers = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    let times = (time(), time(), time(), proptest::option::of(time()));
    (0..Kind::ALL.len(), numbers, times).prop_map(|(kind, numbers, times)| {
        let (mode, uid, gid, links, size, allocated) = numbers;
        let (modified, changed, accessed, created) = times;
        let kind = Kind::ALL[kind];
        Stat { kind, mode, uid, gid, links, size, allocated, modified, changed, accessed, created }
    })
}

fn digest() -> impl Strategy<Value = Digest> {
    (0..DigestKind::ALL.len(), any::<[u8; 32]>())
        .prop_map(|(kind, bytes)| Digest { kind: DigestKind::ALL[kind], bytes })
}

fn state() -> impl Strategy<Value = State> {
    let category = proptest::option::of((0..Category::ALL.len()).prop_map(|nth| Category::ALL[nth]));
    (stat(), proptest::option::of(digest()), category).prop_map(|(stat, digest, category)| State {
        stat,
        digest,
        category,
    })
}

fn place() -> impl Strategy<Value = Place> {
    (id(), bytes()).prop_map(|(dir, name)| Place::new(dir, &name))
}

fn change() -> impl Strategy<Value = Body> {
    let states = (proptest::option::of(state()), proptest::option::of(state()), 0..Op::ALL.len());
    let names = (
        proptest::option::of(place()),
        proptest::option::of(place()),
        bytes(),
        proptest::option::of(bytes()),
    );
    let parents = proptest::collection::vec((id(), stat()), 0..3);
    (id(), states, names, parents, any::<bool>(), proptest::option::of(any::<u64>())).prop_map(
        |(entry, (before, after, op), (at, old, path, old_path), parents, complete, pair)| {
            let op = Op::ALL[op];
            let pair = pair.map(Seq);
            Body::Change(Box::new(Change {
                entry,
                birth: None,
                op,
                at,
                old,
                before,
                after,
                parents,
                complete,
                pair,
                path,
                old_path,
            }))
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let gap = (time(), time(), bytes(), ".{0,9}")
        .prop_map(|(from, to, scope, why)| Body::Gap(Gap { from, to, scope, why }));
    let lost = (bytes(), ".{0,9}").prop_map(|(path, why)| Body::RootLost { path, why });
    let seeded = (bytes(), any::<u64>()).prop_map(|(path, entries)| Body::Seeded(Seeded { path, entries }));
    let paths = proptest::collection::vec(bytes(), 0..4);
    let set =
        (digest(), any::<[u64; 4]>(), paths).prop_map(|(digest, [size, copies, were, wasted], paths)| {
            Body::Duplicates(Box::new(Duplicates { digest, size, copies, were, wasted, paths }))
        });
    let found = bytes().prop_map(|path| Body::RootFound { path });
    prop_oneof![8 => change(), 1 => gap, 1 => lost, 1 => found, 1 => seeded, 1 => set]
}

fn records() -> impl Strategy<Value = Vec<(Record, bool)>> {
    let one = (any::<u64>(), time(), 0..How::ALL.len(), body(), any::<bool>());
    proptest::collection::vec(one, 1..12).prop_map(|many| {
        let record = |(seq, seen, how, body, lost)| {
            (Record { seq: Seq(seq), seen, how: How::ALL[how], root: RootId(3), body }, lost)
        };
        many.into_iter().map(record).collect()
    })
}

fn row(record: &Record, lost: bool) -> Row {
    Row::new(record, b"/r", &origin(), lost)
}

fn created() -> Record {
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 1_000,
        gid: 1_000,
        links: 1,
        size: 1 << 20,
        allocated: 1 << 20,
        modified: Time(1_700_000_000_000_000_000),
        changed: Time(1_700_000_000_000_000_000),
        accessed: Time(1_700_000_000_000_000_000),
        created: Some(Time(1_700_000_000_000_000_000)),
    };
    let parent = EntryId::new(VolumeId(1), 2);
    Record {
        seq: Seq(7),
        seen: Time(1_700_000_000_000_000_000),
        how: How::Fanotify,
        root: RootId(3),
        body: Body::Change(Box::new(Change {
            entry: EntryId::new(VolumeId(1), 42),
            birth: None,
            op: Op::Created,
            at: Some(Place::new(parent, b"a file of some length.jpg")),
            old: None,
            before: None,
            after: Some(State { stat, digest: None, category: Some(Category::Photo) }),
            parents: vec![(parent, Stat { kind: Kind::Directory, ..stat })],
            complete: true,
            pair: None,
            path: b"/r/some/folder/below/a file of some length.jpg".as_slice().into(),
            old_path: None,
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// To the byte, as JSON says it.
    #[test]
    fn what_is_read_from_a_batch_is_what_json_says(records in records()) {
        let rows: Vec<Row> = records.iter().map(|(record, lost)| row(record, *lost)).collect();
        let body = write(&rows).unwrap();
        let back = read(&body).unwrap();
        for (back, row) in back.iter().zip(&rows) {
            let json = |row: &Row| serde_json::to_string(&row.message).unwrap();
            prop_assert_eq!(json(back), json(row));
        }
        prop_assert_eq!(&back, &rows);
        for ((record, _), row) in records.iter().zip(&rows) {
            prop_assert_eq!(record::wire::message::key(record), row.key());
        }
    }

    #[test]
    fn garbage_is_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&body).is_err());
    }

    #[test]
    fn a_batch_that_was_tampered_with_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut body = write(&[row(&created(), false)]).unwrap();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if is_cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(rows) = read(&body) {
            prop_assert!(rows.len() == 1);
        }
    }
}

#[test]
fn a_row_is_told_apart_as_its_message_would_be() {
    let row = row(&created(), false);
    assert_eq!(row.key(), "fs.v1.r3.file.created.p01");
    assert_eq!(row.id(), origin().id(7));
    let lost = Row { lost: true, ..row };
    assert_eq!(lost.id(), format!("{}/r3", origin().id(7)));
}

#[test]
fn what_is_no_batch_of_this_version_says_why() {
    let said = |body: &[u8]| read(body).unwrap_err().to_string();
    assert!(said(b"{\"op\":\"c\"}").contains("no Arrow stream"), "{}", said(b"{\"op\":\"c\"}"));
    assert!(said(b"").contains("without rows"));
    assert!(said(&write(&[]).unwrap()).contains("without rows"));
    let whole = write(&[row(&created(), false)]).unwrap();
    assert!(read(&whole[..whole.len() / 2]).is_err(), "half of one");
    let other: Vec<u8> = {
        let at = whole.windows(9).position(|part| part == b"fs:v1:arr").unwrap();
        let mut other = whole.clone();
        other[at + 4] = b'9';
        other
    };
    assert!(said(&other).contains("of the schema Some(\"urn:indexer:fs:v9:arrow\")"), "{}", said(&other));
    let many = vec![row(&created(), false); MOST_ROWS + 1];
    assert!(said(&write(&many).unwrap()).contains("more than"));
    // A word stands in a batch once, however many say it.
    let mut long = row(&created(), false);
    long.message.source.host = "h".repeat(500_000);
    let body = write(&vec![long; 100]).unwrap();
    assert!(body.len() < 1 << 20 && said(&body).contains("bytes of words"), "{}", said(&body));
}

/// The bound on bytes is kept by this guess.
#[test]
fn a_batch_weighs_about_what_was_guessed() {
    let one = created();
    let size = |rows: usize| write(&vec![row(&one, false); rows]).unwrap().len();
    let (few, many) = (size(1), size(1_001));
    let grown = (many - few) / 1_000;
    assert!((weight(&one) / 2..=weight(&one)).contains(&grown), "{grown} a row, guessed {}", weight(&one));
    assert!(few < 16 << 10, "{few} for one");
}

#[test]
fn the_schema_names_every_column_and_says_what_it_is_for() {
    let schema = schema();
    let fields = schema["fields"].as_array().unwrap();
    assert!(fields.len() > 60, "{}", fields.len());
    for field in fields {
        assert!(field["description"].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    let of = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(of("seq")["type"], "uint64");
    assert_eq!(of("after_modified")["type"], "timestamp[ns, tz=UTC]");
    assert_eq!(of("after_digest")["type"], "fixed_size_binary[32]");
    assert_eq!(of("parents")["children"][0]["name"], "volume");
}
