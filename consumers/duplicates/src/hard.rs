//! A copy becomes one more name of the kept file: checked, compared, exchanged, and checked again before its old inode goes.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::fs::fsync;

use crate::at::{At, Seen, look_at_open};
use crate::attributes::{Xattrs, xattrs};
use crate::compare::same_bytes;
use crate::log::{Intent, Line, Log, LogError};
use crate::order::{fits, may_go};
use crate::why::failed;
use crate::{Copy, Guard, Kind, Step, Why};

/// A copy, and the file that it is to become a name of, as both were when they were chosen.
pub(crate) struct Pair<'a> {
    pub(crate) digest: &'a str,
    pub(crate) kept: (&'a [u8], &'a Seen),
    pub(crate) copy: (&'a Copy, &'a Seen),
}

/// Both files, open, and no writer gets at either.
struct Ready {
    kept_at: At,
    kept: Open,
    copy: Open,
}

struct Open {
    file: File,
    seen: Seen,
    xattrs: Xattrs,
}

/// Does all that comes before an action but reading the contents.
///
/// # Errors
/// Why nothing is done with the copy.
pub(crate) fn check(pair: &Pair<'_>, guard: &dyn Guard) -> Result<(), Why> {
    ready(pair, guard).map(drop)
}

/// Replaces the copy by names of the kept file. How many bytes that freed.
///
/// # Errors
/// Outside, those of the log, which end the run; inside, why it was not done, or not with all names.
pub(crate) fn replace(
    pair: &Pair<'_>,
    guard: &dyn Guard,
    log: &mut Log,
) -> Result<Result<u64, Why>, LogError> {
    let ready = match ready(pair, guard).and_then(|ready| compared(ready, guard)) {
        Ok(ready) => ready,
        Err(why) => return Ok(Err(why)),
    };
    guard.step(Step::Log);
    let names = &pair.copy.0.names;
    let intent =
        Intent::new(Kind::Hard, pair.digest, (pair.kept.0, &ready.kept.seen), (names, &ready.copy.seen));
    let (n, beside) = log.intend(intent)?;
    let mut done = Vec::new();
    let mut result = Ok(ready.copy.seen.stat.allocated);
    for (nth, name) in names.iter().enumerate() {
        match exchange(&ready, name, &beside, guard) {
            Ok(()) => done.push(nth),
            Err(why) => {
                result = Err(why);
                break;
            }
        }
    }
    guard.step(Step::End);
    let why = result.as_ref().err().map(ToString::to_string);
    log.write(&Line::Done { n, names: done, why })?;
    Ok(result)
}

fn ready(pair: &Pair<'_>, guard: &dyn Guard) -> Result<Ready, Why> {
    let (path, then) = pair.kept;
    let kept_at = At::open(path).map_err(Why::of_kept)?;
    let kept = open(&kept_at, then, guard).map_err(Why::of_kept)?;
    let (copy, then) = pair.copy;
    let mut names = copy.names.iter();
    let first = At::open(names.next().ok_or(Why::Gone)?)?;
    let open = open(&first, then, guard)?;
    for name in names {
        if !At::open(name)?.look_at_file()?.same_inode(&open.seen) {
            return Err(Why::Swapped);
        }
    }
    may_go(copy, &open.seen)?;
    fits((&kept.seen, &kept.xattrs), (&open.seen, &open.xattrs))?;
    Ok(Ready { kept_at, kept, copy: open })
}

/// Opens what must be what was seen then, and holds writers off.
fn open(at: &At, then: &Seen, guard: &dyn Guard) -> Result<Open, Why> {
    let (file, now) = at.read()?;
    if !now.same_inode(then) {
        return Err(Why::Swapped);
    }
    hold(guard, &file)?;
    // Once more: what came before the hold counts too.
    let seen = look_at_open(file.as_fd())?;
    if !seen.same_file(then) {
        return Err(Why::Changed);
    }
    let xattrs = xattrs(&file)?;
    Ok(Open { file, seen, xattrs })
}

