//! Hard links and reflinks over real files, stopped at every step.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod refusals;
mod stops;
mod support;
mod undone;
