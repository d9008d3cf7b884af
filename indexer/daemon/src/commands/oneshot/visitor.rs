//! What the walk of `scan --path` sees, as rows. Knows no file that they go to.

use std::borrow::Cow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use record::{Category, EntryId, Kind};
use scan::{Directory, Errno, Look, Met, Scope, Seen, Visitor};
use snapshot::{Collector, Entry, Facts, Frontier, Names, SnapshotError, Unit, Way, name_text, path_text};

use crate::engine::is_elsewhere;

/// Tells a [`Collector`] of a tree.
pub(super) struct Teller<'a> {
    pub(super) scope: &'a Scope,
    /// The root's own directory.
    pub(super) root: OwnedFd,
    pub(super) collector: &'a Collector,
    /// How far an earlier run got; none where rows go to one file, which nobody goes on with.
    pub(super) before: Option<Frontier>,
    /// The folder that it writes to, by device and inode, and what it writes there: none of that has a row.
    pub(super) ours: ((u64, u64), Names),
    pub(super) stop: &'a AtomicBool,
    /// Directories of an earlier run that were passed over with all below them.
    pub(super) passed: AtomicU64,
    pub(super) failed: Mutex<Option<SnapshotError>>,
}

/// The path of a directory as text, and whether that is not its bytes.
#[derive(Default)]
pub(super) struct Place(OnceLock<(String, bool)>);

/// One thread's part.
pub(super) struct Worker {
    unit: Unit,
    /// Of the directory in work, from the root; empty where nobody asks for it.
    path: Vec<u8>,
    /// Its text, with the slash that joins it to a name.
    text: String,
    differs: bool,
    /// An earlier run wrote what is in it.
    silent: bool,
    /// What we write lies in it.
    ours: bool,
    /// The directory, opened again to look for siblings of a name that is no text.
    siblings: Option<OwnedFd>,
}

