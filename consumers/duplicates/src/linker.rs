//! One set after the other: which copy is kept, what is done with each of the others, and what is said of it.

use std::io;

use crate::at::{At, Seen};
use crate::attributes::{Xattrs, xattrs};
use crate::hard::{self, Pair};
use crate::log::{Intent, Line, Log, LogError};
use crate::order::{by_right, fits};
use crate::share::{Map, could_share, share};
use crate::{Copy, Guard, Kind, Report, Set, Step, What, Why};

/// Bytes that the kernel compares and shares in one go; a multiple of every block size.
const AT_ONCE: u64 = 16 << 20;

/// Acts on sets, or says what it would do.
pub struct Linker<'a> {
    kind: Kind,
    guard: &'a dyn Guard,
    log: Option<Log>,
}

/// Why a run ended before its end. What was begun is in the log.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Nothing is done that is not logged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The listener is gone.
    #[error(transparent)]
    Told(#[from] io::Error),
}

/// A file that others may be joined with.
struct Kept<'a> {
    path: &'a [u8],
    seen: Seen,
    xattrs: Xattrs,
}

impl<'a> Linker<'a> {
    /// With a log it acts; without one it only says what it would do, and changes nothing.
    #[must_use]
    pub fn new(kind: Kind, guard: &'a dyn Guard, log: Option<Log>) -> Linker<'a> {
        Linker { kind, guard, log }
    }

    /// Joins the copies of a set, and tells of each but the kept ones.
    ///
    /// # Errors
    /// When the log cannot be written, or `tell` fails. What is wrong with a file is only told.
    pub fn set(&mut self, set: &Set, tell: &mut dyn FnMut(Report) -> io::Result<()>) -> Result<(), Stopped> {
        let report = |what, copy: &Copy, kept: &[u8], bytes| Report {
            what,
            names: copy.names.clone(),
            kept: kept.to_vec(),
            bytes,
        };
        let mut looked = Vec::new();
        for copy in &set.copies {
            match look(copy, set.size) {
                Ok(seen) => looked.push((copy, seen, ())),
                Err(_) if copy.fixed => {}
                Err(why) => tell(report(What::Skipped(why), copy, b"", 0))?,
            }
        }
        by_right(self.kind, &mut looked);
        let mut all: Vec<Kept<'_>> = Vec::new();
        for (copy, seen, ()) in looked {
            let (chosen, mine) = match self.choose(&all, copy, &seen) {
                Ok(found) => found,
                Err(why) => {
                    if !copy.fixed {
                        tell(report(What::Skipped(why), copy, all.first().map_or(b"", |kept| kept.path), 0))?;
                    }
                    continue;
                }
            };
            let path = copy.names.first().map_or(&b""[..], |name| name);
            match chosen {
                _ if copy.fixed => all.push(Kept { path, seen, xattrs: mine }),
                Chosen::With(nth) => {
                    let kept = &all[nth];
                    let (what, bytes) = self.join(set, kept, copy, &seen)?;
                    tell(report(what, copy, kept.path, bytes))?;
                }
                Chosen::Same(nth) => tell(report(What::Already, copy, all[nth].path, 0))?,
                Chosen::None(why) => {
                    if let Some(why) = why {
                        let first = all.first().map_or(&b""[..], |kept| kept.path);
                        tell(report(What::Skipped(why), copy, first, 0))?;
                    }
                    all.push(Kept { path, seen, xattrs: mine });
                }
            }
        }
        Ok(())
    }

    /// Ends the log.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(self) -> Result<(), LogError> {
        self.log.map_or(Ok(()), Log::end)
    }

