//! Sets of equal files as different programs find them, in one form that can be compared. Knows nothing of contents.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Sets of equal files, each file by the least of its names in the tree: the names of one inode are one file.
pub type Sets = BTreeSet<BTreeSet<PathBuf>>;

/// Inode (with its device) and the least name of every file in a tree.
struct Names(BTreeMap<(u64, u64), PathBuf>);

impl Names {
    fn of(tree: &Path) -> Result<Names, String> {
        let mut names = Names(BTreeMap::new());
        let mut waiting = vec![tree.to_owned()];
        while let Some(folder) = waiting.pop() {
            let listed = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for entry in listed {
                let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
                let inode = inode(&path)?;
                if path.is_dir() && !path.is_symlink() {
                    waiting.push(path);
                } else {
                    let least = names.0.entry(inode).or_insert_with(|| path.clone());
                    if path < *least {
                        *least = path;
                    }
                }
            }
        }
        Ok(names)
    }

    fn least(&self, path: &Path) -> Result<PathBuf, String> {
        let least = self.0.get(&inode(path)?);
        least.cloned().ok_or_else(|| format!("{} is not in the tree", path.display()))
    }

    /// Groups of names by a program that may count names of one inode as equal files.
    fn collapse(&self, groups: Vec<Vec<PathBuf>>) -> Result<Sets, String> {
        let mut sets = Sets::new();
        for group in groups {
            let set = group.iter().map(|path| self.least(path)).collect::<Result<BTreeSet<_>, _>>()?;
            // Several names of one file waste nothing.
            if set.len() > 1 && !sets.insert(set) {
                return Err(format!("told twice: {group:?}"));
            }
        }
        Ok(sets)
    }
}

fn inode(path: &Path) -> Result<(u64, u64), String> {
    let stat = path.symlink_metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((stat.dev(), stat.ino()))
}

fn output(program: &Path, arguments: &[&OsStr]) -> Result<Vec<u8>, String> {
    let said = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        return Err(format!("{}: {}: {}", program.display(), said.status, why.trim()));
    }
    Ok(said.stdout)
}

/// What `jdupes` finds. It is asked for linked names too: without, it says some of them and not others.
///
/// # Errors
/// When it fails, or says what cannot be understood.
pub fn sets_by_jdupes(program: &Path, tree: &Path) -> Result<Sets, String> {
    let flags = ["--recurse", "--quiet", "--print-null", "--hard-links"].map(OsStr::new);
    let said = output(program, &[&flags[..], &[tree.as_os_str()]].concat())?;
    Names::of(tree)?.collapse(jdupes_groups(&said))
}

