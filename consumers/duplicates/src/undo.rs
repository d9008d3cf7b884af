//! A run is undone: names that were made hard links become files of their own again. Reflinks need no undo: they are such files.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, fchmod, fchown, fsync, futimens};

use crate::at::{At, Seen, look_at_open};
use crate::attributes::{give, xattrs};
use crate::compare::{fill, same_bytes};
use crate::hard::{change_places, held, hold};
use crate::log::{Intent, Line, Log, LogError, Story, beside_undo};
use crate::mend::mend_in;
use crate::why::failed;
use crate::{Guard, Report, Step, Stopped, What, Why};

/// Bytes copied at once, and the least hole that is kept as one.
const CHUNK: usize = 1 << 20;
const HOLE: usize = 64 << 10;

/// Undoes the run of the log at `path`, the last action first, and tells of each; what it left half done is ended before. Without
/// `apply` it only says what it would do. The kept file stays as it is.
///
/// # Errors
/// When the log cannot be read or written, or `tell` fails.
pub fn undo(
    path: &Path,
    guard: &dyn Guard,
    apply: bool,
    tell: &mut dyn FnMut(Report) -> io::Result<()>,
) -> Result<(), Stopped> {
    let (mut log, story) = if apply {
        let (mut log, story) = Log::reopen(path)?;
        mend_in(&mut log, &story, guard)?;
        drop(log);
        let (log, story) = Log::reopen(path)?;
        (Some(log), story)
    } else {
        (None, Log::peek(path)?)
    };
    for (&n, intent) in story.intents.iter().rev() {
        let names = intent.copy.paths();
        let done: Vec<Vec<u8>> = match story.done.get(&n) {
            Some(done) => done.iter().filter_map(|&nth| names.get(nth).cloned()).collect(),
            None => names.clone(),
        };
        if story.undone.contains(&n) || (intent.is_hard() && done.is_empty()) {
            continue;
        }
        let kept = intent.kept.paths().into_iter().next().unwrap_or_default();
        let what = match &mut log {
            _ if !intent.is_hard() => What::Already,
            None => {
                links(intent, &done, &[]).map_or_else(What::Skipped, |links| match links.left.is_empty() {
                    true => What::Already,
                    false => What::Would,
                })
            }
            Some(log) => {
                let parted = part(&story, intent, &done, guard, log)?;
                if parted.is_ok() {
                    guard.step(Step::End);
                    log.write(&Line::Undone { n })?;
                }
                parted.map_or_else(What::Skipped, |()| What::Done)
            }
        };
        let bytes = if matches!(what, What::Would | What::Done) { intent.copy.size } else { 0 };
        tell(Report { what, names: if intent.is_hard() { done } else { names }, kept, bytes })?;
    }
    if let Some(log) = log {
        log.end()?;
    }
    Ok(())
}

/// The names of an action, looked at.
struct Links {
    /// They still are links of the kept file.
    left: Vec<At>,
    /// An earlier undo, cut off, has made this one a file of its own.
    own: Option<At>,
}

fn links(intent: &Intent, names: &[Vec<u8>], made: &[u64]) -> Result<Links, Why> {
    let mut links = Links { left: Vec::new(), own: None };
    for name in names {
        let at = At::open(name)?;
        let seen = at.look_at_file()?;
        if intent.kept.is(&seen) {
            links.left.push(at);
        } else if made.contains(&seen.inode) && seen.stat.size == intent.copy.size {
            links.own = Some(at);
        } else {
            return Err(Why::NoLink);
        }
    }
    Ok(links)
}

