//! What every consumer of records shares: a source of them, a cursor, a replica of the rows they describe, secrets for those
//! whom it talks to, and HTTP to reach them.
//! Knows no index and no broker: whoever has records implements [`Source`].

mod feed;
mod replica;
mod secret;
mod source;
pub mod stretches;
pub mod web;

pub use feed::{Feed, Origin};
pub use replica::{Known, Replica};
pub use secret::Secret;
pub use source::{Consume, Consumed, Source, SourceError, run};
