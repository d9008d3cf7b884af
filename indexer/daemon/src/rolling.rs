//! Snapshots by the clock: when one is due, a process of this program writes it, as anybody could by `indexer snapshots roll`. So
//! the daemon's memory does not grow by it, and what goes wrong there stops nothing here. Knows no rows and no files but manifests.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use snapshot::shelf;
use tracing::{info, warn};

use crate::engine::Engine;
use crate::engine::status::Status;
use crate::failure::Failure;

/// After a failure; twice as long after each that follows, up to what lies between two snapshots.
const AGAIN: Duration = Duration::from_secs(60);
/// Of what a failed run says.
const SAID: u64 = 4096;

/// What is to be rolled.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// To where.
    pub(crate) folder: PathBuf,
    /// How often.
    pub(crate) every: Duration,
    /// How often what changed is written between.
    pub(crate) changes: Option<Duration>,
    /// What the process is called with, before its command.
    pub(crate) arguments: Vec<OsString>,
}

/// How it fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where snapshots go.
    pub(crate) folder: String,
    /// Seconds between two.
    pub(crate) every_s: u64,
    /// Seconds between two files of changes; null where there are none.
    pub(crate) changes_s: Option<u64>,
    /// When the last one was written, microseconds since 1970; null when there is none.
    pub(crate) last_us: Option<i64>,
    /// Whether one, or what changed, is being written.
    pub(crate) writing: bool,
    /// Why the last run wrote none; null when it did.
    pub(crate) trouble: Option<String>,
}

/// The thread that sees to it.
pub(crate) struct Rolling {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    report: Report,
    child: Option<Child>,
    stopped: bool,
}

impl Rolling {
    /// Begins.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn start(engine: &Arc<Engine>, plan: Plan) -> Result<Rolling, Failure> {
        let shared = Arc::new(Shared::default());
        let last_us = last(&plan).unwrap_or_else(|error| {
            warn!(%error, "the folder of snapshots cannot be read");
            None
        });
        let folder = plan.folder.to_string_lossy().into_owned();
        shared.lock().report = Report {
            folder,
            every_s: plan.every.as_secs(),
            changes_s: plan.changes.map(|every| every.as_secs()),
            last_us,
            ..Report::default()
        };
        let (engine, inside) = (Arc::downgrade(engine), Arc::clone(&shared));
        let run = move || {
            // Before all is scanned there is nothing worth writing.
            if engine.upgrade().is_some_and(|engine| engine.wait_live().is_ok()) {
                inside.run(&plan);
            }
        };
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Failure::doing("start a thread", error))?;
        Ok(Rolling { shared, thread: Mutex::new(Some(thread)) })
    }

    /// How it fares.
    pub(crate) fn report(&self) -> Report {
        self.shared.lock().report.clone()
    }

    /// Has it end, and a process that is at it.
    pub(crate) fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        if let Some(child) = &mut state.child
            && let Err(error) = child.kill()
        {
            warn!(%error, "a snapshot goes on");
        }
        self.shared.changed.notify_all();
    }

    /// Waits for its end.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread that rolls snapshots panicked");
        }
    }
}

/// Adds how it fares to a status.
pub(crate) fn show(report: Option<Report>, status: &mut Status) {
    if let Some(why) = report.as_ref().and_then(|report| report.trouble.as_deref()) {
        status.warnings.push(format!("snapshots: the last one was not written: {why}"));
    }
    status.snapshots = report;
}

/// What is done by the clock.
struct Task {
    /// Of `indexer snapshots`.
    word: &'static str,
    every: Duration,
    due: Instant,
    failures: u32,
    trouble: Option<String>,
}

impl Task {
    fn new(word: &'static str, every: Duration, due: Instant) -> Task {
        Task { word, every, due, failures: 0, trouble: None }
    }

    fn done(&mut self) {
        (self.failures, self.trouble) = (0, None);
        self.due = Instant::now() + self.every;
    }

