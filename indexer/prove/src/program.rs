//! The program as its users run it, on a state folder of its own with an empty configuration. Knows its command line alone.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Trouble;

/// How long any one answer may take; only a failure waits it out.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at whether somebody asked for the end.
const TICK: Duration = Duration::from_millis(50);

/// The program, one state folder, one root.
#[derive(Debug)]
pub(crate) struct Indexer<'a> {
    exe: PathBuf,
    home: PathBuf,
    root: PathBuf,
    backend: Option<String>,
    stop: &'a AtomicBool,
    child: Option<Child>,
    lines: Option<Receiver<(Instant, String)>>,
}

impl<'a> Indexer<'a> {
    /// Nothing is started yet; `home` is made, and holds state, configuration and log.
    ///
    /// # Errors
    /// When `home` cannot be written to.
    pub(crate) fn new(
        exe: &Path,
        home: PathBuf,
        root: &Path,
        backend: Option<&str>,
        stop: &'a AtomicBool,
    ) -> Result<Indexer<'a>, Trouble> {
        let doing = format!("write to {}", home.display());
        fs::create_dir_all(&home).map_err(Trouble::cannot(&doing))?;
        fs::write(home.join("empty.toml"), b"").map_err(Trouble::cannot(&doing))?;
        Ok(Indexer {
            exe: exe.to_owned(),
            home,
            root: root.to_owned(),
            backend: backend.map(str::to_owned),
            stop,
            child: None,
            lines: None,
        })
    }

    fn command(&self, arguments: &[&dyn AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.exe);
        // Nothing of whoever runs this may leak in: settings, levels of the log, or their own state folder.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"INDEXER_"))
        {
            command.env_remove(name);
        }
        command.arg("--state").arg(self.home.join("state")).arg("--config").arg(self.home.join("empty.toml"));
        for argument in arguments {
            command.arg(argument);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// What the daemons said, one after the other.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Starts the daemon and returns at once.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn spawn(&mut self) -> Result<(), Trouble> {
        let root = self.root.clone();
        // Digests come after what is judged here, at times of their own: between the journal and the rows that are to agree.
        let mut command = self.command(&[&"watch", &root, &"--hash", &"none"]);
        if let Some(backend) = &self.backend {
            command.args(["--backend", backend]);
        }
        let log = File::options().create(true).append(true).open(self.log());
        command.stderr(log.map_err(Trouble::cannot("write the daemon's log"))?);
        // Ctrl-C is for us; the daemon is told or killed as a check wants it.
        command.process_group(0);
        let mut child = command.spawn().map_err(Trouble::cannot(format!("start {}", self.exe.display())))?;
        self.lines = child.stdout.take().map(lines);
        self.child = Some(child);
        Ok(())
    }

    /// Whether it printed `live` within `patience`.
    ///
    /// # Errors
    /// [`Trouble::Fault`] when it ended instead.
    pub(crate) fn is_live_within(&mut self, patience: Duration) -> Result<bool, Trouble> {
        let deadline = Instant::now() + patience;
        let Some(lines) = &self.lines else { return Ok(false) };
        loop {
            self.go_on()?;
            let wait = TICK.min(deadline.saturating_duration_since(Instant::now()));
            match lines.recv_timeout(wait) {
                Ok((_, line)) if line.starts_with("live") => return Ok(true),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.as_mut().and_then(|child| child.wait().ok());
                    let status = status.map_or_else(String::new, |status| format!(" with {status}"));
                    return Err(Trouble::Fault(format!(
                        "the daemon ended{status} before it was live: {}",
                        self.last_words()
                    )));
                }
            }
        }
    }

    /// Starts it and waits until it is live.
    ///
    /// # Errors
    /// As [`Indexer::is_live_within`], or when it takes five minutes.
    pub(crate) fn start(&mut self) -> Result<(), Trouble> {
        self.spawn()?;
        self.wait_live()
    }

    /// Waits until it is live.
    ///
    /// # Errors
    /// As [`Indexer::start`].
    pub(crate) fn wait_live(&mut self) -> Result<(), Trouble> {
        if self.is_live_within(PATIENCE)? {
            return Ok(());
        }
        Err(Trouble::Fault(format!("the daemon is not live after {PATIENCE:?}")))
    }

    fn last_words(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("; ")
    }

    /// # Errors
    /// [`Trouble::Interrupted`] when somebody asked for the end.
    fn go_on(&self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    /// Runs another command on the same state folder to its end.
    ///
    /// # Errors
    /// When it does not start, or the end was asked for meanwhile.
    pub(crate) fn run(&self, arguments: &[&dyn AsRef<OsStr>]) -> Result<Output, Trouble> {
        let mut command = self.command(arguments);
        let said = command.stderr(Stdio::piped()).output().map_err(Trouble::cannot("start a command"))?;
        self.go_on()?;
        // Ctrl-C on a terminal reaches it before it reaches us.
        if said.status.signal() == Some(Signal::INT.as_raw()) {
            return Err(Trouble::Interrupted);
        }
        Ok(said)
    }

    /// The answer of a command with `--json`, whose exit code is 0 or, for finding nothing or differences, 1.
    ///
    /// # Errors
    /// [`Trouble::Fault`] for any other end, or an answer that is none.
    pub(crate) fn ask(&self, arguments: &[&dyn AsRef<OsStr>]) -> Result<Vec<Value>, Trouble> {
        let mut all = arguments.to_vec();
        all.push(&"--json");
        let said = self.run(&all)?;
        let name =
            arguments.first().map(|word| (*word).as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        if !matches!(said.status.code(), Some(0 | 1)) {
            let stderr = String::from_utf8_lossy(&said.stderr);
            return Err(Trouble::Fault(format!("`indexer {name}`: {}: {}", said.status, stderr.trim())));
        }
        let lines = said.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let parsed: Result<Vec<Value>, _> = lines.map(serde_json::from_slice).collect();
        parsed.map_err(|error| Trouble::Fault(format!("`indexer {name} --json` is no JSON: {error}")))
    }

    /// `status --json`.
    ///
    /// # Errors
    /// As [`Indexer::ask`].
    pub(crate) fn status(&self) -> Result<Value, Trouble> {
        Ok(self.ask(&[&"status"])?.pop().unwrap_or_default())
    }

    /// The number of the last record.
    ///
    /// # Errors
    /// As [`Indexer::ask`].
    pub(crate) fn seq(&self) -> Result<u64, Trouble> {
        let status = self.status()?;
        status["seq"].as_u64().ok_or_else(|| Trouble::Fault(format!("no seq in the status {status}")))
    }

    /// Waits until all that was done is known.
    ///
    /// # Errors
    /// [`Trouble::Fault`] when a root cannot be vouched for, or it takes five minutes.
    pub(crate) fn settle(&self) -> Result<(), Trouble> {
        let said = self.run(&[&"settle", &"--timeout", &"300s"])?;
        if said.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&said.stderr);
        Err(Trouble::Fault(format!("`indexer settle`: {}: {}", said.status, stderr.trim())))
    }

    /// The records after `since`.
    ///
    /// # Errors
    /// As [`Indexer::ask`].
    pub(crate) fn changes(&self, since: u64) -> Result<Vec<Value>, Trouble> {
        self.ask(&[&"changes", &"--since", &since.to_string()])
    }

    /// The records after `since` as they come, until it is dropped.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn follow(&self, since: u64) -> Result<Follower, Trouble> {
        let mut command = self.command(&[&"changes", &"--follow", &"--json", &"--since", &since.to_string()]);
        command.stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(Trouble::cannot("start a command"))?;
        let lines = child.stdout.take().map(lines);
        Ok(Follower { child, lines })
    }

    /// Kills the daemon as a power failure would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that is gone already is as dead as was asked for.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.lines = None;
    }

    /// Does `work` while no thread of the daemon runs: what the kernel tells of it is read afterwards.
    ///
    /// # Errors
    /// Of `work`; or when the daemon cannot be stopped.
    pub(crate) fn while_stopped<T>(&self, work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let Some(child) = &self.child else {
            return Err(Trouble::Fault("there is no daemon to stop".into()));
        };
        let pid = Pid::from_child(child);
        let signal = |signal| {
            kill_process(pid, signal).map_err(|errno| Trouble::Fault(format!("the daemon is gone: {errno}")))
        };
        signal(Signal::STOP)?;
        let tasks = PathBuf::from(format!("/proc/{}/task", child.id()));
        let deadline = Instant::now() + PATIENCE;
        while !all_stopped(&tasks) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let done = work();
        signal(Signal::CONT)?;
        done
    }
}

