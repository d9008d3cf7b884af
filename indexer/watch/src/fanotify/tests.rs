//! fanotify on the real kernel: what each operation hints at, barriers under load, umount, every file system here.

use super::*;
use crate::testing::{Mounted, VOLUME, id, inode, open, ran, render, soon, undisturbed};
use crate::{Batch, Health, Pending};
use record::VolumeId;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Two directories `d` and `e` of a watched file system.
struct Rig {
    pending: Arc<Pending>,
    reader: FanotifyReader,
    d: PathBuf,
    e: PathBuf,
    labels: BTreeMap<u64, String>,
}

impl Rig {
    /// `None`, said aloud, without the privilege.
    fn new(root: &Path) -> Option<Rig> {
        let group = match FanotifyGroup::arm(VOLUME, open(root).as_fd(), Vec::new()) {
            Ok(group) => group,
            Err(error) if error.errno == Errno::PERM => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let pending = Arc::new(Pending::default());
        let reader = group.start(Arc::clone(&pending)).unwrap();
        let (d, e) = (root.join("d"), root.join("e"));
        fs::create_dir(&d).unwrap();
        fs::create_dir(&e).unwrap();
        let labels = BTreeMap::from([(inode(&d), "D".to_owned()), (inode(&e), "E".to_owned())]);
        Some(Rig { pending, reader, d, e, labels })
    }

    fn take(&self) -> Batch {
        self.reader.barrier(soon()).unwrap();
        self.pending.take(usize::MAX)
    }

    fn label(&mut self, path: &Path, label: &str) {
        self.labels.insert(inode(path), label.to_owned());
    }

    /// What `operation` alone hints at.
    fn hints(&self, operation: impl FnOnce()) -> Vec<String> {
        let _ = self.take();
        let undisturbed = undisturbed();
        operation();
        drop(undisturbed);
        render(&self.take(), &self.labels)
    }

    /// A file outside the events, labelled.
    fn file(&mut self, path: &Path, label: &str) {
        let undisturbed = undisturbed();
        fs::write(path, "content").unwrap();
        drop(undisturbed);
        self.label(path, label);
    }
}

fn every_operation(root: &Path) {
    let Some(mut rig) = Rig::new(root) else { return };
    let (d, e) = (rig.d.clone(), rig.e.clone());
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();

    let got = rig.hints(|| fs::write(d.join("new"), "content").unwrap());
    assert_eq!(got, lines(&["D/new {WRITTEN, CLOSED, NAMED}"]), "create, write, close");

    rig.file(&d.join("f"), "f");
    let f = fs::OpenOptions::new().read(true).write(true).open(d.join("f")).unwrap();
    let written = ["D/f {WRITTEN}", "inode f {WRITTEN}"];
    assert_eq!(rig.hints(|| f.write_all_at(b"x", 0).unwrap()), lines(&written), "write");
    assert_eq!(rig.hints(|| f.set_len(1).unwrap()), lines(&written), "truncate");
    assert_eq!(rig.hints(|| f.set_len(1).unwrap()), lines(&written), "truncate to the same size");
    let fallocate = || rustix::fs::fallocate(&f, rustix::fs::FallocateFlags::empty(), 0, 9).unwrap();
    assert_eq!(rig.hints(fallocate), lines(&written), "fallocate");
    let mtime = || f.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(rig.hints(mtime), lines(&written), "utimens of the mtime");
    let closed = ["D/f {CLOSED}", "inode f {CLOSED}"];
    assert_eq!(rig.hints(|| drop(f)), lines(&closed), "close");

    let chmod = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    let got = rig.hints(|| chmod(&d.join("f")));
    assert_eq!(got, lines(&["D/f {META}", "inode f {META}"]), "chmod");
    assert_eq!(rig.hints(|| chmod(&d)), lines(&["inode D {META}"]), "chmod of a directory");

    let got = rig.hints(|| fs::hard_link(d.join("f"), e.join("g")).unwrap());
    assert_eq!(got, lines(&["E/g {NAMED}", "inode f {META}"]), "link");
    let got = rig.hints(|| fs::remove_file(e.join("g")).unwrap());
    assert_eq!(got, lines(&["E/g {NAMED}", "inode f {META}"]), "unlink of one of several");

    // The name in the events of a descriptor may be one that went: the inode must be hinted at.
    fs::hard_link(d.join("f"), e.join("g")).unwrap();
    let f = fs::OpenOptions::new().write(true).open(d.join("f")).unwrap();
    fs::remove_file(d.join("f")).unwrap();
    let got = rig.hints(move || f.write_all_at(b"y", 0).unwrap());
    let hinted = got.contains(&"inode f {WRITTEN, CLOSED}".to_owned());
    assert!(hinted, "write by a name that went: {got:?}");

    let got = rig.hints(|| fs::rename(e.join("g"), d.join("h")).unwrap());
    let moved = ["D/h {MOVED, NAMED}", "E/g {MOVED, NAMED}", "inode f {MOVED, NAMED}"];
    assert_eq!(got, lines(&moved), "rename");

    rig.file(&d.join("victim"), "v");
    let got = rig.hints(|| fs::rename(d.join("h"), d.join("victim")).unwrap());
    let over = ["D/h {MOVED, NAMED}", "D/victim {MOVED, NAMED}", "inode f {MOVED, NAMED}", "inode v {META}"];
    assert_eq!(got, lines(&over), "rename over a victim");

    // Its inode is gone, and its number may be another's on a file system that is not ours alone.
    rig.labels.retain(|_, label| label != "v");

    rig.file(&e.join("x"), "x");
    let got = rig.hints(|| {
        let (from, to) = (open(&d), open(&e));
        rustix::fs::renameat_with(&from, "victim", &to, "x", RenameFlags::EXCHANGE).unwrap();
    });
    let exchanged =
        ["D/victim {MOVED, NAMED}", "E/x {MOVED, NAMED}", "inode f {MOVED, NAMED}", "inode x {MOVED, NAMED}"];
    assert_eq!(got, lines(&exchanged), "exchange");

    fs::create_dir(d.join("sub")).unwrap();
    rig.label(&d.join("sub"), "S");
    let got = rig.hints(|| fs::rename(d.join("sub"), e.join("sub")).unwrap());
    let moved = ["D/sub", "E/sub", "inode S"].map(|what| format!("{what} {{MOVED, NAMED, DIRECTORY}}"));
    assert_eq!(got, moved, "rename of a directory");
    let got = rig.hints(|| fs::remove_dir(e.join("sub")).unwrap());
    assert_eq!(got, lines(&["E/sub {NAMED, DIRECTORY}"]), "rmdir");
    rig.labels.retain(|_, label| label != "S");

    temporary(&mut rig);
    let lost = [rig.reader.counters().malformed, rig.reader.counters().overflows];
    assert_eq!((lost, rig.reader.health()), ([0, 0], Health::Running));
    rig.reader.stop();
}

/// O_TMPFILE: the name in the events is none, before it has one and after.
fn temporary(rig: &mut Rig) {
    let d = rig.d.clone();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(&d, flags, Mode::RUSR | Mode::WUSR) else {
        eprintln!("SKIPPED: no O_TMPFILE here");
        return;
    };
    let number = rustix::fs::fstat(&file).unwrap().st_ino;
    rig.labels.insert(number, "t".to_owned());
    let write = || {
        rustix::io::write(&file, b"x").unwrap();
    };
    let written = vec!["inode t {WRITTEN}".to_owned()];
    assert_eq!(rig.hints(write), written, "write before it has a name");
    let link = || {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let to = open(&d);
        rustix::fs::linkat(rustix::fs::CWD, &path, &to, "named", AtFlags::SYMLINK_FOLLOW).unwrap();
    };
    let got = rig.hints(link);
    assert!(got.contains(&"D/named {NAMED}".to_owned()), "linked: {got:?}");
    assert_eq!(rig.hints(write), written, "write after it was named");
}

#[test]
fn every_operation_hints_on_tmpfs() {
    if let Some(mounted) = Mounted::tmpfs() {
        every_operation(&mounted.path);
    }
}

#[test]
fn every_operation_hints_on_the_temporary_folders_file_system() {
    let folder = tempfile::tempdir().unwrap();
    every_operation(folder.path());
}

#[test]
fn every_operation_hints_on_ext4_xfs_and_btrfs() {
    for (kind, bytes) in [("ext4", 64 << 20), ("xfs", 400 << 20), ("btrfs", 200 << 20)] {
        if let Some(mounted) = Mounted::image(kind, bytes) {
            every_operation(&mounted.path);
        }
    }
}

/// Where the handle does not tell the inode, the kernel is asked, and the price is said: a mount kept open.
#[test]
fn handles_that_do_not_decode_are_opened() {
    let Some(below) = Mounted::tmpfs() else { return };
    let Some(overlay) = Mounted::overlay(&below) else { return };
    let group = FanotifyGroup::arm(VOLUME, open(&overlay.path).as_fd(), Vec::new()).unwrap();
    assert!(group.holds_mount());
    let pending = Arc::new(Pending::default());
    let reader = group.start(Arc::clone(&pending)).unwrap();
    let undisturbed = undisturbed();
    fs::write(overlay.path.join("a"), "content").unwrap();
    drop(undisturbed);
    reader.barrier(soon()).unwrap();
    let labels = BTreeMap::from([(inode(&overlay.path), "D".to_owned())]);
    let got = render(&pending.take(usize::MAX), &labels);
    assert_eq!(got, ["D/a {WRITTEN, CLOSED, NAMED}"]);
}

#[test]
fn a_refusal_says_why() {
    let refused = |path: &str| {
        FanotifyGroup::arm(VOLUME, open(Path::new(path)).as_fd(), Vec::new()).map(|_| ()).unwrap_err()
    };
    let error = refused("/proc");
    assert!(!error.why.is_empty() && error.to_string().contains(&error.errno.to_string()), "{error}");
    if error.errno == Errno::PERM {
        eprintln!("SKIPPED: {error}");
        return;
    }
    assert_eq!(error.step, ArmStep::Mark);
}

#[test]
fn a_subvolume_is_refused_and_can_be_bound_at_the_top() {
    let Some(mounted) = Mounted::image("btrfs", 200 << 20) else { return };
    let subvolume = mounted.path.join("sub");
    if !ran(std::process::Command::new("btrfs").args(["subvolume", "create"]).arg(&subvolume)) {
        eprintln!("SKIPPED: cannot make a btrfs subvolume");
        return;
    }
    let error = FanotifyGroup::arm(VOLUME, open(&subvolume).as_fd(), Vec::new()).unwrap_err();
    assert_eq!((error.step, error.errno), (ArmStep::Mark, Errno::XDEV));

    let other = VolumeId(8);
    let group = FanotifyGroup::mark(open(&mounted.path).as_fd()).unwrap();
    let pending = Arc::new(Pending::default());
    let reader = group.start(Arc::clone(&pending)).unwrap();
    fs::write(mounted.path.join("early"), "").unwrap();
    reader.barrier(soon()).unwrap();
    assert!(pending.is_empty() && reader.counters().foreign > 0, "events of nobody's volume");
    // While it runs, as directories of further volumes are met.
    assert!(reader.bind_subvolume(VOLUME, open(&mounted.path).as_fd(), Vec::new()).unwrap());
    assert!(reader.bind_subvolume(other, open(&subvolume).as_fd(), Vec::new()).unwrap());
    assert_eq!(reader.volumes(), [VOLUME, other]);
    fs::write(mounted.path.join("a"), "").unwrap();
    fs::write(subvolume.join("a"), "").unwrap();
    reader.barrier(soon()).unwrap();
    let got = pending.take(usize::MAX).directories;
    let got: Vec<_> = got.iter().map(|dir| (dir.volume, dir.inode, dir.names.len())).collect();
    assert_eq!(got, [(VOLUME, 256, 1), (other, 256, 1)]);
    reader.unbind(VOLUME);
    fs::write(mounted.path.join("b"), "").unwrap();
    reader.barrier(soon()).unwrap();
    assert!(pending.is_empty(), "{:?}", pending.take(usize::MAX));
}

#[test]
fn a_hint_opens_its_directory_by_handle() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    let _ = rig.take();
    fs::write(rig.d.join("a"), "").unwrap();
    let batch = rig.take();
    let handle = batch.directories[0].handle.clone().unwrap();
    let mount = open(&mounted.path);
    let dir = open_directory(&mount, &handle).unwrap();
    assert_eq!(rustix::fs::fstat(&dir).unwrap().st_ino, inode(&rig.d));
    fs::remove_file(rig.d.join("a")).unwrap();
    fs::remove_dir(&rig.d).unwrap();
    drop(dir);
    assert_eq!(open_directory(&mount, &handle).map(|_| ()), Err(Errno::STALE));
}

