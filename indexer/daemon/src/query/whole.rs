//! A moment of the index at which every entry is on a path. Knows no question.

use std::time::{Duration, Instant};

use index::{Index, IndexError, Reader};

use crate::query::QueryError;

/// How long to wait for one: a directory waits for its name until what the kernel had queued by then has been looked at.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries; commits are further apart.
const BETWEEN: Duration = Duration::from_millis(3);

/// A reader of a moment at which no directory waits for its name. A directory that moved, and whose old name another took, has
/// none for a moment; an answer of that moment lacks all that is below it, and no later record would tell of that.
/// Where there is no such moment within two seconds, of the last one.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn whole(index: &Index) -> Result<Reader, IndexError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let reader = index.read()?;
        if Instant::now() >= until || !reader.has_waiting()? {
            return Ok(reader);
        }
        drop(reader);
        std::thread::sleep(BETWEEN);
    }
}

/// Refuses a moment at which not every entry is on a path.
///
/// # Errors
/// [`QueryError::Failed`] at such a moment.
pub(super) fn if_whole(reader: &Reader) -> Result<(), QueryError> {
    if !reader.has_waiting()? {
        return Ok(());
    }
    Err(QueryError::Failed(
        "a directory has lost its name and not yet shown another, so what is below it cannot be told; ask again in a moment, while \
         the daemon runs"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use index::Edits;
    use reconcile::{Batch, Found, Holds, Look, Root, Stored as _};
    use record::{EntryId, How, Kind, Place, RootId, Time, VolumeId};

    use super::*;
    use crate::query::testing::{made, stat};

    fn id(inode: u64) -> EntryId {
        EntryId::new(VolumeId(1), inode)
    }

    fn look(index: &Index, name: &[u8], inode: u64) {
        let tops = [Root { id: RootId(1), top: id(2), path: b"/r".as_slice().into() }];
        let mut batch = Batch::new(index.read().unwrap(), &tops);
        let stat = stat(Kind::Directory, 0, 2);
        let look = Look { moved: true, ..Look::plain(Time(1), How::Fanotify) };
        batch.name(id(2), name, Some(Found { id: id(inode), stat }), &look).unwrap();
        let plan = batch.finish(Holds::Keep, usize::MAX).unwrap().plan;
        index.commit(Edits { plan, ..Edits::default() }).unwrap();
    }

    /// "a" moves to "b" and another comes in its place; that is seen first.
    #[test]
    fn a_directory_that_waits_for_its_name_is_waited_for() {
        let made = made(b"/r", &[(b"a", 10, Kind::Directory, 0), (b"a/below", 11, Kind::File, 5)]);
        look(&made.index, b"a", 12);
        let amid = made.index.read().unwrap();
        assert!(amid.has_waiting().unwrap() && amid.resolve(b"/r/b/below").unwrap().is_none());
        let reader = std::thread::scope(|scope| {
            let waits = scope.spawn(|| whole(&made.index).unwrap());
            look(&made.index, b"b", 10);
            waits.join().unwrap()
        });
        assert_eq!(reader.resolve(b"/r/b/below").unwrap().map(|(_, found)| found), Some(id(11)));
        assert_eq!(reader.name(id(2), b"a").unwrap(), Some(id(12)));
        assert_eq!(reader.row(id(10)).unwrap().and_then(|row| row.place), Some(Place::new(id(2), b"b")));
    }
}
