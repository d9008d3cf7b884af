//! The relay's thread: reads the journal from its cursor on, publishes, moves the cursor over what is confirmed. Whatever goes
//! wrong ends the connection; the next begins behind the cursor, so that records keep their order on each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use consumer::{Feed, SourceError};
use lapin::PublisherConfirm;
use record::wire::message::{Message, Origin};
use record::{Body, Gap, How, Record, RootId, Seq, Time};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::batch;
use crate::letter::Letter;
use crate::link::{Link, LinkError, arrived, try_arrived};
use crate::report::Report;
use crate::settings::{Format, Settings, SettingsError};
use crate::window::{Sent, Window};

/// The cursor's name.
const CONSUMER: &str = "amqp";
/// Records read at a time.
const RECORDS: usize = 512;
/// Between two moves of the cursor, each of which is a commit.
const COMMIT: Duration = Duration::from_millis(250);
/// Between two notes of what goes out: each is brought to disk before its records go. Commits are no closer to each other.
const NOTE: Duration = Duration::from_millis(5);
/// For the word why a channel was closed.
const CAUSE: Duration = Duration::from_secs(1);
/// For what is on its way when all ends.
const GRACE: Duration = Duration::from_secs(2);

/// A relay that runs.
pub struct Relay {
    feed: Arc<dyn Feed>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    report: Mutex<Report>,
    bell: Notify,
    ended: Notify,
    stopping: std::sync::atomic::AtomicBool,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Relay {
    /// Publishes what comes after the cursor; a relay that has none begins with the oldest record there is.
    ///
    /// # Errors
    /// [`SettingsError`]. That there is no broker is none: it is tried again.
    pub fn start(feed: Arc<dyn Feed>, settings: Settings, origin: Origin) -> Result<Relay, SettingsError> {
        let broker = settings.check()?.to_string();
        let shared = Arc::new(Shared::default());
        // A feed that cannot be read is the thread's to tell of.
        let begun = begin(&*feed).ok();
        {
            let mut report = shared.report();
            (report.broker, report.exchange) = (broker, settings.exchange.clone());
            report.cursor = begun.unwrap_or_default().0;
            "connecting".clone_into(&mut report.state);
        }
        let mut worker = Worker {
            feed: Arc::clone(&feed),
            settings,
            origin,
            shared: Arc::clone(&shared),
            cursor: begun.unwrap_or_default(),
            begun: begun.is_some(),
            seen: None,
            covered: Seq(0),
            noted: None,
        };
        let run = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(worker.run());
                    runtime.shutdown_timeout(GRACE);
                }
                Err(why) => worker.trouble(&format!("cannot start: {why}")),
            }
        };
        let thread = std::thread::Builder::new().name("amqp".to_owned()).spawn(run);
        let thread =
            thread.map_err(|why| SettingsError::Address(format!("cannot be asked: no thread: {why}")))?;
        Ok(Relay { feed, shared, thread: Mutex::new(Some(thread)) })
    }

    /// There are new records.
    pub fn tell(&self) {
        self.shared.bell.notify_one();
    }

    /// How it fares. Reads one record at most, the oldest that the broker has not confirmed.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.shared.report().clone();
        if let Ok(last) = self.feed.last() {
            report.lag = last.0.saturating_sub(report.cursor);
        }
        if report.lag > 0 {
            let age = self.waiting_since(Seq(report.cursor)).map_or(0, |seen| Time::now().0 - seen.0);
            report.lag_seconds = u64::try_from(age.max(0) / 1_000_000_000).unwrap_or(u64::MAX);
        }
        report
    }

    /// When the oldest record after `cursor` that there still is was seen.
    fn waiting_since(&self, cursor: Seq) -> Option<Time> {
        let records = match self.feed.records(cursor, 1) {
            Err(SourceError::FreshStartRequired { oldest }) => {
                self.feed.records(Seq(oldest.0.saturating_sub(1)), 1)
            }
            records => records,
        };
        records.ok()?.first().map(|record| record.seen)
    }

    /// Has it end, soon.
    pub fn stop(&self) {
        self.shared.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        self.shared.ended.notify_one();
    }

    /// Waits until it has ended.
    pub fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread of the AMQP relay gave up; this is a bug of ours");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why a connection was left.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Arrow(#[from] columns::WriteError),
}

