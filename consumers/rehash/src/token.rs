//! Short hashes of a file's first and last bytes: what tells files of one size apart before they are read through.

use std::fs::File;

use record::Category;

use crate::cache::Cache;
use crate::look::{Eye, Gate, Refused, Stamp};
use crate::whole::{Ask, fill};

/// How many bytes of either end a token is made of.
pub const TOKEN_BYTES: u64 = 4 << 10;

/// Files of more bytes than this have a token of their end: in smaller ones it spares too little to be worth a second read.
pub const TAIL_OVER: u64 = 128 << 10;

/// BLAKE3 of the first or last 4 KiB, 16 bytes of it: enough to tell files apart, and no proof that they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 16]);

impl Token {
    /// That of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Token {
        let mut token = [0; 16];
        token.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Token(token)
    }
}

/// What a look at one end of a file gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Of the bytes there.
    pub token: Token,
    /// What the first bytes say the file is, [`Category::Other`] when nothing; `None` from a tail.
    pub magic: Option<Category>,
    /// What the file was.
    pub stamp: Stamp,
    /// Bytes read: 4,096, or the size where that is less.
    pub read: u64,
}

/// Reads the first 4 KiB of `file`, between two equal looks, after `ask` was asked. The file's own offset is not used.
///
/// # Errors
///
/// As [`read`](crate::read()).
pub fn head(file: &File, eye: &dyn Eye, ask: Ask) -> Result<Probe, Refused> {
    probe(file, eye, ask, |_| 0, true)
}

/// Reads the last 4 KiB of `file`, likewise.
///
/// # Errors
///
/// As [`head`].
pub fn tail(file: &File, eye: &dyn Eye, ask: Ask) -> Result<Probe, Refused> {
    probe(file, eye, ask, |size| size.saturating_sub(TOKEN_BYTES), false)
}

fn probe(
    file: &File,
    eye: &dyn Eye,
    ask: Ask,
    from: impl Fn(u64) -> u64,
    magic: bool,
) -> Result<Probe, Refused> {
    let gate = Gate::enter(file, eye)?;
    let size = gate.stat.size;
    let at = from(size);
    let cache = Cache::at(file, &[at]);
    if ask(cache.ahead((size - at).min(TOKEN_BYTES))).is_break() {
        return Err(Refused::Stopped);
    }
    let mut buffer = [0; TOKEN_BYTES as usize];
    let read = fill(file, at, &mut buffer)?;
    drop(cache);
    if read as u64 != (size - at).min(TOKEN_BYTES) {
        return Err(gate.misfit());
    }
    let bytes = &buffer[..read];
    let magic = magic.then(|| Category::by_magic(bytes).unwrap_or(Category::Other));
    Ok(Probe { token: Token::of(bytes), magic, stamp: gate.leave()?, read: read as u64 })
}
