//! Sweeps on threads of their own: which wait, which are under way, what came of them. Knows no row; a sweep
//! makes hints, and the engine's thread does what has to come after it.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use index::{Blind, IndexError};
use record::{EntryId, How, Name, RootId, Time, VolumeId};
use rustc_hash::FxHashSet;
use scan::Scope;

use super::compare::{self, Outcome};
use super::schedule::Pace;
use crate::engine::arms::{Arm, Counting};
use crate::engine::config::Level;
use crate::engine::error::EngineError;
use crate::engine::shared::{Reply, Shared, SweepView};
use crate::engine::status::SweepReport;
use crate::engine::sweep::Pass;

/// The third try of a sweep that could not be made waits this long, the second not at all, each further one twice as long.
const LEAST_AGAIN: Duration = Duration::from_millis(200);

/// The longest such wait.
const MOST_AGAIN: Duration = Duration::from_secs(60);

/// Why a tree is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The daemon starts, or a root is back, or its configuration is new.
    Start,
    /// Somebody asked for it.
    Asked,
    /// What a first scan listed before it was interrupted may have changed since.
    Resumed,
    /// Hints were lost.
    Repair,
    /// A settle needs it: a part has no watch.
    Settle,
    /// Its time has come.
    Due,
}

impl Why {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Why::Start => "start",
            Why::Asked => "asked",
            Why::Resumed => "resumed",
            Why::Repair => "repair",
            Why::Settle => "settle",
            Why::Due => "due",
        }
    }
}

/// One sweep that is to be made.
pub(crate) struct Order {
    pub(crate) root: RootId,
    pub(crate) root_path: Box<[u8]>,
    pub(crate) scope: Arc<Scope>,
    /// The directory it begins at; the root's own without.
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) level: Level,
    /// What records of its differences say they were found by.
    pub(crate) how: How,
    pub(crate) why: Why,
    /// What it need not look at.
    pub(crate) pass: Pass,
    /// The volume that is repaired by it.
    pub(crate) repairs: Vec<VolumeId>,
    /// Stretches that the stream cannot vouch for until it is done: since when, and why.
    pub(crate) gaps: Vec<(Time, String)>,
    /// Who waits for its end.
    pub(crate) tickets: Vec<Ticket>,
    /// Entries it will meet, by the index.
    pub(crate) expected: u64,
    /// What it does not find is not looked for if that is a great part: a second look has to confirm it.
    pub(crate) guarded: bool,
    /// How often directories had lacked a watch when it was ordered, in the volumes that no other root is on. It
    /// arms them anew, and only at its end it is known whether all of them have one.
    pub(crate) unwatched: Vec<(Arc<Arm>, Counting)>,
    /// How much inotify had told of by then that no look could find the cause of.
    pub(crate) unseen: u64,
    /// Times in a row that it could not be made.
    pub(crate) tries: u32,
    /// Why it, or another that it answers for, could not be made when that was last tried.
    pub(crate) trouble: Option<String>,
}

/// One who waits for the end of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Order {
    /// Whether a sweep by `self`, begun now, answers for `other` too.
    fn covers(&self, other: &Order) -> bool {
        self.root == other.root
            && (self.level == Level::Stat || other.level == Level::Names)
            && self.pass.covers(other.pass)
            && (self.path.is_none() || self.path == other.path)
    }

    /// Takes over what another owes.
    fn absorb(&mut self, other: Order) {
        self.tickets.extend(other.tickets);
        self.gaps.extend(other.gaps);
        self.repairs.extend(other.repairs);
        self.trouble = self.trouble.take().or(other.trouble);
        if other.why == Why::Start {
            self.why = Why::Start;
        }
    }
}

/// A sweep on its thread.
struct Running {
    number: u64,
    order: Order,
    stop: Arc<AtomicBool>,
    /// None: it was made at once.
    thread: Option<JoinHandle<()>>,
    began: Instant,
}

