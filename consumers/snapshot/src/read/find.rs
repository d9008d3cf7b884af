//! Where snapshots are: files, and folders in the layout `host=/root=/date=/`. Reads names, and no rows.

use std::path::{Path, PathBuf};

use super::ReadError;
use crate::place::{ROWS, encoded, parts};

/// Which of a root's snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day<'a> {
    /// The last.
    Newest,
    /// The first.
    Oldest,
    /// That of this day.
    Of(&'a str),
    /// The last that is not after this day.
    UpTo(&'a str),
}

/// One snapshot in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// Its host, as the folder says.
    pub host: String,
    /// Its root, as the folder says.
    pub root: String,
    /// Its day, `2026-11-22`.
    pub date: String,
}

/// The snapshots below `folder` of a `host` and a `root` (its bytes): of each root the one that `which` says.
///
/// # Errors
/// [`ReadError::None`] when there is none, and for folders that cannot be read.
pub fn find(
    folder: &Path,
    which: Day<'_>,
    root: Option<&[u8]>,
    host: Option<&str>,
) -> Result<Vec<Found>, ReadError> {
    let (root, host) = (root.map(encoded), host.map(|host| encoded(host.as_bytes())));
    let inside = |folder: &Path, begin| {
        let failed = |source| ReadError::File { doing: "look into", path: folder.to_owned(), source };
        parts(folder, begin).map_err(failed)
    };
    let mut found = Vec::new();
    for (own_host, at) in inside(folder, "host=")? {
        if host.as_ref().is_some_and(|host| *host != own_host) {
            continue;
        }
        for (own_root, at) in inside(&at, "root=")? {
            if root.as_ref().is_some_and(|root| *root != own_root) {
                continue;
            }
            let mut days = inside(&at, "date=")?;
            days.retain(|(day, at)| {
                let fits = match which {
                    Day::Newest | Day::Oldest => true,
                    Day::Of(date) => date == day,
                    Day::UpTo(date) => day.as_str() <= date,
                };
                fits && at.join(ROWS).is_file()
            });
            if which == Day::Oldest {
                days.truncate(1);
            }
            if let Some((day, at)) = days.pop() {
                let (host, root) = (decoded(&own_host), decoded(&own_root));
                found.push(Found { file: at.join(ROWS), host, root, date: day });
            }
        }
    }
    if found.is_empty() {
        let mut what = match which {
            Day::Newest | Day::Oldest => "at all".to_owned(),
            Day::Of(date) => format!("of {date}"),
            Day::UpTo(date) => format!("up to {date}"),
        };
        for (word, part) in [(" of the root ", &root), (" of the host ", &host)] {
            what.extend(part.iter().flat_map(|part| [word.to_owned(), decoded(part)]));
        }
        return Err(ReadError::None { what, folder: folder.to_owned() });
    }
    found.sort_by(|one, other| (&one.host, &one.root).cmp(&(&other.host, &other.root)));
    Ok(found)
}

/// `%HH` as the byte it stands for, as text.
fn decoded(text: &str) -> String {
    crate::path_text(&crate::place::decoded(text))
}
