//! A Delta log beside the snapshots of a folder, so that engines read the history as one table, with `host`, `root` and `date` as
//! columns. Each commit makes the table what is on the disk; a log that another program began is not written to.
//!
//! Format: the Delta transaction log protocol, reader version 1, writer version 2.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::columns::{Columns, Sort};
use crate::error::{Doing as _, SnapshotError};
use crate::random;
use crate::shelf::Shelved;

const LOG: &str = "_delta_log";
/// What the table is called, by which we know it again.
const NAME: &str = "indexer snapshots";
/// Bytes of a commit that are read at most.
const MOST: u64 = 256 << 20;
/// Commits of others that we give way to.
const TURNS: usize = 100;

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Files that are in the table since.
    pub added: usize,
    /// Files that are no longer.
    pub removed: usize,
}

/// Whether `top` has a log.
#[must_use]
pub fn has_log(top: &Path) -> bool {
    top.join(LOG).is_dir()
}

/// Makes the table in `top` hold `wanted`, and nothing else; begins one where there is none. `None` when it did.
///
/// # Errors
/// When the log cannot be read or written, or is another's.
pub fn commit(top: &Path, wanted: &[&Shelved], now_ms: i64) -> Result<Option<Committed>, SnapshotError> {
    let log = top.join(LOG);
    fs::create_dir_all(&log).doing("make the folder", &log)?;
    let wanted = wanted.iter().filter_map(|shelved| entry(top, shelved)).collect::<BTreeMap<_, _>>();
    for _ in 0..TURNS {
        let table = read(&log)?;
        let Some((actions, committed)) = actions(&table, &wanted, now_ms) else { return Ok(None) };
        if publish(&log, table.next, &actions)? {
            return Ok(Some(committed));
        }
    }
    Err(io::Error::from(ErrorKind::ResourceBusy)).doing("add to", &log)
}

/// A file of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    partition: Value,
    bytes: u64,
    rows: u64,
    modified_ms: i64,
    blake3: String,
}

/// What the log says.
#[derive(Debug, Default)]
struct Table {
    /// Of each file its BLAKE3, by its path as it stands in the log.
    files: BTreeMap<String, String>,
    begun: bool,
    /// The number of the next commit.
    next: u64,
}

/// The file of a snapshot that the table can hold: one with all columns.
fn entry(top: &Path, shelved: &Shelved) -> Option<(String, Entry)> {
    let manifest = shelved.manifest.as_ref().ok()?;
    let [file] = &manifest.files[..] else { return None };
    if manifest.schema != Columns::Native.version() {
        return None;
    }
    let path = shelved.folder.join(&file.name);
    let metadata = fs::symlink_metadata(&path).ok()?;
    let modified_ms = metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    // In the log it is a URI: the names of our folders need no other character written so.
    let name = path.strip_prefix(top).ok()?.to_str()?.replace('%', "%25");
    let partition = json!({ "host": manifest.host, "root": manifest.root, "date": shelved.date.to_string() });
    let entry =
        Entry { partition, bytes: file.bytes, rows: file.rows, modified_ms, blake3: file.blake3.clone() };
    Some((name, entry))
}

/// The lines of the next commit; `None` when there is nothing to say.
fn actions(table: &Table, wanted: &BTreeMap<String, Entry>, now_ms: i64) -> Option<(Vec<Value>, Committed)> {
    let added = wanted.iter().filter(|(path, entry)| table.files.get(*path) != Some(&entry.blake3));
    let added: Vec<Value> = added.map(|(path, entry)| add(path, entry)).collect();
    let removed: Vec<Value> = table
        .files
        .keys()
        .filter(|path| !wanted.contains_key(*path))
        .map(|path| json!({ "remove": { "path": path, "deletionTimestamp": now_ms, "dataChange": true } }))
        .collect();
    if table.begun && added.is_empty() && removed.is_empty() {
        return None;
    }
    let committed = Committed { added: added.len(), removed: removed.len() };
    let engine = concat!("indexer/", env!("CARGO_PKG_VERSION"));
    let mut lines =
        vec![json!({ "commitInfo": { "timestamp": now_ms, "operation": "WRITE", "engineInfo": engine } })];
    if !table.begun {
        lines.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
        lines.push(metadata(now_ms));
    }
    lines.extend(removed);
    lines.extend(added);
    Some((lines, committed))
}

