//! The portable tier on this system: its events become hints at the right place, and it keeps to its share.

use super::*;
use crate::Woken;
use crate::testing::{VOLUME, inode};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A tier over a folder, and the names that hints were about so far.
struct Rig {
    tier: PortableTier,
    pending: Arc<Pending>,
    folder: tempfile::TempDir,
    seen: BTreeMap<String, Flags>,
}

impl Rig {
    /// The directory and what is called `known` in it can be resolved; nothing else can.
    fn new(share: usize) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir(top.join("known")).unwrap();
        let pending = Arc::new(Pending::default());
        let places: Vec<PathBuf> = vec![top.clone(), top.join("known")];
        let resolve = move |path: &Path| {
            places.iter().any(|place| place == path).then(|| EntryId::new(VOLUME, inode(path)))
        };
        let tier = PortableTier::new(Arc::clone(&pending), Box::new(resolve), share).unwrap();
        Rig { tier, pending, folder, seen: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Waits until there was a hint of `what` with all of `flags`.
    fn wait(&mut self, what: &str, flags: Flags) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.seen.get(what).is_some_and(|known| known.has(flags)) {
            assert!(Instant::now() < deadline, "no hint of {what}, only {:?}", self.seen);
            if self.pending.wait(Some(Duration::from_secs(1))) != Woken::Hints {
                continue;
            }
            let batch = self.pending.take(usize::MAX);
            assert!(batch.lost.is_empty(), "{batch:?}");
            for dir in &batch.directories {
                assert_eq!(dir.how, How::Notify);
                for (name, flags) in &dir.names {
                    let name = format!("{}/{}", dir.inode, String::from_utf8_lossy(name));
                    *self.seen.entry(name).or_default() |= *flags;
                }
            }
            for listing in &batch.listings {
                self.seen.insert(format!("{}/", listing.inode), Flags::NONE);
            }
        }
    }
}

#[test]
fn events_become_hints_of_names() {
    let mut rig = Rig::new(9);
    let (top, known) = (rig.folder.path().canonicalize().unwrap(), rig.path("known"));
    rig.tier.add(&top).unwrap();
    rig.tier.add(&known).unwrap();
    rig.tier.add(&known).unwrap();
    let (at_top, in_known) = (inode(&top), inode(&known));
    fs::write(known.join("file"), b"content").unwrap();
    rig.wait(&format!("{in_known}/file"), Flags::NAMED);
    fs::rename(known.join("file"), top.join("moved")).unwrap();
    rig.wait(&format!("{at_top}/moved"), Flags::NAMED);
    fs::create_dir(top.join("unknown")).unwrap();
    rig.wait(&format!("{at_top}/unknown"), Flags::NAMED);
    // What lies in a directory that nobody knows of yet is a hint at the nearest that is known.
    rig.tier.add(&top.join("unknown")).unwrap();
    fs::write(top.join("unknown/file"), b"").unwrap();
    rig.wait(&format!("{at_top}/"), Flags::NONE);
    assert!(rig.tier.counters().events > 4);
}

#[test]
fn the_share_is_kept_and_given_back() {
    let mut rig = Rig::new(1);
    let (top, known) = (rig.folder.path().canonicalize().unwrap(), rig.path("known"));
    if RecommendedWatcher::kind() != WatcherKind::Inotify {
        eprintln!("SKIPPED: one watch covers a tree here");
        return;
    }
    rig.tier.add(&known).unwrap();
    assert!(matches!(rig.tier.add(&top), Err(PortableError::Limit)));
    assert_eq!(rig.tier.len(), 1);
    fs::remove_dir(&known).unwrap();
    rig.wait(&format!("{}/known", inode(&top)), Flags::NAMED);
    rig.tier.add(&top).unwrap();
    assert!(rig.tier.add(&top.join("nothing here")).is_err());
}
