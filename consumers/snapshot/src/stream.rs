//! A snapshot on its way from whoever reads the index to whoever writes the file: frames of bytes, many rows in one. Between two
//! processes of one program, never stored. Knows no socket.
//!
//! A frame is a byte that says what it is, the length of the rest (four bytes, little-endian), the rest. A row tells its path as a
//! difference to the row before it in the frame, and numbers in as few bytes as they need.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::entry::{Moment, RootHead};

pub use decode::{Frames, Rows};
pub use encode::{Emit, Teller};
pub(crate) use encode::{put_row, put_whole_row};

/// Raised when frames change their meaning: a daemon and a command of two versions must not misunderstand each other.
const VERSION: u8 = 1;
/// Bytes of rows in a frame, about.
const FULL: usize = 64 << 10;
/// No frame of ours is longer: a path has at most some megabytes.
const MOST: usize = 64 << 20;

const MOMENT: u8 = b'M';
const ROOT: u8 = b'r';
const ROWS: u8 = b'R';
const ROOT_END: u8 = b'e';
const END: u8 = b'E';
const FAILED: u8 = b'!';

/// What came.
#[derive(Debug)]
pub enum Frame<'a> {
    /// First: of which moment it is.
    Moment(Moment),
    /// A root begins.
    Root(RootHead),
    /// Rows of it.
    Rows(Rows<'a>),
    /// All of the root was told: so many rows.
    RootEnd(u64),
    /// All was told.
    End(Ending),
    /// It ends here, and why: in the words of whoever tells.
    Failed(&'a [u8]),
}

/// What is known at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ending {
    /// Bytes that the index file grew by while it was read, at most.
    pub grown: u64,
    /// How long it was read, in milliseconds.
    pub held_ms: u64,
}

/// What cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Another version speaks.
    #[error(
        "the other side speaks version {0} of the stream and this program {VERSION}: restart the daemon after an update"
    )]
    Version(u8),
    /// It is no stream of ours.
    #[error("what the other side sent is no snapshot: {0}")]
    Bytes(&'static str),
}

/// A frame that says that it ends, with `why` in the words of whoever tells.
#[must_use]
pub fn failed(why: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(why.len() + 5);
    encode::put_frame(&mut frame, FAILED, why);
    frame
}
