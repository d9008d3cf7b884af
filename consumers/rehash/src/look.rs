//! What a reading stands between: two equal looks at the open file, the first of them not racy. Reads no content.

use std::fs::File;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use record::{Kind, Stat, Time};

/// How far a kernel's clock of change times may stand still, in nanoseconds: two writes within it may leave the same change
/// time. It is 10 ms where `HZ` is 100, and 4 ms or less elsewhere.
pub const GRAIN_NS: i128 = 10_000_000;

/// The grain of change times on a whole second: they are from file systems that count seconds, some only even ones.
const COARSE_NS: i128 = 2_000_000_000;

/// What a digest or token speaks of: it holds while the file's stat has all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Time,
    /// Change time.
    pub changed: Time,
}

impl Stamp {
    /// That of a look.
    #[must_use]
    pub fn of(stat: &Stat) -> Stamp {
        Stamp { size: stat.size, modified: stat.modified, changed: stat.changed }
    }
}

/// How open files are looked at, and the wall clock that change times are compared with.
pub trait Eye {
    /// The stat of `file`, fresh from the file system.
    ///
    /// # Errors
    ///
    /// Those of `statx`.
    fn look(&self, file: &File) -> io::Result<Stat>;

    /// The wall clock now.
    fn now(&self) -> Time;

    /// Whether somebody has `file` open for writing, or mapped so; `None` where that cannot be known.
    fn has_writer(&self, file: &File) -> Option<bool>;
}

/// Why a content was not read, or not taken for one.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It was written to, cut or grown while it was read, or anything else was done to it that moves its change time.
    #[error("the file changed while it was read")]
    Changed,
    /// It changed so lately that one more change could leave the same change time.
    #[error("the file changed too lately to be read")]
    Young {
        /// From when on it can be read, by the clock of [`Eye::now`].
        ready: Time,
    },
    /// It is no regular file.
    #[error("not a regular file")]
    NoFile,
    /// It holds more or less than its size says though nothing changed: the kernel makes it up as it is read.
    #[error("the file does not hold as much as its size says")]
    Unsized,
    /// Somebody has it open for writing.
    #[error("the file is open for writing")]
    Written,
    /// The disk or the system refused.
    #[error("{}", undone(*at))]
    Failed {
        /// The byte that could not be read; `None` when it was the look that failed.
        at: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// The caller's pace said so.
    #[error("stopped")]
    Stopped,
}

fn undone(at: Option<u64>) -> String {
    at.map_or("cannot look at the file".to_owned(), |at| format!("cannot read at byte {at}"))
}

/// What `file` is, where nobody is at it and one more change would leave another stamp: what others are asked to read, and what
/// they read once they have.
///
/// # Errors
///
/// [`Refused`]: it cannot be said now.
pub fn still(file: &File, eye: &dyn Eye) -> Result<Stamp, Refused> {
    Gate::enter(file, eye)?.leave()
}

/// A file whose content may be read now; [`Gate::leave`] says whether what was read is one content.
pub(crate) struct Gate<'a> {
    file: &'a File,
    eye: &'a dyn Eye,
    pub(crate) stat: Stat,
    /// The change time lies ahead of our clock.
    ahead: bool,
}

impl<'a> Gate<'a> {
    /// The first look. A change time ahead of our clock is that of a server's clock, or ours was set back. When a second look a
    /// grain later finds it unchanged, the clock that made it has gone past it, or writes give earlier ones: it is not racy.
    /// That wait is slept here.
    pub(crate) fn enter(file: &'a File, eye: &'a dyn Eye) -> Result<Gate<'a>, Refused> {
        let mut stat = look(file, eye)?;
        // After the look: what is written between the two leaves this change time at most before the reading begins.
        let now = eye.now();
        let ahead = stat.changed > now;
        if ahead {
            sleep(Duration::from_nanos(GRAIN_NS as u64));
            let again = look(file, eye)?;
            if Stamp::of(&stat) != Stamp::of(&again) {
                return Err(Refused::Changed);
            }
            stat = again;
        } else if stat.changed > now.minus_ns(grain(stat.changed)) {
            return Err(young(&stat));
        }
        // After the look: one write that goes on for long stamps the file once, at its begin. Who opens the file from now on
        // leaves a later time than the look saw.
        if eye.has_writer(file) == Some(true) {
            return Err(Refused::Written);
        }
        Ok(Gate { file, eye, stat, ahead })
    }

    /// The second look: the stamp that all that was read between the two speaks of.
    pub(crate) fn leave(self) -> Result<Stamp, Refused> {
        let stamp = Stamp::of(&self.stat);
        if Stamp::of(&look(self.file, self.eye)?) != stamp {
            return Err(Refused::Changed);
        }
        // Our own clock has come to the change time meanwhile: a write may have left the very same.
        if self.ahead && self.eye.now() >= stamp.changed {
            return Err(young(&self.stat));
        }
        Ok(stamp)
    }

    /// What a reading that met the end of the file in the wrong place is.
    pub(crate) fn misfit(self) -> Refused {
        match self.leave() {
            Ok(_) => Refused::Unsized,
            Err(refused) => refused,
        }
    }
}

fn young(stat: &Stat) -> Refused {
    Refused::Young { ready: Time(stat.changed.0.saturating_add(grain(stat.changed))) }
}

fn look(file: &File, eye: &dyn Eye) -> Result<Stat, Refused> {
    let stat = eye.look(file).map_err(|source| Refused::Failed { at: None, source })?;
    if stat.kind == Kind::File { Ok(stat) } else { Err(Refused::NoFile) }
}

/// How long a change time of that fineness may stand for later changes too, in nanoseconds.
fn grain(changed: Time) -> i128 {
    if changed.subsec_nanos() == 0 { COARSE_NS } else { GRAIN_NS }
}
