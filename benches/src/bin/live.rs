//! What following costs while a producer works: the producer's own time watched and unwatched, the daemon's CPU a file, how
//! long `settle` takes after the last close, and how soon a closed file shows in `changes --follow`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use indexer_benches::{Figures, Summary, tell};
use indexer_tests::{Daemon, Follower, broker_url, indexer_binary};
use serde_json::{Value, json};

/// Files a directory that the producer makes.
const DIRECTORY: usize = 1000;

/// Measure the daemon while a producer works
#[derive(Parser)]
struct Arguments {
    /// Program to measure; built from this workspace by default
    #[arg(long, global = true)]
    indexer: Option<PathBuf>,
    /// Folder for state folders, one a round; on another file system than ROOT if that is marked as a whole
    #[arg(long, global = true, default_value = "/var/tmp/indexer-bench-state")]
    state: PathBuf,
    /// Tree to watch; the producer works in a folder of its own there
    #[arg(long, global = true, default_value = "/var/tmp/indexer-bench-live")]
    root: PathBuf,
    /// Backend of the daemon
    #[arg(long, global = true, default_value = "auto")]
    backend: String,
    /// File that a line of JSON is added to
    #[arg(long, global = true)]
    results: Option<PathBuf>,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Create, write and close files as fast as one thread can
    Files {
        /// Files in each run
        #[arg(long, default_value_t = 200_000)]
        count: usize,
        /// Runs without and with the daemon, in turn
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Create files at a steady rate and see when their records come out
    Latency {
        /// Files a second
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// For how long
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// See them come out of a message broker, that of `AMQP_URL` or one that is started, in the Python subscriber of
        /// deploy/examples; the folder that holds pika, as `pip install --target` makes it
        #[arg(long, value_name = "FOLDER")]
        pika: Option<PathBuf>,
    },
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.root)?;
    fs::create_dir_all(&arguments.state)?;
    let figures = match arguments.mode {
        Mode::Files { count, rounds } => files(&arguments, count, rounds)?,
        Mode::Latency { rate, seconds, ref pika } => latency(&arguments, rate, seconds, pika.as_deref())?,
    };
    let scenario = match arguments.mode {
        Mode::Files { .. } => "live files",
        Mode::Latency { pika: None, .. } => "live latency",
        Mode::Latency { pika: Some(_), .. } => "live latency over a broker",
    };
    tell(scenario, &arguments.backend, &figures, arguments.results.as_deref())
}

fn files(arguments: &Arguments, count: usize, rounds: usize) -> io::Result<Figures> {
    let work = arguments.root.join("produced");
    fs::create_dir(&work)?;
    let (mut bare, mut watched, mut settled, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut operations = BTreeMap::<String, u64>::new();
    for round in 0..rounds {
        // A folder each, and none is removed before the end: ext4 searches long for an inode that was not
        // deleted lately, and that would be all that is measured.
        // A file-system mark watches all of it, so "unwatched" means that no daemon runs.
        bare.push(produce(&work.join(format!("unwatched-{round}")), count)?);
        let mut daemon = start(arguments, round)?;
        let before = cpu_s(daemon.pid())?;
        watched.push(produce(&work.join(format!("watched-{round}")), count)?);
        let closed = Instant::now();
        daemon.settle();
        settled.push(closed.elapsed().as_secs_f64());
        cpu.push((cpu_s(daemon.pid())? - before) * 1e6 / count as f64);
        let said = daemon.run(&[&"changes", &"--since", &"0", &"--json"]);
        for line in said.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line)?;
            *operations.entry(format!("records: {}", record["op"].as_str().unwrap_or("?"))).or_default() += 1;
        }
        daemon.terminate();
        fs::remove_dir_all(daemon.state())?;
    }
    fs::remove_dir_all(&work)?;
    let micro = |seconds: &[f64]| seconds.iter().map(|all| all * 1e6 / count as f64).collect::<Vec<_>>();
    let (bare, watched) = (Summary::of(micro(&bare)), Summary::of(micro(&watched)));
    let mut figures = Figures::from([
        ("producer unwatched, µs a file".to_owned(), json!(bare.median())),
        ("producer watched, µs a file".to_owned(), json!(watched.median())),
        ("producer, watched to unwatched".to_owned(), json!(watched.median() / bare.median())),
        ("settle after last close, s".to_owned(), json!(Summary::of(settled).median())),
        ("daemon CPU, µs a file".to_owned(), json!(Summary::of(cpu).median())),
        ("files a round".to_owned(), json!(count)),
        ("rounds".to_owned(), json!(rounds)),
    ]);
    // Among them `gap`, the trace of an overflow.
    figures.extend(operations.into_iter().map(|(operation, number)| (operation, json!(number))));
    Ok(figures)
}

