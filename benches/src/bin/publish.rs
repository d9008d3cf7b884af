//! The relay against loops of nothing but its client library: the same bodies to the same kind of queue, with the same window,
//! and with a confirmation awaited for each.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use brokers::{Subscriber, at_broker, broker_url, wait_for};
use clap::Parser;
use consumer::{Feed, Secret, Source, SourceError};
use indexer_benches::{Figures, Summary, tell};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Channel, PublisherConfirm};
use publish::{Relay, Settings};
use record::wire::message::{Message, Origin, key};
use record::{Body, Change, EntryId, How, Kind, Op, Record, RootId, Seq, Stat, State, Time, VolumeId};
use serde_json::json;

/// Measure the relay on the broker of `AMQP_URL`, or one that is started
#[derive(Parser)]
struct Arguments {
    /// Records to publish
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Of those, how many one at a time
    #[arg(long, default_value_t = 2_000)]
    single: usize,
    /// Times that each is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Records that wait for the broker at first, published by the relay alone while its memory is looked at; none if 0
    #[arg(long, default_value_t = 0)]
    backlog: u64,
    /// File that a line of JSON is added to
    #[arg(long)]
    results: Option<PathBuf>,
}

/// A journal in memory: records of files that were written.
struct Journal {
    last: u64,
    cursors: Mutex<BTreeMap<String, Seq>>,
}

fn made(seq: u64) -> Record {
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        links: 1,
        size: seq,
        allocated: 4096,
        modified: Time(1_764_000_000_000_000_000),
        changed: Time(1_764_000_000_000_000_000),
        accessed: Time(0),
        created: Some(Time(1_764_000_000_000_000_000)),
    };
    let change = Change {
        entry: EntryId::new(VolumeId(1), 1_000_000 + seq % 10_000),
        birth: Some(Time(1_764_000_000_000_000_000)),
        op: Op::Modified,
        at: None,
        old: None,
        before: Some(State { stat, digest: None, category: None }),
        after: Some(State { stat, digest: None, category: None }),
        parents: Vec::new(),
        complete: true,
        pair: None,
        path: format!("/srv/media/Films/Season {}/Episode {seq}.mkv", seq % 100).into_bytes().into(),
        old_path: None,
    };
    let (seen, body) = (Time(1_764_000_000_000_000_000), Body::Change(Box::new(change)));
    Record { seq: Seq(seq), seen, how: How::Fanotify, root: RootId(1), body }
}

impl Journal {
    fn cursor_now(&self) -> u64 {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.values().map(|seq| seq.0).max().unwrap_or(0)
    }
}

impl Source for Journal {
    fn cursor(&self, _: &str) -> Result<Seq, SourceError> {
        Ok(Seq(self.cursor_now()))
    }
    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        Ok((after.0 + 1..=self.last).take(most).map(made).collect())
    }
    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).insert(consumer.to_owned(), seq);
        Ok(())
    }
}

impl Feed for Journal {
    fn epoch(&self) -> Result<String, SourceError> {
        Ok("e".repeat(32))
    }
    fn last(&self) -> Result<Seq, SourceError> {
        Ok(Seq(self.last))
    }
    fn oldest(&self) -> Result<Seq, SourceError> {
        Ok(Seq(1))
    }
    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError> {
        Ok(self.cursors.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter().collect())
    }
    fn forget(&self, _: &str) -> Result<(), SourceError> {
        Ok(())
    }
    fn root(&self, _: RootId) -> Result<Vec<u8>, SourceError> {
        Ok(b"/srv/media".to_vec())
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
        source: word("/indexer/bench"),
        host: word("bench"),
        epoch: "e".repeat(32),
        version: word("0.1.0"),
    }
}

fn start(last: u64, url: &str, exchange: &str) -> Result<(Arc<Journal>, Relay), Box<dyn Error>> {
    let journal = Arc::new(Journal { last, cursors: Mutex::default() });
    let mut settings = Settings::new(Secret::Plain(url.to_owned()));
    exchange.clone_into(&mut settings.exchange);
    let relay = Relay::start(Arc::clone(&journal) as Arc<dyn Feed>, settings, origin())?;
    Ok((journal, relay))
}

