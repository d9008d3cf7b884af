//! The reader over a pipe for a kernel queue: barriers, stop, and ends that must not look like silence.

use super::*;
use crate::testing::{VOLUME, soon};
use crate::{Batch, Flags, What};
use record::How;

/// A queue of bytes: each hints at the inode of its number; 0 panics.
struct Pipe {
    queue: Arc<OwnedFd>,
}

fn hint(what: What) -> Hint {
    Hint { volume: VOLUME, what, flags: Flags::NONE, handle: None, how: How::Inotify }
}

impl Source for Pipe {
    fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn take_in(&mut self, bytes: &[u8], counts: &Counts, hints: &mut Vec<Hint>) -> u64 {
        for byte in bytes {
            bump(&counts.events);
            assert_ne!(*byte, 0, "made to panic");
            hints.push(hint(What::Inode(u64::from(*byte))));
        }
        bytes.len() as u64
    }

    fn lost(&self, why: &str, hints: &mut Vec<Hint>) {
        hints.push(hint(What::Lost { why: why.to_owned() }));
    }
}

fn start(window: Duration) -> (Reader, OwnedFd, Arc<Pending>) {
    let (queue, writer) = io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&queue, rustix::fs::OFlags::NONBLOCK).unwrap();
    let (queue, writer) = (Arc::new(OwnedFd::from(queue)), OwnedFd::from(writer));
    let pending = Arc::new(Pending::default());
    let source = Pipe { queue: Arc::clone(&queue) };
    let reader = Reader::start("pipe", source, queue, Arc::clone(&pending), window).unwrap();
    (reader, writer, pending)
}

fn put(writer: &OwnedFd, byte: u8) {
    assert_eq!(rustix::io::write(writer, &[byte]), Ok(1));
}

fn inodes(batch: &Batch) -> Vec<u64> {
    batch.inodes.iter().map(|(id, ..)| id.inode).collect()
}

#[test]
fn a_barrier_cuts_the_window_short() {
    // Far longer than the barrier's deadline.
    let (reader, writer, pending) = start(Duration::from_secs(3600));
    for byte in 1..=50 {
        put(&writer, byte);
        reader.barrier(soon()).unwrap();
        assert_eq!(inodes(&pending.take(9)), [u64::from(byte)]);
    }
    reader.barrier(soon()).unwrap();
    assert!(pending.is_empty());
    assert_eq!(reader.counters().events, 50);
    put(&writer, 51);
    reader.stop();
}

#[test]
fn many_may_wait_at_once() {
    let (reader, writer, _pending) = start(DEFAULT_WINDOW);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for byte in 1..=100 {
                    put(&writer, byte);
                    reader.barrier(soon()).unwrap();
                }
            });
        }
    });
    assert_eq!(reader.counters().events, 400);
}

#[test]
fn a_queue_that_ends_is_lost_aloud() {
    let (reader, writer, pending) = start(DEFAULT_WINDOW);
    put(&writer, 1);
    reader.barrier(soon()).unwrap();
    assert_eq!(reader.health(), Health::Running);
    drop(writer);
    // Nothing is queued, so a barrier may still be answered before the end is read.
    while reader.barrier(soon()).is_ok() {}
    assert!(matches!(reader.barrier(soon()), Err(BarrierError::Failed(_))));
    assert!(matches!(reader.health(), Health::Failed(_)));
    assert_eq!(pending.take(9).lost, [(VOLUME, "the kernel ended the queue".to_owned())]);
}

#[test]
fn a_panic_is_lost_aloud() {
    let (reader, writer, pending) = start(DEFAULT_WINDOW);
    put(&writer, 0);
    assert_eq!(reader.barrier(soon()), Err(BarrierError::Failed("the reader panicked".to_owned())));
    assert_eq!(pending.take(9).lost, [(VOLUME, "the reader panicked".to_owned())]);
}

#[test]
fn who_waits_is_told_of_the_stop() {
    let (reader, _writer, _pending) = start(DEFAULT_WINDOW);
    reader.pause();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.barrier(soon()));
        reader.shared.stop();
        assert_eq!(waiting.join().unwrap(), Err(BarrierError::Stopped));
    });
    assert_eq!(reader.health(), Health::Stopped);
}
