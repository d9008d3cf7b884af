//! One file a command: ask the daemon or the index, print the answer.

mod admin;
mod alerts;
mod changes;
mod compact;
mod consume;
mod coverage;
mod diff;
mod doctor;
mod du;
mod dups;
mod export;
mod find;
mod hash;
mod interrupt;
mod link;
mod ls;
mod oneshot;
mod pages;
mod progress;
mod prove;
mod replay;
mod report;
mod rows;
mod scan;
mod schema;
mod scrub;
mod settle;
mod snapshot;
mod snapshots;
mod source;
mod status;
mod verify;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use index::Index;

use crate::cli::{Cli, Command, Global, Root, Watch};
use crate::config::{File, Settings, log_format};
use crate::engine::{EngineConfig, ProgressHook, RootConfig};
use crate::failure::{Failure, Outcome};
use crate::paths;
use crate::state::{StateDir, StateLock, when_free};

pub(crate) use source::{Answer, Source};

/// What every command begins with.
pub(crate) struct Context {
    /// Options of every command.
    pub(crate) global: Global,
    /// The configuration file.
    pub(crate) file: File,
}

/// Runs one command to its end.
///
/// # Errors
/// What it could not do.
pub(crate) fn run(cli: Cli) -> Result<Outcome, Failure> {
    let Cli { global, command } = cli;
    // These need neither configuration nor state.
    match &command {
        Command::Completions { shell } => return pages::completions(*shell),
        Command::Man { dir } => return pages::man(dir),
        Command::Schema { kind } => return schema::run(*kind),
        Command::Prove(flags) => return prove::run(&global, flags),
        _ => {}
    }
    let file = File::load(global.config.as_deref(), &env)?;
    crate::logging::init(&global, &command, log_format(&file, &env)?)?;
    let context = Context { global, file };
    match command {
        Command::Watch(flags) => watch::run(&context, &flags),
        Command::Scan(all) => match &all.once.path {
            Some(path) => oneshot::run(&context, path, &all),
            None => scan::run(&context, &all.scan),
        },
        Command::Status { follow, check } => status::run(&context, follow, check),
        Command::Settle { timeout } => settle::run(&context, timeout),
        Command::Changes(flags) => changes::run(&context, &flags),
        Command::Ls { path, long } => ls::run(&context, &path, long),
        Command::Find(flags) => find::run(&context, &flags),
        Command::Du(flags) => du::run(&context, &flags),
        Command::Dups(flags) => dups::run(&context, &flags),
        Command::Scrub(flags) => scrub::run(&context, &flags),
        Command::Hash { paths, timeout } => hash::run(&context, &paths, timeout),
        Command::Coverage { path, depth, all } => coverage::run(&context, path.as_deref(), depth, all),
        Command::Verify { root } => verify::run(&context, root.as_deref()),
        Command::Sweep { path, level } => scan::sweep(&context, path.as_deref(), level),
        Command::Alerts { action } => alerts::run(&context, action.as_ref()),
        Command::Consume(what) => consume::run(&context, &what),
        Command::Replay { root, as_reads, patience } => {
            replay::run(&context, root.as_deref(), as_reads, patience)
        }
        Command::Report(reporting) => report::run(&context, &reporting),
        Command::Diff(flags) => diff::run(&context, &flags),
        Command::Snapshot(flags) => snapshot::run(&context, &flags),
        Command::Snapshots(what) => snapshots::run(&context, &what),
        Command::Export(what) => export::run(&context, &what),
        Command::Compact => compact::run(&context),
        Command::Doctor => doctor::run(&context),
        Command::Root(Root::Accept { path }) => admin::accept(&context, &path),
        Command::Prove(_) | Command::Completions { .. } | Command::Man { .. } | Command::Schema { .. } => {
            Ok(Outcome::Done)
        }
    }
}

fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Context {
    /// Where the state folder is, made or not.
    pub(crate) fn state_path(&self) -> Result<PathBuf, Failure> {
        match &self.global.state {
            Some(given) => paths::absolute(given),
            None => Ok(crate::state::default_path(env)),
        }
    }

    /// The state folder, locked for writing, and what the engine is to do on it. Nothing is made before the
    /// roots are known to be good.
    pub(crate) fn prepare(
        &self,
        flags: &Watch,
        command: &str,
        progress: ProgressHook,
    ) -> Result<(StateDir, StateLock, EngineConfig), Failure> {
        let path = self.state_path()?;
        if path.try_exists().unwrap_or(true) {
            let state = StateDir::open_or_create(path)?;
            let lock = state.lock()?;
            let stored = self.stored_roots(&state)?;
            let config = self.engine(&state.path, flags, &stored, command, progress)?;
            return Ok((state, lock, config));
        }
        let config = self.engine(&path, flags, &[], command, progress)?;
        let state = StateDir::open_or_create(path)?;
        let lock = state.lock()?;
        Ok((state, lock, config))
    }

    /// The state folder if there is one; commands that only ask make none.
    pub(crate) fn state(&self) -> Result<StateDir, Failure> {
        let path = self.state_path()?;
        match path.try_exists() {
            Ok(true) => Ok(StateDir::open_or_create(path)?),
            Ok(false) => Err(Failure::Failed(format!(
                "there is no state folder {}; `indexer watch ROOT` or `indexer scan ROOT` makes one",
                paths::shown(&path)
            ))),
            Err(error) => {
                Err(Failure::doing(format!("look at the state folder {}", paths::shown(&path)), error))
            }
        }
    }

    /// All settings but the roots, for commands without flags for them.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        self.settings_with(&Watch::default())
    }

    /// All settings but the roots.
    pub(crate) fn settings_with(&self, flags: &Watch) -> Result<Settings, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings::resolve(&self.file, &env, flags, cores)
    }

    /// What the engine is to do, for roots named, configured or already indexed.
    pub(crate) fn engine(
        &self,
        state: &Path,
        flags: &Watch,
        stored: &[RootConfig],
        command: &str,
        progress: ProgressHook,
    ) -> Result<EngineConfig, Failure> {
        let roots = crate::config::roots(&self.file, &flags.scan, stored, command)?;
        let folder = state.canonicalize().unwrap_or_else(|_| state.to_path_buf());
        for root in &roots {
            if paths::is_below(&root.path, &paths::bytes(&folder)) {
                return Err(Failure::Usage(format!(
                    "root {} is the state folder or lies in it, which is never indexed; name another --state folder",
                    paths::shown_bytes(&root.path)
                )));
            }
        }
        Ok(self.settings_with(flags)?.engine(roots, progress))
    }

    /// The roots that the index has, by the rules they were seeded by. The caller holds the lock.
    pub(crate) fn stored_roots(&self, state: &StateDir) -> Result<Vec<RootConfig>, Failure> {
        let path = state.index_path();
        let there = path.try_exists();
        if !there.map_err(|error| Failure::doing(format!("look at {}", paths::shown(&path)), error))? {
            return Ok(Vec::new());
        }
        let settings = self.settings()?.index();
        let index = when_free(|| Index::open_read_only(&path, settings))?;
        let roots = index.read()?.roots()?;
        Ok(roots.iter().map(|root| RootConfig::stored(&root.path, &root.rules)).collect())
    }
}
