//! A record as a message of a broker, version 1: routing key, identity and a JSON body in the shape of Debezium's change
//! events, so that readers of those find `before`, `after`, `op`, `ts_ms` and `source` where they look. Knows no broker.

mod back;
mod reads;
pub mod trust;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::reads::{Read, Replay};
pub use self::trust::Unusable;
use super::schema;
pub use super::shape::Shape;
use super::v1::{self, DuplicateSet, Entry, Parent, Place, text_and_raw};
use crate::{Body, EntryId, How, Record, State};

/// Tokens that order is kept within: all records of one entry have the same.
pub const PARTITIONS: u64 = 16;
/// In keys, the partition of what is about no one entry.
pub const ALL_PARTITIONS: &str = "pall";
/// In keys, the kind of what is about no one entry.
pub const NO_KIND: &str = "none";
/// What bodies are an instance of: the identity of their JSON Schema.
pub const DATA_SCHEMA: &str = "urn:indexer:fs:v1";

const CONNECTOR: &str = "indexer";

/// Where a stream of records comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of which indexer, as a URI reference without spaces: `/indexer/nas`.
    pub source: String,
    /// The host it runs on.
    pub host: String,
    /// The epoch of its journal, 32 hexadecimal digits: seqs compare only within one.
    pub epoch: String,
    /// Version of the program.
    pub version: String,
}

impl Origin {
    /// The identity of a record: the same each time that it is sent.
    #[must_use]
    pub fn id(&self, seq: u64) -> String {
        format!("{}/{}/{seq}", self.source, self.epoch)
    }
}

/// The body of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// `c` created, `u` updated (whatever the finer verb says: renamed, linked, hashed), `d` deleted, `r` read from the index by a
    /// replay, `m` a word about the
    /// stream or a set, and about no one entry.
    #[schemars(extend("enum" = Shape::ALL.map(Shape::op)))]
    pub op: String,
    /// When it was seen, in milliseconds since 1970.
    pub ts_ms: i64,
    /// The entry before; null for `c`, `r` and `m`.
    pub before: Option<Entry>,
    /// The entry after; null for `d` and `m`.
    pub after: Option<Entry>,
    /// Where the record stands.
    pub source: Source,
    /// What `before` and `after` do not say.
    pub change: Detail,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Version of the program that sent it.
    pub version: String,
    /// `indexer`.
    #[schemars(extend("const" = CONNECTOR))]
    pub connector: String,
    /// Of which indexer.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// When it was seen, in milliseconds since 1970.
    pub ts_ms: i64,
    /// The same in nanoseconds.
    #[serde(with = "v1::ns")]
    #[schemars(with = "i128")]
    pub ts_ns: i128,
    /// Epoch of the journal: seqs compare only within one.
    #[schemars(extend("pattern" = "^[0-9a-f]{32}$"))]
    pub epoch: String,
    /// Number of the record, gapless within the epoch; for what a replay sends the last record before it was read.
    pub seq: u64,
    /// Path of the root it belongs to.
    pub root: String,
    /// Number of that root, as in the routing key.
    pub root_id: u32,
    /// By what means it was found.
    #[schemars(extend("enum" = How::ALL.map(How::word)))]
    pub how: String,
}

/// What a record says beside the entry before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// What happened, finer than `op`; as in the routing key.
    #[schemars(extend("enum" = schema::verbs()))]
    pub verb: String,
    /// False while a writer is still at the entry.
    pub complete: bool,
    /// The name it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
    /// For renamed: the name it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Place>,
    /// For read: all its names, where it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Place>,
    /// Directories whose own times it moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// The other record of a recycled inode number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<u64>,
    /// For `m`: the scope or the root it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// For gap: from when, in nanoseconds.
    #[serde(default, with = "v1::ns::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i128>")]
    pub from_ns: Option<i128>,
    /// For gap: until when.
    #[serde(default, with = "v1::ns::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i128>")]
    pub to_ns: Option<i128>,
    /// For gap and `root_lost`: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// For seeded: entries in the root. For `replay_ended`: entries read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// For duplicate: the set as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<DuplicateSet>,
}

