//! `settle`: waits until what was done before is known.

use std::time::Duration;

use crate::commands::{Context, Source};
use crate::engine::status::Settled;
use crate::failure::{Failure, Outcome};
use crate::query::SettleRequest;
use crate::render::{Out, count};

/// Asks the daemon to settle; without one nothing is opened. Ends with 1 when a root cannot be vouched for.
pub(crate) fn run(context: &Context, timeout: Duration) -> Result<Outcome, Failure> {
    let path = context.state_path()?;
    let none = || {
        Failure::Failed(format!(
            "no daemon runs on {}; start one with `indexer watch`",
            crate::paths::shown(&path)
        ))
    };
    if !path.try_exists().unwrap_or(false) {
        return Err(none());
    }
    let mut client = Source::daemon(&context.state()?)?.ok_or_else(none)?;
    let timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    let settled: Settled = client.post("/v1/settle", &SettleRequest { timeout_ms })?;
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&settled)?;
    } else if !context.global.quiet {
        out.text(&format!("settled: seq {}, {} ms\n", count(settled.seq), settled.took_ms))?;
    }
    out.flush()?;
    for root in &settled.unsettled {
        eprintln!("indexer: not settled: {root}");
    }
    Ok(Outcome::found(settled.unsettled.is_empty()))
}
