//! Helpers of the tests: a small index made by hand, without any disk but its own file.

use index::{Edits, Index, Reader, RootRow, Seed, SeedRoot, SeedWorker, Settings};
use reconcile::Stored as _;
use record::{EntryId, Kind, RootId, Stat, Time, Totals, VolumeId};

/// An index in a folder that goes with it.
pub(crate) struct Made {
    /// Open for writing.
    pub(crate) index: Index,
    _temp: tempfile::TempDir,
}

/// An entry of a tree to make: its path below the root, its inode, what it is, its size.
pub(crate) type Leaf<'a> = (&'a [u8], u64, Kind, u64);

/// A stat of `kind` and `size`; every time is `size` seconds, disk use the size in whole blocks of 4096.
pub(crate) fn stat(kind: Kind, size: u64, links: u32) -> Stat {
    let time = Time::from_parts(i64::try_from(size).unwrap_or(i64::MAX), 0);
    Stat {
        kind,
        mode: 0o755,
        uid: 1000,
        gid: 100,
        links,
        size,
        allocated: size.div_ceil(4096) * 4096,
        modified: time,
        changed: time,
        accessed: time,
        created: Some(Time(0)),
    }
}

fn id(inode: u64) -> EntryId {
    EntryId::new(VolumeId(1), inode)
}

/// An index of one root at `root` (inode 2) that holds `leaves`; directories before what is in them. An inode given
/// more than once has that many links.
pub(crate) fn made(root: &[u8], leaves: &[Leaf<'_>]) -> Made {
    let stats = leaves.iter().map(|&(path, inode, kind, size)| {
        let links = leaves.iter().filter(|leaf| leaf.1 == inode).count();
        (path, inode, stat(kind, size, u32::try_from(links).expect("few links")))
    });
    of_stats(root, stat(Kind::Directory, 0, 2), 2, &stats.collect::<Vec<_>>())
}

/// The same of whole stats, the root's own being `top`.
pub(crate) fn of_stats(root: &[u8], top: Stat, inode: u64, leaves: &[(&[u8], u64, Stat)]) -> Made {
    let temp = tempfile::tempdir().expect("a folder");
    let index = Index::create(&temp.path().join("index.redb"), Settings::default()).expect("an index");
    let key = index::SeedKey::default();
    let (seed, _) = Seed::begin(temp.path().join("seed"), 1 << 16, key, Time(0)).expect("a seed");
    let mut worker = seed.worker();
    let at = Time(0);
    worker.entry(RootId(1), id(inode), &top, None, at).expect("written");
    let mut directories: Vec<(Vec<u8>, EntryId, Totals)> = vec![(Vec::new(), id(inode), Totals::of(&top))];
    for (path, inode, stat) in leaves {
        let cut = path.iter().rposition(|&byte| byte == b'/');
        let (dir, name) = cut.map_or((&b""[..], *path), |cut| (&path[..cut], &path[cut + 1..]));
        let parent = directories.iter().find(|(known, ..)| *known == dir).expect("directories come first").1;
        worker.entry(RootId(1), id(*inode), stat, Some((parent, name)), at).expect("written");
        if stat.is_directory() {
            directories.push((path.to_vec(), id(*inode), Totals::default()));
        }
    }
    count(&mut worker, &mut directories, leaves);
    seed.finish(worker);
    let row = RootRow {
        id: RootId(1),
        path: root.into(),
        top: id(inode),
        seeded: None,
        rules: "{}".into(),
        verified: at,
        lost: None,
    };
    index.load(seed, vec![SeedRoot { row, seen: at }], Edits::default()).expect("loaded");
    Made { index, _temp: temp }
}

/// Adds each entry to every directory above it, as the walk of a seed does.
fn count(
    worker: &mut SeedWorker,
    directories: &mut [(Vec<u8>, EntryId, Totals)],
    leaves: &[(&[u8], u64, Stat)],
) {
    for (path, _, stat) in leaves {
        if !SeedWorker::counts(stat) {
            continue;
        }
        let own = Totals::of(stat);
        for (dir, _, totals) in &mut *directories {
            let below =
                dir.is_empty() || path.strip_prefix(&dir[..]).is_some_and(|rest| rest.starts_with(b"/"));
            if below || *path == dir.as_slice() {
                totals.add(&own);
            }
        }
    }
    for (_, id, totals) in &*directories {
        worker.totals(*id, totals).expect("written");
    }
}

impl Made {
    /// A view of it, which must agree with itself.
    pub(crate) fn reader(&self) -> Reader {
        let reader = self.index.read().expect("readable");
        let check = reader.check().expect("checked");
        assert_eq!(check.count, 0, "{:?}", check.faults);
        assert!(reader.totals(reader.roots().expect("roots")[0].top).expect("totals").is_some());
        reader
    }
}
