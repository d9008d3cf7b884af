//! A file in memory that can lose power, and an index on it: for tests and simulations of other crates too. What
//! was not synced may be there afterwards, in part or not at all.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Builder, StorageBackend};

use crate::error::OpenError;
use crate::file::{Index, Settings, damaged, guarded, open_error};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The file. Clones are the same file.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    file: Vec<u8>,
    /// The file as of the last sync.
    synced: Vec<u8>,
    /// Writes since then.
    since: Vec<(usize, Vec<u8>)>,
    steps: u64,
    /// The step at which the power goes.
    last: Option<u64>,
    off: bool,
}

impl Store {
    /// Writes, syncs and changes of length so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Lets the power go at the `after`-th write, sync or change of length from now on: it fails, and everything
    /// after it.
    pub fn lose_power(&self, after: u64) {
        let mut state = self.lock();
        state.last = Some(state.steps + after);
    }

    /// Whether the power went.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// The file as it is found when the power is back: what was synced, and of each later write all, nothing, its
    /// beginning, or some of its sectors. `random` answers a number below its argument.
    #[must_use]
    pub fn after_power_loss(&self, random: &mut dyn FnMut(u64) -> u64) -> Store {
        let state = self.lock();
        let mut file = state.synced.clone();
        file.resize(state.file.len(), 0);
        let fate = random(4);
        for (start, data) in &state.since {
            let sectors = data.len().div_ceil(SECTOR);
            // Mostly one fate for all writes: all there or none, so that the odd one out is the header.
            let fate = if random(4) == 0 { random(4) } else { fate };
            let head = random(sectors as u64 + 1);
            for at in 0..sectors {
                let there = match fate {
                    0 => true,
                    1 => false,
                    2 => (at as u64) < head,
                    _ => random(2) == 0,
                };
                let part = at * SECTOR..data.len().min((at + 1) * SECTOR);
                let place = start + part.start..start + part.end;
                if there && place.end <= file.len() {
                    file[place].copy_from_slice(&data[part]);
                }
            }
        }
        drop(state);
        Store(Arc::new(Mutex::new(State { synced: file.clone(), file, ..State::default() })))
    }

    /// Opens the index in it, making it if the file is empty.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn index(&self, settings: Settings) -> Result<Index, OpenError> {
        let path = Path::new("memory");
        let new = self.lock().file.is_empty();
        let store = guarded(path, || {
            Builder::new().set_cache_size(settings.cache).create_with_backend(self.clone())
        })?
        .map_err(|error| open_error(path, error))?;
        let index = Index::over(store, settings);
        if new {
            index.init().map_err(|error| damaged(path, error))?;
        } else {
            index.check_format()?;
        }
        Ok(index)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        self.off |= self.last.is_some_and(|last| self.steps >= last);
        if self.off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }
}

impl StorageBackend for Store {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().file.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let from = state.file.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        state.file.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        // Only what was written changed: a copy of the whole file each time would be most of a simulation.
        let state = &mut *state;
        state.synced.resize(state.file.len(), 0);
        for (start, data) in state.since.drain(..) {
            let end = (start + data.len()).min(state.synced.len());
            if start < end {
                state.synced[start..end].copy_from_slice(&data[..end - start]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let was_off = state.off;
        let result = state.step();
        if result.is_ok() {
            state.file[start..start + data.len()].copy_from_slice(data);
        }
        // The write at which the power goes may be there in part.
        if !was_off {
            state.since.push((start, data.to_vec()));
        }
        result
    }
}
