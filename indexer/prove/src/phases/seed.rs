//! `seed`: the first scan while the tree changes under it.

use std::fs;
use std::path::Path;

use crate::Trouble;
use crate::judge::Judge;
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::count;
use std::time::{Duration, Instant};

/// Folders of the part that stands still, and files in each.
const STILL: (usize, usize) = (120, 25);
/// Work goes on for so long after the scan, unknowing.
const AFTER: Duration = Duration::from_millis(500);

/// Makes a tree, works in it, and starts the daemon meanwhile.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let tree = trial.tree();
    trial.step("making a tree")?;
    still_life(&tree).map_err(Trouble::cannot("make a tree"))?;
    let before = trial.tally.operations;
    let (indexer, mut judge, took) = trial.amid_work(&tree, |trial| {
        let mut indexer = trial.indexer("state", &trial.tree())?;
        let began = Instant::now();
        indexer.start()?;
        let took = began.elapsed();
        trial.step("work goes on")?;
        let judge = Judge::begin(&indexer, &trial.tree())?;
        trial.pause(AFTER)?;
        Ok((indexer, judge, took))
    })?;
    trial.step("comparing")?;
    let made = trial.judge(&indexer, &mut judge, &tree, "after the first scan")?;
    let done = trial.tally.operations - before;
    trial.fact("entries", made.entries);
    trial.fact("operations", done);
    trial.live = Some((indexer, judge));
    Ok(Said::Done(format!(
        "{} entries, live after {} ms amid {} operations; index and disk agree",
        count(made.entries as u64),
        took.as_millis(),
        count(done)
    )))
}

/// What stands still makes the scan last.
pub(crate) fn still_life(tree: &Path) -> std::io::Result<()> {
    for folder in 0..STILL.0 {
        let folder = tree.join(format!("still/{}/{folder}", folder % 7));
        fs::create_dir_all(&folder)?;
        for file in 0..STILL.1 {
            fs::write(folder.join(format!("file {file}")), vec![0; file * 40])?;
        }
    }
    // The names of people and programs: none of these means anything to a file system.
    let odd = tree.join("odd");
    fs::create_dir_all(&odd)?;
    for name in ["-rf", " ", "a\nb", "tab\there", "…", "ü", "u\u{308}", "'\"\\", "con.txt ", "%s%n", "*", "~"]
    {
        // A file system may refuse some of them.
        let _ = fs::write(odd.join(name), name);
    }
    Ok(())
}