impl Message {
    /// The body for `record`, whose root is configured at `root`.
    #[must_use]
    pub fn new(record: &Record, root: &[u8], origin: &Origin) -> Message {
        let v1::Change {
            op: verb,
            path,
            path_raw,
            at,
            old,
            parents,
            complete,
            pair,
            from_ns,
            to_ns,
            why,
            entries,
            set,
            root,
            how,
            ..
        } = v1::Change::new(record, root);
        let mut change = Detail {
            verb,
            complete,
            at,
            old,
            parents,
            pair,
            from_ns,
            to_ns,
            why,
            entries,
            set,
            ..Detail::default()
        };
        let (mut before, mut after) = (None, None);
        let shape = match &record.body {
            Body::Change(body) => {
                let path_before = body.old_path.as_deref().unwrap_or(&body.path);
                before = body.before.as_ref().map(|state| entry(path_before, body.entry, state));
                after = body.after.as_ref().map(|state| entry(&body.path, body.entry, state));
                Shape::of(body.op)
            }
            _ => {
                (change.path, change.path_raw) = (Some(path), path_raw);
                Shape::Notice
            }
        };
        let ts_ms = i64::try_from(record.seen.0.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        let source = Source {
            version: origin.version.clone(),
            connector: CONNECTOR.to_owned(),
            name: origin.source.clone(),
            host: origin.host.clone(),
            ts_ms,
            ts_ns: record.seen.0,
            epoch: origin.epoch.clone(),
            seq: record.seq.0,
            root,
            root_id: record.root.0,
            how,
        };
        Message { op: shape.op().to_owned(), ts_ms, before, after, source, change }
    }
}

fn entry(path: &[u8], id: EntryId, state: &State) -> Entry {
    let (path, path_raw) = text_and_raw(path);
    Entry {
        path,
        path_raw,
        stat: v1::Stat::from(&state.stat),
        inode: id.inode,
        volume: id.volume.0,
        category: state.category.map(|category| category.word().to_owned()),
        digest: state.digest.as_ref().map(v1::digest_text),
    }
}

/// The routing key of a record: `fs.v1.<root>.<kind>.<verb>.<partition>`, each word from a closed set, as
/// `fs.v1.r1.file.renamed.p07`. What is about no one entry is of the kind `none` and in the partition `pall`.
#[must_use]
pub fn key(record: &Record) -> String {
    let root = record.root.0;
    match &record.body {
        Body::Change(change) => {
            let state = change.after.as_ref().or(change.before.as_ref());
            let kind = state.map_or(NO_KIND, |state| state.stat.kind.word());
            format!("fs.v1.r{root}.{kind}.{}.{}", change.op.word(), token(partition(change.entry)))
        }
        other => format!("fs.v1.r{root}.{NO_KIND}.{}.{ALL_PARTITIONS}", other.word()),
    }
}

/// The verb of a record.
#[must_use]
pub fn verb(record: &Record) -> &'static str {
    record.body.word()
}

/// The word of a partition in keys.
#[must_use]
pub fn token(partition: u64) -> String {
    format!("p{partition:02}")
}

/// The partition of an entry, below [`PARTITIONS`]: the same for ever, so that a consumer of some partitions has whole
/// entries. Splitmix64's last steps (Steele, Lea, Flood, 2014) over inode and volume.
#[must_use]
pub fn partition(id: EntryId) -> u64 {
    let mut word = id.inode ^ u64::from(id.volume.0).rotate_right(16);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) % PARTITIONS
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{Change, Gap, Kind, Op, RootId, Seq, Stat, Time, VolumeId};

    fn record(body: Body) -> Record {
        Record {
            seq: Seq(7),
            seen: Time(1_700_000_000_123_456_789),
            how: How::Fanotify,
            root: RootId(3),
            body,
        }
    }

    pub(in crate::wire) fn stat() -> Stat {
        Stat {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            links: 2,
            size: 5,
            allocated: 512,
            modified: Time(5),
            changed: Time(6),
            accessed: Time(0),
            created: Some(Time(4)),
        }
    }

    fn renamed() -> Record {
        let state = Some(State { stat: stat(), digest: None, category: None });
        record(Body::Change(Box::new(Change {
            entry: EntryId::new(VolumeId(1), 42),
            birth: Some(Time(4)),
            op: Op::Renamed,
            at: None,
            old: None,
            before: state,
            after: state,
            parents: Vec::new(),
            complete: true,
            pair: None,
            path: b"/r/new\xff".as_slice().into(),
            old_path: Some(b"/r/old".as_slice().into()),
        })))
    }

    pub(in crate::wire) fn origin() -> Origin {
        let word = str::to_owned;
        Origin {
            source: word("/indexer/nas"),
            host: word("nas"),
            epoch: "e".repeat(32),
            version: word("0.1.0"),
        }
    }

    #[test]
    fn a_rename_is_an_update_with_another_path() {
        let message = Message::new(&renamed(), b"/r", &origin());
        assert_eq!((message.op.as_str(), message.change.verb.as_str()), ("u", "renamed"));
        assert_eq!(message.before.as_ref().map(|entry| entry.path.as_str()), Some("/r/old"));
        let after = message.after.as_ref().expect("after");
        assert_eq!(v1::bytes_of(&after.path, after.path_raw.as_deref()).expect("bytes"), b"/r/new\xff");
        assert_eq!((message.ts_ms, message.source.seq), (1_700_000_000_123, 7));
        let text = serde_json::to_string(&message).expect("text");
        assert_eq!(serde_json::from_str::<Message>(&text).expect("read"), message, "{text}");
        assert_eq!(origin().id(7), format!("/indexer/nas/{}/7", "e".repeat(32)));
    }

    #[test]
    fn what_is_about_no_entry_is_a_message_for_all_partitions() {
        let gap = Gap {
            from: Time(1),
            to: Time(2),
            scope: b"/r/a".as_slice().into(),
            why: "queue overflow".into(),
        };
        let record = record(Body::Gap(gap));
        assert_eq!(key(&record), "fs.v1.r3.none.gap.pall");
        let message = Message::new(&record, b"/r", &origin());
        assert_eq!((message.op.as_str(), message.change.path.as_deref()), ("m", Some("/r/a")));
        assert_eq!((message.change.from_ns, message.change.to_ns), (Some(1), Some(2)));
    }

    /// Consumers bind by these: they must never change.
    #[test]
    fn keys_are_of_closed_sets_and_partitions_stay() {
        assert_eq!(key(&renamed()), "fs.v1.r3.file.renamed.p01");
        let at = |volume, inode| partition(EntryId::new(VolumeId(volume), inode));
        assert_eq!([at(1, 0), at(1, 1), at(2, 1), at(1, 1 << 40)], [1, 15, 5, 6]);
        let mut seen = [0u32; PARTITIONS as usize];
        for inode in 0..16_000 {
            seen[at(1, inode) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }
}
