//! The log of a run: what is about to be done is on disk before it is done. Read again to undo it, or to end what was cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use record::Time;
use record::wire::v1;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::Kind;
use crate::at::Seen;

/// Version of the lines.
const VERSION: u32 = 1;

/// Why a log cannot be written or read. What was begun is not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("cannot {doing} the log {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which log.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the log {} is in use by another run; wait for its end", .0.display())]
    InUse(PathBuf),
    /// A line that this version does not understand.
    #[error("line {line} of {} is no line of a log of links: {why}", path.display())]
    Odd {
        /// Which log.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line.
    Begin { version: u32, run: String, at: (u64, u32) },
    /// About to be done.
    Link(Box<Intent>),
    /// Which of the copy's names were replaced, counted from 0; why not all.
    Done { n: u64, names: Vec<usize>, why: Option<String> },
    /// An undo has made a file that will take the name's place.
    Made { n: u64, inode: u64 },
    /// It is undone.
    Undone { n: u64 },
    /// The last line of a run: nothing is left half done.
    End,
}

/// An action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) n: u64,
    kind: String,
    pub(crate) digest: String,
    pub(crate) kept: FileSaid,
    pub(crate) copy: FileSaid,
}

/// A file as it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileSaid {
    paths: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths_raw: Option<Vec<String>>,
    device: u64,
    pub(crate) inode: u64,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, u32),
    pub(crate) accessed: (i64, u32),
    changed: (i64, u32),
}

/// A log that is being written; nobody else has it meanwhile.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    run: String,
    next: u64,
}

/// What a log says.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) run: String,
    pub(crate) intents: BTreeMap<u64, Intent>,
    /// Names replaced.
    pub(crate) done: BTreeMap<u64, Vec<usize>>,
    pub(crate) made: BTreeMap<u64, Vec<u64>>,
    pub(crate) undone: Vec<u64>,
    pub(crate) ended: bool,
}

impl Intent {
    pub(crate) fn new(kind: Kind, digest: &str, kept: (&[u8], &Seen), copy: (&[Vec<u8>], &Seen)) -> Intent {
        let kind = match kind {
            Kind::Hard => "hard",
            Kind::Reflink => "reflink",
        };
        let copy = FileSaid::new(copy.0.iter().map(|path| &path[..]), copy.1);
        let kept = FileSaid::new([kept.0].into_iter(), kept.1);
        Intent { n: 0, kind: kind.to_owned(), digest: digest.to_owned(), kept, copy }
    }

    pub(crate) fn is_hard(&self) -> bool {
        self.kind == "hard"
    }
}

impl FileSaid {
    fn new<'a>(paths: impl Iterator<Item = &'a [u8]>, seen: &Seen) -> FileSaid {
        let (paths, paths_raw) = v1::texts_and_raws(paths);
        let parts = |time: Time| (time.seconds(), time.subsec_nanos());
        let stat = &seen.stat;
        FileSaid {
            paths,
            paths_raw,
            device: seen.device,
            inode: seen.inode,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            modified: parts(stat.modified),
            accessed: parts(stat.accessed),
            changed: parts(stat.changed),
        }
    }

    /// Its paths. Those that cannot be decoded lead nowhere.
    pub(crate) fn paths(&self) -> Vec<Vec<u8>> {
        let raw = |nth: usize| self.paths_raw.as_ref().and_then(|raw| raw.get(nth)).map(String::as_str);
        let path = |(nth, text): (usize, &String)| v1::bytes_of(text, raw(nth)).unwrap_or_default();
        self.paths.iter().enumerate().map(path).collect()
    }

    /// Whether `seen` is this inode, and was not written to since.
    pub(crate) fn is(&self, seen: &Seen) -> bool {
        let modified = (seen.stat.modified.seconds(), seen.stat.modified.subsec_nanos());
        (self.inode, self.size, self.modified) == (seen.inode, seen.stat.size, modified)
    }
}

/// The name beside a copy under which the links of action `n` are made.
pub(crate) fn beside(run: &str, n: u64) -> String {
    format!(".indexer-link-{run}-{n}")
}

/// The name beside a link under which the undo of action `n` makes its file.
pub(crate) fn beside_undo(run: &str, n: u64) -> String {
    format!(".indexer-undo-{run}-{n}")
}

