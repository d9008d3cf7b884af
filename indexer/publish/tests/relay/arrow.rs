//! The same as columns: every record is in a batch, in order, whatever happens to the broker.

use brokers::{FaultyWay, Subscriber, broker_url, wait_for};
use columns::Row;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use prove::Rng;
use publish::Format;
use record::wire::message::Message;

use crate::journal::{Journal, declared, made, origin, ours, relay_in};

fn rows(delivery: &Delivery) -> Vec<Row> {
    columns::read(&delivery.data).unwrap()
}

fn seqs(delivery: &Delivery) -> Vec<u64> {
    rows(delivery).iter().map(|row| row.message.source.seq).collect()
}

fn has(delivery: &Delivery, seq: u64) -> bool {
    header(delivery, "lastseq").parse::<u64>().unwrap() >= seq
}

fn header(delivery: &Delivery, name: &str) -> String {
    let table = delivery.properties.headers().as_ref().unwrap().inner();
    match table.get(format!("cloudEvents_{name}").as_str()) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

/// That each batch is of records that follow on each other, and all together of all up to `last`, each at least once, and a seq that was seen
/// is passed over again in order. Answers how many came.
fn check_all(taken: &[Delivery], last: u64) -> usize {
    let (mut next, mut came) = (1, 0);
    for one in taken {
        let told = seqs(one);
        let expected: Vec<u64> = (told[0]..told[0] + told.len() as u64).collect();
        assert_eq!(told, expected, "a batch is of records that follow on each other");
        assert!(told[0] <= next, "from {next} to {} nothing came", told[0]);
        next = next.max(told[told.len() - 1] + 1);
        came += told.len();
    }
    assert_eq!(next, last + 1);
    came
}

#[test]
fn every_record_is_in_a_batch_that_says_what_it_is() {
    let (url, exchange) = (broker_url(), format!("columns-{}", std::process::id()));
    declared(&url, &exchange);
    let subscriber = Subscriber::new(&url);
    // As who reads one partition is told to bind.
    subscriber.bind(&exchange, &exchange, "fs.v1.#.p03", &[]);
    subscriber.bind(&exchange, &exchange, "fs.v1.#.pall", &[]);
    let journal = Journal::of(20_000);
    let relay = relay_in(Format::Arrow, &journal, &url, &exchange);
    let taken = subscriber.take_until(&exchange, |one| has(one, 20_000));
    assert_eq!(check_all(&taken, 20_000), 20_000, "each once");
    assert!(taken.len() <= 20_000 / 512, "{} batches: they are large where there is much", taken.len());
    let first = &taken[0];
    assert_eq!(first.routing_key.as_str(), "fs.v1.r1.any.batch.pall");
    let properties = &first.properties;
    let content_type = properties.content_type().as_ref().map(|text| text.as_str());
    assert_eq!(content_type, Some("application/vnd.apache.arrow.stream"));
    let told = seqs(first);
    let id = format!("/indexer/test/{}/1-{}", "e".repeat(32), told.len());
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some(id.as_str()));
    assert_eq!((header(first, "id"), header(first, "type")), (id, "indexer.fs.v1.batch".into()));
    assert_eq!((header(first, "firstseq"), header(first, "records")), ("1".into(), told.len().to_string()));
    assert_eq!(header(first, "dataschema"), "urn:indexer:fs:v1:arrow");
    // What stands in it is what would stand in JSON.
    let row = &rows(first)[41];
    let mut record = made(42, std::time::Duration::ZERO);
    record.seen = record::Time(row.message.source.ts_ns);
    assert_eq!(row.message, Message::new(&record, b"/r", &origin()));
    wait_for("the cursor", || (journal.cursor_now() == 20_000).then_some(()));

    // What comes later goes out at once, alone if it is.
    journal.0.lock().unwrap().last = 20_001;
    relay.tell();
    let taken = subscriber.take_until(&exchange, |one| has(one, 20_001));
    assert_eq!((taken.len(), seqs(&taken[0])), (1, vec![20_001]));
    wait_for("the cursor", || (journal.cursor_now() == 20_001).then_some(()));
    relay.stop();
    relay.join();
}

#[test]
fn batches_that_were_not_confirmed_come_again_and_what_is_lost_is_told() {
    let mut broker = ours();
    let url = broker.url();
    declared(&url, "batches");
    Subscriber::new(&url).bind("batches", "batches", "fs.v1.r1.#", &[]);
    let journal = Journal::of(400_000);
    let running = relay_in(Format::Arrow, &journal, &url, "batches");
    for part in 1..=3 {
        wait_for("some records", || (journal.cursor_now() > part * 20_000).then_some(()));
        broker.kill();
        wait_for("the trouble", || running.report().trouble.map(drop));
        broker.run();
    }
    let subscriber = Subscriber::new(&url);
    check_all(&subscriber.take_until("batches", |one| has(one, 400_000)), 400_000);
    wait_for("the cursor", || (journal.cursor_now() == 400_000).then_some(()));
    assert!(running.report().connections >= 4);

    // Who binds by a kind has no batch; those go where all goes that nobody wants.
    running.stop();
    running.join();
    subscriber.bind("of files", "batches", "fs.v1.*.file.#", &[]);
    {
        let mut state = journal.0.lock().unwrap();
        (state.oldest, state.last) = (400_101, 400_110);
    }
    let running = relay_in(Format::Arrow, &journal, &url, "batches");
    let taken = subscriber.take_until("batches", |one| has(one, 400_110));
    let gap = &rows(&taken[0])[0];
    assert!(gap.lost && gap.message.change.why.as_ref().unwrap().contains("400001 to 400100"), "{gap:?}");
    assert_eq!((gap.id(), gap.message.source.seq), (header(&taken[0], "id"), 400_100));
    assert!(gap.message.tells_of_lost(&gap.id()));
    let rest: Vec<u64> = taken[1..].iter().flat_map(seqs).collect();
    assert_eq!(rest, (400_101..=400_110).collect::<Vec<_>>());
    assert_eq!(subscriber.waiting("of files").map(|(messages, _)| messages), Some(0));
    running.stop();
    running.join();
}

/// As for JSON: `FAULTS` says how many.
#[test]
fn a_way_that_breaks_all_the_time_loses_no_batch() {
    let faults = std::env::var("FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100u64);
    let (broker, mut rng) = (ours(), Rng::new(faults));
    let url = broker.url();
    declared(&url, "torn");
    let subscriber = Subscriber::new(&url);
    subscriber.bind("torn", "torn", "fs.v1.#", &[]);
    let way = FaultyWay::to(broker.port(), move |bound| rng.below(bound));
    let journal = Journal::of(1);
    let through = format!("amqp://guest:guest@127.0.0.1:{}/%2f", way.port());
    let running = relay_in(Format::Arrow, &journal, &through, "torn");
    for some in 1..=faults {
        wait_for("one more fault", || {
            let mut inside = journal.0.lock().unwrap();
            inside.last = inside.cursors.get("amqp").map_or(0, |seq| seq.0) + 5_000;
            drop(inside);
            running.tell();
            (way.faults() >= some).then_some(())
        });
    }
    way.heal();
    let last = journal.0.lock().unwrap().last;
    let taken = subscriber.take_until("torn", |one| has(one, last));
    let came = check_all(&taken, last);
    wait_for("the cursor", || (journal.cursor_now() == last).then_some(()));
    running.stop();
    running.join();
    eprintln!("{} faults, {last} records, {} batches of {came} rows", way.faults(), taken.len());
}
