//! What every consumer of records shares: a source of them, a cursor, a replica of the rows they describe.
//! Knows no index and no broker: whoever has records implements [`Source`].

mod replica;
mod source;

pub use replica::{Known, Replica};
pub use source::{Consume, Consumed, Source, SourceError, run};
