//! Whether every page of the file is the one that was written, by its checksum. Reads the file and never writes to it:
//! what the store would mend goes into memory. Knows no table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Builder, StorageBackend};

use crate::error::OpenError;
use crate::file::{Index, Settings, guarded, open_error};

const BLOCK: usize = 4096;

type Block = Box<[u8; BLOCK]>;

/// A file with changes that exist in memory alone.
#[derive(Debug)]
struct Overlay {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// What the length would be.
    length: u64,
    /// Up to where the file itself still counts.
    kept: u64,
    /// Blocks that were written to, by their number.
    blocks: BTreeMap<u64, Block>,
}

impl Overlay {
    fn new(file: File) -> io::Result<Overlay> {
        let length = file.metadata()?.len();
        Ok(Overlay { file, changes: Mutex::new(Changes { length, kept: length, blocks: BTreeMap::new() }) })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file has at `offset`, and zeros where it has nothing.
    fn old(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(kept.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (old, new) = out.split_at_mut(there);
        new.fill(0);
        self.file.read_exact_at(old, offset)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > changes.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.old(changes.kept, offset, out)?;
        let (first, last) = (offset / BLOCK as u64, (offset + out.len() as u64).div_ceil(BLOCK as u64));
        for (number, block) in changes.blocks.range(first..last) {
            for (at, byte) in (number * BLOCK as u64..).zip(block.iter()) {
                let slot = at.checked_sub(offset).and_then(|at| out.get_mut(usize::try_from(at).ok()?));
                if let Some(slot) = slot {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.kept = changes.kept.min(length);
        changes.blocks.retain(|number, _| number * (BLOCK as u64) < length);
        changes.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        let kept = changes.kept;
        for (at, byte) in (offset..).zip(data) {
            let number = at / BLOCK as u64;
            let block = match changes.blocks.entry(number) {
                std::collections::btree_map::Entry::Occupied(slot) => slot.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    let mut block = Box::new([0; BLOCK]);
                    self.old(kept, number * BLOCK as u64, &mut block[..])?;
                    slot.insert(block)
                }
            };
            block[usize::try_from(at % BLOCK as u64).unwrap_or_default()] = *byte;
        }
        Ok(())
    }
}

impl Index {
    /// Reads the whole file and compares each page with its checksum. Nothing may write to the file meanwhile: hold the index
    /// open for reading. The file stays as it is.
    ///
    /// # Errors
    /// When a page is not what was written, or the file cannot be read.
    pub fn check_pages(path: &Path, settings: Settings) -> Result<(), OpenError> {
        let file = File::open(path).and_then(Overlay::new);
        let overlay = file.map_err(|source| OpenError::Io { path: path.into(), source })?;
        let check = || {
            let mut store = Builder::new().set_cache_size(settings.cache).create_with_backend(overlay)?;
            store.check_integrity()
        };
        match guarded(path, check)? {
            Ok(true) => Ok(()),
            Ok(false) => Err(OpenError::Damaged {
                path: path.into(),
                why: "pages in it are not what was written there".into(),
            }),
            Err(error) => Err(open_error(path, error)),
        }
    }
}
