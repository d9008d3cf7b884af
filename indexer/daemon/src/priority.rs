//! Whose turn on the processors comes first. Knows not what is done in it.

/// How much worse a turn gets, in the steps of nice(2).
const NICE: i32 = 15;

/// From now on this thread, and those that it starts, get a turn after others that want one. What already runs so is left as it is; where
/// the kernel refuses, it is done at the old priority all the same.
pub(crate) fn give_way() {
    // On Linux a thread has a priority of its own (nice(2), "C library/kernel differences").
    if rustix::process::getpriority_process(None).is_ok_and(|now| now < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}
