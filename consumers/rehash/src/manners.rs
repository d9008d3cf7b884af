//! How a thread that reads contents stands back. Knows niceness alone.
//!
//! The idle class of I/O is for the caller to set: `ioprio_set` takes a system call of our own, and this crate has none. Short
//! of that a nice thread has the least weight among ordinary ones, as the kernel derives the one from the other.

use rustix::process::setpriority_process;
use tracing::debug;

/// The least claim on the processor that there is.
const NICEST: i32 = 19;

/// Makes the calling thread the nicest there is; threads that it starts are so too. What cannot be done is left so: it is only
/// manners.
pub fn be_nice() {
    // On Linux no process means this thread, not all threads of the process.
    if let Err(error) = setpriority_process(None, NICEST) {
        debug!(%error, "niceness is left as it was");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn it_is_this_thread_that_is_nice() {
        let before = getpriority_process(None).expect("a priority");
        let inside = std::thread::spawn(|| {
            be_nice();
            getpriority_process(None).expect("a priority")
        });
        assert_eq!(inside.join().expect("it ends"), NICEST);
        assert_eq!(getpriority_process(None).expect("a priority"), before);
    }
}
