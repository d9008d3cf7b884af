//! Whether a disk has to move heads to read: one reader at a time is best there. Reads what the kernel tells in `/sys`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{major, minor};

/// Devices remembered; with one more they are asked anew.
const MOST: usize = 1024;

static KNOWN: Mutex<Option<HashMap<u64, bool>>> = Mutex::new(None);

/// Whether the file system on `device` (`makedev(major, minor)`) lies on solid state. Where the kernel does not tell (several
/// disks under one file system, a server), it is taken for it: there is no one head that would have to move.
#[must_use]
pub fn is_solid(device: u64) -> bool {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if known.len() >= MOST {
        known.clear();
    }
    *known.entry(device).or_insert_with(|| !turns(device))
}

fn turns(device: u64) -> bool {
    // A partition has no queue of its own; its disk lies above it.
    let folder = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    ["queue/rotational", "../queue/rotational"].into_iter().any(|below| {
        std::fs::read_to_string(format!("{folder}/{below}")).is_ok_and(|text| text.trim() == "1")
    })
}
