//! What a replay sends, as of one moment of the index: for each root a word that it begins, each entry once, a word that it ended. Knows
//! no broker.

use index::{Reader, RootRow, Ways};
use reconcile::Stored as _;
use record::wire::message::{Origin, Read, Replay};
use record::wire::v1;
use record::{EntryId, Place, Row, Time};
use serde::{Deserialize, Serialize};

use crate::query::walk::Walk;
use crate::query::whole::if_whole;
use crate::query::{Emit, Filter, FindRequest, QueryError, ReplayRequest, bytes};

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayLine {
    /// The first: what is to come.
    Head(ReplayHead),
    /// A message.
    Letter(ReplayLetter),
    /// All of a root was told; the message that says so came before.
    Ended(ReplayEnded),
}

/// Which moment is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayHead {
    /// The journal's epoch.
    pub(crate) epoch: String,
    /// The last record before that moment.
    pub(crate) as_of: u64,
    /// Roots that are told.
    pub(crate) roots: usize,
    /// About so many entries: one with names in two roots counts in both.
    pub(crate) entries: u64,
}

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayLetter {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) verb: String,
    pub(crate) subject: Option<String>,
    /// When it was read, nanoseconds since 1970.
    pub(crate) seen_ns: i64,
    /// The body as it goes out: times in it may be larger than a reader of JSON holds.
    pub(crate) body: String,
}

/// One root, told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayEnded {
    /// Its path.
    pub(crate) root: String,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_raw: Option<String>,
    /// Its number.
    pub(crate) root_id: u32,
    /// Entries told.
    pub(crate) entries: u64,
}

/// Tells all that `reader` has of the roots asked for, until `emit` has enough.
///
/// # Errors
/// [`QueryError::Bad`] for what is no root, [`QueryError::Failed`] at a moment at which not every entry is on a path.
pub(crate) fn replay(
    reader: &Reader,
    origin: &Origin,
    request: &ReplayRequest,
    emit: Emit<'_, ReplayLine>,
) -> Result<(), QueryError> {
    let roots = wanted(reader, request.root.as_deref(), request.root_raw.as_deref())?;
    if_whole(reader)?;
    let (as_of, at) = (reader.seq()?.0, Time::now());
    let mut expected = 0;
    for root in &roots {
        let totals = reader.totals(root.top)?.unwrap_or_default();
        expected += totals.files + totals.directories;
    }
    let head = ReplayHead { epoch: origin.epoch.clone(), as_of, roots: roots.len(), entries: expected };
    if !emit(ReplayLine::Head(head)) {
        return Ok(());
    }
    let mut ways = Ways::new(reader)?;
    for root in &roots {
        let replay = Replay { origin, as_of, at, root: root.id, path: &root.path };
        if !one(reader, &mut ways, root, &replay, emit)? {
            break;
        }
    }
    Ok(())
}

/// The roots asked for; one whose first scan is under way has no rows yet.
pub(super) fn wanted(
    reader: &Reader,
    path: Option<&str>,
    raw: Option<&str>,
) -> Result<Vec<RootRow>, QueryError> {
    let mut roots: Vec<RootRow> = reader.roots()?.into_iter().filter(|root| root.seeded.is_some()).collect();
    if let Some(path) = path {
        let path = bytes(path, raw)?;
        let shown: Vec<String> = roots.iter().map(|root| crate::paths::shown_bytes(&root.path)).collect();
        roots.retain(|root| *root.path == *path);
        if roots.is_empty() {
            let shown = if shown.is_empty() { "none yet".to_owned() } else { shown.join(", ") };
            let path = crate::paths::shown_bytes(&path);
            return Err(QueryError::Bad(format!(
                "{path} is no root that was scanned; the roots are {shown}"
            )));
        }
    }
    if roots.is_empty() {
        return Err(QueryError::Failed("the index has no root that was scanned".to_owned()));
    }
    Ok(roots)
}

/// Answers false when no more is wanted.
fn one(
    reader: &Reader,
    ways: &mut Ways,
    root: &RootRow,
    replay: &Replay<'_>,
    emit: Emit<'_, ReplayLine>,
) -> Result<bool, QueryError> {
    let mut send = |read: Read| letter(replay, read).map(|letter| emit(ReplayLine::Letter(letter)));
    if !send(replay.begun())? {
        return Ok(false);
    }
    let mut entries = 0;
    let everything = Filter::new(&FindRequest::default())?;
    let walk = Walk { reader, filter: &everything, max_depth: u32::MAX };
    let more = walk.below(root.path.to_vec(), (root.top, true), &mut |path, place, id| {
        let Some(row) = reader.row(id)? else { return Ok(true) };
        let place = place.map(|(dir, name)| Place::new(dir, name));
        let names = names(reader, id, &row)?;
        if !names.is_empty() && place != first_in(reader, ways, root, &names)? {
            // Told where the walk meets its first name in this root.
            return Ok(true);
        }
        entries += 1;
        let names = names.iter().map(v1::Place::from).collect();
        send(replay.read(v1::Entry::new(path, id, &row), id, place.as_ref().map(v1::Place::from), names))
    })?;
    if !more || !send(replay.ended(entries))? {
        return Ok(false);
    }
    let (path, root_raw) = v1::text_and_raw(&root.path);
    Ok(emit(ReplayLine::Ended(ReplayEnded { root: path, root_raw, root_id: root.id.0, entries })))
}

