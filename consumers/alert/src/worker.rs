//! The thread of one rule: reads records from its cursor on, sends what is to be told, moves the cursor after it. Knows what to
//! do next from the desk alone.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use consumer::{Feed, Origin, SourceError};
use record::{Seq, Time};
use rustix::event::{EventfdFlags, eventfd};
use tracing::{error, info, warn};

use crate::desk::Desk;
use crate::matcher::Matcher;
use crate::message::Message;
use crate::report::Report;
use crate::rule::{Rule, When};
use crate::send::Sender;

/// Records read at a time.
const RECORDS: usize = 512;
/// Records before the cursor that are looked at again at a start, for new files that were not finished.
const BEFORE: u64 = 65_536;
/// Between two looks at how far behind the index is.
const PULSE: Duration = Duration::from_secs(1);
/// Before a source that failed is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Wakes a rule's thread, and tells it to end.
pub(crate) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
    /// Readable from the moment on that nobody wants to wait any longer.
    stop: OwnedFd,
}

#[derive(Default)]
struct Rung {
    rung: bool,
    ended: bool,
}

impl Bell {
    pub(crate) fn new() -> std::io::Result<Bell> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell { state: Mutex::default(), changed: Condvar::new(), stop })
    }

    /// There are new records.
    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    /// The thread is to end after what it has in hand.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// What it has in hand is to be broken off, where that can be done.
    pub(crate) fn break_off(&self) {
        // Only a counter near 2^64 is refused, and is as readable.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }

    fn ended(&self) -> bool {
        self.state().ended
    }

    /// Waits until it is rung, `until` has come, or the end.
    fn wait(&self, until: Option<Instant>) {
        let mut state = self.state();
        while !state.rung && !state.ended {
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.rung = false;
    }

    fn state(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has.
pub(crate) struct Worker {
    pub(crate) rule: Arc<Rule>,
    pub(crate) feed: Arc<dyn Feed>,
    pub(crate) sender: Sender,
    pub(crate) bell: Arc<Bell>,
    pub(crate) report: Arc<Mutex<Report>>,
    pub(crate) began: Instant,
    /// The last record when it was started, if that could be read: a rule without a cursor begins after it.
    pub(crate) last: Option<Seq>,
}

impl Worker {
    /// Until the bell says that it is over.
    pub(crate) fn run(self) {
        match &self.rule.when {
            When::Records(conditions) => self.follow(Matcher::new(conditions.clone())),
            When::Lag(threshold) => self.watch_lag(*threshold),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn follow(&self, mut matcher: Matcher) {
        let mut desk = None;
        let mut failing = false;
        while !self.bell.ended() {
            let turned = match &mut desk {
                None => self.begin(&mut matcher).map(|begun| {
                    desk = Some(begun);
                    true
                }),
                Some(desk) => self.turn(desk, &mut matcher),
            };
            if turned.is_ok() && std::mem::take(&mut failing) {
                self.report().trouble = None;
            }
            let until = match turned {
                Ok(true) => continue,
                Ok(false) => desk.as_ref().and_then(Desk::wake_at).map(|at| self.began + at),
                Err(_) if self.bell.ended() => return,
                Err(error) => {
                    warn!(rule = %self.rule.name, %error, "records cannot be read, or the cursor not be moved");
                    self.report().trouble = Some(error.to_string());
                    failing = true;
                    Some(Instant::now() + AGAIN)
                }
            };
            self.bell.wait(until);
        }
        // What arrived is not sent again at the next start.
        if let Some(desk) = &mut desk
            && desk.done() > desk.confirmed()
            && self.feed.confirm(&self.rule.consumer(), desk.done()).is_ok()
        {
            let done = desk.done();
            desk.confirm(done, self.now());
        }
    }

    /// From the cursor on; a rule that has none begins with what comes after its start.
    fn begin(&self, matcher: &mut Matcher) -> Result<Desk, SourceError> {
        let consumer = self.rule.consumer();
        let known = self.feed.cursors()?.into_iter().find(|(name, _)| *name == consumer);
        let cursor = match known {
            Some((_, cursor)) => cursor,
            None => {
                let last = self.last.map_or_else(|| self.feed.last(), Ok)?;
                // Before anything is told: otherwise a crash would lose what came in between.
                self.feed.confirm(&consumer, last)?;
                info!(rule = %self.rule.name, seq = last.0, "a new alert rule begins");
                last
            }
        };
        if matcher.remembers() {
            self.remember(matcher, cursor)?;
        }
        let desk = Desk::new(self.rule.rate, self.rule.give_up, cursor, self.now());
        self.show(&desk);
        Ok(desk)
    }

    /// Looks again at what came before the cursor: a new file may have been unfinished there.
    fn remember(&self, matcher: &mut Matcher, cursor: Seq) -> Result<(), SourceError> {
        let oldest = self.feed.oldest()?.0.saturating_sub(1);
        let mut at = Seq(cursor.0.saturating_sub(BEFORE).max(oldest));
        while at < cursor && !self.bell.ended() {
            let most = usize::try_from(cursor.0 - at.0).unwrap_or(RECORDS).min(RECORDS);
            let records = match self.feed.records(at, most) {
                Ok(records) => records,
                // The oldest go at any time, and what is not there cannot be remembered.
                Err(SourceError::FreshStartRequired { oldest }) => {
                    at = at.max(Seq(oldest.0.saturating_sub(1)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(last) = records.last() else { break };
            at = last.seq;
            for record in &records {
                matcher.look(self.feed.whose(record.root), record);
            }
        }
        Ok(())
    }

    /// Takes what there is, sends one message, moves the cursor. False when there is nothing more to do for now.
    fn turn(&self, desk: &mut Desk, matcher: &mut Matcher) -> Result<bool, SourceError> {
        let records = match self.feed.records(desk.position(), RECORDS) {
            Ok(records) => records,
            Err(SourceError::FreshStartRequired { oldest }) => {
                let last = Seq(oldest.0.saturating_sub(1));
                let missed = last.0.saturating_sub(desk.position().0);
                error!(
                    rule = %self.rule.name, missed, oldest = oldest.0,
                    "an alert rule came too late: the journal no longer has these records"
                );
                self.report().lost += missed;
                desk.miss(last);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        for record in &records {
            let word = matcher.look(self.feed.whose(record.root), record);
            desk.take(record, word, self.now());
        }
        let sent = match desk.next(self.now()) {
            Some(message) => {
                let root = match message {
                    Message::Record(record, _) => self.feed.root(record.root)?,
                    _ => Vec::new(),
                };
                // Its key is never that of another.
                message.last().map(|last| self.feed.cover(last)).transpose()?;
                let letter =
                    message.letter(&self.rule.name, &self.feed.epoch()?, &root, &self.origins(message)?);
                let sent = self.sender.send(&letter, self.bell.stop.as_fd());
                self.sent(desk, sent);
                true
            }
            None => false,
        };
        if let Some(seq) = desk.to_confirm(self.now()) {
            self.feed.confirm(&self.rule.consumer(), seq)?;
            desk.confirm(seq, self.now());
        }
        self.show(desk);
        Ok(!self.bell.ended() && (sent || !records.is_empty()))
    }

    /// Where the records that it names were made, if not here.
    fn origins(&self, message: &Message) -> Result<Vec<Origin>, SourceError> {
        let mut origins = Vec::new();
        for seq in message.named() {
            let Some(origin) = self.feed.origin(*seq)? else { break };
            origins.push(origin);
        }
        Ok(origins)
    }

    fn sent(&self, desk: &mut Desk, sent: Result<(), String>) {
        let now_ns = i64::try_from(Time::now().0).unwrap_or(i64::MAX);
        match sent {
            Ok(()) => {
                let message = desk.delivered();
                let mut report = self.report();
                report.delivered += 1;
                report.last_delivery_ns = Some(now_ns);
                report.trouble = None;
                if let Some(Message::Summary(fold)) = message {
                    report.folded += fold.count;
                }
            }
            // It goes on at the next start.
            Err(_) if self.bell.ended() => {}
            Err(why) => {
                let given_up = desk.failed(self.now());
                let records = given_up.as_ref().map(Message::records);
                let (rule, to) = (&self.rule.name, self.rule.to.shown());
                match &given_up {
                    None => warn!(%rule, %to, why, "an alert did not arrive; it is tried again"),
                    Some(message) => {
                        let first = message.first().map(|seq| seq.0);
                        error!(%rule, %to, why, records, first_seq = first, "an alert is given up");
                    }
                }
                let mut report = self.report();
                report.failures += 1;
                report.last_failure_ns = Some(now_ns);
                report.lost += records.unwrap_or(0);
                report.trouble = Some(why);
            }
        }
    }

    fn show(&self, desk: &Desk) {
        let mut report = self.report();
        report.waiting = desk.waiting();
        report.cursor = Some(desk.confirmed().0);
        report.position = Some(desk.position().0);
    }

    fn watch_lag(&self, threshold: Duration) {
        let mut desk = Desk::new(self.rule.rate, self.rule.give_up, Seq(0), self.now());
        let mut behind = false;
        while !self.bell.ended() {
            let lag = self.feed.lag();
            // Over only at half of it, so that a lag about the threshold is one message and not a hundred.
            let over = behind && lag < threshold / 2;
            if over || (!behind && lag >= threshold) {
                let message = Message::Lag { at: Time::now(), lag, threshold, over };
                if desk.push(message, self.now()) {
                    behind = !over;
                }
            }
            while let Some(message) = desk.next(self.now()).filter(|_| !self.bell.ended()) {
                let epoch = self.feed.epoch().unwrap_or_default();
                let letter = message.letter(&self.rule.name, &epoch, b"", &[]);
                let sent = self.sender.send(&letter, self.bell.stop.as_fd());
                self.sent(&mut desk, sent);
            }
            self.bell.wait(Some(Instant::now() + PULSE));
        }
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
