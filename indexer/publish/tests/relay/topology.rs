//! What a relay makes at the broker, what it is called, and the same made by the files of `deploy/rabbitmq`.

use std::collections::BTreeSet;
use std::sync::Arc;

use brokers::{Broker, Subscriber, at_broker, broker_url, wait_for};
use consumer::{Feed, Secret};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, BasicRejectOptions,
    ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use publish::{Arrived, Fatal, Handler, Origins, Relay, Settings, Stop, Subscription, Verdict, subscribe};
use serde_json::Value;
use tokio_stream::StreamExt as _;

use crate::journal::{Journal, check_all, origin, seq};

const DEFINITIONS: &str = include_str!("../../../../deploy/rabbitmq/definitions.json");
const CONSUMERS: &str = include_str!("../../../../deploy/rabbitmq/consumers.json");
const POLICIES: &str = include_str!("../../../../deploy/rabbitmq/policies.json");

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Publishes so many records, from the first on.
fn publish(settings: &Settings, last: u64) {
    let journal = Journal::of(last);
    let relay = Relay::start(Arc::clone(&journal) as Arc<dyn Feed>, settings.clone(), origin()).unwrap();
    wait_for("the cursor", || (journal.cursor_now() == last).then_some(()));
    relay.stop();
    relay.join();
}

/// Exchanges, queues and bindings as the broker says they are, of names that do not end in `.dead`.
fn topology(broker: &Broker) -> BTreeSet<String> {
    let all: Value = serde_json::from_str(&broker.export()).unwrap();
    let parts = ["exchanges", "queues", "bindings"];
    let each = parts.iter().flat_map(|part| all[part].as_array().unwrap().iter().map(move |one| (part, one)));
    each.filter(|(_, one)| !one.to_string().contains(".dead"))
        .map(|(part, one)| format!("{part} {one}"))
        .collect()
}

/// Takes messages up to that of this record.
fn read(subscriber: &Subscriber, queue: &str, arguments: FieldTable, last: u64) -> Vec<Delivery> {
    at_broker(async {
        // A stream gives nothing to whom it could flood.
        subscriber.channel.basic_qos(200, BasicQosOptions::default()).await.unwrap();
        let consume = BasicConsumeOptions::default();
        let messages = subscriber.channel.basic_consume(queue.into(), "".into(), consume, arguments).await;
        let (mut messages, mut taken) = (messages.unwrap(), Vec::new());
        while let Some(delivery) = messages.next().await {
            let delivery = delivery.unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            let ends = seq(&delivery) == last;
            taken.push(delivery);
            if ends {
                break;
            }
        }
        taken
    })
}

/// Who comes late reads from the begin, and so does the next.
#[test]
fn a_stream_has_what_was_published_before_anybody_came() {
    let (url, exchange) = (broker_url(), format!("replays-{}", std::process::id()));
    let mut settings = Settings::new(Secret::Plain(url.clone()));
    (settings.exchange, settings.stream) = (exchange.clone(), Some("1h".to_owned()));
    publish(&settings, 1_000);
    for _ in 0..2 {
        let mut first = FieldTable::default();
        first.insert("x-stream-offset".into(), text("first"));
        check_all(&read(&Subscriber::new(&url), &format!("{exchange}.stream"), first, 1_000), 1_000);
    }
}

#[test]
fn the_catch_all_has_the_name_it_is_given() {
    let (url, exchange) = (broker_url(), format!("named-{}", std::process::id()));
    let mut settings = Settings::new(Secret::Plain(url.clone()));
    let rest = format!("rest-of-{exchange}");
    (settings.exchange, settings.unrouted) = (exchange, Some(rest.clone()));
    publish(&settings, 10);
    check_all(&Subscriber::new(&url).take_until(&rest, |one| seq(one) == 10), 10);
}

