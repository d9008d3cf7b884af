//! What is true of a tree: a plain walk by paths, one `lstat` at a time, compared field by field with what the index
//! answers. Shares no code with the scan and assumes a tree at rest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use record::wire::v1;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde_json::Value;

use crate::Daemon;

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

/// Every entry in and at `root`, by absolute path.
///
/// # Panics
/// When something cannot be looked at: the tree is not at rest, or not ours to read.
#[must_use]
pub fn independent_walk(root: &Path) -> BTreeMap<Vec<u8>, WalkedStat> {
    independent_walk_without(root, &[])
}

/// The same, without the folders in `skip` (a state folder inside the tree) and what is in them.
///
/// # Panics
/// As [`independent_walk`].
#[must_use]
pub fn independent_walk_without(root: &Path, skip: &[&Path]) -> BTreeMap<Vec<u8>, WalkedStat> {
    let mut walked = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        if skip.contains(&&*path) {
            continue;
        }
        let stat = look(&path);
        if stat.kind == "directory" {
            let listing = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            waiting.extend(listing.map(|entry| entry.expect("a listing at rest has no errors").path()));
        }
        walked.insert(path.as_os_str().as_bytes().to_vec(), stat);
    }
    walked
}

fn look(path: &Path) -> WalkedStat {
    let stat = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let birth = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).expect("lstat just saw it");
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
    WalkedStat {
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
    }
}

fn nanoseconds(seconds: i64, part: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(part)
}

/// What the index says of `root`: the objects of `indexer find ROOT --json`, by absolute path.
///
/// # Panics
/// When the command fails, a line is no object, or a path comes twice.
#[must_use]
pub fn find_json(daemon: &Daemon, root: &Path) -> BTreeMap<Vec<u8>, Value> {
    let said = daemon.run(&[&"find", &root, &"--json"]);
    assert!(
        matches!(said.status.code(), Some(0 | 1)),
        "find: {}: {}",
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    let mut found = BTreeMap::new();
    for line in said.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let entry: Value = serde_json::from_slice(line).expect("a line of --json is an object");
        let text = entry["path"].as_str().expect("an entry has a path");
        let path = v1::bytes_of(text, entry["path_raw"].as_str()).expect("path_raw is base64");
        let twice = found.insert(path, entry);
        assert!(twice.is_none(), "find lists a path twice: {}", String::from_utf8_lossy(line));
    }
    found
}

/// Every difference between a walk and the index, one line each; empty when they agree on every path and field.
#[must_use]
pub fn compare(walk: &BTreeMap<Vec<u8>, WalkedStat>, index: &BTreeMap<Vec<u8>, Value>) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, walked) in walk {
        let shown = path.escape_ascii();
        let Some(entry) = index.get(path) else {
            differences
                .push(format!("{shown}: missing from the index ({}, inode {})", walked.kind, walked.inode));
            continue;
        };
        if entry["kind"] != walked.kind {
            differences.push(format!("{shown}: kind is {}, indexed as {}", walked.kind, entry["kind"]));
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
                differences.push(format!("{shown}: {field} is {seen}, indexed as {stored}"));
            }
        }
    }
    for path in index.keys().filter(|path| !walk.contains_key(*path)) {
        differences.push(format!("{}: in the index but not on disk", path.escape_ascii()));
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

    /// The judge must see a lie in any field, or every test that rests on it is worthless.
    #[test]
    fn each_field_that_lies_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"12345").unwrap();
        let walk = independent_walk(folder.path());
        assert_eq!(walk.len(), 2);
        let index: BTreeMap<_, _> = walk.iter().map(|(path, stat)| (path.clone(), entry_of(stat))).collect();
        assert_eq!(compare(&walk, &index), Vec::<String>::new());

        let path = folder.path().join("file").as_os_str().as_bytes().to_vec();
        let fields: Vec<String> = index[&path].as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields.len(), 11);
        for field in fields {
            let mut lying = index.clone();
            lying.get_mut(&path).unwrap()[&field] = json!(-77);
            let said = compare(&walk, &lying);
            assert!(said.len() == 1 && said[0].contains(&field), "{field}: {said:?}");
        }
        let mut fewer = index.clone();
        fewer.remove(&path);
        assert!(compare(&walk, &fewer)[0].contains("missing"));
        let mut more = index;
        more.insert(b"/elsewhere".to_vec(), json!({}));
        assert!(compare(&walk, &more)[0].contains("not on disk"));
    }
}
