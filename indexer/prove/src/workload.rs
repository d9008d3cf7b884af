//! Random work in a small tree, from several threads at once: everything that changes an entry or a name. Few names, so
//! that threads collide, names are taken over, and inode numbers come back. Knows nothing of who watches.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags, linkat, openat, renameat_with,
    setxattr, utimensat,
};

use crate::Rng;
use crate::mapping::Mapping;

/// Names of directories; some are names of files too, so that the one takes the other's place.
const FOLDERS: [&str; 5] = ["a", "b", "c", "d", "both"];
/// Names of files: of plain text, of one byte more than ASCII, of no valid UTF-8 (see [`Worker::path`]), and with a newline.
const FILES: [&str; 8] = ["one", "two", "three.jpg", "four", "fünf", "six\nlines", "\u{fffd}", "both"];
/// No file grows beyond this, in bytes.
const LARGEST: u64 = 64 * 1024;
/// Descriptors, and mappings, that a thread holds at most; the oldest goes when there is one more.
const HELD: usize = 6;

/// Work to be done.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Same seed, same choices in each thread (how the threads interleave is the scheduler's).
    pub seed: u64,
    /// How many at once.
    pub threads: usize,
}

/// Work that was done: by operation, how often it took effect. Those refused (no such name, not empty) are under `refused`.
pub type Work = BTreeMap<&'static str, u64>;

impl Workload {
    /// Works in `root` until `stop` is set. Every descriptor and mapping is closed when this returns.
    ///
    /// # Panics
    /// When a worker panics.
    pub fn run(&self, root: &Path, stop: &AtomicBool) -> Work {
        self.work(root, &[], |_| !stop.load(Ordering::Relaxed))
    }

    /// Works in `root` for as long as `body` runs, and ends with it, also when it panics.
    ///
    /// # Panics
    /// When a worker or `body` does.
    pub fn around<T>(&self, root: &Path, body: impl FnOnce() -> T) -> (T, Work) {
        self.around_without(root, &[], body)
    }

    /// The same without the operations named in `left_out`, which count as refused.
    ///
    /// # Panics
    /// As [`Workload::around`].
    pub fn around_without<T>(&self, root: &Path, left_out: &[&str], body: impl FnOnce() -> T) -> (T, Work) {
        /// Without this a failed assertion would leave the scope waiting for workers that nobody stops.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| self.work(root, left_out, |_| !stop.load(Ordering::Relaxed)));
            let guard = Stop(&stop);
            let made = body();
            drop(guard);
            (made, worker.join().expect("workers do not panic"))
        })
    }

    /// Works in `root` for a number of operations in each thread.
    ///
    /// # Panics
    /// When a worker panics.
    pub fn run_operations(&self, root: &Path, operations: u64) -> Work {
        self.run_operations_without(root, &[], operations)
    }

    /// The same without the operations named in `left_out`.
    ///
    /// # Panics
    /// When a worker panics.
    pub fn run_operations_without(&self, root: &Path, left_out: &[&str], operations: u64) -> Work {
        self.work(root, left_out, |done| done < operations)
    }

    fn work(&self, root: &Path, left_out: &[&str], go_on: impl Fn(u64) -> bool + Sync) -> Work {
        let go_on = &go_on;
        let mut all = Work::new();
        std::thread::scope(|scope| {
            let mut seeds = Rng::new(self.seed);
            let threads: Vec<_> = (0..self.threads)
                .map(|_| {
                    let mut worker = Worker::new(root, Rng::new(seeds.bits()));
                    scope.spawn(move || {
                        let mut done = 0;
                        while go_on(done) {
                            worker.step(left_out);
                            done += 1;
                        }
                        worker.work
                    })
                })
                .collect();
            for thread in threads {
                for (operation, count) in thread.join().expect("workers do not panic") {
                    *all.entry(operation).or_default() += count;
                }
            }
        });
        all
    }
}

/// One operation.
type Operation = fn(&mut Worker) -> io::Result<()>;