fn open_directory(mount: &OwnedFd, handle: &Handle) -> Result<OwnedFd, Errno> {
    super::open(mount.as_fd(), handle)
}

/// Whatever was done before the barrier is known after it, however much others do meanwhile.
#[test]
fn a_barrier_holds_under_load() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let path = rig.e.join(format!("noise{}", turn % 100));
                fs::write(&path, "noise").unwrap();
                fs::remove_file(&path).unwrap();
                turn += 1;
            }
        });
        for turn in 0..200 {
            let name = format!("mine{turn}");
            fs::write(rig.d.join(&name), "").unwrap();
            let batch = rig.take();
            let known = batch.directories.iter().filter(|dir| dir.inode == inode(&rig.d));
            let known = known.flat_map(|dir| &dir.names).any(|(known, _)| **known == *name.as_bytes());
            if !known {
                stop.store(true, Ordering::Relaxed);
                panic!("{name} is not known after the barrier");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn more_than_a_limited_queue_is_kept() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    let _ = rig.take();
    rig.reader.pause();
    for turn in 0..20_000 {
        fs::File::create(rig.d.join(turn.to_string())).unwrap();
    }
    rig.reader.resume();
    let batch = rig.take();
    assert_eq!(batch.lost, []);
    assert_eq!(batch.directories[0].names.len(), 20_000);
}

/// The barrier counts events by this; a kernel that counted otherwise would make it wrong.
#[test]
fn the_kernel_counts_the_fixed_part_of_each_queued_event() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    let _ = rig.take();
    rig.reader.pause();
    let before = rig.reader.counters().events;
    for turn in 0..100 {
        fs::write(rig.d.join(turn.to_string()), "content").unwrap();
    }
    let queued = rustix::io::ioctl_fionread(rig.reader.queue()).unwrap();
    rig.reader.resume();
    let _ = rig.take();
    let read = rig.reader.counters().events - before;
    assert!(read >= 100);
    assert_eq!(queued, read * parse::METADATA as u64);
}

