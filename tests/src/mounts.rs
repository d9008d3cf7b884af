//! File systems to spoil: made in a temporary folder, mounted, and gone when the value is. Knows nothing of what tests do there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use brokers::{Skipped, need_root, need_tool, run};

/// For so long who looks at a mount may hold it.
const MOMENT: Duration = Duration::from_secs(5);

/// A sort of file system that lives on a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fs {
    /// ext4, with birth times and generations.
    Ext4,
    /// XFS; images are at least 300 MiB.
    Xfs,
    /// Btrfs at its top-level subvolume; images are at least 128 MiB.
    Btrfs,
}

impl Fs {
    /// All of them.
    pub const ALL: [Fs; 3] = [Fs::Ext4, Fs::Xfs, Fs::Btrfs];

    /// What `mount -t` calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Fs::Ext4 => "ext4",
            Fs::Xfs => "xfs",
            Fs::Btrfs => "btrfs",
        }
    }

    /// Program, Debian package, options, and the least size in MiB that the program accepts.
    fn maker(self) -> (&'static str, &'static str, &'static [&'static str], u64) {
        match self {
            Fs::Ext4 => ("mkfs.ext4", "e2fsprogs", &["-q", "-F", "-m", "0", "-i", "4096"], 8),
            Fs::Xfs => ("mkfs.xfs", "xfsprogs", &["-q", "-f"], 300),
            Fs::Btrfs => ("mkfs.btrfs", "btrfs-progs", &["-q", "-f"], 128),
        }
    }
}

/// A file system in a loop device, unmounted and gone on drop.
#[derive(Debug)]
pub struct LoopMount {
    point: MountPoint,
    fs: Fs,
}

impl LoopMount {
    /// Makes and mounts one of at least `size_mib` MiB (sparse: it takes no room until written to).
    ///
    /// # Errors
    /// Without root, without the tools, or where loop devices cannot be had (a container).
    ///
    /// # Panics
    /// When the file system cannot be made, which is a mistake and no lack.
    pub fn new(fs: Fs, size_mib: u64) -> Result<LoopMount, Skipped> {
        need_root(&format!("a loop mount of {}", fs.word()))?;
        let (program, package, options, least_mib) = fs.maker();
        let mkfs = need_tool(program, package)?;
        let point = MountPoint::new();
        let image = point.image();
        let made = File::create_new(&image).and_then(|file| file.set_len(size_mib.max(least_mib) << 20));
        made.expect("the temporary folder takes a sparse file");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        for option in options {
            arguments.push(option);
        }
        arguments.push(&image);
        run(&mkfs, &arguments).expect("the image takes the file system");
        let mut mounted = LoopMount { point, fs };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point.path
    }

    /// Its image, for damage from below.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.point.image()
    }

    /// Mounts it again after [`LoopMount::unmount`].
    ///
    /// # Errors
    /// What mount(8) said.
    pub fn mount(&mut self) -> Result<(), Skipped> {
        // `-o loop` gives the loop device back at the unmount, even if that is not ours to see.
        self.point.mount(&["-t", self.fs.word(), "-o", "loop"], &self.point.image())
    }

    /// Unmounts it once nobody holds it; the image stays.
    pub fn unmount(&mut self) {
        crate::wait_for("the mount to be let go", || self.try_unmount().ok());
    }

    /// `unmount`, by who must not be kept from it.
    ///
    /// # Panics
    /// When it stays busy: who looks at it holds it for a moment, and no longer.
    pub fn unmount_soon(&mut self) {
        let until = Instant::now() + MOMENT;
        while let Err(why) = self.try_unmount() {
            assert!(Instant::now() < until, "somebody holds the mount: {why}");
        }
    }

    /// `unmount`, once.
    ///
    /// # Errors
    /// What umount(8) said.
    pub fn try_unmount(&mut self) -> Result<(), String> {
        self.point.unmount(&[])
    }

    /// Ends XFS below its users, as a device that is pulled out does: from now on all fails with EIO, until it is mounted anew.
    ///
    /// # Errors
    /// Without `xfs_io`.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn shut_down(&self) -> Result<(), Skipped> {
        let xfs_io = need_tool("xfs_io", "xfsprogs")?;
        run(&xfs_io, &[&"-x", &"-c", &"shutdown", &self.path()]).expect("a mounted XFS can be shut down");
        Ok(())
    }

    /// Unmounts it as soon as nobody is looking at it, and mounts it again.
    ///
    /// # Panics
    /// When it stays busy, or does not come back.
    pub fn remount(&mut self) {
        crate::wait_for("the mount to be let go", || self.point.unmount(&[]).ok());
        self.mount().expect("it was mounted before");
    }
}