impl Drop for Indexer<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether every thread under `/proc/PID/task` is stopped: state `T`, after the name in brackets (proc_pid_stat(5)).
fn all_stopped(tasks: &Path) -> bool {
    let Ok(threads) = fs::read_dir(tasks) else { return true };
    threads.filter_map(Result::ok).all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

/// A command that goes on printing lines, killed on drop.
#[derive(Debug)]
pub(crate) struct Follower {
    child: Child,
    lines: Option<Receiver<(Instant, String)>>,
}

impl Follower {
    /// The next line and when it came; `None` when there is none within `patience`, or never will be.
    pub(crate) fn next_line(&self, patience: Duration) -> Option<(Instant, String)> {
        self.lines.as_ref()?.recv_timeout(patience).ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself, with the daemon.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `from` to its end on a thread of its own, so that the program never waits for us. Unbounded: what is not taken yet
/// waits here, which is less than the work of one check makes.
fn lines(from: ChildStdout) -> Receiver<(Instant, String)> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || each_line(from, |line| sender.send((Instant::now(), line)).is_ok()));
    lines
}

fn each_line(from: impl Read, mut each: impl FnMut(String) -> bool) {
    for line in BufReader::new(from).split(b'\n') {
        // The pipe breaks with the program; that is its end too.
        let Ok(line) = line else { return };
        if !each(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script in place of the program, and whoever runs it with settings of their own.
    fn stand_in(script: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("indexer");
        // By another process: what this one has open for writing cannot be run, and programs that other tests are
        // starting have it open too.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", script]).arg(&path).status().unwrap();
        assert!(written.success());
        (folder, path)
    }

    #[test]
    fn an_early_end_and_a_bad_answer_are_faults_with_words() {
        let (folder, exe) = stand_in("echo 'no room' >&2; [ $5 = watch ] && exit 3; echo '{'");
        let stop = AtomicBool::new(false);
        let mut indexer =
            Indexer::new(&exe, folder.path().join("home"), Path::new("/nowhere"), None, &stop).unwrap();
        let said = indexer.start().unwrap_err();
        assert!(
            matches!(&said, Trouble::Fault(why) if why.contains("no room") && why.contains("3")),
            "{said}"
        );
        let said = indexer.status().unwrap_err();
        assert!(matches!(&said, Trouble::Fault(why) if why.contains("no JSON")), "{said}");
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(indexer.status(), Err(Trouble::Interrupted)));
    }

    #[test]
    fn a_daemon_is_started_stopped_and_killed() {
        let (folder, exe) =
            stand_in("[ $5 = watch ] || { echo \"[\\\"$*\\\"]\"; exit; }; echo live; exec sleep 600");
        let stop = AtomicBool::new(false);
        let home = folder.path().join("home");
        let mut indexer = Indexer::new(&exe, home.clone(), Path::new("/r"), Some("sweep"), &stop).unwrap();
        indexer.start().unwrap();
        let pid = indexer.child.as_ref().unwrap().id();
        let stopped = || all_stopped(&PathBuf::from(format!("/proc/{pid}/task")));
        assert!(indexer.while_stopped(|| Ok(stopped())).unwrap());
        let said = indexer.changes(7).unwrap().swap_remove(0);
        let wanted =
            format!("--state {0}/state --config {0}/empty.toml changes --since 7 --json", home.display());
        assert_eq!(said[0], *wanted);
        indexer.kill();
        assert!(matches!(indexer.while_stopped(|| Ok(())), Err(Trouble::Fault(_))));
    }
}
