//! JSON, version 1: one object a line, times as integer nanoseconds since 1970, sizes in bytes.
//!
//! A path that is valid UTF-8 stands exactly in `path`. Otherwise `path` is for display and `path_raw`
//! (base64 of the bytes) is the truth.

mod duplicates;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::duplicates::{DuplicateSet, Duplicates, OtherNames};
use super::schema;
use crate::{Body, Category, Digest, DigestKind, EntryId, Record, State, Totals};

/// A path or a name for the edge: exact text, or text for display with the bytes beside it.
#[must_use]
pub fn text_and_raw(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(BASE64.encode(bytes))),
    }
}

/// The bytes behind a pair that [`text_and_raw`] made.
///
/// # Errors
/// When `raw` is not base64.
pub fn bytes_of(text: &str, raw: Option<&str>) -> Result<Vec<u8>, base64::DecodeError> {
    match raw {
        Some(raw) => BASE64.decode(raw),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// A digest as `kind:hex`.
#[must_use]
pub fn digest_text(digest: &Digest) -> String {
    let mut text = String::with_capacity(digest.kind.word().len() + 65);
    text.push_str(digest.kind.word());
    text.push(':');
    hex(&digest.bytes, &mut text);
    text
}

/// What [`digest_text`] made; none of any other text.
#[must_use]
pub fn digest_of(text: &str) -> Option<Digest> {
    let (word, hex) = text.split_once(':')?;
    let kind = DigestKind::ALL.into_iter().find(|kind| kind.word() == word)?;
    Some(Digest { kind, bytes: unhex(hex)? })
}

/// Adds two digits a byte.
pub(crate) fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
}

/// What [`hex`] made of so many bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn category_text(category: Category) -> String {
    category.word().to_owned()
}

/// Nanoseconds. Written as an integer of any size; read through buffers that know none of 128 bits, so exactly up to
/// 64 bits of either sign, which end in the years 1677 and 2554, and to some microseconds beyond: a file may have such a time, and
/// what is said of it is not to be lost for that.
pub(crate) mod ns {
    use serde::de::{Error, Unexpected, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Clone, Copy)]
    struct Ns(i128);

    impl<'de> Deserialize<'de> for Ns {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ns, D::Error> {
            struct Any;
            impl Visitor<'_> for Any {
                type Value = Ns;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an integer of nanoseconds")
                }
                fn visit_i64<E: Error>(self, value: i64) -> Result<Ns, E> {
                    Ok(Ns(i128::from(value)))
                }
                fn visit_u64<E: Error>(self, value: u64) -> Result<Ns, E> {
                    Ok(Ns(i128::from(value)))
                }
                fn visit_i128<E: Error>(self, value: i128) -> Result<Ns, E> {
                    Ok(Ns(value))
                }
                fn visit_f64<E: Error>(self, value: f64) -> Result<Ns, E> {
                    // Beyond 64 bits alone, and within what a file system can say: 64 bits of seconds.
                    let beyond = value < i64::MIN as f64 || value >= u64::MAX as f64;
                    if !beyond || value.abs() > 1e28 {
                        return Err(E::invalid_value(Unexpected::Float(value), &self));
                    }
                    Ok(Ns(value as i128))
                }
            }
            from.deserialize_any(Any)
        }
    }

    pub(crate) fn serialize<S: Serializer>(value: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i128(*value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        Ns::deserialize(from).map(|ns| ns.0)
    }

    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Ns, Serializer};

        pub(crate) fn serialize<S: Serializer>(value: &Option<i128>, to: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => to.serialize_some(value),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i128>, D::Error> {
            Ok(Option::<Ns>::deserialize(from)?.map(|ns| ns.0))
        }
    }
}

/// The stat fields of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stat {
    /// What it is.
    #[schemars(extend("enum" = crate::Kind::ALL.map(crate::Kind::word)))]
    pub kind: String,
    /// Apparent size in bytes.
    pub size: u64,
    /// Bytes of disk.
    pub allocated: u64,
    /// Content last changed.
    #[serde(with = "ns")]
    #[schemars(with = "i128")]
    pub modified_ns: i128,
    /// Inode last changed.
    #[serde(with = "ns")]
    #[schemars(with = "i128")]
    pub changed_ns: i128,
    /// Birth; null where the file system keeps none.
    #[serde(with = "ns::option")]
    #[schemars(with = "Option<i128>")]
    pub created_ns: Option<i128>,
    /// Last read, as of the last time the row was written.
    #[serde(with = "ns")]
    #[schemars(with = "i128")]
    pub accessed_ns: i128,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u32,
}

impl From<&crate::Stat> for Stat {
    fn from(stat: &crate::Stat) -> Stat {
        Stat {
            kind: stat.kind.word().to_owned(),
            size: stat.size,
            allocated: stat.allocated,
            modified_ns: stat.modified.0,
            changed_ns: stat.changed.0,
            created_ns: stat.created.map(|time| time.0),
            accessed_ns: stat.accessed.0,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            links: stat.links,
        }
    }
}

