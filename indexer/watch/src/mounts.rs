//! Tells that the mount table changed, or that a directory on the way to a root moved or went. Reads no line of the
//! table and knows no root: whoever is woken looks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// The kernel marks this file as changed, for each opener apart, whenever something is mounted, moved or unmounted.
const TABLE: &str = "/proc/self/mountinfo";

/// Only what befalls the directory itself: nothing that happens in it wakes anybody.
const WAY: WatchFlags = WatchFlags::MOVE_SELF
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// Waits for changes of the mount table on a thread of its own. Holds no descriptor of any file system but proc, so
/// it is in no unmount's way.
#[derive(Debug)]
pub struct MountWatch {
    table: File,
    stop: OwnedFd,
    way: Option<Arc<OwnedFd>>,
    /// Watches on directories on the way to roots.
    watched: Mutex<BTreeSet<i32>>,
    moved: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MountWatch {
    /// Starts; `wake` is called after each change, from the thread.
    ///
    /// # Errors
    /// /proc is not mounted, or no descriptor or thread is to be had.
    pub fn start(wake: impl Fn() + Send + 'static) -> io::Result<MountWatch> {
        let table = File::open(TABLE)?;
        let own = File::open(TABLE)?;
        // The first poll tells of nothing but that the file was opened.
        is_changed(&table);
        is_changed(&own);
        // Without an instance of inotify, the ways are only looked at now and then.
        let way = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok().map(Arc::new);
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let alarm = rustix::io::fcntl_dupfd_cloexec(&stop, 0)?;
        let moved = Arc::new(AtomicBool::new(false));
        let waiting = Waiting { table: own, alarm, way: way.clone(), moved: Arc::clone(&moved) };
        let thread =
            std::thread::Builder::new().name("mounts".to_owned()).spawn(move || waiting.run(&wake))?;
        Ok(MountWatch { table, stop, way, watched: Mutex::default(), moved, thread: Some(thread) })
    }

    /// Whether anything changed since the last call. A mount made before the call is told by it; what befell a way to a
    /// root may be told by the next, for which `wake` is called.
    pub fn changed(&self) -> bool {
        let moved = self.moved.swap(false, Ordering::AcqRel);
        is_changed(&self.table) || moved
    }

    /// From now on tells of renames and removals of these directories and of all above them, and of no others.
    /// What cannot be watched (no permission, no watches left, not there) is left out.
    pub fn watch_way(&self, paths: &[&Path]) {
        let Some(way) = &self.way else { return };
        let above: BTreeSet<&Path> = paths.iter().flat_map(|path| path.ancestors()).collect();
        let now: BTreeSet<i32> =
            above.into_iter().filter_map(|path| inotify::add_watch(way, path, WAY).ok()).collect();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for wd in watched.difference(&now) {
            // EINVAL: the kernel removed it already, with the directory.
            let _ = inotify::remove_watch(way, *wd);
        }
        *watched = now;
    }
}

impl Drop for MountWatch {
    fn drop(&mut self) {
        // Fails only when it was rung some 2^64 times.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Waiting {
    table: File,
    alarm: OwnedFd,
    way: Option<Arc<OwnedFd>>,
    moved: Arc<AtomicBool>,
}

impl Waiting {
    fn run(self, wake: &dyn Fn()) {
        loop {
            let mut fds = vec![
                PollFd::new(&self.alarm, PollFlags::IN),
                PollFd::new(&self.table, PollFlags::PRI | PollFlags::ERR),
            ];
            if let Some(way) = &self.way {
                fds.push(PollFd::new(way, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "mounts are not watched any more, only looked at now and then");
                    return;
                }
            }
            let told: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            if !told[0].is_empty() {
                return;
            }
            let way = told.get(2).is_some_and(|told| !told.is_empty()) && self.drain();
            if way {
                self.moved.store(true, Ordering::Release);
            }
            if way || !told[1].is_empty() {
                wake();
            }
        }
    }

    /// Reads what is queued; whether anything but the end of a watch was.
    fn drain(&self) -> bool {
        let Some(way) = &self.way else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(way, &mut buffer);
        let mut any = false;
        while let Ok(event) = reader.next() {
            any |= !event.events().contains(inotify::ReadFlags::IGNORED);
        }
        any
    }
}

fn is_changed(table: &File) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(table.as_fd(), PollFlags::PRI | PollFlags::ERR)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A rename of a directory above, a removal and nothing else are told; a watch that is no longer asked for is not.
    #[test]
    fn what_befalls_the_way_to_a_root_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("above/root");
        std::fs::create_dir_all(&root).unwrap();
        let (sender, woken) = channel();
        let watch = MountWatch::start(move || {
            let _ = sender.send(());
        })
        .unwrap();
        watch.watch_way(&[&root]);
        // Mounts made elsewhere meanwhile may wake us too; what is said of them has been heard.
        watch.changed();
        std::fs::write(root.join("file"), b"in it").unwrap();
        std::fs::rename(temp.path().join("above"), temp.path().join("renamed")).unwrap();
        // A mount made elsewhere may have woken us before.
        while !watch.changed() {
            woken.recv_timeout(PATIENCE).unwrap();
        }
        std::fs::rename(temp.path().join("renamed"), temp.path().join("above")).unwrap();
        woken.recv_timeout(PATIENCE).unwrap();
        std::fs::remove_file(root.join("file")).unwrap();
        std::fs::remove_dir(&root).unwrap();
        woken.recv_timeout(PATIENCE).unwrap();
        drop(watch);
        assert!(woken.try_iter().count() < 10, "it wakes without end");
    }
}
