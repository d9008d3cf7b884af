//! What must hold: what was taken is there after a stop, in the order in which it came, once, and goes when all are done with it and not
//! before. It could break by numbers that two indexes share, by a message that comes again, by a consumer that never moves.

use consumer::{Feed as _, Source as _, SourceError};
use proptest::prelude::*;
use record::wire::message::{Message, Origin, Replay, key};
use record::{Body, Change, EntryId, Gap, How, Kind, Op, Record, RootId, Seq, Stat, State, Time, VolumeId};
use redb::Database;
use tempfile::TempDir;

use crate::store::META;
use crate::{FILE, Inbox, InboxError, Incoming, Limits};

fn origin(host: &str) -> Origin {
    let epoch = format!("{:032x}", host.len());
    Origin { source: format!("/indexer/{host}"), host: host.into(), epoch, version: "0".into() }
}

/// A message with what stands beside it.
#[derive(Clone, Debug)]
struct Sent {
    id: String,
    key: String,
    body: Vec<u8>,
}

fn sent(host: &str, record: &Record) -> Sent {
    let (root, origin) = (format!("/{host}/r{}", record.root.0), origin(host));
    let body = serde_json::to_vec(&Message::new(record, root.as_bytes(), &origin)).unwrap();
    Sent { id: origin.id(record.seq.0), key: key(record), body }
}

/// A new file, called after its seq.
fn created(host: &str, root: u32, seq: u64) -> Record {
    let stat = Stat {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        size: seq,
        allocated: 0,
        modified: Time(1),
        changed: Time(2),
        accessed: Time(3),
        created: Some(Time(4)),
    };
    let path = format!("/{host}/r{root}/{seq}").into_bytes().into();
    let change = Change {
        entry: EntryId::new(VolumeId(1), 42),
        birth: Some(Time(4)),
        op: Op::Created,
        at: None,
        old: None,
        before: None,
        after: Some(State { stat, digest: None, category: None }),
        parents: Vec::new(),
        complete: true,
        pair: Some(Seq(9)),
        path,
        old_path: None,
    };
    let body = Body::Change(Box::new(change));
    Record { seq: Seq(seq), seen: Time(i128::from(seq)), how: How::Fanotify, root: RootId(root), body }
}

fn one(host: &str, seq: u64) -> Sent {
    sent(host, &created(host, 1, seq))
}

/// How many of them were refused.
fn take(inbox: &Inbox, messages: &[Sent]) -> usize {
    let incoming: Vec<Incoming<'_>> =
        messages.iter().map(|one| Incoming { id: &one.id, key: &one.key, body: &one.body }).collect();
    let answers = inbox.take(&incoming).unwrap();
    assert_eq!(answers.len(), messages.len());
    answers.into_iter().flatten().count()
}

fn open(folder: &TempDir, limits: Limits) -> Inbox {
    Inbox::open(folder.path(), limits).unwrap()
}

fn fresh() -> (TempDir, Inbox) {
    let folder = tempfile::tempdir().unwrap();
    let inbox = open(&folder, Limits::default());
    (folder, inbox)
}

fn paths(records: &[Record]) -> Vec<String> {
    let path = |record: &Record| match &record.body {
        Body::Change(change) => String::from_utf8(change.path.to_vec()).unwrap(),
        Body::Gap(gap) => format!("gap {}", String::from_utf8_lossy(&gap.scope)),
        _ => panic!("{record:?}"),
    };
    records.iter().map(path).collect()
}

