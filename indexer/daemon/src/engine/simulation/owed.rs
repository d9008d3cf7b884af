//! Sweeps that cannot begin: what they were for stays owed, is tried again, and is told. It could break by taking the
//! end of a sweep for its success.

use std::time::{Duration, Instant};

use record::{Body, How, Time};

use super::run::{Simulation, Way};
use super::world::POINT;
use crate::engine::config::Level;
use crate::engine::core::Core;
use crate::engine::sweeping::background::Why;

/// A life in which no event told of the last work.
fn untold() -> Simulation {
    untold_by(How::Fanotify)
}

fn untold_by(how: How) -> Simulation {
    let way = Way { busy_scan: false, faults: false, contents: false };
    let mut lives = (1..).map(|seed| Simulation::new(seed, way, false));
    let mut life = lives.find(|life| life.is_plain(how)).unwrap();
    life.restart();
    let mut state = life.world.lock();
    state.work(60);
    state.model.queue.close();
    drop(state);
    life
}

fn gaps(life: &Simulation) -> usize {
    life.journal.iter().filter(|record| matches!(record.body, Body::Gap(_))).count()
}

/// Has the first root repaired, and waits as long as who needs it waits.
fn repair(core: &mut Core) -> Result<(), crate::engine::EngineError> {
    let mut order = core.order_of(0, None, Level::Stat, How::Sweep, Why::Repair)?;
    order.gaps.push((Time::now(), "a test".to_owned()));
    let ticket = core.submit(order)?;
    core.wait_for_sweeps(&[ticket], Some(Instant::now() + Duration::from_secs(60)))?;
    core.work_off(None)
}

#[test]
fn a_sweep_that_fails_once_is_made_again_and_its_gap_told_then() {
    let mut life = untold();
    let before = gaps(&life);
    // The sweep's opening fails, and the look after it whether the root is there does not.
    life.world.lock().model.failing = [true, false, true, false].into();
    life.call("repair", repair).unwrap();
    assert!(life.world.lock().model.failing.is_empty());
    assert_eq!(gaps(&life), before + 1, "told when it was made");
    life.check_exact("after a repair that failed twice");
    let (core, _) = life.daemon.as_ref().unwrap();
    assert_eq!(core.sweeps.orders().count(), 0);
}

#[test]
fn a_sweep_that_goes_on_failing_is_owed_and_told() {
    let mut life = untold();
    let before = gaps(&life);
    life.world.lock().model.failing = [true, false].repeat(5).into();
    life.call("repair", repair).unwrap();
    let state = |core: &mut Core| core.shared.view().roots[0].state;
    assert_eq!(life.call("state", |core| Ok(state(core))).unwrap(), "repairing");
    assert_eq!(gaps(&life), before, "nothing is known yet");
    let deadline = Instant::now() + Duration::from_secs(60);
    let settled = life.call("settle", |core| core.settle(deadline)).unwrap();
    assert!(settled.unsettled.iter().any(|line| line.contains("cannot be swept")), "{settled:?}");
    life.call("wait until it is made", |core| {
        while core.sweeps.trouble(core.trees[0].row.id).is_some() {
            assert!(Instant::now() < deadline);
            core.shared.pending.wait(Some(Duration::from_millis(10)));
            core.take_swept()?;
        }
        core.work_off(None)
    })
    .unwrap();
    assert_eq!(life.call("state", |core| Ok(state(core))).unwrap(), "live");
    assert_eq!(gaps(&life), before + 1);
    life.check_exact("after the repair");
}

#[test]
fn a_part_that_is_not_there_is_swept_from_above() {
    let mut life = untold();
    life.call("part", |core| {
        core.order_part(0, &[POINT, b"/not/there"].concat(), None, "a test")?;
        core.work_off(None)
    })
    .unwrap();
    life.check_exact("after a sweep from above");
}

#[test]
fn who_asked_for_a_sweep_is_told_that_it_failed_or_that_the_root_is_dropped() {
    let mut life = untold();
    let (reply, answer) = std::sync::mpsc::sync_channel(2);
    life.world.lock().model.failing = [true, false].into();
    life.call("ask", |core| {
        core.ask_sweep(None, Level::Stat, reply.clone())?;
        core.take_swept()?;
        core.answer_sweeps()
    })
    .unwrap();
    let report = answer.try_recv().unwrap().unwrap();
    assert!(report.failed.len() == 1 && report.failed[0].contains("failed to open"), "{report:?}");
    life.call("drop", |core| {
        assert_eq!(core.sweeps.orders().count(), 0, "nobody else needs it");
        core.ask_sweep(None, Level::Stat, reply)?;
        core.sweeps.keep(&[]);
        core.take_swept()?;
        core.work_off(None)?;
        core.answer_sweeps()
    })
    .unwrap();
    let report = answer.try_recv().unwrap().unwrap();
    assert!(report.failed.len() == 1 && report.failed[0].contains("not a root"), "{report:?}");
}

#[test]
fn a_sweep_is_answered_and_vouched_for_when_what_it_found_is_stored() {
    let mut life = untold();
    let (reply, answer) = std::sync::mpsc::sync_channel(1);
    life.call("ask", |core| {
        let before = core.trees[0].row.verified;
        core.ask_sweep(None, Level::Stat, reply)?;
        core.take_swept()?;
        core.answer_sweeps()?;
        assert!(!core.shared.pending.is_empty(), "it found something");
        assert!(answer.try_recv().is_err(), "not stored yet");
        assert_eq!(core.trees[0].row.verified, before, "a kill now begins the gap at the sweep before");
        core.work_off(None)?;
        core.take_swept()?;
        core.answer_sweeps()?;
        assert!(core.trees[0].row.verified > before);
        Ok(())
    })
    .unwrap();
    assert!(answer.try_recv().unwrap().unwrap().records > 0);
    life.check_exact("after the answer");
}

#[test]
fn what_inotify_could_not_name_is_looked_for_until_a_sweep_has_looked() {
    let mut life = untold_by(How::Inotify);
    life.world.lock().model.failing = [true, false].repeat(5).into();
    let look = |core: &mut Core| {
        let tickets = core.look_for_unseen(Why::Due)?;
        assert_eq!(tickets.len(), 1);
        core.wait_for_sweeps(&tickets, Some(Instant::now() + Duration::from_secs(60)))?;
        Ok(core.unseen)
    };
    life.call("told", |core| {
        core.unseen = 3;
        Ok(())
    })
    .unwrap();
    assert_eq!(life.call("look", look).unwrap(), 3, "none could be made");
    assert_eq!(life.call("look", look).unwrap(), 0);
}
