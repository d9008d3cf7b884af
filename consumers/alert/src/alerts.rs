//! All rules together: started, rung, replaced, stopped. One thread a rule, so that one that hangs holds up itself alone.

use std::sync::mpsc::{Receiver, Sender as Guard, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consumer::Feed;
use record::Time;
use rustix::event::{EventfdFlags, eventfd};
use tracing::{error, info, warn};

use crate::matcher::ops;
use crate::message::Message;
use crate::report::Report;
use crate::rule::{CONSUMERS, MOST_RULES, Rule, When};
use crate::send::Sender;
use crate::worker::{Bell, Worker};

/// How long an attempt may go on when all are to end; then programs are killed.
const GRACE: Duration = Duration::from_secs(1);

/// Why rules cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// A rule lacks something.
    #[error("alert {rule}: {why}")]
    Rule {
        /// Which.
        rule: String,
        /// What it lacks.
        why: String,
    },
    /// More than there can be.
    #[error("{0} alert rules; at most {MOST_RULES} are followed")]
    TooMany(usize),
    /// No rule has that name.
    #[error("no alert rule is called {name:?}; the rules are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
}

/// The rules that are followed.
pub struct Alerts {
    feed: Arc<dyn Feed>,
    running: Mutex<Vec<Running>>,
    /// Held while rules are replaced; the other is never held for long.
    changing: Mutex<()>,
}

struct Running {
    rule: Arc<Rule>,
    bell: Arc<Bell>,
    report: Arc<Mutex<Report>>,
    /// Nothing is ever sent: it is disconnected when the thread ends.
    ended: Receiver<()>,
}

impl Alerts {
    /// Follows `rules` from their cursors on.
    ///
    /// # Errors
    /// [`AlertError`] for a rule that lacks something; then none is followed.
    pub fn start(feed: Arc<dyn Feed>, rules: Vec<Rule>) -> Result<Alerts, AlertError> {
        let alerts = Alerts { feed, running: Mutex::default(), changing: Mutex::default() };
        alerts.replace(rules)?;
        Ok(alerts)
    }

    /// Whether every rule has what it needs.
    ///
    /// # Errors
    /// [`AlertError`] for the first that has not.
    pub fn check(rules: &[Rule]) -> Result<(), AlertError> {
        if rules.len() > MOST_RULES {
            return Err(AlertError::TooMany(rules.len()));
        }
        rules.iter().try_for_each(|rule| sender(rule).map(drop))
    }

    /// Follows `rules` from now on: those that are as they were go on, the others end or begin at their cursor. Cursors of
    /// rules that are no longer there are removed.
    ///
    /// # Errors
    /// As [`Alerts::start`]; where a rule lacks something nothing has changed.
    pub fn replace(&self, rules: Vec<Rule>) -> Result<(), AlertError> {
        Alerts::check(&rules)?;
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = {
            let mut running = self.running();
            let (kept, ended) = running.drain(..).partition(|one| rules.contains(&one.rule));
            *running = kept;
            ended
        };
        // Two threads of one rule would tell of the same twice.
        end(ended);
        self.forget_others(&rules);
        for rule in rules {
            if self.running().iter().any(|one| *one.rule == rule) {
                continue;
            }
            let begun = self.run(rule)?;
            let mut running = self.running();
            running.push(begun);
            running.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
        }
        Ok(())
    }

    fn forget_others(&self, rules: &[Rule]) {
        let consumers: Vec<String> = rules.iter().map(Rule::consumer).collect();
        let stored = self.feed.cursors().unwrap_or_else(|error| {
            warn!(%error, "cursors of alert rules cannot be read");
            Vec::new()
        });
        for (name, cursor) in stored {
            if name.starts_with(CONSUMERS) && !consumers.contains(&name) {
                info!(consumer = %name, cursor = cursor.0, "an alert rule is not configured any more; its cursor is removed");
                if let Err(error) = self.feed.forget(&name) {
                    warn!(consumer = %name, %error, "the cursor of an alert rule cannot be removed");
                }
            }
        }
    }