#[test]
fn records_of_two_indexes_are_numbered_as_they_come_and_keep_what_they_are() {
    let (folder, inbox) = fresh();
    let mut messages = vec![one("nas", 7), one("pc1", 7), one("nas", 8)];
    messages.push(sent("nas", &created("nas", 2, 9)));
    assert_eq!(take(&inbox, &messages), 0);
    let epoch = inbox.epoch().unwrap();
    drop(inbox);
    let inbox = open(&folder, Limits::default());
    assert_eq!(inbox.epoch().unwrap(), epoch, "the epoch is that of the file");
    assert_ne!(epoch, fresh().1.epoch().unwrap());
    let records = inbox.records(Seq(0), 10).unwrap();
    assert_eq!(paths(&records), ["/nas/r1/7", "/pc1/r1/7", "/nas/r1/8", "/nas/r2/9"]);
    let seqs: Vec<u64> = records.iter().map(|record| record.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    let roots: Vec<RootId> = records.iter().map(|record| record.root).collect();
    assert_eq!(roots[0], roots[2]);
    assert!(roots[0] != roots[1] && roots[0] != roots[3], "{roots:?}");
    let whose: Vec<u32> = roots.iter().map(|root| inbox.whose(*root)).collect();
    assert!(whose[0] == whose[3] && whose[0] != whose[1], "{whose:?}");
    assert_eq!(inbox.root(roots[1]).unwrap(), b"/pc1/r1");
    assert_eq!(inbox.root(roots[3]).unwrap(), b"/nas/r2");
    assert_eq!(inbox.roots().unwrap().len(), 3);
    let from = inbox.origin(Seq(2)).unwrap().unwrap();
    assert_eq!((from.host.as_str(), from.id), ("pc1", origin("pc1").id(7)));
    assert_eq!(inbox.origin(Seq(5)).unwrap(), None);
    // All else is as it was made, but for a number of another journal.
    let mut made = created("nas", 1, 8);
    let Body::Change(change) = &mut made.body else { panic!("a change") };
    change.pair = None;
    assert_eq!(records[2], Record { seq: Seq(3), root: roots[0], ..made });
    assert_eq!(paths(&inbox.records(Seq(1), 2).unwrap()), ["/pc1/r1/7", "/nas/r1/8"]);
    assert!(inbox.records(Seq(4), 10).unwrap().is_empty());
}

#[test]
fn what_is_no_record_is_left_out_and_what_cannot_be_used_is_said() {
    let (_folder, inbox) = fresh();
    let from = origin("nas");
    let replay = Replay { origin: &from, as_of: 3, at: Time(1), root: RootId(1), path: b"/nas/r1" };
    let begun = replay.begun();
    let body = serde_json::to_vec(&begun.message).unwrap();
    let begun = Sent { id: begun.id, key: begun.key, body };
    let garbage = Sent { body: b"\x00\xff".to_vec(), ..one("nas", 1) };
    let elsewhere = Sent { key: "other".into(), ..one("nas", 2) };
    assert_eq!(take(&inbox, &[begun, garbage, elsewhere, one("nas", 1)]), 2);
    assert_eq!(paths(&inbox.records(Seq(0), 10).unwrap()), ["/nas/r1/1"]);
    assert_eq!(inbox.last().unwrap(), Seq(1), "nothing else has a number");
}

#[test]
fn a_relays_word_of_what_is_lost_comes_once_for_each_root() {
    let (_folder, inbox) = fresh();
    let gap = |root: u32, seq: u64| {
        let scope = format!("/nas/r{root}").into_bytes().into();
        let body = Body::Gap(Gap { from: Time(0), to: Time(1), scope, why: "retention".into() });
        let record = Record { seq: Seq(seq), seen: Time(1), how: How::Import, root: RootId(root), body };
        let mut sent = sent("nas", &record);
        sent.id = format!("{}/r{root}", sent.id);
        sent
    };
    // The record of that seq may have come before all are said to be lost.
    let messages = [one("nas", 7), gap(1, 7), gap(2, 7), gap(1, 7), one("nas", 7), one("nas", 8), gap(1, 20)];
    assert_eq!(take(&inbox, &messages), 0);
    let told = paths(&inbox.records(Seq(0), 10).unwrap());
    assert_eq!(told, ["/nas/r1/7", "gap /nas/r1", "gap /nas/r2", "/nas/r1/8", "gap /nas/r1"]);
}

#[test]
fn what_all_are_done_with_goes_and_nothing_before() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { behind: 3, ..Limits::default() };
    let inbox = open(&folder, limits);
    let [slow, quick] = ["alert/slow".to_owned(), "alert/quick".to_owned()];
    take(&inbox, &[one("nas", 1)]);
    inbox.begin(&[slow.clone(), quick.clone()]).unwrap();
    let messages: Vec<Sent> = (2..=20).map(|seq| one("nas", seq)).collect();
    take(&inbox, &messages);
    assert_eq!(inbox.cursor(&slow).unwrap(), Seq(1), "it begins with what comes after");
    inbox.confirm(&quick, Seq(20)).unwrap();
    assert_eq!(inbox.furthest_behind().unwrap(), Some((slow.clone(), 19)));
    assert_eq!(inbox.records(Seq(1), 100).unwrap().len(), 19, "the slow one has seen none of them");
    drop(inbox);
    let inbox = open(&folder, limits);
    inbox.begin(&[slow.clone(), quick.clone()]).unwrap();
    assert_eq!(inbox.cursors().unwrap(), [(quick.clone(), Seq(20)), (slow.clone(), Seq(1))]);
    inbox.confirm(&slow, Seq(10)).unwrap();
    assert_eq!((inbox.oldest().unwrap(), inbox.last().unwrap()), (Seq(8), Seq(20)), "three are behind it");
    match inbox.records(Seq(6), 1) {
        Err(SourceError::FreshStartRequired { oldest }) => assert_eq!(oldest, Seq(8)),
        other => panic!("{other:?}"),
    }
    inbox.confirm(&slow, Seq(5)).unwrap();
    inbox.confirm(&quick, Seq(99)).unwrap();
    assert_eq!(
        inbox.cursors().unwrap(),
        [(quick, Seq(20)), (slow.clone(), Seq(10))],
        "neither back nor beyond"
    );
    inbox.forget(&slow).unwrap();
    assert_eq!(inbox.oldest().unwrap(), Seq(18));
    // And the numbers go on.
    take(&inbox, &[one("nas", 21)]);
    assert_eq!(inbox.last().unwrap(), Seq(21));
}

