//! Runs the case files in `cases/`: what is stored, what was looked at, and what must come out.
//!
//! A row is `number kind dir/name… attribute=value…`; a look is `dir/name number attribute=value… flag…`,
//! `dir/name gone`, `entry number attribute=value…`, `witness number`, `release number`, `aside number` or `content number
//! attribute=value… digest=number magic=category`. Attributes that a look leaves out are as stored. Times are in milliseconds. Roots are 1 (`/one`) and 2 (`/two`).

use record::{
    Body, Category, Digest, DigestKind, EntryId, How, Kind, Place, Record, RootId, Row, Stat, State,
    StoredDigest, Time,
};
use serde::Deserialize;

use super::disk::id;
use super::memory::Memory;
use super::order;
use super::replica::Replica;
use crate::{Batch, Found, Holds, Look, Observed, Root, Taken};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default)]
    stored: Vec<String>,
    batch: Vec<Step>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    totals: Vec<String>,
    #[serde(default)]
    detached: Vec<u64>,
    /// What first bytes are still known to say in the end, where it matters.
    magic: Option<Vec<String>>,
    /// Digests in the rows in the end, where they matter: whether each speaks of its row, and upon whose word.
    digests: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    looks: Vec<String>,
    /// Names asked for after `looks`, where it matters.
    stale: Option<Vec<String>>,
    /// Looks made because of them.
    #[serde(default)]
    again: Vec<String>,
    finish: String,
    limit: Option<usize>,
    records: Vec<String>,
    /// Their categories before and after, where it matters.
    categories: Option<Vec<String>>,
    /// Their digests before and after, where it matters.
    digests: Option<Vec<String>>,
    /// Files to be read again.
    #[serde(default)]
    doubted: Vec<u64>,
    /// Observations of contents that were of another moment.
    #[serde(default)]
    refused: Vec<u64>,
    #[serde(default)]
    held: Vec<String>,
    #[serde(default)]
    unfinished: Vec<String>,
    #[serde(default)]
    writing: Vec<u64>,
}

const MILLI: i128 = 1_000_000;

#[test]
fn every_case_file_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 25, "the case files are there");
    let mut failed = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        println!("{}: {}", file.file_stem().unwrap().to_string_lossy(), case.about);
        if let Err(panic) = std::panic::catch_unwind(|| run(&case)) {
            drop(panic);
            failed.push(file);
        }
    }
    assert!(failed.is_empty(), "these cases fail: {failed:#?}");
}

fn run(case: &Case) {
    let roots: Vec<Root> = [(1, "/one"), (2, "/two")]
        .map(|(top, path)| Root { id: RootId(top), top: id(u64::from(top)), path: path.as_bytes().into() })
        .into();
    let mut memory = stored(case);
    memory.check(&roots);
    let mut replica = Replica::of(&memory);
    for (nth, step) in case.batch.iter().enumerate() {
        let mut batch = Batch::new(&memory, &roots);
        let mut refused = Vec::new();
        for look in &step.looks {
            refused.extend(look_at(&memory, &mut batch, look));
        }
        assert_eq!(refused, step.refused, "refused in batch {nth}");
        let stale: Vec<String> = batch.take_stale().iter().map(|(place, _)| show(place)).collect();
        if let Some(expected) = &step.stale {
            assert_eq!(&stale, expected, "names to look at again in batch {nth}");
        }
        for look in &step.again {
            look_at(&memory, &mut batch, look);
        }
        let holds = match step.finish.as_str() {
            "end" => Holds::End,
            "keep" => Holds::Keep,
            other => panic!("unknown finish {other}"),
        };
        let finished = batch.finish(holds, step.limit.unwrap_or(usize::MAX)).unwrap();
        let held: Vec<String> = finished
            .held
            .iter()
            .map(|held| match &held.place {
                Some(place) => format!("{} {}", held.id.inode, show(place)),
                None => held.id.inode.to_string(),
            })
            .collect();
        assert_eq!(held, step.held, "held after batch {nth}");
        let unfinished: Vec<String> = finished.unfinished.iter().map(show).collect();
        assert_eq!(unfinished, step.unfinished, "unfinished after batch {nth}");
        let writing: Vec<u64> = finished.writing.iter().map(|id| id.inode).collect();
        assert_eq!(writing, step.writing, "writing after batch {nth}");
        let doubted: Vec<u64> = finished.doubted.iter().map(|id| id.inode).collect();
        assert_eq!(doubted, step.doubted, "to be read again after batch {nth}");
        let records = memory.apply(finished.plan);
        assert_eq!(order::tell(&records), step.records, "records of batch {nth}");
        if let Some(expected) = &step.categories {
            let told: Vec<String> = records.iter().map(categories).collect();
            assert_eq!(&told, expected, "categories in batch {nth}");
        }
        if let Some(expected) = &step.digests {
            let told: Vec<String> = records.iter().map(digests).collect();
            assert_eq!(&told, expected, "digests in batch {nth}");
        }
        order::check(&records, &replica);
        for record in &records {
            replica.apply(record);
        }
        replica.check(&memory, &|| format!("batch {nth}"));
        memory.check(&roots);
    }
    let names: Vec<String> =
        memory.names.iter().map(|(place, target)| format!("{} {}", show(place), target.id.inode)).collect();
    assert_eq!(names, case.names, "names in the end");
    let detached: Vec<u64> = memory.detached.keys().map(|id| id.inode).collect();
    assert_eq!(detached, case.detached, "nameless in the end");
    if let Some(expected) = &case.magic {
        let known = memory.rows.iter().filter_map(|(id, row)| Some((id.inode, row.magic?.word())));
        let known: Vec<String> = known.map(|(inode, word)| format!("{inode} {word}")).collect();
        assert_eq!(&known, expected, "magic in the end");
    }
    if let Some(expected) = &case.digests {
        let told = |(id, row): (&EntryId, &Row)| {
            let stored = row.digest?;
            let word = match (row.current_digest(), stored.carried) {
                (None, _) => " old",
                (Some(_), true) => " carried",
                (Some(_), false) => "",
            };
            Some(format!("{} {}{word}", id.inode, stored.digest.bytes[0]))
        };
        let known: Vec<String> = memory.rows.iter().filter_map(told).collect();
        assert_eq!(&known, expected, "digests in the end");
    }
    for line in &case.totals {
        let (dir, expected) = line.split_once(' ').unwrap();
        let totals = memory.totals[&id(dir.parse().unwrap())];
        let told = format!(
            "files={} directories={} bytes={} newest={}",
            totals.files,
            totals.directories,
            totals.bytes,
            totals.newest.0 / MILLI
        );
        assert!(expected.split(' ').all(|part| told.split(' ').any(|told| told == part)), "{dir}: {told}");
    }
}

