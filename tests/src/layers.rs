//! File systems that lie on others: overlays, FUSE, btrfs subvolumes. Made, mounted, and gone when the value is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::mounts::{Fs, LoopMount, MountPoint, TmpfsMount};
use brokers::{Skipped, need_tool, run};

/// An overlay of two folders of a tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct OverlayMount {
    // In the order of dropping: the overlay before what it is of.
    point: MountPoint,
    _below: TmpfsMount,
}

impl OverlayMount {
    /// Mounts one with further `options`, such as `nfs_export=on,index=on`; without any, it has no file handles.
    ///
    /// # Errors
    /// Without root or where the kernel has no overlayfs.
    ///
    /// # Panics
    /// When the tmpfs below takes no folders.
    pub fn new(options: &str) -> Result<OverlayMount, Skipped> {
        let below = TmpfsMount::new("mode=755")?;
        let mut all = String::new();
        for (key, name) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
            let folder = below.path().join(name);
            fs::create_dir(&folder).expect("a fresh tmpfs takes a folder");
            all += &format!("{key}={},", folder.display());
        }
        all += options;
        let mut point = MountPoint::new();
        point.mount(&["-t", "overlay", "-o", all.trim_end_matches(',')], Path::new("overlay"))?;
        Ok(OverlayMount { point, _below: below })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }
}

/// An overlay whose layers lie on two file systems of one sort, so that the same numbers are used in both; unmounted on drop.
#[derive(Debug)]
pub struct TwoLayers {
    // In the order of dropping, as above.
    point: MountPoint,
    _lower: LoopMount,
    _upper: LoopMount,
}

impl TwoLayers {
    /// Mounts one with `options`, such as `xino=off`, after `fill` has put something into the lower layer.
    ///
    /// # Errors
    /// As for [`OverlayMount::new`].
    ///
    /// # Panics
    /// When a fresh file system takes no folders.
    pub fn new(options: &str, fill: impl FnOnce(&Path)) -> Result<TwoLayers, Skipped> {
        let (lower, upper) = (LoopMount::new(Fs::Ext4, 64)?, LoopMount::new(Fs::Ext4, 64)?);
        fill(lower.path());
        for name in ["upper", "work"] {
            fs::create_dir(upper.path().join(name)).expect("a fresh file system takes a folder");
        }
        let (below, above) = (lower.path().display(), upper.path().display());
        let all = format!("lowerdir={below},upperdir={above}/upper,workdir={above}/work,{options}");
        let mut point = MountPoint::new();
        point.mount(&["-t", "overlay", "-o", &all], Path::new("overlay"))?;
        Ok(TwoLayers { point, _lower: lower, _upper: upper })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }
}

/// A folder of a tmpfs seen through FUSE, unmounted on drop.
#[derive(Debug)]
pub struct FuseMount {
    // In the order of dropping, as above.
    point: MountPoint,
    below: TmpfsMount,
}

impl FuseMount {
    /// Mounts one by bindfs, which keeps no attributes.
    ///
    /// # Errors
    /// Without root, bindfs or `/dev/fuse`.
    pub fn new() -> Result<FuseMount, Skipped> {
        let below = TmpfsMount::new("mode=755")?;
        let bindfs = need_tool("bindfs", "bindfs")?;
        let mut point = MountPoint::new();
        // With a cache, the stat of a file lags behind what was done to it by another of its names.
        let uncached = "attr_timeout=0,entry_timeout=0,negative_timeout=0";
        run(&bindfs, &[&"-o", &uncached, &below.path(), &point.path]).map_err(Skipped)?;
        point.mounted = true;
        Ok(FuseMount { point, below })
    }

    /// The same files without FUSE.
    #[must_use]
    pub fn below(&self) -> &Path {
        self.below.path()
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }
}

/// A btrfs subvolume mounted by itself, with the top level mounted elsewhere or nowhere; unmounted on drop.
#[derive(Debug)]
pub struct SubvolumeMount {
    point: MountPoint,
    _top: LoopMount,
}

impl SubvolumeMount {
    /// Makes a file system of at least `size_mib` MiB with the subvolume `sub`, and mounts that with `-o subvol=`.
    ///
    /// # Errors
    /// As for [`LoopMount::new`]; without btrfs-progs.
    pub fn new(size_mib: u64, top_stays: bool) -> Result<SubvolumeMount, Skipped> {
        let mut top = LoopMount::new(Fs::Btrfs, size_mib)?;
        make_subvolume(&top.path().join("sub"))?;
        let mut point = MountPoint::new();
        // By the loop device that is there: another for the same image would be another file system.
        let device =
            source_of(top.path()).ok_or_else(|| Skipped("the mount table does not tell".to_owned()))?;
        point.mount(&["-t", "btrfs", "-o", "subvol=sub"], &device)?;
        if !top_stays {
            top.unmount();
        }
        Ok(SubvolumeMount { point, _top: top })
    }

    /// Where the subvolume is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }
}

/// Makes a btrfs subvolume at `path`.
///
/// # Errors
/// Without btrfs-progs.
pub fn make_subvolume(path: &Path) -> Result<(), Skipped> {
    let btrfs = need_tool("btrfs", "btrfs-progs")?;
    run(&btrfs, &[&"subvolume", &"create", &path]).map_err(Skipped)
}

/// The device of the mount at `path`.
fn source_of(path: &Path) -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").ok()?;
    let line =
        table.lines().find(|line| line.split(' ').nth(1).is_some_and(|point| Path::new(point) == path))?;
    line.split(' ').next().map(PathBuf::from)
}
