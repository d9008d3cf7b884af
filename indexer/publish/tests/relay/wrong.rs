//! What is wrong with a broker, said.

use std::time::Duration;

use brokers::wait_for;
use consumer::Secret;
use publish::{Relay, Settings};
use record::Seq;

use crate::journal::{Journal, ours, relay, trouble};

/// An age that is only told when something is confirmed would stand still just when it matters.
#[test]
fn how_far_behind_it_is_grows_while_no_broker_is_there() {
    let journal = Journal::of(10);
    let aged = |seconds| journal.0.lock().unwrap().age = Duration::from_secs(seconds);
    let lag = |relay: &Relay| (relay.report().lag, relay.report().lag_seconds / 100);
    aged(3_600);
    let running = relay(&journal, "amqp://127.0.0.1:1/%2f", "x");
    wait_for("the trouble", || running.report().trouble);
    assert_eq!(lag(&running), (10, 36));
    aged(7_200);
    assert_eq!(lag(&running), (10, 72), "as of the question");
    journal.0.lock().unwrap().oldest = 8;
    assert_eq!(lag(&running), (10, 72), "of the oldest that is still there");
    running.stop();
    running.join();

    journal.0.lock().unwrap().asked.clear();
    let _ = running.report();
    let mut inside = journal.0.lock().unwrap();
    assert!(inside.asked.iter().all(|&most| most == 1), "one record is read: {:?}", inside.asked);
    inside.cursors.insert("amqp".to_owned(), Seq(10));
    drop(inside);
    let caught_up = relay(&journal, "amqp://127.0.0.1:1/%2f", "x");
    assert_eq!(lag(&caught_up), (0, 0));
    caught_up.stop();
    caught_up.join();
}

#[test]
fn what_is_wrong_with_a_broker_is_said_without_its_password() {
    let broker = ours();
    let url = broker.url();
    let trouble = |url: &str, exchange: &str| {
        let mut settings = Settings::new(Secret::Plain(url.to_owned()));
        exchange.clone_into(&mut settings.exchange);
        trouble(&settings)
    };
    let port = broker.port();
    let refused = trouble(&format!("amqp://guest:hunter2@127.0.0.1:{port}/%2f"), "x");
    assert!(refused.contains("ACCESS_REFUSED") || refused.contains("refused"), "{refused}");
    let vhost = trouble(&format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"), "x");
    assert!(vhost.contains("nowhere") || vhost.contains("NOT_ALLOWED"), "{vhost}");
    let absent = trouble("amqp://guest:hunter2@127.0.0.1:1/%2f", "x");
    assert!(absent.contains("refused"), "{absent}");
    let kind = trouble(&url, "amq.direct");
    assert!(kind.contains("amq.") || kind.contains("PRECONDITION_FAILED"), "{kind}");
}
