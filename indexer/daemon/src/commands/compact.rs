//! `compact`: gives space inside the index file back.

use index::Index;

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, bytes};
use crate::state::when_free;

/// Compacts the index file; refused while a daemon runs.
pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let state = context.state()?;
    let _lock = state.lock()?;
    let settings = context.settings()?.index();
    let mut index = when_free(|| Index::open(&state.index_path(), settings))?;
    let before = index.file_length();
    // One round may free what the next can use.
    while index.compact()? {}
    let after = index.file_length();
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&serde_json::json!({"before": before, "after": after}))?;
    } else {
        out.text(&format!("{} before, {} after\n", bytes(before), bytes(after)))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}
