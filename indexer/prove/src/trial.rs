//! One trial: the checks in their order, what they share, and the verdict over them. Knows no check from within.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::folder::Folder;
use crate::ground::Ground;
use crate::judge::{Judge, Judgement};
use crate::phases::{self, Said};
use crate::program::Indexer;
use crate::{Outcome, Report, Rng, Trouble, Verdict, Work, Workload};

/// What to prove, and how hard.
#[derive(Clone, Debug)]
pub struct Options {
    /// A directory on the file system in question; the work is done in a new folder in it.
    pub path: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Chooses the work.
    pub seed: u64,
    /// About how long all of it may take, in seconds.
    pub seconds: u64,
    /// Rounds of random work; as many as fit where `None`.
    pub rounds: Option<u32>,
    /// Threads that work at once.
    pub threads: usize,
    /// Times that the program is killed.
    pub kills: u32,
    /// Watch by this means; the program chooses where `None`.
    pub backend: Option<String>,
    /// Leave folder and state, also when all is well. After a failure they are left in any case.
    pub keep: bool,
    /// Keep the program's state on the file system in question too.
    pub state_beside: bool,
}

/// Who is told how it goes.
pub trait Listener {
    /// The work is about to begin in `folder`.
    fn begins(&mut self, folder: &Path, seed: u64);
    /// What is under way, in a few words.
    fn progress(&mut self, check: &str, what: &str);
    /// A check has ended.
    fn report(&mut self, report: &Report);
}

/// Sums over all checks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) checks: u64,
    pub(crate) passed: u64,
    pub(crate) operations: u64,
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) overflows: u64,
}

/// What checks share.
pub(crate) struct Trial<'a> {
    pub(crate) options: &'a Options,
    /// The folder of all the work; the tree that is indexed is `tree` in it.
    pub(crate) folder: Folder,
    /// The program's states.
    pub(crate) home: Folder,
    pub(crate) ground: Ground,
    /// The running daemon, once the first scan is done.
    pub(crate) live: Option<(Indexer<'a>, Judge)>,
    pub(crate) rng: Rng,
    pub(crate) tally: Tally,
    /// Operations of the random work that are left out here.
    pub(crate) left_out: Vec<&'static str>,
    /// Means of watching, as the program says it.
    pub(crate) backend: String,
    /// Figures of the check under way.
    pub(crate) facts: Map<String, Value>,
    differences: Vec<String>,
    check: &'static str,
    stop: &'a AtomicBool,
    listener: &'a mut dyn Listener,
}

/// Makes all the checks; the first that fails is the last.
///
/// # Errors
/// When they could not be made, or `stop` was set meanwhile. Differences are no error but in the verdict.
pub fn run(options: &Options, stop: &AtomicBool, listener: &mut dyn Listener) -> Result<Verdict, Trouble> {
    let began = Instant::now();
    let folder = Folder::make(&options.path, ".indexer-prove")?;
    folder.has_room()?;
    let home_in = if options.state_beside { options.path.clone() } else { std::env::temp_dir() };
    let home = Folder::make(&home_in, ".indexer-prove-state")?;
    listener.begins(folder.path(), options.seed);
    let mut trial = Trial {
        options,
        folder,
        home,
        ground: Ground::default(),
        live: None,
        rng: Rng::new(options.seed),
        tally: Tally::default(),
        left_out: Vec::new(),
        backend: String::new(),
        facts: Map::new(),
        differences: Vec::new(),
        check: "",
        stop,
        listener,
    };
    let mut verdict = Verdict { seed: options.seed, ..Verdict::default() };
    for (name, check) in phases::ALL {
        let report = trial.make(name, check)?;
        match report.outcome {
            Outcome::Passed => {}
            Outcome::Skipped => verdict.skipped.push(name),
            Outcome::Failed => verdict.failed = Some(name),
        }
        trial.listener.report(&report);
        if verdict.failed.is_some() {
            break;
        }
    }
    trial.live = None;
    if verdict.failed.is_some() || options.keep {
        for folder in [&mut trial.folder, &mut trial.home] {
            folder.keep();
            verdict.kept.push(folder.path().display().to_string());
        }
    }
    let Tally { checks, passed, operations, kills, stops, overflows } = trial.tally;
    Ok(Verdict {
        file_system: trial.ground.kind.clone(),
        kernel: trial.ground.kernel.clone(),
        backend: trial.backend.clone(),
        checks,
        passed,
        operations,
        kills,
        stops,
        overflows,
        took: began.elapsed(),
        ..verdict
    })
}

