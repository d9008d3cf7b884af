//! One rule a test: what is incomplete, what a new epoch does, what sets are told of, who may open the file.

use record::wire::message::Detail;
use record::{Kind, Place};

use super::model::{TOP, World, id};
use super::order::{Wire, give, listing, wire};
use crate::{Incoming, Replica, ReplicaError, Set};

fn replica() -> (Replica, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Replica::open(folder.path()).unwrap(), folder)
}

fn stream(world: &World, from: u64) -> Vec<Wire> {
    (from..=world.seq()).map(|seq| wire(&world.message(seq))).collect()
}

fn replay(world: &World) -> Vec<Wire> {
    world.replay().iter().map(wire).collect()
}

#[test]
fn what_was_there_before_is_told_by_a_replay_and_by_nothing_less() {
    let (mut replica, _folder) = replica();
    let mut world = World::new(1, "nas");
    world.create(Place::new(id(TOP), b"new"), Kind::File, 20);
    give(&mut replica, &stream(&world, 1));
    let source = replica.sources()[&1].clone();
    assert!(!source.is_complete() && source.missing().unwrap().contains("/r"), "{source:?}");
    assert!(listing(&replica).contains_key("/r/new"), "what came is held all the same");
    let mut messages = replay(&world);
    let left_out = messages.remove(2);
    give(&mut replica, &messages);
    assert!(!replica.sources()[&1].is_complete(), "one entry is missing");
    give(&mut replica, &[left_out]);
    assert!(replica.sources()[&1].is_complete());
    assert_eq!(listing(&replica), world.listing());
    // A gap of the relay: records were lost for ever.
    let gap = wire(&world.said("m", "gap", None, Detail { path: Some("/r".into()), ..Detail::default() }));
    let ordinary = (gap.0.clone(), gap.1.clone(), gap.2.clone());
    give(&mut replica, &[ordinary]);
    assert!(replica.sources()[&1].is_complete(), "what a repair found is in records");
    for _ in 0..5 {
        world.step();
    }
    let gap = wire(&world.said("m", "gap", None, Detail { path: Some("/r".into()), ..Detail::default() }));
    give(&mut replica, &[(format!("{}/r1", gap.0), gap.1, gap.2)]);
    assert!(!replica.sources()[&1].is_complete());
    give(&mut replica, &replay(&world));
    assert!(replica.sources()[&1].is_complete());
    assert_eq!((replica.sources()[&1].watermark, listing(&replica)), (world.seq(), world.listing()));
}

#[test]
fn a_new_epoch_takes_the_place_of_the_old_one_when_it_is_whole() {
    let (mut replica, _folder) = replica();
    let old = World::new(1, "nas");
    give(&mut replica, &replay(&old));
    let mut new = World::new(2, "nas");
    new.create(Place::new(id(TOP), b"new"), Kind::File, 20);
    give(&mut replica, &stream(&new, 1));
    assert!(replica.sources()[&1].stale && replica.sources().len() == 2);
    give(&mut replica, &replay(&new));
    assert_eq!(replica.sources().keys().collect::<Vec<_>>(), [&2], "the old one is dropped");
    assert_eq!(listing(&replica), new.listing());
    // Another host is another source, whatever its roots.
    give(&mut replica, &replay(&World::new(3, "pc")));
    assert_eq!(replica.sources().len(), 2);
    assert!(replica.sources().values().all(|source| !source.stale && source.is_complete()));
}

