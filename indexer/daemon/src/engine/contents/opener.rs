//! Opens files by their rows: what is opened is the entry that was asked for, or nothing. Never through a symbolic link below a
//! root, but where the root follows those.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use index::{IndexError, Reader, Ways};
use reconcile::{Stored as _, same_entry};
use record::{EntryId, Kind, Place, RootId, Row};
use rehash::{Closed, Opened, Opener};
use scan::Errno;

use super::EngineShelf;
use crate::engine::config::StoredRules;
use crate::engine::shared::Shared;

/// How long a view of the index is used: while one is open, freed pages stay in the file.
const VIEW: Duration = Duration::from_millis(200);

/// Reading a file of more bytes than this takes long enough to give up what would be remembered meanwhile.
const LONG: u64 = 4 << 20;

/// See [`Opener`].
pub(super) struct EngineOpener<'a> {
    pub(super) shelf: &'a EngineShelf,
    /// The index of a moment ago.
    pub(super) view: Option<View>,
    /// The directory that the last file was in: the next is often beside it.
    pub(super) last: Option<(EntryId, OwnedFd)>,
    /// The directory of the last root.
    pub(super) top: Option<(RootId, OwnedFd)>,
}

pub(super) struct View {
    since: Instant,
    reader: Reader,
    ways: Ways,
}

impl View {
    fn new(shared: &Shared) -> Result<View, IndexError> {
        let reader = shared.index.read()?;
        let ways = Ways::new(&reader)?;
        Ok(View { since: shared.ground.clock.instant(), reader, ways })
    }

    /// The row of a regular file, and all its names.
    fn names(&self, id: EntryId) -> Result<Option<(Row, Vec<Place>)>, IndexError> {
        let Some(row) = self.reader.row(id)?.filter(|row| row.stat.kind == Kind::File) else {
            return Ok(None);
        };
        let places =
            if row.many_names { self.reader.links(id)? } else { row.place.iter().cloned().collect() };
        Ok(Some((row, places)))
    }
}

impl Opener for EngineOpener<'_> {
    fn open(&mut self, id: EntryId) -> Result<Opened, Closed> {
        let shared = self.shelf.shared().map_err(|error| Closed::Refused(io::Error::other(error)))?;
        let now = shared.ground.clock.instant();
        if self.view.as_ref().is_none_or(|view| now.saturating_duration_since(view.since) > VIEW) {
            (self.view, self.last, self.top) = (None, None, None);
        }
        let failed = |error: IndexError| Closed::Refused(io::Error::other(error));
        let mut view = match self.view.take() {
            Some(view) => view,
            None => View::new(&shared).map_err(failed)?,
        };
        let opened = self.by_names(&shared, &mut view, id);
        if opened.as_ref().is_ok_and(|(_, size)| *size <= LONG) {
            self.view = Some(view);
        } else {
            // Also where it was not what the index has: the next look is at the index of now.
            (self.last, self.top) = (None, None);
        }
        opened.map(|(opened, _)| opened)
    }
}

impl EngineOpener<'_> {
    /// The open file and its size.
    fn by_names(&mut self, shared: &Shared, view: &mut View, id: EntryId) -> Result<(Opened, u64), Closed> {
        let found = view.names(id).map_err(|error| Closed::Refused(io::Error::other(error)))?;
        let (row, places) = found.ok_or(Closed::Gone)?;
        let mut refused = None;
        for place in places {
            let fd = match self.at(shared, view, &place) {
                Ok(Some(fd)) => fd,
                // Elsewhere by now, or no regular file.
                Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE | Errno::INVAL) => {
                    continue;
                }
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            let disk = &shared.ground.disk;
            let seen = disk.look_self(fd.as_fd()).map_err(|error| Closed::Refused(error.into()))?;
            let device = shared.volumes.device(id.volume);
            if seen.inode != id.inode
                || device.is_some_and(|device| device != seen.device)
                || !same_entry(&row, &seen.stat)
            {
                continue;
            }
            let solid = scan::is_solid(seen.device);
            let extents =
                if shared.volumes.shares_blocks(id.volume) { scan::lies_at(fd.as_fd()) } else { None };
            return Ok((Opened { file: File::from(fd), solid, extents }, seen.stat.size));
        }
        Err(refused.map_or(Closed::Gone, |error| Closed::Refused(error.into())))
    }

    /// Opens what has a name; `None` where no root leads there.
    fn at(&mut self, shared: &Shared, view: &mut View, place: &Place) -> Result<Option<OwnedFd>, Errno> {
        let disk = &shared.ground.disk;
        if let Some((dir, fd)) = &self.last
            && *dir == place.dir
        {
            return disk.open_file(fd.as_fd(), &place.name).map(Some);
        }
        let way = view.ways.to(&view.reader, place.dir).ok().flatten();
        let Some((id, path)) = way else { return Ok(None) };
        let Some(root) = view.ways.roots().iter().find(|root| root.id == id) else { return Ok(None) };
        if StoredRules::parse(&root.rules).follow_symlinks {
            return scan::open_file_through(&path, &place.name).map(Some);
        }
        if self.top.as_ref().is_none_or(|(of, _)| *of != id) {
            self.top = Some((id, disk.open_root(&root.path)?));
        }
        let Some((_, top)) = &self.top else { return Ok(None) };
        let below = path.get(root.path.len()..).unwrap_or_default();
        let names: Vec<&[u8]> = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let dir = disk.open_below(top.as_fd(), &names)?;
        let file = disk.open_file(dir.as_fd(), &place.name);
        self.last = Some((place.dir, dir));
        file.map(Some)
    }
}
