//! One simulated life of an index, from a seed: programs work on the disk, the queue tells of it in its manner,
//! the daemon follows, sweeps, is killed, loses its power; at quiet moments all of it must agree.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer::Replica;
use index::testing::Store;
use index::{Repair, Retention, Settings};
use record::{Body, EntryId, How, Record, Seq};
use watch::Pending;

use super::super::config::{Backend, EngineConfig, RootConfig};
use super::super::core::Core;
use super::super::error::EngineError;
use super::super::ground::{Clock as _, Ground};
use super::super::shared::Shared;
use super::super::sweeping::background::Why;
use super::contents::Contents;
use super::model::{Key, Making, Model};
use super::oracle;
use super::queue::{Manners, Queue};
use super::reading::{self, Digests};
use super::rng::Rng;
use super::world::{POINT, World};

/// What came of a life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) checks: u64,
    pub(super) records: u64,
    pub(super) power_losses: u64,
    pub(super) overflows: u64,
    pub(super) starts: u64,
    pub(super) digests: u64,
    pub(super) unknowable: u64,
}

/// What a life has besides what its seed says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Programs work during the first scan too.
    pub(super) busy_scan: bool,
    /// The disk fails now and then.
    pub(super) faults: bool,
    /// Files have contents, and these are read.
    pub(super) contents: bool,
}

pub(super) struct Simulation {
    rng: Rng,
    pub(super) world: Arc<World>,
    store: Store,
    settings: Settings,
    config: EngineConfig,
    capacity: usize,
    state_dir: tempfile::TempDir,
    pub(super) daemon: Option<(Core, Arc<Shared>)>,
    /// What a follower of the journal has read.
    pub(super) journal: Vec<Record>,
    /// What it knows, since it began.
    replica: Option<Replica>,
    pub(super) busy: u64,
    way: Way,
    /// What goes wrong follows from numbers of its own, so that a seed lives the same life without faults.
    faults: Rng,
    /// What was in the index when it was last exact: names, by the directory they are in.
    exact: Vec<(Key, Vec<u8>, Key)>,
    report: Report,
    pub(super) digests: Digests,
    /// The daemon started, and not all was gone through that is to be known of contents.
    pub(super) behind: bool,
}

/// Why a call of the engine did not end well.
#[derive(Debug)]
pub(super) struct PowerLoss;

pub(super) type Done<T> = Result<T, PowerLoss>;

/// Lives one life. Panics where a promise is broken. `log`: what the disk did is kept, and printed then.
pub(super) fn live(seed: u64, way: Way, log: bool) -> Report {
    let mut simulation = Simulation::new(seed, way, log);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
    if let Err(panic) = result {
        let lines = simulation.world.lock().model.log.take().unwrap_or_default();
        for line in lines {
            eprintln!("{line}");
        }
        std::panic::resume_unwind(panic);
    }
    simulation.report
}

impl Simulation {
    /// One root, on a disk of which nothing is odd.
    pub(super) fn is_plain(&self, how: How) -> bool {
        let by = self.world.lock().model.queue.manners.how;
        self.config.roots.len() == 1 && by == how && self.capacity > 100_000
    }

