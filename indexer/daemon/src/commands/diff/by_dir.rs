//! `diff --by-dir`: differences added up by directory. Knows not how they were found.

use rustc_hash::FxHashMap;
use serde::Serialize;
use snapshot::{Change, Op};

use super::shown::Form;
use crate::failure::Failure;
use crate::render::{Align, Out, Table, count, csv_line, quoted, signed_bytes};

/// Sums by directory, down to so many levels.
pub(super) struct Dirs {
    root: String,
    depth: usize,
    sums: FxHashMap<String, Sums>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sums {
    created: u64,
    deleted: u64,
    modified: u64,
    renamed: u64,
    /// By how many bytes it grew, also by what came from another directory.
    bytes: i64,
    allocated: i64,
}

#[derive(Serialize)]
struct DirLine<'a> {
    directory: &'a str,
    #[serde(flatten)]
    sums: Sums,
}

impl Dirs {
    pub(super) fn new(root: &str, depth: usize) -> Dirs {
        Dirs { root: root.to_owned(), depth, sums: FxHashMap::default() }
    }

    pub(super) fn add(&mut self, change: &Change<'_>) {
        let (taken, brought) = (change.taken(), change.brought());
        let directory = |state: Option<&snapshot::State>| state.is_some_and(snapshot::State::is_directory);
        let from = self.cut(change.old_path.unwrap_or(change.path), directory(change.before)).to_owned();
        let to = self.cut(change.path, directory(change.after.or(change.before))).to_owned();
        let old = self.sums.entry(from).or_default();
        old.bytes = old.bytes.saturating_sub(taken.0);
        old.allocated = old.allocated.saturating_sub(taken.1);
        let sums = self.sums.entry(to).or_default();
        sums.bytes = sums.bytes.saturating_add(brought.0);
        sums.allocated = sums.allocated.saturating_add(brought.1);
        if change.is_implied() {
            return;
        }
        *match change.op {
            Op::Created => &mut sums.created,
            Op::Deleted => &mut sums.deleted,
            Op::Modified => &mut sums.modified,
            Op::Renamed => &mut sums.renamed,
        } += 1;
    }

    /// The directory that a path counts for: itself, or that it lies in, but not more levels down than asked for.
    fn cut<'a>(&self, path: &'a str, directory: bool) -> &'a str {
        let dir = match path.rfind('/') {
            _ if directory => path,
            Some(0) => "/",
            Some(at) => &path[..at],
            None => path,
        };
        let above = self.root.strip_suffix('/').unwrap_or(&self.root).len();
        if dir.len() <= above {
            return path.get(..self.root.len()).unwrap_or(path);
        }
        let slashes = dir.bytes().enumerate().skip(above).filter(|(_, byte)| *byte == b'/');
        match slashes.map(|(at, _)| at).nth(self.depth) {
            // The root of all is its slash.
            Some(0) => "/",
            Some(at) => &dir[..at],
            None => dir,
        }
    }

    /// The largest change of bytes first.
    pub(super) fn print(self, out: &mut Out, form: Form, most: Option<usize>) -> Result<(), Failure> {
        let mut sums: Vec<(String, Sums)> = self.sums.into_iter().collect();
        sums.retain(|(_, sums)| {
            let Sums { created, deleted, modified, renamed, bytes, allocated } = *sums;
            created + deleted + modified + renamed > 0 || (bytes, allocated) != (0, 0)
        });
        sums.sort_by(|(a_dir, a), (b_dir, b)| {
            b.bytes.unsigned_abs().cmp(&a.bytes.unsigned_abs()).then_with(|| a_dir.cmp(b_dir))
        });
        sums.truncate(most.unwrap_or(usize::MAX));
        match form {
            Form::Json => {
                for (directory, sums) in &sums {
                    out.json(&DirLine { directory, sums: *sums })?;
                }
            }
            Form::Csv => {
                out.text("directory,created,deleted,modified,renamed,bytes,allocated\r\n")?;
                for (directory, sums) in &sums {
                    let Sums { created, deleted, modified, renamed, bytes, allocated } = *sums;
                    let counts = [created, deleted, modified, renamed].map(|number| number.to_string());
                    let [created, deleted, modified, renamed] = counts.each_ref();
                    let (bytes, allocated) = (bytes.to_string(), allocated.to_string());
                    out.text(&csv_line(&[
                        directory, created, deleted, modified, renamed, &bytes, &allocated,
                    ]))?;
                }
            }
            Form::Text if !sums.is_empty() => {
                let mut columns = [Align::Right; 7];
                columns[6] = Align::Left;
                let mut table = Table::new(&columns);
                table.row(
                    ["size", "allocated", "created", "deleted", "modified", "renamed", "directory"]
                        .map(str::to_owned),
                );
                for (directory, sums) in &sums {
                    table.row([
                        signed_bytes(sums.bytes),
                        signed_bytes(sums.allocated),
                        count(sums.created),
                        count(sums.deleted),
                        count(sums.modified),
                        count(sums.renamed),
                        quoted(directory.as_bytes()).into_owned(),
                    ]);
                }
                out.text(&table.text(Out::width()))?;
            }
            Form::Text => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_counts_for_a_directory_not_too_far_down() {
        for (root, depth, path, directory, expected) in [
            ("/r", 0, "/r/a/b/c", false, "/r"),
            ("/r", 1, "/r/a/b/c", false, "/r/a"),
            ("/r", 2, "/r/a/b/c", false, "/r/a/b"),
            ("/r", 5, "/r/a/b/c", false, "/r/a/b"),
            ("/r", 1, "/r/x", false, "/r"),
            ("/r", 1, "/r/d", true, "/r/d"),
            ("/r", 0, "/r/d", true, "/r"),
            ("/r", 1, "/r", true, "/r"),
            ("/", 1, "/x", false, "/"),
            ("/", 0, "/a/b", false, "/"),
            ("/", 1, "/a/b/c", false, "/a"),
        ] {
            assert_eq!(Dirs::new(root, depth).cut(path, directory), expected, "{root} {depth} {path}");
        }
    }
}
