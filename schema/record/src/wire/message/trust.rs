//! What of a message can be believed: whoever may publish may also send garbage. Says of what it refuses why. Knows no table, no
//! broker, and not what a message is used for.

use std::fmt;

use super::{CONNECTOR, Message};
use crate::wire::v1::{Entry, Place, bytes_of};
use crate::{EntryId, VolumeId};

/// Bytes of a path that is believed.
const MOST_PATH: usize = 256 << 10;
/// Bytes of a name in a directory.
const MOST_NAME: usize = 4_096;
/// Bytes of the name of a source, a host or a digest.
const MOST_WORD: usize = 512;

/// Why a message cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

pub(super) fn bad<T>(why: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(why.into()))
}

impl Message {
    /// Reads a body that came under a routing key, and checks where it says that it is from.
    ///
    /// # Errors
    /// What cannot be believed of it.
    pub fn read(key: &str, body: &[u8]) -> Result<Message, Unusable> {
        match key.split('.').collect::<Vec<_>>()[..] {
            ["fs", "v1", ..] => {}
            ["fs", version, ..] => return bad(format!("of the schema {version:.20}; this version reads v1")),
            _ => return bad("its routing key is not of the form fs.v1.…"),
        }
        let message: Message = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(error) => return bad(format!("no body of the schema v1: {error}")),
        };
        let source = &message.source;
        if source.connector != CONNECTOR {
            return bad("its source is no indexer");
        }
        word("the name of its source", &source.name)?;
        word("the name of its host", &source.host)?;
        if source.epoch.len() != 32 || !source.epoch.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return bad("its epoch is not of 32 hexadecimal digits");
        }
        if source.seq == u64::MAX {
            return bad("its seq has no next");
        }
        // An entry that lost its last name is in no root any more.
        if !source.root.is_empty() {
            absolute("the path of its root", source.root.as_bytes())?;
        }
        Ok(message)
    }

    /// Whether it is the word of a relay that all records up to its seq are lost to subscribers, which is no record of the journal:
    /// `id` is its identity, and names the root.
    #[must_use]
    pub fn tells_of_lost(&self, id: &str) -> bool {
        let last = id.rsplit_once('/').map_or("", |(_, last)| last);
        self.change.verb == "gap" && last == format!("r{}", self.source.root_id)
    }
}

/// The path of an entry, which lies in its root.
///
/// # Errors
/// Where it does not, or is no path.
pub fn path(entry: &Entry, root: &str) -> Result<Vec<u8>, Unusable> {
    let path = bytes(&entry.path, entry.path_raw.as_deref())?;
    if path.is_empty() && root.is_empty() {
        return Ok(path);
    }
    absolute("its path", &path)?;
    let text = String::from_utf8_lossy(&path);
    let below = text.strip_prefix(root.trim_end_matches('/'));
    if !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return bad("its path lies outside its root");
    }
    Ok(path)
}

/// The bytes of a path.
pub(super) fn bytes(text: &str, raw: Option<&str>) -> Result<Vec<u8>, Unusable> {
    bytes_of(text, raw).or_else(|_| bad("path_raw is not base64"))
}

/// Whether `path`, called `what`, is absolute and of names alone.
///
/// # Errors
/// What it is instead.
pub fn absolute(what: &str, path: &[u8]) -> Result<(), Unusable> {
    if path.len() > MOST_PATH {
        return bad(format!("{what} is of {} bytes", path.len()));
    }
    let Some(rest) = path.strip_prefix(b"/") else { return bad(format!("{what} is not absolute")) };
    if !rest.is_empty() && rest.split(|byte| *byte == b'/').any(|part| !is_name(part)) {
        return bad(format!("{what} has a part that is no name, as .. or an empty one"));
    }
    Ok(())
}

fn is_name(part: &[u8]) -> bool {
    !part.is_empty() && part != b"." && part != b".." && !part.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// A name in a directory.
///
/// # Errors
/// When it is none.
pub fn place(place: &Place) -> Result<crate::Place, Unusable> {
    let Ok(name) = bytes_of(&place.name, place.name_raw.as_deref()) else {
        return bad("name_raw is not base64");
    };
    if name.len() > MOST_NAME || !is_name(&name) {
        return bad("one of its names is none: empty, too long, dots alone, or with a slash or NUL in it");
    }
    Ok(crate::Place::new(EntryId::new(VolumeId(place.volume), place.parent), &name))
}

/// Whether `word`, called `what`, can stand in a line.
///
/// # Errors
/// When it cannot.
pub fn word(what: &str, word: &str) -> Result<(), Unusable> {
    if word.is_empty() || word.len() > MOST_WORD || word.chars().any(char::is_control) {
        return bad(format!("{what} is empty, longer than {MOST_WORD} bytes, or has control characters"));
    }
    Ok(())
}
