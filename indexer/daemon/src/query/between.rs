//! Two moments of a root by the records between them: every name of what something happened to, as it was at the one and at the other, each at
//! the path that it had then. Knows no Parquet, and not what differs.
//!
//! Names are known by directory and not by path, so it does not matter in what order a batch told of a directory and of what is in it. Where
//! a name is of which the records say nothing, the index says it: nothing happened to it since.

mod held;

use index::{Reader, RootRow};
use reconcile::Stored as _;
use record::wire::message::Origin;
use record::{Body, Change, EntryId, Kind, Op, Place, Record, Seq, State, Time};
use rustc_hash::{FxHashMap, FxHashSet};
use snapshot::{Ending, Entry, Facts, Moment, RootHead, Teller, path_text};

use self::held::Held;
use crate::query::replay::wanted;
use crate::query::{BetweenRequest, Emit, QueryError};

/// Entries and names that records tell of: with the rows made of them up to 750 bytes each, where paths have 60.
const MOST: usize = 1 << 18;
/// Bytes of paths that are kept of a moment: in a deep tree each is long.
const MOST_PATHS: usize = 128 << 20;

/// An entry that something happened to.
#[derive(Clone, Copy, Debug)]
struct Known {
    before: Option<State>,
    after: Option<State>,
}

#[derive(Default)]
struct Told {
    entries: FxHashMap<EntryId, Known>,
    /// Names that came or went.
    places: FxHashMap<Place, Held>,
    /// Directories as they were at the second moment, to which something happened after it.
    later: FxHashMap<EntryId, State>,
    count: usize,
    /// When the first and the last of the records were seen.
    times: Option<(Time, Time)>,
}

/// Tells of one root both moments, in frames, as two snapshots of what something happened to.
///
/// # Errors
/// [`QueryError::Bad`] for seqs that are none and where it is not clear which root is meant; [`QueryError::Failed`] where the journal does
/// not tell what was there; [`index::IndexError::FreshStartRequired`].
pub(crate) fn between(
    reader: &Reader,
    origin: &Origin,
    request: &BetweenRequest,
    emit: Emit<'_, Vec<u8>>,
) -> Result<(), QueryError> {
    let end = reader.seq()?;
    let (after, upto) = (Seq(request.after), request.upto.map_or(end, Seq));
    if after > upto || upto > end {
        return Err(QueryError::Bad(format!(
            "{after} and {upto} are no two seqs one after the other: the journal ends at {end}"
        )));
    }
    let roots = wanted(reader, request.root.as_deref(), request.root_raw.as_deref())?;
    let [root] = &roots[..] else {
        let all: Vec<String> = roots.iter().map(|root| crate::paths::shown_bytes(&root.path)).collect();
        return Err(QueryError::Bad(format!(
            "there are several roots ({}): name one with --root",
            all.join(", ")
        )));
    };
    let mut told = Told::default();
    reader.each_record::<QueryError>(after, |record| told.take(&record, root, upto).map(|()| true))?;
    for (place, held) in &mut told.places {
        if let Some(id) = reader.name(place.dir, &place.name)? {
            held.now(id);
        }
    }
    let now = Time::now();
    let (first, last) = told.times.unwrap_or((now, now));
    let mut moments = [true, false].map(|is_before| Paths::new(&told, reader, root, is_before));
    let mut rows = [told.rows(&mut moments[0])?, told.rows(&mut moments[1])?];
    told.rows_above(&mut moments, &mut rows)?;
    let mut teller = Teller::new(emit);
    for (mut rows, (seq, time)) in rows.into_iter().zip([(after, first), (upto, last)]) {
        sort(&mut rows);
        let moment = Moment {
            epoch: origin.epoch.clone(),
            watermark: seq.0,
            taken_us: i64::try_from(time.0.div_euclid(1000)).unwrap_or(i64::MAX),
            host: origin.host.clone(),
            tool: crate::relaying::tool(),
            roots: 1,
            expected: rows.len() as u64,
        };
        let head = RootHead { path: root.path.to_vec(), expected: moment.expected };
        if !(teller.moment(&moment)
            && teller.root(&head)
            && rows.iter().all(|row| teller.row(&row.entry()))
            && teller.end_root())
        {
            return Ok(());
        }
    }
    teller.end(Ending { grown: 0, held_ms: 0 });
    Ok(())
}

