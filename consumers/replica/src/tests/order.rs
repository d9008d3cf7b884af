//! However messages come, the replica ends as what is true.

use std::collections::BTreeMap;

use proptest::prelude::*;
use record::wire::message::Message;
use record::wire::v1::Entry;

use super::model::{Rng, World};
use crate::{Incoming, Replica, ReplicaError};

/// As it goes over the wire: id, key, body.
pub(super) type Wire = (String, String, Vec<u8>);

pub(super) fn wire(message: &Message) -> Wire {
    let Message { source, change, .. } = message;
    let id = format!("{}/{}/{}", source.name, source.epoch, source.seq);
    (id, format!("fs.v1.r{}.file.{}.p00", source.root_id, change.verb), serde_json::to_vec(message).unwrap())
}

pub(super) fn give(replica: &mut Replica, messages: &[Wire]) -> Vec<String> {
    let incoming: Vec<Incoming<'_>> =
        messages.iter().map(|(id, key, body)| Incoming { id, key, body }).collect();
    let mut told = Vec::new();
    let answers = replica.apply(&incoming, &mut |change| {
        told.push(format!("{:?} {}", change.event, change.set.copies).to_lowercase());
        Ok(())
    });
    let refused: Vec<_> = answers.unwrap().into_iter().flatten().collect();
    assert!(refused.is_empty(), "{refused:?}");
    told
}

pub(super) fn listing(replica: &Replica) -> BTreeMap<String, Entry> {
    let mut listing = BTreeMap::new();
    replica
        .list(&mut |listed| {
            let before = listing.insert(listed.entry.path.clone(), listed.entry.clone());
            assert!(before.is_none(), "two entries at {}", listed.entry.path);
            Ok::<bool, ReplicaError>(true)
        })
        .unwrap();
    listing
}

/// How messages come.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    seed: u64,
    /// The first record that comes.
    first: u64,
    /// Records that never come.
    hole: (u64, u64),
    /// The replay is read behind this one.
    as_of: u64,
    /// One of the replay's messages is lost, and another replay follows.
    torn: bool,
}

fn deliver(world: &mut World, delivery: Delivery, steps: usize) -> (Replica, tempfile::TempDir) {
    let mut rng = Rng(delivery.seed);
    let mut replays: Vec<Vec<Message>> = Vec::new();
    for _ in 0..steps {
        world.step();
        if replays.is_empty() && world.seq() >= delivery.as_of {
            replays.push(world.replay());
        }
    }
    if replays.is_empty() {
        replays.push(world.replay());
    }
    if delivery.torn {
        let lost = rng.below(replays[0].len());
        replays[0].remove(lost);
        replays.push(world.replay());
    }
    let read: Vec<Wire> = replays.iter().flatten().map(wire).collect();
    let stream: Vec<Wire> = (delivery.first..=world.seq())
        .filter(|seq| !(delivery.hole.0..delivery.hole.1).contains(seq))
        .map(|seq| wire(&world.message(seq)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let mut replica = Replica::open(folder.path()).unwrap();
    let (mut at, mut reading) = (0, 0);
    while at < stream.len() || reading < read.len() {
        let mut batch = Vec::new();
        for _ in 0..rng.below(12) {
            // From the one or the other, each in its order.
            if at < stream.len() && (reading == read.len() || rng.below(2) == 0) {
                batch.push(stream[at].clone());
                at += 1;
            } else if reading < read.len() {
                batch.push(read[reading].clone());
                reading += 1;
            }
        }
        give(&mut replica, &batch);
        match rng.below(8) {
            // Killed before the acknowledgement: all of it comes again, to a process that opens the file anew.
            0 => {
                drop(replica);
                replica = Replica::open(folder.path()).unwrap();
                give(&mut replica, &batch);
            }
            // The relay connects again, and goes back.
            1 => at -= rng.below(at.min(20) + 1),
            _ => {}
        }
    }
    (replica, folder)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn it_ends_as_what_is_true(seed in any::<u64>(), first in 1..80u64, hole in 1..200u64, long in 0..40u64, later in 0..200u64, torn in any::<bool>()) {
        let mut world = World::new(seed, "nas");
        let hole = (hole, hole + long);
        let delivery = Delivery { seed, first, hole, as_of: hole.1.max(first) + later, torn };
        let (replica, _folder) = deliver(&mut world, delivery, 400);
        let source = &replica.sources()[&1];
        prop_assert!(source.is_complete(), "{:?}", source);
        prop_assert_eq!(source.watermark, world.seq());
        prop_assert_eq!(source.entries, world.truth.entries.len() as u64);
        let (held, truth) = (listing(&replica), world.listing());
        for (path, entry) in &truth {
            prop_assert_eq!(held.get(path), Some(entry), "{}", path);
        }
        let extra: Vec<_> = held.iter().filter(|(path, _)| !truth.contains_key(*path)).collect();
        prop_assert!(extra.is_empty(), "{:?}", extra);
    }
}