/// Publishes all of `messages`, at most `window` of them unconfirmed; the seconds that took.
async fn loop_bare(
    channel: &Channel,
    exchange: &str,
    messages: &[(String, Vec<u8>)],
    window: usize,
) -> Result<f64, lapin::Error> {
    let persistent =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut waiting: VecDeque<PublisherConfirm> = VecDeque::new();
    let begin = Instant::now();
    for (key, body) in messages {
        if waiting.len() >= window
            && let Some(first) = waiting.pop_front()
        {
            first.await?;
        }
        let sent = channel
            .basic_publish(exchange.into(), key.as_str().into(), mandatory, body, persistent.clone())
            .await?;
        waiting.push_back(sent);
    }
    for rest in waiting {
        rest.await?;
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// How fast a backlog goes out, and how far from each other the least and the most memory are meanwhile, from its first tenth on.
fn drain(records: u64, url: &str, exchange: &str) -> Result<Figures, Box<dyn Error>> {
    let begin = Instant::now();
    let (journal, relay) = start(records, url, exchange)?;
    let (mut least, mut most) = (u64::MAX, 0);
    while journal.cursor_now() < records {
        if journal.cursor_now() > records / 10 {
            let now = resident()?;
            (least, most) = (least.min(now), most.max(now));
        }
        if begin.elapsed() > Duration::from_secs(1800) {
            return Err("the backlog is not drained within half an hour".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let rate = records as f64 / begin.elapsed().as_secs_f64();
    relay.stop();
    relay.join();
    Ok(Figures::from([
        ("backlog, records".to_owned(), json!(records)),
        ("backlog, messages a second".to_owned(), json!(rate)),
        ("backlog, RSS from MiB".to_owned(), json!(least as f64 / 1024.0)),
        ("backlog, RSS to MiB".to_owned(), json!(most as f64 / 1024.0)),
    ]))
}

/// Memory that this process has in RAM, in KiB.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (url, exchange) = (broker_url(), format!("bench-{}", std::process::id()));
    // An empty journal declares the exchange.
    let (_, relay) = start(0, &url, &exchange)?;
    wait_for("the exchange", || (relay.report().state == "publishing").then_some(()));
    relay.stop();
    relay.join();
    let subscriber = Subscriber::new(&url);
    subscriber.bind(
        &exchange,
        &exchange,
        "fs.v1.#",
        &[("x-queue-type", AMQPValue::LongString("quorum".into()))],
    );
    at_broker(subscriber.channel.confirm_select(ConfirmSelectOptions::default()))?;
    let purge =
        || at_broker(subscriber.channel.queue_purge(exchange.as_str().into(), QueuePurgeOptions::default()));
    let mut figures = Figures::new();
    if arguments.backlog > 0 {
        figures = drain(arguments.backlog, &url, &exchange)?;
        purge()?;
    }
    let mut messages = Vec::new();
    for seq in 1..=arguments.records {
        let record = made(seq);
        messages.push((key(&record), serde_json::to_vec(&Message::new(&record, b"/srv/media", &origin()))?));
    }
    let window = Settings::new(Secret::Plain(url.clone())).window;
    let (mut ours, mut bare, mut single) = (Vec::new(), Vec::new(), Vec::new());
    let all = arguments.records as f64;
    for _ in 0..arguments.runs {
        purge()?;
        bare.push(all / at_broker(loop_bare(&subscriber.channel, &exchange, &messages, window))?);
        purge()?;
        let begin = Instant::now();
        let (journal, relay) = start(arguments.records, &url, &exchange)?;
        wait_for("all to be confirmed", || (journal.cursor_now() == arguments.records).then_some(()));
        ours.push(all / begin.elapsed().as_secs_f64());
        relay.stop();
        relay.join();
        purge()?;
        let few = &messages[..arguments.single.min(messages.len())];
        single.push(few.len() as f64 / at_broker(loop_bare(&subscriber.channel, &exchange, few, 1))?);
    }
    at_broker(subscriber.channel.queue_delete(exchange.as_str().into(), QueueDeleteOptions::default()))?;
    let (ours, bare, single) = (Summary::of(ours), Summary::of(bare), Summary::of(single));
    figures.extend([
        ("relay, messages a second".to_owned(), json!(ours.median())),
        ("bare loop, the same window".to_owned(), json!(bare.median())),
        ("bare loop, one at a time".to_owned(), json!(single.median())),
        ("relay to bare loop".to_owned(), json!(ours.median() / bare.median())),
        ("relay to one at a time".to_owned(), json!(ours.median() / single.median())),
        ("records".to_owned(), json!(arguments.records)),
        ("bytes of a body".to_owned(), json!(messages.first().map_or(0, |(_, body)| body.len()))),
        ("window".to_owned(), json!(window)),
    ]);
    tell("relay to a quorum queue", "loopback", &figures, arguments.results.as_deref())?;
    Ok(())
}
