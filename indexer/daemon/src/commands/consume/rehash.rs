//! `consume rehash`: reads files for an index on another host. A file is opened below a folder that was named, never through a
//! symbolic link; what is sent back is its digest, if it is what was asked for. Needs no index.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use publish::{
    Arrived, Fatal, Handler, Origins, Outgoing, Settings, Stop, Subscription, To, Verdict, subscribe,
};
use record::wire::job::{Job, Malformed, Told, Which};
use record::{DigestKind, Stat, Time};
use rehash::{Algorithm, Content, Eye, How, Refused, Stamp};
use scan::{Disk as _, Errno, Kernel};

use crate::cli::Map;
use crate::commands::interrupt;
use crate::failure::{Failure, Outcome};

/// Jobs that are here for each thread: the next while one is read.
const PER_THREAD: u16 = 2;
/// Threads where nothing is said.
const THREADS: usize = 8;
/// A clock behind that of the file's host makes a file look too young; it is waited for so often.
const TRIES: u32 = 5;
/// And so long at most.
const WAIT: Duration = Duration::from_secs(3);

/// Reads what is asked for until it is told to leave.
pub(super) fn run(
    settings: Settings,
    host: &str,
    maps: &[Map],
    threads: Option<u16>,
) -> Result<Outcome, Failure> {
    settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
    for map in maps {
        Kernel.open_root(map.to.as_os_str().as_bytes()).map_err(|error| {
            Failure::Usage(format!("--map: {} cannot be opened: {error}", crate::paths::shown(&map.to)))
        })?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let threads = threads.map_or(cores, usize::from).max(1);
    scan::outlive_leases();
    rehash::be_nice();
    let stop = Stop::default();
    let asked = stop.clone();
    interrupt::at_first(move || asked.stop())?;
    let subscription = Subscription {
        queue: publish::jobs(&settings.exchange, host),
        from: Origins::Jobs,
        prefetch: u16::try_from(threads).unwrap_or(u16::MAX).saturating_mul(PER_THREAD),
        one_reader: false,
    };
    let worker = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut reader = Reader { maps: maps.to_vec(), worker, threads };
    reader.maps.sort_by_key(|map| std::cmp::Reverse(map.from.len()));
    subscribe(&settings, &subscription, &mut reader, &stop)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Outcome::Done)
}

struct Reader {
    /// The longest first.
    maps: Vec<Map>,
    worker: String,
    threads: usize,
}

impl Handler for Reader {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        let next = AtomicUsize::new(0);
        let reader = &*self;
        let work = || {
            let mut verdicts = Vec::new();
            while let nth = next.fetch_add(1, Ordering::Relaxed)
                && let Some(message) = messages.get(nth)
            {
                verdicts.push((nth, reader.verdict(&message.body)));
            }
            verdicts
        };
        let mut verdicts: Vec<(usize, Verdict)> = std::thread::scope(|scope| {
            let others = self.threads.min(messages.len()).saturating_sub(1);
            let threads: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let mine = work();
            let others = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            mine.into_iter().chain(others).collect()
        });
        verdicts.sort_by_key(|(nth, _)| *nth);
        Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
    }
}

impl Reader {
    fn verdict(&self, body: &[u8]) -> Verdict {
        self.answer(body).unwrap_or_else(|malformed| Verdict::Unusable(malformed.to_string()))
    }

    fn answer(&self, body: &[u8]) -> Result<Verdict, Malformed> {
        let job = Job::read(body)?;
        let (path, kind) = (job.path()?, job.kind()?);
        let answer = match self.read(&path, &job.which, kind) {
            Ok(content) => {
                let Content { digest, magic, read, head, tail, .. } = content;
                let told = Told { digest, magic, head: head.0, tail: tail.map(|tail| tail.0), read };
                job.done(&self.worker, &told)
            }
            Err(why) => {
                tracing::warn!(file = %crate::paths::shown_bytes(&path), why, "a file is not read");
                job.refused(&self.worker, &why)
            }
        };
        let body = serde_json::to_vec(&answer).map_err(|error| Malformed(error.to_string()))?;
        Ok(Verdict::Answer(Outgoing { to: To::Answers(job.epoch), body }))
    }