impl Told {
    /// The next record: of the stretch, or after it.
    fn take(&mut self, record: &Record, root: &RootRow, upto: Seq) -> Result<(), QueryError> {
        let inside = record.seq <= upto;
        let change = match &record.body {
            Body::Change(change) => change,
            Body::Seeded(_) if record.root == root.id => {
                return Err(QueryError::Failed(format!(
                    "the root was read anew at seq {}, and the journal does not tell what was there before; compare snapshots instead",
                    record.seq
                )));
            }
            _ => return Ok(()),
        };
        if inside {
            let (first, last) = self.times.get_or_insert((record.seen, record.seen));
            (*first, *last) = ((*first).min(record.seen), (*last).max(record.seen));
            let known = Known { before: change.before, after: change.after };
            let count = &mut self.count;
            let known = self.entries.entry(change.entry).or_insert_with(|| {
                *count += 1;
                known
            });
            known.after = change.after;
        } else if let Some(state) = change.before.filter(|state| state.stat.kind == Kind::Directory) {
            self.later.entry(change.entry).or_insert_with(|| {
                self.count += 1;
                state
            });
        }
        self.name(change, inside);
        if self.count > MOST {
            return Err(QueryError::Failed(format!(
                "the journal tells of more than {MOST} names; compare snapshots instead"
            )));
        }
        Ok(())
    }

    /// Which names come and go by it.
    fn name(&mut self, change: &Change, inside: bool) {
        let (gone, new) = match change.op {
            Op::Created | Op::Linked => (None, change.at.as_ref()),
            Op::Deleted | Op::Unlinked => (change.at.as_ref(), None),
            Op::Renamed => (change.old.as_ref(), change.at.as_ref()),
            Op::Modified | Op::Attrib | Op::Hashed | Op::Corrupt => (None, None),
        };
        if let Some(place) = gone {
            self.held(place).gone(change.entry, inside);
        }
        if let Some(place) = new
            && self.held(place).came(change.entry, inside)
        {
            self.count += 1;
        }
    }

    fn held(&mut self, place: &Place) -> &mut Held {
        let count = &mut self.count;
        self.places.entry(place.clone()).or_insert_with(|| {
            *count += 1;
            Held::default()
        })
    }

    /// The rows of a moment of all that something happened to.
    fn rows(&self, paths: &mut Paths<'_>) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::new();
        for (&id, known) in &self.entries {
            let Some(state) = (if paths.is_before { known.before } else { known.after }) else { continue };
            if id == paths.top {
                rows.extend(paths.of(id)?.map(|(path, depth)| Row::new(id, state, &path, depth)));
                continue;
            }
            for place in paths.names(id)? {
                // What is in another root, or nowhere, is none of this one.
                if let Some((mut path, depth)) = paths.of(place.dir)? {
                    push_name(&mut path, &place.name);
                    paths.keep(path.len())?;
                    rows.push(Row::new(id, state, &path, depth + 1));
                }
            }
        }
        Ok(rows)
    }

