//! Words to the service manager (sd_notify(3)): ready, what is being done, and that the engine gets on. Knows when to
//! say them; without a `NOTIFY_SOCKET` nobody listens and nothing is said.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

use crate::engine::status::Progress;

/// What a start may take longer, from each word of progress on; several times the pause between two words.
const MORE_TIME: Duration = Duration::from_secs(60);

/// The manager, and what it was told.
pub(crate) struct Service {
    listens: bool,
    watchdog: Option<Watchdog>,
    told: String,
    /// The start is over.
    ready: bool,
    extended: Option<Instant>,
    failed: bool,
}

/// When to say that the engine gets on.
#[derive(Clone, Copy, Debug)]
struct Watchdog {
    /// Half of what the manager waits for.
    every: Duration,
    last: Option<Instant>,
}

impl Watchdog {
    /// Whether to say it now: it is time, and it is true.
    fn due(&mut self, now: Instant, stalled: Duration) -> bool {
        // A look at the clock every half period comes a little early as often as late.
        let soon = self.every - self.every / 8;
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= soon);
        let fresh = stalled < self.every;
        if due && fresh {
            self.last = Some(now);
        }
        due && fresh
    }
}

impl Service {
    /// What the environment says.
    pub(crate) fn of_environment() -> Service {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
        let watchdog = sd_notify::watchdog_enabled().filter(|period| listens && !period.is_zero());
        let watchdog = watchdog.map(|period| Watchdog { every: period / 2, last: None });
        Service { listens, watchdog, told: String::new(), ready: false, extended: None, failed: false }
    }

    /// How often [`Service::tick`] wants to be called.
    pub(crate) fn every(&self, at_most: Duration) -> Duration {
        self.watchdog.map_or(at_most, |watchdog| watchdog.every.min(at_most)).max(Duration::from_millis(1))
    }

    /// Tells how things stand: `text`, and that the engine gets on if it has not stood still for `stalled`.
    pub(crate) fn tick(&mut self, text: &str, stalled: Duration, now: Instant) {
        if !self.listens {
            return;
        }
        let mut words = Vec::new();
        if self.told != text {
            text.clone_into(&mut self.told);
            words.push(NotifyState::Status(text));
        }
        if !self.ready
            && stalled < MORE_TIME / 2
            && self.extended.is_none_or(|last| now.saturating_duration_since(last) >= MORE_TIME / 4)
        {
            self.extended = Some(now);
            words.push(NotifyState::ExtendTimeoutUsec(micros(MORE_TIME)));
        }
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.due(now, stalled)
        {
            words.push(NotifyState::Watchdog);
        }
        self.say(&words);
    }

    /// All is in the index and followed.
    pub(crate) fn ready(&mut self, text: &str) {
        self.ready = true;
        text.clone_into(&mut self.told);
        self.say(&[NotifyState::Ready, NotifyState::Status(text)]);
    }

    /// The configuration is read anew; [`Service::ready`] ends it.
    pub(crate) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "no clock for the service manager"),
        }
    }

    /// It leaves.
    pub(crate) fn stopping(&mut self) {
        self.say(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    fn say(&mut self, words: &[NotifyState<'_>]) {
        if !self.listens || words.is_empty() {
            return;
        }
        // Once is enough: without its words the manager acts by itself, and says why.
        if let Err(error) = sd_notify::notify(words)
            && !std::mem::replace(&mut self.failed, true)
        {
            warn!(%error, "the service manager does not listen");
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// One line of what is being done.
pub(crate) fn text_of(state: &str, progress: Option<&Progress>) -> String {
    match progress {
        Some(progress) if state != "live" => format!(
            "{state}: {:.0} %, {} entries found",
            progress.percent.clamp(0.0, 100.0),
            crate::render::count(progress.files_found)
        ),
        _ => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_watchdog_is_fed_at_half_its_time_and_only_by_an_engine_that_gets_on() {
        let start = Instant::now();
        let mut watchdog = Watchdog { every: 10 * SECOND, last: None };
        assert!(watchdog.due(start, Duration::ZERO));
        assert!(!watchdog.due(start + 2 * SECOND, Duration::ZERO), "not at every look");
        assert!(watchdog.due(start + 10 * SECOND, 9 * SECOND), "slow is not stuck");
        assert!(!watchdog.due(start + 20 * SECOND, 10 * SECOND), "a stuck engine is not vouched for");
        assert!(!watchdog.due(start + 200 * SECOND, 190 * SECOND));
        assert!(watchdog.due(start + 201 * SECOND, Duration::ZERO), "it goes on, if it lives to see that");
    }

    #[test]
    fn a_line_tells_how_far_a_scan_is() {
        let progress = Progress { percent: 41.4, files_found: 12_345, ..Progress::default() };
        assert_eq!(text_of("seeding", Some(&progress)), "seeding: 41 %, 12,345 entries found");
        assert_eq!(text_of("live", Some(&progress)), "live");
        assert_eq!(text_of("starting", None), "starting");
    }
}
