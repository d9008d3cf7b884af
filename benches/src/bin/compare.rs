//! Runs commands in turn, A B A B, so that a slow minute of the machine falls on all of them; prints a table and keeps
//! every single figure.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use indexer_benches::{Spent, Summary, machine, run};
use serde_json::json;

/// Run commands in turn and compare what they spend
#[derive(Parser)]
struct Arguments {
    /// What is compared; a name for the results
    #[arg(long)]
    scenario: String,
    /// Measured runs of each command, after one that is not
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Shell command before each run, not measured
    #[arg(long)]
    before: Option<String>,
    /// File that a line of JSON for each command is added to
    #[arg(long)]
    results: Option<PathBuf>,
    /// LABEL=COMMAND, run by the shell; ratios are to the first
    #[arg(required = true, value_parser = labelled)]
    commands: Vec<(String, String)>,
}

fn labelled(argument: &str) -> Result<(String, String), String> {
    let (label, command) = argument.split_once('=').ok_or("write LABEL=COMMAND")?;
    Ok((label.to_owned(), command.to_owned()))
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut spent: Vec<Vec<Spent>> = vec![Vec::new(); arguments.commands.len()];
    for round in 0..=arguments.runs {
        for ((_, command), spent) in arguments.commands.iter().zip(&mut spent) {
            if let Some(before) = &arguments.before {
                run(before)?;
            }
            let one = run(command)?;
            // The first round warms the caches.
            if round > 0 {
                spent.push(one);
            }
        }
    }
    let of = |spent: &[Spent], field: fn(&Spent) -> f64| Summary::of(spent.iter().map(field).collect());
    let base = of(&spent[0], |one| one.wall_s).median();
    let mut table = format!(
        "{}\n{:24} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9}\n",
        arguments.scenario, "", "median s", "min s", "max s", "ratio", "cpu s", "peak MiB"
    );
    for ((label, _), spent) in arguments.commands.iter().zip(&spent) {
        let wall = of(spent, |one| one.wall_s);
        let cpu = of(spent, |one| one.cpu_s).median();
        let peak = of(spent, |one| one.peak_mib).max();
        table += &format!(
            "{label:24} {:9.4} {:9.4} {:9.4} {:7.2} {cpu:9.4} {peak:9.1}\n",
            wall.median(),
            wall.min(),
            wall.max(),
            wall.median() / base
        );
    }
    io::stdout().write_all(table.as_bytes())?;
    let Some(results) = &arguments.results else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(results)?;
    for ((label, _), spent) in arguments.commands.iter().zip(&spent) {
        let line = json!({
            "scenario": arguments.scenario,
            "label": label,
            "unix_time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            "machine": machine(),
            "wall_s": spent.iter().map(|one| one.wall_s).collect::<Vec<_>>(),
            "cpu_s": spent.iter().map(|one| one.cpu_s).collect::<Vec<_>>(),
            "peak_mib": spent.iter().map(|one| one.peak_mib).collect::<Vec<_>>(),
        });
        writeln!(file, "{line}")?;
    }
    Ok(())
}
