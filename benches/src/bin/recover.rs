//! How soon the daemon vouches for all again: after a start, after a queue that ran over, and where there are more
//! directories than watches. Beside it the bare walk of the same tree, in turn.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use indexer_benches::{Figures, Summary, run, tell};
use indexer_tests::{Daemon, indexer_binary};
use serde_json::{Value, json};

/// Measure how soon the daemon is right again
#[derive(Parser)]
struct Arguments {
    /// Program to measure; built from this workspace by default
    #[arg(long, global = true)]
    indexer: Option<PathBuf>,
    /// The program of the bare walk
    #[arg(long)]
    bare_walk: PathBuf,
    /// State folder, made anew
    #[arg(long)]
    state: PathBuf,
    /// Tree to watch
    #[arg(long)]
    root: PathBuf,
    /// Backend of the daemon
    #[arg(long, default_value = "auto")]
    backend: String,
    /// Rounds that are measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// File that a line of JSON is added to
    #[arg(long)]
    results: Option<PathBuf>,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Start on a known tree in which nothing changed, after an orderly end and after a kill
    Restart,
    /// Let the kernel's queue of inotify run over by changes of two files, and wait until all is vouched for
    Overflow,
    /// Make so many directories, more than there are watches, and keep them true
    Directories {
        /// Directories, a thousand in each of the first level
        count: usize,
    },
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if arguments.state.try_exists()? {
        fs::remove_dir_all(&arguments.state)?;
    }
    let (scenario, figures) = match arguments.mode {
        Mode::Restart => ("restart", restart(&arguments)?),
        Mode::Overflow => ("overflow", overflow(&arguments)?),
        Mode::Directories { count } => ("directories", directories(&arguments, count)?),
    };
    fs::remove_dir_all(&arguments.state)?;
    tell(scenario, &arguments.backend, &figures, arguments.results.as_deref())
}

impl Arguments {
    fn program(&self) -> &Path {
        self.indexer.as_deref().unwrap_or_else(|| indexer_binary())
    }

    /// One question to the daemon, from any thread.
    fn ask(&self, question: &[&OsStr]) -> io::Result<Output> {
        Command::new(self.program()).arg("--state").arg(&self.state).args(question).output()
    }

    fn daemon(&self) -> Daemon {
        Daemon::spawn(self.program(), &self.state, &[&self.root], &["--backend", &self.backend])
    }

    /// Seconds of a bare walk of the tree.
    fn walk(&self) -> io::Result<f64> {
        let command = format!("'{}' '{}' 2>&1", self.bare_walk.display(), self.root.display());
        Ok(run(&command)?.wall_s)
    }
}

/// Medians of both, and their ratio.
fn against(figures: &mut Figures, what: &str, measured: Vec<f64>, walks: &[f64]) {
    let (measured, walk) = (Summary::of(measured).median(), Summary::of(walks.to_vec()).median());
    figures.insert(format!("{what}, s"), json!(measured));
    figures.insert(format!("{what}, to bare walk"), json!(measured / walk));
    figures.insert("bare walk, s".to_owned(), json!(walk));
}

fn restart(arguments: &Arguments) -> io::Result<Figures> {
    let mut daemon = arguments.daemon();
    daemon.wait_live();
    let (mut walks, mut answered) = (Vec::new(), Vec::new());
    let mut live: [Vec<f64>; 2] = Default::default();
    for round in 0..=arguments.rounds {
        walks.push(arguments.walk()?);
        for (killed, live) in live.iter_mut().enumerate() {
            if killed == 1 {
                daemon.kill9();
            } else {
                daemon.terminate();
            }
            let start = Instant::now();
            daemon = arguments.daemon();
            while !daemon.run(&[&"du", &arguments.root]).status.success() {
                std::thread::yield_now();
            }
            let first = start.elapsed().as_secs_f64();
            daemon.wait_live();
            // The first round warms the caches.
            if round > 0 {
                answered.push(first * 1e3);
                live.push(start.elapsed().as_secs_f64());
            }
        }
    }
    walks.remove(0);
    daemon.terminate();
    let [ended, killed] = live;
    let mut figures = Figures::new();
    against(&mut figures, "start to live, after an end", ended, &walks);
    against(&mut figures, "start to live, after kill -9", killed, &walks);
    figures.insert("start to the first answer of du, ms".to_owned(), json!(Summary::of(answered).median()));
    Ok(figures)
}

