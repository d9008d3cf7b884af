//! From a message back to the record that it was made of, strictly: what no record would say is refused. Knows no broker.

use super::trust::{self, Unusable, absolute, bad, bytes};
use super::{Detail, Message, Read, Shape};
use crate::wire::v1::{DuplicateSet, Entry, Stat as WireStat, bytes_of, digest_of};
use crate::{
    Body, Category, Change, Digest, Duplicates, EntryId, Gap, How, Kind, Op, Record, RootId, Seeded, Seq,
    Stat, State, Time, VolumeId,
};

/// Paths of a set that are believed: more than any version tells.
const MOST_PATHS: usize = 64;

impl Message {
    /// The record that it was made of, with the numbers of where it comes from; `None` for what a replay says, which is of no record.
    /// Expects a message that [`Message::read`] gave.
    ///
    /// # Errors
    /// What of it no record says.
    pub fn record(&self) -> Result<Option<Record>, Unusable> {
        let (op, verb) = (self.op.as_str(), self.change.verb.as_str());
        let Some(shape) = Shape::ALL.into_iter().find(|shape| shape.op() == op) else {
            return bad(format!("of the op {op:?}, which is none of c, u, d, r and m"));
        };
        if !shape.verbs().contains(&verb) {
            return bad(format!("of the verb {verb:?}, which the op {op} does not have"));
        }
        let source = &self.source;
        let Some(how) = How::ALL.into_iter().find(|how| how.word() == source.how) else {
            return bad(format!("found by {:?}, which this version does not know", source.how));
        };
        let body = match Op::ALL.into_iter().find(|op| op.word() == verb) {
            Some(op) => Body::Change(Box::new(self.change(op)?)),
            None if [Read::VERB, Read::BEGUN, Read::ENDED].contains(&verb) => return Ok(None),
            None => notice(&self.change)?,
        };
        if source.seq == 0 {
            return bad("its seq is 0, which stands before all records");
        }
        let (seq, seen, root) = (Seq(source.seq), Time(source.ts_ns), RootId(source.root_id));
        Ok(Some(Record { seq, seen, how, root, body }))
    }

    fn change(&self, op: Op) -> Result<Change, Unusable> {
        let Message { before, after, source, change, .. } = self;
        let is = match op {
            Op::Deleted => before.as_ref(),
            _ => after.as_ref(),
        };
        let Some(is) = is else { return bad(format!("a message of op {} lacks the entry", self.op)) };
        let entry = id(is);
        if before.iter().chain(after).any(|one| id(one) != entry) {
            return bad("before and after are of two entries");
        }
        let path = trust::path(is, &source.root)?;
        // What it was renamed from may lie in another root.
        let old_path = match before {
            Some(before) if op == Op::Renamed => {
                let path = bytes(&before.path, before.path_raw.as_deref())?;
                if !path.is_empty() {
                    absolute("the path it had", &path)?;
                }
                Some(path.into())
            }
            _ => None,
        };
        let (before, after) =
            (before.as_ref().map(state).transpose()?, after.as_ref().map(state).transpose()?);
        let mut parents = Vec::with_capacity(change.parents.len());
        for parent in &change.parents {
            parents.push((EntryId::new(VolumeId(parent.volume), parent.inode), stat(&parent.stat)?));
        }
        Ok(Change {
            entry,
            // A record says the birth apart; it is that of the stat.
            birth: after.or(before).and_then(|state| state.stat.created),
            op,
            at: change.at.as_ref().map(trust::place).transpose()?,
            old: change.old.as_ref().map(trust::place).transpose()?,
            before,
            after,
            parents,
            complete: change.complete,
            pair: change.pair.map(Seq),
            path: path.into(),
            old_path,
        })
    }
}

fn id(entry: &Entry) -> EntryId {
    EntryId::new(VolumeId(entry.volume), entry.inode)
}

/// What is about no one entry.
fn notice(change: &Detail) -> Result<Body, Unusable> {
    let path = || {
        let path = bytes(change.path.as_deref().unwrap_or(""), change.path_raw.as_deref())?;
        // That of a root that is not there any more is empty.
        if !path.is_empty() {
            absolute("its path", &path)?;
        }
        Ok(path.into())
    };
    let why = || change.why.clone().ok_or_else(|| Unusable(format!("{} does not say why", change.verb)));
    let [gap, root_lost, root_found, seeded, _] = Body::WORDS;
    Ok(match change.verb.as_str() {
        verb if verb == gap => {
            let (Some(from), Some(to)) = (change.from_ns, change.to_ns) else {
                return bad("a gap says from when to when it goes");
            };
            Body::Gap(Gap { from: Time(from), to: Time(to), scope: path()?, why: why()? })
        }
        verb if verb == root_lost => Body::RootLost { path: path()?, why: why()? },
        verb if verb == root_found => Body::RootFound { path: path()? },
        verb if verb == seeded => {
            let Some(entries) = change.entries else { return bad("seeded says how many entries there are") };
            Body::Seeded(Seeded { path: path()?, entries })
        }
        _ => {
            let Some(set) = &change.set else { return bad("a word of a set lacks the set") };
            Body::Duplicates(Box::new(duplicates(set)?))
        }
    })
}

fn duplicates(set: &DuplicateSet) -> Result<Duplicates, Unusable> {
    let raws = set.paths_raw.as_deref();
    if set.paths.len() > MOST_PATHS || raws.is_some_and(|raws| raws.len() != set.paths.len()) {
        return bad("a set with too many paths, or not one of paths_raw for each");
    }
    let mut paths = Vec::with_capacity(set.paths.len());
    for (nth, text) in set.paths.iter().enumerate() {
        let raw = raws.and_then(|raws| raws.get(nth)).map(String::as_str);
        let path = bytes_of(text, raw).or_else(|_| bad("paths_raw is not base64"))?;
        if !path.is_empty() {
            absolute("one of its paths", &path)?;
        }
        paths.push(path.into());
    }
    let DuplicateSet { size, copies, were, wasted, .. } = *set;
    Ok(Duplicates { digest: digest(&set.digest)?, size, copies, were, wasted, paths })
}

fn state(entry: &Entry) -> Result<State, Unusable> {
    let category = match &entry.category {
        None => None,
        Some(word) => match Category::from_word(word) {
            None => return bad("an entry of an unknown category"),
            known => known,
        },
    };
    let digest = entry.digest.as_deref().map(digest).transpose()?;
    Ok(State { stat: stat(&entry.stat)?, digest, category })
}

fn stat(stat: &WireStat) -> Result<Stat, Unusable> {
    let WireStat { mode, uid, gid, links, size, allocated, .. } = *stat;
    let Some(kind) = Kind::from_word(&stat.kind) else { return bad("an entry of an unknown kind") };
    if mode > 0o7777 {
        return bad("an entry with more than permissions in its mode");
    }
    Ok(Stat {
        kind,
        mode,
        uid,
        gid,
        links,
        size,
        allocated,
        modified: Time(stat.modified_ns),
        changed: Time(stat.changed_ns),
        accessed: Time(stat.accessed_ns),
        created: stat.created_ns.map(Time),
    })
}

fn digest(text: &str) -> Result<Digest, Unusable> {
    digest_of(text).ok_or_else(|| Unusable("its digest is none that this version knows".to_owned()))
}

#[cfg(test)]
mod tests;