struct Worker {
    feed: Arc<dyn Feed>,
    settings: Settings,
    origin: Origin,
    shared: Arc<Shared>,
    /// Where the journal's own cursor stands; at its end, if it stood behind that when it was first read.
    cursor: Seq,
    /// It was read.
    begun: bool,
    /// When the last confirmed record was seen.
    seen: Option<Time>,
    /// No other record ever has the id of one up to this.
    covered: Seq,
    /// When that was last asked for.
    noted: Option<Instant>,
}

impl Worker {
    async fn run(&mut self) {
        let (least, most) = self.settings.pause;
        let mut pause = least;
        while !self.shared.stopping() {
            let before = self.shared.report().confirmed;
            let Err(trouble) = self.session().await else { break };
            if self.shared.report().confirmed > before {
                pause = least;
            }
            if matches!(&trouble, Trouble::Link(error) if error.is_refusal()) {
                self.shared.report().refused += 1;
            }
            self.trouble(&trouble.to_string());
            let _ = timeout(pause, self.shared.ended.notified()).await;
            pause = (pause * 2).min(most);
        }
    }

    fn trouble(&self, why: &str) {
        let mut report = self.shared.report();
        if report.trouble.as_deref() != Some(why) {
            warn!(broker = %report.broker, why, "records are not published; it is tried again");
        }
        "waiting".clone_into(&mut report.state);
        report.trouble = Some(why.to_owned());
    }