impl Log {
    /// Makes the log of a new run at `path`, for its owner alone.
    ///
    /// # Errors
    /// When there is a file already, or none can be made.
    pub fn create(path: &Path) -> Result<Log, LogError> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(io_error("make", path))?;
        let run = format!("{:016x}", RandomState::new().build_hasher().finish());
        let mut log = Log { file, path: path.to_owned(), run: run.clone(), next: 1 };
        log.lock()?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        log.write(&Line::Begin { version: VERSION, run, at: (at.as_secs(), at.subsec_nanos()) })?;
        if let Some(Ok(folder)) = path.parent().map(File::open) {
            // What is lost with the name of the log after a loss of power is the undo, not a file.
            let _ = folder.sync_all();
        }
        Ok(log)
    }

    /// Opens one to go on with it, and what it says.
    pub(crate) fn reopen(path: &Path) -> Result<(Log, Story), LogError> {
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(io_error("open", path))?;
        let mut log = Log { file, path: path.to_owned(), run: String::new(), next: 0 };
        log.lock()?;
        let mut text = Vec::new();
        log.file.read_to_end(&mut text).map_err(io_error("read", path))?;
        let story = Story::read(&text, path)?;
        // A line that was cut off: what it says had not begun.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            log.file.set_len(whole as u64).map_err(io_error("cut", path))?;
        }
        log.run.clone_from(&story.run);
        log.next = story.intents.keys().last().map_or(1, |last| last + 1);
        Ok((log, story))
    }

    /// What it says, without a claim to it.
    pub(crate) fn peek(path: &Path) -> Result<Story, LogError> {
        Story::read(&std::fs::read(path).map_err(io_error("read", path))?, path)
    }

    /// Whether its last line says that nothing is left half done.
    pub(crate) fn has_ended(path: &Path) -> Result<bool, LogError> {
        let mut file = File::open(path).map_err(io_error("open", path))?;
        let end = b"{\"event\":\"end\"}\n";
        let length = file.seek(SeekFrom::End(0)).map_err(io_error("read", path))?;
        let mut last = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(end.len() as u64)))
            .and_then(|_| file.read_to_end(&mut last))
            .map_err(io_error("read", path))?;
        Ok(last == end)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Numbers an intent, writes it, and says by which name beside each copy it works.
    pub(crate) fn intend(&mut self, mut intent: Intent) -> Result<(u64, String), LogError> {
        let n = self.next;
        self.next += 1;
        intent.n = n;
        self.write(&Line::Link(Box::new(intent)))?;
        Ok((n, beside(&self.run, n)))
    }

    /// Writes a line, to the disk.
    pub(crate) fn write(&mut self, line: &Line) -> Result<(), LogError> {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(io_error("write to", &self.path))
    }

    /// Says that nothing is left half done.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(mut self) -> Result<(), LogError> {
        self.write(&Line::End)
    }

    fn lock(&self) -> Result<(), LogError> {
        flock(&self.file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LogError::InUse(self.path.clone()))
    }
}

impl Story {
    fn read(text: &[u8], path: &Path) -> Result<Story, LogError> {
        let mut story = Story::default();
        for (nth, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let odd = |why: String| LogError::Odd { path: path.to_owned(), line: nth + 1, why };
            // The last one, cut off.
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let line: Line = serde_json::from_slice(line).map_err(|error| odd(error.to_string()))?;
            story.ended = matches!(line, Line::End);
            match line {
                Line::Begin { version, .. } if version != VERSION => {
                    return Err(odd(format!("version {version}, and this program reads {VERSION}")));
                }
                // It becomes a part of names that are removed.
                Line::Begin { run, .. } if !run.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    return Err(odd("the run is not named by hexadecimal digits".to_owned()));
                }
                Line::Begin { run, .. } => story.run = run,
                Line::Link(intent) => drop(story.intents.insert(intent.n, *intent)),
                Line::Done { n, names, .. } => drop(story.done.insert(n, names)),
                Line::Made { n, inode } => story.made.entry(n).or_default().push(inode),
                Line::Undone { n } => story.undone.push(n),
                Line::End => {}
            }
            if story.run.is_empty() {
                return Err(odd("it does not begin as one".to_owned()));
            }
        }
        Ok(story)
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { doing, path, source }
}
