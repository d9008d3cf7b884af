//! A journal in memory, relays of it, and the broker that tests do things to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use brokers::{Broker, wait_for};
use consumer::{Feed, Secret, Source, SourceError};
use lapin::message::Delivery;
use publish::{Format, Relay, Settings};
use record::wire::message::{Message, Origin};
use record::{Body, Change, EntryId, How, Kind, Op, Record, RootId, Seq, Stat, State, Time, VolumeId};

/// Records of files that are made, one after another.
#[derive(Default)]
pub(crate) struct Journal(pub(crate) Mutex<Inside>);

#[derive(Default)]
pub(crate) struct Inside {
    pub(crate) last: u64,
    pub(crate) oldest: u64,
    pub(crate) cursors: BTreeMap<String, Seq>,
    /// How long ago its records were seen.
    pub(crate) age: Duration,
    /// Records asked for, of each question.
    pub(crate) asked: Vec<usize>,
    /// No id up to this is ever another record's.
    pub(crate) covered: u64,
    /// That cannot be noted for now.
    pub(crate) full: bool,
}

pub(crate) fn made(seq: u64, age: Duration) -> Record {
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size: seq,
        allocated: 4096,
        modified: Time(5),
        changed: Time(6),
        accessed: Time(0),
        created: Some(Time(4)),
    };
    let change = Change {
        entry: EntryId::new(VolumeId(1), seq % 100),
        birth: Some(Time(4)),
        op: Op::Modified,
        at: None,
        old: None,
        before: None,
        after: Some(State { stat, digest: None, category: None }),
        parents: Vec::new(),
        complete: true,
        pair: None,
        path: format!("/r/file {}", seq % 100).into_bytes().into(),
        old_path: None,
    };
    Record {
        seq: Seq(seq),
        seen: Time(Time::now().0 - age.as_nanos() as i128),
        how: How::Fanotify,
        root: RootId(1),
        body: Body::Change(Box::new(change)),
    }
}

impl Journal {
    pub(crate) fn of(last: u64) -> Arc<Journal> {
        Arc::new(Journal(Mutex::new(Inside { last, oldest: 1, ..Inside::default() })))
    }

    pub(crate) fn cursor_now(&self) -> u64 {
        self.0.lock().unwrap().cursors.get("amqp").map_or(0, |seq| seq.0)
    }
}

impl Source for Journal {
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError> {
        Ok(self.0.lock().unwrap().cursors.get(consumer).copied().unwrap_or_default())
    }
    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(most);
        if after.0 + 1 < state.oldest {
            return Err(SourceError::FreshStartRequired { oldest: Seq(state.oldest) });
        }
        Ok((after.0 + 1..=state.last).take(most).map(|seq| made(seq, state.age)).collect())
    }
    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError> {
        self.0.lock().unwrap().cursors.insert(consumer.to_owned(), seq);
        Ok(())
    }
}

impl Feed for Journal {
    fn epoch(&self) -> Result<String, SourceError> {
        Ok("e".repeat(32))
    }
    fn last(&self) -> Result<Seq, SourceError> {
        Ok(Seq(self.0.lock().unwrap().last))
    }
    fn cover(&self, seq: Seq) -> Result<Seq, SourceError> {
        let mut state = self.0.lock().unwrap();
        assert!(seq.0 <= state.last, "only what is in the journal goes out");
        if state.full {
            return Err(SourceError::Failed("no space".into()));
        }
        state.covered = state.last;
        Ok(Seq(state.covered))
    }
    fn oldest(&self) -> Result<Seq, SourceError> {
        Ok(Seq(self.0.lock().unwrap().oldest))
    }
    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError> {
        Ok(self.0.lock().unwrap().cursors.clone().into_iter().collect())
    }
    fn forget(&self, consumer: &str) -> Result<(), SourceError> {
        self.0.lock().unwrap().cursors.remove(consumer);
        Ok(())
    }
    fn root(&self, _: RootId) -> Result<Vec<u8>, SourceError> {
        Ok(b"/r".to_vec())
    }
    fn roots(&self) -> Result<Vec<RootId>, SourceError> {
        Ok(vec![RootId(1)])
    }
    fn lag(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn origin() -> Origin {
    let word = str::to_owned;
    Origin {
        source: word("/indexer/test"),
        host: word("test"),
        epoch: "e".repeat(32),
        version: word("0.1.0"),
    }
}

pub(crate) fn relay(journal: &Arc<Journal>, url: &str, exchange: &str) -> Relay {
    relay_in(Format::Json, journal, url, exchange)
}

pub(crate) fn relay_in(format: Format, journal: &Arc<Journal>, url: &str, exchange: &str) -> Relay {
    let mut settings = Settings::new(Secret::Plain(url.to_owned()));
    // Where most connections break before anything is confirmed, the pauses would be most of the time.
    settings.pause = (Duration::from_millis(1), Duration::from_millis(10));
    settings.format = format;
    exchange.clone_into(&mut settings.exchange);
    Relay::start(Arc::clone(journal) as Arc<dyn Feed>, settings, origin()).unwrap()
}

pub(crate) fn seq(delivery: &Delivery) -> u64 {
    serde_json::from_slice::<Message>(&delivery.data).unwrap().source.seq
}

/// Every seq came, and none before those that it follows: who drops what is not after the last one has all, in order.
pub(crate) fn check_all(taken: &[Delivery], last: u64) {
    let mut seen = 0;
    for seq in taken.iter().map(seq) {
        assert!(seq <= seen + 1, "{seq} came after {seen}, and what is between was left out");
        seen = seen.max(seq);
    }
    assert_eq!(seen, last);
}

/// Declares as the relay does, by having one do it with nothing to publish.
pub(crate) fn declared(url: &str, exchange: &str) {
    let empty = Journal::of(0);
    let relay = relay(&empty, url, exchange);
    wait_for("the exchange", || (relay.report().state == "publishing").then_some(()));
    relay.stop();
    relay.join();
}

/// What a relay with these settings says is wrong. It never says the password, `hunter2`.
pub(crate) fn trouble(settings: &Settings) -> String {
    let relay = Relay::start(Journal::of(1) as Arc<dyn Feed>, settings.clone(), origin()).unwrap();
    let trouble = wait_for("the trouble", || relay.report().trouble);
    relay.stop();
    relay.join();
    assert!(!trouble.contains("hunter2"), "{trouble}");
    trouble
}

/// A broker that tests do things to, one after another.
pub(crate) fn ours() -> MutexGuard<'static, Broker> {
    static OURS: OnceLock<Mutex<Broker>> = OnceLock::new();
    let mut broker =
        OURS.get_or_init(|| Mutex::new(Broker::start())).lock().unwrap_or_else(PoisonError::into_inner);
    broker.run_if_killed();
    broker
}