#[test]
fn equal_files_are_found_across_hosts_and_told_as_they_come_and_go() {
    let (mut replica, _folder) = replica();
    let (mut nas, mut pc) = (World::new(1, "nas"), World::new(2, "pc"));
    give(&mut replica, &replay(&nas));
    give(&mut replica, &replay(&pc));
    nas.hash(3, 7);
    assert!(give(&mut replica, &stream(&nas, 2)).is_empty(), "two names of one file are one copy");
    pc.hash(4, 7);
    assert_eq!(give(&mut replica, &stream(&pc, 2)), ["came 2"]);
    assert!(give(&mut replica, &stream(&pc, 2)).is_empty(), "what comes again is not told again");
    pc.hash(3, 7);
    assert_eq!(give(&mut replica, &stream(&pc, 3)), ["changed 3"]);
    let mut sets: Vec<Set> = Vec::new();
    let mut all = |set: &Set| {
        sets.push(set.clone());
        Ok::<(), ReplicaError>(())
    };
    replica.list_sets((1, 10), &mut all).unwrap();
    replica.list_sets((6, 10), &mut all).unwrap();
    let [set] = &sets[..] else { panic!("{sets:?}") };
    assert_eq!((set.copies, set.size, set.wasted), (3, 5, 10));
    let files: Vec<String> = set.files.iter().map(|copy| format!("{}:{}", copy.host, copy.path)).collect();
    assert!(files.contains(&"nas:/r/b".to_owned()) || files.contains(&"nas:/r/a/a".to_owned()), "{files:?}");
    assert!(files.contains(&"pc:/r/a/c".to_owned()), "{files:?}");
    pc.delete(2, "c");
    pc.hash(3, 8);
    assert_eq!(give(&mut replica, &stream(&pc, 4)), ["dissolved 1"]);
    // A journal that began anew does not count twice.
    let mut again = World::new(3, "nas");
    again.hash(3, 7);
    assert!(give(&mut replica, &stream(&again, 1)).is_empty());
}

#[test]
fn what_is_gone_is_forgotten_in_the_end_and_an_old_replay_refused() {
    let (mut replica, _folder) = replica();
    replica.remember(20);
    let mut world = World::new(1, "nas");
    let old = replay(&world);
    for turn in 0..200 {
        world.create(Place::new(id(TOP), b"new"), Kind::File, 20 + turn);
        world.delete(TOP, "new");
    }
    give(&mut replica, &stream(&world, 1));
    assert!(replica.sources()[&1].forgotten > 300, "{:?}", replica.sources());
    give(&mut replica, &old);
    assert!(!replica.sources()[&1].is_complete(), "what it tells of may be gone");
    give(&mut replica, &replay(&world));
    assert!(replica.sources()[&1].is_complete());
    assert_eq!(listing(&replica), world.listing());
}

#[test]
fn a_batch_goes_on_behind_what_cannot_be_used_and_an_error_changes_nothing() {
    let (mut replica, _folder) = replica();
    let world = World::new(1, "nas");
    let (id, key, body) = &stream(&world, 1)[0];
    let good = Incoming { id, key, body };
    let bad = Incoming { id: "", key: "fs.v1.x", body: b"garbage" };
    let failing = replica.apply(&[good, bad], &mut |_| Ok(())).unwrap();
    assert!(failing[0].is_none() && failing[1].as_ref().unwrap().to_string().contains("schema v1"));
    let mut two = World::new(2, "pc");
    let mut one = World::new(1, "nas");
    one.hash(3, 7);
    two.hash(3, 7);
    give(&mut replica, &stream(&one, 2));
    let messages = stream(&two, 1);
    let incoming: Vec<Incoming<'_>> =
        messages.iter().map(|(id, key, body)| Incoming { id, key, body }).collect();
    let error = replica.apply(&incoming, &mut |_| Err(std::io::Error::other("nobody reads"))).unwrap_err();
    assert!(error.to_string().contains("nobody reads"), "{error}");
    assert_eq!(replica.sources().len(), 1);
    assert_eq!(give(&mut replica, &messages), ["came 2"], "it is told when it is told");
}

#[test]
fn the_file_has_one_owner_and_one_format() {
    let (replica, folder) = replica();
    let error = Replica::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("in use"), "{error}");
    {
        let write = replica.database.begin_write().unwrap();
        write.open_table(crate::store::META).unwrap().insert("format", 9).unwrap();
        write.commit().unwrap();
    }
    drop(replica);
    let error = Replica::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("format 9"), "{error}");
    let missing = Replica::existing(&folder.path().join("nothing")).err().unwrap().to_string();
    assert!(missing.contains("consume snapshot"), "{missing}");
}
