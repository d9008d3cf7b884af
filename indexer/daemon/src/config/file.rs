//! The configuration file: TOML, every unknown key an error that names key, file and line.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alert::Rule;
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use crate::cli::{AlgorithmArg, BackendArg, HashArg, LogFormat, ProfileArg, RequireArg};
use crate::config::Env;
use crate::config::alerts::Table as AlertTable;
use crate::config::amqp::Table as AmqpTable;
use crate::config::snapshots::Snapshots;
use crate::engine::RootConfig;
use crate::failure::Failure;
use crate::paths;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    /// Trees to index.
    pub(crate) roots: Vec<Root>,
    /// Left out in all of them.
    pub(crate) exclude: Vec<String>,
    /// How to watch.
    #[serde(deserialize_with = "word")]
    pub(crate) backend: Option<BackendArg>,
    /// inotify watches at most.
    pub(crate) watches: Option<usize>,
    /// Threads, batch and cache together.
    #[serde(deserialize_with = "word")]
    pub(crate) profile: Option<ProfileArg>,
    /// Whose contents are read: `"none"`, `"candidates"`, `"sampled"` or `"full"`.
    #[serde(deserialize_with = "word")]
    pub(crate) hash: Option<HashArg>,
    /// What contents are hashed by: `"blake3"` or `"blake2b-256"`.
    #[serde(deserialize_with = "word")]
    pub(crate) algorithm: Option<AlgorithmArg>,
    /// Bytes of contents read a second, as `"50MiB"`; 0 for no limit.
    #[serde(deserialize_with = "size")]
    pub(crate) hash_rate: Option<u64>,
    /// Directories looked at at once.
    pub(crate) threads: Option<usize>,
    /// Bytes of page cache, as `"48MiB"`.
    #[serde(deserialize_with = "size")]
    pub(crate) cache: Option<u64>,
    /// Hints looked at a commit.
    pub(crate) batch: Option<usize>,
    /// How much of the journal is kept.
    pub(crate) retention: Retention,
    /// How long an entry must be left alone to be complete, as `"2s"`.
    #[serde(deserialize_with = "age")]
    pub(crate) quiet: Option<Duration>,
    /// How often a directory is compared with the disk to see whether events tell of everything; `"0s"` for never.
    #[serde(deserialize_with = "age")]
    pub(crate) audit: Option<Duration>,
    /// How often a first scan is made safe against interruption, as `"5s"`.
    #[serde(deserialize_with = "age")]
    pub(crate) checkpoint: Option<Duration>,
    /// How often everything is swept by itself.
    pub(crate) sweep: Sweep,
    /// What health asks of every directory: `"watched"` or `"swept"`.
    #[serde(deserialize_with = "word")]
    pub(crate) require: Option<RequireArg>,
    /// A loopback address to serve metrics at, as `"127.0.0.1:9187"`.
    #[serde(deserialize_with = "loopback")]
    pub(crate) metrics: Option<SocketAddr>,
    /// `"text"` or `"json"`.
    #[serde(deserialize_with = "word")]
    pub(crate) log: Option<LogFormat>,
    /// Snapshots by the clock, as it is written.
    #[serde(rename = "snapshots")]
    rolled: Option<Spanned<Snapshots>>,
    /// What is told to whom, as it is written.
    alert: Vec<Spanned<AlertTable>>,
    /// The broker that records are published to, as it is written.
    amqp: Option<Spanned<AmqpTable>>,
    /// The same as rules.
    #[serde(skip)]
    pub(crate) rules: Vec<Rule>,
    /// Snapshots by the clock.
    #[serde(skip)]
    pub(crate) snapshots: Snapshots,
    /// The same as settings, with what the environment says.
    #[serde(skip)]
    pub(crate) relay: Option<publish::Settings>,
}

/// `retention = { age = "30d", bytes = "1GiB" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// Records older than this go.
    #[serde(deserialize_with = "age")]
    pub(crate) age: Option<Duration>,
    /// Bytes of records kept at most.
    #[serde(deserialize_with = "size")]
    pub(crate) bytes: Option<u64>,
}

/// `sweep = { stat = "24h", names = "off", unwatched = "5m", rate = 20000 }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sweep {
    /// Every entry of what is watched.
    #[serde(deserialize_with = "pause")]
    pub(crate) stat: Option<Option<Duration>>,
    /// The directories of what is watched.
    #[serde(deserialize_with = "pause")]
    pub(crate) names: Option<Option<Duration>>,
    /// What has no watch.
    #[serde(deserialize_with = "pause")]
    pub(crate) unwatched: Option<Option<Duration>>,
    /// Entries a second; 0 for no limit.
    pub(crate) rate: Option<u64>,
}

/// A root: a path alone, or a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Root {
    /// Its directory.
    pub(crate) path: PathBuf,
    exclude: Vec<String>,
    ignore_file: Option<PathBuf>,
    max_depth: Option<u32>,
    one_file_system: bool,
    follow_symlinks: bool,
}

