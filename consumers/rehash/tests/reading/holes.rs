//! Sparse files: equal to files with zeros in their place, and cheaper to read.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;
use rehash::{Ahead, Depth, How, Refused, WINDOW};

use crate::support::{REAL, age, noise, plain, read, stat, ways};

const MIB: u64 = 1 << 20;

/// A file of holes and data in turn; with all its bytes.
fn laid_out(layout: &[(u64, usize)]) -> (File, Vec<u8>) {
    let (file, noise, mut at) = (tempfile::tempfile().expect("a file"), noise(1 << 20), 0);
    let mut bytes = Vec::new();
    for (hole, data) in layout {
        bytes.resize(bytes.len() + *hole as usize, 0);
        bytes.extend_from_slice(&noise[..*data]);
        file.write_all_at(&noise[..*data], at + hole).expect("written");
        at += hole + *data as u64;
    }
    file.set_len(at).expect("its length");
    age(&file);
    (file, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_layout_hashes_as_its_bytes(
        layout in vec((prop_oneof![Just(0), 0..10_000_u64, 0..5 * MIB], prop_oneof![Just(0), 0..9_000_usize, 0..300_000_usize]), 0..6),
    ) {
        let (file, bytes) = laid_out(&layout);
        for how in ways() {
            let content = read(&file, how).expect("it is read");
            prop_assert_eq!(content.digest, plain(how, &bytes), "{:?}", how);
            prop_assert!(content.read <= bytes.len() as u64);
            let last = &bytes[bytes.len().saturating_sub(4_096)..];
            prop_assert!(content.tail.is_none_or(|tail| tail == rehash::Token::of(last)));
        }
    }
}

/// Whether the file system under the files says where holes are.
fn tells_of_holes() -> bool {
    let (file, _) = laid_out(&[(8 * MIB, 1)]);
    let tells = stat(&file).expect("a look").allocated < MIB
        && rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).is_ok_and(|data| data > MIB);
    if !tells {
        eprintln!("SKIPPED: temporary files have no holes here");
    }
    tells
}

#[test]
fn holes_are_not_read() {
    if tells_of_holes() {
        let (file, bytes) = laid_out(&[(100 * MIB, MIB as usize), (100 * MIB, 0)]);
        let content = read(&file, How::default()).expect("it is read");
        assert_eq!(content.digest, plain(How::default(), &bytes));
        assert!((MIB..=2 * MIB).contains(&content.read), "{}", content.read);
    }
}

#[test]
fn a_terabyte_of_nothing_can_be_stopped_and_sampled() {
    if !tells_of_holes() {
        return;
    }
    let file = tempfile::tempfile().expect("a file");
    if let Err(error) = file.set_len(1 << 40) {
        eprintln!("SKIPPED: no file of a terabyte: {error}");
        return;
    }
    age(&file);
    for how in ways() {
        let mut asked = 0;
        let stopped = rehash::read(&file, how, &REAL, &mut |ahead| {
            assert_eq!(ahead, Ahead { bytes: 0, from_disk: false });
            asked += 1;
            if asked > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(Refused::Stopped)), "{stopped:?}");
    }
    let sampled = How { depth: Depth::Sampled, ..How::default() };
    assert_eq!(read(&file, sampled).expect("it is read").read, 3 * WINDOW);
}
