//! Who reads from a broker in tests: durable queues, messages taken and acknowledged one by one.

use std::sync::OnceLock;
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;

/// For the next message to come.
const PATIENCE: Duration = Duration::from_secs(100);

/// Runs what a test does at a broker.
///
/// # Panics
/// When there is no thread for it.
pub fn at_broker<T>(what: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let make = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    RUNTIME.get_or_init(|| make().expect("a thread")).block_on(what)
}

/// A subscriber's connection.
pub struct Subscriber {
    _connection: Connection,
    url: String,
    /// For what else is to be said to the broker.
    pub channel: Channel,
}

impl Subscriber {
    /// Connects.
    ///
    /// # Panics
    /// When the broker does not let it.
    #[must_use]
    pub fn new(url: &str) -> Subscriber {
        at_broker(async {
            let connection =
                Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
            let channel = connection.create_channel().await.expect("a channel");
            Subscriber { _connection: connection, url: url.to_owned(), channel }
        })
    }

    /// Binds a durable queue to an exchange that is there.
    ///
    /// # Panics
    /// When it is not.
    pub fn bind(&self, queue: &str, exchange: &str, key: &str, limits: &[(&str, AMQPValue)]) {
        at_broker(async {
            let mut table = FieldTable::default();
            for (name, value) in limits {
                table.insert((*name).into(), value.clone());
            }
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            self.channel.queue_declare(queue.into(), durable, table).await.expect("a queue");
            let plain = QueueBindOptions::default();
            self.channel
                .queue_bind(queue.into(), exchange.into(), key.into(), plain, FieldTable::default())
                .await
                .expect("a binding");
        });
    }

    /// Declares a durable queue that nothing is bound to.
    ///
    /// # Panics
    /// When it is there with other arguments.
    pub fn declare(&self, queue: &str) {
        at_broker(async {
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            let declared = self.channel.queue_declare(queue.into(), durable, FieldTable::default()).await;
            declared.expect("a queue");
        });
    }

    /// How many messages wait in a queue that no reader has, and how many readers there are; `None` where there is no such queue.
    #[must_use]
    pub fn waiting(&self, queue: &str) -> Option<(u32, u32)> {
        at_broker(async {
            // A question about what is not there ends the channel, and may be told to the next one.
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.ok()?;
            let channel = connection.create_channel().await.ok()?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let told = channel.queue_declare(queue.into(), passive, FieldTable::default()).await.ok()?;
            let _ = connection.close(200, "".into()).await;
            Some((told.message_count(), told.consumer_count()))
        })
    }

    /// Publishes whatever it is.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn publish(&self, exchange: &str, key: &str, body: &[u8]) {
        self.publish_as("", exchange, key, body);
    }

    /// Publishes whatever it is, and says that it is of this type.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn publish_as(&self, content_type: &str, exchange: &str, key: &str, body: &[u8]) {
        at_broker(async {
            let (plain, is) = (BasicPublishOptions::default(), BasicProperties::default());
            let is = if content_type.is_empty() { is } else { is.with_content_type(content_type.into()) };
            let sent = self.channel.basic_publish(exchange.into(), key.into(), plain, body, is).await;
            sent.expect("a connection").await.expect("a connection");
        });
    }

    /// Takes messages from the queue until `done` says so of one.
    ///
    /// # Panics
    /// When none comes for long, or the queue is gone.
    pub fn take_until(&self, queue: &str, mut done: impl FnMut(&Delivery) -> bool) -> Vec<Delivery> {
        at_broker(async {
            let (consume, table) = (BasicConsumeOptions::default(), FieldTable::default());
            let messages = self.channel.basic_consume(queue.into(), queue.into(), consume, table).await;
            let mut messages = messages.expect("a queue");
            let mut taken = Vec::new();
            loop {
                let next = tokio::time::timeout(PATIENCE, messages.next()).await;
                let delivery =
                    next.expect("it comes in time").expect("the queue is there").expect("a message");
                delivery.ack(BasicAckOptions::default()).await.expect("a connection");
                let last = done(&delivery);
                taken.push(delivery);
                if last {
                    let cancel = self.channel.basic_cancel(queue.into(), BasicCancelOptions::default()).await;
                    cancel.expect("a connection");
                    return taken;
                }
            }
        })
    }
}
