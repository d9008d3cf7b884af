//! The looks before and after, as scripts: racy files, clocks that are wrong.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use record::{Stat, Time};
use rehash::{Content, Eye, GRAIN_NS, How, Refused, Stamp, head};
use rustix::fs::{Timespec, Timestamps, futimens};

use crate::support::{REAL, Real, Script, age, file_of, go, plain, stat};

const SECOND: i128 = 1_000_000_000;
const NOW: Time = Time(1_700_000_000 * SECOND + 1);

fn read(file: &File, eye: &dyn Eye) -> Result<Content, Refused> {
    rehash::read(file, How::default(), eye, &mut go)
}

/// A file, and its stat with the change time so far from now.
fn changed(from_now: i128) -> (File, Stat) {
    let file = file_of(b"some bytes");
    let stat = Stat { changed: Time(NOW.0 + from_now), ..stat(&file).expect("a look") };
    (file, stat)
}

#[test]
fn a_young_file_waits_for_the_grain_of_its_clock() {
    for (age, waits) in [(0, true), (GRAIN_NS - 1, true), (GRAIN_NS, false), (3_600 * SECOND, false)] {
        let (file, stat) = changed(-age);
        let eye = Script::new(&[stat], &[NOW]);
        match read(&file, &eye) {
            Ok(content) => assert!(!waits && content.stamp == Stamp::of(&stat), "{age} ns"),
            Err(Refused::Young { ready }) => {
                assert!(waits && ready.0 == stat.changed.0 + GRAIN_NS, "{age} ns");
                read(&file, &Script::new(&[stat], &[ready])).expect("it is ready");
            }
            Err(other) => panic!("{age} ns: {other}"),
        }
    }
}

#[test]
fn change_times_in_whole_seconds_are_coarse() {
    let (file, stat) = changed(-1 - SECOND);
    let Err(Refused::Young { ready }) = read(&file, &Script::new(&[stat], &[NOW])) else {
        panic!("a second is young");
    };
    assert_eq!(ready.0, stat.changed.0 + 2 * SECOND);
    read(&file, &Script::new(&[stat], &[ready])).expect("it is ready");
}

#[test]
fn a_change_time_ahead_is_settled_by_two_equal_looks() {
    let (file, stat) = changed(5 * SECOND);
    let (eye, begin) = (Script::new(&[stat], &[NOW]), Instant::now());
    read(&file, &eye).expect("it is read");
    assert!(begin.elapsed() >= Duration::from_nanos(GRAIN_NS as u64));
    assert_eq!(eye.looked.get(), 3);

    let other = Stat { changed: Time(stat.changed.0 + 1), ..stat };
    let refused = read(&file, &Script::new(&[stat, other], &[NOW]));
    assert!(matches!(refused, Err(Refused::Changed)), "{refused:?}");
}

#[test]
fn a_clock_that_comes_to_the_change_time_makes_it_racy() {
    let (file, stat) = changed(5 * SECOND);
    let refused = read(&file, &Script::new(&[stat], &[NOW, stat.changed]));
    let ready = Time(stat.changed.0 + GRAIN_NS);
    assert!(matches!(refused, Err(Refused::Young { ready: said }) if said == ready), "{refused:?}");
}

#[test]
fn any_of_size_and_times_that_moves_is_a_change() {
    let (file, stat) = changed(-SECOND + 7);
    let moved = [
        Stat { size: stat.size + 1, ..stat },
        Stat { modified: Time(stat.modified.0 + 1), ..stat },
        Stat { changed: Time(stat.changed.0 + 1), ..stat },
    ];
    for second in moved {
        let refused = read(&file, &Script::new(&[stat, second], &[NOW]));
        assert!(matches!(refused, Err(Refused::Changed)), "{refused:?}");
        let refused = head(&file, &Script::new(&[stat, second], &[NOW]), &mut go);
        assert!(matches!(refused, Err(Refused::Changed)), "{refused:?}");
    }
    let only_read = Stat { accessed: Time(stat.accessed.0 + 1), mode: 0o600, ..stat };
    read(&file, &Script::new(&[stat, only_read], &[NOW])).expect("the content is the same");
}

#[test]
fn a_wrong_clock_and_far_times_are_no_obstacle() {
    let file = file_of(b"some bytes");
    let content = read(&file, &Real(-3_600 * SECOND)).expect("our clock is an hour behind");
    assert_eq!(content.digest, plain(How::default(), b"some bytes"));

    let far = Timespec { tv_sec: 8_000_000_000, tv_nsec: 5 };
    futimens(&file, &Timestamps { last_access: far, last_modification: far }).expect("times are set");
    age(&file);
    let content = read(&file, &REAL).expect("it is read");
    assert_eq!(content.stamp, Stamp::of(&stat(&file).expect("a look")));
}

#[test]
fn a_look_that_fails_says_so() {
    struct Blind;
    impl Eye for Blind {
        fn look(&self, _: &File) -> io::Result<Stat> {
            Err(rustix::io::Errno::STALE.into())
        }
        fn now(&self) -> Time {
            NOW
        }
        fn has_writer(&self, _: &File) -> Option<bool> {
            None
        }
    }
    let refused = read(&file_of(b""), &Blind).expect_err("nothing is seen");
    assert!(matches!(refused, Refused::Failed { at: None, .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "cannot look at the file");
}

/// One long write stamps a file once, at its begin: two equal looks say nothing while it goes on.
#[test]
fn a_file_that_is_open_for_writing_after_the_first_look_is_refused() {
    struct Written(bool);
    impl Eye for Written {
        fn look(&self, file: &File) -> io::Result<Stat> {
            REAL.look(file)
        }
        fn now(&self) -> Time {
            REAL.now()
        }
        fn has_writer(&self, _: &File) -> Option<bool> {
            Some(self.0)
        }
    }
    let file = file_of(b"some bytes");
    assert!(matches!(read(&file, &Written(true)), Err(Refused::Written)));
    assert!(matches!(head(&file, &Written(true), &mut go), Err(Refused::Written)));
    assert!(read(&file, &Written(false)).is_ok());
}
