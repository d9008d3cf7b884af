//! What arrives, in which order, while the broker is killed, blocks, and refuses.

use brokers::{Subscriber, at_broker, broker_url, wait_for};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::AMQPValue;
use record::wire::message::Message;

use crate::journal::{Journal, check_all, declared, ours, relay, seq};

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
    assert_eq!((report.lag, report.lag_seconds, report.confirmed, report.trouble), (0, 0, 20_000, None));

    // What comes later goes out at once.
    journal.0.lock().unwrap().last = 20_001;
    relay.tell();
    assert_eq!(subscriber.take_until(&exchange, |one| seq(one) == 20_001).len(), 1);
    wait_for("the cursor", || (journal.cursor_now() == 20_001).then_some(()));
    relay.stop();
    relay.join();
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