    /// One connection, from its begin to what ends it. `Ok`: all is to end.
    async fn session(&mut self) -> Result<(), Trouble> {
        "connecting".clone_into(&mut self.shared.report().state);
        if !self.begun {
            self.cursor = begin(&*self.feed)?;
            self.begun = true;
        }
        self.shared.report().cursor = self.cursor.0;
        let shared = Arc::clone(&self.shared);
        let mut link = tokio::select! {
            link = Link::open(&self.settings, "indexer relay") => link?,
            () = shared.ended.notified() => return Ok(()),
        };
        {
            let mut report = self.shared.report();
            report.connections += 1;
            info!(broker = %report.broker, exchange = %report.exchange, after = self.cursor.0, "publishing records");
            "publishing".clone_into(&mut report.state);
        }
        let mut stretch = Stretch::new(self.cursor, self.settings.window);
        let ended = loop {
            match self.turn(&mut link, &mut stretch).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(trouble) => break Err(trouble),
            }
        };
        // What arrived is not sent again by the next.
        let moved = self.move_cursor(&stretch);
        ended.and(moved)
    }

    /// Whether records up to `seq` may go out; if not now, `wait` says when to ask again. Where records come one by one, it is not
    /// the disk that sets the pace.
    fn may_go(&mut self, seq: Seq, wait: &mut Option<Instant>) -> Result<bool, SourceError> {
        *wait = None;
        if seq > self.covered {
            let due = self.noted.map(|noted| noted + NOTE).filter(|due| *due > Instant::now());
            if due.is_some() {
                *wait = due;
                return Ok(false);
            }
            self.covered = self.feed.cover(seq)?;
            self.noted = Some(Instant::now());
        }
        Ok(true)
    }

    /// Publishes what there is room for, then waits for something to happen. False at the end.
    async fn turn(&mut self, link: &mut Link, stretch: &mut Stretch) -> Result<bool, Trouble> {
        let stopping = self.shared.stopping();
        if !stopping && !stretch.blocked {
            match self.fill(link, stretch).await {
                Err(Trouble::Link(closed)) => return Err(stretch.cause().await.unwrap_or(closed).into()),
                filled => filled?,
            }
        }
        if stopping && (stretch.window.is_empty() || stretch.end.is_some_and(|end| end <= Instant::now())) {
            return Ok(false);
        }
        if stopping {
            stretch.end.get_or_insert_with(|| Instant::now() + GRACE);
        }
        let due = (stretch.done > self.cursor).then_some(stretch.moved + COMMIT);
        let wake = [due, stretch.end, stretch.wait.take()].into_iter().flatten().min();
        let first = stretch.window.first().map(|sent| &mut sent.confirm);
        tokio::select! {
            biased;
            confirmation = answer(first) => {
                arrived(confirmation).map_err(Trouble::from)?;
                self.arrived(stretch);
                while let Some(answer) = stretch.window.first().and_then(|sent| try_arrived(&mut sent.confirm)) {
                    answer.map_err(Trouble::from)?;
                    self.arrived(stretch);
                }
            }
            blocked = link.blocked() => {
                stretch.blocked = blocked?;
                let state = if stretch.blocked { "blocked" } else { "publishing" };
                state.clone_into(&mut self.shared.report().state);
            }
            () = until(wake) => {}
            () = self.shared.bell.notified() => {}
            () = self.shared.ended.notified(), if !stopping => {}
        }
        if stretch.done > self.cursor && (stretch.moved.elapsed() >= COMMIT || stretch.window.is_empty()) {
            stretch.moved = Instant::now();
            self.move_cursor(stretch)?;
        }
        Ok(true)
    }

    /// The oldest message has arrived.
    fn arrived(&mut self, stretch: &mut Stretch) {
        self.seen = stretch.window.first().map(|sent| sent.seen).or(self.seen);
        if let Some(seq) = stretch.window.pop() {
            stretch.done = stretch.done.max(seq);
        }
        let mut report = self.shared.report();
        report.confirmed += 1;
        report.cursor = stretch.done.0;
        report.trouble = None;
    }

    fn move_cursor(&mut self, stretch: &Stretch) -> Result<(), Trouble> {
        if stretch.done > self.cursor {
            self.feed.confirm(CONSUMER, stretch.done)?;
            self.cursor = stretch.done;
        }
        Ok(())
    }

    async fn fill(&mut self, link: &Link, stretch: &mut Stretch) -> Result<(), Trouble> {
        while !stretch.window.is_full() && !self.shared.stopping() {
            let Some(next) = stretch.batch.front().map(|record| record.seq) else {
                let most = if self.settings.format == Format::Arrow { columns::MOST_ROWS } else { RECORDS };
                match self.feed.records(stretch.position, most) {
                    Ok(records) if records.is_empty() => return Ok(()),
                    Ok(records) => stretch.batch = records.into(),
                    Err(SourceError::FreshStartRequired { oldest }) => {
                        self.skip(link, stretch, oldest).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
                continue;
            };
            if !self.may_go(next, &mut stretch.wait)? {
                return Ok(());
            }
            if self.settings.format == Format::Arrow {
                self.publish_some(link, stretch, next).await?;
                continue;
            }
            let Some(record) = stretch.batch.pop_front() else { return Ok(()) };
            let id = self.origin.id(record.seq.0);
            self.publish(link, stretch, &record, &id).await?;
            stretch.position = record.seq;
        }
        Ok(())
    }

    /// The journal let go of what comes next: every root's subscribers are told that their copies need a new begin.
    async fn skip(&mut self, link: &Link, stretch: &mut Stretch, oldest: Seq) -> Result<(), Trouble> {
        let (first, last) = (stretch.position.0 + 1, oldest.0.saturating_sub(1));
        error!(
            first,
            last, "the journal let go of records before the broker took them; subscribers are told by a gap"
        );
        self.covered = self.covered.max(self.feed.cover(Seq(last))?);
        let seen = Time::now();
        let why = format!(
            "the journal let go of records {first} to {last} before the broker took them: take a snapshot"
        );
        for root in self.feed.roots()? {
            let path = self.feed.root(root)?;
            let gap =
                Gap { from: self.seen.unwrap_or(Time(0)), to: seen, scope: path.into(), why: why.clone() };
            let record = Record { seq: Seq(last), seen, how: How::Import, root, body: Body::Gap(gap) };
            let id = format!("{}/r{}", self.origin.id(last), root.0);
            self.publish(link, stretch, &record, &id).await?;
        }
        self.shared.report().lost += last + 1 - first;
        stretch.position = Seq(last);
        Ok(())
    }

    async fn publish(
        &mut self,
        link: &Link,
        stretch: &mut Stretch,
        record: &Record,
        id: &str,
    ) -> Result<(), Trouble> {
        if stretch.root.0 != record.root || stretch.root.1.is_empty() {
            stretch.root = (record.root, self.feed.root(record.root)?);
        }
        let letter = match self.settings.format {
            Format::Json => {
                let body = serde_json::to_vec(&Message::new(record, &stretch.root.1, &self.origin))?;
                Letter::of(record, &self.origin, id, body)
            }
            // All others go together.
            Format::Arrow => batch::lost(record, &stretch.root.1, &self.origin, id)?,
        };
        let confirm = link.publish(&letter).await?;
        stretch.window.push(Sent { seq: record.seq, seen: record.seen, bytes: letter.body.len(), confirm });
        Ok(())
    }
}

impl Worker {
    /// Publishes what may go out of what was read, `next` at least and up to another root, as columns.
    async fn publish_some(&mut self, link: &Link, stretch: &mut Stretch, next: Seq) -> Result<(), Trouble> {
        let records = batch::take(&mut stretch.batch, self.covered.max(next));
        let Some(first) = records.first() else { return Ok(()) };
        if stretch.root.0 != first.root || stretch.root.1.is_empty() {
            stretch.root = (first.root, self.feed.root(first.root)?);
        }
        for (letter, seq) in batch::letters(&records, &stretch.root.1, &self.origin)? {
            let confirm = link.publish(&letter).await?;
            stretch.window.push(Sent { seq, seen: letter.seen, bytes: letter.body.len(), confirm });
            stretch.position = seq;
        }
        Ok(())
    }
}

/// Where the journal says that the broker has everything.
fn begin(feed: &dyn Feed) -> Result<Seq, SourceError> {
    let known = feed.cursors()?.into_iter().find(|(name, _)| name == CONSUMER);
    match known {
        Some((_, seq)) => Ok(seq.min(feed.last()?)),
        None => Ok(Seq(feed.oldest()?.0.saturating_sub(1))),
    }
}

/// What one connection has in hand.
struct Stretch {
    window: Window<PublisherConfirm>,
    /// Read, and not published.
    batch: VecDeque<Record>,
    /// The last record published.
    position: Seq,
    /// The last one confirmed, and all before it.
    done: Seq,
    /// When the cursor was last moved.
    moved: Instant,
    /// The broker takes nothing for now.
    blocked: bool,
    /// Until when the last confirmations are waited for.
    end: Option<Instant>,
    /// Until when what was read may not go out.
    wait: Option<Instant>,
    /// The path of the last root.
    root: (RootId, Vec<u8>),
}

impl Stretch {
    fn new(cursor: Seq, window: usize) -> Stretch {
        Stretch {
            window: Window::new(window),
            batch: VecDeque::new(),
            position: cursor,
            done: cursor,
            moved: Instant::now(),
            blocked: false,
            end: None,
            wait: None,
            root: (RootId(0), Vec::new()),
        }
    }

    /// Why a channel was closed, as the messages on their way are told: who finds it closed is not.
    async fn cause(&mut self) -> Option<LinkError> {
        let first = &mut self.window.first()?.confirm;
        timeout(CAUSE, first).await.ok().and_then(|confirmation| arrived(confirmation).err())
    }
}

async fn answer(confirm: Option<&mut PublisherConfirm>) -> lapin::Result<lapin::Confirmation> {
    match confirm {
        Some(confirm) => confirm.await,
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
