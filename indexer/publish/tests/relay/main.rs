//! The relay against a real broker: every record arrives, in order, whatever happens to the broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod arrow;
mod covered;
mod journal;
mod order;
mod tls;
mod topology;
mod ways;
mod wrong;
