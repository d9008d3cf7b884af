//! Records of many indexes, as their messages arrive: each is numbered, kept until all consumers are done with it, and then let go. So
//! what reads a journal reads these, on a host that has none. Knows messages and a file of its own; no broker, no index, no rule.

mod feed;
mod inbox;
mod source;
mod store;
#[cfg(test)]
mod tests;

pub use inbox::{Inbox, Incoming, Limits};
pub use record::wire::message::Unusable;
pub use store::{FILE, FORMAT, InboxError};
