//! A scan as chunks: each a whole file of its own under its final name, and after each the manifest. Goes on where another run was
//! cut off. Knows no walk.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use record::Time;
use record::wire::v1::{bytes_of, text_and_raw};
use serde_json::{Map, Value};

use super::frontier::Frontier;
use super::manifest::{Chunk, FORMAT, Manifest};
use super::names::Names;
use super::output::{Output, SCAN};
use crate::aside::Aside;
use crate::error::{Doing as _, SnapshotError};
use crate::random;
use crate::sort::Sorted;

/// How a scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// From nothing; `over` what is there.
    Anew {
        /// Whether what an earlier scan wrote goes.
        over: bool,
    },
    /// Where an earlier run was cut off; from nothing where there was none.
    GoOn,
}

/// What has been written.
#[derive(Debug)]
pub struct Chunks {
    names: Names,
    output: Output,
    manifest: Manifest,
    frontier: Frontier,
    /// Nobody else writes to the same place meanwhile.
    _lock: Aside,
}

impl Chunks {
    /// Begins a scan to `names`. `options` is what decides which entries have rows.
    ///
    /// # Errors
    /// When something is in the place, what is there cannot be gone on from, or it cannot be written to.
    pub fn begin(
        names: Names,
        output: Output,
        options: Map<String, Value>,
        begin: Begin,
    ) -> Result<Chunks, SnapshotError> {
        let lock = Aside::file(&names.lock(), true)?;
        let path = names.manifest();
        let there = match (begin, Manifest::read(&path)) {
            (Begin::Anew { over: true }, Ok(_) | Err(SnapshotError::Damaged { .. })) => None,
            (Begin::Anew { over: false }, Ok(Some(_))) => return Err(SnapshotError::Begun(path)),
            (_, read) => read?,
        };
        let mut manifest = match there {
            Some(there) => {
                is_same(&path, &there, &output, &options)?;
                there
            }
            None => new(&output, options),
        };
        let Some(frontier) = manifest.frontier(&output.root) else {
            let why = "it names directories that are not below its root".to_owned();
            return Err(SnapshotError::Damaged { path, why });
        };
        let mut chunks = 0;
        for chunk in &mut manifest.chunks {
            chunks += 1;
            let place = names.chunk(chunks);
            is_whole(&place, chunk, &manifest.scan)?;
            chunk.file_path = shown(&place);
        }
        let stray = strays(&names, chunks)?;
        let over = begin == Begin::Anew { over: true };
        for (number, place) in &stray {
            // A run that was killed may have put one more into place than it could say.
            let ours = *number == chunks + 1 && scan_of(place).is_some_and(|of| of.0 == manifest.scan);
            if !over && !ours {
                return Err(SnapshotError::Exists(place.clone()));
            }
        }
        // First, so that nothing is named that is gone.
        manifest.write(&path)?;
        for (_, place) in &stray {
            fs::remove_file(place).doing("remove", place)?;
        }
        Ok(Chunks { names, output, manifest, frontier, _lock: lock })
    }

    /// How far an earlier run got.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.manifest.completed
    }

    /// Rows in all chunks.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.manifest.total_rows
    }

    /// All chunks.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.manifest.chunks
    }

    /// What could not be looked at.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.manifest.unreadable
    }

    /// Writes one more, of all `rows` of the directories in `ways`, and says so.
    pub(super) fn take(
        &mut self,
        rows: Sorted,
        ways: Frontier,
        missed: u64,
        shown_rows: &AtomicU64,
    ) -> Result<(), SnapshotError> {
        if !rows.is_empty() {
            let place = self.names.chunk(self.manifest.chunk_count + 1);
            let aside = Aside::file(&place, false)?;
            // A chunk that is begun is finished: what is in it need not be looked at again.
            let counts = (shown_rows, &AtomicBool::new(false));
            let file = self.output.write((&aside, &place), &self.manifest.scan, rows, counts)?;
            aside.commit()?;
            self.manifest.chunk_count += 1;
            self.manifest.total_rows += file.rows;
            self.manifest.chunks.push(Chunk {
                file_path: shown(&place),
                rows: file.rows,
                bytes: file.bytes,
                blake3: file.blake3,
            });
        }
        self.frontier.absorb(ways);
        self.manifest.unreadable += missed;
        self.say()
    }

    /// Says that nothing is left to do.
    pub(super) fn complete(&mut self) -> Result<(), SnapshotError> {
        self.manifest.completed = true;
        self.say()
    }

    fn say(&mut self) -> Result<(), SnapshotError> {
        self.manifest.set_frontier(&self.output.root, &self.frontier);
        self.manifest.updated_us = now_us();
        self.manifest.write(&self.names.manifest())
    }
}

