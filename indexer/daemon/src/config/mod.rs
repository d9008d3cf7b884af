//! Settings: flags over environment over file over profile. Knows no command but what it needs to run.

mod alerts;
mod amqp;
mod file;
mod snapshots;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum as _;
use index::{Repair, Retention};
use record::{DigestKind, Hashing, Reading};

use crate::cli::{AlgorithmArg, BackendArg, HashArg, LogFormat, ProfileArg, RequireArg, Scan, Watch};
use crate::engine::{Backend, EngineConfig, ProgressHook, Require, RootConfig, Schedule};
use crate::failure::Failure;
use crate::paths;

pub(crate) use file::File;

/// Looks a variable up.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Everything but the roots, resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// How to watch.
    pub(crate) backend: Backend,
    /// inotify watches at most.
    pub(crate) watches: Option<usize>,
    /// What health asks of every directory.
    pub(crate) require: Require,
    /// Where metrics are served beside the socket.
    pub(crate) metrics: Option<SocketAddr>,
    /// Directories looked at at once.
    pub(crate) threads: usize,
    /// Bytes of the index's page cache.
    pub(crate) cache: usize,
    /// Hints looked at a commit.
    pub(crate) batch: usize,
    /// Bytes of a seed's sort buffer.
    pub(crate) seed_buffer: usize,
    /// How much of the journal is kept.
    pub(crate) retention: Retention,
    /// How long an entry must be left alone to be `complete`.
    pub(crate) quiet: Duration,
    /// Between two audits; zero for none.
    pub(crate) audit: Duration,
    /// How often a first scan is made safe.
    pub(crate) checkpoint: Duration,
    /// What a crash costs at the next start.
    pub(crate) repair: Repair,
    /// How often everything is swept.
    pub(crate) schedule: Schedule,
    /// Which contents are read, where flags, environment or file say so.
    pub(crate) reading: Option<Reading>,
    /// What they are hashed by, likewise.
    pub(crate) digest: Option<DigestKind>,
    /// Bytes read a second at most.
    pub(crate) hash_rate: Option<u64>,
}

/// What a profile sets together.
struct Profile {
    threads: usize,
    cache: usize,
    batch: usize,
    seed_buffer: usize,
}

impl Profile {
    fn of(word: ProfileArg, cores: usize) -> Profile {
        match word {
            ProfileArg::Conservative => {
                Profile { threads: 1, cache: 16 << 20, batch: 1024, seed_buffer: 4 << 20 }
            }
            ProfileArg::Default => {
                // All sort buffers together stay near 32 MiB: memory must not grow with the machine.
                let seed_buffer = ((32 << 20) / cores).clamp(2 << 20, 12 << 20);
                Profile { threads: cores, cache: 48 << 20, batch: 4096, seed_buffer }
            }
            ProfileArg::Aggressive => {
                Profile { threads: cores * 2, cache: 512 << 20, batch: 16384, seed_buffer: 32 << 20 }
            }
        }
    }
}