/// How fast sweeps may go.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) threads: usize,
    /// Entries a second, for those that nobody waits for.
    pub(crate) rate: Option<u64>,
}

/// One that has ended by itself.
pub(crate) struct Done {
    pub(crate) order: Order,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// Somebody who asked for sweeps and waits for what came of them.
pub(crate) struct Asker {
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) reply: Reply<SweepReport>,
    pub(crate) began: Instant,
    /// The last record when it was asked for.
    pub(crate) before: u64,
    pub(crate) report: SweepReport,
    /// It was for one path: that cannot be swept in part.
    pub(crate) one: bool,
    /// Roots that could not be swept, and why.
    pub(crate) failed: Vec<(String, String)>,
    /// When the last of them had ended.
    pub(crate) ended: Option<Instant>,
}

/// All sweeps of the engine. One at a time for a root, but those that somebody waits for go beside one that is
/// only due, or in its place. Orders that wait coalesce: at most one a root, start and level.
pub(crate) struct Sweeps {
    shared: Arc<Shared>,
    running: Vec<Running>,
    waiting: VecDeque<Order>,
    /// Those that could not be made, and when they are tried again. At most one a root, start and level, as above.
    again: Vec<(Instant, Order)>,
    /// Told to stop; others have taken over what they owed.
    cancelled: Vec<JoinHandle<()>>,
    /// Bound by the actions that the socket lets in at once.
    pub(crate) askers: Vec<Asker>,
    limits: Limits,
    next: u64,
    done: (Sender<Ended>, Receiver<Ended>),
}

/// What a thread says at its end: its number, and what came of it.
type Ended = (u64, Result<Outcome, EngineError>);

impl Sweeps {
    pub(crate) fn new(shared: Arc<Shared>) -> Sweeps {
        Sweeps {
            shared,
            running: Vec::new(),
            waiting: VecDeque::new(),
            again: Vec::new(),
            cancelled: Vec::new(),
            askers: Vec::new(),
            limits: Limits { threads: 1, rate: None },
            next: 0,
            done: channel(),
        }
    }