#[test]
fn a_place_is_enough_to_arm() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(&mounted.path, flags, Mode::empty()).unwrap();
    let group = match FanotifyGroup::arm(VOLUME, place.as_fd(), Vec::new()) {
        Ok(group) => group,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    assert!(!group.holds_mount());
}

#[test]
fn the_mark_lets_the_file_system_go() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let undisturbed = undisturbed();
    let Some(rig) = Rig::new(&mounted.path) else { return };
    rustix::mount::unmount(&mounted.path, rustix::mount::UnmountFlags::empty()).unwrap();
    drop(undisturbed);
    rig.reader.barrier(soon()).unwrap();
    assert_eq!(rig.reader.health(), Health::Running);
}

#[test]
fn ignored_directories_and_inodes_are_silent() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let (state, out) = (mounted.path.join("state"), mounted.path.join("out"));
    fs::create_dir(&state).unwrap();
    fs::create_dir(&out).unwrap();
    let Ok(group) = FanotifyGroup::arm(VOLUME, open(&mounted.path).as_fd(), vec![inode(&state)]) else {
        eprintln!("SKIPPED: fanotify is not to be had");
        return;
    };
    let quiet = fs::File::create(out.join("quiet")).unwrap();
    match group.ignore_inode(quiet.as_fd()) {
        Ok(()) => {}
        Err(errno) => eprintln!("SKIPPED: no ignore marks: {errno}"),
    }
    let pending = Arc::new(Pending::default());
    let reader = group.start(Arc::clone(&pending)).unwrap();
    reader.ignore_inode(quiet.as_fd()).unwrap();
    reader.barrier(soon()).unwrap();
    let _ = pending.take(usize::MAX);
    let before = reader.counters();
    let undisturbed = undisturbed();
    quiet.write_all_at(b"x", 0).unwrap();
    drop(quiet);
    reader.barrier(soon()).unwrap();
    assert_eq!(reader.counters(), before, "writes of the ignored inode");
    fs::write(state.join("db"), "content").unwrap();
    drop(undisturbed);
    reader.barrier(soon()).unwrap();
    assert!(pending.is_empty(), "writes in the ignored directory");
    assert!(reader.counters().ignored > before.ignored);
    fs::rename(state.join("db"), out.join("db")).unwrap();
    reader.barrier(soon()).unwrap();
    let labels = BTreeMap::from([(inode(&out), "O".to_owned()), (inode(&state), "S".to_owned())]);
    let got = render(&pending.take(usize::MAX), &labels);
    assert_eq!(got, ["O/db {MOVED, NAMED}"], "a rename out of it");
}

#[test]
fn nobody_waits_for_a_reader_that_is_gone() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    rig.reader.pause();
    let over = std::time::Instant::now() + Duration::from_millis(5);
    assert_eq!(rig.reader.barrier(over), Err(crate::BarrierError::TimedOut));
    rig.reader.stop();
    assert!(!rig.pending.take(usize::MAX).directories.iter().any(|dir| dir.id() == id(&rig.e)));
}
