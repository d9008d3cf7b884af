//! The engine as alert rules and the relay see it: its journal, their cursors, how far behind it is. Holds nothing of the
//! engine between two questions, so that a rule that hangs does not keep the index open.

use std::error::Error;
use std::sync::{Arc, Weak};
use std::time::Duration;

use alert::{AlertError, Alerts, Report, Rule};
use consumer::{Feed, Source, SourceError};
use index::{IndexError, Reader};
use record::{Record, RootId, Seq};
use serde::{Deserialize, Serialize};

use crate::engine::status::Status;
use crate::engine::{Engine, EngineError};
use crate::failure::Failure;

/// Follows `rules` on `engine`.
///
/// # Errors
/// [`Failure::Usage`] for a rule that lacks something.
pub(crate) fn start(engine: &Arc<Engine>, rules: Vec<Rule>) -> Result<Arc<Alerts>, Failure> {
    Alerts::start(Arc::new(EngineFeed::new(engine)), rules)
        .map(Arc::new)
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// Whether each rule has what it needs, before anything is begun.
///
/// # Errors
/// [`Failure::Usage`] for one that has not.
pub(crate) fn check(rules: &[Rule]) -> Result<(), Failure> {
    Alerts::check(rules).map_err(|error| Failure::Usage(error.to_string()))
}

/// Adds how the rules fare to a status.
pub(crate) fn show(reports: Vec<Report>, status: &mut Status) {
    for report in &reports {
        let Report { rule, lost, trouble, .. } = report;
        if *lost > 0 {
            status.warnings.push(format!(
                "alert {rule}: {lost} records were not told of since the start: given up, or no longer in the journal"
            ));
        }
        if let Some(why) = trouble {
            status.warnings.push(format!("alert {rule}: {why}"));
        }
    }
    status.alerts = reports;
}

/// What became of a sample: the answer of `alerts test --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// It arrived.
    pub(crate) delivered: bool,
    /// Why not; null when it did.
    pub(crate) why: Option<String>,
}

impl Tried {
    pub(crate) fn of(tried: Result<Result<(), String>, AlertError>) -> Tried {
        let why = match tried {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(error) => Some(error.to_string()),
        };
        Tried { delivered: why.is_none(), why }
    }
}

/// See [`Feed`].
pub(crate) struct EngineFeed(Weak<Engine>);

impl EngineFeed {
    pub(crate) fn new(engine: &Arc<Engine>) -> EngineFeed {
        EngineFeed(Arc::downgrade(engine))
    }

    fn engine(&self) -> Result<Arc<Engine>, SourceError> {
        self.0.upgrade().ok_or_else(|| failed(EngineError::Stopped))
    }

    fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, IndexError>) -> Result<T, SourceError> {
        let engine = self.engine()?;
        engine.index().read().and_then(|reader| read(&reader)).map_err(|error| match error {
            IndexError::FreshStartRequired { oldest } => SourceError::FreshStartRequired { oldest },
            other => failed(other),
        })
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> SourceError {
    SourceError::Failed(Box::new(error))
}

impl Source for EngineFeed {
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError> {
        let found = self.cursors()?.into_iter().find(|(name, _)| name == consumer);
        Ok(found.map_or(Seq(0), |(_, seq)| seq))
    }

    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        self.read(|reader| {
            let mut records = Vec::new();
            reader.each_record::<IndexError>(after, |record| {
                records.push(record);
                Ok(records.len() < most)
            })?;
            Ok(records)
        })
    }

    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError> {
        self.engine()?.confirm(consumer, seq).map_err(failed)
    }
}

impl Feed for EngineFeed {
    fn epoch(&self) -> Result<String, SourceError> {
        self.engine()?.index().epoch().map(|epoch| format!("{epoch:032x}")).map_err(failed)
    }

    fn last(&self) -> Result<Seq, SourceError> {
        self.read(Reader::seq)
    }

    fn cover(&self, seq: Seq) -> Result<Seq, SourceError> {
        self.engine()?.cover(seq).map_err(failed)
    }

    fn oldest(&self) -> Result<Seq, SourceError> {
        self.read(Reader::oldest)
    }

    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError> {
        self.read(Reader::cursors)
    }

    fn forget(&self, consumer: &str) -> Result<(), SourceError> {
        self.engine()?.forget_soon(consumer).map_err(failed)
    }

    fn root(&self, root: RootId) -> Result<Vec<u8>, SourceError> {
        let roots = self.read(Reader::roots)?;
        Ok(roots.into_iter().find(|row| row.id == root).map_or_else(Vec::new, |row| row.path.to_vec()))
    }

    fn roots(&self) -> Result<Vec<RootId>, SourceError> {
        Ok(self.read(Reader::roots)?.into_iter().map(|row| row.id).collect())
    }

    fn lag(&self) -> Duration {
        self.engine().map_or(Duration::ZERO, |engine| engine.lag())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_does_not_arrive_are_warnings() {
        let fine = Report { rule: "fine".into(), ..Report::default() };
        let bad = Report {
            rule: "bad".into(),
            lost: 3,
            trouble: Some("the answer is 500".into()),
            ..Report::default()
        };
        let mut status = Status::default();
        show(vec![fine, bad], &mut status);
        assert_eq!(status.alerts.len(), 2);
        assert_eq!(status.warnings.len(), 2, "{:?}", status.warnings);
        assert!(status.warnings[0].starts_with("alert bad: 3 records"), "{:?}", status.warnings);
        assert_eq!(status.warnings[1], "alert bad: the answer is 500");
    }
}
