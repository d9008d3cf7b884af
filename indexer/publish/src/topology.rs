//! The exchanges and the queues that a relay needs, and the queues of a subscriber. Declaring is idempotent; what is there in
//! another form is an error that says so. `deploy/rabbitmq` says the same to brokers that are set up by somebody else.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};

use crate::handler::{Origins, Subscription};
use crate::settings::Settings;

/// Messages that the catch-all keeps, and their bytes; the oldest go. It is there to show what nobody is bound to.
pub(crate) const MOST_UNROUTED: i64 = 100_000;
pub(crate) const MOST_UNROUTED_BYTES: i64 = 128 << 20;
/// Bytes that the stream keeps, whatever their age.
pub(crate) const MOST_STREAM_BYTES: i64 = 4 << 30;

/// The catch-all exchange of `exchange`, and its queue, unless it is named.
pub(crate) fn unrouted(exchange: &str) -> String {
    format!("{exchange}.unrouted")
}

/// The stream of `exchange`.
pub(crate) fn stream(exchange: &str) -> String {
    format!("{exchange}.stream")
}

/// Declares the topic exchange, its alternate, the catch-all queue and, where it is asked for, the stream.
pub(crate) async fn declare(channel: &Channel, settings: &Settings) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (exchange, unrouted) = (settings.exchange.as_str(), settings.unrouted());
    let none = FieldTable::default();
    channel.exchange_declare(unrouted.as_str().into(), ExchangeKind::Fanout, durable, none).await?;
    let mut limits = FieldTable::default();
    limits.insert("x-max-length".into(), AMQPValue::LongLongInt(MOST_UNROUTED));
    limits.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MOST_UNROUTED_BYTES));
    limits.insert("x-overflow".into(), text("drop-head"));
    queue(channel, &unrouted, (&unrouted, ""), limits).await?;
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), text(&unrouted));
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, alternate).await?;
    if let Some(age) = &settings.stream {
        let mut limits = FieldTable::default();
        limits.insert("x-queue-type".into(), text("stream"));
        limits.insert("x-max-age".into(), text(age));
        limits.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MOST_STREAM_BYTES));
        queue(channel, &stream(exchange), (exchange, "#"), limits).await?;
    }
    Ok(())
}

/// A durable queue, bound to an exchange by a key.
async fn queue(
    channel: &Channel,
    name: &str,
    (exchange, key): (&str, &str),
    arguments: FieldTable,
) -> lapin::Result<()> {
    let kept = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), kept, arguments).await?;
    bind(channel, name, (exchange, key)).await
}

/// Messages that nobody could use, or that came back too often, are kept for somebody to look at: so many; the oldest go.
const MOST_DEAD: i64 = 10_000;
const MOST_DEAD_BYTES: i64 = 64 << 20;
/// Deliveries of one message before it is put aside.
pub(crate) const DELIVERIES: i64 = 20;

/// How long answers are kept for an index that does not read them, in milliseconds: a week.
pub(crate) const ANSWERS_KEPT: i64 = 7 * 24 * 3600 * 1000;

/// The exchange that answers of workers go to, by the epoch of whom they are for.
pub(crate) fn results(exchange: &str) -> String {
    format!("{exchange}.results")
}

/// The queue of jobs for workers, of the index on `host`.
#[must_use]
pub fn jobs(exchange: &str, host: &str) -> String {
    format!("{exchange}.rehash.{host}")
}

/// Where messages of `queue` go that cannot be handled.
pub(crate) fn dead(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Declares a subscriber's queue, and what its messages come from.
pub(crate) async fn subscriber(
    channel: &Channel,
    settings: &Settings,
    subscription: &Subscription,
) -> lapin::Result<()> {
    let queue = subscription.queue.as_str();
    let wants = quorum(queue, subscription.one_reader);
    match &subscription.from {
        Origins::Records(keys) => {
            declare(channel, settings).await?;
            kept(channel, queue, wants).await?;
            for key in keys {
                bind(channel, queue, (&settings.exchange, key)).await?;
            }
        }
        Origins::Jobs => {
            answers(channel, settings).await?;
            kept(channel, queue, wants).await?;
        }
        Origins::Answers { epoch, jobs } => {
            let results = answers(channel, settings).await?;
            // Jobs wait for the first worker, too.
            kept(channel, jobs, quorum(jobs, false)).await?;
            let mut limited = wants;
            limited.insert("x-expires".into(), AMQPValue::LongLongInt(ANSWERS_KEPT));
            kept(channel, queue, limited).await?;
            bind(channel, queue, (&results, epoch)).await?;
        }
    }
    Ok(())
}

/// The exchange of answers, by name.
async fn answers(channel: &Channel, settings: &Settings) -> lapin::Result<String> {
    let results = results(&settings.exchange);
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    channel.exchange_declare(results.as_str().into(), ExchangeKind::Direct, durable, none).await?;
    Ok(results)
}

/// A queue that a message leaves only handled or put aside, and the bounded one that it is put into.
async fn kept(channel: &Channel, queue: &str, wants: FieldTable) -> lapin::Result<()> {
    let kept = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut limits = FieldTable::default();
    limits.insert("x-max-length".into(), AMQPValue::LongLongInt(MOST_DEAD));
    limits.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MOST_DEAD_BYTES));
    limits.insert("x-overflow".into(), text("drop-head"));
    channel.queue_declare(dead(queue).as_str().into(), kept, limits).await?;
    channel.queue_declare(queue.into(), kept, wants).await?;
    Ok(())
}

fn quorum(queue: &str, one_reader: bool) -> FieldTable {
    let mut wants = FieldTable::default();
    wants.insert("x-queue-type".into(), text("quorum"));
    wants.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERIES));
    wants.insert("x-dead-letter-exchange".into(), text(""));
    wants.insert("x-dead-letter-routing-key".into(), text(&dead(queue)));
    // Put aside at least once, which takes a queue that refuses what it has no room for.
    wants.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    wants.insert("x-overflow".into(), text("reject-publish"));
    if one_reader {
        wants.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    wants
}

async fn bind(channel: &Channel, queue: &str, (exchange, key): (&str, &str)) -> lapin::Result<()> {
    let (bound, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), key.into(), bound, none).await
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
