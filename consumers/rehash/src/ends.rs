//! The first and last 4 KiB of what streams by. Knows no files.

use record::Category;

use crate::algorithm::ZEROS;
use crate::token::{TAIL_OVER, TOKEN_BYTES, Token};

const KEPT: usize = TOKEN_BYTES as usize;

/// What was first and last so far.
#[derive(Default)]
pub(crate) struct Ends {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Ends {
    /// `bytes` stream by.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let missing = KEPT - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        let new = &bytes[bytes.len().saturating_sub(KEPT)..];
        let old = self.last.len().saturating_sub(KEPT - new.len());
        self.last.drain(..old);
        self.last.extend_from_slice(new);
    }

    /// So many zeros stream by.
    pub(crate) fn push_zeros(&mut self, count: u64) {
        self.push(&ZEROS[..usize::try_from(count).unwrap_or(KEPT).min(KEPT)]);
    }

    /// The token of the head.
    pub(crate) fn head(&self) -> Token {
        Token::of(&self.first)
    }

    /// The token of the tail of a file of `size` bytes, which has one when it is large.
    pub(crate) fn tail(&self, size: u64) -> Option<Token> {
        (size > TAIL_OVER).then(|| Token::of(&self.last))
    }

    /// What the first bytes say.
    pub(crate) fn magic(&self) -> Category {
        Category::by_magic(&self.first).unwrap_or(Category::Other)
    }
}