    /// Has a tree swept, at once or after the sweep of it that is under way. Must be called on the engine's
    /// thread between rounds (see [`compare`]).
    pub(crate) fn submit(&mut self, mut order: Order, limits: Limits) -> Result<Ticket, EngineError> {
        self.limits = limits;
        self.next += 1;
        let ticket = Ticket(self.next);
        order.tickets.push(ticket);
        let (covered, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<Order>, _>(|other| order.covers(other));
        self.waiting = rest;
        for other in covered {
            order.absorb(other);
        }
        let owed: Vec<_> = self.again.extract_if(.., |(_, other)| order.covers(other)).collect();
        for (_, other) in owed {
            order.absorb(other);
        }
        // What is only due gives way to what somebody waits for; a start has a new scope, and all give way to it.
        let gives_way = |other: &Running| {
            order.covers(&other.order)
                && (order.why == Why::Start || other.order.why == Why::Due && order.why != Why::Due)
        };
        let (cancelled, running): (Vec<Running>, Vec<Running>) =
            std::mem::take(&mut self.running).into_iter().partition(gives_way);
        self.running = running;
        for other in cancelled {
            other.stop.store(true, Ordering::Relaxed);
            self.cancelled.extend(other.thread);
            order.absorb(other.order);
        }
        if self.is_busy(&order) {
            self.waiting.push_back(order);
        } else {
            self.start(order)?;
        }
        Ok(ticket)
    }

    fn is_busy(&self, order: &Order) -> bool {
        self.running.iter().any(|other| {
            other.order.root == order.root && (other.order.why != Why::Due || order.why == Why::Due)
        })
    }

    fn start(&mut self, order: Order) -> Result<(), EngineError> {
        self.next += 1;
        let number = self.next;
        let stop = Arc::new(AtomicBool::new(false));
        let walked = Arc::new(scan::Progress::default());
        let work = compare::Work {
            shared: Arc::clone(&self.shared),
            scope: Arc::clone(&order.scope),
            path: order.path.clone(),
            level: order.level,
            how: order.how,
            pass: order.pass,
            guard: order.guarded.then_some(order.expected),
            threads: self.limits.threads,
            pace: Pace::new(self.limits.rate.filter(|_| order.why == Why::Due)),
            stop: Arc::clone(&stop),
            walked: Arc::clone(&walked),
        };
        let view = SweepView {
            number,
            root: order.root_path.to_vec(),
            level: order.level,
            why: order.why.word(),
            began: Time::now(),
            walked,
            expected: order.expected,
        };
        *self.shared.unsure.lock().unwrap_or_else(PoisonError::into_inner) = Some(FxHashSet::default());
        let (shared, done) = (Arc::clone(&self.shared), self.done.0.clone());
        let run = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| compare::sweep(&work)));
            let result =
                result.unwrap_or_else(|_| Err(EngineError::Failed("a bug ended a sweep".to_owned())));
            let _ = done.send((number, result));
            shared.pending.wake();
        };
        let thread = if self.shared.ground.in_step {
            run();
            None
        } else {
            let thread = std::thread::Builder::new().name("sweep".to_owned()).spawn(run);
            Some(thread.map_err(|error| EngineError::Failed(format!("cannot start a thread: {error}")))?)
        };
        self.shared.set_view(|shown| shown.sweeps.push(view));
        self.running.push(Running { number, order, stop, thread, began: Instant::now() });
        Ok(())
    }

    /// One that has ended, if any has; begins those that waited for it.
    pub(crate) fn ended(&mut self) -> Result<Option<Done>, EngineError> {
        self.cancelled.retain(|thread| !thread.is_finished());
        while let Ok((number, result)) = self.done.1.try_recv() {
            let mut walked = 0;
            self.shared.set_view(|shown| {
                let ended = shown.sweeps.iter().position(|sweep| sweep.number == number);
                if let Some(sweep) = ended.map(|at| shown.sweeps.remove(at)) {
                    walked = sweep.walked.entries.load(Ordering::Relaxed);
                }
            });
            self.shared.vitals.walked(walked);
            let Some(at) = self.running.iter().position(|running| running.number == number) else { continue };
            let Running { order, thread, began, .. } = self.running.swap_remove(at);
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            let outcome = result?;
            for _ in 0..self.waiting.len() {
                let Some(next) = self.waiting.pop_front() else { break };
                if self.is_busy(&next) {
                    self.waiting.push_back(next);
                } else {
                    self.start(next)?;
                }
            }
            return Ok(Some(Done { order, outcome, took: began.elapsed() }));
        }
        Ok(None)
    }

    /// Whether one of these is not yet swept.
    pub(crate) fn any_of(&self, tickets: &[Ticket]) -> bool {
        self.orders().any(|order| order.tickets.iter().any(|ticket| tickets.contains(ticket)))
    }

    /// Those that wait, those under way, and those that could not be made and are owed.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        let running = self.running.iter().map(|running| &running.order);
        self.waiting.iter().chain(running).chain(self.again.iter().map(|(_, order)| order))
    }

    /// Why what a root needs could not be swept, while that is so.
    pub(crate) fn trouble(&self, root: RootId) -> Option<&str> {
        self.orders().filter(|order| order.root == root).find_map(|order| order.trouble.as_deref())
    }

    /// Whether a root is to be swept before all of it can be called known.
    pub(crate) fn owes(&self, root: RootId) -> bool {
        self.orders().any(|order| order.root == root && (order.trouble.is_some() || !order.gaps.is_empty()))
    }

    /// That count begins anew: these may not answer for what is counted from now on.
    pub(crate) fn forget_unseen(&mut self) {
        let running = self.running.iter_mut().map(|running| &mut running.order);
        for order in
            self.waiting.iter_mut().chain(running).chain(self.again.iter_mut().map(|(_, order)| order))
        {
            order.unseen = 0;
        }
    }

    /// Keeps one that could not be made, to be tried again.
    pub(crate) fn owe(&mut self, order: Order) {
        let wait = match order.tries {
            0 | 1 => Duration::ZERO,
            tries => LEAST_AGAIN.saturating_mul(1 << (tries - 2).min(20)).min(MOST_AGAIN),
        };
        self.again.push((Instant::now() + wait, order));
    }

    /// One that is to be tried again now, of these roots; nobody waits any more for those of others.
    pub(crate) fn due_again(&mut self, present: &[RootId]) -> Option<Order> {
        for (_, order) in &mut self.again {
            if !present.contains(&order.root) {
                order.tickets.clear();
            }
        }
        let now = Instant::now();
        let due = self.again.iter().position(|(due, order)| *due <= now && present.contains(&order.root))?;
        Some(self.again.swap_remove(due).1)
    }

    /// When the next one is to be tried again, of these roots.
    pub(crate) fn next_again(&self, present: &[RootId]) -> Option<Instant> {
        let of_these = self.again.iter().filter(|(_, order)| present.contains(&order.root));
        of_these.map(|(due, _)| *due).min()
    }

    /// Who asked for these is told that they could not be made, and waits for them no more.
    pub(crate) fn fail_askers(&mut self, tickets: &mut Vec<Ticket>, root: &[u8], why: &str) {
        for asker in &mut self.askers {
            let before = asker.tickets.len();
            let own = asker.tickets.extract_if(.., |ticket| tickets.contains(ticket)).collect::<Vec<_>>();
            tickets.retain(|ticket| !own.contains(ticket));
            if asker.tickets.len() < before {
                asker.failed.push((String::from_utf8_lossy(root).into_owned(), why.to_owned()));
            }
        }
    }

    /// Whether any is under way: what a look cannot find now may yet be found by it.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Ends those of roots that are not followed any more. Who asked for them is told.
    pub(crate) fn keep(&mut self, roots: &[RootId]) {
        let over = |order: &Order| !roots.contains(&order.root);
        let mut dropped: Vec<_> = self
            .orders()
            .filter(|order| over(order))
            .map(|order| (order.root_path.clone(), order.tickets.clone()))
            .collect();
        for (path, tickets) in &mut dropped {
            self.fail_askers(tickets, path, "is not a root any more");
        }
        self.waiting.retain(|order| !over(order));
        self.again.retain(|(_, order)| !over(order));
        let (kept, ended): (Vec<Running>, Vec<Running>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| roots.contains(&running.order.root));
        self.running = kept;
        for running in ended {
            running.stop.store(true, Ordering::Relaxed);
            self.cancelled.extend(running.thread);
        }
    }

    /// Ends all of them; returns when no thread is left.
    pub(crate) fn end(&mut self) {
        self.waiting.clear();
        self.again.clear();
        for running in &self.running {
            running.stop.store(true, Ordering::Relaxed);
        }
        for thread in
            self.running.drain(..).filter_map(|running| running.thread).chain(self.cancelled.drain(..))
        {
            let _ = thread.join();
        }
        self.askers.clear();
        self.shared.set_view(|shown| shown.sweeps.clear());
    }
}

impl Drop for Sweeps {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a sweep could not look into: a directory, the name in it unless it is the directory itself, and why.
pub(crate) type Unseen = (EntryId, Option<Name>, Blind);

/// The value, or none: then the walk is stopped, and the first error of the index is what it failed by.
pub(crate) fn checked<T>(
    result: Result<T, IndexError>,
    failed: &Mutex<Option<IndexError>>,
    stop: &AtomicBool,
) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            stop.store(true, Ordering::Relaxed);
            None
        }
    }
}

pub(crate) fn taken<T: Default>(slot: Mutex<T>) -> T {
    slot.into_inner().unwrap_or_else(PoisonError::into_inner)
}
