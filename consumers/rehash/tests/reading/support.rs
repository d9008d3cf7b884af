//! Files in a temporary folder, the system's own looks, and looks that are told what to see.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use record::{Digest, Kind, Stat, Time};
use rehash::{Ahead, Content, Eye, GRAIN_NS, How, Refused};
use rustix::fs::{AtFlags, StatxFlags, StatxTimestamp, statx};

/// `statx` and the wall clock, moved by so many nanoseconds.
pub(crate) struct Real(pub(crate) i128);

pub(crate) const REAL: Real = Real(0);

impl Eye for Real {
    fn look(&self, file: &File) -> io::Result<Stat> {
        stat(file)
    }

    fn now(&self) -> Time {
        Time(Time::now().0 + self.0)
    }
    fn has_writer(&self, _: &File) -> Option<bool> {
        None
    }
}

pub(crate) fn stat(file: &File) -> io::Result<Stat> {
    let seen = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let time = |at: StatxTimestamp| Time::from_parts(at.tv_sec, at.tv_nsec);
    Ok(Stat {
        kind: Kind::from_mode(seen.stx_mode).expect("a kind"),
        mode: seen.stx_mode & 0o7777,
        uid: seen.stx_uid,
        gid: seen.stx_gid,
        links: seen.stx_nlink,
        size: seen.stx_size,
        allocated: seen.stx_blocks * 512,
        modified: time(seen.stx_mtime),
        changed: time(seen.stx_ctime),
        accessed: time(seen.stx_atime),
        created: None,
    })
}

/// Gives these looks one after the other, the last again and again, and these times likewise.
pub(crate) struct Script {
    looks: RefCell<VecDeque<Stat>>,
    times: RefCell<VecDeque<Time>>,
    pub(crate) looked: Cell<u32>,
}

impl Script {
    pub(crate) fn new(looks: &[Stat], times: &[Time]) -> Script {
        let (looks, times) = (looks.iter().copied().collect(), times.iter().copied().collect());
        Script { looks: RefCell::new(looks), times: RefCell::new(times), looked: Cell::new(0) }
    }
}

fn step<T: Copy>(of: &RefCell<VecDeque<T>>) -> T {
    let mut of = of.borrow_mut();
    if of.len() > 1 { of.pop_front().expect("one") } else { of[0] }
}

impl Eye for Script {
    fn look(&self, _: &File) -> io::Result<Stat> {
        self.looked.set(self.looked.get() + 1);
        Ok(step(&self.looks))
    }

    fn now(&self) -> Time {
        step(&self.times)
    }
    fn has_writer(&self, _: &File) -> Option<bool> {
        None
    }
}

/// Bytes that differ everywhere.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Waits until the file is not racy.
pub(crate) fn age(file: &File) {
    let changed = stat(file).expect("a look").changed;
    while Time::now().minus_ns(GRAIN_NS) <= changed {
        std::thread::yield_now();
    }
}

/// A file of these bytes, no longer racy.
pub(crate) fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    io::Write::write_all(&mut file, bytes).expect("written");
    age(&file);
    file
}

/// Reads as the system sees it, and goes on at any pace.
pub(crate) fn read(file: &File, how: How) -> Result<Content, Refused> {
    rehash::read(file, how, &REAL, &mut go)
}

/// Any pace.
pub(crate) fn go(_: Ahead) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn plain(how: How, bytes: &[u8]) -> Digest {
    let kind = how.algorithm.kind();
    let bytes = match how.algorithm {
        rehash::Algorithm::Blake3 => *blake3::hash(bytes).as_bytes(),
        rehash::Algorithm::Blake2b256 => {
            let hash = blake2b_simd::Params::new().hash_length(32).hash(bytes);
            hash.as_bytes().try_into().expect("32 bytes")
        }
    };
    Digest { kind, bytes }
}

/// All ways to read whole files.
pub(crate) fn ways() -> impl Iterator<Item = How> {
    rehash::Algorithm::ALL
        .into_iter()
        .flat_map(|algorithm| [false, true].map(|parallel| How { algorithm, parallel, ..How::default() }))
}
