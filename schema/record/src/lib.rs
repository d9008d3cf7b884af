//! The nouns everyone agrees on: entries, stats, rows, change records.
//! Knows no disk, database or socket; [`wire`] alone knows serde.

mod category;
mod change;
mod hashing;
mod ids;
mod row;
mod stat;
mod time;
pub mod wire;

pub use category::Category;
pub use change::{Body, Change, Duplicates, Gap, How, Op, Record, Seeded, State};
pub use hashing::{Hashing, Reading};
pub use ids::{EntryId, Name, Place, RootId, Seq, VolumeId};
pub use row::{Digest, DigestKind, Row, StoredDigest, Totals};
pub use stat::{Kind, Stat};
pub use time::Time;
