//! Which of the files that wait are read next, on a shelf that has nothing but those.

use std::fs::File;
use std::io;

use record::{Digest, Stat, Time};

use super::*;
use crate::look::Eye;
use crate::shelf::Opener;

/// So many files wait: file `n` since `n`, and every tenth of them is of 100 bytes, the others of one.
struct Queue(u64);

impl Eye for Queue {
    fn look(&self, _: &File) -> io::Result<Stat> {
        unreachable!("nothing is opened")
    }
    fn now(&self) -> Time {
        Time::now()
    }
    fn has_writer(&self, _: &File) -> Option<bool> {
        None
    }
}

impl Shelf for Queue {
    fn hashing(&self) -> Result<Hashing, ShelfError> {
        Ok(Hashing { reading: Reading::Full, ..Hashing::default() })
    }
    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<(EntryId, Time)>, ShelfError> {
        Ok((from.inode.max(1)..=self.0).take(most).map(|n| (file(n), Time(i128::from(n)))).collect())
    }
    fn by_size(&self, _: (u64, EntryId), _: usize) -> Result<Vec<(u64, EntryId)>, ShelfError> {
        Ok(Vec::new())
    }
    fn of_size(&self, _: u64) -> Result<Vec<EntryId>, ShelfError> {
        Ok(Vec::new())
    }
    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError> {
        let known = |id: &EntryId| {
            let size = if id.inode.is_multiple_of(10) { 100 } else { 1 };
            Some(Known {
                birth: None,
                stamp: Stamp { size, modified: Time(0), changed: Time(0) },
                writing: false,
                digest: None::<Digest>,
                head: None,
                tail: None,
                waiting: true,
                doubted: false,
            })
        };
        Ok(ids.iter().map(known).collect())
    }
    fn unproved(&self, _: Time, _: EntryId, _: usize) -> Result<Vec<EntryId>, ShelfError> {
        Ok(Vec::new())
    }
    fn opener(&self) -> Box<dyn Opener + '_> {
        unreachable!("nothing is opened")
    }
    fn deliver(&self, _: &[Found]) -> Result<Vec<bool>, ShelfError> {
        Ok(Vec::new())
    }
}

fn file(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

/// Takes all that is due, as often as there is some, and has it wait; how many there were.
fn all_due(work: &mut Work<'_>, now: Instant) -> usize {
    std::iter::from_fn(|| {
        let due =
            work.due(now).expect("no fault").into_iter().inspect(|id| work.later.put_off(*id, Why::Changed));
        Some(due.count()).filter(|count| *count > 0)
    })
    .sum()
}

#[test]
fn what_changed_last_is_read_first() {
    let (queue, pace, stop, meter) =
        (Queue(10_000), Pace::new(None), AtomicBool::new(false), Meter::default());
    let mut work = Work::new(&queue, &pace, &stop, &meter, 1);
    let due = work.due(Instant::now()).expect("no fault");
    assert_eq!((due.len(), due[0], due[1]), (FRESH, file(10_000), file(9_999)));
    assert_eq!(all_due(&mut work, Instant::now()), 10_000);
    assert!(work.later.next().is_some());
}

/// More than is gone through at once, of which only the first and the last few are ours.
#[test]
fn all_that_waits_has_its_turn() {
    let count = 2 * WAITING as u64 + 5;
    let (queue, pace, stop, meter) =
        (Queue(count), Pace::new(None), AtomicBool::new(false), Meter::default());
    let mut work = Work::new(&queue, &pace, &stop, &meter, 1).only(50..=u64::MAX);
    let now = Instant::now();
    let due = all_due(&mut work, now);
    assert_eq!(due as u64, count / 10);
    assert_eq!(work.due(now).expect("no fault").len(), 0);
}

/// What was put off for a writer, and is gone when it is tried again, was never looked for.
#[test]
fn a_look_is_asked_for_once_whatever_the_file_waited_for_before() {
    let (queue, mut later, mut put_off) = (Queue(1), Later::default(), HashSet::new());
    let known = queue.known(&[file(1)]).expect("no fault")[0].expect("a file");
    let mut hand = Hand::new(&queue, &mut later, &mut put_off);
    let job = readers::Job { id: file(1), need: crate::refine::Need::Full, place: (0, 0) };
    let mut asked = |why| {
        assert!(hand.take(&mut known.clone(), &job, Err(why)).is_none());
        std::mem::take(&mut hand.found)
            .iter()
            .any(|found| matches!(found, Found::Astray(id) if *id == file(1)))
    };
    assert_eq!(
        [Why::Written, Why::Gone, Why::Gone, Why::Behind, Why::Changed, Why::Behind].map(&mut asked),
        [false, true, false, false, false, true]
    );
}
