//! The crate as its users see it, on real disks and real mount tables.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, which may fail by panic")]

mod common;
mod disk;
mod links;
mod mounted;
mod parsing;
