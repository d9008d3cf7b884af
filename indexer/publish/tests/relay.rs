//! The relay against a real broker: every record arrives, in order, whatever happens to the broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use brokers::{Broker, FaultyWay, Subscriber, at_broker, broker_url, wait_for};
use consumer::{Feed, Secret, Source, SourceError};
use lapin::message::Delivery;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::AMQPValue;
use prove::Rng;
use publish::{Relay, Settings};
use record::wire::message::{Message, Origin};
use record::{Body, Change, EntryId, How, Kind, Op, Record, RootId, Seq, Stat, State, Time, VolumeId};

/// Records of files that are made, one after another.
#[derive(Default)]
struct Journal(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    last: u64,
    oldest: u64,
    cursors: BTreeMap<String, Seq>,
    /// No id up to this is ever another record's.
    covered: u64,
    /// That cannot be noted for now.
    full: bool,
}

fn made(seq: u64) -> Record {
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
        seen: Time::now(),
        how: How::Fanotify,
        root: RootId(1),
        body: Body::Change(Box::new(change)),
    }
}

impl Journal {
    fn of(last: u64) -> Arc<Journal> {
        Arc::new(Journal(Mutex::new(Inside { last, oldest: 1, ..Inside::default() })))
    }

    fn cursor_now(&self) -> u64 {
        self.0.lock().unwrap().cursors.get("amqp").map_or(0, |seq| seq.0)
    }
}

impl Source for Journal {
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError> {
        Ok(self.0.lock().unwrap().cursors.get(consumer).copied().unwrap_or_default())
    }
    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        let state = self.0.lock().unwrap();
        if after.0 + 1 < state.oldest {
            return Err(SourceError::FreshStartRequired { oldest: Seq(state.oldest) });
        }
        Ok((after.0 + 1..=state.last).take(most).map(made).collect())
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

fn origin() -> Origin {
    let word = str::to_owned;
    Origin {
        source: word("/indexer/test"),
        host: word("test"),
        epoch: "e".repeat(32),
        version: word("0.1.0"),
    }
}

fn relay(journal: &Arc<Journal>, url: &str, exchange: &str) -> Relay {
    let mut settings = Settings::new(Secret::Plain(url.to_owned()));
    settings.pause = (Duration::from_millis(5), Duration::from_millis(50));
    exchange.clone_into(&mut settings.exchange);
    Relay::start(Arc::clone(journal) as Arc<dyn Feed>, settings, origin()).unwrap()
}

fn seq(delivery: &Delivery) -> u64 {
    serde_json::from_slice::<Message>(&delivery.data).unwrap().source.seq
}

/// Every seq came.
fn check_all(taken: &[Delivery], last: u64) {
    let came: BTreeSet<u64> = taken.iter().map(seq).collect();
    assert_eq!(came, (1..=last).collect(), "none is skipped");
}

/// Declares as the relay does, by having one do it with nothing to publish.
fn declared(url: &str, exchange: &str) {
    let empty = Journal::of(0);
    let relay = relay(&empty, url, exchange);
    wait_for("the exchange", || (relay.report().state == "publishing").then_some(()));
    relay.stop();
    relay.join();
}

/// A broker that tests do things to, one after another.
fn ours() -> MutexGuard<'static, Broker> {
    static OURS: OnceLock<Mutex<Broker>> = OnceLock::new();
    let mut broker =
        OURS.get_or_init(|| Mutex::new(Broker::start())).lock().unwrap_or_else(PoisonError::into_inner);
    broker.run_if_killed();
    broker
}

#[test]
fn every_record_arrives_in_order_with_what_tells_it_apart() {
    let (url, exchange) = (broker_url(), format!("orders-{}", std::process::id()));
    declared(&url, &exchange);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let journal = Journal::of(20_000);
    let relay = relay(&journal, &url, &exchange);
    let taken = subscriber.take_until(&exchange, |one| seq(one) == 20_000);
    let seqs: Vec<u64> = taken.iter().map(seq).collect();
    assert_eq!(seqs, (1..=20_000).collect::<Vec<_>>(), "each once, and in order");
    let first = &taken[0];
    assert_eq!(first.routing_key.as_str(), "fs.v1.r1.file.modified.p15");
    let properties = &first.properties;
    let id = format!("/indexer/test/{}/1", "e".repeat(32));
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some(id.as_str()));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let headers = properties.headers().as_ref().unwrap().inner();
    let header = |name: &str| match headers.get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(header("cloudEvents_id"), id);
    assert_eq!(header("cloudEvents_type"), "indexer.fs.v1.modified");
    assert_eq!(
        (header("cloudEvents_specversion"), header("cloudEvents_subject")),
        ("1.0".into(), "1:1".into())
    );
    wait_for("the cursor", || (journal.cursor_now() == 20_000).then_some(()));
    let report = relay.report();
    assert_eq!((report.lag, report.confirmed, report.trouble), (0, 20_000, None));

    // What comes later goes out at once.
    journal.0.lock().unwrap().last = 20_001;
    relay.tell();
    assert_eq!(subscriber.take_until(&exchange, |one| seq(one) == 20_001).len(), 1);
    relay.stop();
    relay.join();
    assert_eq!(journal.cursor_now(), 20_001);
}

