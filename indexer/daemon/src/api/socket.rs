//! The socket file: made for its owner alone, and reached under paths longer than a socket address holds.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::net::{UnixListener, UnixStream};

/// Bytes of a path that `sockaddr_un` holds on every system, less the NUL.
const LONGEST: usize = 100;

/// Listens at `path`, mode 0600. What a daemon that was killed left there is removed: the caller holds the lock of
/// the state folder, so nobody else listens.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (short, _folder) = short(path)?;
    let listener = UnixListener::bind(short)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to `path`.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` where nobody listens.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _folder) = short(path)?;
    UnixStream::connect(short).await
}

/// A path to the same file that is short enough; it holds while the descriptor does.
fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if path.as_os_str().len() > LONGEST => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, parent, flags, Mode::empty())?;
            let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
            Ok((short, Some(folder)))
        }
        _ => Ok((path.to_path_buf(), None)),
    }
}
