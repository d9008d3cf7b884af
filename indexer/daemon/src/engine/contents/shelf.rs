//! The index and the disk as readers of contents see them. Opens files by their rows: what is opened is the entry that was asked
//! for, or nothing. Holds nothing of the engine between two questions.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};

use index::{IndexError, Note, Reader, RootRow};
use reconcile::{Observed, Stored as _, same_entry};
use record::{EntryId, Hashing, Kind, Name, Row, Stat, Time};
use rehash::{Closed, Eye, Found, Known, Opened, Shelf, ShelfError, Stamp, Token};
use scan::Errno;

use super::Findings;
use crate::engine::config::StoredRules;
use crate::engine::error::EngineError;
use crate::engine::shared::{Request, Shared};

/// See [`Shelf`].
#[derive(Clone)]
pub(crate) struct EngineShelf(Weak<Shared>);

impl EngineShelf {
    pub(crate) fn new(shared: &Arc<Shared>) -> EngineShelf {
        EngineShelf(Arc::downgrade(shared))
    }

    fn shared(&self) -> Result<Arc<Shared>, ShelfError> {
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
        Ok(scan::look_self(file.as_fd())?.stat)
    }

    fn now(&self) -> Time {
        Time::now()
    }
}

impl Shelf for EngineShelf {
    fn hashing(&self) -> Result<Hashing, ShelfError> {
        self.read(Reader::hashing)
    }

    fn waiting(&self, from: EntryId, most: usize) -> Result<Vec<EntryId>, ShelfError> {
        let waiting = self.read(|reader| reader.pending_contents(from, most))?;
        Ok(waiting.into_iter().map(|pending| pending.id).collect())
    }

    fn by_size(&self, after: (u64, EntryId), most: usize) -> Result<Vec<(u64, EntryId)>, ShelfError> {
        self.read(|reader| reader.by_size(after, most))
    }

    fn of_size(&self, size: u64) -> Result<Vec<EntryId>, ShelfError> {
        self.read(|reader| reader.of_size(size, usize::MAX))
    }

    fn known(&self, ids: &[EntryId]) -> Result<Vec<Option<Known>>, ShelfError> {
        self.read(|reader| ids.iter().map(|id| known(reader, *id)).collect())
    }

    fn open(&self, id: EntryId) -> Result<Opened, Closed> {
        let shared =
            self.0.upgrade().ok_or_else(|| Closed::Refused(io::Error::other("the engine has stopped")))?;
        let ways = shared.index.read().and_then(|reader| ways(&reader, id));
        let (row, ways) =
            ways.map_err(|error| Closed::Refused(io::Error::other(error)))?.ok_or(Closed::Gone)?;
        let mut refused = None;
        for way in ways {
            match open(&shared, &way) {
                Ok(fd) => {
                    let seen = scan::look_self(fd.as_fd()).map_err(|error| Closed::Refused(error.into()))?;
                    let device = shared.volumes.device(id.volume);
                    let same = seen.inode == id.inode
                        && device.is_none_or(|device| device == seen.device)
                        && same_entry(&row, &seen.stat);
                    if same {
                        if scan::has_writer(fd.as_fd()) == Some(true) {
                            return Err(Closed::Written);
                        }
                        return Ok(Opened { file: File::from(fd), solid: scan::is_solid(seen.device) });
                    }
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::INVAL) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or(Closed::Gone, |error| Closed::Refused(error.into())))
    }

    fn deliver(&self, found: &[Found]) -> Result<Vec<bool>, ShelfError> {
        let mut findings = Findings::default();
        let now = Time::now();
        let shared = self.shared()?;
        let reader = shared.index.read().map_err(failed)?;
        for found in found {
            match *found {
                Found::Content { id, birth, content } => {
                    let Stamp { size, modified, changed } = content.stamp;
                    let (digest, magic) = (content.digest, content.magic);
                    let observed =
                        Observed { id, birth, digest, magic, size, modified, changed, corrupt: false };
                    let note = Note {
                        size,
                        modified,
                        changed,
                        head: Some(content.head.0),
                        tail: content.tail.map(|token| token.0),
                        proved: Some(now),
                        extents: None,
                        good: None,
                    };
                    findings.observed.push((observed, note));
                }
                Found::Ends { id, stamp, head, tail } => {
                    let old = reader.note(id).map_err(failed)?.unwrap_or_default();
                    let Stamp { size, modified, changed } = stamp;
                    let (head, tail) = (head.map(|token| token.0), tail.map(|token| token.0));
                    findings.notes.push((id, Note { size, modified, changed, head, tail, ..old }));
                }
                Found::Done(id) => findings.waiting.push((id, None)),
                Found::Astray(id) => findings.astray.push(id),
            }
        }
        drop(reader);
        drop(shared);
        if findings.is_empty() { Ok(Vec::new()) } else { self.ask(findings) }
    }
}

fn known(reader: &Reader, id: EntryId) -> Result<Option<Known>, IndexError> {
    let Some(row) = reader.row(id)?.filter(|row| row.stat.kind == Kind::File) else { return Ok(None) };
    let stamp = Stamp::of(&row.stat);
    let note = reader
        .note(id)?
        .filter(|note| Stamp { size: note.size, modified: note.modified, changed: note.changed } == stamp);
    Ok(Some(Known {
        birth: row.stat.created,
        stamp,
        writing: row.writing,
        digest: row.current_digest(),
        head: note.and_then(|note| note.head).map(Token),
        tail: note.and_then(|note| note.tail).map(Token),
    }))
}

/// The way to a name of a file: the names from the root down.
struct Way {
    root: RootRow,
    names: Vec<Name>,
}

/// The row of a regular file, and the ways to all its names.
fn ways(reader: &Reader, id: EntryId) -> Result<Option<(Row, Vec<Way>)>, IndexError> {
    let Some(row) = reader.row(id)?.filter(|row| row.stat.kind == Kind::File) else { return Ok(None) };
    let places = if row.many_names { reader.links(id)? } else { row.place.iter().cloned().collect() };
    let roots = reader.roots()?;
    let mut ways = Vec::new();
    for place in places {
        if let Some((root, mut names)) = reader.way(&roots, place.dir)? {
            names.push(place.name);
            ways.push(Way { root: root.clone(), names });
        }
    }
    Ok(Some((row, ways)))
}

/// Opens the file at the end of a way, never through a symbolic link below the root, but where the root follows those.
fn open(shared: &Shared, way: &Way) -> Result<OwnedFd, Errno> {
    let Some((name, above)) = way.names.split_last() else { return Err(Errno::NOENT) };
    if StoredRules::parse(&way.root.rules).follow_symlinks {
        let mut path = way.root.path.to_vec();
        for name in above {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        return scan::open_file_through(&path, name);
    }
    let disk = &shared.ground.disk;
    let root = disk.open_root(&way.root.path)?;
    let names: Vec<&[u8]> = above.iter().map(|name| &name[..]).collect();
    let dir = disk.open_below(root.as_fd(), &names)?;
    scan::open_file(dir.as_fd(), name)
}
