//! The simulated disk as the engine sees it: descriptors, looks and listings, a clock and a watch. Between any two
//! of its answers other programs work. Knows no index.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use record::{EntryId, How, Kind, Time};
use rustix::fs::{MemfdFlags, memfd_create};
use scan::{Disk, EachName, Errno, ListBuffer, Look, Mount, Seen, VolumeIdentity};
use watch::{Handle, Pending};

use super::super::ground::{Clock, Watch};
use super::contents::{Contents, bytes_of};
use super::model::{Key, Model};
use super::rng::Rng;

/// Where the disk is mounted.
pub(super) const POINT: &[u8] = b"/simulated";

const MOUNT: u64 = 40;
const DEVICE: u64 = 0x800;

/// A disk under a lock. The engine works on one thread at a time, so what happens follows from the seed alone.
pub(super) struct World(Mutex<State>);

pub(super) struct State {
    pub(super) model: Model,
    pub(super) rng: Rng,
    /// Percent of calls before which another program does something.
    pub(super) busy: u64,
    /// How often that may still happen: a disk that never rests cannot be settled.
    pub(super) left: u64,
    pub(super) mounted: bool,
    pub(super) pending: Option<Arc<Pending>>,
    /// Descriptors given out: their number, the name of the file that stands for them, what they have open.
    descriptors: BTreeMap<i32, (u64, Key)>,
    /// Open files of which only a part is written yet.
    torn: BTreeSet<u64>,
    start: Instant,
    elapsed: Duration,
}

