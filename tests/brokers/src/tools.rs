//! What a test needs of the machine: root, and programs that it may lack. A test that cannot run says so aloud.

use std::env;
use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Why a test cannot run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped(pub String);

impl Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Says on stderr that the test could not run. Written past the test harness's capture, so that it shows in every run.
pub fn skipped(reason: impl Display) {
    let thread = std::thread::current();
    let line = format!("SKIPPED: {}: {reason}\n", thread.name().unwrap_or("test"));
    // The stream itself: `eprint!` would be swallowed for a test that passes. If it is closed nobody is left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Whether the process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Passes as root only.
///
/// # Errors
/// For everyone else, with what for.
pub fn need_root(what_for: &str) -> Result<(), Skipped> {
    if is_root() { Ok(()) } else { Err(Skipped(format!("{what_for} takes root"))) }
}

/// Whether this process has run `apt-get update`; held while one test installs, so that others wait.
static UPDATED: Mutex<bool> = Mutex::new(false);

/// Makes sure that `program` is there, as root by installing the Debian package `package`. Returns where it is.
///
/// # Errors
/// When it is missing and cannot be installed.
pub fn need_tool(program: &str, package: &str) -> Result<PathBuf, Skipped> {
    let mut updated = UPDATED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(path) = find_program(program) {
        return Ok(path);
    }
    let missing = |why: &str| Skipped(format!("{program} is missing (Debian package {package}): {why}"));
    if !is_root() {
        return Err(missing("installing it takes root"));
    }
    if find_program("apt-get").is_none() {
        return Err(missing("there is no apt-get"));
    }
    if !*updated {
        // A mirror may be away while the package is in the cache: let the installation decide.
        let _ = apt_get(&["update"]);
        *updated = true;
    }
    apt_get(&["install", "--yes", "--no-install-recommends", package]).map_err(|why| missing(&why))?;
    find_program(program).ok_or_else(|| missing("the package does not bring it"))
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("apt-get")
        .args(["-qq", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Services that a package brings are not started.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("apt-get does not start: {error}"))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("apt-get {arguments:?}: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }
}

/// Where `program` is, in PATH or in the folders of administrators that a user's PATH may lack.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs a program to its end.
///
/// # Errors
/// What it said, if it failed.
pub fn run(program: &Path, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<(), String> {
    let mut command = Command::new(program);
    for argument in arguments {
        command.arg(argument);
    }
    let done =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", program.display()))?;
    if done.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&done.stderr);
        Err(format!("{}: {}: {}", program.display(), done.status, said.trim()))
    }
}