fn categories(record: &Record) -> String {
    let Body::Change(change) = &record.body else { return String::new() };
    let word = |state: &Option<State>| state.and_then(|state| state.category).map_or("-", Category::word);
    format!("{} {}", word(&change.before), word(&change.after))
}

fn digests(record: &Record) -> String {
    let Body::Change(change) = &record.body else { return String::new() };
    let number = |state: &Option<State>| {
        state.and_then(|state| state.digest).map_or("-".to_owned(), |digest| digest.bytes[0].to_string())
    };
    format!("{} {}", number(&change.before), number(&change.after))
}

fn digest(number: &str) -> Digest {
    Digest { kind: DigestKind::Blake3, bytes: [number.parse().unwrap(); 32] }
}

fn stored(case: &Case) -> Memory {
    let mut memory = Memory::default();
    for line in ["1 directory", "2 directory"].into_iter().chain(case.stored.iter().map(String::as_str)) {
        let mut words = line.split(' ');
        let entry = id(words.next().unwrap().parse().unwrap());
        let kind = Kind::from_word(words.next().unwrap()).unwrap();
        let mut row = Row::new(fresh(kind), Time(1_000_000 * MILLI));
        let mut places = Vec::new();
        let mut read = None;
        let mut carried = false;
        for word in words {
            match word.split_once('=') {
                Some(("looked", at)) => row.looked_at = time(at),
                Some(("digest", number)) => read = Some(digest(number)),
                Some(("magic", word)) => row.magic = Category::from_word(word),
                Some((field, value)) => set(&mut row.stat, field, value),
                None if word == "writing" => row.writing = true,
                None if word == "carried" => carried = true,
                None => places.push(place(word)),
            }
        }
        let Stat { size, modified, changed, .. } = row.stat;
        row.digest = read.map(|digest| StoredDigest { digest, size, modified, changed, carried });
        places.sort();
        row.place = places.first().cloned();
        row.many_names = places.len() > 1;
        if row.many_names {
            row.stat.links = row.stat.links.max(u32::try_from(places.len()).unwrap());
            memory.links.insert(entry, places.iter().cloned().collect());
        }
        for place in places {
            memory.names.insert(place, crate::Target { id: entry, directory: kind == Kind::Directory });
        }
        memory.rows.insert(entry, row);
    }
    memory.totals = memory.sums();
    memory
}