fn new(output: &Output, options: Map<String, Value>) -> Manifest {
    let (root, root_raw) = text_and_raw(&output.root);
    Manifest {
        format: FORMAT,
        scan: random::hex(&random::id()),
        tool: output.moment.tool.clone(),
        host: output.moment.host.clone(),
        schema: output.form.columns.version().to_owned(),
        root,
        root_raw,
        options,
        started_us: output.moment.taken_us,
        updated_us: now_us(),
        completed: false,
        chunk_count: 0,
        total_rows: 0,
        unreadable: 0,
        chunks: Vec::new(),
        finished_directories: Vec::new(),
        listed_directories: Vec::new(),
    }
}

fn now_us() -> i64 {
    i64::try_from(Time::now().0 / 1000).unwrap_or(i64::MAX)
}

/// A path as it is told: from everywhere the same.
pub(super) fn shown(place: &Path) -> String {
    let whole = std::path::absolute(place);
    whole.as_deref().unwrap_or(place).to_string_lossy().into_owned()
}

/// Whether a scan that is gone on with is the one that was begun.
fn is_same(
    path: &Path,
    there: &Manifest,
    output: &Output,
    options: &Map<String, Value>,
) -> Result<(), SnapshotError> {
    let other = |why: String| Err(SnapshotError::Other { path: path.to_owned(), why });
    match bytes_of(&there.root, there.root_raw.as_deref()) {
        Ok(root) if root == output.root => {}
        _ => return other(format!("its root is {}", there.root)),
    }
    if there.schema != output.form.columns.version() {
        return other(format!("its columns are {}", there.schema));
    }
    let names = there.options.keys().chain(options.keys());
    match names.into_iter().find(|name| there.options.get(*name) != options.get(*name)) {
        Some(name) => {
            let word = there.options.get(name).map_or("not known to it".to_owned(), Value::to_string);
            other(format!("its {name} is {word}"))
        }
        None => Ok(()),
    }
}

/// Whether a chunk is the file that the manifest tells of.
fn is_whole(place: &Path, chunk: &Chunk, scan: &str) -> Result<(), SnapshotError> {
    let damaged = |why: String| Err(SnapshotError::Damaged { path: place.to_owned(), why });
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return damaged("it is missing".to_owned()),
        Err(error) => return Err(error).doing("look at", place),
        Ok(there) if there.len() != chunk.bytes => {
            return damaged(format!("it has {} bytes, and had {}", there.len(), chunk.bytes));
        }
        Ok(_) => {}
    }
    match scan_of(place) {
        Some((of, rows)) if of == scan && rows == chunk.rows => Ok(()),
        _ => damaged("its content is not what was written".to_owned()),
    }
}

/// The scan that a file is of, and its rows.
fn scan_of(place: &Path) -> Option<(String, u64)> {
    let reader = SerializedFileReader::new(File::open(place).ok()?).ok()?;
    let metadata = reader.metadata().file_metadata();
    let pairs = metadata.key_value_metadata()?;
    let scan = pairs.iter().find(|pair| pair.key == SCAN)?.value.clone()?;
    Some((scan, u64::try_from(metadata.num_rows()).ok()?))
}

/// Chunks beyond the first `known`, by number. What a killed run left aside goes.
fn strays(names: &Names, known: u64) -> Result<Vec<(u64, PathBuf)>, SnapshotError> {
    let folder = names.folder();
    let mut strays = Vec::new();
    for entry in fs::read_dir(folder).doing("look into", folder)? {
        let name = entry.doing("look into", folder)?.file_name();
        let place = folder.join(&name);
        if names.is_half(&name) {
            fs::remove_file(&place).doing("remove", &place)?;
        }
        strays.extend(names.number(&name).filter(|number| *number > known).map(|number| (number, place)));
    }
    strays.sort();
    Ok(strays)
}