/// An entry of the index: one line of `find --json` and `ls --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Absolute path.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// The stat fields.
    #[serde(flatten)]
    pub stat: Stat,
    /// Inode number.
    pub inode: u64,
    /// Our number of the file system it is on.
    pub volume: u32,
    /// What sort of content, by name and first bytes; null for what is no regular file.
    #[schemars(extend("enum" = schema::category_words()))]
    pub category: Option<String>,
    /// `kind:hex`, or null where none is known for this stat.
    #[schemars(extend("pattern" = schema::digest_pattern()))]
    pub digest: Option<String>,
}

impl Entry {
    /// The entry at `path`.
    #[must_use]
    pub fn new(path: &[u8], id: EntryId, row: &crate::Row) -> Entry {
        let (path, path_raw) = text_and_raw(path);
        Entry {
            path,
            path_raw,
            stat: Stat::from(&row.stat),
            inode: id.inode,
            volume: id.volume.0,
            category: row.category().map(category_text),
            digest: row.current_digest().map(|digest| digest_text(&digest)),
        }
    }
}

/// One line of `du --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Du {
    /// Absolute path of the directory.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// Entries below that are not directories.
    pub files: u64,
    /// Directories, this one included.
    pub directories: u64,
    /// Sum of sizes.
    pub bytes: u64,
    /// Sum of allocated bytes.
    pub allocated: u64,
    /// Newest change below, ever.
    #[serde(with = "ns")]
    pub newest_ns: i128,
}

impl Du {
    /// The totals of the directory at `path`.
    #[must_use]
    pub fn new(path: &[u8], totals: &Totals) -> Du {
        let (path, path_raw) = text_and_raw(path);
        Du {
            path,
            path_raw,
            files: totals.files,
            directories: totals.directories,
            bytes: totals.bytes,
            allocated: totals.allocated,
            newest_ns: totals.newest.0,
        }
    }
}

/// One line of `du --by category --json`: what is of one category at and below a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuCategory {
    /// Absolute path.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// As of an [`Entry`]; null is all that is no regular file, directories among it.
    pub category: Option<String>,
    /// Entries that are not directories.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Sum of sizes.
    pub bytes: u64,
    /// Sum of allocated bytes.
    pub allocated: u64,
}

impl DuCategory {
    /// What is of `category` at and below `path`.
    #[must_use]
    pub fn new(path: &[u8], category: Option<Category>, totals: &Totals) -> DuCategory {
        let (path, path_raw) = text_and_raw(path);
        DuCategory {
            path,
            path_raw,
            category: category.map(category_text),
            files: totals.files,
            directories: totals.directories,
            bytes: totals.bytes,
            allocated: totals.allocated,
        }
    }
}

/// A name in a change: the directory by number and the name in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Volume of the directory.
    pub volume: u32,
    /// Inode of the directory.
    pub parent: u64,
    /// The name.
    pub name: String,
    /// Its bytes in base64, where `name` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_raw: Option<String>,
}

impl From<&crate::Place> for Place {
    fn from(place: &crate::Place) -> Place {
        let (name, name_raw) = text_and_raw(&place.name);
        Place { volume: place.dir.volume.0, parent: place.dir.inode, name, name_raw }
    }
}

/// A state in a change: stat, digest and category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryState {
    /// The stat fields.
    #[serde(flatten)]
    pub stat: Stat,
    /// `kind:hex` or null.
    pub digest: Option<String>,
    /// As of an [`Entry`].
    pub category: Option<String>,
}

impl From<&State> for EntryState {
    fn from(state: &State) -> EntryState {
        EntryState {
            stat: Stat::from(&state.stat),
            digest: state.digest.as_ref().map(digest_text),
            category: state.category.map(category_text),
        }
    }
}

/// A directory whose own times a change moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parent {
    /// Its volume.
    pub volume: u32,
    /// Its inode.
    pub inode: u64,
    /// Its new stat.
    #[serde(flatten)]
    pub stat: Stat,
}

/// One line of `changes --json`: a record. Fields that an op has no use for are absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the record, gapless.
    pub seq: u64,
    /// `created modified attrib renamed linked unlinked deleted hashed corrupt gap root_lost root_found
    /// seeded duplicate`.
    pub op: String,
    /// Absolute path of the entry, the scope or the root.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// For renamed: the path it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// Its bytes in base64, where `old_path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path_raw: Option<String>,
    /// Path of the root it belongs to.
    pub root: String,
    /// Volume of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<u32>,
    /// Inode of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Birth of the entry.
    #[serde(default, with = "ns::option", skip_serializing_if = "Option::is_none")]
    pub birth_ns: Option<i128>,
    /// The name it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
    /// For renamed: the name it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Place>,
    /// The entry before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<EntryState>,
    /// The entry after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EntryState>,
    /// Directories whose own times it moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// When it was seen.
    #[serde(with = "ns")]
    pub seen_ns: i128,
    /// `fanotify inotify notify sweep scan digest import`.
    pub how: String,
    /// False while a writer is still at it.
    pub complete: bool,
    /// The other record of a recycled inode number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<u64>,
    /// For gap: from when.
    #[serde(default, with = "ns::option", skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<i128>,
    /// For gap: until when.
    #[serde(default, with = "ns::option", skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<i128>,
    /// For gap and `root_lost`: what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// For seeded: entries in the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// For duplicate: the set as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<DuplicateSet>,
}

