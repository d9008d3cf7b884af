//! `work`: rounds of random work while the daemon follows, each judged when it has come to rest.

use std::time::{Duration, Instant};

use crate::Trouble;
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::{count, many};

/// One round of work.
const ROUND: Duration = Duration::from_millis(2_500);

/// Works and compares in turn for about half of all the time there is.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let tree = trial.tree();
    let (indexer, mut judge) = trial.take_live()?;
    let (began, before) = (Instant::now(), trial.tally.operations);
    let budget = Duration::from_secs(trial.options.seconds).mul_f64(0.45);
    let (mut round, mut records, mut entries) = (0, 0, 0);
    while trial
        .options
        .rounds
        .map_or(round == 0 || began.elapsed() < budget, |rounds| round < u64::from(rounds))
    {
        round += 1;
        trial.step(&format!("round {round}"))?;
        let left = budget.saturating_sub(began.elapsed());
        let time = if trial.options.rounds.is_some() { ROUND } else { ROUND.min(left) };
        trial.amid_work(&tree, |trial| trial.pause(time))?;
        trial.step(&format!("round {round}: comparing"))?;
        let made = trial.judge(&indexer, &mut judge, &tree, &format!("round {round}"))?;
        records += made.records.len();
        entries = made.entries;
        if trial.failed() {
            break;
        }
    }
    let done = trial.tally.operations - before;
    trial.fact("rounds", round);
    trial.fact("operations", done);
    trial.fact("records", records);
    trial.live = Some((indexer, judge));
    Ok(Said::Done(format!(
        "{}, {} operations by {}, {} records; {} entries, index and disk agree, and so does the journal",
        many(round, "round"),
        count(done),
        many(trial.options.threads as u64, "thread"),
        count(records as u64),
        count(entries as u64)
    )))
}
