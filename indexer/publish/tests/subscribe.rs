//! A subscription at a real broker: what is handled is gone, what is not now comes again, what can never be is put aside; killed brokers
//! and connections are outlived.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use brokers::{AMQPValue, Broker, Subscriber, broker_url, wait_for};
use consumer::Secret;
use publish::{
    Arrived, Fatal, Handler, Origins, Settings, Stop, SubscribeError, Subscription, Verdict, subscribe,
};

/// Says what a closure says of each message, and passes on what came.
struct Says<F>(F, Sender<(String, Verdict)>);

impl<F: FnMut(&str) -> Verdict> Handler for Says<F> {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        let mut verdicts = Vec::new();
        for message in messages {
            let text = String::from_utf8(message.body.clone()).unwrap();
            if text == "fatal" {
                return Err(Fatal("the disk is full".to_owned()));
            }
            let verdict = (self.0)(&text);
            self.1.send((text, verdict.clone())).unwrap();
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }
}

fn settings(url: &str, exchange: &str) -> Settings {
    let pause = (Duration::from_millis(20), Duration::from_millis(100));
    Settings { exchange: exchange.to_owned(), pause, ..Settings::new(Secret::Plain(url.to_owned())) }
}

fn subscription(queue: &str) -> Subscription {
    Subscription {
        queue: queue.to_owned(),
        from: Origins::Records(vec!["k.#".to_owned()]),
        prefetch: 50,
        one_reader: true,
    }
}

#[test]
fn each_verdict_has_its_end() {
    let (url, name) = (broker_url(), format!("verdicts-{}", std::process::id()));
    let subscriber = Subscriber::new(&url);
    let (sender, heard) = channel();
    let stop = Stop::default();
    let (stopper, settings) = (stop.clone(), settings(&url, &name));
    let mut tried = 0;
    let queue = name.clone();
    let reader = thread::spawn(move || {
        let says = |text: &str| match text {
            "later" if tried < 2 => {
                tried += 1;
                Verdict::Again("not now".to_owned())
            }
            "never" => Verdict::Unusable("it says nothing".to_owned()),
            _ => Verdict::Done,
        };
        subscribe(&settings, &subscription(&queue), &mut Says(says, sender), &stop)
    });
    wait_for("a reader", || subscriber.waiting(&name).filter(|(_, readers)| *readers == 1));
    for text in ["one", "later", "never", "two"] {
        subscriber.publish(&name, "k.x", text.as_bytes());
    }
    let mut ended = Vec::new();
    while ended.len() < 4 {
        let (text, verdict) = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        if !matches!(verdict, Verdict::Again(_)) {
            ended.push(text);
        }
    }
    ended.sort();
    assert_eq!(ended, ["later", "never", "one", "two"]);
    let dead = subscriber.take_until(&format!("{name}.dead"), |_| true);
    let headers = dead[0].properties.headers().clone().unwrap();
    assert_eq!(headers.inner().get("indexer-why"), Some(&AMQPValue::LongString("it says nothing".into())));
    assert_eq!(headers.inner().get("indexer-key"), Some(&AMQPValue::LongString("k.x".into())));
    stopper.stop();
    reader.join().unwrap().unwrap();
    wait_for("nothing to wait", || subscriber.waiting(&name).filter(|told| *told == (0, 0)));
}

#[test]
fn what_was_not_handled_is_not_acknowledged() {
    let (url, name) = (broker_url(), format!("fatal-{}", std::process::id()));
    let subscriber = Subscriber::new(&url);
    let (stop, settings) = (Stop::default(), settings(&url, &name));
    stop.stop();
    let (sender, heard) = channel();
    let mut done = Says(|_: &str| Verdict::Done, sender);
    subscribe(&settings, &subscription(&name), &mut done, &stop).unwrap();
    assert!(subscriber.waiting(&name).is_none(), "told to leave before it began");
    let (again, queue) = (Stop::default(), name.clone());
    let reader = thread::spawn(move || subscribe(&settings, &subscription(&queue), &mut done, &again));
    wait_for("a reader", || subscriber.waiting(&name).filter(|(_, readers)| *readers == 1));
    subscriber.publish(&name, "k.x", b"fatal");
    let error = reader.join().unwrap().unwrap_err();
    assert!(
        matches!(&error, SubscribeError::Fatal(_)) && error.to_string().contains("disk is full"),
        "{error}"
    );
    assert!(heard.try_recv().is_err());
    wait_for("the message to be back", || subscriber.waiting(&name).filter(|told| *told == (1, 0)));
}

#[test]
fn a_broker_that_was_killed_is_read_from_again() {
    let mut broker = Broker::start();
    let (url, name) = (broker.url(), "killed");
    let (sender, heard) = channel();
    let stop = Stop::default();
    let (stopper, settings) = (stop.clone(), settings(&url, name));
    let reader = thread::spawn(move || {
        subscribe(&settings, &subscription(name), &mut Says(|_: &str| Verdict::Done, sender), &stop)
    });
    for turn in 0..3 {
        {
            let subscriber = Subscriber::new(&url);
            wait_for("a reader", || subscriber.waiting(name).filter(|(_, readers)| *readers == 1));
            subscriber.publish(name, "k.x", format!("{turn}").as_bytes());
        }
        // What was not acknowledged before the broker died comes again.
        while heard.recv_timeout(Duration::from_secs(60)).unwrap().0 != format!("{turn}") {}
        if turn < 2 {
            broker.keeps(name);
            broker.kill();
            broker.run();
        }
    }
    stopper.stop();
    reader.join().unwrap().unwrap();
}

/// Takes everything, while it has room.
struct Roomy(Sender<String>, Arc<AtomicBool>);

impl Handler for Roomy {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        for message in messages {
            let text = String::from_utf8(message.body.clone()).unwrap();
            // Room for one batch.
            self.1.store(false, Ordering::Relaxed);
            self.0.send(text).unwrap();
        }
        Ok(vec![Verdict::Done; messages.len()])
    }

    fn has_room(&mut self) -> Result<bool, Fatal> {
        Ok(self.1.load(Ordering::Relaxed))
    }
}

#[test]
fn without_room_the_queue_keeps_what_comes() {
    let (url, name) = (broker_url(), format!("room-{}", std::process::id()));
    let subscriber = Subscriber::new(&url);
    let (sender, heard) = channel();
    let (stop, room) = (Stop::default(), Arc::new(AtomicBool::new(true)));
    let (stopper, settings, queue) = (stop.clone(), settings(&url, &name), name.clone());
    let mut handler = Roomy(sender, Arc::clone(&room));
    let one = Subscription { prefetch: 1, ..subscription(&queue) };
    let reader = thread::spawn(move || subscribe(&settings, &one, &mut handler, &stop));
    wait_for("a reader", || subscriber.waiting(&name).filter(|(_, readers)| *readers == 1));
    for turn in 0..4 {
        subscriber.publish(&name, "k.x", format!("{turn}").as_bytes());
    }
    for turn in 0..4 {
        assert_eq!(heard.recv_timeout(Duration::from_secs(60)).unwrap(), format!("{turn}"));
        wait_for("the rest to wait", || subscriber.waiting(&name).filter(|told| *told == (3 - turn, 0)));
        room.store(true, Ordering::Relaxed);
    }
    wait_for("a reader", || subscriber.waiting(&name).filter(|told| *told == (0, 1)));
    room.store(false, Ordering::Relaxed);
    stopper.stop();
    reader.join().unwrap().unwrap();
    assert_eq!(subscriber.waiting(&format!("{name}.dead")), Some((0, 0)));
}
