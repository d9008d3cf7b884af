//! Which names the user wants left out. Knows patterns and relative paths; looks at no entry.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use record::Kind;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::look::look_self;
use crate::open::open_root;

/// The file at the top of a root whose patterns are left out.
pub const IGNORE_FILE: &str = ".indexerignore";

/// Patterns in the syntax of `.gitignore`, the later over the earlier: those of [`IGNORE_FILE`] first, of an
/// extra file next, of the command line last.
pub struct Rules {
    patterns: Gitignore,
}

/// Why the rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A pattern given on the command line or in the configuration is none.
    #[error("bad exclude pattern {pattern:?}: {why}; correct it (the syntax is that of .gitignore)")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A line of a file is no pattern.
    #[error("bad pattern {pattern:?} in {}, line {line}: {why}; correct the line or remove it", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of patterns cannot be read.
    #[error("failed to read the exclude patterns in {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The patterns, each one right, cannot be used together.
    #[error("failed to compile the exclude patterns: {0}; use fewer or shorter ones")]
    Compile(String),
}

impl Rules {
    /// The rules of the root at `root`: `excludes`, its own [`IGNORE_FILE`] if it has one, and `ignore_file`.
    /// A root that is not there has no file.
    ///
    /// # Errors
    /// Names the pattern, and the file and line it is in.
    pub fn new(root: &[u8], excludes: &[String], ignore_file: Option<&Path>) -> Result<Rules, RulesError> {
        // Paths are matched relative to the root, so the builder needs none.
        let mut builder = GitignoreBuilder::new("");
        let own = Path::new(OsStr::from_bytes(root)).join(IGNORE_FILE);
        if let Some(text) = read_own(root).map_err(|source| RulesError::Read { file: own.clone(), source })? {
            add_lines(&mut builder, &own, &text)?;
        }
        if let Some(file) = ignore_file {
            let text =
                std::fs::read(file).map_err(|source| RulesError::Read { file: file.into(), source })?;
            add_lines(&mut builder, file, &text)?;
        }
        for pattern in excludes {
            builder
                .add_line(None, pattern)
                .map_err(|error| RulesError::Pattern { pattern: pattern.clone(), why: why(&error) })?;
        }
        let patterns = builder.build().map_err(|error| RulesError::Compile(error.to_string()))?;
        Ok(Rules { patterns })
    }

    /// Rules that leave nothing out.
    #[must_use]
    pub fn none() -> Rules {
        Rules { patterns: Gitignore::empty() }
    }

    /// Whether there is no pattern at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the entry at `relative_path` (bytes, from the root, no leading slash) is left out. Its parents
    /// are taken to have been asked about before.
    #[must_use]
    pub fn excluded(&self, relative_path: &[u8], is_dir: bool) -> bool {
        self.patterns.matched(Path::new(OsStr::from_bytes(relative_path)), is_dir).is_ignore()
    }
}

fn add_lines(builder: &mut GitignoreBuilder, file: &Path, text: &[u8]) -> Result<(), RulesError> {
    let bad = |line: usize, pattern: &[u8], why: String| RulesError::Line {
        file: file.into(),
        line: line + 1,
        pattern: String::from_utf8_lossy(pattern).into_owned(),
        why,
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let pattern = std::str::from_utf8(line).map_err(|_| bad(at, line, "it is not UTF-8".into()))?;
        builder.add_line(Some(file.into()), pattern).map_err(|error| bad(at, line, why(&error)))?;
    }
    Ok(())
}

/// The ignore crate repeats the pattern in its message; ours has it already.
fn why(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        ignore::Error::WithPath { err, .. } | ignore::Error::WithLineNumber { err, .. } => why(err),
        other => other.to_string(),
    }
}

/// The root's own ignore file; never through a symbolic link, and never a pipe that would block.
fn read_own(root: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let dir = match open_root(root) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: OwnedFd = match openat(&dir, IGNORE_FILE, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            let why = "it is a symbolic link, which is not read; put the file itself there";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Err(error) => return Err(error.into()),
    };
    if look_self(file.as_fd())?.stat.kind != Kind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file).read_to_end(&mut text)?;
    Ok(Some(text))
}
