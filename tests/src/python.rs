//! Python with packages from its index, in a folder of their own. Knows no test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Skipped, need_tool, stderr};

/// A Python whose `PYTHONPATH` may be `folder`: there, `packages` are installed.
///
/// # Errors
/// When they cannot be had here.
pub fn python_with(folder: &Path, packages: &[&str]) -> Result<PathBuf, Skipped> {
    let python = need_tool("python3", "python3-pip")?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--target"]).arg(folder).args(packages);
    let said = install.output().map_err(|error| Skipped(format!("{install:?}: {error}")))?;
    if said.status.success() { Ok(python) } else { Err(Skipped(format!("{install:?}: {}", stderr(&said)))) }
}
