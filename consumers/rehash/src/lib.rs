//! Contents of files: read with manners, hashed between two equal looks, and which reads tell equal files apart. Knows no
//! index, no path and no schedule: whoever calls brings an open file, a way to look at it ([`Eye`]) and a pace.

mod algorithm;
mod buffers;
mod cache;
mod ends;
mod look;
mod manners;
mod meter;
mod pace;
mod read;
mod refine;
mod sample;
mod shelf;
mod sink;
mod token;
mod whole;
mod work;

pub use algorithm::Algorithm;
pub use cache::Ahead;
pub use look::{Eye, GRAIN_NS, Refused, Stamp, still};
pub use manners::be_nice;
pub use meter::{Counted, Meter};
pub use pace::Pace;
pub use read::{Content, Depth, How, read};
pub use refine::{Member, Need, next};
pub use sample::{SAMPLED_OVER, WINDOW};
pub use shelf::{Closed, Found, Known, Opened, Opener, Shelf, ShelfError};
pub use token::{Probe, TAIL_OVER, TOKEN_BYTES, Token, head, tail};
pub use whole::Ask;
pub use work::{Answered, Proof, Remote, Scrubbed, Told, Turn, Wanted, Work};
