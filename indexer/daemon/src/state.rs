//! The state folder: where it is, what is in it, and who may write to it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use index::OpenError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::info;

/// How long others may be looking whether anybody holds the lock.
const PROBES: Duration = Duration::from_secs(2);

/// How long who writes waits for those who read.
const READERS: Duration = Duration::from_secs(30);

/// An existing state folder.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    /// Its path.
    pub(crate) path: PathBuf,
}

/// The right to write to a state folder, until dropped.
#[derive(Debug)]
pub(crate) struct StateLock {
    /// Closing it gives the lock up, also when the process is killed.
    _file: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Another process writes to it.
    #[error(
        "{path} is in use by {name} (pid {pid}); ask that one, stop it, or name another folder by --state"
    )]
    InUse {
        /// The folder.
        path: String,
        /// What holds it, as the kernel names the process.
        name: String,
        /// Its process number.
        pid: u32,
    },
    /// The file system refused.
    #[error("cannot {doing} the state folder {path}: {source}; name another by --state DIR")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl StateDir {
    /// The folder at `path`, made (for the owner alone) if it is missing.
    pub(crate) fn open_or_create(path: PathBuf) -> Result<StateDir, StateError> {
        let error = |doing| {
            let path = path.display().to_string();
            move |source| StateError::Io { doing, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(error("make"))?;
        let path = std::fs::canonicalize(&path).map_err(error("find"))?;
        Ok(StateDir { path })
    }

    /// The index file in it.
    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.join("index.redb")
    }

    /// The daemon's socket in it.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.path.join("socket")
    }

    /// Device and inode of the folder.
    pub(crate) fn inodes(&self) -> Vec<(u64, u64)> {
        match self.path.symlink_metadata() {
            Ok(meta) => vec![(meta.dev(), meta.ino())],
            Err(_) => Vec::new(),
        }
    }

    /// Takes the right to write. The lock goes with the process, however it ends.
    pub(crate) fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.lock_path();
        let io = |doing| {
            let path = self.path.display().to_string();
            move |source: std::io::Error| StateError::Io { doing, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("write to"))?;
        let until = Instant::now() + PROBES;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(io("lock")(error.into())),
            }
            let pid = holder(&mut file).unwrap_or(0);
            // A question that looks whether anybody holds it holds it for that moment, and writes no name into it.
            let name = process_name(pid).filter(|_| pid != std::process::id());
            if name.is_some() || Instant::now() > until {
                let path = self.path.display().to_string();
                let name = name.unwrap_or_else(|| "another process".to_owned());
                return Err(StateError::InUse { path, name, pid });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let note = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(note.as_bytes()))
            .map_err(io("write to"))?;
        Ok(StateLock { _file: file })
    }

    /// The process that holds the lock, if one does.
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.lock_path()).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Some(holder(&mut file).unwrap_or(0)),
            _ => None,
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// What the kernel calls a process, if there is one.
fn process_name(pid: u32) -> Option<String> {
    let comm = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    comm.map(|name| name.trim().to_owned()).ok()
}

/// Opens the index once nobody else has it open, for a process that holds the lock: a question that was asked before has
/// it open until it is answered.
pub(crate) fn when_free<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let until = Instant::now() + READERS;
    let mut told = false;
    loop {
        match open() {
            Err(OpenError::InUse(path)) if Instant::now() < until => {
                if !told {
                    told = true;
                    info!(index = %path.display(), "another process reads the index; waiting for its end");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// The folder used when none is named: what the XDG rules say, or the system's for a root without a home.
pub(crate) fn default_path(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => state.join("indexer"),
        (None, Some(home)) => home.join(".local/state/indexer"),
        (None, None) => PathBuf::from("/var/lib/indexer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_by_name_and_pid() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(folder.path().join("a/b")).unwrap();
        let lock = state.lock().unwrap();
        assert_eq!(state.daemon_pid(), Some(std::process::id()));
        let error = state.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(state.daemon_pid(), None);
        state.lock().unwrap();
    }

    #[test]
    fn the_default_follows_xdg_then_home() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            default_path(move |name| {
                pairs.iter().find(|(key, _)| key == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(of(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/indexer"));
        assert_eq!(of(&[("XDG_STATE_HOME", ""), ("HOME", "/h")]), Path::new("/h/.local/state/indexer"));
        assert_eq!(of(&[]), Path::new("/var/lib/indexer"));
    }
}
