//! `overflow`: more happens than the kernel's queue holds while the daemon stands still. Where the queue has a bound it must be
//! said in the journal, and either way all must be found.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::Trouble;
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::count;

/// Beyond the bound, to be sure.
const MORE: u64 = 3_000;
/// A bound above this takes too long to pass.
const FAR: u64 = 2_000_000;
/// Files made at most where each event takes one.
const FILES: u64 = 30_000;

/// Floods, compares, and sees that what was made after the loss is followed too.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let tree = trial.tree();
    let by_inotify = trial.backend.contains("inotify");
    if !by_inotify && !trial.backend.contains("fanotify") {
        return Ok(Said::Skipped(format!("`{}` has no queue of ours", trial.backend)));
    }
    let limit = limit(if by_inotify { "inotify" } else { "fanotify" });
    if by_inotify && limit > FAR {
        return Ok(Said::Skipped(format!("the queue holds {} events, too many to pass here", count(limit))));
    }
    let (indexer, mut judge) = trial.take_live()?;
    let flood = tree.join("flood");
    prepare(&flood).map_err(Trouble::cannot("make a tree"))?;
    indexer.settle()?;
    trial.step("flooding the queue")?;
    let made = if by_inotify { limit + MORE } else { (limit + MORE).min(FILES) };
    indexer.while_stopped(|| {
        let flooded = if by_inotify { change_two(&flood, made) } else { make(&flood, made) };
        flooded.and_then(|()| lose(&flood)).map_err(Trouble::cannot("flood the queue"))
    })?;
    trial.tally.stops += 1;
    trial.tally.operations += made;
    trial.step("comparing")?;
    let judged = trial.judge(&indexer, &mut judge, &tree, "after the flood")?;
    let gaps = judged.records.iter().filter(|record| record["op"] == "gap").count();
    // Directories of which nobody was told must be followed like any other.
    fs::write(flood.join("new/below/later"), b"x").map_err(Trouble::cannot("write a file"))?;
    fs::write(flood.join("moved/old/later"), b"x").map_err(Trouble::cannot("write a file"))?;
    trial.judge(&indexer, &mut judge, &tree, "after changes in what the flood hid")?;
    if trial.backend == "inotify" {
        trial.expect(gaps > 0, || {
            format!("{made} events passed a queue of {limit}, and the journal has no `gap` record")
        });
    }
    fs::remove_dir_all(&flood).map_err(Trouble::cannot("remove a tree"))?;
    trial.judge(&indexer, &mut judge, &tree, "after the flood was removed")?;
    trial.live = Some((indexer, judge));
    trial.fact("limit_events", limit);
    trial.fact("made_events", made);
    trial.fact("gaps", gaps);
    let what = if gaps > 0 {
        trial.tally.overflows += 1;
        format!("a queue of {} ran over: the journal says so, and all was found", count(limit))
    } else {
        format!("the queue has no bound: {} changes waited in it, and none was lost", count(made))
    };
    Ok(Said::Done(what))
}

fn limit(of: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/sys/fs/{of}/max_queued_events")).unwrap_or_default();
    // The kernel's own default, should it not be told.
    text.trim().parse().unwrap_or(16_384)
}

fn prepare(flood: &Path) -> io::Result<()> {
    fs::create_dir_all(flood.join("old/deep"))?;
    fs::create_dir_all(flood.join("gone/deep"))?;
    fs::write(flood.join("gone/deep/file"), b"x")?;
    fs::write(flood.join("a"), b"")?;
    fs::write(flood.join("b"), b"")
}

/// Two files in turn: only events that equal the one before them are merged (inotify(7)).
fn change_two(flood: &Path, times: u64) -> io::Result<()> {
    for nth in 0..times {
        let mode = if nth % 4 < 2 { 0o600 } else { 0o640 };
        fs::set_permissions(
            flood.join(if nth % 2 == 0 { "a" } else { "b" }),
            fs::Permissions::from_mode(mode),
        )?;
    }
    Ok(())
}

/// One event a file, as all that happens to one is merged.
fn make(flood: &Path, files: u64) -> io::Result<()> {
    for nth in 0..files {
        fs::write(flood.join(format!("{nth}")), b"")?;
    }
    (0..files).step_by(2).try_for_each(|nth| fs::remove_file(flood.join(format!("{nth}"))))
}

/// What nobody is told of any more.
fn lose(flood: &Path) -> io::Result<()> {
    fs::create_dir_all(flood.join("new/below"))?;
    fs::write(flood.join("new/below/file"), b"lost")?;
    fs::create_dir(flood.join("moved"))?;
    fs::rename(flood.join("old"), flood.join("moved/old"))?;
    fs::remove_dir_all(flood.join("gone"))
}