    fn run(&self, rule: Rule) -> Result<Running, AlertError> {
        let rule = Arc::new(rule);
        let failed = |why: std::io::Error| AlertError::Rule {
            rule: rule.name.clone(),
            why: format!("cannot start a thread: {why}"),
        };
        let bell = Arc::new(Bell::new().map_err(failed)?);
        let report = Arc::new(Mutex::new(Report::of(&rule)));
        let worker = Worker {
            rule: Arc::clone(&rule),
            feed: Arc::clone(&self.feed),
            sender: sender(&rule)?,
            bell: Arc::clone(&bell),
            report: Arc::clone(&report),
            began: Instant::now(),
            last: self.feed.last().ok(),
        };
        let (guard, ended): (Guard<()>, _) = channel();
        let name = rule.name.clone();
        let thread = std::thread::Builder::new().name(format!("alert {name}")).spawn(move || {
            let _guard = guard;
            let report = Arc::clone(&worker.report);
            // A fault of one rule is told, and is nobody else's.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker.run())).is_err() {
                error!(rule = %name, "the thread of an alert rule gave up; this is a bug of ours");
                let trouble = "its thread gave up, and nothing is told until the daemon starts again";
                report.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(trouble.to_owned());
            }
        });
        thread.map_err(failed)?;
        Ok(Running { rule, bell, report, ended })
    }

    /// There are new records.
    pub fn tell(&self) {
        for one in self.running().iter().filter(|one| matches!(one.rule.when, When::Records(_))) {
            one.bell.ring();
        }
    }

    /// How each rule fares, by name.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let last = self.feed.last().ok();
        let running = self.running();
        let reports = running.iter().map(|one| {
            let mut report = one.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let (Some(last), Some(position)) = (last, report.position) {
                report.lag = last.0.saturating_sub(position);
            }
            report
        });
        reports.collect()
    }

    /// Sends a sample by the rule called `name`, once. Blocks for as long as the rule allows.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub fn test(&self, name: &str) -> Result<Result<(), String>, AlertError> {
        let rules: Vec<Arc<Rule>> = self.running().iter().map(|one| Arc::clone(&one.rule)).collect();
        let epoch = self.feed.epoch().unwrap_or_default();
        Alerts::sample(rules.iter().map(|rule| &**rule), name, &epoch)
    }

    /// The same of rules that nobody follows.
    ///
    /// # Errors
    /// As [`Alerts::test`].
    pub fn sample<'a>(
        rules: impl Iterator<Item = &'a Rule>,
        name: &str,
        epoch: &str,
    ) -> Result<Result<(), String>, AlertError> {
        let mut known = Vec::new();
        for rule in rules {
            if rule.name != name {
                known.push(rule.name.as_str());
                continue;
            }
            let word = match &rule.when {
                When::Records(conditions) => conditions.ops.first().copied().or(ops().next()),
                When::Lag(_) => Some("lag"),
            };
            let message = Message::Sample { at: Time::now(), word: word.unwrap_or_default().to_owned() };
            let failed = |why: String| AlertError::Rule { rule: name.to_owned(), why };
            let never = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.to_string()))?;
            let letter = message.letter(name, epoch, b"", &[]);
            return Ok(sender(rule)?.send(&letter, std::os::fd::AsFd::as_fd(&never)));
        }
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(AlertError::Unknown { name: name.to_owned(), known })
    }

    /// Ends all of them: what is on its way has a second, then programs are killed and addresses left alone. What did not
    /// arrive is sent again at the next start. Takes two seconds at most.
    pub fn stop(&self) {
        end(std::mem::take(&mut *self.running()));
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.stop();
    }
}

fn sender(rule: &Rule) -> Result<Sender, AlertError> {
    Sender::new(rule).map_err(|why| AlertError::Rule { rule: rule.name.clone(), why })
}

fn end(rules: Vec<Running>) {
    rules.iter().for_each(|one| one.bell.end());
    let wait = |deadline: Instant| {
        for one in &rules {
            // Disconnected is ended; a thread in a request that hangs is left behind.
            let _ = one.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    };
    let began = Instant::now();
    wait(began + GRACE);
    rules.iter().for_each(|one| one.bell.break_off());
    wait(began + 2 * GRACE);
}
