//! How the files of a scan are called. Knows none of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::SnapshotError;
use crate::place::Place;

/// What one file aside is called by, after a dot and before [`ASIDE`].
const ASIDE: &str = ".partial";
const EXTENSION: &str = ".parquet";

/// The names of what a scan to `FOLDER/STEM.parquet` writes.
#[derive(Clone, Debug)]
pub struct Names {
    folder: PathBuf,
    stem: Vec<u8>,
}

impl Names {
    /// Of a scan to `output`.
    ///
    /// # Errors
    /// For what names no file that ends in `.parquet`, or is reached by a protocol.
    pub fn new(output: &Path) -> Result<Names, SnapshotError> {
        let no_file = || SnapshotError::NoFile(output.to_owned());
        let file = match Place::new(output)? {
            Place::File(file) => file,
            Place::Folder(_) => return Err(no_file()),
            Place::Object(address) | Place::Prefix(address) => {
                return Err(SnapshotError::FilesOnly(address.to_string()));
            }
        };
        let stem = file.file_name().and_then(|name| name.as_bytes().strip_suffix(EXTENSION.as_bytes()));
        let stem = stem.filter(|stem| !stem.is_empty()).ok_or_else(no_file)?.to_vec();
        let folder = file.parent().filter(|above| !above.as_os_str().is_empty());
        Ok(Names { folder: folder.unwrap_or(Path::new(".")).to_owned(), stem })
    }

    /// The folder that all of them are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All rows, where they are not in chunks.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.named(EXTENSION)
    }

    /// What is said of the chunks.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.named("_manifest.json")
    }

    /// A chunk, counted from 1.
    #[must_use]
    pub fn chunk(&self, number: u64) -> PathBuf {
        self.named(&format!("_chunk_{number:04}{EXTENSION}"))
    }

    /// What is never put into place, and says by its lock that somebody writes chunks.
    pub(super) fn lock(&self) -> PathBuf {
        self.named(".scan")
    }

    /// Whether this scan, or one before it to the same place, makes files called so in its folder.
    #[must_use]
    pub fn is_ours(&self, name: &[u8]) -> bool {
        let aside = name.strip_prefix(b".").and_then(|name| name.strip_suffix(ASIDE.as_bytes()));
        let Some(rest) = aside.unwrap_or(name).strip_prefix(&*self.stem) else { return false };
        let lock = aside.is_some() && rest == b".scan";
        lock || rest == EXTENSION.as_bytes() || rest == b"_manifest.json" || number(rest).is_some()
    }

    /// The number of the chunk that is called so.
    pub(super) fn number(&self, name: &OsStr) -> Option<u64> {
        number(name.as_bytes().strip_prefix(&*self.stem)?)
    }

    /// Whether this is a chunk that was not put into place.
    pub(super) fn is_half(&self, name: &OsStr) -> bool {
        let aside = name.as_bytes().strip_prefix(b".").and_then(|name| name.strip_suffix(ASIDE.as_bytes()));
        aside.is_some_and(|name| self.number(OsStr::from_bytes(name)).is_some())
    }

    fn named(&self, end: &str) -> PathBuf {
        let mut name = OsStr::from_bytes(&self.stem).to_owned();
        name.push(end);
        self.folder.join(name)
    }
}

/// The number in `_chunk_0001.parquet`, written in no other way than ours.
fn number(rest: &[u8]) -> Option<u64> {
    let digits = rest.strip_prefix(b"_chunk_")?.strip_suffix(EXTENSION.as_bytes())?;
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let number = text.parse().ok()?;
    (format!("{number:04}") == text && number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_a_name_and_others_are_not_taken_for_them() {
        let names = Names::new(Path::new("out/x.parquet")).unwrap();
        assert_eq!(names.chunk(7), Path::new("out/x_chunk_0007.parquet"));
        assert_eq!(names.chunk(12_345), Path::new("out/x_chunk_12345.parquet"));
        assert_eq!(names.manifest(), Path::new("out/x_manifest.json"));
        for ours in [
            "x.parquet",
            ".x.parquet.partial",
            "x_manifest.json",
            ".x_manifest.json.partial",
            "x_chunk_0001.parquet",
            "x_chunk_10000.parquet",
            ".x_chunk_0001.parquet.partial",
            ".x.scan.partial",
        ] {
            assert!(names.is_ours(ours.as_bytes()), "{ours}");
        }
        for other in [
            "x",
            "y.parquet",
            "x.scan",
            "x_chunk_1.parquet",
            "x_chunk_00001.parquet",
            "x_chunk_+001.parquet",
            "x_chunk_0000.parquet",
        ] {
            assert!(!names.is_ours(other.as_bytes()), "{other}");
        }
        assert!(names.is_half(OsStr::new(".x_chunk_0002.parquet.partial")));
        assert!(!names.is_half(OsStr::new("x_chunk_0002.parquet")));
        assert_eq!(names.number(OsStr::new("x_chunk_0002.parquet")), Some(2));
        assert_eq!(Names::new(Path::new("x.parquet")).unwrap().folder(), Path::new("."));
        for none in ["folder", "/", ".parquet", "x.parquet/", "s3://b/x.parquet"] {
            Names::new(Path::new(none)).expect_err(none);
        }
    }
}
