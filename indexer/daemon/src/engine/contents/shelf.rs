//! The index and the disk as readers of contents see them. Opens files by their rows: what is opened is the entry that was asked
//! for, or nothing. Holds nothing of the engine between two questions.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};

use index::{IndexError, Note, Reader, Rot};
use reconcile::{Observed, Stored as _};
use record::{EntryId, Hashing, Kind, Stat, Time};
use rehash::{Content, Eye, Found, Known, Opener, Shelf, ShelfError, Stamp, Token};
use rustc_hash::FxHashSet;

use super::Findings;
use super::opener::EngineOpener;
use crate::engine::error::EngineError;
use crate::engine::shared::{Request, Shared};

/// See [`Shelf`].
#[derive(Clone)]
pub(crate) struct EngineShelf(Weak<Shared>);

impl EngineShelf {
    pub(crate) fn new(shared: &Arc<Shared>) -> EngineShelf {
        EngineShelf(Arc::downgrade(shared))
    }

    pub(super) fn shared(&self) -> Result<Arc<Shared>, ShelfError> {
        self.0.upgrade().ok_or_else(|| failed(EngineError::Stopped))
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, IndexError>,
    ) -> Result<T, ShelfError> {
        self.shared()?.index.read().and_then(|reader| read(&reader)).map_err(failed)
    }

    /// What lies at a path and below it.
    ///
    /// # Errors
    /// When nothing of the index does.
    pub(crate) fn below(&self, path: &[u8]) -> Result<Below, ShelfError> {
        let Some((_, at)) = self.read(|reader| reader.resolve(path))? else {
            let why = format!("{} is not in the index", crate::paths::shown_bytes(path));
            return Err(failed(EngineError::Failed(why)));
        };
        Ok(Below { waiting: vec![at] })
    }

    /// Looks through some of the directories below which more may be known than before. Answers whether there were any.
    pub(crate) fn grow(&self) -> Result<bool, ShelfError> {
        let grown = self.read(Reader::grow)?;
        let some = !grown.is_empty();
        if some {
            self.ask(Findings { grown, ..Findings::default() })?;
        }
        Ok(some)
    }

    /// The path of an entry by its first name.
    pub(crate) fn path(&self, id: EntryId) -> Result<Option<Vec<u8>>, ShelfError> {
        self.read(|reader| reader.path(&reader.roots()?, id))
    }

    /// The path of an entry as text and, where that cannot hold it, in base64.
    pub(crate) fn shown(&self, id: EntryId) -> Result<(String, Option<String>), ShelfError> {
        let path = self.path(id)?;
        Ok(record::wire::v1::text_and_raw(&path.unwrap_or_default()))
    }

    /// Hands something over to the engine's thread and waits for its answer.
    fn ask(&self, findings: Findings) -> Result<Vec<bool>, ShelfError> {
        let (reply, answer) = sync_channel(1);
        {
            let shared = self.shared()?;
            if shared.view().state == "stopped" {
                return Err(failed(EngineError::Stopped));
            }
            shared.send(Request::Contents(findings, reply));
            if shared.view().state == "stopped" {
                shared.ended();
            }
        }
        answer.recv().unwrap_or(Err(EngineError::Stopped)).map_err(failed)
    }
}

/// Regular files at and below a path, as they are met. Holds the numbers of directories that it has not been to.
pub(crate) struct Below {
    waiting: Vec<EntryId>,
}