/// Creates, writes and closes `count` files of 100 bytes; the seconds it took.
fn produce(work: &Path, count: usize) -> io::Result<f64> {
    // What earlier rounds left to be written shall not be paid for in this one.
    rustix::fs::sync();
    fs::create_dir(work)?;
    let start = Instant::now();
    for first in (0..count).step_by(DIRECTORY) {
        let folder = work.join(format!("{first:08}"));
        fs::create_dir(&folder)?;
        for number in first..count.min(first + DIRECTORY) {
            fs::write(folder.join(format!("{number:08}.txt")), [b'x'; 100])?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

fn start(arguments: &Arguments, round: usize) -> io::Result<Daemon> {
    let state = arguments.state.join(format!("round-{round}"));
    if state.try_exists()? {
        fs::remove_dir_all(&state)?;
    }
    let binary = arguments.indexer.as_deref().unwrap_or_else(|| indexer_binary());
    let mut daemon = Daemon::spawn(binary, &state, &[&arguments.root], &["--backend", &arguments.backend]);
    daemon.wait_live();
    Ok(daemon)
}

/// User and system time of all threads of a process so far, in seconds.
fn cpu_s(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc_pid_stat(5): fields are counted after the name, which may hold spaces; utime is 14th, stime 15th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    let sum = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    Ok(sum.ok_or(io::ErrorKind::InvalidData)? / rustix::param::clock_ticks_per_second() as f64)
}

/// Somebody who prints a line a record.
struct Heard {
    lines: Follower,
    /// The path that a line is about; none where it says nothing of a close.
    path: fn(&str) -> Option<String>,
}

/// `changes --follow`: a record of a file still being written says nothing of its close.
fn follow(daemon: &Daemon) -> Heard {
    let path = |line: &str| {
        let record: Value = serde_json::from_str(line).ok()?;
        record["path"].as_str().filter(|_| record["complete"] != false).map(str::to_owned)
    };
    Heard { lines: daemon.follow(&[&"changes", &"--follow", &"--json"]), path }
}

/// The subscriber in Python, which prints seq, verb and path; a record of an unfinished file goes before that of its close.
fn subscribe(url: &str, exchange: &str, pika: &Path) -> Heard {
    let mut command = Command::new("python3");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    command.arg(examples.join("subscribe.py")).args([exchange, "fs.v1.#"]).env("PYTHONPATH", pika);
    command.env("AMQP_URL", url).env("INDEXER_EXCHANGE", exchange);
    Heard { lines: Follower::of(command), path: |line| line.splitn(3, ' ').nth(2).map(str::to_owned) }
}

fn latency(arguments: &Arguments, rate: u32, seconds: u32, pika: Option<&Path>) -> io::Result<Figures> {
    let (mut daemon, heard) = match pika {
        None => {
            let daemon = start(arguments, 0)?;
            let heard = follow(&daemon);
            (daemon, heard)
        }
        Some(pika) => {
            let (url, exchange) = (broker_url(), format!("bench-{}", std::process::id()));
            let state = arguments.state.join("round-0");
            if state.try_exists()? {
                fs::remove_dir_all(&state)?;
            }
            fs::create_dir_all(&state)?;
            let binary = arguments.indexer.as_deref().unwrap_or_else(|| indexer_binary());
            let daemon = Daemon::publishing_of(binary, &state, &arguments.root, &exchange, &url, &[]);
            (daemon, subscribe(&url, &exchange, pika))
        }
    };
    let work = arguments.root.join("produced");
    fs::create_dir(&work)?;
    wait_for_first(&work, &heard.lines)?;

    let total = rate * seconds;
    let mut closed = HashMap::new();
    let start = Instant::now();
    for number in 0..total {
        let due = start + Duration::from_secs(1) * number / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let path = work.join(format!("{number:08}.txt"));
        fs::write(&path, [b'x'; 100])?;
        closed.insert(path.to_string_lossy().into_owned(), (Instant::now(), None));
    }
    let (mut left, deadline) = (closed.len(), Instant::now() + Duration::from_secs(10));
    while left > 0 {
        let wait = deadline.saturating_duration_since(Instant::now());
        let Some((when, line)) = heard.lines.next_line(wait) else { break };
        if let Some((close, wait)) = (heard.path)(&line).and_then(|path| closed.get_mut(&path)) {
            left -= usize::from(wait.is_none());
            *wait = Some(when.saturating_duration_since(*close).as_secs_f64() * 1e3);
        }
    }
    drop(heard);
    daemon.terminate();
    fs::remove_dir_all(&work)?;
    fs::remove_dir_all(daemon.state())?;
    let waits = closed.values().filter_map(|(_, wait)| *wait).collect();

    let waits = Summary::of(waits);
    Ok(Figures::from([
        ("close to record, p50 ms".to_owned(), json!(waits.median())),
        ("close to record, p99 ms".to_owned(), json!(waits.quantile(0.99))),
        ("close to record, max ms".to_owned(), json!(waits.max())),
        ("files".to_owned(), json!(total)),
        ("files a second".to_owned(), json!(rate)),
        ("without a record".to_owned(), json!(left)),
    ]))
}

/// Makes files until one shows, so that the follower is known to follow.
fn wait_for_first(work: &Path, follower: &Follower) -> io::Result<()> {
    for number in 0..300 {
        fs::write(work.join(format!("probe-{number}")), b"")?;
        if follower.next_line(Duration::from_millis(100)).is_some() {
            return Ok(());
        }
    }
    Err(io::Error::other("no record shows in `changes --follow` within 30 s"))
}
