//! `coverage`: how each directory below a path is kept true, and since when, summed up on the way. Asks a keeper how;
//! looks at no file.

use index::{Blind, IndexError, Reader};
use reconcile::Stored as _;
use record::wire::v1::text_and_raw;
use record::{EntryId, Name, VolumeId};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::query::{CoverageRequest, Emit, QueryError, bytes, push_name, resolve, root_paths};

/// Blind directories named one by one, unless all are asked for.
const MOST_BLIND: usize = 20;

/// Counts of directories; they add up to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Kernel events tell of every change in them.
    pub(crate) watched: u64,
    /// Only sweeps do.
    pub(crate) swept: u64,
    /// They were not compared with the disk since it was last lost sight of.
    pub(crate) unverified: u64,
    /// They cannot be looked at.
    pub(crate) blind: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.watched += other.watched;
        self.swept += other.swept;
        self.unverified += other.unverified;
        self.blind += other.blind;
    }

    fn directories(self) -> u64 {
        self.watched + self.swept + self.unverified + self.blind
    }
}

/// How one directory is kept true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// By events.
    Watched,
    /// By sweeps.
    Swept,
    /// Not at all for now.
    Unverified,
}

impl Kept {
    fn word(self) -> &'static str {
        match self {
            Kept::Watched => "watched",
            Kept::Swept => "swept",
            Kept::Unverified => "unverified",
        }
    }
}

/// Who knows how directories are kept true: the engine, or nobody.
pub(crate) trait Keeper {
    /// How the directory of the root at `root` is kept.
    fn kept(&self, root: &[u8], dir: EntryId) -> Kept;
    /// Until when everything kept so was true, in nanoseconds since 1970.
    fn verified(&self, root: &[u8], kept: Kept) -> Option<i128>;
    /// The tier of a volume, and why that one.
    fn tier(&self, volume: VolumeId) -> Option<(String, String)>;
}

/// A file system that directories below the path are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its topmost directory there.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Its number.
    pub(crate) volume: u32,
    /// `fanotify`, `inotify`, `notify`, `sweep`, `none`.
    pub(crate) backend: String,
    /// Why that one.
    pub(crate) reason: String,
    /// Directories on it.
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// A directory that cannot be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlindLine {
    /// Its path.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Why.
    pub(crate) why: String,
    /// Since when.
    pub(crate) since_ns: i128,
}

/// One directory with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    /// Its path.
    pub(crate) path: String,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Of the directory itself: `watched`, `swept`, `unverified`, `blind`.
    pub(crate) state: String,
    /// Itself and all directories below.
    pub(crate) directories: u64,
    /// How they are kept.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Everything below was true then, the blind ones left out; null where that was never so.
    pub(crate) verified_ns: Option<i128>,
    /// The file systems below; only of the path asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    /// The blind directories, the first of them; only of the path asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blind_paths: Vec<BlindLine>,
}

