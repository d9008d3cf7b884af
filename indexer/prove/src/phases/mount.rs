//! `mount`: the tree is unmounted under the daemon and comes back, by a bind mount of its folder. Takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use serde_json::Value;

use crate::Trouble;
use crate::judge::Judge;
use crate::phases::Said;
use crate::phases::seed::still_life;
use crate::program::Indexer;
use crate::trial::Trial;

/// A record that takes longer is missing.
const PATIENCE: Duration = Duration::from_secs(90);
/// Operations of each thread before and after.
const OPERATIONS: u64 = 300;

/// A mount of ours, detached on drop.
struct Mount(PathBuf);

impl Mount {
    /// `Err` where it is not allowed or not possible, with what the kernel said.
    fn bind(disk: &Path, point: &Path) -> Result<Mount, Errno> {
        mount_bind(disk, point)?;
        let mount = Mount(point.to_owned());
        // Nobody else's namespace shall see it come and go.
        mount_change(point, MountPropagationFlags::PRIVATE)?;
        Ok(mount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The folder is removed next, which must not descend into a live mount.
        let _ = unmount(&self.0, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

/// Unmounts twice, once as users do and once by force, and compares after each return.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Said::Skipped("it takes root".to_owned()));
    }
    let (disk, point) = (trial.folder.join("disk"), trial.folder.join("mounted"));
    for folder in [&disk, &point] {
        fs::create_dir(folder).map_err(Trouble::cannot("make a folder"))?;
    }
    let mut mount = match Mount::bind(&disk, &point) {
        Ok(mount) => mount,
        Err(errno) => return Ok(Said::Skipped(format!("a bind mount is refused: {errno}"))),
    };
    still_life(&point).map_err(Trouble::cannot("make a tree"))?;
    let mut indexer = trial.indexer("mount", &point)?;
    indexer.start()?;
    let mut judge = Judge::begin(&indexer, &point)?;
    let mut lost_after = Duration::ZERO;
    for (how, flags) in [("unmount", UnmountFlags::empty()), ("lazy unmount", UnmountFlags::DETACH)] {
        trial.step(how)?;
        trial.work(&point, OPERATIONS);
        let made = trial.judge(&indexer, &mut judge, &point, &format!("before the {how}"))?;
        if trial.failed() {
            break;
        }
        if let Err(errno) = end(trial, mount, flags)? {
            trial.expect(false, || format!("{how}: {errno}: the daemon keeps the user from it"));
            break;
        }
        let began = Instant::now();
        let lost = await_op(trial, &indexer, judge.seq(), "root_lost")?;
        lost_after = lost_after.max(began.elapsed());
        trial.expect(lost.is_some(), || format!("{how}: no `root_lost` record within {PATIENCE:?}"));
        let kept = indexer.ask(&[&"find", &point])?.len();
        trial.expect(kept == made.entries, || {
            format!("{how}: {} entries before, {kept} are kept", made.entries)
        });
        // What happens while it is away is found when it is back.
        trial.work(&disk, OPERATIONS);
        mount = Mount::bind(&disk, &point)
            .map_err(|errno| Trouble::Cannot(format!("failed to mount again: {errno}")))?;
        let found = await_op(trial, &indexer, judge.seq(), "root_found")?;
        trial.expect(found.is_some(), || format!("{how}: no `root_found` record within {PATIENCE:?}"));
        trial.judge(&indexer, &mut judge, &point, &format!("after the {how} and return"))?;
        if trial.failed() {
            break;
        }
        // As on the way there, for the next turn.
        indexer.settle()?;
    }
    drop(indexer);
    trial.fact("lost_after_ms", u64::try_from(lost_after.as_millis()).unwrap_or(u64::MAX));
    Ok(Said::Done(format!(
        "unmounted and lazily unmounted, and back: the loss was said within {} ms, no row went, what had changed \
         meanwhile was found",
        lost_after.as_millis()
    )))
}

/// Unmounts; a daemon that has a directory open closes it soon.
fn end(trial: &mut Trial<'_>, mount: Mount, flags: UnmountFlags) -> Result<Result<(), Errno>, Trouble> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let point = mount.0.clone();
    loop {
        match unmount(&point, flags | UnmountFlags::NOFOLLOW) {
            Ok(()) => {
                std::mem::forget(mount);
                return Ok(Ok(()));
            }
            Err(Errno::BUSY) if Instant::now() < deadline => trial.pause(Duration::from_millis(20))?,
            Err(errno) => return Ok(Err(errno)),
        }
    }
}

/// The first record of `op` after `since`; a settle asks for it.
fn await_op(
    trial: &Trial<'_>,
    indexer: &Indexer<'_>,
    since: u64,
    op: &str,
) -> Result<Option<Value>, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // While the root is away it cannot say yes.
        let _ = indexer.run(&[&"settle", &"--timeout", &"30s"])?;
        if let Some(record) = indexer.changes(since)?.into_iter().find(|record| record["op"] == op) {
            return Ok(Some(record));
        }
        trial.pause(Duration::from_millis(100))?;
    }
    Ok(None)
}