#[test]
fn nothing_goes_out_whose_id_might_be_given_again() {
    let (url, exchange) = (broker_url(), format!("covers-{}", std::process::id()));
    declared(&url, &exchange);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let journal = Journal::of(1_000);
    let running = relay(&journal, &url, &exchange);
    subscriber.take_until(&exchange, |one| {
        let seq = seq(one);
        assert!(journal.0.lock().unwrap().covered >= seq, "{seq} went out before it was noted");
        seq == 1_000
    });
    // One by one, and each is noted first.
    for last in 1_001..1_051 {
        journal.0.lock().unwrap().last = last;
        running.tell();
        subscriber.take_until(&exchange, |one| {
            assert!(journal.0.lock().unwrap().covered >= seq(one));
            seq(one) == last
        });
    }
    journal.0.lock().unwrap().full = true;
    journal.0.lock().unwrap().last = 1_060;
    running.tell();
    wait_for("the trouble", || running.report().trouble.filter(|why| why.contains("no space")));
    assert_eq!(running.report().cursor, 1_050, "nothing went out");
    journal.0.lock().unwrap().full = false;
    let taken = subscriber.take_until(&exchange, |one| seq(one) == 1_060);
    assert_eq!(taken.iter().map(seq).collect::<Vec<_>>(), (1_051..=1_060).collect::<Vec<_>>());
    wait_for("the cursor", || (journal.cursor_now() == 1_060).then_some(()));
    running.stop();
    running.join();

    // A cursor that stands behind the end skips nothing of what comes.
    journal.0.lock().unwrap().cursors.insert("amqp".to_owned(), Seq(5_000));
    let running = relay(&journal, &url, &exchange);
    wait_for("the cursor", || (running.report().cursor == 1_060).then_some(()));
    journal.0.lock().unwrap().last = 1_070;
    running.tell();
    let taken = subscriber.take_until(&exchange, |one| seq(one) == 1_070);
    assert_eq!(taken.iter().map(seq).collect::<Vec<_>>(), (1_061..=1_070).collect::<Vec<_>>());
    running.stop();
    running.join();
}

