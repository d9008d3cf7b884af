//! Marks on single directories on the real kernel: what each operation hints at, marks that end, refusals.

use super::*;
use crate::testing::{Mounted, VOLUME, id, inode, open, ran, render, soon, undisturbed};
use crate::{FanotifyGroup, Health};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Marked directories `d` and `e`, and one without a mark, `u`.
struct Rig {
    pending: Arc<Pending>,
    tier: FanotifyDirectories,
    share: Arc<MarkShare>,
    d: PathBuf,
    e: PathBuf,
    u: PathBuf,
    labels: BTreeMap<u64, String>,
}

impl Rig {
    fn new(root: &Path) -> Option<Rig> {
        let pending = Arc::new(Pending::default());
        let share = Arc::new(MarkShare::new(100));
        let made =
            FanotifyDirectories::new(VOLUME, open(root).as_fd(), Arc::clone(&share), Arc::clone(&pending));
        let tier = match made {
            Ok(tier) => tier,
            Err(error) if error.errno == Errno::XDEV || error.errno == Errno::INVAL => {
                eprintln!("SKIPPED: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let [d, e, u] = ["d", "e", "u"].map(|name| root.join(name));
        for dir in [&d, &e, &u] {
            fs::create_dir(dir).unwrap();
        }
        tier.add(id(&d), open(&d).as_fd()).unwrap();
        tier.add(id(&e), open(&e).as_fd()).unwrap();
        let labels = BTreeMap::from([(inode(&d), "D".to_owned()), (inode(&e), "E".to_owned())]);
        Some(Rig { pending, tier, share, d, e, u, labels })
    }

    /// What `operation` alone hints at.
    fn hints(&self, operation: impl FnOnce()) -> Vec<String> {
        self.tier.barrier(soon()).unwrap();
        let _ = self.pending.take(usize::MAX);
        let undisturbed = undisturbed();
        operation();
        drop(undisturbed);
        self.tier.barrier(soon()).unwrap();
        render(&self.pending.take(usize::MAX), &self.labels)
    }

    fn label(&mut self, path: &Path, label: &str) {
        self.labels.insert(inode(path), label.to_owned());
    }
}

fn every_operation(root: &Path) {
    let Some(mut rig) = Rig::new(root) else { return };
    let (d, e, u) = (rig.d.clone(), rig.e.clone(), rig.u.clone());
    let got = rig.hints(|| fs::write(d.join("f"), "content").unwrap());
    assert_eq!(got, ["D/f {WRITTEN, CLOSED, NAMED}"], "create, write, close");
    rig.label(&d.join("f"), "f");
    let file = fs::OpenOptions::new().write(true).open(d.join("f")).unwrap();
    let got = rig.hints(|| file.write_all_at(b"x", 0).unwrap());
    assert_eq!(got, ["D/f {WRITTEN}", "inode f {WRITTEN}"], "write");
    let chmod = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(rig.hints(|| chmod(&d.join("f"))), ["D/f {META}", "inode f {META}"], "chmod");
    assert_eq!(rig.hints(|| chmod(&d)), ["inode D {META}"], "chmod of a marked directory");

    let got = rig.hints(|| fs::hard_link(d.join("f"), e.join("g")).unwrap());
    assert_eq!(got, ["E/g {NAMED}", "inode f {META}"], "link");
    let got = rig.hints(|| {
        fs::hard_link(d.join("f"), d.join("transient")).unwrap();
        fs::remove_file(d.join("transient")).unwrap();
    });
    assert_eq!(got, ["D/transient {NAMED}", "inode f {META}"], "a link that is gone when it is looked for");
    // What inotify cannot tell: whose name that was.
    fs::remove_file(d.join("f")).unwrap();
    let got = rig.hints(|| file.write_all_at(b"y", 0).unwrap());
    assert!(got.contains(&"inode f {WRITTEN}".to_owned()), "write by a name that went: {got:?}");
    drop(file);

    let got = rig.hints(|| fs::rename(e.join("g"), d.join("h")).unwrap());
    assert_eq!(got, ["D/h {MOVED, NAMED}", "E/g {MOVED, NAMED}", "inode f {MOVED, NAMED}"], "rename");
    let got = rig.hints(|| fs::rename(d.join("h"), u.join("h")).unwrap());
    assert_eq!(got, ["D/h {MOVED, NAMED}", "inode f {MOVED, NAMED}"], "rename out of what is marked");
    assert_eq!(rig.hints(|| fs::write(u.join("h"), "z").unwrap()), [""; 0], "write where no mark is");
    let got = rig.hints(|| fs::rename(u.join("h"), e.join("g")).unwrap());
    assert_eq!(got, ["E/g {MOVED, NAMED}", "inode f {MOVED, NAMED}"], "rename into what is marked");

    let got = rig.hints(|| fs::rename(&d, u.join("d")).unwrap());
    assert_eq!(got, ["inode D {META}"], "rename of a marked directory whose parent is not");
    fs::rename(u.join("d"), &d).unwrap();
    temporary(&mut rig);

    let got = rig.hints(|| fs::remove_dir_all(&d).unwrap());
    assert!(got.contains(&"inode D {META}".to_owned()), "rmdir of a marked directory: {got:?}");
    assert_eq!((rig.tier.len(), rig.share.used()), (1, 1), "its mark ended with it");
    let counters = rig.tier.counters();
    assert_eq!((counters.malformed, counters.overflows, counters.foreign), (0, 0, 0));
    assert_eq!(rig.tier.health(), Health::Running);
}

/// A file that has no name when it is written, and another one than the events say after.
fn temporary(rig: &mut Rig) {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(&rig.d, flags, Mode::RUSR | Mode::WUSR) else {
        return eprintln!("SKIPPED: no O_TMPFILE in {}", rig.d.display());
    };
    rig.labels.insert(rustix::fs::fstat(&file).unwrap().st_ino, "t".to_owned());
    let path = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&file));
    rustix::fs::linkat(CWD, &*path, CWD, rig.d.join("t"), AtFlags::SYMLINK_FOLLOW).unwrap();
    let got = rig.hints(|| assert_eq!(rustix::io::write(&file, b"x"), Ok(1)));
    assert_eq!(got, ["inode t {WRITTEN}"], "write to what had no name");
}

#[test]
fn every_operation_hints_on_tmpfs() {
    if let Some(mounted) = Mounted::tmpfs() {
        every_operation(&mounted.path);
    }
}

#[test]
fn every_operation_hints_on_ext4_xfs_and_btrfs() {
    for (kind, bytes) in [("ext4", 64 << 20), ("xfs", 400 << 20), ("btrfs", 200 << 20)] {
        if let Some(mounted) = Mounted::image(kind, bytes) {
            every_operation(&mounted.path);
        }
    }
}

#[test]
fn every_operation_hints_in_a_subvolume() {
    let Some(mounted) = Mounted::image("btrfs", 200 << 20) else { return };
    let subvolume = mounted.path.join("sub");
    if !ran(Command::new("btrfs").args(["subvolume", "create"]).arg(&subvolume)) {
        return eprintln!("SKIPPED: cannot make a btrfs subvolume");
    }
    every_operation(&subvolume);
}

#[test]
fn the_share_is_kept_to_and_given_back() {
    let Some(mounted) = Mounted::tmpfs() else { return };
    let pending = Arc::new(Pending::default());
    let share = Arc::new(MarkShare::new(2));
    let dirs = ["a", "b", "c"].map(|name| mounted.path.join(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    let root = open(&mounted.path);
    let tier = FanotifyDirectories::new(VOLUME, root.as_fd(), Arc::clone(&share), pending).unwrap();
    let add = |dir: &Path| tier.add(id(dir), open(dir).as_fd());
    assert_eq!([add(&dirs[0]), add(&dirs[1]), add(&dirs[0])], [Ok(()); 3]);
    assert_eq!(add(&dirs[2]), Err(AddError::Limit(Shortage::Share)));
    assert!(tier.watched(id(&dirs[0])) && !tier.watched(id(&dirs[2])));
    tier.remove(id(&dirs[0]), open(&dirs[0]).as_fd());
    assert_eq!((add(&dirs[2]), tier.len(), share.used()), (Ok(()), 2, 2));
    drop(tier);
    assert_eq!(share.used(), 0);
}

/// A number that is used again is another directory: its mark must not end with the end of the one before.
#[test]
fn a_directory_under_a_used_number_has_its_own_mark() {
    let Some(mounted) = Mounted::image("ext4", 64 << 20) else { return };
    let Some(rig) = Rig::new(&mounted.path) else { return };
    let dir = mounted.path.join("first");
    fs::create_dir(&dir).unwrap();
    rig.tier.add(id(&dir), open(&dir).as_fd()).unwrap();
    let before = inode(&dir);
    rig.tier.pause();
    fs::remove_dir(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    assert_eq!(inode(&dir), before, "ext4 uses a number again at once");
    rig.tier.add(id(&dir), open(&dir).as_fd()).unwrap();
    rig.tier.resume();
    rig.tier.barrier(soon()).unwrap();
    assert!(rig.tier.watched(id(&dir)));
    assert_eq!((rig.tier.len(), rig.share.used()), (3, 3));
    let _ = rig.pending.take(usize::MAX);
    fs::write(dir.join("a"), "").unwrap();
    rig.tier.barrier(soon()).unwrap();
    let batch = rig.pending.take(usize::MAX);
    assert!(batch.directories.iter().any(|hints| hints.id() == id(&dir)), "{batch:?}");
}

/// The kernel would mark these, and its events would name files that cannot be told: whoever opens a file by a name that
/// goes then writes unseen, where inotify at least has the name.
#[test]
fn handles_that_tell_no_inode_are_refused() {
    let refused = |path: &Path| {
        let (share, pending) = (Arc::new(MarkShare::new(9)), Arc::new(Pending::default()));
        FanotifyDirectories::new(VOLUME, open(path).as_fd(), share, pending).map(|_| ()).unwrap_err()
    };
    let Some(below) = Mounted::tmpfs() else { return };
    if let Some(overlay) = Mounted::plain_overlay(&below) {
        assert!(FanotifyGroup::arm(VOLUME, open(&overlay.path).as_fd(), Vec::new()).is_err());
        let error = refused(&overlay.path);
        assert_eq!((error.step, error.errno), (ArmStep::Handle, Errno::OPNOTSUPP), "{error}");
    }
    if let Some(overlay) = Mounted::tmpfs().as_ref().and_then(Mounted::overlay) {
        let error = refused(&overlay.path);
        assert_eq!((error.step, error.errno), (ArmStep::Verify, Errno::BADMSG), "{error}");
    }
    let Some(fuse) = Mounted::bindfs(&below) else { return };
    assert!(FanotifyGroup::arm(VOLUME, open(&fuse.path).as_fd(), Vec::new()).is_err());
    let error = refused(&fuse.path);
    assert_eq!((error.step, error.errno), (ArmStep::Verify, Errno::NODEV), "{error}");
    // One file by two names: one inode, and two handles.
    let (one, two) = (fuse.path.join("one"), fuse.path.join("two"));
    fs::write(&one, "").unwrap();
    fs::hard_link(&one, &two).unwrap();
    assert_eq!(inode(&one), inode(&two));
    let handles = [&one, &two].map(|path| sys::handle_of(open(path)).unwrap());
    assert_ne!(handles[0], handles[1], "then handles would do");
}

#[test]
fn an_overflow_leaves_no_mark_sure() {
    let share = Arc::new(MarkShare::new(3));
    let mut marks = Marks::new(Arc::clone(&share));
    let handle = |inode: u32| crate::Handle::new(1, &[inode, 7].map(u32::to_ne_bytes).concat());
    for inode in [12, 13] {
        assert!(marks.reserve(u64::from(inode)));
        marks.insert(u64::from(inode), handle(inode));
    }
    let overflow = super::super::parse::Event { mask: libc::FAN_Q_OVERFLOW, ..Default::default() };
    marks.note(&overflow);
    assert!(!marks.sure(12) && !marks.sure(13));
    assert_eq!(marks.len(), 2);
    // The sweep finds 12 alone.
    marks.insert(12, handle(12));
    assert!(marks.sure(12));
    marks.note(&overflow);
    assert_eq!((marks.len(), share.used()), (1, 1), "13 was confirmed by no sweep");
}