/// A name, a zero byte, and so on; one zero more ends a set.
fn jdupes_groups(said: &[u8]) -> Vec<Vec<PathBuf>> {
    let mut groups = vec![Vec::new()];
    for name in said.split(|&byte| byte == 0) {
        match groups.last_mut() {
            Some(group) if !name.is_empty() => group.push(PathBuf::from(OsStr::from_bytes(name))),
            _ => groups.push(Vec::new()),
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// What `rmlint` finds.
///
/// # Errors
/// When it fails, or says what cannot be understood.
pub fn sets_by_rmlint(program: &Path, tree: &Path) -> Result<Sets, String> {
    let flags = ["--types=duplicates", "--hidden", "--output=json:stdout"].map(OsStr::new);
    let said = output(program, &[&flags[..], &[tree.as_os_str()]].concat())?;
    Names::of(tree)?.collapse(rmlint_groups(&said)?)
}

/// An array with a head, a foot, and between them the files of each set, the one to keep first.
fn rmlint_groups(said: &[u8]) -> Result<Vec<Vec<PathBuf>>, String> {
    let said: Value = serde_json::from_slice(said).map_err(|error| format!("rmlint: {error}"))?;
    let mut groups: Vec<Vec<PathBuf>> = Vec::new();
    for file in said.as_array().into_iter().flatten().filter(|item| item["type"] == "duplicate_file") {
        let path = file["path"].as_str().map(PathBuf::from);
        let path = path.ok_or_else(|| format!("rmlint: no path in {file}"))?;
        match groups.last_mut() {
            Some(group) if file["is_original"] == false => group.push(path),
            _ => groups.push(vec![path]),
        }
    }
    Ok(groups)
}

/// The lines of `indexer dups --json`. One that lists two names of one file as copies, files of another size than it says,
/// or a file alone, is an error.
///
/// # Errors
/// When they say what is not so.
pub fn sets_by_indexer(lines: &[Value], tree: &Path) -> Result<Sets, String> {
    let names = Names::of(tree)?;
    let mut groups = Vec::new();
    for line in lines {
        let paths = line["paths"].as_array().ok_or_else(|| format!("no paths in {line}"))?;
        let paths = paths.iter().map(|path| path.as_str().map(PathBuf::from)).collect::<Option<Vec<_>>>();
        let paths = paths.ok_or_else(|| format!("a path that is no text in {line}"))?;
        let files = paths.iter().map(|path| inode(path)).collect::<Result<BTreeSet<_>, _>>()?;
        if files.len() != paths.len() || files.len() < 2 {
            return Err(format!("{} files in {line}", files.len()));
        }
        for path in &paths {
            let size = path.symlink_metadata().map_err(|error| format!("{}: {error}", path.display()))?.len();
            if line["size"] != size || size == 0 {
                return Err(format!("{} has {size} bytes: {line}", path.display()));
            }
        }
        groups.push(paths);
    }
    names.collapse(groups)
}

/// Ways in which two findings differ, a line each; none if they are equal.
#[must_use]
pub fn compare_sets(one: (&str, &Sets), other: (&str, &Sets)) -> Vec<String> {
    let alone = |(who, sets): (&str, &Sets), than: &Sets| -> Vec<String> {
        sets.difference(than).map(|set| format!("only {who} has {set:?}")).collect()
    };
    [alone(one, other.1), alone(other, one.1)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn output_of_others_is_read() {
        let two = |groups: Vec<Vec<PathBuf>>| -> Vec<Vec<String>> {
            let text = |path: PathBuf| path.to_str().unwrap().to_owned();
            groups.into_iter().map(|group| group.into_iter().map(text).collect()).collect()
        };
        assert_eq!(two(jdupes_groups(b"/a\n1\0/b\0\0/c\0/d\0\0")), [["/a\n1", "/b"], ["/c", "/d"]]);
        assert_eq!(jdupes_groups(b""), Vec::<Vec<PathBuf>>::new());
        let file =
            |path: &str, first: bool| json!({"type": "duplicate_file", "path": path, "is_original": first});
        let said = json!([{"cwd": "/"}, file("/a", true), file("/b", false), file("/c", true), file("/d", false), {"sets": 2}]);
        let groups = rmlint_groups(said.to_string().as_bytes()).unwrap();
        assert_eq!(two(groups), [["/a", "/b"], ["/c", "/d"]]);
        assert!(rmlint_groups(b"nothing").is_err());
    }

    #[test]
    fn names_of_one_file_are_no_copies() {
        let folder = tempfile::tempdir().unwrap();
        let [one, link, other] = ["b", "a", "c"].map(|name| folder.path().join(name));
        fs::write(&one, "x").unwrap();
        fs::write(&other, "x").unwrap();
        fs::hard_link(&one, &link).unwrap();
        let sets = |paths: &[&PathBuf], size: u64| {
            sets_by_indexer(&[json!({"size": size, "paths": paths})], folder.path())
        };
        let expected = Sets::from([[link.clone(), other.clone()].into()]);
        assert_eq!(sets(&[&other, &one], 1).unwrap(), expected);
        for (paths, size) in [(&[&one, &link][..], 1), (&[&one], 1), (&[&one, &other], 2)] {
            assert!(sets(paths, size).is_err(), "{paths:?}");
        }
        let names = Names::of(folder.path()).unwrap();
        assert_eq!(names.collapse(vec![vec![one.clone(), link.clone()]]).unwrap(), Sets::new());
        assert_eq!(names.collapse(vec![vec![one, link, other]]).unwrap(), expected);
        let alone = compare_sets(("we", &expected), ("they", &Sets::new()));
        assert!(alone.len() == 1 && alone[0].starts_with("only we"), "{alone:?}");
    }
}