/// What is done, and how often in relation to the others.
const OPERATIONS: [(&str, u64, Operation); 24] = [
    ("create", 14, Worker::create),
    ("write", 10, Worker::write),
    ("append", 5, Worker::append),
    ("truncate", 4, Worker::truncate),
    ("rename", 8, Worker::rename),
    ("rename_over", 5, Worker::rename_over),
    ("exchange", 4, Worker::exchange),
    ("atomic_save", 4, Worker::atomic_save),
    ("link", 6, Worker::link),
    ("tmpfile", 3, Worker::tmpfile),
    ("unlink", 8, Worker::unlink),
    ("remove_tree", 1, Worker::remove_tree),
    ("make_folders", 5, Worker::make_folders),
    ("make_tree", 1, Worker::make_tree),
    ("move_folder", 4, Worker::move_folder),
    ("chmod", 4, Worker::chmod),
    ("utimens", 3, Worker::utimens),
    ("xattr", 2, Worker::xattr),
    ("symlink", 3, Worker::symlink),
    ("hold", 5, Worker::hold),
    ("write_held", 6, Worker::write_held),
    ("map", 3, Worker::map),
    ("store", 3, Worker::store),
    ("let_go", 2, Worker::let_go),
];

struct Worker {
    root: PathBuf,
    rng: Rng,
    held: Vec<File>,
    mapped: Vec<Mapping>,
    noise: Option<File>,
    serial: u64,
    work: Work,
}

impl Worker {
    fn new(root: &Path, rng: Rng) -> Worker {
        Worker {
            root: root.to_owned(),
            rng,
            held: Vec::new(),
            mapped: Vec::new(),
            // Where it is missing (a bare chroot), stores are refused and the rest goes on.
            noise: File::open("/dev/urandom").ok(),
            serial: 0,
            work: Work::new(),
        }
    }

    fn step(&mut self, left_out: &[&str]) {
        let total = OPERATIONS.iter().map(|(_, weight, _)| weight).sum();
        let mut ticket = self.rng.below(total);
        for (name, weight, operation) in OPERATIONS {
            if ticket < weight {
                // Refusals are part of the game: another thread was faster, or the name was of the wrong kind.
                let done = !left_out.contains(&name) && operation(self).is_ok();
                let outcome = if done { name } else { "refused" };
                *self.work.entry(outcome).or_default() += 1;
                return;
            }
            ticket -= weight;
        }
    }

    fn folder(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.rng.below(4) {
            path.push(self.rng.pick(&FOLDERS));
        }
        path
    }

    fn file(&mut self) -> PathBuf {
        let name = self.rng.pick(&FILES);
        // A lone byte 0xFF is no UTF-8 at all; XFS, ext4, btrfs and tmpfs take it as it is.
        let name: &[u8] = if name == "\u{fffd}" { b"\xff.bin" } else { name.as_bytes() };
        self.folder().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let byte = self.rng.bits().to_le_bytes()[0];
        vec![byte; self.rng.index(8192)]
    }

    fn create(&mut self) -> io::Result<()> {
        let (path, bytes) = (self.file(), self.bytes());
        File::create(path)?.write_all(&bytes)
    }

    fn write(&mut self) -> io::Result<()> {
        let path = self.file();
        let file =
            OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let (bytes, offset) = (self.bytes(), self.rng.below(LARGEST - 8192));
        file.write_all_at(&bytes, offset)
    }

    fn append(&mut self) -> io::Result<()> {
        let path = self.file();
        let mut file =
            OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        if file.metadata()?.len() > LARGEST {
            return file.set_len(0);
        }
        file.write_all(&self.bytes())
    }

    fn truncate(&mut self) -> io::Result<()> {
        let (path, length) = (self.file(), self.rng.below(LARGEST));
        // To nothing, often: that is what editors do.
        let length = if self.rng.chance(30) { 0 } else { length };
        OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?.set_len(length)
    }

    fn rename(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn rename_over(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        fs::rename(from, to)
    }

    fn exchange(&mut self) -> io::Result<()> {
        // A file with a file, or a file with a directory and all below it.
        let from = self.file();
        let to = if self.rng.chance(30) { self.folder() } else { self.file() };
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?)
    }

    /// As editors and downloaders do: written beside, renamed into place.
    fn atomic_save(&mut self) -> io::Result<()> {
        let to = self.file();
        let beside = to.with_file_name(format!(".tmp{}", self.serial % 3));
        self.serial += 1;
        let bytes = self.bytes();
        fs::write(&beside, bytes)?;
        fs::rename(&beside, to)
    }

    fn link(&mut self) -> io::Result<()> {
        let (from, to) = (self.file(), self.file());
        fs::hard_link(from, to)
    }

