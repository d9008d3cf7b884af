//! The order of messages, the folding, the retries and the cursor, by a clock that the test turns.

use proptest::prelude::*;
use record::{Body, How, RootId, Time};

use super::*;

const RATE: Rate = Rate { most: 3, per: Duration::from_secs(60) };
const GIVE_UP: Duration = Duration::from_secs(100);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn desk() -> Desk {
    Desk::new(RATE, GIVE_UP, Seq(0), Duration::ZERO)
}

fn record(seq: u64) -> Record {
    let body = Body::RootFound { path: format!("/{seq}").into_bytes().into() };
    Record { seq: Seq(seq), seen: Time(i128::from(seq)), how: How::Sweep, root: RootId(1), body }
}

fn take(desk: &mut Desk, seqs: impl IntoIterator<Item = u64>, now: Duration) {
    for seq in seqs {
        desk.take(&record(seq), Some("root_found"), now);
    }
}

/// First and last record of what is to be sent now.
fn next(desk: &mut Desk, now: Duration) -> Option<(u64, u64)> {
    desk.next(now).map(span)
}

fn span(message: &Message) -> (u64, u64) {
    match message {
        Message::Record(record, _) => (record.seq.0, record.seq.0),
        Message::Summary(fold) => (fold.first.0, fold.last.0),
        other => panic!("{other:?} is of no record"),
    }
}

#[test]
fn a_storm_is_so_many_messages_and_one_summary() {
    let mut desk = desk();
    take(&mut desk, 1..=1_000, at(0));
    for seq in 1..=3 {
        assert_eq!(next(&mut desk, at(0)), Some((seq, seq)));
        desk.delivered();
    }
    assert_eq!((next(&mut desk, at(59)), desk.waiting(), desk.wake_at()), (None, 997, Some(at(0))));
    desk.confirm(desk.done(), at(59));
    assert_eq!((desk.done(), desk.wake_at()), (Seq(3), Some(at(60))));
    // What comes before the summary is out belongs to it.
    take(&mut desk, [1_001], at(60));
    assert_eq!(next(&mut desk, at(60)), Some((4, 1_001)));
    let Some(Message::Summary(fold)) = desk.delivered() else { panic!("it is a summary") };
    assert_eq!((fold.count, desk.done()), (998, Seq(1_001)));
    // And then each is told of by itself again, as far as the rate goes.
    take(&mut desk, 1_002..=1_004, at(61));
    assert_eq!(next(&mut desk, at(61)), Some((1_002, 1_002)));
    desk.delivered();
    desk.delivered();
    assert_eq!(next(&mut desk, at(61)), None);
    assert_eq!(next(&mut desk, at(120)), Some((1_004, 1_004)), "a summary of one is that one");
}

#[test]
fn the_cursor_stays_before_what_is_not_delivered() {
    let mut desk = desk();
    desk.take(&record(1), None, at(0));
    assert_eq!((desk.done(), desk.to_confirm(at(9)), desk.to_confirm(at(10))), (Seq(1), None, Some(Seq(1))));
    take(&mut desk, [2, 3], at(1));
    desk.take(&record(4), None, at(1));
    assert_eq!(desk.done(), Seq(1));
    desk.delivered();
    assert_eq!((desk.done(), desk.to_confirm(at(1))), (Seq(2), Some(Seq(2))));
    desk.confirm(Seq(2), at(1));
    desk.failed(at(1));
    assert_eq!((desk.done(), desk.to_confirm(at(1_000))), (Seq(2), None));
    desk.delivered();
    assert_eq!(desk.to_confirm(at(1_000)), Some(Seq(4)), "with what was not looked for behind it");
}

#[test]
fn attempts_are_ever_further_apart_and_end() {
    let mut desk = desk();
    take(&mut desk, [1, 2], at(0));
    let (mut now, mut attempts) = (at(0), Vec::new());
    let given_up = loop {
        assert_eq!(next(&mut desk, now), Some((1, 1)));
        attempts.push(now.as_secs());
        if let Some(given_up) = desk.failed(now) {
            break given_up;
        }
        // Meanwhile others come; they are not lost and not in the way.
        let seq = desk.position().0 + 1;
        take(&mut desk, [seq], now);
        let wake = desk.wake_at().unwrap();
        assert_eq!(next(&mut desk, wake - Duration::from_millis(1)), None);
        assert_eq!(desk.done(), Seq(0));
        now = wake;
    };
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 100]);
    assert_eq!(span(&given_up), (1, 1));
    assert_eq!((desk.done(), desk.to_confirm(now)), (Seq(1), Some(Seq(1))));
    assert_eq!(next(&mut desk, now), Some((2, 9)), "all that waited behind it is one message");
}

#[test]
fn a_slow_place_has_a_short_line() {
    let mut desk = desk();
    for minute in 0..100 {
        take(&mut desk, minute * 10 + 1..=minute * 10 + 10, at(minute * 60));
        assert!(desk.ready.len() <= RATE.most, "{} wait in line", desk.ready.len());
    }
    assert_eq!(desk.waiting(), 1_000);
}

