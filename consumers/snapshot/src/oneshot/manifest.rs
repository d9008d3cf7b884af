//! What is written beside the chunks of a scan: which they are, and how far it is. Knows no row; reads and writes one file.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use record::wire::v1::{bytes_of, text_and_raw};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::frontier::{Frontier, Way};
use crate::aside::Aside;
use crate::error::{Doing as _, SnapshotError};

/// Its version.
pub(super) const FORMAT: u32 = 1;

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Of this scan alone; stands in the footer of each chunk.
    pub(super) scan: String,
    pub(super) tool: String,
    pub(super) host: String,
    /// Which columns.
    pub(super) schema: String,
    pub(super) root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root_raw: Option<String>,
    /// What decides which entries have rows.
    pub(super) options: Map<String, Value>,
    /// Microseconds since 1970.
    pub(super) started_us: i64,
    pub(super) updated_us: i64,
    pub(super) completed: bool,
    pub(super) chunk_count: u64,
    pub(super) total_rows: u64,
    /// What could not be looked at.
    pub(super) unreadable: u64,
    pub(super) chunks: Vec<Chunk>,
    /// Below these nothing is left to do.
    pub(super) finished_directories: Vec<Dir>,
    /// These are in the chunks themselves, and not all that lies in them is.
    pub(super) listed_directories: Vec<Dir>,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where it is; a scan that goes on looks for its last part beside the manifest.
    pub file_path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub blake3: String,
}

/// A directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dir {
    path: String,
    /// In base64, where `path` cannot hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
}

impl Dir {
    fn new(root: &[u8], relative: &[u8]) -> Dir {
        let mut path = root.to_vec();
        if !relative.is_empty() {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(relative);
        }
        let (path, path_raw) = text_and_raw(&path);
        Dir { path, path_raw }
    }

    /// Its path from the root; none where it is not below that.
    fn relative(&self, root: &[u8]) -> Option<Vec<u8>> {
        let path = bytes_of(&self.path, self.path_raw.as_deref()).ok()?;
        let rest = path.strip_prefix(root)?;
        match rest.strip_prefix(b"/") {
            Some(relative) => Some(relative.to_vec()),
            None if rest.is_empty() || root == b"/" => Some(rest.to_vec()),
            None => None,
        }
    }
}

impl Manifest {
    /// Reads one; none where there is none.
    ///
    /// # Errors
    /// For what cannot be read, and what is no manifest of ours.
    pub(super) fn read(path: &Path) -> Result<Option<Manifest>, SnapshotError> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.doing("read", path)?,
        };
        let damaged = |why: String| SnapshotError::Damaged { path: path.to_owned(), why };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("it is damaged, or no manifest of a scan ({error})")))?;
        if manifest.format != FORMAT {
            let format = manifest.format;
            return Err(damaged(format!("its format is {format}, and this program knows {FORMAT}")));
        }
        let rows = manifest.chunks.iter().map(|chunk| chunk.rows).sum::<u64>();
        if (manifest.chunk_count, manifest.total_rows) != (manifest.chunks.len() as u64, rows) {
            return Err(damaged("its sums are not those of its chunks".to_owned()));
        }
        Ok(Some(manifest))
    }

    /// Puts it into place.
    pub(super) fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        let aside = Aside::file(path, true)?;
        let mut text =
            serde_json::to_vec_pretty(self).map_err(io::Error::from).doing("write", aside.path())?;
        text.push(b'\n');
        let mut file: File = aside.open()?;
        file.write_all(&text).doing("write", aside.path())?;
        aside.commit()
    }

    /// How far it is.
    pub(super) fn frontier(&self, root: &[u8]) -> Option<Frontier> {
        let mut frontier = Frontier::default();
        for (dirs, way) in [(&self.listed_directories, Way::Listed), (&self.finished_directories, Way::Whole)]
        {
            for dir in dirs {
                frontier.set(&dir.relative(root)?, way);
            }
        }
        Some(frontier)
    }

    /// It is so far.
    pub(super) fn set_frontier(&mut self, root: &[u8], frontier: &Frontier) {
        let of = |wanted: Way| -> Vec<Dir> {
            let dirs = frontier.iter().filter(|(_, way)| *way == wanted);
            dirs.map(|(path, _)| Dir::new(root, path)).collect()
        };
        self.finished_directories = of(Way::Whole);
        self.listed_directories = of(Way::Listed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_back_as_they_were_told_below_any_root() {
        for root in [b"/".as_slice(), b"/srv", b"/srv/torn\xff"] {
            for relative in [b"".as_slice(), b"a", b"a/b\xfe/c", b"line\nbreak"] {
                let dir = Dir::new(root, relative);
                let text = serde_json::to_string(&dir).unwrap();
                let back: Dir = serde_json::from_str(&text).unwrap();
                assert_eq!(back.relative(root).as_deref(), Some(relative), "{text}");
                assert_eq!(back.relative(b"/sr"), None, "{text}");
            }
        }
    }
}
