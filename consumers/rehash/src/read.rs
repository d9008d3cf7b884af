//! One reading of one file: a digest between two equal looks, with all that its bytes tell on the way.

use std::fs::File;

use record::{Category, Digest, DigestKind};

use crate::algorithm::Algorithm;
use crate::look::{Eye, Gate, Refused, Stamp};
use crate::sample::{SAMPLED_OVER, sample};
use crate::token::Token;
use crate::whole::{Ask, Job, fill, whole};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its hash.
    pub digest: Digest,
    /// What its first bytes say it is; [`Category::Other`]: nothing.
    pub magic: Category,
    /// What the file was: the digest speaks of it while its stat has these.
    pub stamp: Stamp,
    /// Bytes really read: holes are not.
    pub read: u64,
    /// Of the first 4 KiB.
    pub head: Token,
    /// Of the last 4 KiB, when the file is over 128 KiB.
    pub tail: Option<Token>,
}

/// How much of a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    #[default]
    Full,
    /// Of files over 10 MiB head, middle and tail, 1 MiB each: [`DigestKind::Blake3Sampled`], by whichever algorithm. All of
    /// smaller ones.
    Sampled,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// How much of it.
    pub depth: Depth,
    /// What full digests are made by.
    pub algorithm: Algorithm,
    /// Files of 8 MiB and more may be hashed by all cores: for solid state, where a single core is what holds up.
    pub parallel: bool,
    /// The file is open past the page cache (`O_DIRECT`).
    pub direct: bool,
}

/// Reads `file` and hashes it. `ask` is called before each part of it, and may wait or stop it. The file's offset is moved
/// about, and its advice to the kernel changed.
///
/// # Errors
///
/// [`Refused`], and then nothing is known of the content.
pub fn read(file: &File, how: How, eye: &dyn Eye, ask: Ask) -> Result<Content, Refused> {
    let gate = Gate::enter(file, eye)?;
    let (size, allocated) = (gate.stat.size, gate.stat.allocated);
    if size == 0 && fill(file, 0, &mut [0])? > 0 {
        return Err(gate.misfit());
    }
    let sampled = how.depth == Depth::Sampled && size > SAMPLED_OVER && !how.direct;
    let (kind, read) = if sampled {
        (DigestKind::Blake3Sampled, sample(file, size, ask)?)
    } else {
        let How { algorithm, parallel, direct, .. } = how;
        (
            algorithm.kind(),
            whole(&Job { file, size, sparse: allocated < size, algorithm, parallel, direct }, ask)?,
        )
    };
    let Some(read) = read else { return Err(gate.misfit()) };
    Ok(Content {
        digest: Digest { kind, bytes: read.hash },
        magic: read.ends.magic(),
        stamp: gate.leave()?,
        read: read.read,
        head: read.ends.head(),
        tail: read.ends.tail(size),
    })
}