impl Below {
    /// About `most` of them, and those of one directory together; none at the end.
    pub(crate) fn next(&mut self, shelf: &EngineShelf, most: usize) -> Result<Vec<EntryId>, ShelfError> {
        let mut files = Vec::new();
        shelf.read(|reader| {
            let bound = reader.entries()?;
            while files.len() < most
                && let Some(at) = self.waiting.pop()
            {
                let Some(row) = reader.row(at)? else { continue };
                match row.stat.kind {
                    Kind::File => files.push(at),
                    Kind::Directory if self.waiting.len() as u64 > bound => {
                        return Err(IndexError::circle(at));
                    }
                    Kind::Directory => reader.each_child::<IndexError>(at, |_, target| {
                        let list = if target.directory { &mut self.waiting } else { &mut files };
                        list.push(target.id);
                        Ok(true)
                    })?,
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(files)
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ShelfError {
    ShelfError(Box::new(error))
}

impl Eye for EngineShelf {
    fn look(&self, file: &File) -> io::Result<Stat> {
        let shared = self.shared().map_err(io::Error::other)?;
        Ok(shared.ground.disk.look_self(file.as_fd())?.stat)
    }

    fn now(&self) -> Time {
        self.0.upgrade().map_or_else(Time::now, |shared| shared.ground.clock.now())
    }

    fn has_writer(&self, file: &File) -> Option<bool> {
        self.0.upgrade()?.ground.disk.has_writer(file.as_fd())
    }
}

impl Shelf for EngineShelf {
    fn hashing(&self) -> Result<Hashing, ShelfError> {
        self.read(Reader::hashing)
    }

    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<(EntryId, Time)>, ShelfError> {
        let waiting = self.read(|reader| reader.pending_contents(from, most))?;
        Ok(waiting.into_iter().map(|pending| (pending.id, pending.since)).collect())
    }

    fn by_size(&self, after: (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, ShelfError> {
        self.read(|reader| reader.by_size(after, most))
    }

    fn of_size(&self, size: u64) -> Result<Vec<EntryId>, ShelfError> {
        self.read(|reader| reader.of_size(size, usize::MAX))
    }

    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError> {
        self.read(|reader| {
            let hashing = reader.hashing()?;
            ids.iter().map(|id| known(reader, hashing, *id)).collect()
        })
    }

    fn unproved(&self, time: Time, from: EntryId, most: usize) -> Result<Vec<EntryId>, ShelfError> {
        self.read(|reader| reader.unproved(time, from, most))
    }

    fn stand_back(&self) {
        scan::read_when_idle();
    }

    fn opener(&self) -> Box<dyn Opener + '_> {
        Box::new(EngineOpener { shelf: self, view: None, last: None, top: None })
    }

    fn deliver(&self, found: &[Found]) -> Result<Vec<bool>, ShelfError> {
        let findings = self.findings(found)?;
        if findings.is_empty() { Ok(Vec::new()) } else { self.ask(findings) }
    }
}

impl EngineShelf {
    /// What was found, as the engine takes it.
    pub(crate) fn findings(&self, found: &[Found]) -> Result<Findings, ShelfError> {
        let mut findings = Findings::default();
        let now = self.now();
        let shared = self.shared()?;
        let reader = shared.index.read().map_err(failed)?;
        let read = |found: &Found| match found {
            Found::Content { id, .. } | Found::Rotten { id, .. } => Some(*id),
            _ => None,
        };
        let read: FxHashSet<EntryId> = found.iter().filter_map(read).collect();
        for found in found {
            match *found {
                Found::Content { id, birth, content, extents } => {
                    let note = Note { extents, ..note_of(&content, now) };
                    findings.observed.push((observed(id, birth, &content, false), note, None));
                }
                Found::Rotten { id, birth, content, was } => {
                    let rot = Some(Rot { was, found: now });
                    findings.observed.push((
                        observed(id, birth, &content, true),
                        note_of(&content, now),
                        rot,
                    ));
                }
                // What a whole content tells has its ends, and more.
                Found::Ends { id, .. } if read.contains(&id) => {}
                Found::Ends { id, stamp, head, tail } => {
                    let old = reader.note(id).map_err(failed)?.unwrap_or_default();
                    let Stamp { size, modified, changed } = stamp;
                    let (head, tail) = (head.map(|token| token.0), tail.map(|token| token.0));
                    findings.notes.push((id, Note { size, modified, changed, head, tail, ..old }));
                }
                Found::Done { id, stamp } => findings.done.push((id, stamp)),
                Found::Wait(id) => findings.waiting.push(id),
                Found::Astray(id) => findings.astray.push(id),
            }
        }
        Ok(findings)
    }
}

fn observed(id: EntryId, birth: Option<Time>, content: &Content, corrupt: bool) -> Observed {
    let Stamp { size, modified, changed } = content.stamp;
    let (digest, magic) = (content.digest, content.magic);
    Observed { id, birth, digest, magic, size, modified, changed, corrupt }
}

fn note_of(content: &Content, now: Time) -> Note {
    let Stamp { size, modified, changed } = content.stamp;
    let (head, tail) = (Some(content.head.0), content.tail.map(|token| token.0));
    Note { size, modified, changed, head, tail, proved: Some(now), extents: None }
}

fn known(reader: &Reader, hashing: Hashing, id: EntryId) -> Result<Option<Known>, IndexError> {
    let Some(row) = reader.row(id)?.filter(|row| row.stat.kind == Kind::File) else { return Ok(None) };
    let stamp = Stamp::of(&row.stat);
    let note = reader
        .note(id)?
        .filter(|note| Stamp { size: note.size, modified: note.modified, changed: note.changed } == stamp);
    let waiting = reader.is_pending(id)?;
    Ok(Some(Known {
        birth: row.stat.created,
        stamp,
        writing: row.writing,
        digest: row.current_digest(),
        head: note.and_then(|note| note.head).map(Token),
        tail: note.and_then(|note| note.tail).map(Token),
        waiting,
        doubted: waiting && row.current_digest().is_some_and(|digest| hashing.is_enough(digest)),
    }))
}