    /// The content that is meant, or why not.
    fn read(&self, path: &[u8], which: &Which, kind: DigestKind) -> Result<Content, String> {
        let file = self.open(path)?;
        let algorithm =
            if kind == DigestKind::Blake2b256 { Algorithm::Blake2b256 } else { Algorithm::Blake3 };
        let how = How { algorithm, ..How::default() };
        let mut tries = 0;
        let content = loop {
            match rehash::read(&file, how, &Kernels, &mut |_| ControlFlow::Continue(())) {
                Err(Refused::Young { ready }) if tries < TRIES => {
                    tries += 1;
                    let left = ready.0.saturating_sub(Time::now().0).clamp(0, WAIT.as_nanos() as i128);
                    std::thread::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
                }
                read => break read.map_err(|refused| refused.to_string())?,
            }
        };
        let Stamp { size, modified, changed } = content.stamp;
        if (size, modified.0, changed.0) != (which.size, which.modified_ns, which.changed_ns) {
            return Err("it is not what was asked for: other size or times".to_owned());
        }
        Ok(content)
    }

    /// Opens what lies below a folder that was named.
    fn open(&self, path: &[u8]) -> Result<File, String> {
        let below = self.maps.iter().find_map(|map| {
            let rest = path.strip_prefix(&map.from[..])?.strip_prefix(b"/")?;
            Some((map, rest))
        });
        let (map, rest) = below.ok_or("it lies in no --map")?;
        let mut names: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
        if names.iter().any(|name| name.is_empty() || matches!(*name, b"." | b"..") || name.contains(&0)) {
            return Err("its path is no plain one".to_owned());
        }
        let name = names.pop().ok_or("it has no name")?;
        let open = || -> Result<File, Errno> {
            let root = Kernel.open_root(map.to.as_os_str().as_bytes())?;
            let dir = Kernel.open_below(root.as_fd(), &names)?;
            Kernel.open_file(dir.as_fd(), name).map(File::from)
        };
        open().map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => "what leads there is no folder, or a symbolic link".to_owned(),
            Errno::INVAL => "it is no regular file".to_owned(),
            error => error.to_string(),
        })
    }
}

/// This machine's disks and clock.
struct Kernels;

impl Eye for Kernels {
    fn look(&self, file: &File) -> io::Result<Stat> {
        Ok(Kernel.look_self(file.as_fd())?.stat)
    }

    fn now(&self) -> Time {
        Time::now()
    }

    fn has_writer(&self, file: &File) -> Option<bool> {
        Kernel.has_writer(file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_file_is_opened_below_the_folder_that_was_named_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/deep")).unwrap();
        fs::create_dir(at("b")).unwrap();
        fs::write(at("secret"), "s").unwrap();
        fs::write(at("a/deep/file"), "a").unwrap();
        fs::write(at("b/file"), "longer").unwrap();
        symlink("../secret", at("a/out")).unwrap();
        symlink("../b", at("a/dir")).unwrap();
        let map = |from: &str, to: PathBuf| Map { from: from.into(), to };
        let mut maps = vec![map("/srv", at("a")), map("/srv/b", at("b"))];
        maps.sort_by_key(|map| std::cmp::Reverse(map.from.len()));
        let reader = Reader { maps, worker: "w".into(), threads: 1 };
        let size = |path: &str| {
            let file = reader.open(path.as_bytes())?;
            Ok::<u64, String>(file.metadata().unwrap().len())
        };
        assert_eq!((size("/srv/deep/file"), size("/srv/b/file")), (Ok(1), Ok(6)));
        for (path, why) in [
            ("/srv/out", "no regular file"),
            ("/srv/dir/file", "symbolic link"),
            ("/srv/../secret", "plain"),
            ("/srv/deep/../../secret", "plain"),
            ("/srv//deep/file", "plain"),
            ("/srv", "no --map"),
            ("/srvx/deep/file", "no --map"),
            ("/etc/passwd", "no --map"),
            ("/srv/deep", "no regular file"),
            ("/srv/none", "No such file"),
        ] {
            let said = size(path).unwrap_err();
            assert!(said.contains(why), "{path}: {said}");
        }
    }
}
