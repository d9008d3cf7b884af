//! What belongs to a root, by the rules stored beside it: patterns, depth, file systems, the state folder.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::io::Errno;

use crate::engine::StoredRules;
use crate::failure::Failure;
use crate::verify::links::Links;
use crate::verify::look::{Looked, look, open_path};
use crate::verify::mounts;

/// The file of patterns at the top of a root.
const IGNORE_FILE: &str = ".indexerignore";

/// One root and its rules, ready to be asked.
pub(crate) struct Scope {
    /// Its absolute path.
    pub(crate) path: Vec<u8>,
    /// Device of its own directory.
    pub(crate) device: u64,
    patterns: Gitignore,
    max_depth: u32,
    one_file_system: bool,
    /// Device and inode of what is never indexed: the state folder.
    left_out: Vec<(u64, u64)>,
    /// For roots that follow links.
    links: Option<Links>,
}

impl Scope {
    /// The scope of the root at `path`.
    ///
    /// # Errors
    /// When the root cannot be opened or its patterns not be read.
    pub(crate) fn new(path: &[u8], rules: &StoredRules, left_out: Vec<(u64, u64)>) -> Result<Scope, Failure> {
        let shown = crate::paths::shown_bytes(path);
        let top = open_path(path).map_err(|error| Failure::doing(format!("open root {shown}"), error))?;
        let device = mounts::device_of(top.as_fd())
            .map_err(|error| Failure::doing(format!("look at {shown}"), error))?;
        // The later pattern wins: the root's own file, then the extra one, then the single patterns.
        let mut builder = GitignoreBuilder::new("");
        let own = Path::new(OsStr::from_bytes(path)).join(IGNORE_FILE);
        if own.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            add_file(&mut builder, &own)?;
        }
        if let Some(file) = &rules.ignore_file {
            add_file(&mut builder, file)?;
        }
        for pattern in &rules.excludes {
            builder
                .add_line(None, pattern)
                .map_err(|error| Failure::doing(format!("use the pattern {pattern:?}"), error))?;
        }
        let patterns = builder.build().map_err(|error| Failure::doing("use the patterns", error))?;
        let mut scope = Scope {
            path: path.to_vec(),
            device,
            patterns,
            max_depth: rules.max_depth.unwrap_or(u32::MAX),
            one_file_system: rules.one_file_system,
            left_out,
            links: None,
        };
        if rules.follow_symlinks {
            let links = Links::find(&scope)
                .map_err(|error| Failure::doing(format!("find the links in {shown}"), error))?;
            scope.links = Some(links);
        }
        Ok(scope)
    }

    /// Looks at `name` in `dir`, whose path from the root is `relative`: through it, if it is a link that is
    /// followed.
    pub(crate) fn look(&self, dir: BorrowedFd<'_>, name: &[u8], relative: &[u8]) -> Result<Looked, Errno> {
        let found = look(dir, name)?;
        match &self.links {
            Some(links) if found.side.stat.kind == "symlink" => {
                Ok(links.follow(self, dir, name, relative).unwrap_or(found))
            }
            _ => Ok(found),
        }
    }

    /// Whether `found` in the directory that is `here` is in scope. Its own path from the
    /// root is `relative`; the directories above it are known to be.
    pub(crate) fn holds(
        &self,
        here: &Looked,
        found: &Looked,
        relative: &[u8],
        depth: u32,
    ) -> Result<bool, Errno> {
        let directory = found.is_directory();
        if self.bars(found, relative, depth) {
            return Ok(false);
        }
        if found.through.is_some() {
            return Ok(true);
        }
        if directory && self.links.as_ref().is_some_and(|links| links.is_target(found)) {
            return Ok(false);
        }
        match (found.device == here.device, found.mount == here.mount) {
            (true, true) => Ok(true),
            // overlayfs shows files with the device of a layer.
            (false, true) if !directory => Ok(true),
            // A file mounted over a file is not followed.
            _ if self.one_file_system || !directory => Ok(false),
            _ => mounts::crosses(self, found),
        }
    }

    /// Whether depth, patterns or the state folder leave it out, whatever file system it is on.
    pub(crate) fn bars(&self, found: &Looked, relative: &[u8], depth: u32) -> bool {
        depth > self.max_depth
            || self.left_out.contains(&(found.device, found.side.inode))
            || self.excluded(relative, found.is_directory())
    }

    /// Whether the name at `relative` stands for a directory of its parent's own file system, or for nothing: where
    /// the index has another file system, that one is not mounted. False for roots that follow links, which lead there
    /// as well.
    pub(crate) fn is_unmounted(&self, relative: &[u8]) -> bool {
        let mut path = self.path.clone();
        let name = match relative.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => {
                path.push(b'/');
                path.extend_from_slice(&relative[..slash]);
                &relative[slash + 1..]
            }
            None => relative,
        };
        let looks = || {
            let dir = open_path(&path)?;
            let here = crate::verify::look::look_self(dir.as_fd())?;
            match look(dir.as_fd(), name) {
                Ok(found) => Ok(found.mount == here.mount && found.device == here.device),
                Err(Errno::NOENT) => Ok(true),
                Err(error) => Err(error),
            }
        };
        self.links.is_none() && looks().unwrap_or(false)
    }

    /// Whether patterns and depth let the directory at `relative` in, and all above it.
    pub(crate) fn admits(&self, relative: &[u8]) -> bool {
        let mut depth = 0;
        for (at, byte) in relative.iter().enumerate() {
            if *byte == b'/' {
                depth += 1;
                if self.excluded(&relative[..at], true) {
                    return false;
                }
            }
        }
        depth < self.max_depth && !self.excluded(relative, true)
    }

    /// The part of `path` below the root; `None` for what lies elsewhere.
    pub(crate) fn relative<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let top = self.path.strip_suffix(b"/").unwrap_or(&self.path);
        match path.strip_prefix(top)? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    fn excluded(&self, relative: &[u8], directory: bool) -> bool {
        !self.patterns.is_empty()
            && self.patterns.matched(Path::new(OsStr::from_bytes(relative)), directory).is_ignore()
    }
}

fn add_file(builder: &mut GitignoreBuilder, file: &Path) -> Result<(), Failure> {
    let shown = crate::paths::shown(file);
    let text = std::fs::read(file)
        .map_err(|error| Failure::doing(format!("read the patterns in {shown}"), error))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    for line in text.split(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        builder
            .add_line(Some(file.into()), &line)
            .map_err(|error| Failure::doing(format!("use the patterns in {shown}"), error))?;
    }
    Ok(())
}