    /// Answers after what time it is tried again.
    fn failed(&mut self, why: &str) -> Duration {
        let pause = AGAIN.saturating_mul(1 << self.failures).min(self.every);
        self.failures = (self.failures + 1).min(20);
        self.trouble = Some(why.to_owned());
        self.due = Instant::now() + pause;
        pause
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, plan: &Plan) {
        let first = Instant::now() + until_due(self.lock().report.last_us, plan.every);
        let mut tasks = vec![Task::new("roll", plan.every, first)];
        // After that, if both are due: what changed follows a snapshot.
        tasks.extend(plan.changes.map(|every| Task::new("changes", every, Instant::now())));
        while let Some(task) = tasks.iter_mut().min_by_key(|task| task.due)
            && self.wait(task.due.saturating_duration_since(Instant::now()))
        {
            let ended = self.roll(plan, task.word);
            let last_us = last(plan);
            let mut state = self.lock();
            state.report.writing = false;
            if state.stopped {
                return;
            }
            match ended.and(last_us) {
                Ok(last_us) => {
                    state.report.last_us = last_us;
                    task.done();
                    info!(folder = %state.report.folder, what = task.word, "snapshots are written");
                }
                Err(why) => {
                    let again_s = task.failed(&why).as_secs();
                    warn!(%why, what = task.word, again_s, "a snapshot was not written");
                }
            }
            state.report.trouble = tasks.iter().find_map(|task| task.trouble.clone());
        }
    }

    /// False when it is to end.
    fn wait(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stopped);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// One run, to its end.
    fn roll(&self, plan: &Plan, word: &str) -> Result<(), String> {
        let mut said = {
            let mut state = self.lock();
            if state.stopped {
                return Ok(());
            }
            let mut command = Command::new("/proc/self/exe");
            command.args(&plan.arguments).args(["--quiet", "snapshots", word]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child =
                command.spawn().map_err(|error| format!("no process could be started: {error}"))?;
            let said = child.stderr.take();
            state.report.writing = true;
            state.child = Some(child);
            said
        };
        // It ends when the process does.
        let mut text = Vec::new();
        if let Some(said) = &mut said {
            let read = said.take(SAID).read_to_end(&mut text).and_then(|_| io::copy(said, &mut io::sink()));
            // It is waited for all the same.
            if let Err(error) = read {
                warn!(%error, "what a snapshot's process said could not be read");
            }
        }
        let Some(mut child) = self.lock().child.take() else { return Ok(()) };
        let ended = child.wait().map_err(|error| error.to_string())?;
        if ended.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        Err(line.map_or_else(|| ended.to_string(), |line| line.trim_start_matches("indexer: ").to_owned()))
    }
}

/// When the last one of this host was taken.
fn last(plan: &Plan) -> Result<Option<i64>, String> {
    let host = crate::relaying::host();
    let all = shelf::snapshots(&plan.folder).map_err(|error| error.to_string())?;
    let ours =
        all.into_iter().filter_map(|shelved| shelved.manifest.ok()).filter(|manifest| manifest.host == host);
    Ok(ours.map(|manifest| manifest.taken_us).max())
}

fn until_due(last_us: Option<i64>, every: Duration) -> Duration {
    let Some(last) = last_us.and_then(|last| u64::try_from(last).ok()) else { return Duration::ZERO };
    let due = SystemTime::UNIX_EPOCH + Duration::from_micros(last) + every;
    // A clock that was set back must not put it off for longer than one turn.
    due.duration_since(SystemTime::now()).unwrap_or_default().min(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now_us() -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_micros()).unwrap()
    }

    #[test]
    fn what_is_late_is_due_at_once_and_a_clock_set_back_delays_by_one_turn() {
        let day = Duration::from_secs(86_400);
        let day_us = 86_400_000_000;
        assert_eq!(until_due(None, day), Duration::ZERO);
        assert_eq!(until_due(Some(now_us() - 2 * day_us), day), Duration::ZERO);
        let half = until_due(Some(now_us() - day_us / 2), day);
        assert!(half > day / 3 && half <= day / 2, "{half:?}");
        assert_eq!(until_due(Some(now_us() + 9 * day_us), day), day);
    }

    #[test]
    fn what_is_wrong_is_a_warning() {
        let mut status = Status::default();
        show(Some(Report::default()), &mut status);
        assert!(status.warnings.is_empty() && status.snapshots.is_some());
        show(Some(Report { trouble: Some("no room".into()), ..Report::default() }), &mut status);
        assert!(status.warnings[0].ends_with("was not written: no room"), "{:?}", status.warnings);
    }
}