fn overflow(arguments: &Arguments) -> io::Result<Figures> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    let events: usize = limit.trim().parse().map_err(io::Error::other)?;
    let mut daemon = arguments.daemon();
    daemon.wait_live();
    let files = [arguments.root.join("overflow-0"), arguments.root.join("overflow-1")];
    let (mut walks, mut settled) = (Vec::new(), Vec::new());
    for round in 0..=arguments.rounds {
        walks.push(arguments.walk()?);
        let before = overflows(&daemon);
        daemon.while_stopped(|| -> io::Result<()> {
            // In turn, since the kernel makes equal events that follow on each other one.
            for _ in 0..events {
                for file in &files {
                    drop(File::create(file)?);
                }
            }
            Ok(())
        })?;
        let start = Instant::now();
        daemon.settle();
        if round > 0 {
            settled.push(start.elapsed().as_secs_f64());
        }
        let after = overflows(&daemon);
        if after <= before {
            return Err(io::Error::other("the queue did not run over; is this the fanotify backend?"));
        }
    }
    walks.remove(0);
    daemon.terminate();
    for file in files {
        fs::remove_file(file)?;
    }
    let mut figures = Figures::new();
    against(&mut figures, "overflow to settled", settled, &walks);
    Ok(figures)
}

fn overflows(daemon: &Daemon) -> u64 {
    daemon.status()["overflows"].as_u64().unwrap_or(0)
}

fn directories(arguments: &Arguments, count: usize) -> io::Result<Figures> {
    const INNER: usize = 1000;
    let inner =
        |number: usize| arguments.root.join((number / INNER).to_string()).join((number % INNER).to_string());
    for number in 0..count {
        if number % INNER == 0 {
            fs::create_dir(arguments.root.join((number / INNER).to_string()))?;
        }
        fs::create_dir(inner(number))?;
    }
    let start = Instant::now();
    let mut daemon = arguments.daemon();
    if !daemon.is_live_within(Duration::from_secs(1800)) {
        return Err(io::Error::other("the daemon is not live after half an hour"));
    }
    let live = start.elapsed().as_secs_f64();
    let memory_live = memory_mib(daemon.pid())?;
    let (mut settled, mut queries) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        // All over the tree, so that most of it has no watch.
        for step in 0..100 {
            let at = inner((round * 7919 + step * count / 100) % count);
            fs::write(at.join(format!("file-{round}")), b"x")?;
            fs::create_dir(at.join(format!("directory-{round}")))?;
        }
        let begun = Instant::now();
        std::thread::scope(|threads| -> io::Result<()> {
            let asking =
                threads.spawn(|| arguments.ask(&["settle".as_ref(), "--timeout".as_ref(), "30m".as_ref()]));
            while !asking.is_finished() {
                let asked = Instant::now();
                let answer = arguments.ask(&["ls".as_ref(), inner(round).as_os_str()])?;
                if !answer.status.success() {
                    return Err(io::Error::other("a question is not answered during a settle"));
                }
                queries.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            match asking.join() {
                Ok(Ok(said)) if said.status.success() => {}
                _ => return Err(io::Error::other("a settle fails")),
            }
            Ok(())
        })?;
        settled.push(begun.elapsed().as_secs_f64());
    }
    let status = daemon.status();
    let verified = daemon.run(&[&"verify", &arguments.root]);
    let memory_end = memory_mib(daemon.pid())?;
    daemon.terminate();
    let queries = Summary::of(queries);
    Ok(Figures::from([
        ("directories".to_owned(), json!(count)),
        ("watches".to_owned(), watches(&status)),
        ("first scan to live, s".to_owned(), json!(live)),
        ("settle, median s".to_owned(), json!(Summary::of(settled).median())),
        ("ls during a settle, p99 ms".to_owned(), json!(queries.quantile(0.99))),
        ("resident at live, MiB".to_owned(), json!(memory_live)),
        ("resident at the end, peak MiB".to_owned(), json!(memory_end)),
        ("exact (verify)".to_owned(), json!(verified.status.success())),
        ("verify says".to_owned(), json!(last_line(&verified.stdout, &verified.stderr))),
    ]))
}

/// Watches that the daemon holds, by its own account.
fn watches(status: &Value) -> Value {
    status["roots"][0]["watches"].clone()
}

fn last_line(out: &[u8], talk: &[u8]) -> String {
    let text = if out.is_empty() { talk } else { out };
    String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned()
}

/// The largest resident set of a process so far, in MiB (proc_pid_status(5)).
fn memory_mib(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.ok_or(io::ErrorKind::InvalidData)? / 1024.0)
}
