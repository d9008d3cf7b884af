//! Opens directories by descriptor and names, at any depth and length, and never through a symbolic link
//! below a root. Knows no scope and no stored row.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use record::Kind;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::look::{Look, look};

/// Longest path given to the kernel at once, in bytes; `PATH_MAX` is 4096 with the NUL.
const CHUNK: usize = 4000;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `O_NOATIME` is for the owner of a directory only; once refused it is not asked for again.
static NOATIME_REFUSED: AtomicBool = AtomicBool::new(false);
/// `openat2` came with Linux 5.6, and old seccomp filters do not know it.
static OPENAT2_REFUSED: AtomicBool = AtomicBool::new(false);

/// Opens the directory at `path`, however long. Its last component must not be a symbolic link.
///
/// # Errors
/// What `openat` says: `ELOOP` or `ENOTDIR` for a symbolic link, `ENOTDIR` for anything else that is no directory.
pub fn open_root(path: &[u8]) -> Result<OwnedFd, Errno> {
    if path.len() < CHUNK {
        return open_dir_at(CWD, path);
    }
    let start = if path.starts_with(b"/") { &b"/"[..] } else { b"." };
    let mut at = openat(CWD, start, OFlags::PATH | DIRECTORY, Mode::empty())?;
    let components: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    let Some((last, above)) = components.split_last() else { return open_dir_at(at.as_fd(), c".") };
    for chunk in Chunks(above) {
        at = openat(&at, chunk, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    }
    open_dir_at(at.as_fd(), *last)
}

/// Opens the directory called `name` in `parent`, leaving its access time alone where that is allowed.
///
/// # Errors
/// What `openat` says.
pub fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_dir_at(parent, name)
}

/// Opens the regular file called `name` in `parent` for reading, not through a symbolic link, leaving its access time alone
/// where that is allowed. What is no regular file is not opened, since that alone may do something.
///
/// # Errors
/// What `statx` or `openat` says; `EINVAL` for what is no regular file.
pub fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match look(parent, name) {
        Look::Present(seen) if seen.stat.kind == Kind::File => {}
        Look::Present(_) => return Err(Errno::INVAL),
        Look::Absent => return Err(Errno::NOENT),
        Look::Failed(error) => return Err(error),
    }
    // Whatever it is by now: nothing is waited for, and no terminal becomes ours.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for that, and each file may have another.
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Opens the regular file `name` in the directory at the absolute path `dir`, through whatever symbolic links lead there.
///
/// # Errors
/// As [`open_file`], and what opening the directory says.
pub fn open_file_through(dir: &[u8], name: &[u8]) -> Result<OwnedFd, Errno> {
    let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // The last link too: what it leads to is asked for.
    let file = openat(&dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    match crate::look::look_self(file.as_fd())?.stat.kind {
        Kind::File => openat(&dir, name, OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty()),
        _ => Err(Errno::INVAL),
    }
}

/// Opens the directory `components` below `root`, however deep, never through a symbolic link.
/// No components means `root` itself, opened anew.
///
/// # Errors
/// What `openat2` says: `ELOOP` where a component is a symbolic link (`ENOTDIR` without `openat2`).
pub fn open_below(root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
    match components {
        [] => return open_dir_at(root, c"."),
        [name] => return open_dir_at(root, *name),
        _ => {}
    }
    if !OPENAT2_REFUSED.load(Ordering::Relaxed) {
        match open_chunks(root, components) {
            // EPERM without O_NOATIME: a seccomp filter; no file system says so of a plain open for reading.
            Err(Errno::NOSYS | Errno::PERM) => OPENAT2_REFUSED.store(true, Ordering::Relaxed),
            result => return result,
        }
    }
    open_one_by_one(root, components)
}

fn open_chunks(root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut at: Option<OwnedFd> = None;
    let mut chunks = Chunks(components).peekable();
    while let Some(chunk) = chunks.next() {
        let dir = at.as_ref().map_or(root, |fd| fd.as_fd());
        let flags = if chunks.peek().is_some() { OFlags::PATH | DIRECTORY } else { DIRECTORY };
        at = Some(patiently(flags, |flags| openat2(dir, &*chunk, flags, Mode::empty(), resolve))?);
    }
    at.ok_or(Errno::INVAL)
}

fn open_one_by_one(root: BorrowedFd<'_>, components: &[&[u8]]) -> Result<OwnedFd, Errno> {
    let Some((last, above)) = components.split_last() else { return open_dir_at(root, c".") };
    let mut at: Option<OwnedFd> = None;
    for name in above {
        let dir = at.as_ref().map_or(root, |fd| fd.as_fd());
        at = Some(openat(dir, *name, OFlags::PATH | DIRECTORY, Mode::empty())?);
    }
    open_dir_at(at.as_ref().map_or(root, |fd| fd.as_fd()), *last)
}

pub(crate) fn open_dir_at(parent: BorrowedFd<'_>, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    patiently(DIRECTORY, |flags| openat(parent, name, flags, Mode::empty()))
}

/// Asks with `O_NOATIME` first, unless it was refused before.
fn patiently(flags: OFlags, open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    if flags.contains(OFlags::PATH) || NOATIME_REFUSED.load(Ordering::Relaxed) {
        return open(flags);
    }
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => {
            let opened = open(flags)?;
            NOATIME_REFUSED.store(true, Ordering::Relaxed);
            Ok(opened)
        }
        result => result,
    }
}

/// Components joined by `/` into paths shorter than `CHUNK`.
struct Chunks<'a>(&'a [&'a [u8]]);

impl Iterator for Chunks<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (first, mut rest) = self.0.split_first()?;
        let mut joined = first.to_vec();
        while let Some((name, after)) = rest.split_first() {
            if joined.len() + 1 + name.len() >= CHUNK {
                break;
            }
            joined.push(b'/');
            joined.extend_from_slice(name);
            rest = after;
        }
        self.0 = rest;
        Some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_all_components_and_stay_short() {
        let name = vec![b'n'; 255];
        let components = vec![&name[..]; 100];
        let chunks: Vec<Vec<u8>> = Chunks(&components).collect();
        assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK));
        assert_eq!(chunks.join(&b'/'), components.join(&b'/'));
    }

    #[test]
    fn both_ways_open_below_agree_and_refuse_symlinks() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("a", temp.path().join("link")).unwrap();
        let root = open_root(temp.path().as_os_str().as_encoded_bytes()).unwrap();
        for open in [open_chunks, open_one_by_one] {
            assert!(open(root.as_fd(), &[b"a", b"b", b"c"]).is_ok());
            assert!(open(root.as_fd(), &[b"link", b"b", b"c"]).is_err());
            assert_eq!(open(root.as_fd(), &[b"a", b"x", b"c"]).unwrap_err(), Errno::NOENT);
        }
        assert!(open_root(temp.path().join("link").as_os_str().as_encoded_bytes()).is_err());
    }
}
