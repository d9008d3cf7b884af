//! What is true of a tree: a plain walk by paths, one `lstat` at a time, compared field by field with what the index
//! answers. Shares no code with the scan and assumes a tree at rest.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use record::wire::v1;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde_json::Value;

/// What the disk has, by absolute path.
pub type Walked = BTreeMap<Vec<u8>, WalkedStat>;
/// What the index has: objects of `find --json`, by absolute path.
pub type Found = BTreeMap<Vec<u8>, Value>;

/// The fields of an entry that must agree, named as in the JSON of `find`. The access time is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkedStat {
    /// `file directory symlink fifo socket block char`.
    pub kind: &'static str,
    /// Apparent size in bytes.
    pub size: u64,
    /// Bytes of disk.
    pub allocated: u64,
    /// Content last changed, nanoseconds since 1970.
    pub modified_ns: i128,
    /// Inode last changed.
    pub changed_ns: i128,
    /// Birth, where the file system keeps it.
    pub created_ns: Option<i128>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u64,
    /// Inode number.
    pub inode: u64,
}

/// One way in which index and disk differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of which entry.
    pub path: Vec<u8>,
    /// Which field; `None` where one side lacks the entry.
    pub field: Option<&'static str>,
    /// What is on either side.
    pub what: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.escape_ascii(), self.what)
    }
}

/// Every entry in and at `root`, without the folders in `skip` (a state folder inside the tree) and what is in them.
///
/// # Errors
/// When something cannot be looked at: the tree is not at rest, or not ours to read.
pub fn walk(root: &Path, skip: &[&Path]) -> io::Result<Walked> {
    let mut walked = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    let with_path =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    while let Some(path) = waiting.pop() {
        if skip.contains(&&*path) {
            continue;
        }
        let stat = look(&path).map_err(|error| with_path(&path, error))?;
        if stat.kind == "directory" {
            for entry in fs::read_dir(&path).map_err(|error| with_path(&path, error))? {
                waiting.push(entry.map_err(|error| with_path(&path, error))?.path());
            }
        }
        walked.insert(path.as_os_str().as_bytes().to_vec(), stat);
    }
    Ok(walked)
}

fn look(path: &Path) -> io::Result<WalkedStat> {
    let stat = fs::symlink_metadata(path)?;
    let birth = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME)?;
    let kind = stat.file_type();
    let kind = match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block",
        () if kind.is_char_device() => "char",
        () => "file",
    };
    let has_birth = StatxFlags::from_bits_retain(birth.stx_mask).contains(StatxFlags::BTIME);
    Ok(WalkedStat {
        kind,
        size: stat.size(),
        allocated: stat.blocks() * 512,
        modified_ns: nanoseconds(stat.mtime(), stat.mtime_nsec()),
        changed_ns: nanoseconds(stat.ctime(), stat.ctime_nsec()),
        created_ns: has_birth
            .then(|| nanoseconds(birth.stx_btime.tv_sec, i64::from(birth.stx_btime.tv_nsec))),
        mode: stat.mode() & 0o7777,
        uid: stat.uid(),
        gid: stat.gid(),
        links: stat.nlink(),
        inode: stat.ino(),
    })
}

fn nanoseconds(seconds: i64, part: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(part)
}

/// The answer of `find --json`, by path.
///
/// # Errors
/// When a line is no entry, or a path comes twice.
pub fn found(entries: impl IntoIterator<Item = Value>) -> Result<Found, String> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let text = entry["path"].as_str().ok_or_else(|| format!("an entry without a path: {entry}"))?;
        let path = v1::bytes_of(text, entry["path_raw"].as_str())
            .map_err(|error| format!("path_raw of {text}: {error}"))?;
        if found.contains_key(&path) {
            return Err(format!("find lists {} twice", path.escape_ascii()));
        }
        found.insert(path, entry);
    }
    Ok(found)
}