/// Makes the names of an action a file of its own, with the owner, mode and times that it had.
fn part(
    story: &Story,
    intent: &Intent,
    names: &[Vec<u8>],
    guard: &dyn Guard,
    log: &mut Log,
) -> Result<Result<(), Why>, LogError> {
    let made = story.made.get(&intent.n).map_or(&[][..], |made| made);
    let looked = links(intent, names, made).and_then(|links| {
        links.left.iter().chain(&links.own).try_for_each(|at| clear(at, story, intent, made))?;
        Ok(links)
    });
    let Links { left, mut own } = match looked {
        Ok(links) => links,
        Err(why) => return Ok(Err(why)),
    };
    let beside = beside_undo(&story.run, intent.n);
    for at in left {
        let new = at.beside(&beside);
        let link = match at.read().and_then(|link| hold(guard, &link.0).map(|()| link)) {
            Ok((file, seen)) if intent.kept.is(&seen) => (file, seen),
            Ok(_) => return Ok(Err(Why::NoLink)),
            Err(why) => return Ok(Err(why)),
        };
        let put = match &own {
            Some(own) => own.link(&new).and_then(|()| new.look_at_file()),
            None => {
                guard.step(Step::Make);
                match make(&new, &link, intent, guard) {
                    Ok(seen) => {
                        log.write(&Line::Made { n: intent.n, inode: seen.inode })?;
                        guard.step(Step::Made);
                        Ok(seen)
                    }
                    Err(why) => Err(why),
                }
            }
        };
        let unchanged = || {
            held(guard, &link.0)?;
            if look_at_open(link.0.as_fd())?.same_file(&link.1) { Ok(()) } else { Err(Why::Changed) }
        };
        let parted =
            put.and_then(|put| change_places(&new, &at, (&link.1, &put), &beside, guard, &unchanged));
        if let Err(why) = parted {
            return Ok(Err(why));
        }
        own = own.or(Some(at));
    }
    Ok(Ok(()))
}

/// A copy of the link's content under a new name, on disk, with what the log says of the file that was replaced.
fn make(new: &At, (link, seen): &(File, Seen), intent: &Intent, guard: &dyn Guard) -> Result<Seen, Why> {
    let file = new.make()?;
    let made = fill_in(&file, (link, seen), intent, guard).and_then(|()| look_at_open(file.as_fd()));
    if made.is_err() {
        new.remove()?;
    }
    made
}

fn fill_in(file: &File, (link, seen): (&File, &Seen), intent: &Intent, guard: &dyn Guard) -> Result<(), Why> {
    let was = &intent.copy;
    let writing = |source| Why::Failed { doing: "write a file beside it", source };
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        held(guard, link)?;
        let read = fill(link, &mut buffer, at)?;
        for (nth, part) in buffer[..read].chunks(HOLE).enumerate() {
            if part.iter().any(|&byte| byte != 0) {
                file.write_all_at(part, at + (nth * HOLE) as u64).map_err(writing)?;
            }
        }
        at += read as u64;
        if read < CHUNK {
            break;
        }
    }
    file.set_len(at).map_err(writing)?;
    same_bytes(link, file, was.size, || held(guard, link))?;
    if !look_at_open(link.as_fd())?.untouched(seen) {
        return Err(Why::Changed);
    }
    // The owner first: its change takes rights away.
    fchown(file, Some(Uid::from_raw(was.uid)), Some(Gid::from_raw(was.gid)))
        .map_err(failed("give it its owner"))?;
    fchmod(file, Mode::from_raw_mode(u32::from(was.mode))).map_err(failed("give it its mode"))?;
    give(file, &xattrs(link)?)?;
    let time =
        |(seconds, nanoseconds): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    let times = Timestamps { last_access: time(was.accessed), last_modification: time(was.modified) };
    futimens(file, &times).map_err(failed("give it its times"))?;
    fsync(file).map_err(failed("bring it to disk"))
}

/// Removes what an undo that was cut off left beside `at`: a half-made file of its own, or a name of what stands elsewhere too.
pub(crate) fn clear(at: &At, story: &Story, intent: &Intent, made: &[u64]) -> Result<(), Why> {
    let beside = beside_undo(&story.run, intent.n);
    let new = at.beside(&beside);
    let Some(found) = new.look()? else { return Ok(()) };
    let linked = found.stat.links > 1 && (found.inode == intent.kept.inode || made.contains(&found.inode));
    // While the name leads to the kept file the two have not changed places, so all that can stand beside it is ours.
    let waits = at.look()?.is_some_and(|seen| seen.inode == intent.kept.inode);
    if linked || waits || made.contains(&found.inode) {
        return new.remove();
    }
    Err(Why::Left(beside))
}
