//! `snapshots changes`: what the journal tells since the last file of changes, or the last snapshot, as one more file. Knows no column.

use std::path::Path;

use serde::Serialize;
use snapshot::changes::{self, Claim, Put, Writer};
use snapshot::{Moment, Shelved, shelf};

use crate::commands::snapshot::{failure, moment};
use crate::commands::{Answer, Context, Source, replay};
use crate::failure::{Failure, Outcome};
use crate::priority;
use crate::query::ChangesRequest;
use crate::render::{Out, bytes, count, quoted};

/// What `--json` says.
#[derive(Serialize)]
struct Summary<'a> {
    /// Null when nothing changed.
    file: Option<String>,
    epoch: &'a str,
    after: u64,
    watermark: u64,
    records: u64,
    bytes: u64,
}

/// Writes the next file below `folder`; none when nothing changed.
pub(super) fn run(context: &Context, folder: &Path) -> Result<Outcome, Failure> {
    priority::give_way();
    // Seqs go out, as ids do in a replay.
    replay::vouch(context)?;
    let mut source = Source::open(context)?;
    let moment = moment(&mut source.another()?)?;
    let shelved = shelf::snapshots(folder).map_err(failure)?;
    let snapshot = newest(&shelved, &moment);
    // From where the next file goes on, and at least from `least`.
    let after = |least: Option<u64>| -> Result<u64, Failure> {
        let files = changes::files(folder, Some(&moment.host)).map_err(failure)?;
        let told = files.iter().filter(|span| span.epoch == moment.epoch).map(|span| span.upto).max();
        told.max(least).or(snapshot).ok_or_else(|| {
            Failure::Usage(format!(
                "{} holds no snapshot of this index that changes could follow; write one by `indexer snapshots roll`",
                crate::paths::shown(folder)
            ))
        })
    };
    let next = |source: &mut Source, least: Option<u64>| -> Result<(u64, Option<Put>), Failure> {
        // Nothing is made where nothing can follow; and nobody else goes on with them from the claim on.
        after(least)?;
        let claim = Claim::new(folder, &moment).map_err(failure)?;
        let after = after(least)?;
        Ok((after, write(source, claim, &moment, after)?))
    };
    let (after, put) = match next(&mut source, None) {
        // Where the journal was shortened, a snapshot tells what files of changes cannot.
        Err(Failure::FreshStart { oldest }) => {
            match snapshot.filter(|seq| *seq >= oldest.saturating_sub(1)) {
                Some(snapshot) => {
                    if !context.global.quiet {
                        eprintln!(
                            "indexer: the journal begins at seq {oldest}: what came before is no longer kept, and the files of changes \
                             go on with the snapshot of seq {snapshot}"
                        );
                    }
                    next(&mut source.another()?, Some(snapshot))?
                }
                None => {
                    let told = after(None)?;
                    return Err(Failure::Failed(format!(
                        "the journal begins at seq {oldest}, and the last that is told is {told}: write a snapshot by `indexer snapshots \
                         roll`, and changes follow it"
                    )));
                }
            }
        }
        done => done?,
    };
    say(context, &moment, after, put.as_ref())?;
    Ok(Outcome::Done)
}

/// The last record of the newest snapshot of this index.
fn newest(shelved: &[Shelved], moment: &Moment) -> Option<u64> {
    let ours = shelved.iter().filter_map(|shelved| shelved.manifest.as_ref().ok());
    let ours = ours.filter(|manifest| (&manifest.host, &manifest.epoch) == (&moment.host, &moment.epoch));
    ours.map(|manifest| manifest.watermark).max()
}

/// The records after `after`, up to `moment`.
fn write(source: &mut Source, claim: Claim, moment: &Moment, after: u64) -> Result<Option<Put>, Failure> {
    if after >= moment.watermark {
        return Ok(None);
    }
    let mut writer = Writer::begin(claim, moment, after).map_err(failure)?;
    let request = ChangesRequest {
        since: Some(after),
        limit: Some(moment.watermark - after),
        ..ChangesRequest::default()
    };
    source.changes(&request, &mut |answer| {
        let change = match answer {
            Answer::Line(line) => serde_json::from_slice(line)
                .map_err(|error| Failure::doing("read the daemon's answer", error))?,
            Answer::Value(change) => change,
            Answer::Pause => return Ok(true),
        };
        writer.push(change).map_err(failure)
    })?;
    writer.finish().map(Some).map_err(failure)
}

fn say(context: &Context, moment: &Moment, after: u64, put: Option<&Put>) -> Result<(), Failure> {
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&Summary {
            file: put.map(|put| put.file.to_string_lossy().into_owned()),
            epoch: &moment.epoch,
            after,
            watermark: moment.watermark,
            records: put.map_or(0, |put| put.records),
            bytes: put.map_or(0, |put| put.bytes),
        })?;
    } else if !context.global.quiet {
        out.text(&match put {
            Some(put) => format!(
                "{} records, {}: {}\nup to seq {}\n",
                count(put.records),
                bytes(put.bytes),
                quoted(std::os::unix::ffi::OsStrExt::as_bytes(put.file.as_os_str())),
                count(moment.watermark)
            ),
            None => format!("nothing changed since seq {}\n", count(moment.watermark)),
        })?;
    }
    out.flush()?;
    Ok(())
}