/// Paths as texts, and all of them in base64 where a text cannot hold one.
pub fn texts_and_raws<'a>(paths: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<Vec<String>>) {
    let mut torn = false;
    let (mut texts, mut raws) = (Vec::new(), Vec::new());
    for path in paths {
        let (text, raw) = text_and_raw(path);
        torn |= raw.is_some();
        raws.push(BASE64.encode(path));
        texts.push(text);
    }
    (texts, torn.then_some(raws))
}

impl Change {
    /// The JSON form of `record`, whose root is configured at `root`.
    #[must_use]
    pub fn new(record: &Record, root: &[u8]) -> Change {
        let mut change = Change {
            seq: record.seq.0,
            op: record.body.word().to_owned(),
            path: String::new(),
            path_raw: None,
            old_path: None,
            old_path_raw: None,
            root: text_and_raw(root).0,
            volume: None,
            inode: None,
            birth_ns: None,
            at: None,
            old: None,
            before: None,
            after: None,
            parents: Vec::new(),
            seen_ns: record.seen.0,
            how: record.how.word().to_owned(),
            complete: true,
            pair: None,
            from_ns: None,
            to_ns: None,
            why: None,
            entries: None,
            set: None,
        };
        let path: &[u8] = match &record.body {
            Body::Change(body) => {
                change.volume = Some(body.entry.volume.0);
                change.inode = Some(body.entry.inode);
                change.birth_ns = body.birth.map(|time| time.0);
                change.at = body.at.as_ref().map(Place::from);
                change.old = body.old.as_ref().map(Place::from);
                change.before = body.before.as_ref().map(EntryState::from);
                change.after = body.after.as_ref().map(EntryState::from);
                change.parents = body
                    .parents
                    .iter()
                    .map(|(id, stat)| Parent { volume: id.volume.0, inode: id.inode, stat: stat.into() })
                    .collect();
                change.complete = body.complete;
                change.pair = body.pair.map(|seq| seq.0);
                if let Some(old_path) = &body.old_path {
                    let (text, raw) = text_and_raw(old_path);
                    (change.old_path, change.old_path_raw) = (Some(text), raw);
                }
                &body.path
            }
            Body::Gap(gap) => {
                change.from_ns = Some(gap.from.0);
                change.to_ns = Some(gap.to.0);
                change.why = Some(gap.why.clone());
                &gap.scope
            }
            Body::RootLost { path, why } => {
                change.why = Some(why.clone());
                path
            }
            Body::RootFound { path } => path,
            Body::Seeded(seeded) => {
                change.entries = Some(seeded.entries);
                &seeded.path
            }
            Body::Duplicates(set) => {
                change.set = Some(DuplicateSet::from(&**set));
                set.paths.first().map_or(&b""[..], |path| path)
            }
        };
        (change.path, change.path_raw) = text_and_raw(path);
        change
    }
}

/// One line of `verify --json`: a difference between the index and the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Absolute path.
    pub path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
    /// `missing`: on disk, not in the index. `extra`: in the index, not on disk. `differs`: in both.
    pub what: String,
    /// What the index holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stat>,
    /// What the disk holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Stat>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change as Inner, How, Kind as K, Op, Place as P, RootId, Seq, Stat as S, Time, VolumeId};

    fn stat(changed: i128) -> S {
        S {
            kind: K::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            links: 1,
            size: 5,
            allocated: 512,
            modified: Time(-142_435_901_573_037_066),
            changed: Time(changed),
            accessed: Time(0),
            created: None,
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        // 2446, the last year of ext4, lies beyond 63 bits.
        let category = Some(crate::Category::Photo);
        let state = State { stat: stat(15_032_385_535_000_000_000), digest: None, category };
        let dir = EntryId::new(VolumeId(1), 2);
        let change = Inner {
            entry: EntryId::new(VolumeId(1), u64::MAX),
            birth: Some(Time(7)),
            op: Op::Renamed,
            at: Some(P::new(dir, b"\xff\n")),
            old: Some(P::new(dir, b"a")),
            before: Some(state),
            after: Some(state),
            parents: vec![(dir, stat(1))],
            complete: true,
            pair: Some(Seq(3)),
            path: b"/r/\xff\n".as_slice().into(),
            old_path: Some(b"/r/a".as_slice().into()),
        };
        let record = Record {
            seq: Seq(2),
            seen: Time(9),
            how: How::Inotify,
            root: RootId(1),
            body: Body::Change(Box::new(change)),
        };
        let written = Change::new(&record, b"/r");
        let text = serde_json::to_string(&written).unwrap();
        let read: Change = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written, "{text}");
        assert_eq!(bytes_of(&read.path, read.path_raw.as_deref()).unwrap(), b"/r/\xff\n");
        assert!(!text.contains('\n'), "one object a line: {text}");
        assert_eq!(text.matches("\"category\":\"photo\"").count(), 2, "before and after: {text}");
    }
}
