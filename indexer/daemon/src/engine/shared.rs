//! What the engine's thread and those who ask it share: the index, the hints, the watches, the state to show.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use index::{Index, Published};
use record::{EntryId, Seq, Time, VolumeId};
use rustc_hash::FxHashSet;
use watch::Pending;

use super::arms::Arms;
use super::audit::Window;
use super::config::{EngineConfig, Level};
use super::contents::Findings;
use super::error::EngineError;
use super::ground::Ground;
use super::health::Asked;
use super::status::{Progress, Settled, SweepReport, SweptStatus};
use super::transitions::States;
use super::vitals::Vitals;
use super::volumes::Volumes;

/// Requests that wait for the engine's thread; one more waits for room at its sender.
const MOST_REQUESTS: usize = 64;

/// Shared by all of the engine.
pub(crate) struct Shared {
    pub(crate) ground: Ground,
    pub(crate) index: Index,
    pub(crate) pending: Arc<Pending>,
    pub(crate) arms: Arms,
    pub(crate) volumes: Volumes,
    pub(crate) state_dir: PathBuf,
    /// The state folder by (device, inode): never indexed, wherever it lies.
    pub(crate) left_out: Vec<(u64, u64)>,
    /// One scan and then exit: nothing is watched.
    pub(crate) one_pass: bool,
    /// What was shown outside; none over a store that is no file.
    pub(crate) published: Option<Published>,
    pub(crate) started: Instant,
    pub(crate) vitals: Vitals,
    /// The last durable seq.
    pub(crate) durable: tokio::sync::watch::Sender<u64>,
    /// Ends walks early.
    pub(crate) stop: AtomicBool,
    /// The engine's thread has work in hand.
    pub(crate) busy: AtomicBool,
    /// Until when all was known, in nanoseconds since 1970, as of when it last had none.
    pub(crate) known: AtomicI64,
    /// What audits found, and how fast changes were known.
    pub(crate) window: Mutex<Window>,
    /// Events of the time of a sweep may not have been looked at yet: directories may have moved past it.
    /// Those that moved and were listed because of that.
    pub(crate) unsure: Mutex<Option<FxHashSet<EntryId>>>,
    pub(crate) view: Mutex<View>,
    pub(crate) changed: Condvar,
    /// With the time that each was made at.
    pub(crate) requests: Mutex<VecDeque<(Instant, Request)>>,
    pub(crate) room: Condvar,
}

/// What is shown of the engine's state.
#[derive(Default)]
pub(crate) struct View {
    /// `starting`, `seeding`, `sweeping`, `live`, `stopping`.
    pub(crate) state: &'static str,
    pub(crate) roots: Vec<RootView>,
    pub(crate) progress: Option<Progress>,
    pub(crate) failed: Option<String>,
    /// Times that hints were lost and repaired.
    pub(crate) repairs: u64,
    /// Why the last of them was needed.
    pub(crate) why_repair: String,
    /// What health is measured by.
    pub(crate) asked: Asked,
    /// How often what has no watch is swept.
    pub(crate) sweep_every: Option<Duration>,
    /// Sweeps under way.
    pub(crate) sweeps: Vec<SweepView>,
}

/// What is shown of a sweep under way.
pub(crate) struct SweepView {
    pub(crate) number: u64,
    /// The root's path.
    pub(crate) root: Vec<u8>,
    pub(crate) level: Level,
    pub(crate) why: &'static str,
    pub(crate) began: Time,
    pub(crate) walked: Arc<scan::Progress>,
    /// Entries it will meet, by the index.
    pub(crate) expected: u64,
}

impl View {
    /// How far the sweeps under way are, all together.
    pub(crate) fn sweeps_progress(&self) -> Option<Progress> {
        let mut sum = Progress::default();
        let (mut found, mut expected) = (0, 0);
        for sweep in &self.sweeps {
            let progress = sweep.progress();
            found += progress.files_found.min(sweep.expected);
            expected += sweep.expected;
            sum.files_found += progress.files_found;
            sum.files_processed += progress.files_processed;
            sum.bytes_processed += progress.bytes_processed;
            sum.directories_left += progress.directories_left;
        }
        sum.percent = percent(found, expected);
        Some(sum).filter(|_| !self.sweeps.is_empty())
    }
}

/// Never 100 before the end.
fn percent(found: u64, expected: u64) -> f64 {
    (found as f64 / expected.max(1) as f64 * 99.0).min(99.0)
}

impl SweepView {
    /// How far it is: never 100 before its end.
    pub(crate) fn progress(&self) -> Progress {
        let found = self.walked.entries.load(Ordering::Relaxed);
        Progress {
            percent: percent(found, self.expected),
            files_found: found,
            files_processed: found,
            bytes_processed: self.walked.bytes.load(Ordering::Relaxed),
            directories_left: self.walked.directories_left.load(Ordering::Relaxed),
            directories_before: 0,
        }
    }
}

