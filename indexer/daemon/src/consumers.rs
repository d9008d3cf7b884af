//! Who reads the journal in the daemon's process, all of them together.

use std::sync::Arc;

use alert::{Alerts, Rule};
use publish::Relay;
use record::Reading;

use crate::engine::Engine;
use crate::engine::status::Status;
use crate::failure::Failure;
use crate::hashing::{self, Hasher};
use crate::rolling::{self, Rolling};
use crate::{alerting, relaying};

/// All of them.
#[derive(Clone)]
pub(crate) struct Consumers {
    /// Alert rules.
    pub(crate) alerts: Arc<Alerts>,
    /// Readers of contents.
    pub(crate) hasher: Arc<Hasher>,
    /// The relay to a broker, where one is configured.
    pub(crate) relay: Option<Arc<Relay>>,
    /// Snapshots by the clock, where they are configured.
    pub(crate) rolling: Option<Arc<Rolling>>,
}

impl Consumers {
    /// Begins to follow `rules`, to publish, to roll snapshots, and to read contents: at so many bytes a second, by so many threads, or by others.
    ///
    /// # Errors
    /// What one of them lacks.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        (rules, relay, rolling): (Vec<Rule>, Option<publish::Settings>, Option<rolling::Plan>),
        readers: (Option<u64>, usize),
        reading: Reading,
    ) -> Result<Consumers, Failure> {
        let alerts = alerting::start(engine, rules)?;
        let asking = relaying::asking(engine, relay.as_ref().filter(|_| reading == Reading::Remote))?;
        let hasher = hashing::start(engine, readers, asking)?;
        let relay = relaying::start(engine, relay)?;
        let rolling = rolling.map(|plan| Rolling::start(engine, plan)).transpose()?.map(Arc::new);
        Ok(Consumers { alerts, hasher, relay, rolling })
    }

    /// There are new records.
    pub(crate) fn tell(&self) {
        self.alerts.tell();
        self.relay.iter().for_each(|relay| relay.tell());
        self.hasher.tell();
    }

    /// Adds how they fare to a status.
    pub(crate) fn show(&self, status: &mut Status) {
        alerting::show(self.alerts.reports(), status);
        self.hasher.show(status);
        rolling::show(self.rolling.as_ref().map(|rolling| rolling.report()), status);
        relaying::show(self.relay.as_ref().map(|relay| relay.report()), status);
    }

    /// Has them end. Before the engine does, so that cursors of what arrived can still be moved.
    pub(crate) fn stop(&self) {
        self.rolling.iter().for_each(|rolling| rolling.stop());
        self.relay.iter().for_each(|relay| relay.stop());
        self.alerts.stop();
        self.hasher.stop();
        // It moves its cursor over what arrived, which the engine has to write.
        self.relay.iter().for_each(|relay| relay.join());
    }

    /// Waits until they have ended. After the engine did, or they may wait for it.
    pub(crate) fn join(&self) {
        self.hasher.join();
        self.rolling.iter().for_each(|rolling| rolling.join());
    }
}
