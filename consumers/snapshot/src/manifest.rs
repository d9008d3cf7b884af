//! What stands beside the rows of a snapshot in a folder: what they are, of when, and how to tell that they are whole. Knows no Parquet.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Doing as _, SnapshotError};

/// The version of what is written here.
pub(crate) const FORMAT: u32 = 1;
/// No manifest of ours is longer.
const MOST: u64 = 1 << 20;

/// One snapshot of one root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub(crate) format: u32,
    /// The version of the columns.
    pub schema: String,
    /// What wrote it.
    pub tool: String,
    /// Which host keeps the index.
    pub host: String,
    /// The root's path.
    pub root: String,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_raw: Option<String>,
    /// Of which journal the watermark is.
    pub epoch: String,
    /// The last record that the rows contain.
    pub watermark: u64,
    /// When, microseconds since 1970.
    pub taken_us: i64,
    /// Rows of all files.
    pub rows: u64,
    /// Length of all files.
    pub bytes: u64,
    /// The files, in the same folder.
    pub files: Vec<ManifestFile>,
}

/// One file of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name in the folder.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 of it, hexadecimal.
    pub blake3: String,
}

impl Manifest {
    /// As it is written.
    pub(crate) fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// A new file, durable.
    pub(crate) fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        let text = self.text().doing("write", path)?;
        let mut file = File::create_new(path).doing("make", path)?;
        file.write_all(&text).and_then(|()| file.sync_all()).doing("write", path)
    }

    /// What is written there.
    pub(crate) fn read(path: &Path) -> Result<Manifest, SnapshotError> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
        read.doing("read", path)?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(io::Error::from).doing("read", path)?;
        let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        if manifest.format != FORMAT || !manifest.files.iter().all(|file| plain(&file.name)) {
            let why =
                format!("it is a manifest of format {}, and this program reads {FORMAT}", manifest.format);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why)).doing("read", path);
        }
        Ok(manifest)
    }
}
