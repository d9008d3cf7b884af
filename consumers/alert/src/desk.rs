//! What a rule has to send, in which order and when, and how far its cursor may move. Knows no clock, no thread and no network:
//! callers bring `now` (any time that does not go back), try what [`Desk::next`] gives, and say how that went.

use std::collections::VecDeque;
use std::time::Duration;

use record::{Record, Seq};

use crate::fold::Fold;
use crate::limiter::Limiter;
use crate::message::Message;
use crate::rule::Rate;

/// Between the first failure of a message and its second attempt; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How old a cursor may be while nothing was to be told: each move is a durable transaction.
const CURSOR_AGE: Duration = Duration::from_secs(10);
/// The same while one message follows on another.
const CURSOR_AGE_IN_A_ROW: Duration = Duration::from_millis(100);

/// One rule's messages.
#[derive(Debug)]
pub(crate) struct Desk {
    limiter: Limiter,
    most: usize,
    give_up: Duration,
    /// To be sent, one after the other: at most `most`.
    ready: VecDeque<Message>,
    /// The first of them failed.
    trying: Option<Trying>,
    /// What came when no more was allowed, or while the first one failed.
    fold: Option<Fold>,
    position: Seq,
    confirmed: Seq,
    confirmed_at: Duration,
    delivered: bool,
}

/// Attempts at one message.
#[derive(Clone, Copy, Debug)]
struct Trying {
    since: Duration,
    attempts: u32,
    next: Duration,
}

impl Desk {
    /// A desk whose rule is done with everything up to `cursor`.
    pub(crate) fn new(rate: Rate, give_up: Duration, cursor: Seq, now: Duration) -> Desk {
        Desk {
            limiter: Limiter::new(rate),
            most: rate.most,
            give_up,
            ready: VecDeque::new(),
            trying: None,
            fold: None,
            position: cursor,
            confirmed: cursor,
            confirmed_at: now,
            delivered: false,
        }
    }

    /// The last record taken.
    pub(crate) fn position(&self) -> Seq {
        self.position
    }

    /// The durable cursor.
    pub(crate) fn confirmed(&self) -> Seq {
        self.confirmed
    }

    /// Records that wait for their delivery.
    pub(crate) fn waiting(&self) -> u64 {
        let folded = self.fold.as_ref().map_or(0, |fold| fold.count + fold.missed);
        self.ready.iter().map(Message::records).sum::<u64>() + folded
    }

    /// Takes the next record; `word` when it is one that the rule looks for.
    pub(crate) fn take(&mut self, record: &Record, word: Option<&'static str>, now: Duration) {
        self.position = record.seq;
        let Some(word) = word else { return };
        if let Some(fold) = &mut self.fold {
            fold.count(record, word);
        } else if self.room(now) {
            self.ready.push_back(Message::Record(Box::new(record.clone()), word));
        } else {
            self.fold = Some(Fold::of(record, word));
        }
    }

    /// Records up to `last` cannot be had any more, and whether they were looked for is not known.
    pub(crate) fn miss(&mut self, last: Seq) {
        let missed = Fold::of_missed(self.position.next(), last);
        self.position = last;
        match &mut self.fold {
            Some(fold) => fold.merge(missed),
            None => self.fold = Some(missed),
        }
    }

    /// Takes a message that is of no record. False when there is no room for it now.
    pub(crate) fn push(&mut self, message: Message, now: Duration) -> bool {
        let room = self.room(now);
        if room {
            self.ready.push_back(message);
        }
        room
    }

    /// Whether one more message may stand in line; if so it is counted. A place that takes long for each would have an ever
    /// longer line otherwise, however well it keeps to the rate.
    fn room(&mut self, now: Duration) -> bool {
        self.trying.is_none() && self.ready.len() < self.most && self.limiter.take(now)
    }

    /// What is to be sent now. The same until [`Desk::delivered`] or [`Desk::failed`] says how it went.
    pub(crate) fn next(&mut self, now: Duration) -> Option<&Message> {
        if self.ready.is_empty() && self.fold.is_some() && self.limiter.take(now) {
            self.ready.extend(self.fold.take().map(Fold::message));
        }
        self.ready.front().filter(|_| self.trying.is_none_or(|trying| trying.next <= now))
    }

    /// The first message arrived; answers it.
    pub(crate) fn delivered(&mut self) -> Option<Message> {
        self.trying = None;
        self.delivered = true;
        self.ready.pop_front()
    }

    /// The first message did not arrive. Answers it when it is given up.
    ///
    /// What stands behind one that is given up is folded: it is going to the same place, and each would wait as long.
    pub(crate) fn failed(&mut self, now: Duration) -> Option<Message> {
        let trying = self.trying.get_or_insert(Trying { since: now, attempts: 0, next: now });
        let end = trying.since.saturating_add(self.give_up);
        if now < end {
            let pause = FIRST_PAUSE.saturating_mul(1 << trying.attempts.min(16)).min(LONGEST_PAUSE);
            trying.attempts += 1;
            trying.next = now.saturating_add(pause).min(end);
            return None;
        }
        self.trying = None;
        self.delivered = true;
        let given_up = self.ready.pop_front();
        for message in std::mem::take(&mut self.ready).into_iter().rev() {
            let mut fold = match message {
                Message::Record(record, word) => Fold::of(&record, word),
                Message::Summary(fold) => *fold,
                // These stay apart: a state is told again when it lasts.
                other => {
                    self.ready.push_front(other);
                    continue;
                }
            };
            if let Some(later) = self.fold.take() {
                fold.merge(later);
            }
            self.fold = Some(fold);
        }
        given_up
    }

    /// Everything up to here is delivered, given up, or not looked for.
    pub(crate) fn done(&self) -> Seq {
        let folded = self.fold.as_ref().map(|fold| fold.first);
        let first = self.ready.iter().filter_map(Message::first).chain(folded).min();
        first.map_or(self.position, |first| Seq(first.0.saturating_sub(1)))
    }

    /// Where the cursor is to be moved to now, if it is.
    pub(crate) fn to_confirm(&self, now: Duration) -> Option<Seq> {
        self.confirm_at().filter(|at| *at <= now).map(|_| self.done())
    }

    /// The cursor was moved there.
    pub(crate) fn confirm(&mut self, seq: Seq, now: Duration) {
        self.confirmed = seq;
        self.confirmed_at = now;
        self.delivered = false;
    }

    fn confirm_at(&self) -> Option<Duration> {
        let age = match (self.delivered, self.ready.is_empty()) {
            (true, true) => Duration::ZERO,
            (true, false) => CURSOR_AGE_IN_A_ROW,
            (false, _) => CURSOR_AGE,
        };
        (self.done() > self.confirmed).then(|| self.confirmed_at.saturating_add(age))
    }

    /// When there is something to do again, if no record comes before.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let send = match (&self.trying, self.ready.is_empty(), &self.fold) {
            (Some(trying), ..) => Some(trying.next),
            (None, false, _) => Some(Duration::ZERO),
            (None, true, Some(_)) => Some(self.limiter.free_at().unwrap_or(Duration::ZERO)),
            (None, true, None) => None,
        };
        [send, self.confirm_at()].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
