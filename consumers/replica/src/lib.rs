//! A replica of many indexes, kept by applying the messages that they publish: entries, names, digests, how far each is known,
//! and which files are equal, wherever they are. Knows messages and a file of its own; no broker, no index, no file system.
//!
//! What is held is a set of registers, each with the seq of the record that wrote it: one an entry, one for each name an entry has
//! or had. The higher seq wins, so messages may come twice, late or out of order, and a replay may come in between.

mod apply;
mod ask;
mod keys;
mod message;
mod paths;
mod replay;
mod sets;
mod sources;
mod store;
#[cfg(test)]
mod tests;

pub use apply::{Incoming, Replica};
pub use ask::Listed;
pub use record::wire::message::Unusable;
pub use sets::{Copy, Event, Set, SetChange};
pub use sources::{Root, Source};
pub use store::{FILE, FORMAT, ReplicaError};
