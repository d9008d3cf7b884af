//! The level `names`: only stored directories are looked at, and those whose own times moved are listed.

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use index::{IndexError, Reader};
use reconcile::{Stored as _, same_entry};
use record::{EntryId, Row};
use rustc_hash::{FxHashMap, FxHashSet};
use scan::Look;
use watch::{Flags, What};

use super::compare::{Outcome, Work, begin};
use crate::engine::error::EngineError;
use crate::engine::status::SweepReport;
use crate::engine::sweep::Hints;

/// Directories that a thread takes on at a time.
const CHUNK: usize = 2048;

/// How long a thread reads one view of the index.
const VIEW: Duration = Duration::from_secs(1);

/// Bytes of paths that a thread remembers, to find those below them: each costs its own length and some 64 bytes.
const MOST_PATHS: usize = 8 << 20;

/// Longest path given to the kernel at once.
const MOST_PATH: usize = 4000;

/// A directory whose times moved less than this before it was looked at may have changed once more within the same
/// tick of the file system's clock.
const TICK_NS: i128 = 20_000_000;

/// Looks at the stored directories; those that moved are to be listed.
pub(crate) fn look(work: &Work, hints: &Hints<'_>) -> Result<Outcome, EngineError> {
    let shared = &*work.shared;
    let start = match begin(shared, &work.scope, None)? {
        Ok(start) => start,
        Err(why) => return Ok(Outcome { trouble: Some(why), ..Outcome::default() }),
    };
    let reader = shared.index.read()?;
    let Some(top) = work.scope.root_entry() else {
        let trouble = Some("its file system cannot be told".to_owned());
        return Ok(Outcome { trouble, ..Outcome::default() });
    };
    let below = match &work.path {
        Some(path) => reader.resolve(path)?.map_or(top, |(_, id)| id),
        None => top,
    };
    drop(reader);
    let next: Mutex<Option<EntryId>> = Mutex::new(Some(EntryId::new(record::VolumeId(0), 0)));
    let run = || -> Result<u64, IndexError> {
        let mut part = Part::new(shared.index.read()?, work, top, below);
        loop {
            if part.opened.elapsed() >= VIEW {
                part.reader = shared.index.read()?;
                part.opened = Instant::now();
            }
            let chunk = {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(from) = *next else { return Ok(part.partial) };
                let mut chunk = part.reader.directories(from, CHUNK + 1)?;
                *next = if chunk.len() > CHUNK { chunk.pop() } else { None };
                chunk
            };
            for id in chunk {
                if work.stop.load(Ordering::Relaxed) {
                    return Ok(part.partial);
                }
                part.directory(id, start.fd(), hints)?;
                hints.looked(1);
            }
        }
    };
    let results: Vec<Result<u64, IndexError>> = std::thread::scope(|threads| {
        let others: Vec<_> = (1..work.threads.max(1)).map(|_| threads.spawn(run)).collect();
        let own = run();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    });
    let mut report = SweepReport::default();
    for result in results {
        report.partial += result?;
    }
    Ok(Outcome { report, stopped: work.stop.load(Ordering::Relaxed), ..Outcome::default() })
}

/// One thread's part.
struct Part<'a> {
    work: &'a Work,
    reader: Reader,
    opened: Instant,
    top: EntryId,
    /// The directory that the sweep begins at.
    below: EntryId,
    /// Paths from the root of directories met on the way; `None` for what does not lie below the start.
    paths: FxHashMap<EntryId, Option<Vec<u8>>>,
    bytes: usize,
    partial: u64,
}

impl<'a> Part<'a> {
    fn new(reader: Reader, work: &'a Work, top: EntryId, below: EntryId) -> Part<'a> {
        let opened = Instant::now();
        let (paths, bytes, partial) = (FxHashMap::default(), 0, 0);
        Part { work, reader, opened, top, below, paths, bytes, partial }
    }

    fn directory(
        &mut self,
        id: EntryId,
        root: std::os::fd::BorrowedFd<'_>,
        hints: &Hints<'_>,
    ) -> Result<(), IndexError> {
        let Some(row) = self.reader.row(id)? else { return Ok(()) };
        let Some(path) = self.path(id, &row)? else { return Ok(()) };
        let (scope, disk) = (&self.work.scope, &self.work.shared.ground.disk);
        let look = if path.len() >= MOST_PATH || path.is_empty() {
            let names: Vec<&[u8]> =
                path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
            match scope.open_below(root, &names).and_then(|fd| disk.look_self(fd.as_fd())) {
                Ok(seen) => Look::Present(seen),
                Err(scan::Errno::NOENT | scan::Errno::NOTDIR) => Look::Absent,
                Err(error) => Look::Failed(error),
            }
        } else if scope.follow_symlinks {
            scan::look_through(root, &path)
        } else {
            disk.look(root, &path)
        };
        self.work.walked.directories.fetch_add(1, Ordering::Relaxed);
        self.work.walked.entries.fetch_add(1, Ordering::Relaxed);
        match look {
            Look::Present(seen)
                if seen.inode == id.inode
                    && same_entry(&row, &seen.stat)
                    && row.stat.same(&seen.stat)
                    && row.looked_at.0 - row.stat.changed.0 > TICK_NS => {}
            Look::Failed(_) => self.partial += 1,
            // Changed, or not there any more: where it went has changed as well.
            Look::Present(_) | Look::Absent => {
                hints.found();
                hints.later(hints.hint(id, What::Listing(id.inode), Flags::NONE));
            }
        }
        Ok(())
    }

    /// The path of a directory from the root, if it lies below the start.
    fn path(&mut self, id: EntryId, row: &Row) -> Result<Option<Vec<u8>>, IndexError> {
        if let Some(known) = self.paths.get(&id) {
            return Ok(known.clone());
        }
        // Up to what is known, the root, or nowhere; then down again.
        let mut way: Vec<(EntryId, record::Name)> = Vec::new();
        let mut at = id;
        let mut place = row.place.clone();
        let mut inside = false;
        let mut met = FxHashSet::default();
        let mut path = loop {
            inside |= at == self.below;
            if at == self.top {
                break inside.then(Vec::new);
            }
            let Some(up) = place else { break None };
            // Names may run in a circle while moves are worked off, which leads to no root.
            if !met.insert(at) {
                self.partial += 1;
                break None;
            }
            way.push((at, up.name));
            at = up.dir;
            match self.paths.get(&at) {
                // What is above the start is no part of it, and on the way to it all the same.
                Some(Some(known)) => break Some(known.clone()),
                Some(None) if !inside => break None,
                _ => {}
            }
            place = match at == self.top {
                true => None,
                false => self.reader.row(at)?.and_then(|row| row.place),
            };
        };
        if self.bytes > MOST_PATHS {
            self.paths.clear();
            self.bytes = 0;
        }
        let start = way.iter().position(|(id, _)| *id == self.below);
        for (step, (id, name)) in way.into_iter().enumerate().rev() {
            if let Some(path) = &mut path {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(&name);
            }
            if start.is_none_or(|start| step <= start) {
                self.bytes += 64 + path.as_ref().map_or(0, Vec::len);
                self.paths.insert(id, path.clone());
            }
        }
        Ok(path)
    }
}
