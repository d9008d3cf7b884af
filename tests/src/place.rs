//! Somewhere to work: a file system of each sort, fresh, with a root and a state folder apart from it. Knows no test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::layers::{FuseMount, OverlayMount, SubvolumeMount, make_subvolume};
use crate::mounts::{Fs, LoopMount, TmpfsMount};
use brokers::{Skipped, is_root};

/// Large enough for XFS, and for every workload here.
const IMAGE_MIB: u64 = 600;

/// The user that unprivileged tests run as where the test itself is root; `nobody` on every Linux.
pub const NOBODY: u32 = 65_534;

/// A sort of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// ext4 in a loop device.
    Ext4,
    /// XFS likewise.
    Xfs,
    /// Btrfs likewise.
    Btrfs,
    /// A tmpfs of its own.
    Tmpfs,
    /// A btrfs subvolume by its path below the mounted top level.
    Subvolume,
    /// A btrfs subvolume mounted with `-o subvol=`, while the top level is mounted elsewhere.
    SubvolumeAndTop,
    /// A btrfs subvolume mounted with `-o subvol=`, and nothing else of its file system.
    SubvolumeAlone,
    /// overlayfs as it comes, without file handles.
    Overlay,
    /// overlayfs with `nfs_export=on,index=on`.
    OverlayWithHandles,
    /// A FUSE file system (bindfs).
    Fuse,
    /// Wherever temporary files are: needs no rights at all.
    Here,
}

/// A place made ready. Everything in it goes when it is dropped.
#[derive(Debug)]
pub struct Ground {
    // In the order of dropping: the mount before the folders.
    _mount: Mounted,
    folder: TempDir,
    root: PathBuf,
}

#[derive(Debug)]
enum Mounted {
    Loop(#[expect(dead_code, reason = "held for its drop")] LoopMount),
    Tmpfs(#[expect(dead_code, reason = "held for its drop")] TmpfsMount),
    Subvolume(#[expect(dead_code, reason = "held for its drop")] SubvolumeMount),
    Overlay(#[expect(dead_code, reason = "held for its drop")] OverlayMount),
    Fuse(#[expect(dead_code, reason = "held for its drop")] FuseMount),
    Nothing,
}

impl Place {
    /// Makes one.
    ///
    /// # Errors
    /// Where it takes root or tools that are not there.
    ///
    /// # Panics
    /// When the temporary folder cannot be written to.
    pub fn open(self) -> Result<Ground, Skipped> {
        let folder =
            tempfile::Builder::new().prefix("indexer-ground-").tempdir().expect("a temporary folder");
        // Other users have to get to what is theirs below it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = folder.path().canonicalize().expect("it was just made");
        let (mount, top) = self.mount(path)?;
        if let Some(above) = top.parent().filter(|_| self != Place::Here) {
            fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let root = top.join("root");
        fs::create_dir(&root).expect("a fresh file system takes a folder");
        Ok(Ground { _mount: mount, folder, root })
    }

    /// The mount and where to work on it; `here` when there is none.
    fn mount(self, here: PathBuf) -> Result<(Mounted, PathBuf), Skipped> {
        let on = |fs| {
            let mount = LoopMount::new(fs, IMAGE_MIB)?;
            let top = mount.path().to_owned();
            Ok((Mounted::Loop(mount), top))
        };
        match self {
            Place::Ext4 => on(Fs::Ext4),
            Place::Xfs => on(Fs::Xfs),
            Place::Btrfs => on(Fs::Btrfs),
            Place::Subvolume => {
                let (mount, top) = on(Fs::Btrfs)?;
                make_subvolume(&top.join("sub"))?;
                Ok((mount, top.join("sub")))
            }
            Place::SubvolumeAndTop | Place::SubvolumeAlone => {
                let mount = SubvolumeMount::new(IMAGE_MIB, self == Place::SubvolumeAndTop)?;
                let top = mount.path().to_owned();
                Ok((Mounted::Subvolume(mount), top))
            }
            Place::Overlay | Place::OverlayWithHandles => {
                let options = if self == Place::Overlay { "" } else { "nfs_export=on,index=on" };
                let mount = OverlayMount::new(options)?;
                let top = mount.path().to_owned();
                Ok((Mounted::Overlay(mount), top))
            }
            Place::Fuse => {
                let mount = FuseMount::new()?;
                let top = mount.path().to_owned();
                Ok((Mounted::Fuse(mount), top))
            }
            Place::Tmpfs => {
                let mount = TmpfsMount::new("mode=755")?;
                let top = mount.path().to_owned();
                Ok((Mounted::Tmpfs(mount), top))
            }
            Place::Here => Ok((Mounted::Nothing, here)),
        }
    }
}

impl Ground {
    /// The tree to watch: a folder on the file system asked for.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder beside, never watched, for states and whatever else; missing until somebody makes it.
    ///
    /// # Panics
    /// Never after [`Place::open`].
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    /// The usual state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.beside("state")
    }

    /// A program beside, of a shell's `text`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.beside(name);
        // By another process, as in `lend`.
        let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", text]).arg(&path).status();
        assert!(written.expect("every system has sh").success(), "{} cannot be written", path.display());
        path
    }

    /// Gives the root to a user without rights, and copies `program` to where that user gets at it. Without root, the user
    /// is who runs the test.
    ///
    /// # Panics
    /// When the copy cannot be made.
    #[must_use]
    pub fn lend(&self, program: &Path) -> PathBuf {
        let name = program.file_name().expect("a program has a name");
        let copy = self.beside(&name.to_string_lossy());
        if !copy.try_exists().unwrap_or(false) {
            // By another process: what this one has open for writing, a child that another test starts meanwhile holds too
            // for a moment, and what is open for writing cannot be run.
            let copied = Command::new("cp").arg(program).arg(&copy).status().expect("every system has cp");
            assert!(copied.success(), "the temporary folder has no room for {}", program.display());
        }
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        if is_root() {
            chown(&self.root, Some(NOBODY), Some(NOBODY)).expect("root may give away");
            let state = self.state();
            fs::create_dir_all(&state).expect("the temporary folder is ours");
            chown(&state, Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
        copy
    }
}
