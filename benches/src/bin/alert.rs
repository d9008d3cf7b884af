//! How long after the close of a file that another equals an alert of it arrives, and what a daemon that reads contents takes of
//! memory beyond one that reads none.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use indexer_benches::{Figures, Summary, tell};
use indexer_tests::Daemon;
use rustix::fs::{CWD, Mode};
use serde_json::{Value, json};

/// Measure alerts of duplicates, and the memory that contents take
#[derive(Parser)]
struct Arguments {
    /// Program to measure
    #[arg(long)]
    indexer: PathBuf,
    /// State folder, made anew
    #[arg(long)]
    state: PathBuf,
    /// Tree to watch, which gets files and loses them again
    #[arg(long)]
    root: PathBuf,
    /// Files to drop, one after another
    #[arg(long, default_value_t = 100)]
    files: usize,
    /// File that a line of JSON is added to
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let plain = arguments.peak_without()?;
    let pipe = arguments.fresh_state()?.join("alerts");
    let folder = arguments.root.join("dropped");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR)?;
    // Open for both: it never ends, and none who writes waits.
    let heard = fs::OpenOptions::new().read(true).write(true).open(&pipe)?;
    let rule = format!(
        "[[alert]]\nname = \"twins\"\nop = \"duplicate\"\npath = {:?}\ncommand = [\"/usr/bin/tee\", {:?}]\n\
         rate = {{ most = 1000, per = \"1s\" }}\n",
        // Of what the tree has already nobody is told: that would be folded.
        folder.join("*").display().to_string(),
        pipe.display().to_string()
    );
    let config = arguments.state.join("config.toml");
    fs::write(&config, rule)?;
    let mut daemon = arguments.daemon("candidates", &["--config", &config.to_string_lossy()]);
    daemon.wait_at_rest();
    let reading = peak(daemon.pid())?;

    let mut lines = BufReader::new(heard).lines();
    fs::create_dir(&folder)?;
    let mut waits = Vec::new();
    for number in 0..arguments.files {
        // Of two: one alone with its size is no duplicate yet.
        let content = format!("{number:0>64}").repeat(128);
        fs::write(folder.join(format!("{number:05}-one")), &content)?;
        let twin = folder.join(format!("{number:05}-two"));
        fs::write(&twin, &content)?;
        let closed = Instant::now();
        loop {
            let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            let told: Value = serde_json::from_str(&line)?;
            let paths = told["set"]["paths"].as_array().cloned().unwrap_or_default();
            if paths.iter().any(|path| path.as_str().map(Path::new) == Some(&twin)) {
                waits.push(closed.elapsed().as_secs_f64() * 1e3);
                break;
            }
        }
    }
    daemon.terminate();
    fs::remove_dir_all(&folder)?;
    fs::remove_dir_all(&arguments.state)?;
    let waits = Summary::of(waits);
    let figures = Figures::from([
        ("close to alert, p50 ms".to_owned(), json!(waits.median())),
        ("close to alert, p99 ms".to_owned(), json!(waits.quantile(0.99))),
        ("close to alert, max ms".to_owned(), json!(waits.max())),
        ("files".to_owned(), json!(arguments.files)),
        ("peak memory without contents, kB".to_owned(), json!(plain)),
        ("peak memory when all is read, kB".to_owned(), json!(reading)),
        ("beyond, kB".to_owned(), json!(reading.saturating_sub(plain))),
    ]);
    tell("alert of a duplicate", "auto", &figures, arguments.results.as_deref())
}

impl Arguments {
    fn fresh_state(&self) -> io::Result<&Path> {
        if self.state.try_exists()? {
            fs::remove_dir_all(&self.state)?;
        }
        fs::create_dir_all(&self.state)?;
        Ok(&self.state)
    }

    fn daemon(&self, hash: &str, flags: &[&str]) -> Daemon {
        let mut all = vec!["--hash", hash];
        all.extend(flags);
        let mut daemon = Daemon::spawn(&self.indexer, &self.state, &[&self.root], &all);
        daemon.wait_live();
        daemon
    }

    /// Peak memory in kB of a daemon that reads no contents and is live.
    fn peak_without(&self) -> io::Result<u64> {
        self.fresh_state()?;
        let mut daemon = self.daemon("none", &[]);
        daemon.settle();
        let peak = peak(daemon.pid())?;
        daemon.terminate();
        Ok(peak)
    }
}

/// The most memory that a process had, in kB (proc_pid_status(5), `VmHWM`).
fn peak(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