    /// Which of the kept files the copy may be joined with, and the copy's attributes.
    fn choose(&self, all: &[Kept<'_>], copy: &Copy, seen: &Seen) -> Result<(Chosen, Xattrs), Why> {
        let (file, now) = At::open(copy.names.first().ok_or(Why::Gone)?)?.read()?;
        if !now.same_inode(seen) {
            return Err(Why::Swapped);
        }
        let mine = if self.kind == Kind::Hard { xattrs(&file)? } else { Xattrs::new() };
        let mut first = None;
        for (nth, kept) in all.iter().enumerate() {
            if kept.seen.same_inode(seen) {
                return Ok((Chosen::Same(nth), mine));
            }
            let fit = match self.kind {
                Kind::Hard => fits((&kept.seen, &kept.xattrs), (seen, &mine)),
                Kind::Reflink => {
                    let (kept, _) = At::open(kept.path).and_then(|at| at.read()).map_err(Why::of_kept)?;
                    could_share(&kept, &file)
                }
            };
            match fit {
                Ok(()) => return Ok((Chosen::With(nth), mine)),
                // Another file system, owner, …: there may be another one that fits, or it begins a group of its own.
                Err(why @ (Why::Elsewhere | Why::Owner | Why::Mode | Why::Flags | Why::Xattrs)) => {
                    first = first.or(Some(why));
                }
                Err(why) => return Err(why),
            }
        }
        Ok((Chosen::None(first), mine))
    }

    fn join(
        &mut self,
        set: &Set,
        kept: &Kept<'_>,
        copy: &Copy,
        seen: &Seen,
    ) -> Result<(What, u64), LogError> {
        let pair = Pair { digest: &set.digest, kept: (kept.path, &kept.seen), copy: (copy, seen) };
        let done = match (self.kind, &mut self.log) {
            (Kind::Hard, None) => hard::check(&pair, self.guard).map(|()| (What::Would, seen.stat.allocated)),
            (Kind::Hard, Some(log)) => {
                hard::replace(&pair, self.guard, log)?.map(|bytes| (What::Done, bytes))
            }
            (Kind::Reflink, log) => reflink(&pair, self.guard, log.as_mut())?,
        };
        Ok(done.unwrap_or_else(|why| (What::Skipped(why), 0)))
    }
}

enum Chosen {
    With(usize),
    /// It is that file by now.
    Same(usize),
    /// None, and why not the first.
    None(Option<Why>),
}

/// The copy by its first name.
fn look(copy: &Copy, size: u64) -> Result<Seen, Why> {
    let seen = At::open(copy.names.first().ok_or(Why::Gone)?)?.look_at_file()?;
    match seen.stat.size {
        now if now == size => Ok(seen),
        now => Err(Why::Size { now, then: size }),
    }
}

/// Has the kernel compare both files and share their blocks. Inodes, owners and times stay; writers may be at work.
fn reflink(
    pair: &Pair<'_>,
    guard: &dyn Guard,
    log: Option<&mut Log>,
) -> Result<Result<(What, u64), Why>, LogError> {
    let open = |path: &[u8], then: &Seen| {
        let (file, seen) = At::open(path)?.read()?;
        let same = seen.same_inode(then) && seen.stat.size == then.stat.size;
        if same { Ok((file, seen)) } else { Err(Why::Swapped) }
    };
    let path = pair.copy.0.names.first().map_or(&b""[..], |name| name);
    let both = open(pair.kept.0, pair.kept.1)
        .map_err(Why::of_kept)
        .and_then(|kept| Ok((kept, open(path, pair.copy.1)?)));
    let ((kept, kept_seen), (copy, copy_seen)) = match both {
        Ok(both) => both,
        Err(why) => return Ok(Err(why)),
    };
    let maps = (Map::of(&kept), Map::of(&copy));
    match &maps {
        (Some(one), Some(other)) if one.is_same(other) => return Ok(Ok((What::Already, 0))),
        (Some(one), Some(other)) if one.inline || other.inline => return Ok(Err(Why::Inline)),
        _ => {}
    }
    let size = copy_seen.stat.size;
    let Some(log) = log else {
        return Ok(could_share(&kept, &copy).map(|()| (What::Would, size)));
    };
    guard.step(Step::Log);
    let names = &pair.copy.0.names;
    let intent = Intent::new(Kind::Reflink, pair.digest, (pair.kept.0, &kept_seen), (names, &copy_seen));
    let (n, _) = log.intend(intent)?;
    let mut at = 0;
    let mut result = Ok(());
    while at < size && result.is_ok() {
        match share(&kept, &copy, at, (size - at).min(AT_ONCE)) {
            Ok(done) => at += done,
            Err(why) => result = Err(why),
        }
    }
    guard.step(Step::End);
    let why = result.as_ref().err().map(ToString::to_string);
    log.write(&Line::Done { n, names: Vec::new(), why })?;
    Ok(result.map(|()| (What::Done, size)))
}
