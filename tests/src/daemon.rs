//! The program as its users run it: commands to their end, and a daemon in the foreground until it is told or killed.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use brokers::wait_for;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test gives up on it; generous, since it is only waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(180);

/// The path of the `indexer` binary, built on the first call with the profile and target folder of the test itself.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn indexer_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build(&["--package", "indexer"]).join("indexer"))
}

/// An example of a package of the workspace, built as the test was.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn example(package: &str, name: &str) -> PathBuf {
    build(&["--package", package, "--example", name]).join("examples").join(name)
}

/// Builds something of the workspace; the folder that it lies in.
fn build(what: &[&str]) -> PathBuf {
    // A test runs as TARGET/PROFILE/deps/NAME-HASH, a program of this crate's dependents as TARGET/PROFILE/NAME.
    let this = std::env::current_exe().expect("a process has a program");
    let folder = this.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        // Both `dev` and `test` are built into `debug`; `test` is the one that is optimised a little.
        Some("debug") | None => "test",
        Some(other) => other,
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says to a test of its package: build scripts that look at these would be run anew, and all that rests on them built.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    let built = cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked"])
        .args(what)
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("a profile's folder lies in the target folder"))
        .status()
        .expect("cargo starts");
    assert!(built.success(), "{what:?} does not build");
    folder.to_owned()
}

/// Runs `indexer --state STATE ARGUMENTS…` to its end.
///
/// # Panics
/// When it does not start; what it says and returns is the caller's to judge.
#[must_use]
pub fn indexer(state: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    command(indexer_binary(), state, arguments).output().expect("the binary starts")
}

fn command(binary: &Path, state: &Path, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(binary);
    // The configuration of whoever runs the tests must not leak in.
    // Nor is any content read or directory audited but where a test asks for it: what is told of that would stand between
    // the records of others, or in their place where an audit comes before the event.
    command
        .env_remove("INDEXER_CONFIG")
        .env("XDG_CONFIG_HOME", state)
        .env("INDEXER_HASH", "none")
        .env("INDEXER_AUDIT", "0s")
        .stdin(Stdio::null());
    command.arg("--state").arg(state);
    for argument in arguments {
        command.arg(argument);
    }
    command
}

