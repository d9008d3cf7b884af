//! The relay as part of the daemon: what it is told, and how it shows. Knows no broker's protocol.

use std::sync::Arc;

use consumer::Feed;
use publish::{Relay, Report, Settings};
use record::wire::message::Origin;

use crate::alerting::EngineFeed;
use crate::asking::Asking;
use crate::engine::Engine;
use crate::engine::status::Status;
use crate::failure::Failure;

/// Publishes to the broker of `settings`; nothing without.
///
/// # Errors
/// [`Failure::Usage`] for settings that cannot be used, whatever the broker.
pub(crate) fn start(engine: &Arc<Engine>, settings: Option<Settings>) -> Result<Option<Arc<Relay>>, Failure> {
    let Some(settings) = settings else { return Ok(None) };
    let feed = EngineFeed::new(engine);
    let epoch = feed.epoch().map_err(|error| Failure::doing("read the epoch", error))?;
    let relay = Relay::start(Arc::new(feed), settings, origin(epoch));
    relay.map(|relay| Some(Arc::new(relay))).map_err(|error| Failure::Usage(error.to_string()))
}

/// Whom workers on other hosts are asked through.
///
/// # Errors
/// When the epoch cannot be read.
pub(crate) fn asking(engine: &Arc<Engine>, settings: Option<&Settings>) -> Result<Option<Asking>, Failure> {
    let Some(settings) = settings else { return Ok(None) };
    let epoch = EngineFeed::new(engine).epoch().map_err(|error| Failure::doing("read the epoch", error))?;
    Ok(Some(Asking::new(settings.clone(), origin(epoch))))
}

/// Where messages of this index come from.
pub(crate) fn origin(epoch: String) -> Origin {
    let host = host();
    let source = format!("/indexer/{}", host.replace(char::is_whitespace, "_"));
    Origin { source, host, epoch, version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// This host's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What stands in files as that which wrote them.
pub(crate) fn tool() -> String {
    format!("indexer {}", env!("CARGO_PKG_VERSION"))
}

/// Whether the settings can be used, before anything is begun.
///
/// # Errors
/// [`Failure::Usage`] for those that cannot.
pub(crate) fn check(settings: Option<&Settings>) -> Result<(), Failure> {
    let Some(settings) = settings else { return Ok(()) };
    settings.check().map(drop).map_err(|error| Failure::Usage(error.to_string()))
}

/// Adds how it fares to a status.
pub(crate) fn show(report: Option<Report>, status: &mut Status) {
    if let Some(report) = &report {
        if let Some(why) = &report.trouble {
            status.warnings.push(format!("amqp: records are not published: {why}"));
        }
        if report.lost > 0 {
            status.warnings.push(format!(
                "amqp: {} records left the journal before the broker took them; subscribers were told by a gap",
                report.lost
            ));
        }
    }
    status.amqp = report;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_a_warning() {
        let mut status = Status::default();
        show(None, &mut status);
        assert_eq!((status.amqp.is_none(), status.warnings.len()), (true, 0));
        let report = Report { trouble: Some("refused".into()), lost: 3, ..Report::default() };
        show(Some(report), &mut status);
        assert_eq!(status.warnings.len(), 2, "{:?}", status.warnings);
        assert!(status.warnings[0].ends_with("not published: refused"), "{:?}", status.warnings);
        assert!(status.warnings[1].contains("3 records"), "{:?}", status.warnings);
    }
}