impl<'a> Trial<'a> {
    /// Makes one check. A fault of the program is a difference.
    fn make(&mut self, name: &'static str, check: phases::Check) -> Result<Report, Trouble> {
        let began = Instant::now();
        self.check = name;
        self.listener.progress(name, "");
        let (outcome, said) = match check(self) {
            Ok(Said::Done(said)) => (Outcome::Passed, said),
            Ok(Said::Skipped(why)) => (Outcome::Skipped, why),
            Err(Trouble::Fault(what)) => {
                self.expect(false, || what);
                (Outcome::Failed, "the program failed".to_owned())
            }
            Err(trouble) => return Err(trouble),
        };
        let differences = std::mem::take(&mut self.differences);
        // What a check says at its end is of a good one.
        let (outcome, said) = match differences.len() {
            0 => (outcome, said),
            1 => (Outcome::Failed, "1 difference:".to_owned()),
            many => (Outcome::Failed, format!("{many} differences:")),
        };
        let facts = std::mem::take(&mut self.facts);
        Ok(Report { name, outcome, said, facts, differences, took: began.elapsed() })
    }

    /// The tree that is indexed.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// The program on the state called `state`, for `root`.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub(crate) fn indexer(&self, state: &str, root: &Path) -> Result<Indexer<'a>, Trouble> {
        let backend = self.options.backend.as_deref();
        Indexer::new(&self.options.program, self.home.join(state), root, backend, self.stop)
    }

    /// Says what is under way.
    ///
    /// # Errors
    /// [`Trouble::Interrupted`] when somebody asked for the end.
    pub(crate) fn step(&mut self, what: &str) -> Result<(), Trouble> {
        self.listener.progress(self.check, what);
        if self.stop.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    /// Waits, or less when the end is asked for.
    ///
    /// # Errors
    /// [`Trouble::Interrupted`] then.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Trouble> {
        let end = Instant::now() + time;
        while let left = end.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Trouble::Interrupted);
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        Ok(())
    }

    /// The running daemon and its judge, taken out; to be put back into `live`.
    ///
    /// # Errors
    /// When there is none, which is a mistake of ours.
    pub(crate) fn take_live(&mut self) -> Result<(Indexer<'a>, Judge), Trouble> {
        self.live.take().ok_or_else(|| Trouble::Cannot("no daemon runs".to_owned()))
    }

    /// Counts an expectation; `what` is told where it is not met.
    pub(crate) fn expect(&mut self, met: bool, what: impl FnOnce() -> String) {
        self.tally.checks += 1;
        if met {
            self.tally.passed += 1;
        } else {
            self.differences.push(what());
        }
    }

    /// Whether the check under way has differences already.
    pub(crate) fn failed(&self) -> bool {
        !self.differences.is_empty()
    }

    /// Settles and judges the tree at rest; differences are told with `when`.
    ///
    /// # Errors
    /// When the program does not answer.
    pub(crate) fn judge(
        &mut self,
        indexer: &Indexer<'_>,
        judge: &mut Judge,
        root: &Path,
        when: &str,
    ) -> Result<Judgement, Trouble> {
        let made = judge.judge(indexer, &self.folder, root).map_err(|trouble| match trouble {
            Trouble::Fault(what) => Trouble::Fault(format!("{when}: {what}")),
            other => other,
        })?;
        self.tally.checks += 1;
        if made.differences.is_empty() {
            self.tally.passed += 1;
        }
        self.differences.extend(made.differences.iter().map(|one| format!("{when}: {one}")));
        if made.blocks_settled > 0 {
            let before = self.facts.get("blocks_settled").and_then(Value::as_u64).unwrap_or(0);
            self.fact("blocks_settled", before + made.blocks_settled as u64);
        }
        Ok(made)
    }

    /// Random work in the tree while `body` runs.
    ///
    /// # Errors
    /// Those of `body`.
    pub(crate) fn amid_work<T>(
        &mut self,
        root: &Path,
        body: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let work = Workload { seed: self.rng.bits(), threads: self.options.threads };
        let left_out = self.left_out.clone();
        let (made, done) = work.around_without(root, &left_out, || body(self));
        self.count(&done);
        made
    }

    /// A number of random operations in each thread, to their end.
    pub(crate) fn work(&mut self, root: &Path, operations: u64) {
        let work = Workload { seed: self.rng.bits(), threads: self.options.threads };
        let done = work.run_operations_without(root, &self.left_out, operations);
        self.count(&done);
    }

    fn count(&mut self, done: &Work) {
        let effective = done.iter().filter(|(operation, _)| **operation != "refused");
        self.tally.operations += effective.map(|(_, count)| count).sum::<u64>();
    }

    /// A figure of the check under way.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }
}