impl Teller<'_> {
    /// Ends the walk.
    fn fail(&self, error: Option<SnapshotError>) {
        if let Some(error) = error {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn way_before(&self, path: &[u8]) -> Option<Way> {
        self.before.as_ref().and_then(|before| before.way(path))
    }

    /// The path from the root, if anybody asks for it.
    fn path_of(&self, dir: &Directory<Place>) -> Vec<u8> {
        if self.before.is_some() { dir.relative_path() } else { Vec::new() }
    }

    /// Opens a directory of the walk once more.
    fn open(&self, dir: &Directory<Place>) -> Result<OwnedFd, Errno> {
        let path = dir.relative_path();
        let components: Vec<&[u8]> =
            path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        self.scope.open_below(self.root.as_fd(), &components)
    }

    /// The text of a directory's path, and whether its bytes are others.
    fn place(&self, dir: &Directory<Place>) -> (String, bool) {
        let Some(above) = dir.parent() else {
            let path = dir.path();
            let text = path_text(&path);
            let differs = text.as_bytes() != path;
            return (text, differs);
        };
        let (text, differs) = above.data.0.get().map_or(("", false), |(text, differs)| (text, *differs));
        let opened = OnceLock::new();
        let name = name_text(dir.name(), |text| {
            opened.get_or_init(|| self.open(above)).as_ref().is_ok_and(|fd| is_there(fd.as_fd(), text))
        });
        (joined(text, &name), differs || matches!(name, Cow::Owned(_)))
    }

    fn row(&self, unit: &mut Unit, entry: &Entry<'_>) {
        if let Err(error) = unit.push(entry) {
            self.fail(Some(error));
        }
    }

    /// A directory that cannot be opened is a row all the same.
    fn closed(&self, dir: &Directory<Place>, name: &[u8], relative: &[u8]) {
        let mut unit = self.collector.unit();
        unit.miss();
        if let Some((id, seen)) = self.look_again(dir, name, relative) {
            let (above, differs) = dir.data.0.get().map_or(("", false), |(text, differs)| (text, *differs));
            let opened = OnceLock::new();
            let text = name_text(name, |text| {
                opened.get_or_init(|| self.open(dir)).as_ref().is_ok_and(|fd| is_there(fd.as_fd(), text))
            });
            let raw = (differs || matches!(text, Cow::Owned(_))).then(|| raw_path(dir, name));
            let text = joined(above, &text);
            let facts = facts(id, &seen, name);
            self.row(&mut unit, &Entry { text: &text, raw: raw.as_deref(), depth: dir.depth + 1, facts });
        }
        if !self.collector.listed(relative, Way::Whole, &mut unit) {
            self.fail(None);
        }
    }

    fn look_again(&self, dir: &Directory<Place>, name: &[u8], relative: &[u8]) -> Option<(EntryId, Seen)> {
        let fd = self.open(dir).ok()?;
        let relative = || relative.to_vec();
        let standing = (dir.device, dir.mount);
        match self.scope.meet(dir.id, standing, &relative, dir.depth + 1, name, fd.as_fd()) {
            Met::In(volume, seen) => Some((EntryId::new(volume, seen.inode), seen)),
            _ => None,
        }
    }
}

impl Visitor for Teller<'_> {
    type Worker = Worker;
    type Data = Place;

    fn worker(&self) -> Worker {
        Worker {
            unit: self.collector.unit(),
            path: Vec::new(),
            text: String::new(),
            differs: false,
            silent: false,
            ours: false,
            siblings: None,
        }
    }

    fn finish(&self, _: Worker) {}

    fn enter(&self, worker: &mut Worker, dir: &Directory<Place>, _: BorrowedFd<'_>, seen: &Seen) -> bool {
        // What was stopped within a directory left half of one.
        worker.unit.clear();
        worker.path = self.path_of(dir);
        let way = self.way_before(&worker.path);
        if way == Some(Way::Whole) {
            tracing::debug!(path = %String::from_utf8_lossy(&dir.path()), "finished before, with all below it");
            self.passed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let (text, differs) = dir.data.0.get_or_init(|| self.place(dir));
        worker.differs = *differs;
        worker.silent = way.is_some();
        worker.ours = (seen.device, seen.inode) == self.ours.0;
        worker.siblings = None;
        if worker.silent {
            tracing::debug!(path = %text, "listed before; what is below it may not be");
        } else {
            let raw = differs.then(|| dir.path());
            let facts = facts(dir.id, seen, dir.name());
            self.row(&mut worker.unit, &Entry { text, raw: raw.as_deref(), depth: dir.depth, facts });
        }
        worker.text.clear();
        worker.text.push_str(text);
        if !worker.text.ends_with('/') {
            worker.text.push('/');
        }
        true
    }

    fn entry(&self, worker: &mut Worker, dir: &Directory<Place>, name: &[u8], id: EntryId, seen: &Seen) {
        let Worker { unit, text, differs, silent, ours, siblings, .. } = worker;
        // A directory has its own row with what is in it.
        if *silent || seen.stat.kind == Kind::Directory || *ours && self.ours.1.is_ours(name) {
            return;
        }
        let before = text.len();
        let name_text = name_text(name, |text| {
            if siblings.is_none() {
                *siblings = self.open(dir).ok();
            }
            siblings.as_ref().is_some_and(|fd| is_there(fd.as_fd(), text))
        });
        text.push_str(&name_text);
        let raw = (*differs || matches!(name_text, Cow::Owned(_))).then(|| raw_path(dir, name));
        let facts = facts(id, seen, name);
        self.row(unit, &Entry { text, raw: raw.as_deref(), depth: dir.depth + 1, facts });
        text.truncate(before);
    }

    fn failed(
        &self,
        worker: &mut Worker,
        dir: &Directory<Place>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    ) {
        // Gone since it was listed, or something else is there by now.
        if is_elsewhere(error) {
            return;
        }
        let opening = name.filter(|_| doing == "open");
        let mut relative = Vec::new();
        if let Some(name) = opening {
            relative = self.path_of(dir);
            if !relative.is_empty() {
                relative.push(b'/');
            }
            relative.extend_from_slice(name);
        }
        let told = if opening.is_some() { self.way_before(&relative).is_some() } else { worker.silent };
        if told {
            return;
        }
        let path = name.map_or_else(|| dir.path(), |name| raw_path(dir, name));
        tracing::warn!(path = %String::from_utf8_lossy(&path), error = %error, doing, "cannot look here");
        match opening {
            Some(name) => self.closed(dir, name, &relative),
            None => worker.unit.miss(),
        }
    }

    fn listed(&self, worker: &mut Worker, _: &Directory<Place>, _: &Seen, _: bool) {
        if !worker.silent && !self.collector.listed(&worker.path, Way::Listed, &mut worker.unit) {
            self.fail(None);
        }
    }

    fn done(&self, _: &mut Worker, dir: &Directory<Place>) {
        if self.before.is_some() {
            self.collector.whole(&dir.relative_path());
        }
    }
}

fn facts(id: EntryId, seen: &Seen, name: &[u8]) -> Facts {
    let category = (seen.stat.kind == Kind::File).then(|| Category::of(Some(name), None));
    Facts { id, stat: seen.stat, category, digest: None, digest_time: None }
}

fn is_there(dir: BorrowedFd<'_>, name: &str) -> bool {
    matches!(scan::look(dir, name.as_bytes()), Look::Present(_))
}

fn joined(above: &str, name: &str) -> String {
    let slash = if above.ends_with('/') { "" } else { "/" };
    [above, slash, name].concat()
}

fn raw_path(dir: &Directory<Place>, name: &[u8]) -> Vec<u8> {
    let mut path = dir.path();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