#[test]
fn what_the_journal_no_longer_has_is_told() {
    let mut desk = desk();
    desk.miss(Seq(500));
    take(&mut desk, [501], at(0));
    assert_eq!((desk.done(), next(&mut desk, at(0))), (Seq(0), Some((1, 501))));
    let Some(Message::Summary(fold)) = desk.delivered() else { panic!("it is a summary") };
    assert_eq!((fold.missed, fold.count, desk.done()), (500, 1, Seq(501)));
}

#[test]
fn a_state_keeps_to_the_rate_and_moves_no_cursor() {
    let mut desk = desk();
    let lag = || Message::Lag { at: Time(0), lag: at(9), threshold: at(5), over: false };
    for _ in 0..3 {
        assert!(desk.push(lag(), at(0)));
    }
    assert!(!desk.push(lag(), at(0)));
    assert_eq!((desk.done(), desk.waiting()), (Seq(0), 0));
    desk.failed(at(0));
    assert_eq!(desk.failed(at(100)), Some(lag()));
    assert!(desk.next(at(100)).is_some(), "those behind it stay");
}

#[derive(Clone, Debug)]
enum Step {
    /// A record; whether it is looked for.
    Record(bool),
    /// So many milliseconds pass.
    Wait(u64),
    /// What is to be sent is tried.
    Send(bool),
    /// The program is killed and starts at its cursor.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Record),
        2 => (0u64..80_000).prop_map(Step::Wait),
        4 => prop::bool::weighted(0.7).prop_map(Step::Send),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    /// Whatever comes, fails and is killed: the cursor is never past a record that is looked for and was neither delivered
    /// nor told as given up; and in the end everything arrives.
    #[test]
    fn nothing_is_lost_whatever_fails(steps in prop::collection::vec(step(), 1..200)) {
        let mut journal: Vec<bool> = Vec::new();
        let mut told: Vec<bool> = Vec::new();
        let (mut now, mut cursor) = (Duration::ZERO, Seq(0));
        let mut desk = desk();
        for step in steps {
            match step {
                Step::Record(hit) => {
                    journal.push(hit);
                    told.push(false);
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Send(arrives) => {
                    while desk.position().0 < journal.len() as u64 {
                        let seq = desk.position().next();
                        let hit = journal[usize::try_from(seq.0 - 1).unwrap()];
                        desk.take(&record(seq.0), hit.then_some("root_found"), now);
                    }
                    if let Some(message) = desk.next(now) {
                        let span = span(message);
                        let ended = if arrives { desk.delivered() } else { desk.failed(now) };
                        if ended.is_some() {
                            for seq in span.0..=span.1 {
                                told[usize::try_from(seq - 1).unwrap()] = true;
                            }
                        }
                    }
                    if let Some(seq) = desk.to_confirm(now) {
                        prop_assert!(seq > cursor);
                        cursor = seq;
                        desk.confirm(seq, now);
                    }
                }
                Step::Kill => desk = Desk::new(RATE, GIVE_UP, cursor, now),
            }
            for (index, hit) in journal.iter().enumerate().take(usize::try_from(cursor.0).unwrap()) {
                prop_assert!(!hit || told[index], "seq {} is passed and not told", index + 1);
            }
        }
        // In the end everything arrives.
        for _ in 0..journal.len() + 2 {
            now += RATE.per;
            while desk.position().0 < journal.len() as u64 {
                let seq = desk.position().next();
                let hit = journal[usize::try_from(seq.0 - 1).unwrap()];
                desk.take(&record(seq.0), hit.then_some("root_found"), now);
            }
            while let Some(message) = desk.next(now) {
                let (first, last) = span(message);
                told[usize::try_from(first - 1).unwrap()..usize::try_from(last).unwrap()].fill(true);
                desk.delivered();
            }
        }
        prop_assert_eq!(desk.done(), Seq(journal.len() as u64));
        for (index, hit) in journal.iter().enumerate() {
            prop_assert!(!hit || told[index], "seq {} was never told", index + 1);
        }
    }

    /// Where everything arrives, no period has more messages than the rate.
    #[test]
    fn the_rate_holds(pauses in prop::collection::vec((0u64..30_000, 1u64..9), 1..100)) {
        let (mut desk, mut now, mut sent) = (desk(), Duration::ZERO, Vec::new());
        for (pause, records) in pauses {
            now += Duration::from_millis(pause);
            let first = desk.position().0 + 1;
            take(&mut desk, first..first + records, now);
            while desk.next(now).is_some() {
                desk.delivered();
                sent.push(now);
            }
        }
        for window in sent.windows(RATE.most + 1) {
            prop_assert!(window[RATE.most] - window[0] >= RATE.per, "{window:?}");
        }
    }
}
