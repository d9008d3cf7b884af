//! How many bytes a program read, by the kernel's count: also what the page cache had.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Runs `command` to its end, with stdout thrown away; bytes that its own reads returned. Mapped pages are not among them.
///
/// # Errors
/// When it does not start, or fails.
pub fn bytes_read(command: &mut Command) -> io::Result<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    // It stays a zombie, whose counts can be read, until it is waited for below.
    waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let counts = fs::read_to_string(format!("/proc/{}/io", child.id()));
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    let counts = counts?;
    let count =
        counts.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|count| count.parse().ok());
    count.ok_or_else(|| io::Error::other(format!("no rchar in {counts:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_said_to_read_what_it_reads() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let read = |file: &tempfile::NamedTempFile| bytes_read(Command::new("cat").arg(file.path())).unwrap();
        let empty = read(&file);
        io::Write::write_all(&mut file, &[1; 1 << 20]).unwrap();
        assert_eq!(read(&file) - empty, 1 << 20);
        assert!(bytes_read(&mut Command::new("false")).is_err());
    }
}