#[test]
fn a_relay_outlives_its_broker_and_what_it_refuses() {
    let mut broker = ours();
    let url = broker.url();
    declared(&url, "storms");
    Subscriber::new(&url).bind("storms", "storms", "fs.v1.#", &[]);
    let journal = Journal::of(50_000);
    let running = relay(&journal, &url, "storms");
    for part in 1..=3 {
        wait_for("some records", || (journal.cursor_now() > part * 1_000).then_some(()));
        broker.kill();
        wait_for("the trouble", || running.report().trouble.map(drop));
        broker.run();
    }
    let subscriber = Subscriber::new(&url);
    check_all(&subscriber.take_until("storms", |one| seq(one) == 50_000), 50_000);
    wait_for("the cursor", || (journal.cursor_now() == 50_000).then_some(()));
    assert!(running.report().connections >= 4);

    // Without queue and alternate nothing takes a message: the cursor stays, and what is missing is made again.
    at_broker(async {
        let channel = &subscriber.channel;
        channel.queue_delete("storms".into(), QueueDeleteOptions::default()).await.unwrap();
        channel.exchange_delete("storms.unrouted".into(), ExchangeDeleteOptions::default()).await.unwrap();
    });
    journal.0.lock().unwrap().last = 50_010;
    running.tell();
    wait_for("the cursor", || (journal.cursor_now() == 50_010).then_some(()));
    let report = running.report();
    assert!(report.refused >= 1 && report.trouble.is_none(), "{report:?}");
    let kept = subscriber.take_until("storms.unrouted", |one| seq(one) == 50_010);
    assert!(kept.len() >= 10, "those that nobody was bound to are kept");

    // A full queue that refuses holds the cursor until there is room.
    let limits = [
        ("x-max-length", AMQPValue::LongLongInt(5)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    subscriber.bind("small", "storms", "fs.v1.#", &limits);
    journal.0.lock().unwrap().last = 50_030;
    running.tell();
    wait_for("the refusal", || running.report().trouble.filter(|why| why.contains("refused")));
    assert!(journal.cursor_now() < 50_030);
    at_broker(async {
        subscriber.channel.queue_purge("small".into(), QueuePurgeOptions::default()).await.unwrap();
        subscriber.channel.queue_delete("small".into(), QueueDeleteOptions::default()).await.unwrap();
    });
    wait_for("the cursor", || (journal.cursor_now() == 50_030).then_some(()));

    // The journal lets go of records that nobody took: subscribers are told by a gap, which stands in their place.
    subscriber.bind("storms", "storms", "fs.v1.r1.#", &[]);
    running.stop();
    running.join();
    {
        let mut state = journal.0.lock().unwrap();
        (state.oldest, state.last) = (50_101, 50_110);
    }
    let running = relay(&journal, &url, "storms");
    let taken = subscriber.take_until("storms", |one| seq(one) == 50_110);
    let gap: Message = serde_json::from_slice(&taken[0].data).unwrap();
    assert_eq!((gap.op.as_str(), gap.change.verb.as_str(), gap.source.seq), ("m", "gap", 50_100));
    assert!(gap.change.why.unwrap().contains("50031 to 50100"));
    assert_eq!(taken.len(), 11);
    assert_eq!(running.report().lost, 70);
    running.stop();
    running.join();
}

#[test]
fn a_broker_that_blocks_is_waited_for() {
    let broker = ours();
    let url = broker.url();
    declared(&url, "blocks");
    let subscriber = Subscriber::new(&url);
    subscriber.bind("blocks", "blocks", "fs.v1.#", &[]);
    let journal = Journal::of(10);
    let running = relay(&journal, &url, "blocks");
    wait_for("the cursor", || (journal.cursor_now() == 10).then_some(()));
    let _ = broker.control(&["set_disk_free_limit", "1000000GB"]);
    // A broker blocks who publishes.
    journal.0.lock().unwrap().last = 11;
    running.tell();
    wait_for("the block", || (running.report().state == "blocked").then_some(()));
    journal.0.lock().unwrap().last = 5_000;
    running.tell();
    let _ = broker.control(&["set_disk_free_limit", "1MB"]);
    check_all(&subscriber.take_until("blocks", |one| seq(one) == 5_000), 5_000);
    let report = running.report();
    assert_eq!((report.state.as_str(), report.connections), ("publishing", 1));
    running.stop();
    running.join();
}

#[test]
fn what_is_wrong_with_a_broker_is_said_without_its_password() {
    let broker = ours();
    let url = broker.url();
    let trouble = |url: &str, exchange: &str| {
        let mut settings = Settings::new(Secret::Plain(url.to_owned()));
        exchange.clone_into(&mut settings.exchange);
        let relay = Relay::start(Journal::of(1) as Arc<dyn Feed>, settings, origin()).unwrap();
        let trouble = wait_for("the trouble", || relay.report().trouble);
        relay.stop();
        relay.join();
        assert!(!trouble.contains("hunter2"), "{trouble}");
        trouble
    };
    let port = broker.port();
    let refused = trouble(&format!("amqp://guest:hunter2@127.0.0.1:{port}/%2f"), "x");
    assert!(refused.contains("ACCESS_REFUSED") || refused.contains("refused"), "{refused}");
    let vhost = trouble(&format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"), "x");
    assert!(vhost.contains("nowhere") || vhost.contains("NOT_ALLOWED"), "{vhost}");
    let absent = trouble("amqp://guest:hunter2@127.0.0.1:1/%2f", "x");
    assert!(absent.contains("refused"), "{absent}");
    let kind = trouble(&url, "amq.direct");
    assert!(kind.contains("amq.") || kind.contains("PRECONDITION_FAILED"), "{kind}");
}

/// Connections of the relay that break at a random place each: `FAULTS` says how many. The broker's queue has every record, and
/// those of one connection in order.
#[test]
fn a_way_that_breaks_all_the_time_loses_nothing() {
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100u64);
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(faults);
    let (broker, mut rng) = (ours(), Rng::new(seed));
    let url = broker.url();
    declared(&url, "ways");
    let subscriber = Subscriber::new(&url);
    subscriber.bind("ways", "ways", "fs.v1.#", &[]);
    let way = FaultyWay::to(broker.port(), move |bound| rng.below(bound));
    let through = format!("amqp://guest:guest@127.0.0.1:{}/%2f", way.port());
    let journal = Journal::of(1);
    let running = relay(&journal, &through, "ways");
    for some in 1..=faults {
        wait_for("one more fault", || {
            // There is always something to publish.
            let mut inside = journal.0.lock().unwrap();
            inside.last = inside.cursors.get("amqp").map_or(0, |seq| seq.0) + 5_000;
            drop(inside);
            running.tell();
            (way.faults() >= some).then_some(())
        });
    }
    way.heal();
    let last = journal.0.lock().unwrap().last;
    let taken = subscriber.take_until("ways", |one| seq(one) == last);
    check_all(&taken, last);
    let seqs: Vec<u64> = taken.iter().map(seq).collect();
    let back = seqs.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64;
    let connections = running.report().connections;
    assert!(back < connections, "{back} steps back over {connections} connections: each is in order");
    wait_for("the cursor", || (journal.cursor_now() == last).then_some(()));
    running.stop();
    running.join();
    eprintln!("{} faults, {connections} connections, {last} records, {} messages", way.faults(), taken.len());
}
