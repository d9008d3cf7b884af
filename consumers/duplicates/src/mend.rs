//! What a run that was killed left: at most one name beside a copy. It goes when what it leads to stands elsewhere too, byte by
//! byte; else it stays, and is told.

use std::path::Path;

use crate::at::{At, Seen};
use crate::compare::same_bytes;
use crate::hard::{held, hold};
use crate::log::{Intent, Line, Log, LogError, Story, beside};
use crate::undo::clear;
use crate::{Guard, Why};

/// An action that had been cut off.
#[derive(Debug)]
pub struct Mended {
    /// The paths of its copy.
    pub names: Vec<Vec<u8>>,
    /// Why something is left beside one of them.
    pub left: Option<Why>,
}

/// Ends what the run of the log at `path` left half done. Does nothing where it came to its end, or still goes on.
///
/// # Errors
/// When the log cannot be read or written.
pub fn mend(path: &Path, guard: &dyn Guard) -> Result<Vec<Mended>, LogError> {
    if Log::has_ended(path)? {
        return Ok(Vec::new());
    }
    let (mut log, story) = match Log::reopen(path) {
        Err(LogError::InUse(_)) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mended = mend_in(&mut log, &story, guard)?;
    log.end()?;
    Ok(mended)
}

/// The same in a log that is ours; it is not ended.
pub(crate) fn mend_in(log: &mut Log, story: &Story, guard: &dyn Guard) -> Result<Vec<Mended>, LogError> {
    let mut mended = Vec::new();
    for (&n, intent) in &story.intents {
        let mut one = Mended { names: intent.copy.paths(), left: None };
        if story.done.contains_key(&n) {
            // It was an undo that was cut off, if anything.
            if !story.undone.contains(&n) && intent.is_hard() {
                let made = story.made.get(&n).map_or(&[][..], |made| made);
                for name in &one.names {
                    let cleared = At::open(name).and_then(|at| clear(&at, story, intent, made));
                    one.left = one.left.or(cleared.err().filter(Why::is_failure));
                }
                mended.extend(one.left.is_some().then_some(one));
            }
            continue;
        }
        let mut done = Vec::new();
        for (nth, name) in one.names.iter().enumerate().filter(|_| intent.is_hard()) {
            match At::open(name).and_then(|at| settle(&at, &beside(&story.run, n), intent, guard)) {
                Ok(true) => done.push(nth),
                Ok(false) => {}
                // The folder is gone, and what was in it.
                Err(Why::Gone | Why::Path) => {}
                Err(why) => one.left = one.left.or(Some(why)),
            }
        }
        log.write(&Line::Done { n, names: done, why: Some("cut off".to_owned()) })?;
        mended.push(one);
    }
    Ok(mended)
}

/// Removes the name beside one of the copy's; whether that one leads to the kept file now.
fn settle(at: &At, beside: &str, intent: &Intent, guard: &dyn Guard) -> Result<bool, Why> {
    let new = at.beside(beside);
    let left = |_| Why::Left(beside.to_owned());
    let is_kept = |seen: &Seen| seen.inode == intent.kept.inode;
    if let Some(found) = new.look()? {
        let linked = at.look()?.is_some_and(|seen| is_kept(&seen));
        if is_kept(&found) && found.stat.links > 1 {
            new.remove()?;
        } else if linked && found.inode == intent.copy.inode {
            same_now(&new, at, guard).map_err(left)?;
            new.remove()?;
        } else if linked && !is_kept(&found) {
            // Somebody's own file, caught by the exchange.
            new.exchange(at).map_err(left)?;
            match new.look()? {
                Some(found) if is_kept(&found) && found.stat.links > 1 => new.remove()?,
                _ => return Err(Why::Left(beside.to_owned())),
            }
        } else {
            return Err(Why::Left(beside.to_owned()));
        }
        at.sync();
    }
    Ok(at.look()?.is_some_and(|seen| is_kept(&seen)))
}

/// Whether two names lead to the same bytes at this moment, and nobody writes.
fn same_now(one: &At, other: &At, guard: &dyn Guard) -> Result<(), Why> {
    let ((one, seen), (other, _)) = (one.read()?, other.read()?);
    hold(guard, &one)?;
    hold(guard, &other)?;
    let on = || held(guard, &one).and_then(|()| held(guard, &other));
    same_bytes(&one, &other, seen.stat.size, on)?;
    on()
}