fn add(path: &str, entry: &Entry) -> Value {
    json!({ "add": {
        "path": path,
        "partitionValues": entry.partition,
        "size": entry.bytes,
        "modificationTime": entry.modified_ms,
        "dataChange": true,
        "stats": json!({ "numRecords": entry.rows }).to_string(),
        "tags": { "blake3": entry.blake3 },
    } })
}

fn metadata(now_ms: i64) -> Value {
    let field = |name: &str, sort: &str, nullable: bool| json!({ "name": name, "type": sort, "nullable": nullable, "metadata": {} });
    let mut fields: Vec<Value> = Columns::Native
        .specs()
        .iter()
        .map(|spec| {
            let sort = match spec.sort {
                Sort::Text | Sort::Word => "string",
                Sort::Bytes | Sort::Digest => "binary",
                Sort::Int32 | Sort::UInt32 => "integer",
                Sort::Int64 | Sort::UInt64 => "long",
                Sort::Time => "timestamp",
            };
            field(spec.name, sort, spec.nullable)
        })
        .collect();
    fields.extend([
        field("host", "string", true),
        field("root", "string", true),
        field("date", "date", true),
    ]);
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    json!({ "metaData": {
        "id": id(),
        "name": NAME,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": schema,
        "partitionColumns": ["host", "root", "date"],
        "configuration": {},
        "createdTime": now_ms,
    } })
}

/// A UUID (version 8: of our own making).
fn id() -> String {
    let mut bytes = random::id();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = random::hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Reads all commits, from the first.
fn read(log: &Path) -> Result<Table, SnapshotError> {
    let mut table = Table::default();
    loop {
        let path = log.join(name(table.next));
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            opened => opened.doing("read", &path)?,
        };
        for line in BufReader::new(file.take(MOST)).lines() {
            let line = line.doing("read", &path)?;
            let action: Map<String, Value> =
                serde_json::from_str(&line).map_err(io::Error::from).doing("read", &path)?;
            table.take(&action, &path)?;
        }
        table.next += 1;
    }
    if table.next == 0 && begins_later(log)? {
        return Err(SnapshotError::OtherTable(log.to_owned()));
    }
    Ok(table)
}

/// Whether the log was shortened by a program that knows more of it than we do. The first commit is asked for last: another may
/// have made it meanwhile.
fn begins_later(log: &Path) -> Result<bool, SnapshotError> {
    let commit = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| is_commit(&entry.file_name()));
    if !fs::read_dir(log).doing("look into", log)?.any(commit) {
        return Ok(false);
    }
    let first = log.join(name(0));
    Ok(!first.try_exists().doing("look at", &first)?)
}

impl Table {
    fn take(&mut self, action: &Map<String, Value>, path: &Path) -> Result<(), SnapshotError> {
        let text = |action: &Value, key: &str| action[key].as_str().map(str::to_owned);
        if let Some(metadata) = action.get("metaData") {
            if metadata["name"] != NAME {
                return Err(SnapshotError::OtherTable(path.to_owned()));
            }
            self.begun = true;
        }
        if let Some(add) = action.get("add")
            && let Some(path) = text(add, "path")
        {
            self.files.insert(path, text(&add["tags"], "blake3").unwrap_or_default());
        }
        if let Some(path) = action.get("remove").and_then(|remove| text(remove, "path")) {
            self.files.remove(&path);
        }
        Ok(())
    }
}

fn name(version: u64) -> String {
    format!("{version:020}.json")
}

fn is_commit(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_suffix(".json")).is_some_and(|stem| stem.parse::<u64>().is_ok())
}

