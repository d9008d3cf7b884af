//! The `indexer` program: reads the command line, runs one command, ends with its exit code.

mod alerting;
mod api;
mod asking;
mod cli;
mod commands;
mod config;
mod consumers;
mod engine;
mod failure;
mod hashing;
mod logging;
mod memory;
mod metrics;
mod paths;
mod priority;
mod privileges;
mod query;
mod relaying;
mod render;
mod rolling;
mod service;
mod state;
mod values;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::failure::Failure;

fn main() -> ExitCode {
    memory::share_heap();
    // clap itself ends with 2 on usage errors and 0 on help.
    let cli = cli::Cli::parse();
    let json = cli.global.json;
    // The store may panic on a page that is not what was written.
    let result = index::caught(|| commands::run(cli)).unwrap_or_else(|said| Err(Failure::Bug(said)));
    match result {
        Ok(outcome) => outcome.code(),
        Err(failure) => failure.report(json),
    }
}
