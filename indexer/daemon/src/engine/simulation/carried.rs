//! Digests that were carried on when the word of a writer was lost: the file was written before it was looked at, its
//! modification time was set back, and then the daemon was killed or the queue overflowed. They could stay wrong for ever.

use std::time::{Duration, Instant};

use index::Retention;
use reconcile::Stored as _;
use record::{EntryId, How, Kind, Reading, Seq, Time};

use super::model::Key;
use super::oracle;
use super::run::{Simulation, Way};

/// A life in which a file was given other rights and then written, of which only the first was heard before it was looked at.
/// `overflows`: and the other will not be.
fn written_unheard(overflows: bool) -> Simulation {
    let way = Way { busy_scan: false, faults: false, contents: true };
    for seed in 1.. {
        let mut life = Simulation::new(seed, way, false);
        if !life.is_plain(How::Fanotify) {
            continue;
        }
        life.busy = 0;
        life.restart();
        if life.hashing() != Reading::Full {
            continue;
        }
        life.world.lock().work(60);
        life.world.lock().model.close_all();
        settle(&mut life);
        life.read_all(true).unwrap();
        let Some((id, dir, name, key)) = a_digested_file(&life) else { continue };
        {
            let mut state = life.world.lock();
            state.model.now += 1_000_000_000;
            state.model.chmod_at(dir, &name, key, 0o600);
            state.deliver(usize::MAX);
            if overflows {
                state.model.queue.overflow();
            }
            let before = state.model.get(key).modified;
            assert!(state.model.begin_write(key));
            state.model.get_mut(key).modified = before;
            state.model.remember();
        }
        life.call("step", |core| core.step()).unwrap();
        let row = life.daemon.as_ref().unwrap().1.index.read().unwrap().row(id).unwrap().unwrap();
        assert!(row.current_digest().is_some() && row.digest.unwrap().carried, "seed {seed}: {row:?}");
        return life;
    }
    unreachable!("seeds end");
}

fn a_digested_file(life: &Simulation) -> Option<(EntryId, Key, Vec<u8>, Key)> {
    let reader = life.daemon.as_ref().unwrap().1.index.read().unwrap();
    let tops = life.tops();
    let state = life.world.lock();
    let files: Vec<(EntryId, Key)> = oracle::files(&state.model, &tops);
    state.model.names().into_iter().find_map(|(dir, name)| {
        let key = state.model.child(dir, &name)?;
        let object = state.model.get(key);
        let id = files.iter().find(|(_, file)| *file == key)?.0;
        let known = reader.row(id).unwrap()?.current_digest().is_some();
        (known && object.kind == Kind::File && object.size > 1).then_some((id, dir, name, key))
    })
}

/// What was heard last may be older than all that the journal keeps.
#[test]
fn a_journal_that_let_go_of_what_was_heard_is_gone_through_as_far_as_it_goes() {
    let mut life = written_unheard(true);
    let nothing = Retention { age: Duration::ZERO, bytes: 0 };
    let shared = &life.daemon.as_ref().unwrap().1;
    while shared.index.trim(nothing, Time(i128::MAX / 2)).unwrap() > 0 {}
    assert!(shared.index.read().unwrap().oldest().unwrap() > Seq(2), "it let go of some");
    life.call("forget", |core| {
        core.heard = Some(Seq(0));
        core.doubt_carried()
    })
    .unwrap();
}

fn settle(life: &mut Simulation) {
    life.call("settle", |core| core.settle(Instant::now() + Duration::from_secs(60)).map(drop)).unwrap();
}

#[test]
fn a_kill_that_swallowed_the_word_has_it_read_again() {
    let mut life = written_unheard(false);
    life.restart();
    settle(&mut life);
    life.read_all(false).unwrap();
    life.check_read();
}

#[test]
fn an_overflow_that_swallowed_the_word_has_it_read_again() {
    let mut life = written_unheard(true);
    settle(&mut life);
    life.read_all(false).unwrap();
    life.check_read();
}
