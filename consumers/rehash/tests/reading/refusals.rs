//! Files that change under the reading, and what is no file to read.

use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use record::{Kind, Stat, Time};
use rehash::{Content, Depth, How, Refused, head, tail};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;

use crate::support::{REAL, Real, Script, age, file_of, go, noise, read, stat, ways};

const HOUR: i128 = 3_600_000_000_000;
const MIB: u64 = 1 << 20;

/// What is done to a file, in a word and in fact.
type Act<'a> = (&'a str, &'a dyn Fn(&File));

/// Reads `file`, and does something to it before the second piece is read.
fn read_while(file: &File, how: How, act: impl Fn()) -> Result<Content, Refused> {
    let mut asked = 0;
    rehash::read(file, how, &REAL, &mut |_| {
        asked += 1;
        if asked == 2 {
            act();
        }
        ControlFlow::Continue(())
    })
}

#[test]
fn what_is_done_to_a_file_while_it_is_read_refuses_it() {
    let bytes = noise(12 << 20);
    let sampled = How { depth: Depth::Sampled, ..How::default() };
    for how in ways().chain([sampled]) {
        for length in [3 << 20, 12 << 20] {
            let acts: [Act; 5] = [
                ("cut", &|file| file.set_len(MIB + 9).expect("cut")),
                ("emptied", &|file| file.set_len(0).expect("emptied")),
                ("grown", &|file| file.write_all_at(b"more", length as u64).expect("grown")),
                ("written before", &|file| file.write_all_at(b"x", 5).expect("written")),
                ("written behind", &|file| file.write_all_at(b"x", length as u64 - 5).expect("written")),
            ];
            for (what, act) in acts {
                let file = file_of(&bytes[..length]);
                let refused = read_while(&file, how, || act(&file));
                assert!(matches!(refused, Err(Refused::Changed)), "{what}, {how:?}: {refused:?}");
            }
        }
    }
}

#[test]
fn a_file_that_another_takes_the_name_of_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (name, other) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&name, noise(3 << 20)).expect("written");
    std::fs::write(&other, noise(3 << 20)).expect("written");
    let file = File::open(&name).expect("open");
    age(&file);
    let refused = read_while(&file, How::default(), || std::fs::rename(&other, &name).expect("renamed"));
    assert!(matches!(refused, Err(Refused::Changed)), "{refused:?}");
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    let open = |path: &std::path::Path| {
        let flags = OFlags::NONBLOCK.bits() as i32;
        OpenOptions::new().read(true).custom_flags(flags).open(path).expect("open")
    };
    for file in [open(&pipe), open(folder.path()), open("/dev/zero".as_ref())] {
        let all = [
            read(&file, How::default()).err(),
            head(&file, &REAL, &mut go).err(),
            tail(&file, &REAL, &mut go).err(),
        ];
        assert!(all.iter().all(|refused| matches!(refused, Some(Refused::NoFile))), "{all:?}");
    }
}

#[test]
fn what_cannot_be_read_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::create(folder.path().join("a")).expect("open");
    file.write_all_at(b"bytes", 0).expect("written");
    age(&file);
    let refused = read(&file, How::default()).expect_err("it is open for writing alone");
    assert_eq!(refused.to_string(), "cannot read at byte 0");
    let Refused::Failed { at: Some(0), source } = refused else { panic!("{refused:?}") };
    assert_eq!(Errno::from_io_error(&source), Some(Errno::BADF));
}

/// A process's memory is a file whose first bytes give EIO.
#[test]
fn a_broken_disk_is_no_content() {
    let file = File::open("/proc/self/mem").expect("open");
    let seen = Stat { size: 5 * MIB, allocated: 5 * MIB, changed: Time(5), ..stat(&file).expect("a look") };
    assert_eq!(seen.kind, Kind::File);
    for how in ways() {
        let eye = Script::new(&[seen], &[Time::now()]);
        let refused = rehash::read(&file, how, &eye, &mut go);
        let Err(Refused::Failed { at: Some(0), source }) = refused else { panic!("{refused:?}") };
        assert_eq!(Errno::from_io_error(&source), Some(Errno::IO));
    }
}

#[test]
fn files_that_the_kernel_makes_up_are_unsized() {
    let file = File::open("/proc/version").expect("open");
    let refused = rehash::read(&file, How::default(), &Real(HOUR), &mut go);
    assert!(matches!(refused, Err(Refused::Unsized)), "{refused:?}");

    // As files of /sys are: a page by their size, and less to read.
    let file = file_of(b"some bytes");
    let eye = Script::new(&[Stat { size: 8_192, ..stat(&file).expect("a look") }], &[Time::now()]);
    let all = [
        rehash::read(&file, How::default(), &eye, &mut go).err(),
        head(&file, &eye, &mut go).err(),
        tail(&file, &eye, &mut go).err(),
    ];
    assert!(all.iter().all(|refused| matches!(refused, Some(Refused::Unsized))), "{all:?}");
}

#[test]
fn a_reading_that_is_stopped_goes_no_further() {
    let file = file_of(&noise(12 << 20));
    for how in ways() {
        let mut asked = 0;
        let refused = rehash::read(&file, how, &REAL, &mut |_| {
            asked += 1;
            if asked == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(refused, Err(Refused::Stopped)), "{refused:?}");
        assert_eq!(asked, 4);
    }
}
