//! Files that are being written: at most one record a second of each, and one that is complete at the end.

use std::time::{Duration, Instant};

use record::{EntryId, How, Name};
use rustc_hash::FxHashMap;
use watch::{DirHints, Flags, Handle};

/// Shortest time between two records of a file that a writer is at.
const PACE: Duration = Duration::from_secs(1);

/// Most files followed. One more makes the longest-quiet one complete early: its writer's next write makes
/// it `writing` again.
const MOST: usize = 16_384;

/// Most looks put off. One more is simply made.
const MOST_DEFERRED: usize = 16_384;

/// Files with an unfinished record, and looks at them that are put off.
#[derive(Default)]
pub(crate) struct Writing {
    files: FxHashMap<EntryId, Times>,
    deferred: FxHashMap<(EntryId, Name), Deferred>,
    /// Looks at entries without a name that are put off.
    deferred_inodes: FxHashMap<EntryId, (Flags, How)>,
}

struct Times {
    recorded: Instant,
    written: Instant,
}

struct Deferred {
    file: EntryId,
    flags: Flags,
    handle: Option<Handle>,
    how: How,
}

impl Writing {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.deferred.is_empty() && self.deferred_inodes.is_empty()
    }

    /// Whether a writer is at `file`, so that it is behind on purpose.
    pub(crate) fn follows(&self, file: EntryId) -> bool {
        self.files.contains_key(&file)
    }

    /// Whether a look at `file` for a write can wait, because the last record of it is young. It is noted
    /// that the file was written.
    pub(crate) fn is_paced(&mut self, file: EntryId, now: Instant) -> bool {
        let Some(times) = self.files.get_mut(&file) else { return false };
        times.written = now;
        now.duration_since(times.recorded) < PACE
            && self.deferred.len() + self.deferred_inodes.len() < MOST_DEFERRED
    }

    pub(crate) fn defer(&mut self, file: EntryId, hints: &DirHints, name: Name, flags: Flags) {
        let deferred = Deferred { file, flags, handle: hints.handle.clone(), how: hints.how };
        self.deferred.insert((hints.id(), name), deferred);
    }

    pub(crate) fn defer_inode(&mut self, file: EntryId, flags: Flags, how: How) {
        self.deferred_inodes.insert(file, (flags, how));
    }

    /// A record of `file` was committed while a writer was at it.
    pub(crate) fn began(&mut self, file: EntryId, now: Instant) -> Option<EntryId> {
        let times = self.files.entry(file).or_insert(Times { recorded: now, written: now });
        times.recorded = now;
        if self.files.len() <= MOST {
            return None;
        }
        let quietest = self.files.iter().min_by_key(|(_, times)| times.written).map(|(id, _)| *id);
        quietest.inspect(|id| self.ended(*id))
    }

    /// Its record is complete, or it is gone.
    pub(crate) fn ended(&mut self, file: EntryId) {
        self.files.remove(&file);
    }

    /// Looks whose time has come (`all`: every one), as hints.
    pub(crate) fn due(&mut self, now: Instant, all: bool) -> watch::Batch {
        let mut batch = watch::Batch::default();
        let files = &self.files;
        let ready = |file: &EntryId| {
            all || files.get(file).is_none_or(|times| now.duration_since(times.recorded) >= PACE)
        };
        let mut by_dir: FxHashMap<EntryId, DirHints> = FxHashMap::default();
        self.deferred.retain(|(dir, name), deferred| {
            if !ready(&deferred.file) {
                return true;
            }
            let hints = by_dir.entry(*dir).or_insert_with(|| DirHints {
                volume: dir.volume,
                inode: dir.inode,
                handle: deferred.handle.clone(),
                names: Vec::new(),
                how: deferred.how,
            });
            if hints.handle != deferred.handle {
                // One of them is of a directory that is gone, and whose number is another's.
                hints.handle = None;
            }
            hints.names.push((name.clone(), deferred.flags));
            false
        });
        self.deferred_inodes.retain(|file, (flags, how)| {
            let keep = !ready(file);
            if !keep {
                batch.inodes.push((*file, *flags, *how));
            }
            keep
        });
        batch.directories.extend(by_dir.into_values());
        batch
    }

    /// Files that nobody wrote for `quiet`: a look at them completes their record.
    pub(crate) fn quiet(&mut self, now: Instant, quiet: Duration) -> Vec<EntryId> {
        let mut done = Vec::new();
        self.files.retain(|id, times| {
            let over = now.duration_since(times.written) >= quiet;
            if over {
                done.push(*id);
            }
            !over
        });
        done
    }

    /// When something here is due next.
    pub(crate) fn next(&self, quiet: Duration) -> Option<Instant> {
        let pace =
            if self.deferred.is_empty() && self.deferred_inodes.is_empty() { quiet } else { PACE.min(quiet) };
        let next = self.files.values().map(|times| (times.recorded + pace).min(times.written + quiet)).min();
        // What is put off for a file that is followed no more is due at once.
        let left = self.files.is_empty() && !self.is_empty();
        next.or_else(|| left.then(Instant::now))
    }
}
