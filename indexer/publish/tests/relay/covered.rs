//! What goes out only when it is certain that no other record ever has its id.

use brokers::{Subscriber, broker_url, wait_for};
use record::Seq;

use crate::journal::{Journal, declared, relay, seq};

#[test]
fn nothing_goes_out_whose_id_might_be_given_again() {
    let (url, exchange) = (broker_url(), format!("covers-{}", std::process::id()));
    declared(&url, &exchange);
    let subscriber = Subscriber::new(&url);
    subscriber.bind(&exchange, &exchange, "fs.v1.#", &[]);
    let journal = Journal::of(1_000);
    let running = relay(&journal, &url, &exchange);
    subscriber.take_until(&exchange, |one| {
        let seq = seq(one);
        assert!(journal.0.lock().unwrap().covered >= seq, "{seq} went out before it was noted");
        seq == 1_000
    });
    // One by one, and each is noted first.
    for last in 1_001..1_051 {
        journal.0.lock().unwrap().last = last;
        running.tell();
        subscriber.take_until(&exchange, |one| {
            assert!(journal.0.lock().unwrap().covered >= seq(one));
            seq(one) == last
        });
    }
    // The confirm comes after the message.
    wait_for("the cursor", || (running.report().cursor == 1_050).then_some(()));
    journal.0.lock().unwrap().full = true;
    journal.0.lock().unwrap().last = 1_060;
    running.tell();
    wait_for("the trouble", || running.report().trouble.filter(|why| why.contains("no space")));
    assert_eq!(running.report().cursor, 1_050, "nothing went out");
    journal.0.lock().unwrap().full = false;
    let taken = subscriber.take_until(&exchange, |one| seq(one) == 1_060);
    assert_eq!(taken.iter().map(seq).collect::<Vec<_>>(), (1_051..=1_060).collect::<Vec<_>>());
    wait_for("the cursor", || (journal.cursor_now() == 1_060).then_some(()));
    running.stop();
    running.join();

    // A cursor that stands behind the end skips nothing of what comes.
    journal.0.lock().unwrap().cursors.insert("amqp".to_owned(), Seq(5_000));
    let running = relay(&journal, &url, &exchange);
    wait_for("the cursor", || (running.report().cursor == 1_060).then_some(()));
    journal.0.lock().unwrap().last = 1_070;
    running.tell();
    let taken = subscriber.take_until(&exchange, |one| seq(one) == 1_070);
    assert_eq!(taken.iter().map(seq).collect::<Vec<_>>(), (1_061..=1_070).collect::<Vec<_>>());
    running.stop();
    running.join();
}
