//! Rules over records, and what they tell: the log, a command, a webhook. At least once, within a rate, each rule at its own pace.
//! Knows no index and no configuration file: whoever has records implements [`consumer::Feed`], whoever has a file makes [`Rule`]s.

mod alerts;
mod desk;
mod fold;
mod limiter;
mod matcher;
mod message;
mod paths;
mod report;
mod rule;
mod send;
mod worker;

pub use alerts::{AlertError, Alerts};
pub use matcher::{category, op, ops};
pub use paths::Paths;
pub use report::Report;
pub use rule::{Command, Conditions, MOST_RATE, MOST_RULES, Rate, Rule, To, Webhook, When, check_name};
