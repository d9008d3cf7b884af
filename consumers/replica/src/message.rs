//! What a message says, checked: whoever may publish may also send garbage. Knows no tables.

use record::wire::message::trust::{self, path, word};
use record::wire::message::{Message, Unusable};
use record::wire::v1::{Entry, EntryState, Place};
use record::{EntryId, Kind, VolumeId};

fn bad<T>(why: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(why.into()))
}

/// A message that can be used.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) root: u32,
    pub(crate) root_path: String,
    pub(crate) says: Says,
}

/// What it says.
#[derive(Debug)]
pub(crate) enum Says {
    /// A record of a change.
    Change(Box<Change>),
    /// An entry, as a replay found it.
    Read(Box<Change>),
    /// A replay begins.
    Begun,
    /// It ended, and told of so many.
    Ended(u64),
    /// Records up to this one are lost to subscribers.
    Lost,
    /// The first scan of a root is done; what it found is in no record.
    Seeded,
    /// A record that changes no entry.
    Word,
}

/// An entry and its names.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: EntryId,
    /// What it is now; none: gone.
    pub(crate) state: Option<EntryState>,
    /// Names that it has.
    pub(crate) has: Vec<Name>,
    /// Names that it has no more.
    pub(crate) lost: Vec<Name>,
    /// Directories whose stat it moved.
    pub(crate) parents: Vec<(EntryId, EntryState)>,
    /// Where a directory is that nobody named: a root's own, or one that was never told of.
    pub(crate) top: Option<(EntryId, Vec<u8>)>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) dir: EntryId,
    pub(crate) name: Vec<u8>,
}

/// Reads a message: its identity and routing key as they stand beside it, and its body.
pub(crate) fn read(id: &str, key: &str, body: &[u8]) -> Result<Fact, Unusable> {
    let message = Message::read(key, body)?;
    let lost = message.tells_of_lost(id);
    let Message { op, before, after, source, change, .. } = message;
    let says = match op.as_str() {
        "m" => match change.verb.as_str() {
            "replay_begun" => Says::Begun,
            "replay_ended" => match change.entries {
                Some(entries) => Says::Ended(entries),
                None => return bad("a replay that ended says how many entries it told of"),
            },
            "seeded" => Says::Seeded,
            "gap" if lost => Says::Lost,
            _ => Says::Word,
        },
        "c" | "u" | "d" | "r" => {
            let (entry, there) = match (op.as_str(), &after, &before) {
                ("d", _, Some(before)) => (before, false),
                ("c" | "u" | "r", Some(after), _) => (after, true),
                _ => return bad(format!("a message of op {op} lacks the entry")),
            };
            let path = path(entry, &source.root)?;
            let id = EntryId::new(VolumeId(entry.volume), entry.inode);
            let state = if there { Some(state(entry)?) } else { None };
            let at = change.at.as_ref().map(name).transpose()?;
            let old = change.old.as_ref().map(name).transpose()?;
            let names: Vec<Name> = change.names.iter().map(name).collect::<Result<_, _>>()?;
            let top = top(id, at.as_ref(), path);
            let (has, lost) = match change.verb.as_str() {
                "read" if names.is_empty() => (at.into_iter().collect(), Vec::new()),
                "read" => (names, Vec::new()),
                "unlinked" | "deleted" => (Vec::new(), at.into_iter().collect()),
                "renamed" => (at.into_iter().collect(), old.into_iter().collect()),
                _ => (at.into_iter().collect(), Vec::new()),
            };
            let mut parents = Vec::new();
            for parent in change.parents {
                if Kind::from_word(&parent.stat.kind).is_none() {
                    return bad("a directory of an unknown kind");
                }
                let state = EntryState { stat: parent.stat, digest: None, category: None };
                parents.push((EntryId::new(VolumeId(parent.volume), parent.inode), state));
            }
            let change = Box::new(Change { id, state, has, lost, parents, top });
            if op == "r" { Says::Read(change) } else { Says::Change(change) }
        }
        _ => return bad(format!("of the op {op:?}, which is none of c, u, d, r and m")),
    };
    Ok(Fact {
        name: source.name,
        host: source.host,
        epoch: source.epoch,
        seq: source.seq,
        root: source.root_id,
        root_path: source.root,
        says,
    })
}

