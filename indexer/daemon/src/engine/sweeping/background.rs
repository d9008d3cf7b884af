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
}

/// All sweeps of the engine. One at a time for a root, but those that somebody waits for go beside one that is
/// only due, or in its place. Orders that wait coalesce: at most one a root, start and level.
pub(crate) struct Sweeps {
    shared: Arc<Shared>,
    running: Vec<Running>,
    waiting: VecDeque<Order>,
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

    /// Those that wait and those under way.
    pub(crate) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.waiting.iter().chain(self.running.iter().map(|running| &running.order))
    }

    /// Whether any is under way: what a look cannot find now may yet be found by it.
    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Ends those of roots that are not followed any more.
    pub(crate) fn keep(&mut self, roots: &[RootId]) {
        self.waiting.retain(|order| roots.contains(&order.root));
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
