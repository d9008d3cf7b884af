//! A program, with the message on its standard input. No shell, little environment, a process group of its own, and an end in
//! any case. Knows nothing of what it does.

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::message::Letter;
use crate::rule::Command;

/// Where the program finds others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes that it may say; then its pipes are closed, and writing more ends it (SIGPIPE) if it does not mind that.
const MOST_OUTPUT: usize = 64 << 10;
/// Bytes of what it said on stderr that an error repeats.
const MOST_REPEATED: usize = 300;

/// Runs it to its end.
///
/// # Errors
/// When it does not start, does not end in time, or ends with anything but 0.
pub(super) fn run(
    command: &Command,
    letter: &Letter,
    timeout: Duration,
    stop: BorrowedFd<'_>,
) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let mut child = start(command, letter)?;
    let mut pipes = match Pipes::of(&mut child, letter) {
        Ok(pipes) => pipes,
        Err(error) => {
            end(&mut child);
            return Err(format!("cannot wait for {}: {error}", name(command)));
        }
    };
    let status = loop {
        match pipes.turn(deadline, stop) {
            Ok(Turn::Goes) => {}
            Ok(Turn::Ended) => match child.wait() {
                Ok(status) => break status,
                Err(error) => return Err(format!("cannot wait for {}: {error}", name(command))),
            },
            Ok(Turn::Late) => {
                end(&mut child);
                return Err(format!(
                    "{} did not end within {} and was killed",
                    name(command),
                    crate::fold::length(timeout)
                ));
            }
            Ok(Turn::Stopped) => {
                end(&mut child);
                return Err(format!("{} was killed because the daemon stops", name(command)));
            }
            Err(error) => {
                end(&mut child);
                return Err(format!("cannot wait for {}: {error}", name(command)));
            }
        }
    };
    judge(command, status, &pipes.said)
}

fn name(command: &Command) -> &str {
    command.argv.first().map_or("", String::as_str)
}

fn start(command: &Command, letter: &Letter) -> Result<Child, String> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err("there is no program to run".to_owned());
    };
    let mut child = std::process::Command::new(program);
    child.args(arguments).env_clear().current_dir("/").process_group(0);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child.env("PATH", PATH).env("LANG", "C.UTF-8");
    for name in &command.env {
        if let Some(value) = std::env::var_os(name) {
            child.env(name, value);
        }
    }
    child.env("INDEXER_ALERT_RULE", &letter.rule).env("INDEXER_ALERT_KEY", &letter.key);
    child.spawn().map_err(|error| format!("cannot start {program}: {error}"))
}

/// Kills all of its process group and waits for it. It is not waited for yet, so the number is still its own.
fn end(child: &mut Child) {
    if kill_process_group(Pid::from_child(child), Signal::KILL).is_err() {
        // It has changed its group; it alone is what we know of.
        let _ = child.kill();
    }
    let _ = child.wait();
}

fn judge(command: &Command, status: ExitStatus, said: &[u8]) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said[..said.len().min(MOST_REPEATED)]);
    let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    Err(format!("{} ended with {status}{said}", name(command)))
}

enum Turn {
    Goes,
    Ended,
    Late,
    Stopped,
}

/// What the program is waited for by.
struct Pipes {
    end: OwnedFd,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    rest: Vec<u8>,
    written: usize,
    heard: usize,
    said: Vec<u8>,
}

impl Pipes {
    fn of(child: &mut Child, letter: &Letter) -> std::io::Result<Pipes> {
        let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let input = child.stdin.take().map(OwnedFd::from);
        if let Some(input) = &input {
            fcntl_setfl(input, fcntl_getfl(input)? | OFlags::NONBLOCK)?;
        }
        let mut rest = letter.body.clone();
        rest.push(b'\n');
        let (output, errors) =
            (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
        Ok(Pipes { end, input, output, errors, rest, written: 0, heard: 0, said: Vec::new() })
    }

    /// Waits for something to do, and does it.
    fn turn(&mut self, deadline: Instant, stop: BorrowedFd<'_>) -> std::io::Result<Turn> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Turn::Late);
        }
        let left = Timespec::try_from(left).map_err(|_| std::io::Error::from(ErrorKind::InvalidInput))?;
        let mut fds =
            vec![PollFd::new(&self.end, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        let mut asked = [None; 3];
        let pipes =
            [(&self.input, PollFlags::OUT), (&self.output, PollFlags::IN), (&self.errors, PollFlags::IN)];
        for (slot, (pipe, flags)) in asked.iter_mut().zip(pipes) {
            if let Some(pipe) = pipe {
                *slot = Some(fds.len());
                fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), flags));
            }
        }
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(Turn::Late),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Turn::Goes),
            Err(error) => return Err(error.into()),
        }
        let ready = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        let (input, output, errors) = (ready(asked[0]), ready(asked[1]), ready(asked[2]));
        let (ended, stopped) = (ready(Some(0)), ready(Some(1)));
        if input {
            self.write();
        }
        if output {
            read(&mut self.output, &mut self.heard, None);
        }
        if errors {
            read(&mut self.errors, &mut self.heard, Some(&mut self.said));
        }
        Ok(match (ended, stopped) {
            (true, _) => Turn::Ended,
            (false, true) => Turn::Stopped,
            (false, false) => Turn::Goes,
        })
    }

    fn write(&mut self) {
        let Some(input) = &self.input else { return };
        match rustix::io::write(input, &self.rest[self.written..]) {
            Ok(length) => self.written += length,
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It does not want to read all of it, which is its own affair.
            Err(_) => self.written = self.rest.len(),
        }
        if self.written >= self.rest.len() {
            self.input = None;
        }
    }
}

/// Reads what is there; the first of it is kept. Its end closes the pipe, and so does too much.
fn read(pipe: &mut Option<OwnedFd>, heard: &mut usize, keep: Option<&mut Vec<u8>>) {
    let Some(from) = pipe else { return };
    let mut buffer = [0; 4096];
    match rustix::io::read(&*from, &mut buffer[..]) {
        Ok(0) => *pipe = None,
        Ok(length) => {
            *heard += length;
            if let Some(keep) = keep {
                let room = MOST_REPEATED.saturating_sub(keep.len()).min(length);
                keep.extend_from_slice(&buffer[..room]);
            }
            if *heard > MOST_OUTPUT {
                *pipe = None;
            }
        }
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(_) => *pipe = None,
    }
}
