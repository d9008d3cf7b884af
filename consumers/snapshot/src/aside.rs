//! What is written aside under another name, and put into place when it is whole: a file, or a folder of files. Knows nothing of
//! what is in it.
//!
//! The name aside follows from the name in place, and a lock says whether somebody is at it: so what a killed run left is found and
//! written over by the next.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, RenameFlags, flock, renameat_with};

use crate::address::Address;
use crate::error::{Doing as _, SnapshotError};

/// How a name aside ends.
const AFTER: &str = ".partial";

/// Something aside.
#[derive(Debug)]
pub(crate) struct Aside {
    place: PathBuf,
    path: PathBuf,
    /// The file itself, or the opened folder: it holds the lock.
    lock: File,
    folder: bool,
    over: bool,
    done: bool,
}

impl Aside {
    /// A file that is to be `place`; `over` what is there.
    pub(crate) fn file(place: &Path, over: bool) -> Result<Aside, SnapshotError> {
        match fs::symlink_metadata(place) {
            Ok(there) if there.is_dir() => return Err(SnapshotError::IsFolder(place.to_owned())),
            Ok(_) if !over => return Err(SnapshotError::Exists(place.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("look at", place),
        }
        let path = name_aside(place)?;
        let open = || {
            // A pipe of that name would block, a link would lead elsewhere.
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(flags.bits().cast_signed());
            options.open(&path)
        };
        let lock = locked(&path, open)?;
        lock.set_len(0).doing("empty", &path)?;
        Ok(Aside { place: place.to_owned(), path, lock, folder: false, over, done: false })
    }

    /// A folder that is to be `place`; `over` what is there, if nothing lies in it but `ours`.
    pub(crate) fn folder(place: &Path, ours: &[&str], over: bool) -> Result<Aside, SnapshotError> {
        match only(place, ours) {
            Ok(true) if over => {}
            Ok(true) => return Err(SnapshotError::Exists(place.to_owned())),
            Ok(false) => return Err(SnapshotError::Foreign(place.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("look into", place),
        }
        let above = place.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(above).doing("make the folder", above)?;
        let path = name_aside(place)?;
        let open = || {
            match fs::create_dir(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path)
        };
        let lock = locked(&path, open)?;
        recover(&old(&path), place)?;
        for left in fs::read_dir(&path).doing("look into", &path)? {
            let left = left.doing("look into", &path)?.path();
            fs::remove_file(&left).doing("remove what an earlier run left:", &left)?;
        }
        Ok(Aside { place: place.to_owned(), path, lock, folder: true, over, done: false })
    }

    /// Where it is to be.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The same, to be put elsewhere on the same file system.
    pub(crate) fn renamed(mut self, place: PathBuf) -> Aside {
        self.place = place;
        self
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle of the file.
    pub(crate) fn open(&self) -> Result<File, SnapshotError> {
        self.lock.try_clone().doing("open", &self.path)
    }

    /// Puts it into place, durably.
    pub(crate) fn commit(mut self) -> Result<(), SnapshotError> {
        let place = &self.place;
        self.lock.sync_all().doing("write", &self.path)?;
        let moved = match (self.over, self.folder) {
            (false, _) => self.rename(RenameFlags::NOREPLACE).or_else(|error| match error.kind() {
                // Not every file system knows of that; it was not there when we began.
                ErrorKind::InvalidInput | ErrorKind::Unsupported => fs::rename(&self.path, place),
                _ => Err(error),
            }),
            (true, false) => fs::rename(&self.path, place),
            (true, true) => self.replace_folder(),
        };
        match moved {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(SnapshotError::Exists(place.clone()));
            }
            moved => moved.doing("put into place", place)?,
        }
        self.done = true;
        let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(above).and_then(|above| above.sync_all());
        synced.doing("write the folder", above)
    }

    fn rename(&self, flags: RenameFlags) -> io::Result<()> {
        let cwd = rustix::fs::CWD;
        Ok(renameat_with(cwd, &self.path, cwd, &self.place, flags)?)
    }

    /// The old one comes here, and goes.
    fn replace_folder(&self) -> io::Result<()> {
        match self.rename(RenameFlags::EXCHANGE) {
            Err(error) if error.kind() == ErrorKind::NotFound => return fs::rename(&self.path, &self.place),
            // Without an exchange there is a moment with neither; both are whole.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                let old = old(&self.path);
                fs::rename(&self.place, &old)?;
                fs::rename(&self.path, &self.place)?;
                return fs::remove_dir_all(&old);
            }
            exchanged => exchanged?,
        }
        fs::remove_dir_all(&self.path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.done {
            // What is left in spite of this is written over by the next run.
            let _ = if self.folder { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
        }
    }
}

/// Puts a small file into `place`, whole or not at all; `over` what is there.
///
/// # Errors
/// As for a snapshot that is a file.
pub fn put(place: &Path, over: bool, bytes: &[u8]) -> Result<(), SnapshotError> {
    if let Some(address) = Address::of(place)? {
        return Err(SnapshotError::FilesOnly(address.to_string()));
    }
    let aside = Aside::file(place, over)?;
    aside.open()?.write_all(bytes).doing("write", place)?;
    aside.commit()
}

/// Beside the place, hidden, and of no kind that anybody reads.
fn name_aside(place: &Path) -> Result<PathBuf, SnapshotError> {
    let name = place.file_name().ok_or_else(|| SnapshotError::NoName(place.to_owned()))?;
    let mut aside = std::ffi::OsString::from(".");
    aside.push(name);
    aside.push(AFTER);
    Ok(place.with_file_name(aside))
}

/// Where what is replaced waits for its end, on file systems that cannot exchange two names.
fn old(aside: &Path) -> PathBuf {
    let mut old = aside.as_os_str().to_owned();
    old.push(".old");
    old.into()
}

/// Of a run that was killed between two names: what was to be replaced is back, or gone where the new one is in place.
fn recover(old: &Path, place: &Path) -> Result<(), SnapshotError> {
    match fs::rename(old, place) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            fs::remove_dir_all(old).doing("remove", old)
        }
        moved => moved.doing("put back", old),
    }
}

/// Opens `path` and locks it, and makes sure that it is still what bears that name: another may have put it into place meanwhile.
fn locked(path: &Path, open: impl Fn() -> io::Result<File>) -> Result<File, SnapshotError> {
    loop {
        let file = open().doing("write", path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SnapshotError::Busy(path.to_owned())),
            Err(error) => return Err(io::Error::from(error)).doing("lock", path),
        }
        let ours = file.metadata().doing("look at", path)?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("look at", path),
        }
    }
}

/// Whether nothing lies in a folder but `ours`.
fn only(folder: &Path, ours: &[&str]) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !ours.iter().any(|our| name == *our) {
            return Ok(false);
        }
    }
    Ok(true)
}
