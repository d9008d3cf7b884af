//! The publisher against a real broker: all that it is given arrives in order, or it says that not all did.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use brokers::{Broker, Delivery, FaultyWay, Subscriber, broker_url, wait_for};
use consumer::Secret;
use lapin::options::QueueDeleteOptions;
use lapin::types::AMQPValue;
use prove::Rng;
use publish::{Letter, PublishError, Publisher, Settings, Stopper};
use record::Time;

fn letter(number: u64) -> Letter {
    Letter {
        key: "fs.v1.r1.file.read.p01".to_owned(),
        id: format!("/indexer/test/e/1/1:{number}"),
        source: "/indexer/test".to_owned(),
        verb: "read".to_owned(),
        subject: Some(format!("1:{number}")),
        seen: Time(1_700_000_000_000_000_000),
        batch: None,
        body: format!("{{\"number\":{number}}}").into_bytes(),
    }
}

fn number(delivery: &Delivery) -> u64 {
    let text = std::str::from_utf8(&delivery.data).unwrap();
    text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn settings(url: &str, exchange: &str) -> Settings {
    let mut settings = Settings::new(Secret::Plain(url.to_owned()));
    settings.pause = (Duration::from_millis(5), Duration::from_millis(50));
    exchange.clone_into(&mut settings.exchange);
    settings.window = 100;
    settings
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn all_arrives_in_order_over_a_way_that_breaks() {
    let (broker, mut rng) = (Broker::start(), Rng::new(6));
    let way = FaultyWay::to(broker.port(), move |bound| rng.below(bound));
    let through = format!("amqp://guest:guest@127.0.0.1:{}/%2f", way.port());
    let stopper = Stopper::default();
    drop(Publisher::open(settings(&broker.url(), "reads"), PATIENCE, &stopper).unwrap());
    let subscriber = Subscriber::new(&broker.url());
    subscriber.bind("reads", "reads", "fs.v1.#", &[]);
    let mut publisher = Publisher::open(settings(&through, "reads"), PATIENCE, &stopper).unwrap();
    let mut sent = 0;
    while way.faults() < 40 {
        sent += 1;
        publisher.send(letter(sent)).unwrap();
    }
    way.heal();
    let told = publisher.finish().unwrap();
    assert_eq!(told.confirmed, sent);
    assert!(told.connections > 20, "{told:?}");
    subscriber.bind("end", "reads", "fs.v1.#", &[]);
    publisher.send(letter(sent + 1)).unwrap();
    publisher.finish().unwrap();
    let taken: Vec<u64> =
        subscriber.take_until("reads", |one| number(one) == sent + 1).iter().map(number).collect();
    assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), (1..=sent + 1).collect());
    let back = taken.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64;
    assert!(back < told.connections, "{back} steps back over {} connections", told.connections);
    let first = &subscriber.take_until("end", |_| true)[0];
    assert_eq!(first.properties.message_id().as_ref().unwrap().as_str(), letter(sent + 1).id);
    eprintln!("{} faults, {told:?}, {} messages", way.faults(), taken.len());
}

#[test]
fn a_broker_that_takes_nothing_is_given_up_and_one_may_be_stopped() {
    let url = broker_url();
    let exchange = format!("refuses-{}", std::process::id());
    let stopper = Stopper::default();
    let short = Duration::from_millis(700);
    let begin = Instant::now();
    let absent = Publisher::open(settings("amqp://guest:hunter2@127.0.0.1:1/%2f", "x"), short, &stopper);
    let error = absent.err().unwrap().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("refused"), "{error}");
    assert!(!error.contains("hunter2") && begin.elapsed() >= short, "{error}");

    let mut publisher = Publisher::open(settings(&url, &exchange), short, &stopper).unwrap();
    let subscriber = Subscriber::new(&url);
    let limits = [
        ("x-max-length", AMQPValue::LongLongInt(5)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &limits);
    (1..=10).for_each(|number| publisher.send(letter(number)).unwrap());
    let error = publisher.finish().unwrap_err();
    assert!(matches!(error, PublishError::GaveUp { .. }), "{error}");
    assert!(error.to_string().contains("refused a message"), "{error}");

    // Given more patience, it is stopped while it waits.
    let mut publisher = Publisher::open(settings(&url, &exchange), PATIENCE, &stopper).unwrap();
    let stop = stopper.clone();
    let waiting = std::thread::spawn(move || {
        publisher.send(letter(11)).unwrap();
        (publisher.finish(), publisher.send(letter(12)))
    });
    let begin = Instant::now();
    wait_for("some tries", || (begin.elapsed() > Duration::from_millis(50)).then_some(()));
    stop.stop();
    let (finished, sent) = waiting.join().unwrap();
    assert!(matches!(finished, Err(PublishError::Stopped)), "{finished:?}");
    assert!(matches!(sent, Err(PublishError::Stopped)), "{sent:?}");
    brokers::at_broker(async {
        subscriber.channel.queue_delete(exchange.into(), QueueDeleteOptions::default()).await.unwrap();
    });
}
