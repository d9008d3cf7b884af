//! Ids of messages: none is ever given to two records, also when the index is put back from a backup; and no more epochs are
//! minted than it takes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;

use indexer_tests::{Daemon, Delivery, Ground, Place, Subscriber, broker_url, json_lines, stderr, wait_for};
use record::wire::message::Message;
use serde_json::Value;

fn epoch(daemon: &Daemon) -> String {
    daemon.status()["epoch"].as_str().unwrap().to_owned()
}

fn id(delivery: &Delivery) -> String {
    delivery.properties.message_id().as_ref().unwrap().to_string()
}

/// Makes files, and waits until all is published. The last seq.
fn work(ground: &Ground, daemon: &Daemon, name: &str) -> u64 {
    for number in 0..20 {
        fs::write(ground.root().join(format!("{name} {number}")), name).unwrap();
    }
    published(daemon)
}

fn published(daemon: &Daemon) -> u64 {
    daemon.settle();
    let amqp = || daemon.status()["amqp"].clone();
    wait_for("all to be published", || {
        let amqp: Value = amqp();
        (amqp["lag"] == 0 && amqp["state"] == "publishing").then_some(())
    });
    daemon.seq()
}

#[test]
fn an_index_put_back_from_a_backup_gives_no_id_twice() {
    let (ground, url) = (Place::Here.open().unwrap(), broker_url());
    let exchange = format!("epochs-{}", std::process::id());
    let mut running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let (index, backup) = (ground.state().join("index.redb"), ground.beside("backup.redb"));

    let at_backup = work(&ground, &running, "before");
    let first = epoch(&running);
    assert!(running.terminate().success());
    fs::copy(&index, &backup).unwrap();
    running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    let lost = work(&ground, &running, "lost");
    assert_eq!(epoch(&running), first, "a plain restart keeps the epoch");
    // No chance to note anything at the end.
    running.kill9();
    running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    assert_eq!(epoch(&running), first, "so does a kill");
    running.kill9();

    let mut epochs = BTreeSet::from([first.clone()]);
    for name in ["again", "and again"] {
        fs::copy(&backup, &index).unwrap();
        running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
        assert!(running.log().contains("the journal goes on with a new epoch"), "{}", running.log());
        assert!(epochs.insert(epoch(&running)), "{epochs:?}");
        let last = work(&ground, &running, name);
        assert!(at_backup < last, "it went on from what it was put back to");
        running.assert_exact(ground.root());
        running.kill9();
        let now = epochs.len();
        running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
        epochs.insert(epoch(&running));
        assert_eq!(epochs.len(), now, "one backup, one epoch");
        running.kill9();
    }

    running = Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &[]);
    let last = work(&ground, &running, "the end");
    let newest = epoch(&running);
    let taken = subscriber.take_until(&exchange, |one| {
        let message: Message = serde_json::from_slice(&one.data).unwrap();
        (message.source.epoch.as_str(), message.source.seq) == (newest.as_str(), last)
    });
    let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut twice = Vec::new();
    for one in &taken {
        let body = bodies.entry(id(one)).or_insert_with(|| one.data.clone());
        if *body != one.data {
            twice.push(id(one));
        }
    }
    assert!(twice.is_empty(), "given to two records: {twice:?}");
    let of = |epoch: &str| -> BTreeSet<u64> {
        let part = format!("/{epoch}/");
        let seqs = bodies.keys().filter_map(|id| id.split_once(&part)?.1.parse().ok());
        seqs.collect()
    };
    assert_eq!(of(&first).last(), Some(&lost), "what was lost with the disk had been published");
    // Each epoch's stream goes on from where the index was put back to, and lacks nothing after its begin.
    for epoch in epochs.iter().filter(|epoch| **epoch != first) {
        let seqs = of(epoch);
        let (from, to) = (*seqs.first().unwrap(), *seqs.last().unwrap());
        assert_eq!(seqs, (from..=to).collect(), "a stretch without holes");
        assert!(from <= at_backup + 1, "from {from}, the backup was of {at_backup}");
    }
}

/// Whoever read records of the journal that was replaced is told so, and skips nothing by waiting.
#[test]
fn a_place_behind_the_end_of_the_journal_is_refused() {
    let ground = Place::Here.open().unwrap();
    fs::write(ground.root().join("a"), "a").unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    daemon.settle();
    let last = daemon.seq();
    let at_end = daemon.run(&[&"changes", &"--since", &last.to_string(), &"--json"]);
    assert_eq!((at_end.status.code(), json_lines(&at_end).len()), (Some(1), 0));
    for follow in [&[][..], &["--follow"]] {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"changes", &"--since", &"1000000"];
        follow.iter().for_each(|flag| arguments.push(flag));
        let refused = daemon.run(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("there is no seq 1000000 yet"), "{}", stderr(&refused));
    }
    let body = r#"{"consumer":"backup","seq":1000000}"#;
    let mut stream = indexer_tests::http::dial(&ground.state());
    indexer_tests::http::send(&mut stream, "POST", "/v1/confirm", body);
    let answer = indexer_tests::http::receive(&mut stream);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(daemon.status()["consumers"].as_array().map(Vec::len), Some(0));
}
