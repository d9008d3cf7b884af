//! `latency`: from a change to its record at a follower's standard input, over some hundred single changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Trouble;
use crate::phases::Said;
use crate::program::Follower;
use crate::trial::Trial;

/// Files, each made, changed, renamed and removed.
const FILES: usize = 60;
/// What a file's rights are changed to.
const MODE: u32 = 0o711;
/// A record that takes longer is missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes one change after the other and waits for its record.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    if trial.backend == "sweep" || trial.backend == "none" {
        return Ok(Said::Skipped("sweeps alone tell of changes, when they are made".to_owned()));
    }
    let tree = trial.tree();
    let (indexer, mut judge) = trial.take_live()?;
    let folder = tree.join("latency");
    fs::create_dir_all(&folder).map_err(Trouble::cannot("make a folder"))?;
    indexer.settle()?;
    let follower = indexer.follow(indexer.seq()?)?;
    let mut times = Vec::new();
    for file in 0..FILES {
        trial.step(&format!("change {} of {}", times.len() + 1, FILES * 4))?;
        let (first, second) = (folder.join(format!("{file}")), folder.join(format!("{file} renamed")));
        // No file is made executable, so this is a change whatever the umask.
        let mode = fs::Permissions::from_mode(MODE);
        for (op, at) in [("created", &first), ("attrib", &first), ("renamed", &second), ("deleted", &second)]
        {
            let began = Instant::now();
            let done = match op {
                "created" => fs::write(&first, b"x"),
                "attrib" => fs::set_permissions(&first, mode.clone()),
                "renamed" => fs::rename(&first, &second),
                _ => fs::remove_file(&second),
            };
            done.map_err(Trouble::cannot("change a file"))?;
            let Some(came) = await_record(&follower, at, op) else {
                trial.expect(false, || format!("no record of {op} of {} within a minute", at.display()));
                break;
            };
            times.push(came.saturating_duration_since(began));
        }
        if trial.failed() {
            break;
        }
    }
    drop(follower);
    fs::remove_dir_all(&folder).map_err(Trouble::cannot("remove a folder"))?;
    trial.judge(&indexer, &mut judge, &tree, "after single changes")?;
    trial.live = Some((indexer, judge));
    trial.tally.operations += times.len() as u64;
    times.sort_unstable();
    let at = |part: usize| {
        times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    for (name, part) in [("p50_us", 50), ("p99_us", 99), ("max_us", 100)] {
        trial.fact(name, u64::try_from(at(part).as_micros()).unwrap_or(u64::MAX));
    }
    trial.fact("changes", times.len());
    let milliseconds = |part| format!("{:.1} ms", at(part).as_secs_f64() * 1e3);
    Ok(Said::Done(format!(
        "{} single changes were told after {} (half), {} (99 of 100), {} (all)",
        times.len(),
        milliseconds(50),
        milliseconds(99),
        milliseconds(100)
    )))
}

/// When the record came. A file may be told of more than once, and a change of rights together with the end of a write.
fn await_record(follower: &Follower, path: &Path, op: &str) -> Option<Instant> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (came, line) = follower.next_line(deadline.saturating_duration_since(Instant::now()))?;
        let record: Value = serde_json::from_str(&line).ok()?;
        if record["path"].as_str().map(Path::new) != Some(path) {
            continue;
        }
        let told = record["op"].as_str().unwrap_or_default();
        let it = match op {
            "attrib" => record["after"]["mode"] == MODE,
            // Without a witness a rename is an end and a beginning.
            "renamed" => ["renamed", "created"].contains(&told),
            op => told == op,
        };
        if it {
            return Some(came);
        }
    }
}