impl Settings {
    /// Resolves `flags` over `env` over `file`, for a machine of `cores`.
    ///
    /// # Errors
    /// [`Failure::Usage`] that names the variable or flag and what it takes.
    pub(crate) fn resolve(
        file: &File,
        env: Env<'_>,
        flags: &Watch,
        cores: usize,
    ) -> Result<Settings, Failure> {
        let profile = match flags.scan.profile {
            Some(profile) => Some(profile),
            None => {
                variable(env, "INDEXER_PROFILE", |text| ProfileArg::from_str(text, true))?.or(file.profile)
            }
        };
        let profile = Profile::of(profile.unwrap_or(ProfileArg::Default), cores.max(1));
        let backend = match flags.backend {
            Some(backend) => Some(backend),
            None => {
                variable(env, "INDEXER_BACKEND", |text| BackendArg::from_str(text, true))?.or(file.backend)
            }
        };
        let require = variable(env, "INDEXER_REQUIRE", |text| RequireArg::from_str(text, true))?;
        let metrics = match flags.metrics_listen {
            Some(address) => Some(address),
            None => variable(env, "INDEXER_METRICS_LISTEN", crate::values::loopback)?.or(file.metrics),
        };
        let threads = match flags.scan.threads {
            Some(threads) => Some(threads),
            None => variable(env, "INDEXER_THREADS", number)?.or(file.threads),
        };
        let threads = threads.unwrap_or(profile.threads);
        if threads == 0 {
            return Err(Failure::Usage("threads is 0; at least one has to do the work".into()));
        }
        let watches = variable(env, "INDEXER_WATCHES", number)?.or(file.watches);
        let batch = variable(env, "INDEXER_BATCH", number)?.or(file.batch).unwrap_or(profile.batch);
        let cache = variable(env, "INDEXER_CACHE", crate::values::size)?.or(file.cache);
        let cache = cache.map_or(profile.cache, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let age = variable(env, "INDEXER_RETENTION_AGE", crate::values::age)?.or(file.retention.age);
        let bytes = variable(env, "INDEXER_RETENTION_BYTES", crate::values::size)?.or(file.retention.bytes);
        let audit = variable(env, "INDEXER_AUDIT", crate::values::age)?.or(file.audit);
        let quiet = variable(env, "INDEXER_QUIET", crate::values::age)?.or(file.quiet);
        let checkpoint = variable(env, "INDEXER_CHECKPOINT", crate::values::age)?.or(file.checkpoint);
        let usual = Schedule::default();
        let pause = |name, of_file: Option<Option<Duration>>, usual| {
            Ok::<_, Failure>(variable(env, name, crate::values::pause)?.or(of_file).unwrap_or(usual))
        };
        let rate = variable(env, "INDEXER_SWEEP_RATE", rate)?.or(file.sweep.rate).unwrap_or(0);
        let schedule = Schedule {
            stat: pause("INDEXER_SWEEP_STAT", file.sweep.stat, usual.stat)?,
            names: pause("INDEXER_SWEEP_NAMES", file.sweep.names, usual.names)?,
            unwatched: pause("INDEXER_SWEEP_UNWATCHED", file.sweep.unwatched, usual.unwatched)?,
            rate: Some(rate).filter(|rate| *rate > 0),
        };
        let reading = match flags.scan.hash {
            Some(reading) => Some(reading),
            None => variable(env, "INDEXER_HASH", |text| HashArg::from_str(text, true))?.or(file.hash),
        };
        let algorithm = match flags.scan.algorithm {
            Some(algorithm) => Some(algorithm),
            None => variable(env, "INDEXER_ALGORITHM", |text| AlgorithmArg::from_str(text, true))?
                .or(file.algorithm),
        };
        let hash_rate = match flags.scan.hash_rate {
            Some(rate) => Some(rate),
            None => variable(env, "INDEXER_HASH_RATE", crate::values::size)?.or(file.hash_rate),
        };
        Ok(Settings {
            reading: reading.map(|reading| match reading {
                HashArg::None => Reading::None,
                HashArg::Candidates => Reading::Candidates,
                HashArg::Sampled => Reading::Sampled,
                HashArg::Full => Reading::Full,
                HashArg::Remote => Reading::Remote,
            }),
            digest: algorithm.map(|algorithm| match algorithm {
                AlgorithmArg::Blake3 => DigestKind::Blake3,
                AlgorithmArg::Blake2b256 => DigestKind::Blake2b256,
            }),
            hash_rate: hash_rate.filter(|rate| *rate > 0),
            schedule,
            backend: backend_of(backend.unwrap_or(BackendArg::Auto)),
            watches,
            require: match require.or(file.require) {
                None => Require::Backend,
                Some(RequireArg::Watched) => Require::Watched,
                Some(RequireArg::Swept) => Require::Swept,
            },
            metrics,
            threads,
            cache: cache.max(1 << 20),
            batch: batch.max(1),
            seed_buffer: profile.seed_buffer,
            retention: Retention {
                age: age.unwrap_or(Duration::from_secs(30 * 86_400)),
                bytes: bytes.unwrap_or(1 << 30),
            },
            quiet: quiet.unwrap_or(Duration::from_secs(2)),
            audit: audit.unwrap_or(Duration::from_secs(10)),
            checkpoint: checkpoint.unwrap_or(Duration::from_secs(5)),
            repair: index::Settings::default().repair,
        })
    }

    /// What the engine takes.
    pub(crate) fn engine(&self, roots: Vec<RootConfig>, progress: ProgressHook) -> EngineConfig {
        let usual = Hashing::default();
        let reading = self.reading.unwrap_or(usual.reading);
        let said = self.reading.is_some() || self.digest.is_some();
        EngineConfig {
            roots,
            hashing: said.then(|| Hashing { reading, kind: self.digest.unwrap_or(usual.kind) }),
            hash_rate: self.hash_rate,
            backend: self.backend,
            watches: self.watches,
            require: self.require,
            threads: self.threads,
            cache_bytes: self.cache,
            batch: self.batch,
            seed_buffer: self.seed_buffer,
            retention: self.retention,
            quiet: self.quiet,
            audit: self.audit,
            checkpoint: self.checkpoint,
            repair: self.repair,
            schedule: self.schedule,
            progress,
        }
    }

    /// How the index is opened by commands without a daemon.
    pub(crate) fn index(&self) -> index::Settings {
        index::Settings { cache: self.cache, repair: self.repair }
    }
}

/// The log's form, by environment and file; a flag is over both.
///
/// # Errors
/// [`Failure::Usage`] for another word in `INDEXER_LOG_FORMAT`.
pub(crate) fn log_format(file: &File, env: Env<'_>) -> Result<LogFormat, Failure> {
    let variable = variable(env, "INDEXER_LOG_FORMAT", |text| LogFormat::from_str(text, true))?;
    Ok(variable.or(file.log).unwrap_or(LogFormat::Text))
}

/// The roots to work on: those given, else those of the file, else those the index has (`stored`).
///
/// # Errors
/// [`Failure::Usage`] for what cannot be a root, for roots in one another, or when there is none.
pub(crate) fn roots(
    file: &File,
    flags: &Scan,
    stored: &[RootConfig],
    command: &str,
) -> Result<Vec<RootConfig>, Failure> {
    let mut roots = Vec::new();
    if flags.roots.is_empty() {
        for root in &file.roots {
            roots.push(file.root(root, paths::root(&root.path)?)?);
        }
    } else {
        for path in &flags.roots {
            roots.push(named(file, path, stored)?);
        }
    }
    if roots.is_empty() {
        roots = stored.to_vec();
    }
    if roots.is_empty() {
        return Err(Failure::Usage(format!(
            "no root is named, configured or indexed yet; name one, as in `indexer {command} ~/Media`"
        )));
    }
    for root in &mut roots {
        for pattern in &flags.exclude {
            if !root.excludes.contains(pattern) {
                root.excludes.push(pattern.clone());
            }
        }
        if let Some(file) = &flags.ignore_file {
            root.ignore_file = Some(paths::absolute(file)?);
        }
        root.max_depth = flags.max_depth.or(root.max_depth);
        root.one_file_system |= flags.one_file_system;
        root.follow_symlinks |= flags.follow_symlinks;
    }
    let mut all: Vec<&[u8]> = roots.iter().map(|root| &root.path[..]).collect();
    paths::disjoint(&all)?;
    // Those of the index that stay as they are must not overlap either.
    let named = all.clone();
    all.extend(stored.iter().map(|root| &root.path[..]).filter(|path| !named.contains(path)));
    paths::disjoint(&all)?;
    Ok(roots)
}

/// A root named on the command line, with what the file says of it.
fn named(file: &File, path: &Path, stored: &[RootConfig]) -> Result<RootConfig, Failure> {
    let checked = match paths::root(path) {
        Ok(checked) => checked,
        // A root that the index has may be away for now: a disk that is not mounted.
        Err(failure) => match paths::spellings(path)?.into_iter().find(|path| has(stored, path)) {
            Some(known) if path.symlink_metadata().is_err() => known,
            _ => return Err(failure),
        },
    };
    let configured = file.roots.iter().find(|root| paths::root(&root.path).is_ok_and(|path| path == checked));
    // Without a word from file or flags a root keeps the rules it was seeded by.
    match (configured, stored.iter().find(|root| root.path == checked)) {
        (Some(root), _) => file.root(root, checked),
        (None, Some(known)) => Ok(known.clone()),
        (None, None) => file.root(&file::Root::default(), checked),
    }
}

fn has(stored: &[RootConfig], path: &[u8]) -> bool {
    stored.iter().any(|root| root.path == path)
}

fn backend_of(argument: BackendArg) -> Backend {
    match argument {
        BackendArg::Auto => Backend::Auto,
        BackendArg::Fanotify => Backend::Fanotify,
        BackendArg::Inotify => Backend::Inotify,
        BackendArg::Notify => Backend::Notify,
        BackendArg::Sweep => Backend::Sweep,
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn rate(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of entries a second; 0 is no limit"))
}

fn variable<T>(
    env: Env<'_>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| Failure::Usage(format!("{name} is not UTF-8")))?;
    parse(text).map(Some).map_err(|why| Failure::Usage(format!("{name}={text}: {why}")))
}

#[cfg(test)]
mod tests;
