//! The exchanges and the queues that a relay needs. Declaring is idempotent; what is there in another form is an error that
//! says so. `deploy/rabbitmq` says the same to brokers that are set up by somebody else.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};

use crate::settings::Settings;

/// Messages that the catch-all keeps, and their bytes; the oldest go. It is there to show what nobody is bound to.
pub(crate) const MOST_UNROUTED: i64 = 100_000;
pub(crate) const MOST_UNROUTED_BYTES: i64 = 128 << 20;
/// Bytes that the stream keeps, whatever their age.
const MOST_STREAM_BYTES: i64 = 4 << 30;

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
    let (bound, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.into(), exchange.into(), key.into(), bound, none).await
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