/// A tmpfs, unmounted on drop.
#[derive(Debug)]
pub struct TmpfsMount(MountPoint);

impl TmpfsMount {
    /// Mounts one with `options` of tmpfs(5), such as `size=16m,nr_inodes=1000`.
    ///
    /// # Errors
    /// Without root or where mounts are forbidden.
    pub fn new(options: &str) -> Result<TmpfsMount, Skipped> {
        need_root("a tmpfs mount")?;
        let mut point = MountPoint::new();
        let options = if options.is_empty() { "mode=755" } else { options };
        point.mount(&["-t", "tmpfs", "-o", options], Path::new("tmpfs"))?;
        Ok(TmpfsMount(point))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// A folder in a temporary folder, with or without something mounted on it.
#[derive(Debug)]
pub(crate) struct MountPoint {
    folder: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) mounted: bool,
}

impl MountPoint {
    pub(crate) fn new() -> MountPoint {
        let folder = tempfile::Builder::new().prefix("indexer-mount-").tempdir().expect("a temporary folder");
        // Resolved, since the index names entries by the path without symbolic links.
        let path = folder.path().canonicalize().expect("it was just made").join("mnt");
        fs::create_dir(&path).expect("the temporary folder is ours");
        MountPoint { folder, path, mounted: false }
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn mount(&mut self, options: &[&str], source: &Path) -> Result<(), Skipped> {
        let mount = need_tool("mount", "mount")?;
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        for option in options {
            arguments.push(option);
        }
        arguments.push(&source);
        arguments.push(&self.path);
        run(&mount, &arguments).map_err(Skipped)?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self, options: &[&str]) -> Result<(), String> {
        if !self.mounted {
            return Ok(());
        }
        let umount = need_tool("umount", "mount").map_err(|skipped| skipped.0)?;
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        for option in options {
            arguments.push(option);
        }
        arguments.push(&self.path);
        run(&umount, &arguments)?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // Before the temporary folder goes: removing it must not descend into a live file system.
        let Err(busy) = self.unmount(&[]) else { return };
        // A failed test may have left a process in there; detach it from the tree, the kernel ends it with its last user.
        if let Err(error) = self.unmount(&["--lazy"]) {
            eprintln!("left mounted: {}: {busy}; {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file system can be written to, comes back after a remount, and leaves no mount behind.
    #[test]
    fn loop_mounts_come_and_go() {
        for fs in Fs::ALL {
            let mut mount = match LoopMount::new(fs, 64) {
                Ok(mount) => mount,
                Err(reason) => {
                    crate::skipped(reason);
                    continue;
                }
            };
            let path = mount.path().to_owned();
            fs::write(path.join("file"), b"here").expect("a fresh file system takes a file");
            mount.unmount();
            assert!(!path.join("file").try_exists().expect("the folder is readable"));
            mount.mount().expect("it was mounted before");
            assert_eq!(fs::read(path.join("file")).expect("the file is back"), b"here");
            drop(mount);
            assert!(!path.try_exists().expect("its parent is readable"), "{} left behind", path.display());
        }
    }

    #[test]
    fn a_tmpfs_has_the_limits_asked_for() {
        let mount = match TmpfsMount::new("size=1m,nr_inodes=8") {
            Ok(mount) => mount,
            Err(reason) => return crate::skipped(reason),
        };
        let made = (0..20).take_while(|n| fs::write(mount.path().join(n.to_string()), b"").is_ok()).count();
        assert!((1..8).contains(&made), "{made} files in 8 inodes");
    }
}
