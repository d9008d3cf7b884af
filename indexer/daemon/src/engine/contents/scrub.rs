//! Reading again what was read before: what is told of it, and where it begins and ends. The judgement is of `rehash`.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::Time;
use record::wire::v1;
use rehash::{Meter, Pace, Proof, Scrubbed, ShelfError, Work};
use serde::{Deserialize, Serialize};

use super::EngineShelf;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is to be read again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrub {
    /// Only what lies at or below this path.
    pub(crate) path: Option<Vec<u8>>,
    /// Only what was not read for so long.
    pub(crate) older_than: Duration,
    /// Bytes a second at most.
    pub(crate) rate: Option<u64>,
}

/// One line of `scrub --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubLine {
    /// `rotten`, `unsure`, `unread` of a file; `progress` and, last, `done` of all.
    pub(crate) what: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The path's bytes in base64, where `path` cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Why it is unsure, or could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The digest that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) was: Option<String>,
    /// The digest that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) is: Option<String>,
    /// Of all: how many files came out how, and bytes read.
    #[serde(flatten)]
    pub(crate) sum: Option<Sum>,
}

/// What was read so far, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    /// Files that are what they were.
    pub(crate) same: u64,
    /// Files that changed in an ordinary way meanwhile.
    pub(crate) changed: u64,
    /// Files that rotted.
    pub(crate) rotten: u64,
    /// Files of which it is not sure.
    pub(crate) unsure: u64,
    /// Files that could not be read.
    pub(crate) unread: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
}

/// Reads again; `emit` answers false for no more.
pub(crate) fn scrub(
    shelf: &EngineShelf,
    (stop, meter): (&AtomicBool, &Meter),
    scrub: &Scrub,
    emit: &mut dyn FnMut(ScrubLine) -> bool,
) -> Result<(), ShelfError> {
    let pace = Pace::new(scrub.rate);
    let mut work = Work::new(shelf, &pace, stop, meter, 1);
    let age = i128::try_from(scrub.older_than.as_nanos()).unwrap_or(i128::MAX);
    let time = Time(Time::now().0.saturating_sub(age));
    let wanted = |id| match &scrub.path {
        None => Ok(true),
        Some(top) => Ok(shelf.path(id)?.is_some_and(|path| crate::paths::is_below(&path, top))),
    };
    let mut sum = Sum::default();
    let mut told = Instant::now();
    let mut failed = None;
    let done = work.scrub(time, &wanted, &mut |id, proof| {
        let (what, why, digests) = match proof {
            Proof::Same | Proof::Changed => {
                let count = if proof == Proof::Same { &mut sum.same } else { &mut sum.changed };
                *count += 1;
                sum.bytes = meter.counted().bytes;
                if told.elapsed() < PROGRESS {
                    return true;
                }
                told = Instant::now();
                return emit(ScrubLine {
                    what: "progress".to_owned(),
                    sum: Some(sum),
                    ..ScrubLine::default()
                });
            }
            Proof::Rotten { was, is } => ("rotten", None, Some((was, is))),
            Proof::Unsure(why) => ("unsure", Some(why.to_owned()), None),
            Proof::Refused(why) => ("unread", Some(why), None),
        };
        let (path, path_raw) = match shelf.shown(id) {
            Ok((path, raw)) => (Some(path), raw),
            Err(error) => {
                failed = Some(error);
                return false;
            }
        };
        let text = |digest| v1::digest_text(&digest);
        let (was, is) = digests.map_or((None, None), |(was, is)| (Some(text(was)), Some(text(is))));
        emit(ScrubLine { what: what.to_owned(), path, path_raw, why, was, is, sum: None })
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let Scrubbed { same, changed, rotten, unsure, refused: unread, bytes } = done;
    let sum = Some(Sum { same, changed, rotten, unsure, unread, bytes });
    emit(ScrubLine { what: "done".to_owned(), sum, ..ScrubLine::default() });
    Ok(())
}
