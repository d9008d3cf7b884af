//! Contents of files: read with manners, hashed between two equal looks, and which reads tell equal files apart. Knows no
//! index, no path and no schedule: whoever calls brings an open file, a way to look at it ([`Eye`]) and a pace.

mod algorithm;
mod buffers;
mod cache;
mod ends;
mod look;
mod manners;
mod pace;
mod read;
mod refine;
mod sample;
mod sink;
mod token;
mod whole;

pub use algorithm::Algorithm;
pub use look::{Eye, GRAIN_NS, Refused, Stamp};
pub use manners::be_nice;
pub use pace::Pace;
pub use read::{Content, Depth, How, read};
pub use refine::{Member, Need, next};
pub use sample::{SAMPLED_OVER, WINDOW};
pub use token::{Probe, TAIL_OVER, TOKEN_BYTES, Token, head, tail};