impl World {
    pub(super) fn new(model: Model, rng: Rng) -> World {
        World(Mutex::new(State {
            model,
            rng,
            busy: 0,
            left: 0,
            mounted: true,
            pending: None,
            descriptors: BTreeMap::new(),
            torn: BTreeSet::new(),
            start: Instant::now(),
            elapsed: Duration::ZERO,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the engine: time passes, and others may be first.
    fn call(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let state_ref = &mut *state;
        state_ref.model.now += 1 + i128::from(state_ref.rng.below(20_000));
        if state_ref.left > 0 && state_ref.rng.chance(state_ref.busy) {
            state_ref.left -= 1;
            state_ref.work(1);
            if state_ref.rng.chance(30) {
                state_ref.deliver(3);
            }
        }
        state
    }
}

impl State {
    /// Programs do `count` things.
    pub(super) fn work(&mut self, count: u64) {
        self.forget_closed();
        for _ in 0..count {
            if !self.model.disturb_contents() {
                self.model.disturb(&mut self.rng);
            }
            self.model.remember();
        }
        self.refresh();
    }

    /// As [`State::work`], as long as programs may still work.
    pub(super) fn work_if_left(&mut self, count: u64) {
        let count = count.min(self.left);
        self.left -= count;
        self.work(count);
    }

    pub(super) fn contents<T>(&mut self, call: impl FnOnce(&mut Contents) -> T) -> T {
        call(self.model.contents.as_mut().unwrap())
    }

    /// Open files have in them what they have in them now.
    pub(super) fn refresh(&mut self) {
        self.forget_closed();
        for (fd, (file, key)) in &self.descriptors {
            let object = self.model.get(*key);
            if object.kind == Kind::File && self.model.contents.is_some() && !self.torn.contains(file) {
                write_to(*fd, &bytes_of(object.content, object.size));
            }
        }
    }

    /// Somebody begins to write what this descriptor is open for.
    pub(super) fn begin_write(&mut self, fd: i32) {
        let Some((file, key)) = self.descriptors.get(&fd).copied().filter(|_| self.left > 0) else { return };
        let old = (self.model.get(key).content, self.model.get(key).size);
        if !self.model.begin_write(key) {
            return;
        }
        self.left -= 1;
        self.model.remember();
        let mut bytes = bytes_of(self.model.get(key).content, self.model.get(key).size);
        let half = bytes.len() / 2;
        bytes[half..].copy_from_slice(&bytes_of(old.0, old.1)[half..]);
        write_to(fd, &bytes);
        self.torn.insert(file);
    }

    /// The reader thread takes up to `count` events.
    pub(super) fn deliver(&mut self, count: usize) {
        let model = &mut self.model;
        let named: Vec<bool> = (0..model.objects.len()).map(|key| model.is_named(key)).collect();
        let hints = model.queue.read(count, &mut self.rng, |key| named[key]);
        for hint in &hints {
            model.note(|_| {
                format!("  hint {:?} {:?} handle {}", hint.what, hint.flags, hint.handle.is_some())
            });
        }
        if let Some(pending) = &self.pending {
            pending.add_all(hints);
        }
    }

    /// Finds out which descriptors were closed: the inode behind an open one keeps its number.
    fn forget_closed(&mut self) {
        self.descriptors.retain(|fd, (file, _)| shown(*fd) == shown_as(*file));
        self.model.held = self.descriptors.values().map(|(_, key)| *key).collect();
    }

    /// Whether this call fails, by a disk that fails now and then.
    fn flakes(&mut self) -> Result<(), Errno> {
        if self.model.flaky == 0 {
            return Ok(());
        }
        self.model.flaky -= 1;
        if self.rng.chance(30) {
            self.model.note(|_| "  a call fails".to_owned());
            return Err(Errno::IO);
        }
        Ok(())
    }

    fn key(&self, fd: BorrowedFd<'_>) -> Key {
        if let Some((_, key)) = self.descriptors.get(&fd.as_raw_fd()) {
            return *key;
        }
        // The same file, opened again by the descriptor.
        let shown = shown(fd.as_raw_fd());
        self.descriptors.values().find(|(file, _)| shown == shown_as(*file)).unwrap().1
    }

    fn hand_out(&mut self, key: Key) -> OwnedFd {
        // Lives run beside each other.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("simulated-{next}")).unwrap();
        let fd = memfd_create(&*name, MemfdFlags::CLOEXEC).unwrap();
        self.descriptors.insert(fd.as_raw_fd(), (next, key));
        self.model.held.insert(key);
        fd
    }

    /// `other` is open for the same as `fd`, in its place.
    fn stands_for(&mut self, other: File, fd: OwnedFd) -> OwnedFd {
        if let Some(open) = self.descriptors.remove(&fd.as_raw_fd()) {
            self.descriptors.insert(other.as_raw_fd(), open);
        }
        other.into()
    }

    fn seen(&self, key: Key) -> Seen {
        Seen {
            inode: self.model.get(key).number,
            stat: self.model.stat(key),
            device: DEVICE,
            mount: MOUNT,
            mount_root: key == self.model.top,
            through: false,
        }
    }

    /// The object called `name` in `dir`.
    fn step(&self, dir: Key, name: &[u8]) -> Result<Key, Errno> {
        if self.model.bad.contains(&dir) {
            return Err(Errno::IO);
        }
        if !self.model.is_directory(dir) {
            return Err(Errno::NOTDIR);
        }
        if self.model.get(dir).mode & 0o100 == 0 {
            return Err(Errno::ACCESS);
        }
        self.model.child(dir, name).ok_or(Errno::NOENT)
    }

    fn open(&mut self, key: Key) -> Result<OwnedFd, Errno> {
        match self.model.get(key) {
            _ if self.model.bad.contains(&key) => Err(Errno::IO),
            object if object.kind == Kind::Symlink => Err(Errno::LOOP),
            object if object.kind != Kind::Directory => Err(Errno::NOTDIR),
            object if object.mode & 0o400 == 0 => Err(Errno::ACCESS),
            _ => Ok(self.hand_out(key)),
        }
    }

    fn walk(&self, from: Key, components: &[&[u8]]) -> Result<Key, Errno> {
        components.iter().try_fold(from, |at, name| self.step(at, name))
    }

    /// The path of a directory from the point, `None` when it has ended.
    fn relative(&self, key: Key) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = key;
        while at != self.model.top {
            let parent = self.model.get(at).parent?;
            let (name, _) = self.model.get(parent).children.iter().find(|(_, child)| **child == at)?;
            names.push(name);
            at = parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }
}

/// What is behind a descriptor.
fn shown(fd: i32) -> String {
    let to = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    to.map(|to| to.to_string_lossy().into_owned()).unwrap_or_default()
}

fn shown_as(file: u64) -> String {
    format!("/memfd:simulated-{file} (deleted)")
}

fn write_to(fd: i32, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}")).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

impl Disk for World {
    fn open_root(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut state = self.call();
        state.flakes()?;
        if state.model.failing.pop_front() == Some(true) {
            return Err(Errno::IO);
        }
        let below = path.strip_prefix(POINT).filter(|_| state.mounted).ok_or(Errno::NOENT)?;
        let components: Vec<&[u8]> =
            below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let key = state.walk(state.model.top, &components)?;
        state.open(key)
    }

    fn open_dir(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_below(parent, &[name])
    }

    fn open_below(&self, root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
        let mut state = self.call();
        let from = state.key(root);
        state.flakes()?;
        let found = state.walk(from, components);
        state.model.note(|model| {
            let names = components.join(&b'/');
            format!("  open {}: {found:?}", model.show_name(from, &names))
        });
        state.open(found?)
    }

    fn open_path(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let mut state = self.call();
        state.flakes()?;
        let key = state.step(state.key(parent), name)?;
        Ok(state.hand_out(key))
    }

    fn open_file(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let mut state = self.call();
        state.flakes()?;
        let key = state.step(state.key(dir), name)?;
        if state.model.get(key).kind != Kind::File {
            return Err(Errno::INVAL);
        }
        let fd = state.hand_out(key);
        state.refresh();
        if state.model.flaky > 0 && state.contents(|contents| contents.rng.chance(30)) {
            // A descriptor by which nothing can be read.
            let file = OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            return Ok(state.stands_for(file.unwrap(), fd));
        }
        Ok(fd)
    }

    fn has_writer(&self, file: BorrowedFd<'_>) -> Option<bool> {
        let state = self.call();
        let key = state.key(file);
        Some(state.model.opens.iter().any(|open| open.object == key))
    }

    fn look(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Look {
        let mut state = self.call();
        let at = state.key(dir);
        state.model.note(|model| format!("  look {} {:?}", model.show_name(at, name), model.child(at, name)));
        if let Err(error) = state.flakes() {
            return Look::Failed(error);
        }
        match state.step(at, name) {
            Ok(key) if state.model.bad.contains(&key) => Look::Failed(Errno::IO),
            Ok(key) => Look::Present(state.seen(key)),
            Err(Errno::NOENT | Errno::NOTDIR) => Look::Absent,
            Err(error) => Look::Failed(error),
        }
    }

    fn look_self(&self, fd: BorrowedFd<'_>) -> Result<Seen, Errno> {
        let mut state = self.call();
        if state.model.contents.is_some() {
            // It may have the number of one that was closed.
            state.forget_closed();
        }
        let key = state.key(fd);
        state.flakes()?;
        if !state.torn.is_empty() {
            // What began to be written has been.
            state.torn.clear();
            state.refresh();
        }
        if state.model.bad.contains(&key) { Err(Errno::IO) } else { Ok(state.seen(key)) }
    }

    fn device_at(&self, _: &[u8]) -> Option<u64> {
        Some(DEVICE)
    }

    fn list(&self, dir: BorrowedFd<'_>, _: &mut ListBuffer, each: &mut EachName<'_>) -> Result<bool, Errno> {
        let (key, mut names) = {
            let mut state = self.call();
            let key = state.key(dir);
            state.model.note(|model| format!("  list {}", model.show(key)));
            if !state.model.is_named(key) {
                return Err(Errno::NOENT);
            }
            let mut names: Vec<Vec<u8>> = state.model.get(key).children.keys().cloned().collect();
            for at in (1..names.len()).rev() {
                names.swap(at, state.rng.index(at + 1));
            }
            (key, names)
        };
        let mut given: Vec<Vec<u8>> = Vec::new();
        while let Some(name) = names.pop() {
            {
                let mut state = self.call();
                state.flakes()?;
                if state.model.bad.contains(&key) {
                    return Err(Errno::IO);
                }
                // What the kernel had read by then is still given.
                if !state.model.is_named(key) && state.rng.chance(30) {
                    return Err(Errno::NOENT);
                }
                let there = state.model.child(key, &name).is_some();
                // What goes or comes during a listing may be in it or not.
                if !there && state.rng.chance(50) {
                    continue;
                }
                let now: Vec<Vec<u8>> = match state.model.is_named(key) {
                    true => state.model.get(key).children.keys().cloned().collect(),
                    false => Vec::new(),
                };
                let new =
                    now.into_iter().find(|new| !names.contains(new) && !given.contains(new) && *new != name);
                if let Some(new) = new.filter(|_| state.rng.chance(20)) {
                    names.push(new);
                }
            }
            let text = CString::new(name.clone()).unwrap();
            given.push(name);
            if each(&text, None) == ControlFlow::Break(()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_listed(&self, dir: BorrowedFd<'_>, name: &CStr) -> Look {
        self.look(dir, name.to_bytes())
    }

    fn path_of(&self, fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
        let state = self.call();
        let below = state.relative(state.key(fd)).ok_or(Errno::NOENT)?;
        Ok(if below.is_empty() { POINT.to_vec() } else { [POINT, b"/", &below].concat() })
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        let mounted = self.call().mounted;
        Ok(Vec::from_iter(mounted.then(|| Mount {
            id: MOUNT,
            parent: 1,
            device: DEVICE,
            root: b"/".to_vec(),
            point: POINT.to_vec(),
            fs_type: "ext4".to_owned(),
            source: b"/dev/simulated".to_vec(),
        })))
    }

    fn identify(&self, _: BorrowedFd<'_>, _: u64, _: &[Mount]) -> Result<VolumeIdentity, Errno> {
        let state = self.call();
        Ok(VolumeIdentity {
            fs_type: "ext4".to_owned(),
            uuid: Some([7; 16]),
            fsid: 1,
            subvolume: 0,
            source: b"/dev/simulated".to_vec(),
            root_inode: 2,
            root_created: Some(Time(state.model.get(state.model.top).birth)),
        })
    }
}

impl Clock for World {
    fn now(&self) -> Time {
        let mut state = self.lock();
        state.model.now += 1;
        // As the kernel's own clock does: to the nanosecond, whatever the tick that stamps inodes.
        Time(state.model.now)
    }

    fn instant(&self) -> Instant {
        let mut state = self.lock();
        state.elapsed += Duration::from_micros(10);
        state.start + state.elapsed
    }

    fn rest(&self, time: Duration) {
        let mut state = self.lock();
        state.elapsed += time;
        state.model.now += i128::try_from(time.as_nanos()).unwrap();
    }
}

impl Watch for World {
    fn how(&self) -> How {
        self.lock().model.queue.manners.how
    }

    fn arm(&self, dir: EntryId, fd: BorrowedFd<'_>) {
        let mut state = self.call();
        let key = state.key(fd);
        if state.model.is_named(key) {
            state.model.queue.arm(key, dir);
        }
    }

    fn watches(&self, dir: EntryId) -> bool {
        self.lock().model.queue.watches(dir)
    }

    fn barrier(&self) {
        self.call().deliver(usize::MAX);
    }

    fn open(&self, handle: &Handle) -> Result<OwnedFd, Errno> {
        let mut state = self.call();
        let key = Key::from_ne_bytes(handle.bytes().try_into().unwrap());
        state.model.note(|model| format!("  open handle of {}", model.show(key)));
        if state.model.is_named(key) { state.open(key) } else { Err(Errno::STALE) }
    }
}
