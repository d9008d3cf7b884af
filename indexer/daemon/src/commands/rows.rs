//! Rows to compare or to sum up: out of snapshots, or out of the index as it is now, read ahead on a thread. Knows not what for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use record::wire::v1;
use snapshot::{Address, Column, Day, Found, Head, Lines, Part, ReadError, Reader, Unframed, find};

use crate::cli::Meant;
use crate::commands::snapshot::failure as told;
use crate::commands::{Context, Source};
use crate::failure::Failure;
use crate::query::{PathPair, SnapshotRequest};
use crate::render::Names;

/// Batches of rows that wait to be taken; reading waits when so many do.
const AHEAD: usize = 4;
/// The word for the index as it is.
pub(super) const NOW: &str = "now";

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The index, as it is.
    Now,
    /// Snapshots, one or more roots.
    Files(Vec<PathBuf>),
}

/// What `word` names: `now`, `latest`, a day, a file or a folder.
///
/// # Errors
/// When it names nothing, and when no snapshot is there.
pub(super) fn origin(context: &Context, word: &OsStr, flags: &Meant) -> Result<Origin, Failure> {
    let path = Path::new(word);
    match word.to_str() {
        Some(NOW) => return Ok(Origin::Now),
        Some("latest") => return kept(context, Day::Newest, flags),
        Some(day) if is_day(day) => return kept(context, Day::Of(day), flags),
        Some(seq) if seq.parse::<u64>().is_ok() && !path.try_exists().unwrap_or(true) => {
            return Err(Failure::Usage(format!(
                "{seq} is a seq, and of those `indexer diff` compares two, or one and `now`; name a snapshot, or see each record with `indexer changes --since {seq}`"
            )));
        }
        _ => {}
    }
    if let Some(address) = Address::of(path).map_err(|error| Failure::Usage(error.to_string()))? {
        return Err(Failure::Usage(format!(
            "{address} is in an object store, and snapshots are read from files: copy it here first"
        )));
    }
    if path.is_dir() {
        // What lies in one folder of the layout is one snapshot.
        let own = path.join("snapshot.parquet");
        return if own.is_file() { Ok(Origin::Files(vec![own])) } else { found(path, Day::Newest, flags) };
    }
    if path.try_exists().unwrap_or(true) || path.extension() == Some(OsStr::new("parquet")) {
        return Ok(Origin::Files(vec![path.to_owned()]));
    }
    Err(Failure::Usage(format!(
        "{} is no snapshot: name a .parquet file, a folder of snapshots, a day as 2026-11-22, latest, or now",
        crate::paths::shown(path)
    )))
}

/// Those of a day in the folder of the flags.
///
/// # Errors
/// When there is none.
pub(super) fn kept(context: &Context, day: Day<'_>, flags: &Meant) -> Result<Origin, Failure> {
    found(&folder(context, flags)?, day, flags)
}

fn found(folder: &Path, day: Day<'_>, flags: &Meant) -> Result<Origin, Failure> {
    let root = flags.root.as_deref().map(root_bytes).transpose()?;
    let found = find(folder, day, root.as_deref(), flags.host.as_deref()).map_err(failure)?;
    Ok(Origin::Files(found.into_iter().map(|Found { file, .. }| file).collect()))
}

/// Where days are looked for.
pub(super) fn folder(context: &Context, flags: &Meant) -> Result<PathBuf, Failure> {
    match flags.folder.as_ref().or(context.file.snapshots.folder.as_ref()) {
        Some(folder) => Ok(folder.clone()),
        None => Ok(context.state_path()?.join("snapshots")),
    }
}

fn is_day(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00"
}

/// A root is stored by its real path; one that is gone is known by how it is written.
pub(super) fn root_bytes(root: &Path) -> Result<Vec<u8>, Failure> {
    Ok(crate::paths::spellings(root)?.pop().unwrap_or_default())
}

/// The bytes of the root that a snapshot is of.
pub(super) fn bytes_of(head: &Head) -> Result<Vec<u8>, Failure> {
    v1::bytes_of(&head.root, head.root_raw.as_deref())
        .map_err(|error| Failure::doing("read a root's path", error))
}

/// Rows, read ahead.
pub(super) struct Rows {
    parts: Receiver<Result<Option<Part>, Failure>>,
    held: Option<Part>,
    ended: bool,
}

impl Rows {
    /// The columns `wanted` of what `origin` names; of the index, of the root of these bytes alone if there are any.
    ///
    /// # Errors
    /// When there is nothing to be read.
    pub(super) fn open(
        context: &Context,
        origin: &Origin,
        root: Option<&[u8]>,
        wanted: &'static [Column],
    ) -> Result<Rows, Failure> {
        match origin {
            Origin::Now => {
                let mut request = SnapshotRequest { max_growth: 1 << 30, ..SnapshotRequest::default() };
                if let Some(pair) = root.map(PathPair::new) {
                    (request.root, request.root_raw) = (Some(pair.path), pair.raw);
                }
                // It goes out that something was as of a seq.
                super::replay::vouch(context)?;
                let source = Source::open(context)?;
                Rows::ahead(move |sender| of_index(source, &request, sender))
            }
            Origin::Files(files) => {
                let readers: Result<Vec<Reader>, _> =
                    files.iter().map(|file| Reader::open(file, wanted)).collect();
                let readers = readers.map_err(failure)?;
                Rows::ahead(move |sender| of_files(readers, sender))
            }
        }
    }

