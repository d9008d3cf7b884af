//! Random work as a process of its own, so that it can be done by a user other than the test's:
//! `churn ROOT SEED THREADS OPERATIONS`.

use std::path::Path;
use std::process::ExitCode;

use indexer_tests::Workload;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (Some(root), [seed, threads, operations]) = (arguments.first(), &numbers[..]) else {
        eprintln!("usage: churn ROOT SEED THREADS OPERATIONS");
        return ExitCode::from(2);
    };
    let threads = usize::try_from(*threads).unwrap_or(1);
    let work = Workload { seed: *seed, threads }.run_operations(Path::new(root), *operations);
    eprintln!("{work:?}");
    ExitCode::SUCCESS
}