/// Whether every thread under `/proc/PID/task` is stopped: state `T`, after the name in brackets (proc_pid_stat(5)).
fn all_stopped(tasks: &Path) -> bool {
    let mut threads = std::fs::read_dir(tasks).expect("the daemon runs");
    threads.all(|thread| {
        let stat = thread.ok().and_then(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        stat.is_some_and(|stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    })
}

/// Makes `command` run as nobody, if the test is root; as its own user otherwise.
pub fn unprivileged(command: &mut Command) {
    if crate::is_root() {
        // A change of user drops the supplementary groups and, at the exec, every capability.
        command.uid(crate::NOBODY).gid(crate::NOBODY);
    }
}

/// A running `indexer watch`, killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    binary: PathBuf,
    state: PathBuf,
    /// Lines of stdout; unbounded, as the daemon says little there.
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts `indexer --state STATE watch ROOT… FLAG…` and waits until it prints `live`.
    ///
    /// # Panics
    /// When it ends before that or takes longer than three minutes, with its log.
    #[must_use]
    pub fn start(state: &Path, roots: &[&Path], flags: &[&str]) -> Daemon {
        let mut daemon = Daemon::spawn(indexer_binary(), state, roots, flags);
        daemon.wait_live();
        daemon
    }

    /// Starts `binary` likewise and returns at once, so that work can go on during the seed.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn spawn(binary: &Path, state: &Path, roots: &[&Path], flags: &[&str]) -> Daemon {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"watch"];
        for root in roots {
            arguments.push(root);
        }
        for flag in flags {
            arguments.push(flag);
        }
        Daemon::spawn_command(command(binary, state, &arguments), binary, state)
    }

    /// The same with more in its environment, as a service manager starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn spawn_in(environment: &[(&str, &OsStr)], state: &Path, roots: &[&Path], flags: &[&str]) -> Daemon {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"watch"];
        for root in roots {
            arguments.push(root);
        }
        for flag in flags {
            arguments.push(flag);
        }
        let mut command = command(indexer_binary(), state, &arguments);
        command.envs(environment.iter().copied());
        Daemon::spawn_command(command, indexer_binary(), state)
    }

    /// Starts it on `root` to publish to `exchange` of the broker at `url`, by a configuration beside `state`, and waits until it does.
    ///
    /// # Panics
    /// When it is not live, or its broker not reached, within three minutes.
    #[must_use]
    pub fn publishing(state: &Path, root: &Path, exchange: &str, url: &str, flags: &[&str]) -> Daemon {
        Daemon::publishing_of(indexer_binary(), state, root, exchange, url, flags)
    }

    /// The same of another build.
    ///
    /// # Panics
    /// Likewise.
    #[must_use]
    pub fn publishing_of(
        binary: &Path,
        state: &Path,
        root: &Path,
        exchange: &str,
        url: &str,
        flags: &[&str],
    ) -> Daemon {
        let config = state.with_extension("toml");
        fs::write(&config, format!("[amqp]\nexchange = {exchange:?}\n"))
            .expect("a state folder's place takes files");
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"watch", &root, &"--config", &config];
        for flag in flags {
            arguments.push(flag);
        }
        let mut command = command(binary, state, &arguments);
        command.env("INDEXER_AMQP_URL", url);
        let mut daemon = Daemon::spawn_command(command, binary, state);
        daemon.wait_live();
        wait_for("the broker", || (daemon.status()["amqp"]["state"] == "publishing").then_some(()));
        daemon
    }

    /// The same as the user without rights that a [`crate::Ground`] was lent to: `binary` is what [`crate::Ground::lend`]
    /// gave. Where the test itself is not root, as whoever runs it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn spawn_unprivileged(binary: &Path, state: &Path, roots: &[&Path], flags: &[&str]) -> Daemon {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"watch"];
        for root in roots {
            arguments.push(root);
        }
        for flag in flags {
            arguments.push(flag);
        }
        let mut command = command(binary, state, &arguments);
        unprivileged(&mut command);
        Daemon::spawn_command(command, binary, state)
    }

    fn spawn_command(mut command: Command, binary: &Path, state: &Path) -> Daemon {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            read_lines(stdout, move |line| drop(sender.send(line.to_owned()))),
            read_lines(stderr, {
                let log = Arc::clone(&log);
                move |line| {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(line);
                    log.push('\n');
                }
            }),
        ];
        Daemon { child, binary: binary.to_owned(), state: state.to_owned(), lines, log, readers }
    }

    /// Waits for the line that begins with `live`, at most `patience`; whether it came.
    ///
    /// # Panics
    /// When the daemon ends instead, with its log.
    pub fn is_live_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("live") => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.finish();
                    panic!("ended before it was live: {status}:\n{}", self.log());
                }
            }
        }
    }

    /// Waits for the line that begins with `live`.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn wait_live(&mut self) {
        assert!(self.is_live_within(PATIENCE), "not live after {PATIENCE:?}:\n{}", self.log());
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What it has said on stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs another command on the same state folder: `daemon.run(&[&"du", &path, &"--json"])`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn run(&self, arguments: &[&dyn AsRef<OsStr>]) -> Output {
        command(&self.binary, &self.state, arguments).output().expect("the binary starts")
    }

    /// A command that goes on, such as `changes --follow --json`, until it is dropped.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn follow(&self, arguments: &[&dyn AsRef<OsStr>]) -> Follower {
        Follower::of(command(&self.binary, &self.state, arguments))
    }

    /// Returns when every change made before the call is in the index.
    ///
    /// # Panics
    /// When `indexer settle` says anything but 0, with the log.
    pub fn settle(&self) {
        let said = self.run(&[&"settle", &"--timeout", &"120s"]);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(
            said.status.success(),
            "settle: {}: {stderr}\nthe daemon's log:\n{}",
            said.status,
            self.log()
        );
    }

    /// Kills it as a power failure would, and waits until it is gone.
    pub fn kill9(&mut self) {
        // A daemon that is gone already is as dead as was asked for.
        let _ = self.child.kill();
        self.finish();
    }

    /// Asks it to leave (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it is gone already, or has not left after three minutes, with its log.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_gone()
    }

    /// Waits until it has left by itself.
    ///
    /// # Panics
    /// When it has not after three minutes, with its log.
    pub fn wait_gone(&mut self) -> ExitStatus {
        // Its stdout closes when it ends.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
                Err(RecvTimeoutError::Timeout) => panic!("no end after {PATIENCE:?}:\n{}", self.log()),
            }
        }
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon runs");
    }

    /// Does `work` while no thread of the daemon runs: what the kernel tells of it is read at once afterwards.
    ///
    /// # Panics
    /// When the daemon is gone.
    pub fn while_stopped<T>(&self, work: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        crate::wait_for("every thread to stop", || all_stopped(&tasks).then_some(()));
        let result = work();
        self.signal(Signal::CONT);
        result
    }

    fn finish(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child of ours can be waited for");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader only reads");
        }
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `terminate` and `kill9` both are done already, and say so without harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// A command that goes on printing lines, killed on drop.
#[derive(Debug)]
pub struct Follower {
    child: Child,
    /// Unbounded: what is not taken yet waits here, and never holds the daemon up.
    lines: Receiver<(Instant, String)>,
}

