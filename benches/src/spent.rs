//! Runs a command and says what it spent.
#![expect(unsafe_code, reason = "wait4, which alone tells one child's peak memory")]

use std::io;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run of a command spent, its descendants included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// From start to end, in seconds.
    pub wall_s: f64,
    /// User and system time over all threads, in seconds.
    pub cpu_s: f64,
    /// The largest resident set of any process among them, in MiB.
    pub peak_mib: f64,
}

/// Runs `command` in a shell to its end, with stdout thrown away.
///
/// # Errors
/// When it does not start, or fails: differences (exit 1) count as success, since `find` and `verify` answer so.
pub fn run(command: &str) -> io::Result<Spent> {
    let start = Instant::now();
    let child =
        Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to values of ours; the child is waited for here and nowhere else.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    let wall_s = start.elapsed().as_secs_f64();
    if waited != pid {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroes are a valid rusage, and wait4 has filled it.
    let usage = unsafe { usage.assume_init() };
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) > 1 {
        return Err(io::Error::other(format!("`{command}` failed with wait status {status:#x}")));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Spent {
        wall_s,
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_no_measurement() {
        assert!(run("true").unwrap().peak_mib > 0.0);
        assert!(run("exit 1").is_ok());
        assert!(run("exit 3").is_err());
        assert!(run("kill -9 $$").is_err());
    }
}
