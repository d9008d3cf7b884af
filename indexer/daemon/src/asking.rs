//! Has contents read by workers on other hosts: jobs and answers as messages of a broker. Which files are asked for, and which
//! answers count, is [`rehash::Remote`]'s to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use publish::{Arrived, Fatal, Handler, Origins, Outgoing, Say, Settings, Stop, Subscription, To, Verdict};
use record::wire::job::{Answer, Job, Malformed, Which};
use record::wire::message::Origin;
use record::{DigestKind, Time};
use rehash::{Answered, Content, Meter, Remote, Shelf as _, Stamp, Token, Wanted};
use tracing::warn;

use crate::engine::EngineShelf;

/// Answers that are taken with one commit, at most.
const ANSWERS: u16 = 1_000;

/// Looking for what to ask takes at most one part in so many of the time.
const PART: u32 = 4;

/// Whom it asks, and as whom.
pub(crate) struct Asking {
    /// The broker.
    pub(crate) settings: Settings,
    /// Whose index it is.
    pub(crate) origin: Origin,
    /// Ends it, and wakes it.
    pub(crate) stop: Stop,
    /// All is known that was asked for.
    pub(crate) at_rest: AtomicBool,
    /// Why nobody is asked for now.
    trouble: Mutex<Option<String>>,
}

impl Asking {
    /// Asks through `settings`.
    pub(crate) fn new(settings: Settings, origin: Origin) -> Asking {
        Asking {
            settings,
            origin,
            stop: Stop::default(),
            at_rest: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Until it is stopped.
    ///
    /// # Errors
    /// When the broker refuses, or the index fails; it may be tried again.
    pub(crate) fn run(&self, shelf: &EngineShelf, meter: &Meter, again: Duration) -> Result<(), String> {
        let (epoch, jobs) =
            (self.origin.epoch.clone(), publish::jobs(&self.settings.exchange, &self.origin.host));
        let subscription = Subscription {
            queue: format!("{}.results.{epoch}", self.settings.exchange),
            from: Origins::Answers { epoch, jobs: jobs.clone() },
            prefetch: ANSWERS,
            one_reader: true,
        };
        self.at_rest.store(false, Ordering::Relaxed);
        let remote = Remote::new(shelf, meter, again);
        let mut asker = Asker { asking: self, shelf, remote, jobs, rest: None };
        publish::subscribe(&self.settings, &subscription, &mut asker, &self.stop).map_err(|error| {
            let why = error.to_string();
            *self.trouble() = Some(why.clone());
            why
        })
    }

    /// Why nobody is asked for now.
    pub(crate) fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asker<'a> {
    asking: &'a Asking,
    shelf: &'a EngineShelf,
    remote: Remote<'a>,
    /// The queue that workers read.
    jobs: String,
    /// Until when it looks for nothing.
    rest: Option<Instant>,
}

impl Handler for Asker<'_> {
    fn connected(&mut self) {
        *self.asking.trouble() = None;
        self.remote.forget();
        self.rest = None;
    }

    fn say(&mut self) -> Result<Say, Fatal> {
        let begin = Instant::now();
        if let Some(rest) = self.rest.filter(|rest| *rest > begin) {
            return Ok(Say { now: Vec::new(), again: Some(rest - begin) });
        }
        let kind = self.shelf.hashing().map_err(fatal)?.kind;
        let (wanted, again) = self.remote.want().map_err(fatal)?;
        let mut now = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            now.extend(self.job(&wanted, kind)?);
        }
        self.asking.at_rest.store(self.remote.is_through(), Ordering::Relaxed);
        let end = Instant::now();
        self.rest = Some(end + (end - begin) * (PART - 1));
        Ok(Say { now, again: again.map(|again| again.saturating_duration_since(end)) })
    }

    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        let mut answers = Vec::with_capacity(messages.len());
        let verdicts = messages.iter().map(|message| match self.answered(&message.body) {
            Ok(answered) => {
                answers.extend(answered);
                Verdict::Done
            }
            Err(why) => Verdict::Unusable(why.to_string()),
        });
        let verdicts = verdicts.collect();
        self.remote.take(&answers).map_err(fatal)?;
        // There is room again.
        self.rest = None;
        Ok(verdicts)
    }
}

impl Asker<'_> {
    /// None for a file that has lost its last name meanwhile.
    fn job(&self, wanted: &Wanted, kind: DigestKind) -> Result<Option<Outgoing>, Fatal> {
        let Some(path) = self.shelf.path(wanted.id).map_err(fatal)? else { return Ok(None) };
        let Origin { host, epoch, .. } = &self.asking.origin;
        let body = serde_json::to_vec(&Job::new(host, epoch, &path, which(wanted), kind)).map_err(fatal)?;
        Ok(Some(Outgoing { to: To::Jobs(self.jobs.clone()), body }))
    }

    /// None where it is for another epoch of the journal.
    fn answered(&self, body: &[u8]) -> Result<Option<Answered>, Malformed> {
        let answer = Answer::read(body)?;
        let told = answer.told()?;
        if answer.epoch != self.asking.origin.epoch {
            return Ok(None);
        }
        let Which { size, modified_ns, changed_ns, .. } = answer.which;
        let stamp = Stamp { size, modified: Time(modified_ns), changed: Time(changed_ns) };
        let wanted = Wanted { id: answer.which.id(), birth: answer.which.birth(), stamp };
        let told = told.map_err(|why| format!("{}: {why}", answer.worker)).map(|told| Content {
            digest: told.digest,
            magic: told.magic,
            stamp,
            read: told.read,
            head: Token(told.head),
            tail: told.tail.map(Token),
        });
        if let Err(why) = &told {
            warn!(file = %wanted.id, why, "a worker could not read a file");
        }
        Ok(Some(Answered { wanted, told }))
    }
}

fn which(wanted: &Wanted) -> Which {
    let Wanted { id, birth, stamp } = wanted;
    Which {
        volume: id.volume.0,
        inode: id.inode,
        size: stamp.size,
        modified_ns: stamp.modified.0,
        changed_ns: stamp.changed.0,
        created_ns: birth.map(|birth| birth.0),
    }
}

fn fatal(error: impl std::fmt::Display) -> Fatal {
    Fatal(error.to_string())
}