/// What is shown of one root.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootView {
    pub(crate) path: Vec<u8>,
    pub(crate) state: &'static str,
    pub(crate) backend: String,
    pub(crate) reason: String,
    /// The file systems it has directories on, by path, and the topmost of those directories.
    pub(crate) parts: Vec<(VolumeId, Vec<u8>)>,
    /// Everything in it was compared with the disk at this time.
    pub(crate) verified: Time,
    /// Entries that were not found and are not believed to be gone.
    pub(crate) doubted: u64,
    /// Why it could not be swept as it has to be, while that is so.
    pub(crate) trouble: Option<String>,
    /// Set when files with the numbers of several layers were met.
    pub(crate) layered: Arc<AtomicBool>,
    /// Its last sweep as a whole.
    pub(crate) swept: Option<SweptStatus>,
    pub(crate) lost: Option<String>,
}

/// Something to be done on the engine's thread.
pub(crate) enum Request {
    Settle(Instant, Reply<Settled>),
    Sweep(Option<Vec<u8>>, Level, Reply<SweepReport>),
    Accept(Vec<u8>, Reply<()>),
    Confirm(String, Seq, Reply<()>),
    Forget(String, Reply<()>),
    Reload(Box<EngineConfig>, Reply<()>),
    /// What readers of contents found. Answers, one for each observation, whether it was taken.
    Contents(Findings, Reply<Vec<bool>>),
    Stop,
}

/// Where an answer goes. The asker may have gone; then nobody hears it.
pub(crate) type Reply<T> = std::sync::mpsc::SyncSender<Result<T, EngineError>>;

impl Shared {
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the view and wakes who waits on it. The one place where states change, so each change is logged here.
    pub(crate) fn set_view(&self, change: impl FnOnce(&mut View)) {
        let (transitions, failed) = {
            let mut view = self.view();
            let before = States::of(&view);
            change(&mut view);
            (before.changed(&view), view.failed.is_some())
        };
        self.changed.notify_all();
        for transition in transitions {
            transition.log(failed);
        }
    }

    /// How long the engine has stood still with work to do.
    pub(crate) fn stalled_for(&self) -> Duration {
        let now = Instant::now();
        let asked =
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).front().map(|(since, _)| *since);
        let waiting = [self.pending.oldest(), asked].into_iter().flatten().min();
        let waiting = waiting.map(|since| now.saturating_duration_since(since));
        // Sweeps walk on threads of their own, and the engine may wait for one.
        let walked: u64 =
            self.view().sweeps.iter().map(|sweep| sweep.walked.entries.load(Ordering::Relaxed)).sum();
        self.vitals.stalled_for(now, self.index.counted().steps + walked, waiting)
    }

    /// Hands a request to the engine's thread.
    pub(crate) fn send(&self, request: Request) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        while requests.len() >= MOST_REQUESTS && !matches!(request, Request::Stop) {
            requests = self.room.wait(requests).unwrap_or_else(PoisonError::into_inner);
        }
        requests.push_back((Instant::now(), request));
        drop(requests);
        self.pending.wake();
    }

    /// Notes durably that records up to `seq`, or beyond, may be shown outside; answers up to which. All that the journal has is
    /// noted at once, so that who is behind pays once and not for each batch.
    pub(crate) fn cover(&self, seq: Seq) -> Result<Seq, EngineError> {
        let Some(published) = self.published.as_ref().filter(|published| published.seq() < seq) else {
            return Ok(self.published.as_ref().map_or(seq, Published::seq));
        };
        published.raise(self.index.read()?.seq()?)?;
        Ok(published.seq())
    }

    /// Notes all that the journal has, at an end: who read it by other ways than the relay's is vouched for too.
    pub(crate) fn note_published(&self) {
        let noted = self.index.read().and_then(|reader| reader.seq()).map_err(EngineError::from);
        if let Err(error) = noted.and_then(|last| self.cover(last)) {
            tracing::warn!(%error, "what was shown outside could not be noted; that is tried again at the next start");
        }
    }

    /// The engine's thread has ended: whoever waits for an answer hears that none comes.
    pub(crate) fn ended(&self) {
        self.set_view(|view| view.state = "stopped");
        while self.receive().is_some() {}
    }

    /// The next request.
    pub(crate) fn receive(&self) -> Option<Request> {
        let (_, request) = self.requests.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.room.notify_one();
        Some(request)
    }

    /// A descriptor of the index file, for the watch to leave its writes out.
    pub(crate) fn index_file(path: &std::path::Path) -> Option<OwnedFd> {
        std::fs::File::open(path).ok().map(OwnedFd::from)
    }
}