#[test]
fn definitions_make_what_the_relay_makes_and_policies_keep_what_nobody_could_use() {
    let broker = Broker::start();
    let mut settings = Settings::new(Secret::Plain(broker.url()));
    publish(&settings, 10);
    let declared = topology(&broker);
    assert_eq!(declared.len(), 4, "{declared:?}");
    let subscriber = Subscriber::new(&broker.url());
    at_broker(async {
        let channel = &subscriber.channel;
        for name in ["indexer", "indexer.unrouted"] {
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
        channel.queue_delete("indexer.unrouted".into(), QueueDeleteOptions::default()).await.unwrap();
    });
    assert_eq!(topology(&broker).len(), 0);
    broker.import(DEFINITIONS);
    broker.import(POLICIES);
    assert_eq!(topology(&broker), declared);

    // By a user who may publish and nothing else.
    let _ = broker.control(&["add_user", "indexer", "hunter2"]);
    let _ = broker.control(&["set_permissions", "indexer", "", "^indexer$", ""]);
    let url = format!("amqp://indexer:hunter2@127.0.0.1:{}/%2f", broker.port());
    let bound = [("x-queue-type", text("quorum"))];
    subscriber.bind("indexer.consumer.test", "indexer", "fs.v1.#", &bound);
    publish(&Settings { declare: false, ..Settings::new(Secret::Plain(url)) }, 2);
    // What is there already is no hindrance to one that declares.
    settings.declare = true;
    publish(&settings, 2);

    // Two relays published the same two records: the first is refused, the second given back as long as it comes.
    let mut given_back = 0;
    wait_for("four dead letters", || {
        at_broker(async {
            let (channel, queue) = (&subscriber.channel, "indexer.consumer.test");
            if let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()
            {
                let requeue = seq(&message) == 2;
                given_back += u32::from(requeue);
                message.reject(BasicRejectOptions { requeue }).await.unwrap();
            }
            let there = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let dead = channel.queue_declare("indexer.dead".into(), there, FieldTable::default()).await;
            (dead.unwrap().message_count() == 4).then_some(())
        })
    });
    assert!((40..=42).contains(&given_back), "two messages of 20 more deliveries each: {given_back}");
    let dead = subscriber.take_until("indexer.dead", {
        let mut left = 4;
        move |_| {
            left -= 1;
            left == 0
        }
    });
    let why: BTreeSet<String> = dead.iter().map(reason).collect();
    assert_eq!(why, ["1 rejected", "2 delivery_limit"].map(str::to_owned).into());
}

/// Leaves at once, when it is connected.
struct Leaves(Stop);

impl Handler for Leaves {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        Ok(vec![Verdict::Done; messages.len()])
    }

    fn connected(&mut self) {
        self.0.stop();
    }
}

/// All subscriptions that `indexer` has.
fn subscriptions() -> Vec<Subscription> {
    let (epoch, jobs) = ("e".repeat(32), publish::jobs("indexer", "nas"));
    let all = || Origins::Records(vec!["fs.v1.#".to_owned()]);
    let one = |queue: &str, from, one_reader| {
        let queue = queue.to_owned();
        Subscription { queue, from, prefetch: 10, one_reader }
    };
    vec![
        one("indexer.replica.pc", all(), true),
        one("indexer.alert.pc", all(), true),
        one(&jobs, Origins::Jobs, false),
        one(&format!("indexer.results.{epoch}"), Origins::Answers { epoch, jobs: jobs.clone() }, true),
    ]
}

#[test]
fn definitions_make_what_consumers_make_and_they_need_no_right_to_it() {
    let broker = Broker::start();
    let settings = Settings::new(Secret::Plain(broker.url()));
    let read = |settings: &Settings| {
        for subscription in subscriptions() {
            let stop = Stop::default();
            subscribe(settings, &subscription, &mut Leaves(stop.clone()), &stop).unwrap();
        }
    };
    let made = || -> BTreeSet<String> {
        let all: Value = serde_json::from_str(&broker.export()).unwrap();
        let parts = ["exchanges", "queues", "bindings"];
        let each =
            parts.iter().flat_map(|part| all[part].as_array().unwrap().iter().map(move |one| (part, one)));
        // For consumers of others.
        let ours = |one: &Value| !one.to_string().contains("\"indexer.dead\"");
        each.filter(|(_, one)| ours(one)).map(|(part, one)| format!("{part} {one}")).collect()
    };
    read(&settings);
    let declared = made();
    // Exchanges: records, catch-all, results. Queues: the catch-all, four and four of the dead. Bindings: the catch-all, and three.
    assert_eq!(declared.len(), 3 + 9 + 4, "{declared:#?}");
    let subscriber = Subscriber::new(&broker.url());
    at_broker(async {
        let channel = &subscriber.channel;
        for name in ["indexer", "indexer.unrouted", "indexer.results"] {
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
        let dead = subscriptions().into_iter().map(|one| format!("{}.dead", one.queue));
        let queues = subscriptions().into_iter().map(|one| one.queue).chain(dead);
        for queue in queues.chain(["indexer.unrouted".to_owned()]) {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
    });
    assert_eq!(made().len(), 0);
    broker.import(DEFINITIONS);
    broker
        .import(&CONSUMERS.replace("READER", "pc").replace("INDEX", "nas").replace("EPOCH", &"e".repeat(32)));
    assert_eq!(made(), declared);

    // By a user who may read them, and put aside.
    let _ = broker.control(&["add_user", "reader", "hunter2"]);
    let _ = broker.control(&["set_permissions", "reader", "", "^amq.default$", "^indexer[.]"]);
    let url = format!("amqp://reader:hunter2@127.0.0.1:{}/%2f", broker.port());
    read(&Settings { declare: false, ..Settings::new(Secret::Plain(url)) });
}

/// The seq of a dead letter, and what it died of.
fn reason(dead: &Delivery) -> String {
    let headers = dead.properties.headers().as_ref().unwrap().inner();
    let Some(AMQPValue::LongString(why)) = headers.get("x-first-death-reason") else { panic!("{headers:?}") };
    format!("{} {why}", seq(dead))
}
