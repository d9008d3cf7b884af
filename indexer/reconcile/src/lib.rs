//! Decides what changed. Stored rows and a few looks at the disk make a [`Plan`]: row edits, totals and
//! change records. Sees no disk, clock, thread or randomness: callers bring all of them.
//!
//! A [`Batch`] takes looks in the order they were made, keeps the difference to what is stored, and
//! [`Batch::finish`] turns that difference into a plan. Records come from the difference of states, never
//! from the order of events: a kernel merges and reorders those.

mod batch;
mod content;
mod decide;
mod doom;
mod emit;
mod identity;
mod look;
mod order;
mod paths;
mod plan;
mod stored;
mod totals;

pub use batch::{Batch, Holds};
pub use content::{Observed, Taken};
pub use decide::{Decision, decide};
pub use identity::{GRAIN_NS, same_entry};
pub use look::{Found, Look};
pub use plan::{Detached, Finished, Held, Plan, Target};
pub use stored::{Root, Stored};

#[cfg(test)]
mod tests;
