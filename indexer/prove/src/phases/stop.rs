//! `stop`: the daemon stands still (SIGSTOP) while the tree is rearranged in ways that no order of events tells.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::Trouble;
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::many;

/// Random operations of each thread beside the rearrangement.
const OPERATIONS: u64 = 300;

/// Rearranges and compares, twice and more often the longer there is time.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let tree = trial.tree();
    let (indexer, mut judge) = trial.take_live()?;
    let rounds = 2 + trial.options.seconds / 30;
    for round in 1..=rounds {
        trial.step(&format!("round {round} of {rounds}"))?;
        let folder = tree.join(format!("stop {round}"));
        prepare(&folder).map_err(Trouble::cannot("make a tree"))?;
        indexer.settle()?;
        indexer.while_stopped(|| {
            rearrange(&folder).map_err(Trouble::cannot("rearrange a tree"))?;
            if round % 2 == 0 {
                trial.work(&tree, OPERATIONS);
            }
            Ok(())
        })?;
        trial.tally.stops += 1;
        trial.judge(&indexer, &mut judge, &tree, &format!("stop {round}"))?;
        fs::remove_dir_all(&folder).map_err(Trouble::cannot("remove a tree"))?;
        if trial.failed() {
            break;
        }
    }
    trial.fact("stops", rounds);
    trial.live = Some((indexer, judge));
    Ok(Said::Done(format!(
        "stood still {}: rotations, directories turned inside out, names taken over by links and back; index and \
         disk agree",
        many(rounds, "time")
    )))
}

fn prepare(at: &Path) -> io::Result<()> {
    for folder in ["foo/deep/er", "a", "b", "c", "in/side/out", "tolink", "gone", "back", "todir/x"] {
        fs::create_dir_all(at.join(folder))?;
        fs::write(at.join(folder).join("file"), folder)?;
    }
    for file in ["one", "two", "victim", "tofolder", "there"] {
        fs::write(at.join(file), file)?;
    }
    // Where links are refused, the rest is tried all the same.
    let _ = symlink("a", at.join("link"));
    let _ = fs::hard_link(at.join("one"), at.join("a/another"));
    Ok(())
}

fn rearrange(at: &Path) -> io::Result<()> {
    let rename = |from: &str, to: &str| fs::rename(at.join(from), at.join(to));
    // mv foo bar && ln -s bar foo
    rename("foo", "bar")?;
    let _ = symlink("bar", at.join("foo"));
    // Three directories take each other's names.
    rename("a", "tmp")?;
    rename("b", "a")?;
    rename("c", "b")?;
    rename("tmp", "c")?;
    // in/side/out becomes out/in/side.
    rename("in/side/out", "out")?;
    rename("in", "out/in")?;
    // A directory becomes a link, a link a directory, a directory a file, a file a directory.
    fs::remove_dir_all(at.join("tolink"))?;
    let _ = symlink("/", at.join("tolink"));
    let _ = fs::remove_file(at.join("link"));
    fs::create_dir_all(at.join("link/new"))?;
    fs::remove_dir_all(at.join("todir"))?;
    fs::write(at.join("todir"), b"a file now")?;
    fs::remove_file(at.join("tofolder"))?;
    fs::create_dir(at.join("tofolder"))?;
    fs::write(at.join("tofolder/file"), b"")?;
    // Over a victim; gone and made again (inode numbers come back); away and back again.
    rename("one", "victim")?;
    fs::remove_dir_all(at.join("gone"))?;
    fs::create_dir(at.join("gone"))?;
    fs::write(at.join("gone/file"), b"another")?;
    rename("back", "away")?;
    rename("away", "back")?;
    rename("there", "here")?;
    fs::write(at.join("there"), b"not the same")?;
    // A file and a directory at once, where it can be done.
    let _ = renameat_with(CWD, at.join("two"), CWD, at.join("bar/deep"), RenameFlags::EXCHANGE);
    Ok(())
}
