//! Sets of files with equal contents, wherever they are: another inode is another copy, hard links of one are one. Copies of a source
//! whose journal began anew do not count.

use std::collections::BTreeMap;

use record::wire::v1::{EntryState, text_and_raw};
use redb::ReadableTable;
use serde::Serialize;

use crate::keys::{ENTRY, Who};
use crate::paths::Paths;
use crate::sources::Source;
use crate::store::{Held, ReplicaError};

/// Copies that are shown of a set.
const SHOWN: usize = 64;
/// The digest of some blocks of a file says too little.
const SAMPLED: &str = "blake3-sampled:";

/// The digest of the whole content of a file.
pub(crate) fn whole(state: &EntryState) -> Option<&str> {
    let digest = state.digest.as_deref().filter(|digest| !digest.starts_with(SAMPLED));
    digest.filter(|_| state.stat.kind == "file" && state.stat.size > 0)
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// On which host.
    pub host: String,
    /// Where; empty while no name of it is known.
    pub path: String,
    /// Its bytes in base64, where `path` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_raw: Option<String>,
}

/// Files with equal contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Set {
    /// `kind:hex`.
    pub digest: String,
    /// Size of each.
    pub size: u64,
    /// How many there are.
    pub copies: u64,
    /// Bytes that would be free if one were kept.
    pub wasted: u64,
    /// Some of them.
    pub files: Vec<Copy>,
}

/// What became of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// There was none.
    Came,
    /// It has more or fewer copies.
    Changed,
    /// There are not two of them any more.
    Dissolved,
}

/// A set as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetChange {
    /// What became of it.
    pub event: Event,
    /// Copies there were when it was last told of.
    pub were: u64,
    /// The set.
    #[serde(flatten)]
    pub set: Set,
}

impl SetChange {
    pub(crate) fn new(set: Set, were: u64) -> SetChange {
        let event = match (were, set.copies) {
            (_, ..2) => Event::Dissolved,
            (..2, _) => Event::Came,
            _ => Event::Changed,
        };
        SetChange { event, were, set }
    }
}

/// The tables that a set is read from: digests, entries, names, tops.
pub(crate) type Tables<'a, D, E, L, T> = (&'a D, &'a E, &'a L, &'a T);

fn counts(sources: &BTreeMap<u32, Source>, who: Who) -> bool {
    sources.get(&who.source).is_some_and(|source| !source.stale)
}

/// Who has a digest.
pub(crate) fn holders<D>(
    digests: &D,
    text: &str,
) -> Result<impl Iterator<Item = Result<Who, ReplicaError>>, ReplicaError>
where
    D: ReadableTable<&'static [u8], &'static [u8]>,
{
    let (mut from, mut end) = (text.as_bytes().to_vec(), text.as_bytes().to_vec());
    from.push(0);
    end.push(1);
    let rows = digests.range(from.as_slice()..end.as_slice())?;
    Ok(rows.filter_map(|row| match row {
        Ok((key, _)) => {
            let key = key.value();
            key.len().checked_sub(ENTRY).and_then(|at| Who::of(&key[at..])).map(Ok)
        }
        Err(error) => Some(Err(error.into())),
    }))
}

/// How many files have a digest.
pub(crate) fn copies<D>(digests: &D, sources: &BTreeMap<u32, Source>, text: &str) -> Result<u64, ReplicaError>
where
    D: ReadableTable<&'static [u8], &'static [u8]>,
{
    let mut copies = 0;
    for who in holders(digests, text)? {
        copies += u64::from(counts(sources, who?));
    }
    Ok(copies)
}

/// The set of a digest.
pub(crate) fn set<D, E, L, T>(
    (digests, entries, links, tops): Tables<'_, D, E, L, T>,
    sources: &BTreeMap<u32, Source>,
    text: &str,
) -> Result<Set, ReplicaError>
where
    D: ReadableTable<&'static [u8], &'static [u8]>,
    E: ReadableTable<&'static [u8], &'static [u8]>,
    L: ReadableTable<&'static [u8], &'static [u8]>,
    T: ReadableTable<&'static [u8], &'static [u8]>,
{
    let mut set = Set { digest: text.to_owned(), size: 0, copies: 0, wasted: 0, files: Vec::new() };
    let mut paths = Paths::new(links, tops);
    for who in holders(digests, text)? {
        let who = who?;
        let Some(source) = sources.get(&who.source).filter(|_| counts(sources, who)) else { continue };
        set.copies += 1;
        if set.files.len() < SHOWN {
            let held = entries.get(who.key().as_slice())?.map(|row| Held::read(row.value())).transpose()?;
            if let Some(state) = held.and_then(|held| held.state) {
                set.size = state.stat.size;
            }
            let path = paths.of(who)?.into_iter().next().unwrap_or_default();
            let (path, path_raw) = text_and_raw(&path);
            set.files.push(Copy { host: source.host.clone(), path, path_raw });
        }
    }
    set.wasted = set.size.saturating_mul(set.copies.saturating_sub(1));
    Ok(set)
}
