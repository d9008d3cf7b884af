//! An independent look at a tree, compared with the index by path. Shares no code with the scan: a walk of its
//! own, one thread, and the rules of a root read anew from what `docs/semantics.md` says of them.

mod compare;
mod links;
mod look;
mod merge;
mod mounts;
mod scope;
mod walk;

pub(crate) use compare::{Side, difference, said};
pub(crate) use look::look_at;
pub(crate) use merge::{Candidate, Merge};
pub(crate) use scope::Scope;
pub(crate) use walk::Walk;

#[cfg(test)]
mod tests;
