//! The share of inotify watches at run time: how many there may be, what is said when they do not do, and what
//! is tried again each minute. Which directory keeps its watch is the tier's to decide, by activity.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use record::{EntryId, How};
use tracing::{debug, info, warn};
use watch::{AddError, InotifyLimits, PortableError, Shortage};

use super::config::Level;
use super::core::Core;
use super::error::EngineError;
use super::sweeping::background::Why;

/// How often the limit is read again, and what was refused tried again: other programs come and go.
pub(crate) const REFIT_EVERY: Duration = Duration::from_secs(60);

/// How many inotify watches this program may use.
pub(crate) struct Share {
    /// By the configuration; `usize::MAX` without.
    most: AtomicUsize,
    told: Mutex<Option<Shortage>>,
}

impl Share {
    pub(crate) fn new(most: Option<usize>) -> Share {
        Share { most: AtomicUsize::new(most.unwrap_or(usize::MAX)), told: Mutex::new(None) }
    }

    /// Takes over a new configuration.
    pub(crate) fn set(&self, most: Option<usize>) {
        self.most.store(most.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// What the configuration allows.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The share now: what the system's limit leaves us, and no more than is configured.
    pub(crate) fn now(&self) -> usize {
        InotifyLimits::read().share().min(self.most.load(Ordering::Relaxed)).max(1)
    }

    /// A directory has no watch. Shortages are said once, when they begin and when they change.
    pub(crate) fn refused(&self, dir: EntryId, error: &AddError) {
        match error {
            AddError::Limit(shortage) => self.tell(Some(*shortage)),
            AddError::Gone => {}
            AddError::Failed(_) => debug!(%dir, %error, "a directory has no watch; it is swept"),
        }
    }

    /// Likewise, of the portable tier.
    pub(crate) fn refused_portable(&self, dir: EntryId, error: &PortableError) {
        match error {
            PortableError::Limit => self.tell(Some(Shortage::Share)),
            PortableError::Failed(_) => debug!(%dir, %error, "a directory has no watch; it is swept"),
        }
    }

    fn tell(&self, shortage: Option<Shortage>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == shortage {
            return;
        }
        *told = shortage;
        let limit = InotifyLimits::read().watches;
        match shortage {
            Some(why) => warn!(
                %why, limit, share = self.now(),
                "not every directory has a watch; the least active ones are kept true by sweeps (see `indexer doctor`)"
            ),
            None => info!(limit, share = self.now(), "there are watches for more directories again"),
        }
    }
}

impl Core {
    /// Fits the watches to what the system allows now, and tries again what it refused.
    pub(crate) fn refit(&mut self) -> Result<(), EngineError> {
        let arms = &self.shared.arms;
        if let Some(tier) = arms.inotify_tier() {
            let some_lack = arms.all().iter().any(|(_, arm)| arm.unwatched() > 0);
            let dropped = tier.refit(arms.share.now(), some_lack);
            if dropped > 0 {
                warn!(
                    dropped,
                    share = tier.share(),
                    "the share of watches shrank; the least active directories lost theirs"
                );
            }
            arms.share.tell(tier.shortage());
        }
        for volume in arms.retry_inotify() {
            info!(volume = volume.0, "there is an inotify queue now; sweeping to watch what was only swept");
            for at in self.trees_on(volume) {
                if self.trees[at].present {
                    // Until it has been through, no settle goes past what has no watch yet.
                    self.show_root(at, "repairing");
                    self.order(at, None, Level::Stat, How::Sweep, Why::Repair)?;
                }
            }
        }
        Ok(())
    }
}
