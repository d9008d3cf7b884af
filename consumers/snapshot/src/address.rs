//! What is reached by a scheme: an object, or all that begins so, in a store. Reads URLs; asks no store, and never shows a password
//! that stands in one.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::SnapshotError;

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `s3://`: of Amazon, or what speaks as it does.
    S3,
    /// `gs://`: Google Cloud Storage.
    Google,
    /// `az://`: Azure Blob Storage.
    Azure,
}

impl Kind {
    fn scheme(self) -> &'static str {
        match self {
            Kind::S3 => "s3",
            Kind::Google => "gs",
            Kind::Azure => "az",
        }
    }
}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) kind: Kind,
    /// The bucket, or container.
    pub(crate) bucket: String,
    /// Without `/` at its ends; empty for all of the bucket.
    pub(crate) key: String,
    /// Whether it can be one object: it ends in `.parquet`.
    pub(crate) object: bool,
}

impl Address {
    /// What `output` names, if it begins with a scheme.
    ///
    /// # Errors
    /// For schemes that are not ours, and what no bucket or key is called.
    pub fn of(output: &Path) -> Result<Option<Address>, SnapshotError> {
        let bytes = output.as_os_str().as_bytes();
        let Some(at) = bytes.windows(3).position(|part| part == b"://") else { return Ok(None) };
        if at == 0 || !bytes[..at].iter().all(u8::is_ascii_alphanumeric) {
            return Ok(None);
        }
        let text = output.to_string_lossy();
        let (scheme, rest) = text.split_at(at);
        let rest = &rest[3..];
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            _ => return Err(SnapshotError::Scheme(shown(scheme, rest))),
        };
        let wrong = |why| Err(SnapshotError::Address { url: shown(scheme, rest), why });
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return wrong("it names no bucket");
        }
        // What people put before an `@` is a secret, and the stores want it elsewhere.
        if !bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return wrong("a bucket is called by letters, digits, `-`, `.` and `_` alone");
        }
        let object = key.ends_with(".parquet");
        let key = key.trim_end_matches('/');
        let fine = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(char::is_control);
        if !key.is_empty() && !key.split('/').all(fine) || std::str::from_utf8(bytes).is_err() {
            return wrong("its parts after the bucket must be names in UTF-8, with one `/` between two");
        }
        Ok(Some(Address { kind, bucket: bucket.to_owned(), key: key.to_owned(), object }))
    }

    /// Something below it.
    pub(crate) fn join(&self, name: &str) -> Address {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}/{name}", self.key) };
        Address { key, ..self.clone() }
    }

    /// As it is written.
    pub(crate) fn to_path(&self) -> PathBuf {
        self.to_string().into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.kind.scheme(), self.bucket)?;
        if self.key.is_empty() { Ok(()) } else { write!(out, "/{}", self.key) }
    }
}

/// A URL without what may be a secret: a name and password before the host, and questions.
fn shown(scheme: &str, rest: &str) -> String {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("…@{host}"));
    let slash = if rest.contains('/') { "/" } else { "" };
    format!("{scheme}://{host}{slash}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<Address>, String> {
        Address::of(Path::new(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_read() {
        for (text, shown, object) in [
            ("s3://bucket/a/b.parquet", "s3://bucket/a/b.parquet", true),
            ("gs://bucket", "gs://bucket", false),
            ("az://box/a/", "az://box/a", false),
            ("S3://bucket/a.parquet/", "s3://bucket/a.parquet", false),
            ("s3://b.parquet", "s3://b.parquet", false),
            ("s3://b/a b/ü%20?", "s3://b/a b/ü%20?", false),
        ] {
            let address = of(text).unwrap().unwrap();
            assert_eq!((address.to_string().as_str(), address.object), (shown, object), "{text}");
        }
        assert_eq!(of("s3://b/a").unwrap().unwrap().join("c").key, "a/c");
        assert_eq!(of("s3://b").unwrap().unwrap().join("c").key, "c");
        for none in ["a/b", "://b", "./s3://b", "a b://c", "s3:/b"] {
            assert_eq!(of(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_without_its_secrets() {
        for (text, said) in [
            ("ftp://me:SECRET@host/x?sig=SECRET", "ftp://…@host/x: "),
            ("https://account.host/x.parquet?sig=SECRET", "https://account.host/x.parquet: "),
            ("s3://KEY:SECRET@bucket/x", "s3://…@bucket/x: a bucket is called"),
            ("s3:///x", "s3:///x: it names no bucket"),
            ("s3://b//x", "s3://b//x: its parts"),
            ("s3://b/../x", "s3://b/../x: its parts"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with(said) && !error.contains("SECRET"), "{text}: {error}");
        }
    }
}