/// All names of an entry that has several, by directory number and name.
fn names(reader: &Reader, id: EntryId, row: &Row) -> Result<Vec<Place>, QueryError> {
    if row.stat.is_directory() || row.stat.links < 2 { Ok(Vec::new()) } else { Ok(reader.links(id)?) }
}

/// The first of `names` that lies in `root`.
fn first_in(
    reader: &Reader,
    ways: &mut Ways,
    root: &RootRow,
    names: &[Place],
) -> Result<Option<Place>, QueryError> {
    for name in names {
        if ways.to(reader, name.dir)?.is_some_and(|(found, _)| found == root.id) {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

fn letter(replay: &Replay<'_>, read: Read) -> Result<ReplayLetter, QueryError> {
    let Read { key, id, verb, subject, message } = read;
    let body = serde_json::to_string(&message)
        .map_err(|error| QueryError::Failed(format!("{id} cannot be written as JSON: {error}")))?;
    Ok(ReplayLetter {
        key,
        id,
        source: replay.origin.source.clone(),
        verb: verb.to_owned(),
        subject,
        seen_ns: i64::try_from(replay.at.0).unwrap_or(i64::MAX),
        body,
    })
}

#[cfg(test)]
mod tests {
    use record::Kind;
    use record::wire::message::Message;

    use super::*;
    use crate::query::testing::{Made, made};

    fn origin() -> Origin {
        let word = str::to_owned;
        Origin { source: word("/indexer/h"), host: word("h"), epoch: "e".repeat(32), version: word("0.1.0") }
    }

    fn told(made: &Made, request: &ReplayRequest, most: usize) -> Result<Vec<ReplayLine>, QueryError> {
        let mut lines = Vec::new();
        replay(&made.reader(), &origin(), request, &mut |line| {
            lines.push(line);
            lines.len() < most
        })?;
        Ok(lines)
    }

    fn tree() -> Made {
        made(
            b"/r",
            &[
                (b"a", 10, Kind::Directory, 0),
                (b"a/one", 11, Kind::File, 5),
                (b"a/two", 12, Kind::File, 6),
                (b"b", 13, Kind::Directory, 0),
                (b"b/again", 12, Kind::File, 6),
                (b"b/other", 12, Kind::File, 6),
            ],
        )
    }

    #[test]
    fn each_entry_is_told_once_between_the_two_words() {
        let made = tree();
        let lines = told(&made, &ReplayRequest::default(), usize::MAX).unwrap();
        let ReplayLine::Head(head) = &lines[0] else { panic!("{:?}", lines[0]) };
        assert_eq!((head.as_of, head.roots, head.entries), (1, 1, 5), "as of the record that it was seeded");
        let ReplayLine::Ended(ended) = lines.last().unwrap() else { panic!("no end") };
        assert_eq!((ended.root.as_str(), ended.entries), ("/r", 5));
        let letters: Vec<&ReplayLetter> = lines
            .iter()
            .filter_map(|line| if let ReplayLine::Letter(letter) = line { Some(letter) } else { None })
            .collect();
        let id = |tail: &str| format!("/indexer/h/{}/1/{tail}", "e".repeat(32));
        let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
        let expected = ["begun/r1", "1:2", "1:10", "1:11", "1:12", "1:13", "ended/r1"].map(id);
        assert_eq!(ids, expected);
        let twelve: Message = serde_json::from_str(&letters[4].body).unwrap();
        assert_eq!(twelve.after.unwrap().path, "/r/a/two");
        let names: Vec<(u64, &str)> =
            twelve.change.names.iter().map(|name| (name.parent, name.name.as_str())).collect();
        assert_eq!(names, [(10, "two"), (13, "again"), (13, "other")]);
        assert_eq!(twelve.change.at.map(|at| at.name).as_deref(), Some("two"));
        let top: Message = serde_json::from_str(&letters[1].body).unwrap();
        assert!(top.change.at.is_none() && top.change.names.is_empty());
        assert_eq!(top.source.seq, 1);
        let end: Message = serde_json::from_str(&letters[6].body).unwrap();
        assert_eq!((end.change.verb.as_str(), end.change.entries), ("replay_ended", Some(5)));
        // As it goes over the socket.
        for line in &lines {
            let text = serde_json::to_string(line).unwrap();
            assert_eq!(serde_json::from_str::<ReplayLine>(&text).unwrap(), *line);
        }
    }

    #[test]
    fn what_is_no_root_is_said_and_an_end_is_an_end() {
        let made = tree();
        let request = ReplayRequest { root: Some("/r/a".into()), root_raw: None };
        let error = told(&made, &request, usize::MAX).unwrap_err().to_string();
        assert!(error.contains("/r/a is no root") && error.contains("/r"), "{error}");
        let request = ReplayRequest { root: Some("/r".into()), root_raw: None };
        for most in 1..9 {
            let lines = told(&made, &request, most).unwrap();
            assert_eq!(lines.len(), most, "nobody listens any more");
        }
    }
}
