//! Ways to the broker that break.

use std::time::Instant;

use brokers::{FaultyWay, Subscriber, wait_for};
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