#[test]
fn there_is_no_room_until_half_of_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let size = one("nas", 100).body.len() as u64 + 4;
    let limits = Limits { bytes: 10 * size, behind: 1_000, behind_bytes: 2 * size, ..Limits::default() };
    let inbox = open(&folder, limits);
    inbox.begin(&["alert/slow".to_owned()]).unwrap();
    let all: Vec<Sent> = (100..112).map(|seq| one("nas", seq)).collect();
    take(&inbox, &all[..10]);
    assert!(inbox.has_room().unwrap());
    take(&inbox, &all[10..]);
    assert!(!inbox.has_room().unwrap());
    inbox.confirm("alert/slow", Seq(5)).unwrap();
    assert!(!inbox.has_room().unwrap(), "seven are left");
    drop(inbox);
    let inbox = open(&folder, limits);
    assert!(inbox.has_room().unwrap(), "a new start has not been full yet");
    take(&inbox, &(112..118).map(|seq| one("nas", seq)).collect::<Vec<_>>());
    assert!(!inbox.has_room().unwrap());
    inbox.confirm("alert/slow", Seq(14)).unwrap();
    assert!(inbox.has_room().unwrap(), "four are left");
    inbox.confirm("alert/slow", Seq(18)).unwrap();
    assert_eq!(inbox.oldest().unwrap(), Seq(17), "as many as the bytes behind allow");
}

#[test]
fn made_up_indexers_do_not_fill_it() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { behind: 0, sources: 3, ..Limits::default() };
    let inbox = open(&folder, limits);
    inbox.begin(&["alert/one".to_owned()]).unwrap();
    let hosts = ["a", "ab", "abc", "abcd"];
    let messages: Vec<Sent> = hosts.iter().map(|host| one(host, 1)).collect();
    assert_eq!(take(&inbox, &messages), 1, "all that are known have something that is not told yet");
    inbox.confirm("alert/one", Seq(2)).unwrap();
    assert_eq!(take(&inbox, &messages), 0, "the oldest one has nothing left, and goes");
    let records = inbox.records(Seq(2), 10).unwrap();
    assert_eq!(paths(&records), ["/abc/r1/1", "/abcd/r1/1"]);
    assert_eq!(inbox.root(records[1].root).unwrap(), b"/abcd/r1");
    assert_eq!(inbox.known().len(), 3);
}

#[test]
fn another_process_and_another_format_are_refused_by_name() {
    let (folder, inbox) = fresh();
    let error = Inbox::open(folder.path(), Limits::default()).err().unwrap();
    assert!(matches!(&error, InboxError::InUse(path) if path.ends_with(FILE)), "{error}");
    drop(inbox);
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 2).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = Inbox::open(folder.path(), Limits::default()).err().unwrap().to_string();
    assert!(error.contains("format 2") && error.contains(FILE), "{error}");
}

/// What a relay does: it sends on, or begins again further back.
#[derive(Clone, Debug)]
enum Step {
    /// Which index, and how many more records.
    Send(usize, u64),
    /// Which index, and how many records it goes back.
    Rewind(usize, u64),
    /// The batch ends here.
    Commit,
    /// The program ends before it could commit, and what it had comes again.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 1..6u64).prop_map(|(index, more)| Step::Send(index, more)),
        2 => (0..2usize, 1..12u64).prop_map(|(index, back)| Step::Rewind(index, back)),
        2 => Just(Step::Commit),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_record_is_kept_once_and_in_its_order(steps in prop::collection::vec(step(), 1..40)) {
        let hosts = ["nas", "pc1x"];
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = open(&folder, Limits::default());
        let (mut at, mut batch) = ([0u64; 2], Vec::new());
        let mut most = [0u64; 2];
        for step in steps {
            match step {
                Step::Send(index, more) => {
                    for seq in at[index] + 1..=at[index] + more {
                        batch.push((index, seq));
                    }
                    at[index] += more;
                    most[index] = most[index].max(at[index]);
                }
                Step::Rewind(index, back) => at[index] = at[index].saturating_sub(back),
                Step::Commit => {
                    let sent: Vec<Sent> = batch.drain(..).map(|(index, seq)| one(hosts[index], seq)).collect();
                    prop_assert_eq!(take(&inbox, &sent), 0);
                }
                Step::Kill => {
                    drop(inbox);
                    inbox = open(&folder, Limits::default());
                }
            }
        }
        let sent: Vec<Sent> = batch.drain(..).map(|(index, seq)| one(hosts[index], seq)).collect();
        prop_assert_eq!(take(&inbox, &sent), 0);
        let records = inbox.records(Seq(0), 10_000).unwrap();
        let ours: Vec<u64> = records.iter().map(|record| record.seq.0).collect();
        prop_assert_eq!(ours, (1..=records.len() as u64).collect::<Vec<_>>());
        for (index, host) in hosts.iter().enumerate() {
            let told: Vec<String> =
                paths(&records).into_iter().filter(|path| path.starts_with(&format!("/{host}/"))).collect();
            let expected: Vec<String> = (1..=most[index]).map(|seq| format!("/{host}/r1/{seq}")).collect();
            prop_assert_eq!(told, expected);
        }
    }
}