    /// Those of the directories above, to which nothing happened: so it is told what came along with one that has another name.
    fn rows_above(&self, moments: &mut [Paths<'_>; 2], rows: &mut [Vec<Row>; 2]) -> Result<(), QueryError> {
        let above: FxHashSet<EntryId> =
            moments.iter().flat_map(|paths| paths.known.keys().copied()).collect();
        for id in above.into_iter().filter(|id| !self.entries.contains_key(id)) {
            let state = match self.later.get(&id) {
                Some(state) => Some(*state),
                None => moments[0].reader.row(id)?.map(|row| State {
                    stat: row.stat,
                    digest: None,
                    category: None,
                }),
            };
            let Some(state) = state else { continue };
            for (paths, rows) in moments.iter_mut().zip(&mut *rows) {
                rows.extend(paths.of(id)?.map(|(path, depth)| Row::new(id, state, &path, depth)));
            }
        }
        Ok(())
    }
}

/// In the order of their paths, each path once.
fn sort(rows: &mut [Row]) {
    rows.sort_by(|one, other| one.text.cmp(&other.text));
    for at in 1..rows.len() {
        // The escape of a name may be another's name.
        while rows[at].text <= rows[at - 1].text {
            rows[at].text.push('\\');
        }
    }
}

/// Paths of directories at one of the moments, and how many levels below the root.
struct Paths<'a> {
    told: &'a Told,
    reader: &'a Reader,
    is_before: bool,
    /// Of what came or went, the names of each entry.
    names: FxHashMap<EntryId, Vec<&'a Place>>,
    /// The directory at the root's path.
    top: EntryId,
    known: FxHashMap<EntryId, Option<(Vec<u8>, u32)>>,
    bytes: usize,
}

impl<'a> Paths<'a> {
    fn new(told: &'a Told, reader: &'a Reader, root: &RootRow, is_before: bool) -> Paths<'a> {
        let known = [(root.top, Some((root.path.to_vec(), 0)))].into_iter().collect();
        let mut names = FxHashMap::<EntryId, Vec<&Place>>::default();
        for (place, held) in &told.places {
            if let Some(id) = if is_before { held.before() } else { held.after() } {
                names.entry(id).or_default().push(place);
            }
        }
        Paths { told, reader, is_before, names, top: root.top, known, bytes: 0 }
    }

    /// The names that an entry had.
    fn names(&self, id: EntryId) -> Result<Vec<Place>, QueryError> {
        let told = self.names.get(&id).into_iter().flatten();
        let mut names: Vec<Place> = told.map(|place| (*place).clone()).collect();
        if let Some(row) = self.reader.row(id)? {
            let mut now =
                if row.many_names { self.reader.links(id)? } else { row.place.into_iter().collect() };
            // Nothing happened to these since.
            now.retain(|place| !self.told.places.contains_key(place));
            names.append(&mut now);
        }
        Ok(names)
    }

    /// Counts what is kept of paths.
    fn keep(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.bytes += bytes;
        if self.bytes <= MOST_PATHS {
            return Ok(());
        }
        Err(QueryError::Failed(format!(
            "what changed has paths of more than {} MiB together; compare snapshots instead",
            MOST_PATHS >> 20
        )))
    }

    /// None for what was not below the root.
    fn of(&mut self, dir: EntryId) -> Result<Option<(Vec<u8>, u32)>, QueryError> {
        // Upwards until something known, then down again: trees may be deep.
        let mut way: Vec<(EntryId, Place)> = Vec::new();
        let mut at = dir;
        let mut found = loop {
            if let Some(known) = self.known.get(&at) {
                break known.clone();
            }
            match self.names(at)?.pop() {
                // Names may run in a circle, which leads to no root.
                Some(place) if way.iter().all(|(id, _)| *id != at) => {
                    way.push((at, place.clone()));
                    at = place.dir;
                }
                _ => break None,
            }
        };
        while let Some((id, place)) = way.pop() {
            if let Some((path, depth)) = &mut found {
                push_name(path, &place.name);
                *depth += 1;
                let bytes = path.len();
                self.keep(bytes)?;
            }
            self.known.insert(id, found.clone());
        }
        Ok(found)
    }
}

fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

struct Row {
    text: String,
    /// The bytes of its path, where they are not UTF-8.
    raw: Option<Box<[u8]>>,
    depth: u32,
    facts: Facts,
}

impl Row {
    fn new(id: EntryId, state: State, path: &[u8], depth: u32) -> Row {
        let State { stat, digest, category } = state;
        let facts = Facts { id, stat, category, digest, digest_time: None };
        let raw = std::str::from_utf8(path).is_err().then(|| path.into());
        Row { text: path_text(path), raw, depth, facts }
    }

    fn entry(&self) -> Entry<'_> {
        Entry { text: &self.text, raw: self.raw.as_deref(), depth: self.depth, facts: self.facts }
    }
}
