//! Prints what changes, from the message broker that an indexer publishes to:
//!
//!     AMQP_URL=amqp://guest:guest@localhost/%2f subscribe [QUEUE [KEY]]
//!
//! The queue is durable: what changes while nobody reads waits in it. A message is acknowledged when it was handled, so it comes
//! again after a crash, and what came before is told by its number. KEY is one as of `docs/amqp.md`.
#![expect(clippy::print_stdout, reason = "it prints what it hears")]

use std::collections::HashMap;
use std::env;
use std::error::Error;

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio_stream::StreamExt as _;

/// What is done with a message; here it is printed.
fn handle(message: &Value) {
    let entry = if message["after"].is_null() { &message["before"] } else { &message["after"] };
    let path = entry["path"].as_str().or(message["change"]["path"].as_str()).unwrap_or_default();
    println!(
        "{} {} {path}",
        message["source"]["seq"],
        message["change"]["verb"].as_str().unwrap_or_default()
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let queue = arguments.next().unwrap_or_else(|| "subscriber".to_owned());
    let key = arguments.next().unwrap_or_else(|| "fs.v1.#".to_owned());
    let exchange = env::var("INDEXER_EXCHANGE").unwrap_or_else(|_| "indexer".to_owned());
    let url = env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@localhost/%2f".to_owned());

    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.as_str().into(), durable, quorum).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            key.as_str().into(),
            bind,
            FieldTable::default(),
        )
        .await?;
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let consume = BasicConsumeOptions::default();
    let mut messages =
        channel.basic_consume(queue.as_str().into(), "".into(), consume, FieldTable::default()).await?;
    println!("listening");

    let mut last_seen: HashMap<(String, String), u64> = HashMap::new();
    while let Some(delivery) = messages.next().await {
        let delivery = delivery?;
        let message: Value = serde_json::from_slice(&delivery.data)?;
        // Numbers grow within one partition of one journal.
        let partition = delivery.routing_key.as_str().rsplit('.').next().unwrap_or_default().to_owned();
        let stream = (format!("{} {}", message["source"]["name"], message["source"]["epoch"]), partition);
        let seq = message["source"]["seq"].as_u64().unwrap_or_default();
        if seq > last_seen.get(&stream).copied().unwrap_or(0) {
            handle(&message);
            last_seen.insert(stream, seq);
        }
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
