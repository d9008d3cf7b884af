//! Sets of equal files, as a question answers them and as a record tells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{digest_text, texts_and_raws};
use crate::Digest;
use crate::wire::schema;

/// One line of `dups --json`: a set of files with equal contents, or of directories with equal names and contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// `file` or `directory`.
    pub kind: String,
    /// Bytes of each; of a directory, of all files below it.
    pub size: u64,
    /// Names of files below each directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// `kind:hex`; of directories `tree:hex`.
    pub digest: String,
    /// Bytes that would be free if one copy were kept.
    pub wasted: u64,
    /// One path a copy, in byte order.
    pub paths: Vec<String>,
    /// Their bytes in base64, one for each of `paths`, where one of those cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths_raw: Option<Vec<String>>,
    /// The other names of copies that have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<OtherNames>,
}

/// The other names of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherNames {
    /// Which of `paths`, counted from 0.
    pub of: usize,
    /// Its other paths.
    pub paths: Vec<String>,
    /// Their bytes in base64, one for each of `paths`, where one of those cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths_raw: Option<Vec<String>>,
}

impl Duplicates {
    /// The JSON form of a set; each copy is a path and its other names.
    #[must_use]
    pub fn new(digest: &Digest, size: u64, wasted: u64, copies: &[(Vec<u8>, Vec<Vec<u8>>)]) -> Duplicates {
        let (paths, paths_raw) = texts_and_raws(copies.iter().map(|(path, _)| &path[..]));
        let others = copies.iter().enumerate().filter(|(_, (_, others))| !others.is_empty());
        let links = others.map(|(of, (_, others))| {
            let (paths, paths_raw) = texts_and_raws(others.iter().map(|path| &path[..]));
            OtherNames { of, paths, paths_raw }
        });
        let links = links.collect();
        let (kind, digest) = ("file".to_owned(), digest_text(digest));
        Duplicates { kind, size, files: None, digest, wasted, paths, paths_raw, links }
    }

    /// The JSON form of a set of directories with so many bytes and files below each.
    #[must_use]
    pub fn of_directories(
        digest: [u8; 32],
        (size, files): (u64, u64),
        wasted: u64,
        paths: &[Vec<u8>],
    ) -> Duplicates {
        let (paths, paths_raw) = texts_and_raws(paths.iter().map(|path| &path[..]));
        let digest = Digest { kind: crate::DigestKind::Blake3, bytes: digest };
        let digest = digest_text(&digest).replacen(crate::DigestKind::Blake3.word(), "tree", 1);
        let (kind, links) = ("directory".to_owned(), Vec::new());
        Duplicates { kind, size, files: Some(files), digest, wasted, paths, paths_raw, links }
    }
}

/// A set of files with equal contents, in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DuplicateSet {
    /// `kind:hex`.
    #[schemars(extend("pattern" = schema::digest_pattern()))]
    pub digest: String,
    /// Bytes of each.
    pub size: u64,
    /// How many there are; fewer than two: the set is dissolved.
    pub copies: u64,
    /// How many there were before.
    pub were: u64,
    /// Bytes that would be free if one copy were kept.
    pub wasted: u64,
    /// Paths, one a copy, of the first of them.
    pub paths: Vec<String>,
    /// Their bytes in base64, one for each of `paths`, where one of those cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths_raw: Option<Vec<String>>,
}

impl From<&crate::Duplicates> for DuplicateSet {
    fn from(set: &crate::Duplicates) -> DuplicateSet {
        let (paths, paths_raw) = texts_and_raws(set.paths.iter().map(|path| &path[..]));
        DuplicateSet {
            digest: digest_text(&set.digest),
            size: set.size,
            copies: set.copies,
            were: set.were,
            wasted: set.wasted,
            paths,
            paths_raw,
        }
    }
}