    fn ahead(work: impl FnOnce(&Sender) -> Result<bool, Failure> + Send + 'static) -> Result<Rows, Failure> {
        let (sender, parts) = sync_channel(AHEAD);
        let run = move || {
            // The library may panic at what is hostile, which it says itself.
            let done = index::caught(|| work(&sender)).unwrap_or_else(|said| Err(Failure::Bug(said)));
            // Nobody may wait for it any more.
            let _ = match done {
                Ok(_) => sender.send(Ok(None)),
                Err(failure) => sender.send(Err(failure)),
            };
        };
        std::thread::Builder::new()
            .name("rows".to_owned())
            .spawn(run)
            .map_err(|error| Failure::doing("start a thread", error))?;
        Ok(Rows { parts, held: None, ended: false })
    }

    /// The next part; none at the end.
    ///
    /// # Errors
    /// What reading answers.
    pub(super) fn next_part(&mut self) -> Result<Option<Part>, Failure> {
        if self.held.is_some() || self.ended {
            return Ok(self.held.take());
        }
        let died = |_| Err(Failure::Failed("the reader of rows died".to_owned()));
        let part = self.parts.recv().unwrap_or_else(died)?;
        self.ended = part.is_none();
        Ok(part)
    }

    /// Of what the next root is; none at the end.
    ///
    /// # Errors
    /// What reading answers.
    pub(super) fn next_head(&mut self) -> Result<Option<Head>, Failure> {
        match self.next_part()? {
            Some(Part::Begin(head)) => Ok(Some(*head)),
            part => {
                self.held = part;
                Ok(None)
            }
        }
    }

    /// The next rows of this root; none at its end.
    ///
    /// # Errors
    /// What reading answers.
    pub(super) fn next_lines(&mut self) -> Result<Option<Lines>, Failure> {
        match self.next_part()? {
            Some(Part::Rows(lines)) => Ok(Some(*lines)),
            part => {
                self.held = part;
                Ok(None)
            }
        }
    }
}

/// Both sides, each at its one root, which is the same.
///
/// # Errors
/// When they are not two of one root.
pub(super) fn pair(
    context: &Context,
    mut sides: [Origin; 2],
    wanted: &'static [Column],
) -> Result<(Rows, Rows, [Head; 2]), Failure> {
    if sides.iter().all(|side| *side == Origin::Now) {
        return Err(Failure::Usage(format!(
            "{NOW} and {NOW} are the same: name a snapshot to compare the index with"
        )));
    }
    let mut known = None;
    // What is one root says which of several is meant.
    for side in &sides {
        if let Origin::Files(files) = side
            && let [file] = &files[..]
        {
            known = known.or(Some(Reader::open(file, &[]).map_err(failure)?.head().clone()));
        }
    }
    for side in &mut sides {
        if let Origin::Files(files) = side {
            *files = vec![only(std::mem::take(files), known.as_ref())?];
        }
    }
    let root = known.as_ref().map(bytes_of).transpose()?;
    let mut opened = Vec::new();
    for side in &sides {
        let mut rows = Rows::open(context, side, root.as_deref(), wanted)?;
        let head = rows.next_head()?.ok_or_else(|| Failure::Failed("it holds no root".to_owned()))?;
        opened.push((rows, head));
    }
    let (Some((b, after)), Some((a, before))) = (opened.pop(), opened.pop()) else {
        return Err(Failure::Failed("there are not two sides".to_owned()));
    };
    if (&before.root, &before.root_raw) != (&after.root, &after.root_raw) {
        return Err(Failure::Usage(format!(
            "the one is of the root {} and the other of {}: only snapshots of one root can be compared",
            before.root, after.root
        )));
    }
    Ok((a, b, [before, after]))
}

/// The one file that is meant.
fn only(files: Vec<PathBuf>, known: Option<&Head>) -> Result<PathBuf, Failure> {
    if let [file] = &files[..] {
        return Ok(file.clone());
    }
    let mut fitting = Vec::new();
    let mut all = Vec::new();
    for file in files {
        let reader = Reader::open(&file, &[]).map_err(failure)?;
        let head = reader.head();
        if known.is_some_and(|known| (&known.host, &known.root) == (&head.host, &head.root)) {
            fitting.push(file);
        }
        all.push(format!("{} of {}", head.root, head.host));
    }
    match &fitting[..] {
        [file] => Ok(file.clone()),
        _ => Err(Failure::Usage(format!(
            "there are several snapshots ({}): name one with --root and --host",
            all.join(", ")
        ))),
    }
}

/// Where parts go.
type Sender = SyncSender<Result<Option<Part>, Failure>>;

/// Answers false when nobody takes more.
fn of_files(readers: Vec<Reader>, sender: &Sender) -> Result<bool, Failure> {
    for mut reader in readers {
        if sender.send(Ok(Some(Part::Begin(Box::new(reader.head().clone()))))).is_err() {
            return Ok(false);
        }
        while let Some(lines) = reader.next_lines().map_err(failure)? {
            if sender.send(Ok(Some(Part::Rows(Box::new(lines))))).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn of_index(mut source: Source, request: &SnapshotRequest, sender: &Sender) -> Result<bool, Failure> {
    let mut unframed = Unframed::new(Arc::new(Names::read().into()));
    source.snapshot(request, &mut |piece| match unframed
        .feed(piece, &mut |part| sender.send(Ok(Some(part))).is_ok())
    {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Pipe),
        Err(error) => Err(told(error)),
    })?;
    unframed.finish().map_err(told)?;
    Ok(true)
}

pub(super) fn failure(error: ReadError) -> Failure {
    if error.is_usage() { Failure::Usage(error.to_string()) } else { Failure::Failed(error.to_string()) }
}
