//! `kill`: the daemon dies (SIGKILL) at random moments, in the first scan, at its start and while it follows. What it has told
//! must be in the journal for ever, and the next start must make index and disk agree.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::Trouble;
use crate::judge::{Judge, lost_or_changed};
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::{count, many};

/// Kills while it follows, and after them, in the first scan of a new index, half as many.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let kills = u64::from(trial.options.kills);
    if kills == 0 {
        return Ok(Said::Skipped("--kills 0".to_owned()));
    }
    let in_scan = kills / 3;
    let before = trial.tally.kills;
    let told = live(trial, kills - in_scan)?;
    if !trial.failed() && in_scan > 0 {
        scanning(trial, in_scan)?;
    }
    let kills = trial.tally.kills - before;
    trial.fact("kills", kills);
    trial.fact("kills_in_scan", in_scan);
    trial.fact("told_before", told);
    Ok(Said::Done(format!(
        "{}, {in_scan} of them in a first scan: no record of {} told before was lost or changed, no number \
         is missing or given twice, index and disk agree",
        many(kills, "kill"),
        count(told)
    )))
}

/// Answers how many records were told before the kills.
fn live(trial: &mut Trial<'_>, kills: u64) -> Result<u64, Trouble> {
    let tree = trial.tree();
    let (mut indexer, mut judge) = trial.take_live()?;
    let mut told = 0;
    for kill in 1..=kills {
        trial.step(&format!("kill {kill} of {kills}"))?;
        let (before, between) = (20 + trial.rng.below(600), trial.rng.below(100));
        let at_start = trial.rng.chance(33).then(|| Duration::from_millis(trial.rng.below(80)));
        let since = judge.seq();
        let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
        trial.amid_work(&tree, |trial| {
            let follower = indexer.follow(since)?;
            trial.pause(Duration::from_millis(before))?;
            indexer.kill();
            trial.tally.kills += 1;
            // It ends with the daemon.
            while let Some((_, line)) = follower.next_line(Duration::from_secs(20)) {
                // The last one may have been cut off.
                let Ok(record) = serde_json::from_str::<Value>(&line) else { break };
                seen.insert(record["seq"].as_u64().unwrap_or(0), record);
            }
            trial.pause(Duration::from_millis(between))?;
            indexer.spawn()?;
            if let Some(after) = at_start {
                indexer.is_live_within(after)?;
                indexer.kill();
                trial.tally.kills += 1;
                indexer.spawn()?;
            }
            Ok(())
        })?;
        indexer.wait_live()?;
        let when = format!("kill {kill}");
        let made = trial.judge(&indexer, &mut judge, &tree, &when)?;
        told += seen.len() as u64;
        let wrong = lost_or_changed(&seen, &made.records);
        trial.expect(wrong.is_empty(), || format!("{when}: {}", wrong.join("; ")));
        if trial.failed() {
            break;
        }
    }
    trial.live = Some((indexer, judge));
    Ok(told)
}

fn scanning(trial: &mut Trial<'_>, kills: u64) -> Result<(), Trouble> {
    let tree = trial.tree();
    trial.live = None;
    let mut indexer = trial.indexer("killed", &tree)?;
    let state = trial.home.join("killed/state");
    let mut judge = trial.amid_work(&tree, |trial| {
        for kill in 1..=kills {
            trial.step(&format!("kill {kill} of {kills} in a first scan"))?;
            let after = Duration::from_millis(trial.rng.below(150));
            indexer.spawn()?;
            let live = indexer.is_live_within(after)?;
            indexer.kill();
            trial.tally.kills += 1;
            if live {
                // Too late for this one; the next shall find a first scan again.
                fs::remove_dir_all(&state).map_err(Trouble::cannot("remove a state folder"))?;
            }
        }
        indexer.start()?;
        Judge::begin(&indexer, &trial.tree())
    })?;
    trial.judge(&indexer, &mut judge, &tree, "after kills in a first scan")?;
    let all = indexer.changes(0)?;
    let seeded = all.iter().filter(|record| record["op"] == "seeded").count();
    let gapless = all.iter().zip(1_u64..).all(|(record, seq)| record["seq"] == seq);
    trial.expect(seeded == 1 && gapless, || {
        format!("after kills in a first scan: {seeded} `seeded` records, numbers gapless: {gapless}")
    });
    Ok(())
}
