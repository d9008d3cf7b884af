//! The exchanges and the queue that a relay needs. Declaring is idempotent; what is there in another form is an error that
//! says so.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind};

/// Messages that the catch-all keeps, and their bytes; the oldest go. It is there to show what nobody is bound to.
pub(crate) const MOST_UNROUTED: i64 = 100_000;
pub(crate) const MOST_UNROUTED_BYTES: i64 = 128 << 20;

/// The catch-all exchange, and its queue, of `exchange`.
pub(crate) fn unrouted(exchange: &str) -> String {
    format!("{exchange}.unrouted")
}

/// Declares the topic exchange, its alternate and the catch-all queue.
pub(crate) async fn declare(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let unrouted = unrouted(exchange);
    channel
        .exchange_declare(unrouted.as_str().into(), ExchangeKind::Fanout, durable, FieldTable::default())
        .await?;
    let mut limits = FieldTable::default();
    limits.insert("x-max-length".into(), AMQPValue::LongLongInt(MOST_UNROUTED));
    limits.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MOST_UNROUTED_BYTES));
    limits.insert("x-overflow".into(), text("drop-head"));
    let kept = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(unrouted.as_str().into(), kept, limits).await?;
    let bound = QueueBindOptions::default();
    channel
        .queue_bind(
            unrouted.as_str().into(),
            unrouted.as_str().into(),
            "".into(),
            bound,
            FieldTable::default(),
        )
        .await?;
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), text(&unrouted));
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, alternate).await
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
