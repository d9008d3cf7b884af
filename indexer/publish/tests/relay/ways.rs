//! Ways to the broker that break.

use std::time::{Duration, Instant};

use brokers::{Broker, FaultyWay, Subscriber, skipped, wait_for};
use prove::Rng;

use crate::journal::{Journal, check_all, declared, ours, relay, seq};

/// Connections of the relay that break at a random place each: `FAULTS` says how many. The broker may still be at what an old one
/// brought when the next begins, so that both are mixed in the queue.
#[test]
fn a_way_that_breaks_all_the_time_loses_nothing() {
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100u64);
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(faults);
    let (broker, mut rng) = (ours(), Rng::new(seed));
    let url = broker.url();
    declared(&url, "ways");
    let subscriber = Subscriber::new(&url);
    subscriber.bind("ways", "ways", "fs.v1.#", &[]);
    let begin = Instant::now();
    let way = FaultyWay::to(broker.port(), move |bound| rng.below(bound));
    let through = format!("amqp://guest:guest@127.0.0.1:{}/%2f", way.port());
    let journal = Journal::of(1);
    let running = relay(&journal, &through, "ways");
    for some in 1..=faults {
        wait_for("one more fault", || {
            // There is always something to publish.
            let mut inside = journal.0.lock().unwrap();
            inside.last = inside.cursors.get("amqp").map_or(0, |seq| seq.0) + 5_000;
            drop(inside);
            running.tell();
            (way.faults() >= some).then_some(())
        });
    }
    way.heal();
    let took = begin.elapsed();
    let last = journal.0.lock().unwrap().last;
    let taken = subscriber.take_until("ways", |one| seq(one) == last);
    check_all(&taken, last);
    wait_for("the cursor", || (journal.cursor_now() == last).then_some(()));
    running.stop();
    running.join();
    let connections = running.report().connections;
    eprintln!(
        "{} faults in {took:?}, {connections} connections, {last} records, {} messages",
        way.faults(),
        taken.len()
    );
}

/// Cut so that nobody is told: some cuts are over before anybody could notice, others are noticed by the silence alone. What the
/// system still has to send of an old connection comes after the next one has begun.
#[test]
fn a_network_that_is_cut_and_healed_loses_nothing() {
    let broker = match Broker::start_apart() {
        Ok(broker) => broker,
        Err(why) => return skipped(why),
    };
    let url = format!("{}?heartbeat=1", broker.url());
    declared(&url, "cuts");
    Subscriber::new(&url).bind("cuts", "cuts", "fs.v1.#", &[]);
    let journal = Journal::of(1);
    let running = relay(&journal, &url, "cuts");
    let more = || {
        let mut inside = journal.0.lock().unwrap();
        inside.last = inside.cursors.get("amqp").map_or(0, |seq| seq.0) + 5_000;
        drop(inside);
        running.tell();
    };
    let some = || {
        let before = journal.cursor_now();
        wait_for("some records", || {
            more();
            (journal.cursor_now() > before + 500).then_some(())
        });
    };
    for cut in 0..6u64 {
        some();
        broker.cut();
        if cut % 2 == 0 {
            wait_for("the silence to be noticed", || {
                more();
                running.report().trouble
            });
        } else {
            let begin = Instant::now();
            wait_for("a moment", || (begin.elapsed() > Duration::from_millis(100 * cut)).then_some(()));
        }
        broker.heal();
    }
    some();
    let last = journal.0.lock().unwrap().last;
    wait_for("the cursor", || (journal.cursor_now() == last).then_some(()));
    let connections = running.report().connections;
    assert!((4..=7).contains(&connections), "{connections}: cuts that are short break nothing");
    // What old connections still had to bring is before what the last brought, or came twice.
    let subscriber = Subscriber::new(&url);
    check_all(&subscriber.take_until("cuts", |one| seq(one) == last), last);
    running.stop();
    running.join();
}