/// The directory whose path the entry's tells.
fn top(id: EntryId, at: Option<&Name>, path: Vec<u8>) -> Option<(EntryId, Vec<u8>)> {
    let Some(at) = at else { return (!path.is_empty()).then_some((id, path)) };
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    (path[slash + 1..] == *at.name).then(|| (at.dir, path[..slash.max(1)].to_vec()))
}

fn state(entry: &Entry) -> Result<EntryState, Unusable> {
    if Kind::from_word(&entry.stat.kind).is_none() {
        return bad("an entry of an unknown kind");
    }
    if let Some(digest) = &entry.digest {
        word("its digest", digest)?;
    }
    Ok(EntryState {
        stat: entry.stat.clone(),
        digest: entry.digest.clone(),
        category: entry.category.clone(),
    })
}

fn name(place: &Place) -> Result<Name, Unusable> {
    let record::Place { dir, name } = trust::place(place)?;
    Ok(Name { dir, name: name.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        let stat = json!({"path": "/r/a", "kind": "file", "size": 5, "allocated": 8, "modified_ns": 1, "changed_ns": 1,
            "created_ns": null, "accessed_ns": 0, "mode": 420, "uid": 0, "gid": 0, "links": 1, "inode": 42, "volume": 1,
            "category": "other", "digest": null});
        json!({"op": "c", "ts_ms": 1, "before": null, "after": stat,
            "source": {"version": "0", "connector": "indexer", "name": "/indexer/nas", "host": "nas", "ts_ms": 1, "ts_ns": 1,
                "epoch": "e".repeat(32), "seq": 7, "root": "/r", "root_id": 1, "how": "sweep"},
            "change": {"verb": "created", "complete": true, "at": {"volume": 1, "parent": 2, "name": "a"}}})
    }

    fn told(value: &Value) -> Result<Fact, Unusable> {
        read("", "fs.v1.r1.file.created.p00", value.to_string().as_bytes())
    }

    #[test]
    fn a_good_one_is_read() {
        let fact = told(&good()).unwrap();
        let Says::Change(change) = fact.says else { panic!("{fact:?}") };
        assert_eq!((fact.seq, change.has.len(), change.lost.len()), (7, 1, 0));
        assert_eq!(change.top, Some((EntryId::new(VolumeId(1), 2), b"/r".to_vec())));
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_reason() {
        for (pointer, value, said) in [
            ("/after/path", json!("/r/../etc/passwd"), ".."),
            ("/after/path", json!("r/a"), "not absolute"),
            ("/after/path", json!("/r/a\u{0}"), "no name"),
            ("/after/path", json!("/other/a"), "outside its root"),
            ("/after/path", json!("/rest"), "outside its root"),
            ("/after/path", json!(format!("/r/{}", "x".repeat(300_000))), "bytes"),
            ("/after/path_raw", json!("***"), "base64"),
            ("/after/kind", json!("door"), "kind"),
            ("/after/digest", json!("x".repeat(600)), "digest"),
            ("/after", json!(null), "lacks the entry"),
            ("/op", json!("x"), "op"),
            ("/change/at/name", json!(".."), "names"),
            ("/change/at/name", json!("a/b"), "names"),
            ("/change/at/name", json!(""), "names"),
            ("/source/epoch", json!("e"), "epoch"),
            ("/source/connector", json!("mysql"), "no indexer"),
            ("/source/name", json!("a\nb"), "source"),
            ("/source/root", json!("srv"), "root"),
            ("/source/seq", json!(-1), "schema v1"),
            ("/source/seq", json!(u64::MAX), "seq"),
        ] {
            let mut message = good();
            match message.pointer_mut(pointer) {
                Some(at) => *at = value,
                None => message["after"]["path_raw"] = value,
            }
            let error = told(&message).expect_err(pointer).to_string();
            assert!(error.contains(said), "{pointer}: {error}");
        }
        let body = good().to_string();
        for (key, said) in
            [("fs.v2.r1.file.created.p00", "v2"), ("other", "routing key"), ("", "routing key")]
        {
            let error = read("", key, body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{key}: {error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_harms_nobody(body in proptest::collection::vec(any::<u8>(), 0..200), key in ".{0,20}") {
            prop_assert!(read("", &key, &body).is_err());
        }

        #[test]
        fn a_message_that_was_tampered_with_is_read_or_refused(at in 0..700usize, byte in any::<u8>()) {
            let mut body = good().to_string().into_bytes();
            let at = at % body.len();
            body[at] = byte;
            let _ = read("", "fs.v1.r1.file.created.p00", &body);
        }
    }
}
