//! The names in one directory, streamed as the kernel gives them. Looks at none of them.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use record::Kind;
use rustix::fs::{FileType, RawDir, SeekFrom, seek};
use rustix::io::Errno;

use crate::disk::EachName;

/// Bytes asked of the kernel at once: some 1,500 names of usual length.
const BUFFER: usize = 64 * 1024;

/// Room for one `getdents64`, used again for any number of listings.
pub struct ListBuffer(Box<[MaybeUninit<u8>]>);

impl Default for ListBuffer {
    fn default() -> ListBuffer {
        ListBuffer(Box::new_uninit_slice(BUFFER))
    }
}

impl ListBuffer {
    /// A new buffer of 64 KiB.
    #[must_use]
    pub fn new() -> ListBuffer {
        ListBuffer::default()
    }
}

/// Calls `each` with every name in `dir` but `.` and `..`, and with its kind where the listing tells it (a
/// hint: the name may be another's by the time it is looked at). Holds one buffer of names at a time.
///
/// # Errors
/// What `getdents64` says; names given before the error are true, but others may be missing.
pub fn list(
    dir: BorrowedFd<'_>,
    buffer: &mut ListBuffer,
    each: &mut dyn FnMut(&[u8], Option<Kind>),
) -> Result<(), Errno> {
    list_while(dir, buffer, &mut |name, kind| {
        each(name.to_bytes(), kind);
        ControlFlow::Continue(())
    })
    .map(|_finished| ())
}

/// `list` without copies, until `each` breaks. True if it went to the end.
pub(crate) fn list_while(
    dir: BorrowedFd<'_>,
    buffer: &mut ListBuffer,
    each: &mut EachName<'_>,
) -> Result<bool, Errno> {
    // btrfs fixes the end of a listing at open: a file created between open and the first getdents64 would be
    // missed, after its directory was armed. Rewinding moves the end.
    match seek(dir, SeekFrom::Start(0)) {
        // A file system that cannot rewind lists from where the descriptor is: the start, if it is new.
        Ok(_) | Err(Errno::SPIPE | Errno::INVAL | Errno::NOTSUP) => {}
        Err(error) => return Err(error),
    }
    let mut entries = RawDir::new(dir, &mut buffer.0[..]);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if each(name, kind_of(entry.file_type())).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn kind_of(kind: FileType) -> Option<Kind> {
    Some(match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::Block,
        FileType::CharacterDevice => Kind::Char,
        FileType::Unknown => return None,
    })
}