/// Every difference between a walk and the index; empty when they agree on every path and field.
#[must_use]
pub fn compare(walk: &Walked, index: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut tell = |path: &Vec<u8>, field, what| {
        differences.push(Difference { path: path.clone(), field, what });
    };
    for (path, walked) in walk {
        let Some(entry) = index.get(path) else {
            tell(path, None, format!("missing from the index ({}, inode {})", walked.kind, walked.inode));
            continue;
        };
        if entry["kind"] != walked.kind {
            tell(path, Some("kind"), format!("kind is {}, indexed as {}", walked.kind, entry["kind"]));
        }
        for (field, seen) in [
            ("size", Some(i128::from(walked.size))),
            ("allocated", Some(i128::from(walked.allocated))),
            ("modified_ns", Some(walked.modified_ns)),
            ("changed_ns", Some(walked.changed_ns)),
            ("created_ns", walked.created_ns),
            ("mode", Some(i128::from(walked.mode))),
            ("uid", Some(i128::from(walked.uid))),
            ("gid", Some(i128::from(walked.gid))),
            ("links", Some(i128::from(walked.links))),
            ("inode", Some(i128::from(walked.inode))),
        ] {
            let stored = &entry[field];
            if !equal(seen, stored) {
                let seen = seen.map_or_else(|| "null".to_owned(), |number| number.to_string());
                tell(path, Some(field), format!("{field} is {seen}, indexed as {stored}"));
            }
        }
    }
    for path in index.keys().filter(|path| !walk.contains_key(*path)) {
        tell(path, None, "in the index but not on disk".to_owned());
    }
    differences
}

fn equal(seen: Option<i128>, stored: &Value) -> bool {
    let Some(seen) = seen else { return stored.is_null() };
    if let Some(number) = stored.as_i64().map(i128::from).or_else(|| stored.as_u64().map(i128::from)) {
        return number == seen;
    }
    // Nanoseconds after 2262 do not fit 64 bits; the parser gives the nearest float.
    stored.as_f64().is_some_and(|number| number == seen as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry_of(stat: &WalkedStat) -> Value {
        json!({"kind": stat.kind, "size": stat.size, "allocated": stat.allocated,
            "modified_ns": i64::try_from(stat.modified_ns).unwrap(),
            "changed_ns": i64::try_from(stat.changed_ns).unwrap(),
            "created_ns": stat.created_ns.map(|time| i64::try_from(time).unwrap()),
            "mode": stat.mode, "uid": stat.uid, "gid": stat.gid, "links": stat.links, "inode": stat.inode})
    }

    /// The judge must see a lie in any field, or every verdict that rests on it is worthless.
    #[test]
    fn each_field_that_lies_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"12345").unwrap();
        let walk = walk(folder.path(), &[]).unwrap();
        assert_eq!(walk.len(), 2);
        let index: Found = walk.iter().map(|(path, stat)| (path.clone(), entry_of(stat))).collect();
        assert_eq!(compare(&walk, &index), Vec::new());

        let path = folder.path().join("file").as_os_str().as_bytes().to_vec();
        let fields: Vec<String> = index[&path].as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields.len(), 11);
        for field in fields {
            let mut lying = index.clone();
            lying.get_mut(&path).unwrap()[&field] = json!(-77);
            let said = compare(&walk, &lying);
            assert!(said.len() == 1 && said[0].field == Some(&*field), "{field}: {said:?}");
        }
        let mut fewer = index.clone();
        fewer.remove(&path);
        assert!(compare(&walk, &fewer)[0].to_string().contains("missing"));
        let mut more = index;
        more.insert(b"/elsewhere".to_vec(), json!({}));
        assert!(compare(&walk, &more)[0].to_string().contains("not on disk"));
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let twice = [json!({"path": "/a"}), json!({"path": "/a"})];
        assert!(found(twice).unwrap_err().contains("twice"));
        assert!(found([json!({"path": "?", "path_raw": "*"})]).is_err());
        assert!(found([json!({})]).is_err());
        assert_eq!(
            found([json!({"path": "?", "path_raw": "/w=="})]).unwrap().keys().next().unwrap(),
            b"\xff"
        );
    }
}