    pub(super) fn new(seed: u64, way: Way, log: bool) -> Simulation {
        let mut rng = Rng::new(seed);
        let how = rng.pick(&[How::Fanotify, How::Inotify]);
        let making = Making {
            tick: rng.pick(&[1, 4_000_000, 10_000_000]),
            births: rng.chance(95),
            numbers: rng.pick(&[4, 8, 16, 40]),
            scattered: rng.chance(30),
            counts_subdirectories: rng.chance(70),
        };
        let manners = Manners {
            how,
            merges: rng.chance(70),
            resolves: rng.chance(30),
            shuffles: rng.chance(30),
            doubles: rng.pick(&[0, 0, 10, 50]),
            capacity: rng.pick(&[8, 64, 4096, 4096]),
        };
        let mut model = Model::new(making, Queue::new(manners));
        // inotify tells nothing of a link from outside: that limit is stated, and not looked for here.
        let choices: &[&[&str]] =
            if how == How::Inotify { &[&[""]] } else { &[&[""], &["/a"], &["/a", "/b"]] };
        let names = rng.pick(choices);
        for name in names.iter().filter(|name| !name.is_empty()) {
            let key = model.mkdir_at(model.top, &name.as_bytes()[1..], &mut rng).unwrap();
            model.fixed.insert(key);
        }
        model.log = log.then(Vec::new);
        model.queue.strict = way.contents;
        model.contents = way.contents.then(|| Contents::new(seed));
        let line = format!("{:?} {:?} roots {names:?}", model.making, model.queue.manners);
        model.note(|_| line);
        let roots = names
            .iter()
            .map(|name| RootConfig { path: [POINT, name.as_bytes()].concat(), ..RootConfig::default() })
            .collect();
        let repair = rng.pick(&[Repair::Quick, Repair::Walk]);
        let config = EngineConfig {
            hashing: None,
            hash_rate: None,
            roots,
            backend: Backend::Auto,
            require: super::super::config::Require::Backend,
            threads: 1,
            cache_bytes: 1 << 20,
            batch: rng.pick(&[1, 3, 20, 4096]),
            seed_buffer: 1 << 16,
            retention: Retention { age: Duration::from_secs(1 << 40), bytes: u64::MAX },
            quiet: Duration::from_secs(2),
            audit: Duration::ZERO,
            checkpoint: Duration::from_secs(5),
            schedule: crate::engine::Schedule { stat: None, names: None, unwatched: None, rate: None },
            watches: None,
            repair,
            progress: Arc::new(|_, _| {}),
        };
        let world = World::new(model, Rng::new(rng.bits()));
        Simulation {
            world: Arc::new(world),
            store: Store::default(),
            settings: Settings { cache: 1 << 20, repair },
            config,
            // A sweep in step cannot wait for room: half of it must hold all differences there can be.
            capacity: rng.pick(&[600, 2000, 262_144]),
            state_dir: tempfile::tempdir().unwrap(),
            daemon: None,
            journal: Vec::new(),
            replica: None,
            busy: rng.pick(&[0, 5, 20, 50]),
            way,
            faults: Rng::new(!seed),
            exact: Vec::new(),
            report: Report::default(),
            digests: Digests::default(),
            behind: true,
            rng,
        }
    }

    fn run(&mut self) {
        let work = self.rng.below(40);
        self.world.lock().work(work);
        self.restart();
        for _ in 0..self.rng.below(6) + 1 {
            self.chapter();
            self.checkpoint();
        }
        let model = &self.world.lock().model;
        self.report.overflows = model.queue.overflows;
        self.report.unknowable = model.unknowable();
        self.report.records = self.journal.len() as u64;
    }

    pub(super) fn is_off(&self) -> bool {
        self.store.is_off()
    }

    pub(super) fn note(&self, line: &str) {
        self.world.lock().model.note(|_| format!("-- {line}"));
    }

