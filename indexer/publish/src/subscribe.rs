//! A subscription: messages of a queue in batches to a handler, acknowledged after it. Knows no record: what a message says,
//! and whether it can be used, is the handler's to tell. Keeps no cursor; what was not acknowledged comes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Connection, ErrorKind};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tracing::{info, warn};

use crate::handler::{Arrived, Fatal, Handler, Outgoing, Subscription, To, Verdict};
use crate::link::{LinkError, PATIENCE, arrived, connection};
use crate::settings::{Settings, SettingsError};
use crate::topology;

/// A body that is larger is put aside unread.
pub const MOST_BYTES: usize = 1 << 20;
/// Bytes of a batch, when there are so many: the rest is another.
const BATCH: usize = 8 << 20;
/// Before a message that could not be handled now may come again.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two questions to a handler that says nothing.
const SILENCE: Duration = Duration::from_secs(3600);
/// Between two questions whether there is room.
const ROOM: Duration = Duration::from_secs(1);
/// Characters that a header has of why, at most.
const MOST_WHY: usize = 1_000;
/// Codes of AMQP by which a broker says that asking again will not help: refused, not there, locked, other arguments, and a
/// vhost that is not to be entered.
const FINAL: [u16; 5] = [403, 404, 405, 406, 530];

/// Has a subscription end, or its handler be asked what it has to say, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(AtomicBool, Notify)>);

impl Stop {
    /// Has it end, soon: a batch that is being handled is handled to its end.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    /// Has the handler be asked what it has to say.
    pub fn wake(&self) {
        self.0.1.notify_one();
    }

    fn is_set(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    async fn set(&self) {
        while !self.is_set() {
            self.0.1.notified().await;
        }
        // For whoever waits for it next.
        self.0.1.notify_one();
    }
}

/// Why a subscription ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// Settings that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The broker says what will not change by asking again.
    #[error("the broker {broker} refuses the queue {queue}: {why}{hint}")]
    Refused {
        /// Its address.
        broker: String,
        /// Which queue.
        queue: String,
        /// What it said.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The handler cannot go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// No thread.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
}

enum Trouble {
    Link(LinkError),
    Final(String, u16),
    Fatal(Fatal),
}

impl From<lapin::Error> for Trouble {
    fn from(error: lapin::Error) -> Trouble {
        match error.kind() {
            ErrorKind::ProtocolError(said) if FINAL.contains(&said.get_id()) => {
                Trouble::Final(said.get_message().to_string(), said.get_id())
            }
            _ => Trouble::Link(error.into()),
        }
    }
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Trouble {
        Trouble::Link(error)
    }
}

/// Hands what arrives to `handler` until `stop` says so, on this thread. A broker that is away is tried again.
///
/// # Errors
/// [`SubscribeError`].
pub fn subscribe(
    settings: &Settings,
    subscription: &Subscription,
    handler: &mut dyn Handler,
    stop: &Stop,
) -> Result<(), SubscribeError> {
    let broker = settings.check()?.to_string();
    // The broker's heart is answered on the other thread, however long a batch takes here.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(SubscribeError::Start)?;
    let mut reader = Reader { settings, subscription, handler, stop, broker, handled: 0, welcome: false };
    let ended = runtime.block_on(reader.run());
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

struct Reader<'a> {
    settings: &'a Settings,
    subscription: &'a Subscription,
    handler: &'a mut dyn Handler,
    stop: &'a Stop,
    broker: String,
    handled: u64,
    /// The broker let it read: what it refuses from now on may be of its restart, and is tried again.
    welcome: bool,
}

impl Reader<'_> {
    async fn run(&mut self) -> Result<(), SubscribeError> {
        let (least, most) = self.settings.pause;
        let mut pause = least;
        while !self.stop.is_set() {
            let before = self.handled;
            if !self.handler.has_room()? {
                let _ = timeout(ROOM, self.stop.set()).await;
                continue;
            }
            match self.session().await {
                // To end, or to wait for room.
                Ok(()) => continue,
                Err(Trouble::Fatal(fatal)) => return Err(fatal.into()),
                Err(Trouble::Final(why, code)) if !self.welcome => return Err(self.refused(why, code)),
                Err(Trouble::Final(why, code)) => {
                    warn!(error = %self.refused(why, code), "nothing is read; it is tried again");
                }
                Err(Trouble::Link(LinkError::Settings(error))) => return Err(error.into()),
                Err(Trouble::Link(why)) => {
                    warn!(broker = %self.broker, %why, "nothing is read; it is tried again");
                }
            }
            if self.handled > before {
                pause = least;
            }
            let _ = timeout(pause, self.stop.set()).await;
            pause = (pause * 2).min(most);
        }
        Ok(())
    }

