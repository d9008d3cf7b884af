//! `prove`: the checks of the crate `prove` with this very program, told as they end. Knows no check and no state folder.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prove::{Listener, Options, Report, Trouble};
use serde_json::json;

use crate::cli::{Global, Prove};
use crate::commands::interrupt;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, quoted};

/// Between two turns of the wheel that shows that something goes on.
const TURN: Duration = Duration::from_millis(120);

/// Makes the checks; ends with 1 when something is missed.
pub(crate) fn run(global: &Global, flags: &Prove) -> Result<Outcome, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::doing("find this program", error))?;
    let options = Options {
        path: flags.path.clone().unwrap_or_else(|| PathBuf::from(".")),
        program,
        // Any number will do; it is printed.
        seed: flags.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ now() & 0xFFFF_FFFF),
        seconds: flags.seconds,
        rounds: flags.rounds,
        threads: usize::from(flags.threads),
        kills: flags.kills,
        backend: flags.backend.and_then(|word| Some(word.to_possible_value()?.get_name().to_owned())),
        keep: flags.keep,
        state_beside: flags.state_beside,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    interrupt::at_first(move || {
        asked.store(true, Ordering::Relaxed);
        eprintln!("indexer: stopping; what was made is removed");
    })?;
    let mut teller = Teller::new(global);
    let ended = prove::run(&options, &stop, &mut teller);
    teller.clear();
    let verdict = ended.map_err(|trouble| match trouble {
        Trouble::Usage(why) => Failure::Usage(why),
        Trouble::Interrupted => Failure::Failed("interrupted; nothing is proven".to_owned()),
        other => Failure::Failed(other.to_string()),
    })?;
    let mut out = Out::stdout();
    if global.json {
        out.json(&verdict.json())?;
    } else {
        out.text(&format!("\n{}", verdict.text()))?;
    }
    out.flush()?;
    Ok(Outcome::found(verdict.proven()))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0))
}

/// Tells what goes on: results to stdout as they come, progress to stderr where that is a terminal.
struct Teller {
    json: bool,
    bar: Option<ProgressBar>,
}

impl Teller {
    fn new(global: &Global) -> Teller {
        let shown = !global.quiet && std::io::stderr().is_terminal();
        Teller { json: global.json, bar: shown.then(wheel) }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The verdict and the exit code say it too, should nobody read stdout.
    fn print(&self, write: impl Fn(&mut Out) -> std::io::Result<()>) {
        let print = || {
            let mut out = Out::stdout();
            let _ = write(&mut out).and_then(|()| out.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

fn wheel() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    let bar = match ProgressStyle::with_template("{spinner} {prefix}: {msg}  ({elapsed})") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(TURN);
    bar
}

impl Listener for Teller {
    fn begins(&mut self, folder: &Path, seed: u64) {
        let path = std::os::unix::ffi::OsStrExt::as_bytes(folder.as_os_str());
        let shown = quoted(path);
        self.print(|out| {
            if self.json {
                let (text, path_raw) = record::wire::v1::text_and_raw(path);
                return out.json(&json!({"folder": text, "folder_raw": path_raw, "seed": seed}));
            }
            out.text(&format!("works in {shown}\nseed {seed}\n\n"))
        });
    }

    fn progress(&mut self, check: &str, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(check.to_owned());
            bar.set_message(what.to_owned());
        }
    }

    fn report(&mut self, report: &Report) {
        self.print(|out| if self.json { out.json(&report.json()) } else { out.text(&report.text()) });
    }
}
