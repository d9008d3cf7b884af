//! The file that says which runs of an interrupted seed count. Drawn in `docs/formats/seed.md`; a change here is a new
//! version. Trusts no byte before the sum is right.

use record::{EntryId, RootId, Time, VolumeId};

use super::sort::RunFile;
use super::sum::Sum;
use crate::bytes::{Cursor, put, put_bytes, put_signed};
use crate::error::Corrupt;
use crate::row_code::{near, put_near};

/// What runs are of, by the numbers in the manifest; the first three are named in it.
pub(crate) const KINDS: [&str; 8] =
    ["entries", "names", "listed", "totals", "sums", "merged", "waiting", "directories"];
pub(crate) const ENTRIES_RUN: u8 = 0;
pub(crate) const NAMES_RUN: u8 = 1;
pub(crate) const LISTED: u8 = 2;
pub(crate) const TOTALS_RUN: u8 = 3;
pub(crate) const SUMS: u8 = 4;
pub(crate) const MERGED: u8 = 5;
pub(crate) const WAITING: u8 = 6;
pub(crate) const DIRECTORIES: u8 = 7;

const MAGIC: &[u8; 8] = b"idx-seed";

/// The version written, and the only one read: a seed is begun anew rather than translated.
const VERSION: u32 = 1;

const NOWHERE: EntryId = EntryId { volume: VolumeId(0), inode: 0 };

/// What a seed is of. Only a seed of the same goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedKey {
    /// Of the index that it will be loaded into.
    pub epoch: u128,
    /// The trees.
    pub roots: Vec<SeedKeyRoot>,
}

/// A tree of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedKeyRoot {
    /// Its number, which stands in the runs.
    pub id: RootId,
    /// Its path.
    pub path: Box<[u8]>,
    /// Its directory.
    pub top: EntryId,
    /// That one's birth.
    pub created: Option<Time>,
    /// What belongs to it, in the caller's words: every change of them makes it another tree.
    pub rules: String,
}

/// What is known of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) key: SeedKey,
    /// When the first of its sessions began.
    pub(crate) began: Time,
    /// When this was written.
    pub(crate) written: Time,
    /// Directories listed in the runs.
    pub(crate) directories: u64,
    pub(crate) runs: Vec<RunFile>,
}

impl Manifest {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put(&mut out, u128::from(VERSION));
        put(&mut out, self.key.epoch);
        put_signed(&mut out, self.began.0);
        put_signed(&mut out, self.written.0);
        put(&mut out, u128::from(self.directories));
        put(&mut out, self.key.roots.len() as u128);
        for root in &self.key.roots {
            put(&mut out, u128::from(root.id.0));
            put_bytes(&mut out, &root.path);
            put_near(&mut out, root.top, NOWHERE);
            put(&mut out, u128::from(root.created.is_some()));
            put_signed(&mut out, root.created.unwrap_or_default().0);
            put_bytes(&mut out, root.rules.as_bytes());
        }
        put(&mut out, self.runs.len() as u128);
        for run in &self.runs {
            out.push(run.kind);
            put(&mut out, u128::from(run.number));
            put(&mut out, u128::from(run.length));
            out.extend_from_slice(&run.sum.to_le_bytes());
        }
        let sum = Sum::of(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, Corrupt> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(Corrupt("ends early"))?;
        let mut from = Cursor::new(body);
        if from.take(MAGIC.len())? != MAGIC {
            return Err(Corrupt("it is no manifest of a first scan"));
        }
        // Before the sum, which another version may make otherwise.
        if from.uint::<u32>()? != VERSION {
            return Err(Corrupt("another version of the program wrote it"));
        }
        if Sum::of(body) != u64::from_le_bytes(*sum) {
            return Err(Corrupt("its sum is wrong"));
        }
        let mut manifest = Manifest {
            key: SeedKey { epoch: from.u128()?, roots: Vec::new() },
            began: Time(from.signed()?),
            written: Time(from.signed()?),
            directories: from.uint()?,
            runs: Vec::new(),
        };
        for _ in 0..from.uint::<u32>()? {
            let id = RootId(from.uint()?);
            let path = from.bytes()?.into();
            let top = near(&mut from, NOWHERE)?;
            let born = from.uint::<u8>()? != 0;
            let created = Some(Time(from.signed()?)).filter(|_| born);
            let rules =
                String::from_utf8(from.bytes()?.to_vec()).map_err(|_| Corrupt("text is not UTF-8"))?;
            manifest.key.roots.push(SeedKeyRoot { id, path, top, created, rules });
        }
        for _ in 0..from.uint::<u32>()? {
            let kind = from.byte()?;
            if kind > LISTED {
                return Err(Corrupt("unknown kind of run"));
            }
            let (number, length) = (from.uint()?, from.uint()?);
            let sum = u64::from_le_bytes(from.take(8)?.try_into().map_err(|_| Corrupt("ends early"))?);
            manifest.runs.push(RunFile { kind, number, length, sum });
        }
        from.end()?;
        Ok(manifest)
    }

    /// Why a seed of `key` cannot go on with this one.
    pub(crate) fn refuses(&self, key: &SeedKey) -> Option<String> {
        if self.key.epoch != key.epoch {
            return Some("it was of another index".to_owned());
        }
        for root in &self.key.roots {
            let path = String::from_utf8_lossy(&root.path);
            let Some(now) = key.roots.iter().find(|now| now.path == root.path) else {
                return Some(format!("{path} is not to be scanned any more"));
            };
            if now.rules != root.rules {
                return Some(format!("the rules of {path} changed"));
            }
            if (now.top, now.created) != (root.top, root.created) {
                return Some(format!("another directory is at {path}"));
            }
            if now.id != root.id {
                return Some(format!("{path} has another number among the roots"));
            }
        }
        None
    }
}