    /// Calls the engine; `None` when the power went.
    pub(super) fn call<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&mut Core) -> Result<T, EngineError>,
    ) -> Done<T> {
        self.note(what);
        let (core, _) = self.daemon.as_mut().unwrap();
        match call(core) {
            Ok(value) => {
                self.read_journal();
                Ok(value)
            }
            Err(_) if self.store.is_off() => Err(PowerLoss),
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// Starts a daemon on what is stored, until it is live. Again, if the power goes meanwhile.
    pub(super) fn restart(&mut self) {
        loop {
            self.note("start");
            match self.start() {
                Ok(()) => return,
                Err(PowerLoss) => self.power_back(),
            }
        }
    }

    /// The power is back, and nothing happens any more.
    fn come_back(&mut self) {
        self.power_back();
        self.restart();
        let mut state = self.world.lock();
        state.left = 0;
        // By maps that were made while that start looked around.
        state.model.close_mapped();
    }

    pub(super) fn start(&mut self) -> Done<()> {
        self.daemon = None;
        self.behind = true;
        {
            let mut state = self.world.lock();
            let asked = reading::choose(&mut state.model, self.report.starts == 0);
            self.config.hashing = asked.or(self.config.hashing);
            self.report.starts += 1;
            state.model.queue.close();
            // What is written by a name that went before the start, or was made without one in a directory that did, is told
            // by no inotify watch.
            if state.model.queue.manners.how == How::Inotify {
                state.model.forget_untold();
            }
        }
        let index = match self.store.index(self.settings) {
            Ok(index) => index,
            Err(_) if self.store.is_off() => return Err(PowerLoss),
            Err(error) => panic!("open: {error}"),
        };
        let pending = Arc::new(Pending::new(self.capacity));
        let left = self.rng.below(100);
        let left = if self.replica.is_some() || self.way.busy_scan { left } else { 0 };
        {
            let mut state = self.world.lock();
            state.pending = Some(Arc::clone(&pending));
            (state.busy, state.left) = (self.busy, left);
        }
        let ground = Ground {
            disk: self.world.clone(),
            clock: self.world.clone(),
            watch: Some(self.world.clone()),
            in_step: true,
        };
        let path = self.state_dir.path().to_owned();
        let shared = match super::super::share(ground, index, pending, &self.config, path, Vec::new()) {
            Ok(shared) => Arc::new(shared),
            Err(_) if self.store.is_off() => return Err(PowerLoss),
            Err(error) => panic!("share: {error}"),
        };
        let core = Core::new(Arc::clone(&shared), self.config.clone());
        self.daemon = Some((core, shared));
        self.check_journal();
        self.call("boot", Core::boot)?;
        if self.replica.is_none() {
            let (_, shared) = self.daemon.as_ref().unwrap();
            let reader = shared.index.read().unwrap();
            self.replica = Some(oracle::replica(&reader));
        }
        Ok(())
    }

    /// The power is back; what was not synced is lost in part.
    fn power_back(&mut self) {
        self.note("power back");
        self.daemon = None;
        self.report.power_losses += 1;
        let rng = &mut self.rng;
        self.store = self.store.after_power_loss(&mut |below| rng.below(below));
    }

    /// R7: what a follower has read is in the journal, at its number, and no number is missing or given twice.
    fn check_journal(&mut self) {
        let (_, shared) = self.daemon.as_ref().unwrap();
        let journal = oracle::records(&shared.index, Seq(0));
        for (nth, record) in journal.iter().enumerate() {
            assert_eq!(record.seq.0, nth as u64 + 1, "R7: seqs are gapless");
            if let Body::Change(change) = &record.body {
                assert!(
                    record.root.0 != 0 && change.path.starts_with(b"/"),
                    "of what is nowhere: {record:?}"
                );
            }
        }
        assert!(journal.len() >= self.journal.len(), "R7: records are lost");
        for (then, now) in self.journal.iter().zip(&journal) {
            assert_eq!(then, now, "R7: a record that was read is another now");
        }
        assert_eq!(shared.index.read().unwrap().seq().unwrap().0, journal.len() as u64);
        let faults = oracle::faults(&shared.index.read().unwrap());
        // A first scan of a tree that moves leaves totals to be added up at the next start.
        assert!(faults.is_empty() || self.replica.is_none(), "R7: after a start: {faults:#?}");
        self.take(journal[self.journal.len()..].to_vec());
    }

    pub(super) fn read_journal(&mut self) {
        let (_, shared) = self.daemon.as_ref().unwrap();
        let last = Seq(self.journal.len() as u64);
        let new = oracle::records(&shared.index, last);
        self.take(new);
    }

    fn take(&mut self, new: Vec<Record>) {
        for record in new {
            assert_eq!(record.seq.0, self.journal.len() as u64 + 1, "seqs are gapless");
            if let Some(replica) = &mut self.replica {
                replica.apply(&record);
            }
            self.note_record(&record);
            self.journal.push(record);
        }
    }

    fn note_record(&self, record: &Record) {
        self.world.lock().model.note(|_| match &record.body {
            Body::Change(change) => {
                let old = change.old_path.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                let path = String::from_utf8_lossy(&change.path);
                format!("    record {} {} {} {path} {old}", record.seq, change.op.word(), change.entry)
            }
            body => format!("    record {} {body:?}", record.seq),
        });
    }

    /// A while in which anything may happen.
    fn chapter(&mut self) {
        let left = self.rng.below(200);
        {
            let mut state = self.world.lock();
            (state.busy, state.left) = (self.busy, left);
        }
        for _ in 0..self.rng.below(25) {
            if self.action().is_err() {
                self.power_back();
                self.restart();
            }
        }
    }

    fn action(&mut self) -> Done<()> {
        if self.way.faults && self.faults.chance(15) {
            let mut state = self.world.lock();
            state.model.fault(&mut self.faults);
            state.model.remember();
        }
        if self.way.contents {
            self.check_digests();
            if self.world.lock().contents(|contents| contents.rng.chance(30)) {
                self.read_some()?;
            }
        }
        match self.rng.below(100) {
            0..35 => {
                let count = self.rng.below(12);
                self.world.lock().work(count);
            }
            35..50 => {
                let count = self.rng.index(8);
                self.world.lock().deliver(count);
            }
            50..78 => {
                let now = self.world.instant();
                self.call("step", |core| {
                    core.due_writing(now, false);
                    core.step()
                })?;
            }
            78..82 => self.settle()?,
            82..85 => {
                self.note("overflow");
                self.world.lock().model.queue.overflow();
            }
            85..87 if self.way.contents => {}
            85..87 => {
                self.note("some events are lost");
                let mut state = self.world.lock();
                let state = &mut *state;
                state.model.queue.lose(&mut state.rng);
            }
            87..89 => self.sweep()?,
            89..91 => {
                let by = i128::from(self.rng.below(40_000_000_000));
                let mut state = self.world.lock();
                state.model.now += by - 20_000_000_000;
                if let Some(contents) = &mut state.model.contents {
                    contents.set_back += u64::from(by < 20_000_000_000);
                }
                state.model.note(|model| format!("clock steps to {}", model.now));
            }
            91..93 => self.world.rest(Duration::from_secs(3)),
            93..95 => {
                self.note("kill");
                let count = self.rng.below(20);
                self.daemon = None;
                let mut state = self.world.lock();
                state.model.queue.close();
                state.work(count);
                drop(state);
                self.start()?;
            }
            _ => {
                let after = 1 + self.rng.below(60);
                self.note("the power will go");
                self.store.lose_power(after);
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Done<()> {
        self.call("settle", |core| core.settle(Instant::now() + Duration::from_secs(60)).map(drop))
    }

    fn sweep(&mut self) -> Done<()> {
        self.call("sweep", |core| {
            for at in 0..core.trees.len() {
                core.sweep_tree(at, Why::Asked)?;
            }
            core.work_off(None)
        })
    }

    /// Everything is quiet: the promises hold.
    fn checkpoint(&mut self) {
        self.note("checkpoint");
        self.world.lock().left = 0;
        if self.way.contents {
            let mut state = self.world.lock();
            state.model.close_mapped();
            if state.contents(|contents| contents.rng.chance(50)) {
                state.model.close_all();
            }
        }
        if self.way.faults {
            self.check_faulty();
            let mut state = self.world.lock();
            state.model.heal();
            state.model.remember();
        }
        while self.quieten().is_err() {
            self.come_back();
        }
        {
            let mut state = self.world.lock();
            state.model.forget_unknowable();
            state.model.queue.doubt = false;
        }
        self.report.checks += 1;
        self.check_exact("R1, after settle");
        self.note_exact();
        let reader = self.reader();
        let faults = oracle::replica_differences(self.replica.as_ref().unwrap(), &reader);
        assert!(faults.is_empty(), "R5: {faults:#?}");
        assert!(reader.all_detached().unwrap().is_empty(), "something waits after settle");
        let (core, shared) = self.daemon.as_ref().unwrap();
        assert!(
            core.held.is_empty() && core.todo.is_empty() && shared.pending.is_empty(),
            "R9: work is left"
        );
        if self.way.contents {
            self.check_contents();
        }
        if self.rng.chance(40) {
            self.check_idle();
        }
    }

    /// Everything is quiet, and is read.
    fn check_contents(&mut self) {
        if self.read_all(self.way.faults).is_err() {
            self.come_back();
            while self.quieten().is_err() || self.read_all(self.way.faults).is_err() {
                self.come_back();
            }
        }
        self.check_read();
        self.report.digests += self.reader().count_digests().unwrap();
        let scrubs = self.world.lock().contents(|contents| contents.rng.chance(15));
        if scrubs && self.scrub().is_err() {
            self.come_back();
            return self.check_contents();
        }
        let reader = self.reader();
        let faults = oracle::replica_differences(self.replica.as_ref().unwrap(), &reader);
        assert!(faults.is_empty(), "R5, contents: {faults:#?}");
        let faults = oracle::faults(&reader);
        assert!(faults.is_empty(), "contents: {faults:#?}");
    }

    fn quieten(&mut self) -> Done<()> {
        if std::mem::take(&mut self.world.lock().model.queue.lied) {
            self.sweep()?;
        }
        self.settle()?;
        // A name that came and went in a directory that had no watch yet moved the file's change time, and inotify
        // has no word for that: a stated limit, which a sweep mends.
        let found = self.differences();
        let inotify = self.world.lock().model.queue.manners.how == How::Inotify;
        if inotify && !found.is_empty() && found.iter().all(|line| line.starts_with(oracle::CHANGED_ALONE)) {
            self.sweep()?;
            self.settle()?;
        }
        Ok(())
    }

    /// While the disk fails: what cannot be looked at is kept, and that is told.
    fn check_faulty(&mut self) {
        self.world.lock().model.flaky = 0;
        while self.settle().is_err() || self.sweep().is_err() {
            self.come_back();
        }
        let (core, _) = self.daemon.as_ref().unwrap();
        let there = |tree: &&super::super::roots::Tree| tree.present;
        let tops: Vec<EntryId> = core.trees.iter().filter(there).map(|tree| tree.row.top).collect();
        let state = self.world.lock();
        let found = oracle::lost(&state.model, &self.exact, &tops, &self.reader());
        assert!(found.is_empty(), "R4: {found:#?}");
    }

    fn note_exact(&mut self) {
        let tops = self.tops();
        let mut state = self.world.lock();
        state.model.taken.clear();
        self.exact = oracle::names(&state.model, &tops);
    }

    fn reader(&self) -> index::Reader {
        self.daemon.as_ref().unwrap().1.index.read().unwrap()
    }

    pub(super) fn check_exact(&self, what: &str) {
        let found = self.differences();
        assert!(found.is_empty(), "{what}: {found:#?}");
    }

    fn differences(&self) -> Vec<String> {
        let tops = self.tops();
        let state = self.world.lock();
        oracle::differences(&state.model, &tops, &self.reader())
    }

    /// The roots' own directories.
    pub(super) fn tops(&self) -> Vec<(Key, EntryId)> {
        let (core, _) = self.daemon.as_ref().unwrap();
        let state = self.world.lock();
        core.trees
            .iter()
            .map(|tree| {
                let below = tree.row.path.strip_prefix(POINT).unwrap();
                let name = below.strip_prefix(b"/").unwrap_or_default();
                let key = if name.is_empty() { state.model.top } else { state.model.child(0, name).unwrap() };
                (key, tree.row.top)
            })
            .collect()
    }

    /// R2: looking again at everything writes nothing.
    fn check_idle(&mut self) {
        // A sweep completes what was left unfinished by its writer: once.
        self.world.rest(Duration::from_secs(10));
        for _ in 0..2 {
            if self.sweep().is_err() || self.settle().is_err() {
                self.come_back();
            }
        }
        let before = oracle::whole(&self.reader());
        if self.sweep().is_ok() && self.settle().is_ok() {
            assert_eq!(before, oracle::whole(&self.reader()), "R2: looking again writes nothing");
            self.check_exact("R1, after a sweep");
        } else {
            self.power_back();
            self.restart();
        }
    }
}
