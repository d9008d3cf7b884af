//! A folder of files, and a guard that does something at a step. Knows no expectation.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use duplicates::{Copy, Guard, Kind, Linker, Log, Report, Set, Step, What, Why};

/// Is given what `held` says.
type Act<'a> = Box<dyn FnMut(&Cell<bool>) + 'a>;

/// Does something at a step; writers are whatever the test says.
pub(crate) struct At<'a> {
    pub(crate) step: Step,
    pub(crate) act: RefCell<Act<'a>>,
    /// Said by `hold`.
    pub(crate) hold: Option<bool>,
    /// Said by `held`.
    pub(crate) held: Cell<bool>,
}

impl<'a> At<'a> {
    pub(crate) fn new(step: Step, act: impl FnMut(&Cell<bool>) + 'a) -> At<'a> {
        At { step, act: RefCell::new(Box::new(act)), hold: Some(true), held: Cell::new(true) }
    }
}

impl Guard for At<'_> {
    fn hold(&self, _: BorrowedFd<'_>) -> Option<bool> {
        self.hold
    }

    fn held(&self, _: BorrowedFd<'_>) -> bool {
        self.held.get()
    }

    fn step(&self, step: Step) {
        if step == self.step {
            self.act.borrow_mut()(&self.held);
        }
    }
}

/// Nobody writes, nothing happens.
pub(crate) fn quiet() -> At<'static> {
    At::new(Step::Log, |_| ())
}

/// A temporary folder.
pub(crate) struct Ground(tempfile::TempDir);

impl Ground {
    pub(crate) fn new() -> Ground {
        Ground(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// A file of that content, `age` seconds old.
    pub(crate) fn file(&self, name: &str, content: &[u8], age: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000 - age, 123_456_789);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("links-1.jsonl")
    }

    /// Runs to the end; what is told.
    pub(crate) fn link(&self, set: &Set, guard: &dyn Guard) -> Vec<Report> {
        let _ = fs::remove_file(self.log());
        run(Kind::Hard, set, guard, Some(Log::create(&self.log()).unwrap()))
    }

    /// Names that we have left.
    pub(crate) fn beside(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.path("")];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else if path.file_name().unwrap().to_string_lossy().starts_with(".indexer-") {
                    found.push(path);
                }
            }
        }
        found
    }
}

pub(crate) fn run(kind: Kind, set: &Set, guard: &dyn Guard, log: Option<Log>) -> Vec<Report> {
    let mut said = Vec::new();
    let mut linker = Linker::new(kind, guard, log);
    let mut tell = |report| {
        said.push(report);
        Ok(())
    };
    linker.set(set, &mut tell).unwrap();
    linker.end().unwrap();
    said
}

/// A set of files with one name each, or several.
pub(crate) fn set(copies: &[&[&Path]]) -> Set {
    let size = copies.iter().find_map(|names| names[0].symlink_metadata().ok()).map_or(0, |meta| meta.len());
    let copy = |names: &&[&Path]| Copy {
        names: names.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect(),
        fixed: false,
    };
    Set { size, digest: "blake3:00".to_owned(), copies: copies.iter().map(copy).collect() }
}

pub(crate) fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

pub(crate) fn why(report: &Report) -> &Why {
    match &report.what {
        What::Skipped(why) => why,
        other => panic!("{other:?}"),
    }
}
