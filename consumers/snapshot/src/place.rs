//! Where a snapshot goes: one file, or a folder of many in the layout `host=/root=/date=/`, each with a manifest; on a disk or in an
//! object store. Knows nothing of how it gets there.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::address::Address;
use crate::entry::Moment;
use crate::error::SnapshotError;
use crate::stream::Garbled;

/// The rows, in a folder.
pub(crate) const ROWS: &str = "snapshot.parquet";
/// What is in the folder. Engines pass over names that begin so.
pub(crate) const MANIFEST: &str = "_manifest.json";

/// Where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, of one root.
    File(PathBuf),
    /// A folder, of any number of roots.
    Folder(PathBuf),
    /// An object in a store, of one root.
    Object(Address),
    /// What objects of any number of roots begin with.
    Prefix(Address),
}

impl Place {
    /// What `output` names: a file or object where it ends in `.parquet`, a folder or prefix otherwise.
    ///
    /// # Errors
    /// For what is reached by other schemes than those of object stores.
    pub fn new(output: &Path) -> Result<Place, SnapshotError> {
        if let Some(address) = Address::of(output)? {
            return Ok(if address.object { Place::Object(address) } else { Place::Prefix(address) });
        }
        let bytes = output.as_os_str().as_bytes();
        let file = output.extension() == Some(OsStr::new("parquet")) && !bytes.ends_with(b"/");
        Ok(if file { Place::File(output.to_owned()) } else { Place::Folder(output.to_owned()) })
    }
}

/// The folder of one root on one day, below the one that was named.
pub(crate) fn layout(moment: &Moment, root: &[u8]) -> Result<String, Garbled> {
    let (host, root) = (encoded(moment.host.as_bytes()), encoded(root));
    Ok(format!("host={host}/root={root}/date={}", date(moment.taken_us)?))
}

/// The folders in `above` whose names begin so, in order, each with how its name goes on. Links are not followed; a folder that is
/// not there holds none.
pub(crate) fn parts(above: &Path, begin: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(above) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(rest) = name.as_bytes().strip_prefix(begin.as_bytes())
            && entry.file_type()?.is_dir()
        {
            parts.push((String::from_utf8_lossy(rest).into_owned(), entry.path()));
        }
    }
    parts.sort();
    Ok(parts)
}

/// Bytes as a part of a path that engines read back: all but letters, digits and `-._~` as `%HH`.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    text
}

/// `%HH` as the byte it stands for.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = after
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

/// The day in UTC, `2026-11-22`.
pub fn date(us: i64) -> Result<String, Garbled> {
    let time = Timestamp::from_microsecond(us).map_err(|_| Garbled::Bytes("a day beyond the year 9999"))?;
    Ok(time.strftime("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is() {
        let place = |text: &str| Place::new(Path::new(text));
        assert_eq!(place("/a/b.parquet").unwrap(), Place::File("/a/b.parquet".into()));
        assert_eq!(place("/a/b").unwrap(), Place::Folder("/a/b".into()));
        assert_eq!(place("/a/b.parquet/").unwrap(), Place::Folder("/a/b.parquet/".into()));
        assert!(matches!(place("/a/x:/y"), Ok(Place::Folder(_))));
        assert!(matches!(place("s3://bucket/a.parquet"), Ok(Place::Object(_))));
        assert!(matches!(place("gs://bucket/a"), Ok(Place::Prefix(_))));
        let said = place("https://h/x").unwrap_err().to_string();
        assert!(said.starts_with("https://h/x: ") && said.contains("folder"), "{said}");
    }

    #[test]
    fn folders_hold_any_bytes_and_days_any_time() {
        assert_eq!(encoded(b"/srv/a b\xff=%"), "%2Fsrv%2Fa%20b%FF%3D%25");
        const DAY: i64 = 86_400_000_000;
        for (us, text) in [(0, "1970-01-01"), (-1, "1969-12-31"), (DAY * 20_779 + 1, "2026-11-22")] {
            assert_eq!(date(us).unwrap(), text, "{us}");
        }
        assert!(date(i64::MAX).is_err());
    }
}