    fn tmpfile(&mut self) -> io::Result<()> {
        let (folder, to, bytes) = (self.folder(), self.file(), self.bytes());
        let unnamed = openat(CWD, folder, OFlags::TMPFILE | OFlags::RDWR, Mode::from_raw_mode(0o644))?;
        let mut file = File::from(unnamed);
        file.write_all(&bytes)?;
        let through = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, through, CWD, to, AtFlags::SYMLINK_FOLLOW)?;
        if self.rng.chance(50) {
            file.write_all(&bytes)?;
        }
        Ok(())
    }

    fn unlink(&mut self) -> io::Result<()> {
        let path = self.file();
        fs::remove_file(path)
    }

    fn remove_tree(&mut self) -> io::Result<()> {
        let path = self.folder();
        if path == self.root {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        fs::remove_dir_all(path)
    }

    fn make_folders(&mut self) -> io::Result<()> {
        let path = self.folder();
        fs::create_dir_all(path)
    }

    /// A deep chain at once, with a file at each level, as an unpacked archive brings it.
    fn make_tree(&mut self) -> io::Result<()> {
        let mut path = self.folder();
        for level in 0..3 + self.rng.below(5) {
            path.push(self.rng.pick(&FOLDERS));
            fs::create_dir_all(&path)?;
            fs::write(path.join(FILES[self.rng.index(4)]), [b'x'; 10])?;
            self.serial += level;
        }
        Ok(())
    }

    fn move_folder(&mut self) -> io::Result<()> {
        let (from, to) = (self.folder(), self.folder());
        if from == self.root || to == self.root {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        fs::rename(from, to)
    }

    fn chmod(&mut self) -> io::Result<()> {
        let path = if self.rng.chance(20) { self.folder() } else { self.file() };
        // Owners keep all their rights: unprivileged work and walks have to get in.
        let mode = 0o700 | (u32::try_from(self.rng.below(0o100)).unwrap_or(0));
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn utimens(&mut self) -> io::Result<()> {
        let path = if self.rng.chance(20) { self.folder() } else { self.file() };
        // From before 1970 until after 2038.
        let seconds = i64::try_from(self.rng.below(4_000_000_000)).unwrap_or(0) - 1_000_000_000;
        let nanoseconds = i64::try_from(self.rng.below(1_000_000_000)).unwrap_or(0);
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn xattr(&mut self) -> io::Result<()> {
        let (path, bytes) = (self.file(), self.rng.bits().to_le_bytes());
        Ok(setxattr(path, "user.work", &bytes, XattrFlags::empty())?)
    }

    fn symlink(&mut self) -> io::Result<()> {
        let (to, path) = (self.file(), self.file());
        symlink(to, path)
    }

    /// Keeps a file open: what comes later reaches it under whatever name it then has, or none.
    fn hold(&mut self) -> io::Result<()> {
        let path = self.file();
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if self.held.len() == HELD {
            self.held.remove(0);
        }
        self.held.push(file);
        Ok(())
    }

    fn write_held(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (which, bytes) = (self.rng.index(self.held.len()), self.bytes());
        let offset = self.rng.below(LARGEST - 8192);
        self.held[which].write_all_at(&bytes, offset)
    }

    fn map(&mut self) -> io::Result<()> {
        let path = self.file();
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        if self.mapped.len() == HELD {
            self.mapped.remove(0);
        }
        self.mapped.push(Mapping::new(&file)?);
        Ok(())
    }

    fn store(&mut self) -> io::Result<()> {
        let (Some(noise), false) = (&self.noise, self.mapped.is_empty()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let which = self.rng.index(self.mapped.len());
        self.mapped[which].store(noise, 1 + self.rng.index(64))
    }

    fn let_go(&mut self) -> io::Result<()> {
        if self.rng.chance(50) {
            self.held.clear();
        } else {
            self.mapped.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workload that never succeeds at something tests nothing of it.
    #[test]
    fn every_operation_takes_effect_and_the_tree_stays_small() {
        let root = tempfile::tempdir().unwrap();
        let work = Workload { seed: 1, threads: 3 }.run_operations(root.path(), 6_000);
        assert_eq!(work.values().sum::<u64>(), 18_000);
        for (operation, _, _) in OPERATIONS {
            // Overlay and network file systems refuse some of them.
            let optional = ["exchange", "tmpfile", "xattr", "rename"].contains(&operation);
            assert!(work.contains_key(operation) || optional, "{operation} never took effect: {work:?}");
        }
        let entries = crate::walk(root.path(), &[]).unwrap().len();
        assert!((10..50_000).contains(&entries), "{entries} entries");
    }
}
