//! A daemon that publishes: what happens on the disk arrives at a subscriber, and nothing of its journal is left out, however
//! often the daemon is killed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use indexer_tests::{Daemon, Delivery, Place, Rng, Subscriber, broker_url, wait_for};
use record::wire::message::Message;
use serde_json::Value;

fn message(delivery: &Delivery) -> Message {
    serde_json::from_slice(&delivery.data).unwrap()
}

fn amqp(daemon: &Daemon) -> Value {
    daemon.status()["amqp"].clone()
}

#[test]
fn what_happens_on_the_disk_arrives() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    let root = ground.root();
    fs::write(root.join("old"), "there before").unwrap();
    let exchange = format!("arrives-{}", std::process::id());
    let daemon = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.*.file.#", &[]);
    let from = daemon.changes(0).last().map_or(0, |record| record["seq"].as_u64().unwrap());
    fs::rename(root.join("old"), root.join("new")).unwrap();
    // What is done at once may be one record.
    daemon.settle();
    fs::write(root.join("film"), vec![b'f'; 5000]).unwrap();
    fs::remove_file(root.join("new")).unwrap();
    fs::write(root.join("last"), "x").unwrap();
    daemon.settle();
    let records = daemon.changes(from);
    let is_file = |record: &&Value| record["after"]["kind"] == "file" || record["before"]["kind"] == "file";
    let last = records.iter().rfind(is_file).unwrap()["seq"].as_u64().unwrap();
    let taken = subscriber.take_until(&exchange, |one| message(one).source.seq == last);
    let told: Vec<(String, String)> = taken
        .iter()
        .map(message)
        .filter(|message| message.source.seq > from)
        .map(|message| {
            let entry = message.after.as_ref().or(message.before.as_ref()).unwrap();
            let name = Path::new(&entry.path).file_name().unwrap().to_string_lossy().into_owned();
            (message.change.verb.clone(), name)
        })
        .collect();
    let has = |verb: &str, name: &str| told.contains(&(verb.to_owned(), name.to_owned()));
    assert!(has("renamed", "new") && has("deleted", "new") && has("created", "film"), "{told:?}");
    let renamed = taken.iter().map(message).find(|message| message.change.verb == "renamed").unwrap();
    assert_eq!(renamed.op, "u");
    assert!(renamed.before.unwrap().path.ends_with("/old"));
    assert_eq!(daemon.status()["epoch"], renamed.source.epoch.as_str());
    wait_for("the cursor", || (amqp(&daemon)["lag"] == 0).then_some(()));
}

#[test]
fn r8_killed_at_any_time_every_record_is_published() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    let root = ground.root();
    let exchange = format!("killed-{}", std::process::id());
    let mut rng = Rng::new(8);
    let mut running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let mut made = 0;
    for round in 0..12u64 {
        for _ in 0..(200 + rng.below(800)) {
            fs::write(root.join(format!("{made:06}")), format!("{round}")).unwrap();
            made += 1;
        }
        // While the relay is at it, most of the time.
        let some = rng.below(20);
        wait_for("some to be published", || (amqp(&running)["confirmed"].as_u64()? >= some).then_some(()));
        running.kill9();
        running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    }
    fs::write(root.join("the last"), "x").unwrap();
    running.settle();
    wait_for("all to be published", || (amqp(&running)["lag"] == 0).then_some(()));
    let journal: BTreeSet<u64> =
        running.changes(0).iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    let last = *journal.last().unwrap();
    let taken = subscriber.take_until(&exchange, |one| message(one).source.seq == last);
    let came: BTreeSet<u64> = taken.iter().map(|one| message(one).source.seq).collect();
    // What was published before anybody was bound is not here.
    let first = *came.first().unwrap();
    let left_out: Vec<&u64> = journal.range(first..).filter(|seq| !came.contains(seq)).collect();
    assert!(first <= 2 && left_out.is_empty(), "from {first} on: {left_out:?} of {last}");
    running.assert_exact(root);
}
