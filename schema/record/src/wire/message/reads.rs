//! What a replay says: each entry as it stands in the index at one record, between a word that it begins and one that it has ended.
//! Knows no index: entries come in, messages go out.

use super::{ALL_PARTITIONS, CONNECTOR, Detail, Message, NO_KIND, Origin, Shape, Source, partition, token};
use crate::wire::v1::{Entry, Place, text_and_raw};
use crate::{EntryId, How, RootId, Time};

/// A replay of one root.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// Of which index.
    pub origin: &'a Origin,
    /// The last record before the moment that all of it is read at.
    pub as_of: u64,
    /// When that was.
    pub at: Time,
    /// The root's number.
    pub root: RootId,
    /// The root's path.
    pub path: &'a [u8],
}

/// A message of a replay, with what tells it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its routing key.
    pub key: String,
    /// `source/epoch/as-of/volume:inode`, or `…/begun/r1`, `…/ended/r1`: the same in each replay as of that record.
    pub id: String,
    /// Its verb.
    pub verb: &'static str,
    /// The entry that it is about.
    pub subject: Option<String>,
    /// Its body.
    pub message: Message,
}

impl Read {
    /// The verb of an entry.
    pub const VERB: &'static str = "read";
    /// The verb of the word before all entries.
    pub const BEGUN: &'static str = "replay_begun";
    /// The verb of the word after them.
    pub const ENDED: &'static str = "replay_ended";
}

impl Replay<'_> {
    /// The word that comes before all of it.
    #[must_use]
    pub fn begun(&self) -> Read {
        self.mark("begun", Read::BEGUN, None)
    }

    /// The word that comes after all of it: so many entries were read, and what is older than the replay and was not among them is
    /// gone.
    #[must_use]
    pub fn ended(&self, entries: u64) -> Read {
        self.mark("ended", Read::ENDED, Some(entries))
    }

    /// An entry: its first name is `at`, `names` are all of them where it has several.
    #[must_use]
    pub fn read(&self, entry: Entry, id: EntryId, at: Option<Place>, names: Vec<Place>) -> Read {
        let verb = Read::VERB;
        let change = Detail { verb: verb.to_owned(), complete: true, at, names, ..Detail::default() };
        Read {
            key: format!("fs.v1.r{}.{}.{verb}.{}", self.root.0, entry.stat.kind, token(partition(id))),
            id: format!("{}/{id}", self.origin.id(self.as_of)),
            verb,
            subject: Some(id.to_string()),
            message: self.message(Shape::Read, Some(entry), change),
        }
    }

    fn mark(&self, word: &str, verb: &'static str, entries: Option<u64>) -> Read {
        let (path, path_raw) = text_and_raw(self.path);
        let change = Detail {
            verb: verb.to_owned(),
            complete: true,
            path: Some(path),
            path_raw,
            entries,
            ..Detail::default()
        };
        Read {
            key: format!("fs.v1.r{}.{NO_KIND}.{verb}.{ALL_PARTITIONS}", self.root.0),
            id: format!("{}/{word}/r{}", self.origin.id(self.as_of), self.root.0),
            verb,
            subject: None,
            message: self.message(Shape::Notice, None, change),
        }
    }

    fn message(&self, shape: Shape, after: Option<Entry>, change: Detail) -> Message {
        let ts_ms = i64::try_from(self.at.0.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        let source = Source {
            version: self.origin.version.clone(),
            connector: CONNECTOR.to_owned(),
            name: self.origin.source.clone(),
            host: self.origin.host.clone(),
            ts_ms,
            ts_ns: self.at.0,
            epoch: self.origin.epoch.clone(),
            seq: self.as_of,
            root: text_and_raw(self.path).0,
            root_id: self.root.0,
            how: How::Import.word().to_owned(),
        };
        Message { op: shape.op().to_owned(), ts_ms, before: None, after, source, change }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{origin, stat};
    use super::*;
    use crate::{Place as Name, Row, VolumeId};

    fn entry(path: &[u8], id: EntryId) -> Entry {
        Entry::new(path, id, &Row::new(stat(), Time(0)))
    }

    #[test]
    fn entries_stand_between_two_words_about_the_whole() {
        let origin = origin();
        let at = Time(1_700_000_000_123_456_789);
        let replay = Replay { origin: &origin, as_of: 77, at, root: RootId(3), path: b"/r\xff" };
        let id = EntryId::new(VolumeId(1), 42);
        let name = |name: &[u8]| Place::from(&Name::new(EntryId::new(VolumeId(1), 2), name));
        let read = replay.read(entry(b"/r/a", id), id, Some(name(b"a")), vec![name(b"a"), name(b"b")]);
        assert_eq!(read.key, "fs.v1.r3.file.read.p01", "the partition is that of its records");
        assert_eq!(read.id, format!("/indexer/nas/{}/77/1:42", origin.epoch));
        assert_eq!((read.verb, read.subject.as_deref()), ("read", Some("1:42")));
        let message = &read.message;
        assert_eq!((message.op.as_str(), message.source.seq, message.ts_ms), ("r", 77, 1_700_000_000_123));
        assert!(message.before.is_none());
        assert_eq!(message.after.as_ref().map(|after| after.path.as_str()), Some("/r/a"));
        let text = serde_json::to_string(message).expect("text");
        assert_eq!(serde_json::from_str::<Message>(&text).expect("read"), *message, "{text}");

        let (begun, ended) = (replay.begun(), replay.ended(9));
        assert_eq!(begun.key, "fs.v1.r3.none.replay_begun.pall");
        assert_eq!(ended.key, "fs.v1.r3.none.replay_ended.pall");
        assert_eq!(begun.id, format!("/indexer/nas/{}/77/begun/r3", origin.epoch));
        assert_eq!(ended.id, format!("/indexer/nas/{}/77/ended/r3", origin.epoch));
        assert_eq!((ended.message.op.as_str(), ended.message.change.entries), ("m", Some(9)));
        assert_eq!((begun.message.change.entries, begun.message.source.seq), (None, 77));
        assert!(begun.message.change.path_raw.is_some() && begun.subject.is_none());
    }
}
