//! Every order of threads around the pending set: `RUSTFLAGS="--cfg loom" cargo test -p watch --release --test loom`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use record::{How, VolumeId};
use watch::{Batch, Flags, Hint, Pending, What, Woken};

fn inode(number: u64) -> Hint {
    Hint {
        volume: VolumeId(1),
        what: What::Inode(number),
        flags: Flags::META,
        handle: None,
        how: How::Fanotify,
    }
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.inodes.iter().map(|(id, ..)| id.inode).collect()
}

#[test]
fn a_hint_is_taken_or_still_pending() {
    loom::model(|| {
        let pending = Arc::new(Pending::new(8));
        let adders: Vec<_> = [1, 2]
            .map(|number| {
                let pending = Arc::clone(&pending);
                thread::spawn(move || pending.add(inode(number)))
            })
            .into();
        let mut seen = numbers(&pending.take(8));
        for adder in adders {
            adder.join().unwrap();
        }
        seen.extend(numbers(&pending.take(8)));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn a_waiter_misses_no_hint() {
    loom::model(|| {
        let pending = Arc::new(Pending::new(8));
        let adding = Arc::clone(&pending);
        let adder = thread::spawn(move || {
            adding.add(inode(1));
            adding.add(inode(2));
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            assert_eq!(pending.wait(None), Woken::Hints);
            seen.extend(numbers(&pending.take(1)));
        }
        adder.join().unwrap();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn a_waiter_misses_no_call() {
    loom::model(|| {
        let pending = Arc::new(Pending::new(8));
        let (adding, calling) = (Arc::clone(&pending), Arc::clone(&pending));
        let adder = thread::spawn(move || adding.add(inode(1)));
        let caller = thread::spawn(move || calling.wake());
        let mut seen = Vec::new();
        // The hint and the call must both come out, in either order.
        let mut called = false;
        while !called || seen.is_empty() {
            match pending.wait(None) {
                Woken::Called => called = true,
                Woken::Hints => seen.extend(numbers(&pending.take(8))),
                Woken::TimedOut => unreachable!("there was no time-out"),
            }
        }
        adder.join().unwrap();
        caller.join().unwrap();
        assert_eq!(seen, [1]);
    });
}

#[test]
fn what_is_put_back_wakes() {
    loom::model(|| {
        let pending = Arc::new(Pending::new(8));
        pending.add(inode(1));
        let batch = pending.take(8);
        let returning = Arc::clone(&pending);
        let returner = thread::spawn(move || returning.put_back(batch));
        assert_eq!(pending.wait(None), Woken::Hints);
        assert_eq!(numbers(&pending.take(8)), [1]);
        returner.join().unwrap();
    });
}