/// Emits the coverage of the path (or of each root) first, then of the directories below it down to `depth`.
///
/// # Errors
/// [`QueryError::NotIndexed`] for a path that is not there.
pub(crate) fn coverage(
    reader: &Reader,
    keeper: &dyn Keeper,
    request: &CoverageRequest,
    emit: Emit<'_, Coverage>,
) -> Result<(), QueryError> {
    let starts = match &request.path {
        Some(path) => vec![bytes(path, request.path_raw.as_deref())?],
        None => root_paths(reader)?,
    };
    let blind: FxHashMap<EntryId, Blind> = reader.blind()?.into_iter().collect();
    for start in starts {
        let (root, id) = resolve(reader, &start)?;
        let most = if request.all.unwrap_or(false) { usize::MAX } else { MOST_BLIND };
        let walk = Walk { reader, keeper, blind: &blind, root: &root.path, most };
        for line in walk.below(start, id, request.depth.unwrap_or(0))? {
            if !emit(line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

struct Walk<'a> {
    reader: &'a Reader,
    keeper: &'a dyn Keeper,
    blind: &'a FxHashMap<EntryId, Blind>,
    root: &'a [u8],
    most: usize,
}

/// A directory of which the ones below are being counted.
struct Frame {
    id: EntryId,
    length: usize,
    left: Vec<(Name, EntryId)>,
    counts: Counts,
}

impl Walk<'_> {
    /// The directory at `path` and those down to `depth` below it, by path.
    fn below(&self, mut path: Vec<u8>, top: EntryId, depth: u32) -> Result<Vec<Coverage>, QueryError> {
        let mut lines: Vec<(Vec<u8>, Coverage)> = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        let mut blind_paths = Vec::new();
        let mut stack = vec![self.frame(&path, top, &mut parts, &mut blind_paths)?];
        while let Some(frame) = stack.last_mut() {
            path.truncate(frame.length);
            if let Some((name, id)) = frame.left.pop() {
                push_name(&mut path, &name);
                if stack.iter().any(|above| above.id == id) {
                    return Err(IndexError::circle(id).into());
                }
                let below = self.frame(&path, id, &mut parts, &mut blind_paths)?;
                stack.push(below);
                continue;
            }
            let Some(done) = stack.pop() else { break };
            if stack.len() <= usize::try_from(depth).unwrap_or(usize::MAX) {
                lines.push((path.clone(), self.line(&path, done.id, done.counts)));
            }
            if let Some(above) = stack.last_mut() {
                above.counts.add(done.counts);
            }
        }
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        let mut lines: Vec<Coverage> = lines.into_iter().map(|(_, line)| line).collect();
        if let Some(first) = lines.first_mut() {
            first.parts = parts;
            first.blind_paths = blind_paths;
        }
        Ok(lines)
    }

    /// Counts one directory, and names the ones in it.
    fn frame(
        &self,
        path: &[u8],
        id: EntryId,
        parts: &mut Vec<Part>,
        blind_paths: &mut Vec<BlindLine>,
    ) -> Result<Frame, QueryError> {
        let mut counts = Counts::default();
        match (self.blind.get(&id), self.keeper.kept(self.root, id)) {
            (Some(blind), _) => {
                counts.blind = 1;
                if blind_paths.len() < self.most {
                    let (path, path_raw) = text_and_raw(path);
                    let (why, since_ns) = (blind.why.clone(), blind.since.0);
                    blind_paths.push(BlindLine { path, path_raw, why, since_ns });
                }
            }
            (None, Kept::Watched) => counts.watched = 1,
            (None, Kept::Swept) => counts.swept = 1,
            (None, Kept::Unverified) => counts.unverified = 1,
        }
        match parts.iter_mut().find(|part| part.volume == id.volume.0) {
            Some(part) => part.counts.add(counts),
            None => {
                let (path, path_raw) = text_and_raw(path);
                let (backend, reason) = self
                    .keeper
                    .tier(id.volume)
                    .unwrap_or_else(|| ("none".to_owned(), "nobody watches it".to_owned()));
                parts.push(Part { path, path_raw, volume: id.volume.0, backend, reason, counts });
            }
        }
        let mut left = Vec::new();
        // The sums say where there is no directory below: most names are never read.
        if self.reader.totals(id)?.is_none_or(|totals| totals.directories > 1) {
            self.reader.each_child::<QueryError>(id, |name, target| {
                if target.directory {
                    left.push((name.into(), target.id));
                }
                Ok(true)
            })?;
        }
        left.reverse();
        Ok(Frame { id, length: path.len(), left, counts })
    }

    fn line(&self, path: &[u8], id: EntryId, counts: Counts) -> Coverage {
        let state = match self.blind.contains_key(&id) {
            true => "blind",
            false => self.keeper.kept(self.root, id).word(),
        };
        let kept = [
            (counts.watched, Kept::Watched),
            (counts.swept, Kept::Swept),
            (counts.unverified, Kept::Unverified),
        ];
        let times = kept.iter().filter(|(count, _)| *count > 0);
        // The oldest of them; null if one has none.
        let verified_ns = times
            .map(|(_, kept)| self.keeper.verified(self.root, *kept))
            .reduce(|a, b| Some(a?.min(b?)))
            .flatten();
        let (path, path_raw) = text_and_raw(path);
        Coverage {
            path,
            path_raw,
            state: state.to_owned(),
            directories: counts.directories(),
            counts,
            verified_ns,
            ..Coverage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::testing::made;
    use index::Edits;
    use record::{Kind, Time};

    /// Inodes above 10 are swept.
    struct Fake;

    impl Keeper for Fake {
        fn kept(&self, _: &[u8], dir: EntryId) -> Kept {
            if dir.inode > 10 { Kept::Swept } else { Kept::Watched }
        }

        fn verified(&self, _: &[u8], kept: Kept) -> Option<i128> {
            match kept {
                Kept::Watched => Some(200),
                Kept::Swept => Some(100),
                Kept::Unverified => None,
            }
        }

        fn tier(&self, _: VolumeId) -> Option<(String, String)> {
            Some(("inotify".into(), "asked for".into()))
        }
    }

    #[test]
    fn each_directory_is_counted_once_and_summed_up_the_tree() {
        let made = made(
            b"/r",
            &[
                (b"a", 3, Kind::Directory, 0),
                (b"a/b", 11, Kind::Directory, 0),
                (b"a/b/c", 12, Kind::Directory, 0),
                (b"a/file", 20, Kind::File, 1),
                (b"d", 4, Kind::Directory, 0),
                (b"e", 5, Kind::Directory, 0),
            ],
        );
        let blind = Blind { since: Time(7), why: "list: permission denied".into() };
        let coverage_of = vec![(EntryId::new(VolumeId(1), 4), Some(blind))];
        made.index.commit(Edits { coverage: coverage_of, ..Edits::default() }).unwrap();
        let reader = made.index.read().unwrap();
        let ask = |request: CoverageRequest| {
            let mut lines = Vec::new();
            coverage(&reader, &Fake, &request, &mut |line| {
                lines.push(line);
                true
            })
            .unwrap();
            lines
        };
        let lines = ask(CoverageRequest { depth: Some(1), ..CoverageRequest::default() });
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                let Counts { watched, swept, unverified, blind } = line.counts;
                (&*line.path, &*line.state, [watched, swept, unverified, blind], line.verified_ns)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("/r", "watched", [3, 2, 0, 1], Some(100)),
                ("/r/a", "watched", [1, 2, 0, 0], Some(100)),
                ("/r/d", "blind", [0, 0, 0, 1], None),
                ("/r/e", "watched", [1, 0, 0, 0], Some(200)),
            ]
        );
        assert_eq!(lines[0].directories, 6);
        assert_eq!(lines[0].parts.len(), 1);
        assert_eq!(lines[0].parts[0].counts, lines[0].counts);
        assert_eq!(lines[0].blind_paths[0].path, "/r/d");
        let below = ask(CoverageRequest { path: Some("/r/a/b".into()), ..CoverageRequest::default() });
        assert_eq!((below.len(), &*below[0].state, below[0].directories), (1, "swept", 2));
    }
}