impl Follower {
    /// Starts a program that prints lines as things happen.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn of(mut command: Command) -> Follower {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        // The time is taken before anything else is done with the line.
        read_lines(stdout, move |line| drop(sender.send((Instant::now(), line.to_owned()))));
        Follower { child, lines }
    }

    /// Kills it; what it said is there still, and then there is no more.
    pub fn kill9(&mut self) {
        // It may have ended by itself, with the daemon.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The next line and when it came; `None` when there is none within `patience`, or never will be.
    #[must_use]
    pub fn next_line(&self, patience: Duration) -> Option<(Instant, String)> {
        self.lines.recv_timeout(patience).ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Reads `from` to its end on a thread of its own, so that the daemon never waits for a reader.
fn read_lines(
    from: impl Read + Send + 'static,
    mut each: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), Vec::new());
        // The pipe breaks with the daemon; that is its end too. A line that a kill cut off is none.
        while from.read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
            each(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    /// A script that says `live` and stays.
    fn stand_in(flags: &[&str]) -> Daemon {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stand-in.sh");
        Daemon::spawn(&script, Path::new("/nowhere"), &[], flags)
    }

    #[test]
    fn a_daemon_is_waited_for_told_to_leave_and_killed() {
        let mut daemon = stand_in(&["--stay"]);
        daemon.wait_live();
        let said = daemon.run(&[&"status", &"--json"]);
        assert_eq!(said.stdout, b"--state /nowhere status --json\n");
        assert_eq!(daemon.terminate().signal(), Some(15));
        assert_eq!(daemon.log(), "a word on stderr\n");

        let mut daemon = stand_in(&["--stay"]);
        daemon.wait_live();
        daemon.kill9();
    }

    #[test]
    #[should_panic(expected = "ended before it was live: exit status: 3:\na word on stderr")]
    fn an_early_end_is_told_with_its_log() {
        stand_in(&["--fail"]).wait_live();
    }

    #[test]
    fn a_follower_gives_lines_as_they_come() {
        let mut daemon = stand_in(&["--stay"]);
        let follower = daemon.follow(&[&"changes"]);
        assert_eq!(
            follower.next_line(PATIENCE).map(|(_, line)| line).as_deref(),
            Some("--state /nowhere changes")
        );
        assert_eq!(follower.next_line(PATIENCE), None);
        daemon.kill9();
    }
}
