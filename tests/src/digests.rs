//! Digests of an index at rest, judged by hashing every file anew. Knows BLAKE3, `find --json` and `status --json`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use record::wire::v1;
use serde_json::Value;

use crate::{Daemon, find_json, wait_for};

/// `blake3:HEX` of a file, as the program writes it.
///
/// # Errors
/// When it cannot be read.
pub fn blake3_of(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(format!("blake3:{}", hasher.finalize().to_hex()))
}

/// What differs between the digests of `entries` (lines of `find --json`) and the files, a line each: a file that is not
/// empty has its own, and nothing else has one. And how many files there are that are not empty, each once.
#[must_use]
pub fn compare_digests<'a>(entries: impl IntoIterator<Item = &'a Value>) -> (Vec<String>, u64) {
    let (mut wrong, mut files) = (Vec::new(), BTreeSet::new());
    for entry in entries {
        let text = entry["path"].as_str().unwrap_or_default();
        let bytes = v1::bytes_of(text, entry["path_raw"].as_str()).unwrap_or_default();
        let path = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
        let has_content = entry["kind"] == "file" && entry["size"] != 0;
        let expected = match has_content.then(|| blake3_of(&path)) {
            None => Value::Null,
            Some(Ok(digest)) => digest.into(),
            Some(Err(error)) => format!("unreadable: {error}").into(),
        };
        // A digest of nothing is as good as none.
        let empty = entry["kind"] == "file" && entry["size"] == 0;
        if entry["digest"] != expected && !(empty && entry["digest"] == blake3_of_nothing()) {
            wrong.push(format!("{} has {}, and is {expected}", path.display(), entry["digest"]));
        }
        if has_content {
            files.insert((entry["volume"].as_u64(), entry["inode"].as_u64()));
        }
    }
    (wrong, files.len() as u64)
}

fn blake3_of_nothing() -> String {
    format!("blake3:{}", blake3::hash(b"").to_hex())
}

impl Daemon {
    /// A number of `status --json` about the reading of contents: `files_read`, `ends_read`, `bytes_read`, `hashed`, `waiting`.
    ///
    /// # Panics
    /// When there is none by that name.
    #[must_use]
    pub fn hashing(&self, number: &str) -> u64 {
        let status = self.status();
        status["hashing"][number].as_u64().unwrap_or_else(|| panic!("no {number} in {}", status["hashing"]))
    }

    /// Waits until every change made before the call is in the index and nothing that changed waits to be read.
    ///
    /// # Panics
    /// When that takes more than two minutes.
    pub fn settle_contents(&self) {
        self.settle();
        wait_for("nothing to wait to be read", || (self.hashing("waiting") == 0).then_some(()));
    }

    /// Waits until so many files have a digest, and nothing waits.
    ///
    /// # Panics
    /// When that takes more than two minutes.
    pub fn wait_hashed(&self, files: u64) {
        wait_for("digests", || {
            let hashing = &self.status()["hashing"];
            (hashing["hashed"] == files && hashing["waiting"] == 0).then_some(())
        });
    }

    /// Waits until nothing waits, and all others were gone through.
    ///
    /// # Panics
    /// When that takes more than two minutes.
    pub fn wait_at_rest(&self) {
        wait_for("all contents to be known", || (self.status()["hashing"]["at_rest"] == true).then_some(()));
    }

    /// The digest that the index has of a file.
    ///
    /// # Panics
    /// When it has no such file.
    #[must_use]
    pub fn digest_of(&self, path: &Path) -> Option<String> {
        let found = self.ask(&[&"find", &path]);
        assert_eq!(found.len(), 1, "{}: {found:?}", path.display());
        found[0]["digest"].as_str().map(str::to_owned)
    }

    /// Judges a tree at rest that is read in full: every file that is not empty has its digest, within two minutes.
    /// How many there are.
    ///
    /// # Panics
    /// When one is missing or wrong, with the daemon's log.
    pub fn assert_hashed(&self, root: &Path) -> u64 {
        self.settle_contents();
        let (_, files) = compare_digests(find_json(self, root).values());
        self.wait_hashed(files);
        let (wrong, _) = compare_digests(find_json(self, root).values());
        assert!(wrong.is_empty(), "{} of {files} digests are wrong:\n{}", wrong.len(), wrong.join("\n"));
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_wrong_and_needless_digests_are_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let right = blake3_of(&path).unwrap();
        assert_eq!(right, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        let entry = |kind: &str, digest: Value| json!({"path": path.to_str(), "kind": kind, "size": 3, "volume": 1, "inode": 2, "digest": digest});
        let (wrong, files) =
            compare_digests(&[entry("file", right.clone().into()), entry("symlink", Value::Null)]);
        assert_eq!((wrong, files), (Vec::new(), 1));
        for bad in
            [entry("file", Value::Null), entry("file", "blake3:00".into()), entry("symlink", right.into())]
        {
            assert_eq!(compare_digests([&bad]).0.len(), 1, "{bad}");
        }
    }
}
