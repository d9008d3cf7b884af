//! The system calls of fanotify and file handles, by hand over libc. Decides nothing; the only unsafe code here.
#![expect(unsafe_code, reason = "neither std nor rustix offers these system calls")]

use crate::Handle;
use libc::{c_int, c_uint};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CStr;

/// Longest `f_handle` the kernel makes (MAX_HANDLE_SZ of `linux/exportfs.h`).
const MAX_HANDLE: usize = 128;

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct FileHandle {
    handle_bytes: c_uint,
    handle_type: c_int,
    f_handle: [u8; MAX_HANDLE],
}

/// What every group asks for: directory handle and name, and the object's own handle, also for create, delete
/// and rename. Notifications only, no descriptors in the events.
const GROUP: c_uint =
    libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | libc::FAN_REPORT_DFID_NAME_TARGET;

/// A new group, with or without a bound on its queue; none takes CAP_SYS_ADMIN.
pub(super) fn init(unlimited_queue: bool) -> Result<OwnedFd, Errno> {
    let group = if unlimited_queue { GROUP | libc::FAN_UNLIMITED_QUEUE } else { GROUP };
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE).cast_unsigned();
    // SAFETY: takes two integers and returns a new descriptor or -1.
    let fd = check(unsafe { libc::fanotify_init(group, flags) })?;
    // SAFETY: the kernel just made it and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Changes a mark of the group. The object is `path` seen from `dir`, or what `dir` is open on when there is none.
pub(super) fn mark(
    group: BorrowedFd<'_>,
    flags: c_uint,
    mask: u64,
    dir: BorrowedFd<'_>,
    path: Option<&CStr>,
) -> Result<(), Errno> {
    let path = path.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: both descriptors are open for the call, and the path is null or ends in NUL and outlives the call.
    check(unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, mask, dir.as_raw_fd(), path) })?;
    Ok(())
}

/// The handle of what `fd` is open on; O_PATH will do.
pub(super) fn handle_of(fd: impl AsFd) -> Result<Handle, Errno> {
    let mut handle =
        FileHandle { handle_bytes: MAX_HANDLE as c_uint, handle_type: 0, f_handle: [0; MAX_HANDLE] };
    let mut mount_id: c_int = 0;
    // SAFETY: the handle has the room it claims, the path ends in NUL, and all pointers outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            libc::AT_EMPTY_PATH,
        )
    };
    check(c_int::try_from(done).unwrap_or(-1))?;
    let bytes = handle.f_handle.get(..handle.handle_bytes as usize).ok_or(Errno::OVERFLOW)?;
    Ok(Handle::new(handle.handle_type, bytes))
}

/// Opens the directory behind `handle` for reading.
pub(super) fn open_directory(mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
    open_by_handle(mount, handle, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW)
}

/// Opens whatever is behind `handle`, as a place only (O_PATH): no device or pipe is touched.
pub(super) fn open_place(mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
    open_by_handle(mount, handle, libc::O_PATH | libc::O_NOFOLLOW)
}

fn open_by_handle(mount: BorrowedFd<'_>, handle: &Handle, flags: c_int) -> Result<OwnedFd, Errno> {
    let bytes = handle.bytes();
    let mut raw = FileHandle {
        handle_bytes: c_uint::try_from(bytes.len()).map_err(|_| Errno::INVAL)?,
        handle_type: handle.kind(),
        f_handle: [0; MAX_HANDLE],
    };
    raw.f_handle.get_mut(..bytes.len()).ok_or(Errno::INVAL)?.copy_from_slice(bytes);
    // SAFETY: the handle holds as many bytes as it claims and outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut raw,
            flags | libc::O_CLOEXEC | libc::O_LARGEFILE,
        )
    };
    let fd = check(c_int::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel just made it and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// -1 means errno.
fn check(returned: c_int) -> Result<c_int, Errno> {
    if returned < 0 {
        let errno = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&errno).unwrap_or(Errno::IO));
    }
    Ok(returned)
}
