//! What is wrong with a broker, said.

use std::sync::Arc;
use std::time::Duration;

use brokers::{Subscriber, at_broker, wait_for};
use consumer::{Feed, Secret};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use publish::{Relay, Settings};
use record::Seq;

use crate::journal::{Journal, declared, origin, ours, relay, seq, trouble};

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
    assert!(refused.contains("ACCESS_REFUSED"), "{refused}");
    let vhost = trouble(&format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"), "x");
    assert!(vhost.contains("nowhere"), "{vhost}");
    let absent = trouble("amqp://guest:hunter2@127.0.0.1:1/%2f", "x");
    assert!(absent.contains("Connection refused"), "{absent}");
    let nobody = trouble("amqp://guest:hunter2@no-such-host.invalid/%2f", "x");
    assert!(nobody.contains("lookup"), "{nobody}");
    let kind = trouble(&url, "amq.direct");
    assert!(kind.contains("ACCESS_REFUSED") && kind.contains("amq."), "{kind}");
    let subscriber = Subscriber::new(&url);
    at_broker(async {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let made = subscriber.channel.exchange_declare(
            "another".into(),
            ExchangeKind::Direct,
            durable,
            FieldTable::default(),
        );
        made.await.unwrap();
    });
    let kind = trouble(&url, "another");
    assert!(kind.contains("PRECONDITION_FAILED") && kind.contains("another"), "{kind}");
    // A user who may not make anything.
    let _ = broker.control(&["add_user", "reader", "hunter2"]);
    let _ = broker.control(&["set_permissions", "reader", "", "", ".*"]);
    let forbidden = trouble(&format!("amqp://reader:hunter2@127.0.0.1:{port}/%2f"), "x");
    assert!(forbidden.contains("ACCESS_REFUSED") && forbidden.contains("reader"), "{forbidden}");
}

/// What somebody takes away is made again, and what had nowhere to go comes then.
#[test]
fn what_is_taken_away_from_a_broker_holds_the_cursor_or_is_kept() {
    let mut broker = ours();
    let url = broker.url();
    // Nobody is there yet.
    broker.kill();
    let journal = Journal::of(100);
    let running = relay(&journal, &url, "taken");
    wait_for("the trouble", || running.report().trouble);
    assert_eq!(journal.cursor_now(), 0);
    broker.run();
    let cursor = |at| wait_for("the cursor", || (journal.cursor_now() == at).then_some(()));
    cursor(100);
    let subscriber = Subscriber::new(&url);
    let unrouted = |at| subscriber.take_until("taken.unrouted", |one| seq(one) == at).len();
    assert_eq!(unrouted(100), 100, "nobody was bound");

    let upto = |last| {
        journal.0.lock().unwrap().last = last;
        running.tell();
    };
    subscriber.bind("taken", "taken", "fs.v1.#", &[]);
    upto(110);
    assert_eq!(subscriber.take_until("taken", |one| seq(one) == 110).len(), 10);
    // A binding: the rest is kept where nobody is bound, and the relay goes on.
    at_broker(async {
        let (queue, exchange, key) = ("taken".into(), "taken".into(), "fs.v1.#".into());
        subscriber.channel.queue_unbind(queue, exchange, key, FieldTable::default()).await.unwrap();
    });
    upto(120);
    assert_eq!(unrouted(120), 10);
    cursor(120);
    // The exchange: made again, though no binding of it is.
    at_broker(async {
        let all = ExchangeDeleteOptions::default();
        subscriber.channel.exchange_delete("taken".into(), all).await.unwrap();
    });
    upto(130);
    cursor(130);
    assert_eq!(unrouted(130), 10);
    // The queue of what nobody is bound to: its exchange is there and leads nowhere.
    at_broker(async {
        let all = QueueDeleteOptions::default();
        subscriber.channel.queue_delete("taken.unrouted".into(), all).await.unwrap();
    });
    upto(140);
    cursor(140);
    assert_eq!(unrouted(140), 10);
    running.stop();
    running.join();

    // One that makes nothing says what is missing, and waits for somebody else to make it.
    let mut settings = Settings::new(Secret::Plain(url.clone()));
    (settings.declare, settings.exchange) = (false, "made-elsewhere".to_owned());
    settings.pause = (Duration::from_millis(5), Duration::from_millis(50));
    let journal = Journal::of(10);
    let running = Relay::start(Arc::clone(&journal) as Arc<dyn Feed>, settings, origin()).unwrap();
    let said = wait_for("the trouble", || running.report().trouble);
    assert!(said.contains("NOT_FOUND") && said.contains("made-elsewhere"), "{said}");
    declared(&url, "made-elsewhere");
    wait_for("the cursor", || (journal.cursor_now() == 10).then_some(()));
    running.stop();
    running.join();
}