/// Answers a file whose content was read at another moment than the row is of.
fn look_at(memory: &Memory, batch: &mut Batch<'_, &Memory>, line: &str) -> Option<u64> {
    let mut words = line.split(' ');
    let mut look = Look::plain(Time(2_000_000 * MILLI), How::Fanotify);
    let (first, second) = (words.next().unwrap(), words.next().unwrap());
    let entry = if second == "gone" { None } else { Some(id(second.parse().unwrap())) };
    let known = entry.and_then(|entry| batch.row_of(entry).unwrap().or(memory.rows.get(&entry).cloned()));
    let mut stat = known.map_or_else(|| fresh(Kind::File), |row| row.stat);
    let (mut read, mut magic, mut corrupt) = (None, Category::Other, false);
    for word in words {
        match (word, word.split_once('=')) {
            ("told", _) => look.told = true,
            ("corrupt", _) => corrupt = true,
            (_, Some(("digest", number))) => read = Some(digest(number)),
            (_, Some(("magic", word))) => magic = Category::from_word(word).unwrap(),
            ("moved", _) => look.moved = true,
            ("written", _) => look.written = true,
            ("closed", _) => look.closed = true,
            ("followed", _) => look.sole = false,
            (_, Some((field, value))) => set(&mut stat, field, value),
            _ => panic!("unknown flag {word}"),
        }
    }
    let found = entry.map(|id| Found { id, stat });
    match first {
        "entry" => batch.entry(&found.unwrap(), &look).unwrap(),
        "witness" => batch.witness(entry.unwrap(), &look).unwrap(),
        "content" => {
            let Stat { size, modified, changed, created: birth, .. } = stat;
            let (id, digest) = (entry.unwrap(), read.unwrap());
            let observed = Observed { id, birth, digest, magic, size, modified, changed, corrupt };
            look.how = How::Digest;
            let taken = batch.content(&observed, &look).unwrap();
            return (taken == Taken::Stale).then_some(id.inode);
        }
        "aside" => batch.set_aside(entry.unwrap()),
        "release" => batch.release(entry.unwrap(), &look).unwrap(),
        at => {
            let Place { dir, name } = place(at);
            batch.name(dir, &name, found, &look).unwrap();
        }
    }
    None
}

fn fresh(kind: Kind) -> Stat {
    let directory = kind == Kind::Directory;
    Stat {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: if directory { 2 } else { 1 },
        size: if directory { 0 } else { 10 },
        allocated: 0,
        modified: Time(1000 * MILLI),
        changed: Time(1000 * MILLI),
        accessed: Time(0),
        created: Some(Time(1000 * MILLI)),
    }
}

fn set(stat: &mut Stat, field: &str, value: &str) {
    match field {
        "kind" => *stat = fresh(Kind::from_word(value).unwrap()),
        "birth" => stat.created = (value != "none").then(|| time(value)),
        "modified" => stat.modified = time(value),
        "changed" => stat.changed = time(value),
        "size" => stat.size = value.parse().unwrap(),
        "links" => stat.links = value.parse().unwrap(),
        "mode" => stat.mode = u16::from_str_radix(value, 8).unwrap(),
        _ => panic!("unknown attribute {field}"),
    }
}

fn time(milliseconds: &str) -> Time {
    Time(milliseconds.parse::<i128>().unwrap() * MILLI)
}

fn place(word: &str) -> Place {
    let (dir, name) = word.split_once('/').unwrap_or_else(|| panic!("{word} is no dir/name"));
    Place::new(id(dir.parse().unwrap()), name.as_bytes())
}

fn show(place: &Place) -> String {
    format!("{}/{}", place.dir.inode, String::from_utf8_lossy(&place.name))
}

/// Every arm of the decision table.
#[test]
fn the_table_decides_for_every_pair() {
    use crate::{Decision, decide};
    let stat = fresh(Kind::File);
    let row = Row::new(stat, Time(0));
    let reborn = Stat { created: Some(Time(7)), ..stat };
    let other_kind = Stat { kind: Kind::Fifo, ..stat };
    let (one, two): (EntryId, EntryId) = (id(10), id(11));
    let table = [
        (None, None, Decision::Nothing),
        (None, Some((one, &stat)), Decision::Gain),
        (Some((one, Some(&row))), None, Decision::Lose),
        (Some((one, None)), None, Decision::Lose),
        (Some((one, Some(&row))), Some((one, &stat)), Decision::Refresh),
        (Some((one, Some(&row))), Some((one, &reborn)), Decision::Recycle),
        (Some((one, Some(&row))), Some((one, &other_kind)), Decision::Recycle),
        (Some((one, None)), Some((one, &stat)), Decision::Recycle),
        (Some((one, Some(&row))), Some((two, &stat)), Decision::Relink),
        (Some((one, None)), Some((two, &stat)), Decision::Relink),
    ];
    for (stored, seen, expected) in table {
        assert_eq!(decide(stored, seen), expected, "{stored:?} {seen:?}");
    }
}