impl File {
    /// Reads `given`, or the default file if there is one.
    ///
    /// # Errors
    /// [`Failure::Usage`] when a file that was asked for is missing, or any is not as it should be.
    pub(crate) fn load(given: Option<&Path>, env: Env<'_>) -> Result<File, Failure> {
        let default = paths::default_config(env);
        let path = given.unwrap_or(&default);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if given.is_none()
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                let relay = AmqpTable::default().settings(&|_| {}, env).map_err(Failure::Usage)?;
                return Ok(File { relay, ..File::default() });
            }
            Err(error) => {
                return Err(Failure::Usage(format!(
                    "failed to read configuration {}: {error}",
                    paths::shown(path)
                )));
            }
        };
        File::parse(&text, path, env)
    }

    /// Reads `text` of the file at `path`: relative paths in it are relative to its folder, `~/` is the variable `HOME`.
    pub(crate) fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<File, Failure> {
        let home = env("HOME").map(PathBuf::from);
        let home = home.as_deref();
        let wrong = |at: Option<usize>, why: &str| {
            let line = at.map_or(1, |at| text[..at].matches('\n').count() + 1);
            Failure::Usage(format!("{}, line {line}: {why}", paths::shown(path)))
        };
        let mut file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().map(|span| span.start), error.message()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let place = |path: &mut PathBuf| {
            *path = match (path.strip_prefix("~"), home) {
                (Ok(below), Some(home)) => home.join(below),
                _ => folder.join(&*path),
            };
        };
        for root in &mut file.roots {
            place(&mut root.path);
            root.ignore_file.as_mut().map(place);
        }
        for table in &file.alert {
            let name = &table.get_ref().name;
            let wrong = |why: &str| wrong(Some(table.span().start), &format!("alert {name:?}: {why}"));
            let rule = table.get_ref().rule(&place, home).map_err(|why| wrong(&why))?;
            if file.rules.iter().any(|other| other.name == rule.name) {
                return Err(wrong("another one has that name; give each its own"));
            }
            file.rules.push(rule);
        }
        if let Some(table) = &file.rolled {
            let wrong = |why: &str| wrong(Some(table.span().start), &format!("snapshots: {why}"));
            let mut snapshots = table.get_ref().clone();
            snapshots.check().map_err(|why| wrong(&why))?;
            snapshots.folder.as_mut().map(place);
            file.snapshots = snapshots;
        }
        let (table, at) = match &file.amqp {
            Some(table) => (table.get_ref().clone(), Some(table.span().start)),
            None => (AmqpTable::default(), None),
        };
        let relay = table.settings(&place, env);
        file.relay = relay.map_err(|why| wrong(at, &format!("amqp: {why}")))?;
        Ok(file)
    }

    /// The settings of `root`, found to be at `path`.
    pub(crate) fn root(&self, root: &Root, path: Vec<u8>) -> Result<RootConfig, Failure> {
        let mut excludes = self.exclude.clone();
        excludes.extend(root.exclude.iter().cloned());
        Ok(RootConfig {
            path,
            excludes,
            ignore_file: root.ignore_file.as_deref().map(paths::absolute).transpose()?,
            max_depth: root.max_depth,
            one_file_system: root.one_file_system,
            follow_symlinks: root.follow_symlinks,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: PathBuf,
    #[serde(default)]
    exclude: Vec<String>,
    ignore_file: Option<PathBuf>,
    max_depth: Option<u32>,
    #[serde(default)]
    one_file_system: bool,
    #[serde(default)]
    follow_symlinks: bool,
}

/// By hand, since an untagged enum would swallow which key is unknown.
impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Root, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Root;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table with a path")
            }

            fn visit_str<E>(self, path: &str) -> Result<Root, E> {
                Ok(Root { path: path.into(), ..Root::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Root, A::Error> {
                let Table { path, exclude, ignore_file, max_depth, one_file_system, follow_symlinks } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Root { path, exclude, ignore_file, max_depth, one_file_system, follow_symlinks })
            }
        }
        from.deserialize_any(Either)
    }
}

pub(super) fn word<'de, D: Deserializer<'de>, T: ValueEnum>(from: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    T::from_str(&text, true).map(Some).map_err(|_| {
        let words: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()))
            .collect();
        D::Error::custom(format!("unknown word {text:?}, expected {}", words.join(", ")))
    })
}

pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size, as \"48MiB\"")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            crate::values::size(text).map_err(E::custom)
        }

        fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::custom("a size is not negative"))
        }
    }
    from.deserialize_any(Size).map(Some)
}

pub(super) fn age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    crate::values::age(&text).map(Some).map_err(D::Error::custom)
}

fn pause<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Duration>>, D::Error> {
    let text = String::deserialize(from)?;
    crate::values::pause(&text).map(Some).map_err(D::Error::custom)
}

fn loopback<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    crate::values::loopback(&text).map(Some).map_err(D::Error::custom)
}
