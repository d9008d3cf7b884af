//! The page cache, before and after a reading.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::ControlFlow;

use rehash::{Ahead, Depth, How, head, tail};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::support::{REAL, file_of, go, noise, read};

const SIZE: u64 = 12 << 20;

fn cold_file() -> File {
    let file = file_of(&noise(SIZE as usize));
    file.sync_all().expect("written out");
    fadvise(&file, 0, None, Advice::DontNeed).expect("advice");
    file
}

/// Asking brings in what is absent, so a place is asked about once.
fn cached(file: &File) -> Vec<bool> {
    let at = [0, SIZE / 3, SIZE / 2, SIZE - 4_096];
    let read = at.map(|at| preadv2(file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT));
    read.iter().map(|read| *read != Err(Errno::AGAIN)).collect()
}

/// Whether a cold file is still cold after `act`, in one of some trials: a disk that is faster than the question whether a page
/// is there makes it look cached.
fn stays_cold(act: impl Fn(&File)) -> bool {
    (0..10).any(|_| {
        let file = cold_file();
        act(&file);
        cached(&file) == [false; 4]
    })
}

#[test]
fn what_was_not_cached_is_not_afterwards() {
    if !stays_cold(|_| ()) {
        eprintln!("SKIPPED: temporary files are always cached here");
        return;
    }
    for depth in [Depth::Full, Depth::Sampled] {
        assert!(
            stays_cold(|file| _ = read(file, How { depth, ..How::default() }).expect("it is read")),
            "{depth:?}"
        );
    }
    assert!(stays_cold(|file| _ = head(file, &REAL, &mut go).expect("a head")));
    assert!(stays_cold(|file| _ = tail(file, &REAL, &mut go).expect("a tail")));
}

#[test]
fn a_reading_tells_whether_the_disk_has_to_read() {
    let asked = |file: &File| {
        let mut asked = Vec::new();
        let mut note = |ahead: Ahead| {
            asked.push(ahead.from_disk);
            ControlFlow::Continue(())
        };
        head(file, &REAL, &mut note).expect("a head");
        tail(file, &REAL, &mut note).expect("a tail");
        rehash::read(file, How::default(), &REAL, &mut note).expect("it is read");
        asked
    };
    let file = file_of(&noise(SIZE as usize));
    assert_eq!(asked(&file), [false; 14]);
    if !stays_cold(|_| ()) {
        eprintln!("SKIPPED: temporary files are always cached here");
        return;
    }
    assert!((0..10).any(|_| asked(&cold_file()) == [true; 14]));
}

#[test]
fn what_was_cached_still_is() {
    let file = file_of(&noise(SIZE as usize));
    file.sync_all().expect("written out");
    for depth in [Depth::Full, Depth::Sampled] {
        read(&file, How { depth, ..How::default() }).expect("it is read");
    }
    head(&file, &REAL, &mut go).expect("a head");
    tail(&file, &REAL, &mut go).expect("a tail");
    assert_eq!(cached(&file), [true; 4]);
}