/// Puts a commit into place, whole; false when another has that number. Aside it has a name of its own: other hosts may be at it.
fn publish(log: &Path, version: u64, actions: &[Value]) -> Result<bool, SnapshotError> {
    let place = log.join(name(version));
    let aside: PathBuf = log.join(format!(".{}.{}.partial", name(version), id()));
    let mut text = Vec::new();
    for action in actions {
        text.extend(action.to_string().into_bytes());
        text.push(b'\n');
    }
    let written =
        File::create(&aside).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    let moved =
        written.and_then(|()| match renameat_with(CWD, &aside, CWD, &place, RenameFlags::NOREPLACE) {
            // Not every file system knows of that; there it is seen whether another came first.
            Err(Errno::INVAL | Errno::NOTSUP) if !place.try_exists()? => fs::rename(&aside, &place),
            Err(Errno::INVAL | Errno::NOTSUP) => Err(ErrorKind::AlreadyExists.into()),
            moved => Ok(moved?),
        });
    if moved.is_err() {
        // It is hidden, and no reader takes it for a commit.
        let _ = fs::remove_file(&aside);
    }
    match moved {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        moved => moved.doing("write", &place)?,
    }
    File::open(log).and_then(|folder| folder.sync_all()).doing("write the folder", log)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(blake3: &str) -> Entry {
        let partition = json!({ "host": "h", "root": "/r", "date": "2026-11-22" });
        Entry { partition, bytes: 5, rows: 1, modified_ms: 7, blake3: blake3.to_owned() }
    }

    /// The next commit of `log`, to hold these.
    fn hold(log: &Path, wanted: &[(&str, &str)]) -> Option<Committed> {
        let wanted = wanted.iter().map(|(path, blake3)| ((*path).to_owned(), entry(blake3))).collect();
        loop {
            let table = read(log).unwrap();
            let (lines, committed) = actions(&table, &wanted, 9)?;
            if publish(log, table.next, &lines).unwrap() {
                return Some(committed);
            }
        }
    }

    #[test]
    fn a_commit_is_the_difference() {
        let log = tempfile::tempdir().unwrap();
        let committed = |added, removed| Some(Committed { added, removed });
        assert_eq!(hold(log.path(), &[("a", "1"), ("b", "1")]), committed(2, 0));
        assert_eq!(hold(log.path(), &[("a", "1"), ("b", "1")]), None);
        assert_eq!(
            hold(log.path(), &[("a", "1"), ("b", "2"), ("c", "1")]),
            committed(2, 0),
            "b was written anew"
        );
        assert_eq!(hold(log.path(), &[("b", "2")]), committed(0, 2));
        let table = read(log.path()).unwrap();
        assert_eq!((table.next, table.files), (3, [("b".to_owned(), "2".to_owned())].into()));
    }

    #[test]
    fn an_empty_table_is_one() {
        let log = tempfile::tempdir().unwrap();
        assert_eq!(hold(log.path(), &[]), Some(Committed { added: 0, removed: 0 }));
        assert_eq!(hold(log.path(), &[]), None);
    }

    #[test]
    fn of_many_at_once_each_commit_has_a_number_of_its_own() {
        let log = tempfile::tempdir().unwrap();
        let path = log.path();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for turn in 0..10 {
                        // Each wants another content, so each has something to say.
                        hold(path, &[("a", &format!("{thread} {turn}"))]);
                    }
                });
            }
        });
        let commits: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(commits.len(), 40, "{commits:?}");
        assert_eq!(read(path).unwrap().next, 40);
    }

    /// What a reader that found no first commit sees a moment later.
    #[test]
    fn a_log_that_another_just_began_does_not_begin_later() {
        let log = tempfile::tempdir().unwrap();
        assert!(!begins_later(log.path()).unwrap());
        hold(log.path(), &[("a", "1")]);
        assert!(!begins_later(log.path()).unwrap());
    }

    #[test]
    fn what_is_no_log_of_ours_is_not_gone_on_with() {
        let log = tempfile::tempdir().unwrap();
        fs::write(log.path().join(name(7)), "{}").unwrap();
        assert!(matches!(read(log.path()), Err(SnapshotError::OtherTable(_))), "its begin is gone");
        assert!(begins_later(log.path()).unwrap());
        fs::write(log.path().join(name(0)), r#"{"metaData":{"name":"sales"}}"#).unwrap();
        assert!(matches!(read(log.path()), Err(SnapshotError::OtherTable(_))));
        fs::write(log.path().join(name(0)), "no JSON").unwrap();
        assert!(matches!(read(log.path()), Err(SnapshotError::File { .. })));
    }
}
