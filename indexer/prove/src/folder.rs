//! The folder that all the work is done in: made anew, never reached through a link, and gone in the end. Refuses to know
//! what is done in it.

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstatvfs, mkdirat, openat, statvfs};
use rustix::io::Errno;

use crate::Trouble;

/// Room that the work may take at most, with some to spare, in bytes.
const ROOM: u64 = 400 << 20;
/// The same in inodes.
const INODES: u64 = 60_000;

/// A fresh folder of ours, removed with all below it on drop unless it is kept.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Device and inode: what stands at the path later may be another's.
    identity: (u64, u64),
    keep: bool,
}

impl Folder {
    /// Makes `PREFIX-XXXXXXXX` in the directory `above`, for its owner alone.
    ///
    /// # Errors
    /// [`Trouble::Usage`] where `above` is no directory, [`Trouble::Cannot`] where it cannot be written to.
    pub(crate) fn make(above: &Path, prefix: &str) -> Result<Folder, Trouble> {
        let shown = above.display();
        let above = above
            .canonicalize()
            .map_err(|error| Trouble::Usage(format!("{shown} cannot be found: {error}")))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &above, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR => Trouble::Usage(format!("{shown} is not a directory; name one")),
            errno => Trouble::Cannot(format!("failed to open {shown}: {errno}")),
        })?;
        loop {
            // Nobody else's name by chance; if by malice, mkdir refuses and another is tried.
            let name = format!("{prefix}-{:08x}", RandomState::new().build_hasher().finish() as u32);
            match mkdirat(&directory, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => {
                    return Err(Trouble::Cannot(format!("failed to make a folder in {shown}: {errno}")));
                }
            }
            let path = above.join(name);
            let stat = fs::symlink_metadata(&path)
                .map_err(Trouble::cannot(format!("look at {}", path.display())))?;
            return Ok(Folder { identity: (stat.dev(), stat.ino()), path, keep: false });
        }
    }

    /// Where it is: absolute, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub(crate) fn join(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Leaves it where it is in the end.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Whether there is room for the work.
    ///
    /// # Errors
    /// [`Trouble::Cannot`] when there is not, with how much is needed.
    pub(crate) fn has_room(&self) -> Result<(), Trouble> {
        let space = statvfs(&self.path)
            .map_err(|errno| Trouble::Cannot(format!("failed to ask for free space: {errno}")))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free < ROOM {
            return Err(Trouble::Cannot(format!(
                "{} MiB are free and {} MiB are needed",
                free >> 20,
                ROOM >> 20
            )));
        }
        // Where a file system has no table of inodes it says 0 of 0.
        if space.f_files > 0 && space.f_favail < INODES {
            return Err(Trouble::Cannot(format!(
                "{} inodes are free and {INODES} are needed",
                space.f_favail
            )));
        }
        Ok(())
    }

    /// Writes everything on its file system to the disk: blocks are then counted as they will stay.
    pub(crate) fn write_back(&self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(directory) = openat(CWD, &self.path, flags, Mode::empty()) {
            // A refusal leaves counts that move; the judgement takes them for what they are.
            let _ = rustix::fs::syncfs(&directory);
        }
    }

    fn remove(&self) -> io::Result<()> {
        let directory = openat(
            CWD,
            &self.path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = rustix::fs::fstat(&directory)?;
        if (stat.st_dev, stat.st_ino) != self.identity {
            return Err(io::Error::other("another folder stands there now"));
        }
        // It may be read-only by now, which no removal mends.
        fstatvfs(&directory)?;
        // The standard library descends by descriptors and never through a link.
        fs::remove_dir_all(&self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.remove()
        {
            eprintln!("indexer: left behind: {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn it_is_the_owners_alone_and_goes_without_following_links() {
        let above = tempfile::tempdir().unwrap();
        let precious = above.path().join("precious");
        fs::write(&precious, b"x").unwrap();
        let folder = Folder::make(above.path(), ".prove").unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        symlink(above.path(), folder.join("link")).unwrap();
        fs::create_dir_all(folder.join("a/b")).unwrap();
        let other = Folder::make(above.path(), ".prove").unwrap();
        assert_ne!(other.path(), path);
        drop(folder);
        assert!(!path.try_exists().unwrap() && precious.try_exists().unwrap());
    }

    /// Whoever moves it away and puts a link or a folder there must not lose what that leads to.
    #[test]
    fn what_took_its_place_is_left_alone() {
        let above = tempfile::tempdir().unwrap();
        let precious = above.path().join("precious");
        fs::create_dir(&precious).unwrap();
        for link in [true, false] {
            let folder = Folder::make(above.path(), "p").unwrap();
            let path = folder.path().to_owned();
            fs::remove_dir(&path).unwrap();
            if link {
                symlink(&precious, &path).unwrap();
            } else {
                fs::rename(&precious, &path).unwrap();
            }
            drop(folder);
            assert!(path.try_exists().unwrap());
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let file = above.path().join("file");
        fs::write(&file, b"").unwrap();
        for path in [file, above.path().join("none")] {
            assert!(matches!(Folder::make(&path, "p"), Err(Trouble::Usage(_))), "{}", path.display());
        }
    }
}
