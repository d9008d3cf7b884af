//! Progress of a seed, sweep or replay on stderr: a bar on a terminal, a line every few seconds elsewhere, nothing with -q.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::ProgressHook;
use crate::engine::status::Progress;
use crate::render::{bytes, count, stand};

/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(3);

/// What is shown, until it is cleared.
#[derive(Clone)]
pub(crate) struct Shown(Arc<Mutex<State>>);

struct State {
    bar: Option<ProgressBar>,
    quiet: bool,
    phase: String,
    began: Instant,
    /// Entries when the phase began: a sweep after a seed counts anew.
    base: u64,
    last_line: Instant,
    done: bool,
}

impl Shown {
    /// Shows nothing yet.
    pub(crate) fn new(quiet: bool) -> Shown {
        let now = Instant::now();
        let state = State {
            bar: None,
            quiet,
            phase: String::new(),
            began: now,
            base: 0,
            last_line: now,
            done: false,
        };
        Shown(Arc::new(Mutex::new(state)))
    }

    /// What the engine calls.
    pub(crate) fn hook(&self) -> ProgressHook {
        let state = Arc::clone(&self.0);
        Arc::new(move |progress, phase| {
            state.lock().unwrap_or_else(PoisonError::into_inner).show(progress, phase);
        })
    }

    /// Takes the bar away and shows no more of it.
    pub(crate) fn clear(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.done = true;
        if let Some(bar) = state.bar.take() {
            stand(None);
            bar.finish_and_clear();
        }
    }
}

impl State {
    fn show(&mut self, progress: &Progress, phase: &str) {
        if self.quiet || self.done {
            return;
        }
        let now = Instant::now();
        if self.phase != phase {
            phase.clone_into(&mut self.phase);
            self.began = now;
            self.base = if progress.files_processed < self.base { 0 } else { progress.files_found };
            self.last_line = now;
        }
        let seconds = now.duration_since(self.began).as_secs_f64().max(0.05);
        let rate = (progress.files_found.saturating_sub(self.base) as f64 / seconds) as u64;
        let text = match phase {
            "hashing" => hashing_line(progress, seconds),
            "replaying" | "exporting" => {
                format!("{} entries, {}/s", count(progress.files_found), count(rate))
            }
            _ => line(progress, rate),
        };
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let bar = bar();
                stand(Some(bar.clone()));
                bar
            });
            bar.set_prefix(self.phase.clone());
            bar.set_position((progress.percent.clamp(0.0, 100.0) * 10.0) as u64);
            bar.set_message(text);
        } else if now.duration_since(self.last_line) >= PLAIN {
            self.last_line = now;
            eprintln!("{}: {:.0} %, {text}", self.phase, progress.percent.clamp(0.0, 100.0));
        }
    }
}

fn line(progress: &Progress, rate: u64) -> String {
    let mut text = format!(
        "{} entries, {}/s, {}, {} directories left",
        count(progress.files_found),
        count(rate),
        bytes(progress.bytes_processed),
        count(progress.directories_left)
    );
    if progress.directories_before > 0 {
        text.push_str(&format!(", {} were listed already", count(progress.directories_before)));
    }
    text
}

fn hashing_line(progress: &Progress, seconds: f64) -> String {
    format!(
        "{} files read, {}, {}/s",
        count(progress.files_processed),
        bytes(progress.bytes_processed),
        bytes((progress.bytes_processed as f64 / seconds) as u64)
    )
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(5));
    let colour = std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
    let template = if colour {
        "{prefix} {bar:12.cyan/blue} {percent:>3} %  {msg}"
    } else {
        "{prefix} {bar:12} {percent:>3} %  {msg}"
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_entries_rate_and_what_is_left() {
        let progress = Progress {
            percent: 12.0,
            files_found: 1_051_237,
            files_processed: 0,
            bytes_processed: 3 << 30,
            directories_left: 1234,
            directories_before: 0,
        };
        assert_eq!(line(&progress, 410_000), "1,051,237 entries, 410,000/s, 3.0 GiB, 1,234 directories left");
        let shown = Shown::new(false);
        shown.hook()(&progress, "scanning");
        shown.clear();
        shown.hook()(&progress, "scanning");
        assert!(shown.0.lock().unwrap().bar.is_none(), "cleared for good");
    }
}
