//! Who reads the journal in the daemon's process, all of them together.

use std::sync::Arc;

use alert::{Alerts, Rule};

use crate::alerting;
use crate::engine::Engine;
use crate::engine::status::Status;
use crate::failure::Failure;
use crate::hashing::{self, Hasher};

/// All of them.
#[derive(Clone)]
pub(crate) struct Consumers {
    /// Alert rules.
    pub(crate) alerts: Arc<Alerts>,
    /// Readers of contents.
    pub(crate) hasher: Arc<Hasher>,
}

impl Consumers {
    /// Begins to follow `rules`, and to read contents: at `rate` bytes a second by so many threads.
    ///
    /// # Errors
    /// What one of them lacks.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        rules: Vec<Rule>,
        (rate, threads): (Option<u64>, usize),
    ) -> Result<Consumers, Failure> {
        let alerts = alerting::start(engine, rules)?;
        let hasher = hashing::start(engine, rate, threads)?;
        Ok(Consumers { alerts, hasher })
    }

    /// There are new records.
    pub(crate) fn tell(&self) {
        self.alerts.tell();
        self.hasher.tell();
    }

    /// Adds how they fare to a status.
    pub(crate) fn show(&self, status: &mut Status) {
        alerting::show(self.alerts.reports(), status);
        self.hasher.show(status);
    }

    /// Has them end. Before the engine does, so that cursors of what arrived can still be moved.
    pub(crate) fn stop(&self) {
        self.alerts.stop();
        self.hasher.stop();
    }

    /// Waits until they have ended. After the engine did, or they may wait for it.
    pub(crate) fn join(&self) {
        self.hasher.join();
    }
}
