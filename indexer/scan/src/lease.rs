//! What reading contents takes beside reading: whether somebody has a file open for writing, which a lease on it says, and to
//! read behind all others. Nothing else here is unsafe, and nothing else is here.
#![expect(
    unsafe_code,
    reason = "the C library has no safe form of leases, signal handlers and I/O priorities"
)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Once;

use rustix::io::Errno;

/// Whether `file`, open for reading, is open for writing elsewhere; `None` where that cannot be known: the file is another
/// user's and `CAP_LEASE` is not ours, or the file system has no leases. [`outlive_leases`] must have been called.
pub(crate) fn has_writer(file: BorrowedFd<'_>) -> Option<bool> {
    let held = hold_writers(file)?;
    if held {
        // Closing the descriptor gives it back too.
        let _ = lease(file, libc::F_SETLEASE, libc::F_UNLCK);
    }
    Some(!held)
}

/// Makes who opens `file` for writing wait, until it is closed here (at most for `/proc/sys/fs/lease-break-time`). `Some(false)`:
/// it is open for writing already; `None`: that cannot be known (another user's file, without `CAP_LEASE`; no leases there).
///
/// A lease on a file that is open for writing is refused (fcntl(2), `F_SETLEASE`).
pub fn hold_writers(file: BorrowedFd<'_>) -> Option<bool> {
    match lease(file, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(_) => Some(true),
        Err(Some(Errno::AGAIN)) => Some(false),
        Err(_) => None,
    }
}

/// Whether nobody has wanted to open `file` for writing since [`hold_writers`] said `Some(true)`.
pub fn are_writers_held(file: BorrowedFd<'_>) -> bool {
    // While somebody waits the answer is what the lease is to become.
    lease(file, libc::F_GETLEASE, 0) == Ok(libc::F_RDLCK)
}

fn lease(file: BorrowedFd<'_>, what: libc::c_int, kind: libc::c_int) -> Result<libc::c_int, Option<Errno>> {
    // SAFETY: the descriptor is open for the length of the call, which takes numbers alone.
    match unsafe { libc::fcntl(file.as_raw_fd(), what, kind) } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error())),
        said => Ok(said),
    }
}

/// Lets this process live on when a lease is broken in the moment that it is held: the kernel tells of that by `SIGIO`, which
/// would end it.
pub fn outlive_leases() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler does nothing, so whatever it interrupts is left as it is; a handler, unlike ignoring the signal,
        // is not inherited by programs that are started from here. `sigaction` only reads the structure, which is zeroed but
        // for the handler and a flag.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGIO, &action, std::ptr::null_mut());
        }
    });
}

/// Has the calling thread read from disks only when nobody else wants to (the idle class of ioprio_set(2)), where the scheduler
/// of the disk knows of that. Refusal changes nothing: it is only manners.
pub fn read_when_idle() {
    /// `IOPRIO_WHO_PROCESS` of `linux/ioprio.h`; with 0, this thread.
    const WHO: libc::c_int = 1;
    /// `IOPRIO_CLASS_IDLE`, in the bits above `IOPRIO_CLASS_SHIFT`.
    const IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes numbers alone, and answers one.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO, 0, IDLE) };
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_writer_is_seen_while_it_has_the_file_open() {
        outlive_leases();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        let reader = File::open(&path).unwrap();
        if has_writer(reader.as_fd()).is_none() {
            println!("SKIPPED: no leases on the file system of {}", folder.path().display());
            return;
        }
        assert_eq!(has_writer(reader.as_fd()), Some(false));
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(has_writer(reader.as_fd()), Some(true));
        drop(writer);
        assert_eq!(has_writer(reader.as_fd()), Some(false));
        // Nobody waits for us: the lease is gone.
        std::fs::write(&path, b"other").unwrap();
    }
    #[test]
    fn who_wants_to_write_waits_and_is_noticed() {
        outlive_leases();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        let reader = File::open(&path).unwrap();
        if hold_writers(reader.as_fd()).is_none() {
            println!("SKIPPED: no leases on the file system of {}", folder.path().display());
            return;
        }
        assert!(are_writers_held(reader.as_fd()));
        let writer = std::thread::spawn(move || std::fs::write(&path, b"other").unwrap());
        while are_writers_held(reader.as_fd()) {
            std::thread::yield_now();
        }
        assert!(!writer.is_finished());
        drop(reader);
        writer.join().unwrap();
    }
}