/// Holds writers off.
pub(crate) fn hold(guard: &dyn Guard, file: &File) -> Result<(), Why> {
    match guard.hold(file.as_fd()) {
        Some(true) => Ok(()),
        Some(false) => Err(Why::Writer),
        None => Err(Why::Unknown),
    }
}

/// Whether writers were held off all the time.
pub(crate) fn held(guard: &dyn Guard, file: &File) -> Result<(), Why> {
    if guard.held(file.as_fd()) { Ok(()) } else { Err(Why::Writer) }
}

/// Compares byte by byte, between two looks that find the same.
fn compared(ready: Ready, guard: &dyn Guard) -> Result<Ready, Why> {
    let (kept, copy) = (&ready.kept, &ready.copy);
    let on = || {
        held(guard, &kept.file).map_err(Why::of_kept)?;
        held(guard, &copy.file)
    };
    same_bytes(&kept.file, &copy.file, copy.seen.stat.size, on)?;
    on()?;
    for (open, of_kept) in [(kept, true), (copy, false)] {
        if !look_at_open(open.file.as_fd())?.untouched(&open.seen) {
            return Err(if of_kept { Why::Changed.of_kept() } else { Why::Changed });
        }
    }
    // The copy may be on disk and the kept file in memory alone: a loss of power after the action would take both.
    fsync(&kept.file).map_err(failed("bring the kept file to disk"))?;
    Ok(ready)
}

/// Puts a name of the kept file in the place of one of the copy.
fn exchange(ready: &Ready, path: &[u8], beside: &str, guard: &dyn Guard) -> Result<(), Why> {
    let at = At::open(path)?;
    if !at.look_at_file()?.same_inode(&ready.copy.seen) {
        return Err(Why::Swapped);
    }
    let new = at.beside(beside);
    guard.step(Step::Link);
    ready.kept_at.link(&new)?;
    if !new.look()?.is_some_and(|seen| seen.same_inode(&ready.kept.seen)) {
        new.remove()?;
        return Err(Why::Swapped.of_kept());
    }
    let unchanged = || {
        for (open, of_kept) in [(&ready.kept, true), (&ready.copy, false)] {
            let same = || {
                held(guard, &open.file)?;
                if !look_at_open(open.file.as_fd())?.same_file(&open.seen)
                    || xattrs(&open.file)? != open.xattrs
                {
                    return Err(Why::Changed);
                }
                Ok(())
            };
            same().map_err(|why: Why| if of_kept { why.of_kept() } else { why })?;
        }
        Ok(())
    };
    change_places(&new, &at, (&ready.copy.seen, &ready.kept.seen), beside, guard, &unchanged)
}

/// Lets `new` and `at` change places, checks that what stood at `at` is the `old` file and that all is `unchanged`, and then
/// removes it. If anything is not so they change back: who waits to write to the old file finds it where it was.
pub(crate) fn change_places(
    new: &At,
    at: &At,
    (old, put): (&Seen, &Seen),
    beside: &str,
    guard: &dyn Guard,
    unchanged: &dyn Fn() -> Result<(), Why>,
) -> Result<(), Why> {
    guard.step(Step::Exchange);
    if let Err(why) = new.exchange(at) {
        new.remove()?;
        return Err(why);
    }
    guard.step(Step::Exchanged);
    let is = |name: &At, what: &Seen| -> Result<bool, Why> {
        Ok(name.look()?.is_some_and(|seen| seen.same_inode(what)))
    };
    let fine = match is(new, old) {
        Ok(true) => unchanged(),
        Ok(false) => Err(Why::Swapped),
        Err(why) => Err(why),
    };
    let left = |_| Why::Left(beside.to_owned());
    if let Err(why) = fine {
        new.exchange(at).map_err(left)?;
        if is(new, put).map_err(left)? {
            new.remove().map_err(left)?;
            return Err(why);
        }
        // Somebody has put a file of his own there between the two: that one belongs there.
        new.exchange(at).map_err(left)?;
        return Err(Why::Left(beside.to_owned()));
    }
    guard.step(Step::Remove);
    new.remove().map_err(left)?;
    at.sync();
    Ok(())
}
