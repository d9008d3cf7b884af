//! What tests at a message broker need: one of their own, broken ways to it, subscribers; and programs that are installed where
//! they are missing. Knows nothing of the index. Panics as tests do.
#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod broker;
mod certificates;
mod faulty;
mod namespace;
mod subscriber;
mod tools;
mod wait;

pub use broker::{Broker, broker_url};
pub use certificates::Authority;
pub use faulty::FaultyWay;
pub use lapin::message::Delivery;
pub use lapin::types::AMQPValue;
pub use subscriber::{Subscriber, at_broker};
pub use tools::{Skipped, is_root, need_root, need_tool, run, skipped};
pub use wait::wait_for;
