//! `consume alert`: alert rules over what indexers publish, on a host without an index. A message is acknowledged when the inbox has it;
//! from there the rules take it at their own pace, as from a journal.

use std::path::Path;
use std::sync::Arc;

use alert::{Alerts, Rule, When};
use inbox::{Inbox, InboxError, Incoming, Limits};
use publish::{Arrived, Fatal, Handler, Stop, Verdict, subscribe};
use tracing::{info, warn};

use super::batches;
use crate::cli::Broker;
use crate::commands::{Context, interrupt};
use crate::failure::{Failure, Outcome};

/// What to write where no rule is.
const NO_RULES: &str = "the configuration has no [[alert]]; write rules into the file that --config names, such as\n\n  \
                        [[alert]]\n  name = \"rot\"\n  op = \"corrupt\"\n  command = [\"/usr/local/bin/tell\"]";

/// Tells of what arrives until told to leave.
pub(super) fn run(context: &Context, broker: &Broker, folder: &Path) -> Result<Outcome, Failure> {
    let rules = context.file.rules.clone();
    check(&rules)?;
    let settings = super::settings(context, &broker.at)?;
    let subscription = super::subscription(&settings, broker, "alert")?;
    let failed = |error: InboxError| Failure::Failed(error.to_string());
    let inbox = Arc::new(Inbox::open(folder, Limits::default()).map_err(failed)?);
    // Before anything is taken: what comes from now on is for all of them.
    inbox.begin(&rules.iter().map(Rule::consumer).collect::<Vec<_>>()).map_err(failed)?;
    let stop = Stop::default();
    let asked = stop.clone();
    interrupt::at_first(move || asked.stop())?;
    let alerts = Alerts::start(Arc::clone(&inbox) as Arc<dyn consumer::Feed>, rules)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let mut taker = Taker { inbox, alerts, full: false };
    let ended = subscribe(&settings, &subscription, &mut taker, &stop);
    // Cursors of what arrived are moved; the rest is told at the next start.
    taker.alerts.stop();
    ended.map(|()| Outcome::Done).map_err(|error| Failure::Failed(error.to_string()))
}

/// Whether there are rules, and all of them can be followed here.
fn check(rules: &[Rule]) -> Result<(), Failure> {
    if rules.is_empty() {
        return Err(Failure::Usage(NO_RULES.to_owned()));
    }
    if let Some(rule) = rules.iter().find(|rule| matches!(rule.when, When::Lag(_))) {
        return Err(Failure::Usage(format!(
            "alert {}: lag is how far an index is behind, and none is followed here; leave that rule to `indexer watch`, and name \
             a configuration without it by --config",
            rule.name
        )));
    }
    crate::alerting::check(rules)
}

/// Puts what arrives into the inbox, and rings the rules.
struct Taker {
    inbox: Arc<Inbox>,
    alerts: Alerts,
    full: bool,
}

impl Handler for Taker {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        let verdicts = batches::each(messages, &mut |some| {
            let incoming: Vec<Incoming<'_>> =
                some.iter().map(|one| Incoming { id: &one.id, key: &one.key, body: &one.body }).collect();
            self.inbox.take(&incoming).map_err(|error| Fatal(error.to_string()))
        })?;
        self.alerts.tell();
        Ok(verdicts)
    }

    fn has_room(&mut self) -> Result<bool, Fatal> {
        let room = self.inbox.has_room().map_err(|error| Fatal(error.to_string()))?;
        if room && std::mem::take(&mut self.full) {
            info!("there is room again; the queue is read on");
        }
        if !room && !self.full {
            self.full = true;
            let behind = self.inbox.furthest_behind().map_err(|error| Fatal(error.to_string()))?;
            let (consumer, messages) = behind.unwrap_or_default();
            warn!(
                rule = consumer.trim_start_matches("alert/"),
                messages,
                "an alert rule is too far behind; the queue keeps the rest until half of that is told"
            );
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;

    fn said(text: &str) -> String {
        let file = File::parse(text, Path::new("/etc/indexer.toml"), &|_| None).expect("good rules");
        match check(&file.rules) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn rules_that_have_no_meaning_here_are_refused_and_none_is_too() {
        assert!(said("").contains("[[alert]]\n  name = "), "{}", said(""));
        let lag = said("[[alert]]\nname = \"behind\"\nlag = \"1m\"\nlog = true\n");
        assert!(lag.contains("alert behind") && lag.contains("watch"), "{lag}");
        assert_eq!(said("[[alert]]\nname = \"rot\"\nop = \"corrupt\"\nlog = true\n"), "");
    }
}