    fn refused(&self, why: String, code: u16) -> SubscribeError {
        let hint = match code {
            403 | 530 => "; give the user the rights to it, or another address",
            404 => "; is anybody publishing to this exchange yet?",
            405 => "; another connection has it for itself",
            _ => "; it is there with other arguments: name another queue, or delete that one",
        };
        SubscribeError::Refused {
            broker: self.broker.clone(),
            queue: self.subscription.queue.clone(),
            why,
            hint,
        }
    }

    /// One connection, from its begin to what ends it. `Ok`: all is to end, or there is no room.
    async fn session(&mut self) -> Result<(), Trouble> {
        let stop = self.stop.clone();
        let opened = tokio::select! {
            opened = timeout(PATIENCE, self.open()) => opened.map_err(|_| LinkError::Silent)??,
            () = stop.set() => return Ok(()),
        };
        let (connection, channel) = opened;
        let queue = self.subscription.queue.as_str();
        let (consume, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = timeout(PATIENCE, channel.basic_consume(queue.into(), "".into(), consume, table));
        let mut messages = consumer.await.map_err(|_| LinkError::Silent)??;
        self.welcome = true;
        info!(broker = %self.broker, queue, "reading");
        self.handler.connected();
        let mut due = Instant::now();
        while !stop.is_set() {
            if due <= Instant::now() {
                let said = self.handler.say().map_err(Trouble::Fatal)?;
                self.send(&channel, said.now).await?;
                due = Instant::now() + said.again.unwrap_or(SILENCE);
            }
            let first = tokio::select! {
                next = messages.next() => next,
                () = stop.0.1.notified() => {
                    due = Instant::now();
                    continue;
                }
                () = sleep_until(due) => continue,
            };
            let ended = || LinkError::Broker("the queue was deleted, or the connection ended".to_owned());
            let mut batch = vec![first.ok_or_else(ended)??];
            let mut bytes = batch[0].data.len();
            while batch.len() < usize::from(self.subscription.prefetch) && bytes < BATCH {
                // What has arrived, and nothing that would be waited for.
                let next = tokio::select! {
                    biased;
                    next = messages.next() => next,
                    () = std::future::ready(()) => break,
                };
                let Some(next) = next else { break };
                let next = next?;
                bytes += next.data.len();
                batch.push(next);
            }
            self.batch(&channel, batch).await?;
            due = Instant::now();
            if !self.handler.has_room().map_err(Trouble::Fatal)? {
                break;
            }
        }
        // What is not acknowledged goes back at once.
        let _ = timeout(PATIENCE, connection.close(200, "done".into())).await;
        Ok(())
    }

    async fn open(&self) -> Result<(Connection, Channel), Trouble> {
        let name = format!("indexer {}", self.subscription.queue);
        let connection = match connection(self.settings, &name).await {
            Err(LinkError::Broker(why)) if why.contains("ACCESS_REFUSED") => {
                return Err(Trouble::Final(why, 403));
            }
            Err(LinkError::Broker(why)) if why.contains("NOT_ALLOWED") => {
                return Err(Trouble::Final(why, 530));
            }
            other => other?,
        };
        let channel = connection.create_channel().await?;
        if self.settings.declare {
            topology::subscriber(&channel, self.settings, self.subscription).await?;
        }
        channel.basic_qos(self.subscription.prefetch, BasicQosOptions::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    async fn batch(&mut self, channel: &Channel, batch: Vec<Delivery>) -> Result<(), Trouble> {
        let mut large = Vec::with_capacity(batch.len());
        let mut readable = Vec::with_capacity(batch.len());
        for delivery in &batch {
            large.push(delivery.data.len() > MOST_BYTES);
            if delivery.data.len() <= MOST_BYTES {
                readable.push(message(delivery));
            }
        }
        let verdicts = if readable.is_empty() {
            Vec::new()
        } else {
            self.handler.handle(&readable).map_err(Trouble::Fatal)?
        };
        if verdicts.len() != readable.len() {
            return Err(Trouble::Fatal(Fatal(
                "not every message has a verdict; this is a bug of ours".to_owned(),
            )));
        }
        if verdicts.len() == batch.len() && verdicts.iter().all(|verdict| *verdict == Verdict::Done) {
            if let Some(last) = batch.last() {
                last.ack(BasicAckOptions { multiple: true }).await?;
            }
        } else {
            let mut verdicts = verdicts.into_iter();
            let (mut again, mut answered, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            for (delivery, large) in batch.iter().zip(large) {
                let told = if large { None } else { verdicts.next() };
                let verdict = told.unwrap_or_else(|| {
                    Verdict::Unusable(format!("{} bytes; at most {MOST_BYTES} are read", delivery.data.len()))
                });
                match verdict {
                    Verdict::Done => drop(delivery.ack(BasicAckOptions::default()).await?),
                    Verdict::Answer(answer) => {
                        answered.push(delivery);
                        answers.push(answer);
                    }
                    Verdict::Again(why) => again.push((delivery, why)),
                    Verdict::Unusable(why) => self.put_aside(channel, delivery, &why).await?,
                }
            }
            self.send(channel, answers).await?;
            for delivery in answered {
                delivery.ack(BasicAckOptions::default()).await?;
            }
            if let Some((first, why)) = again.first() {
                // After a while: they would be back at once.
                warn!(queue = %self.subscription.queue, key = %first.routing_key, why, "a message is tried again");
                let _ = timeout(AGAIN, self.stop.set()).await;
                for (delivery, _) in again {
                    delivery.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
                }
            }
        }
        self.handled += batch.len() as u64;
        Ok(())
    }

    /// Until the broker has all of it.
    async fn send(&self, channel: &Channel, letters: Vec<Outgoing>) -> Result<(), Trouble> {
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut confirms = Vec::with_capacity(letters.len());
        for Outgoing { to, body } in letters {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let properties = properties.with_content_type("application/json".into());
            let (exchange, key) = match &to {
                To::Jobs(queue) => (String::new(), queue.as_str()),
                To::Answers(epoch) => (topology::results(&self.settings.exchange), epoch.as_str()),
            };
            let (exchange, key) = (exchange.as_str().into(), key.into());
            let confirm = channel.basic_publish(exchange, key, mandatory, &body, properties).await?;
            confirms.push((to, confirm));
        }
        for (to, confirm) in confirms {
            match (arrived(confirm.await), to) {
                (Err(LinkError::Unroutable { .. }), To::Answers(epoch)) => {
                    warn!(epoch, "an answer is for an index that nobody has any more");
                }
                (arrived, _) => arrived?,
            }
        }
        Ok(())
    }

    /// To the queue of the dead, with the reason; acknowledged when it is there.
    async fn put_aside(&self, channel: &Channel, delivery: &Delivery, why: &str) -> Result<(), Trouble> {
        let key = delivery.routing_key.as_str();
        warn!(queue = %self.subscription.queue, key, why, "a message cannot be used, and is put aside");
        let mut headers = delivery.properties.headers().clone().unwrap_or_default();
        let mut put = |name: &str, value: &str| {
            headers.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
        };
        put("indexer-why", &why.chars().take(MOST_WHY).collect::<String>());
        put("indexer-queue", &self.subscription.queue);
        put("indexer-key", key);
        let properties = delivery.properties.clone().with_headers(headers).with_delivery_mode(2);
        let dead = topology::dead(&self.subscription.queue);
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel
            .basic_publish("".into(), dead.as_str().into(), mandatory, &delivery.data, properties)
            .await?;
        arrived(confirm.await)?;
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}

fn message(delivery: &Delivery) -> Arrived {
    let headers = delivery.properties.headers().as_ref();
    let whole = headers.and_then(|headers| match headers.inner().get("cloudEvents_id") {
        Some(AMQPValue::LongString(id)) => Some(id.to_string()),
        _ => None,
    });
    let short = || delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    Arrived {
        id: whole.unwrap_or_else(short),
        key: delivery.routing_key.to_string(),
        content_type: delivery
            .properties
            .content_type()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        body: delivery.data.clone(),
    }
}
