//! Where what was read goes: into a hasher, on this thread or on one beside it, so that reading and hashing overlap. Two
//! buffers go round between them. Knows no files.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, scope};

use tracing::warn;

use crate::algorithm::Hasher;
use crate::buffers::{self, Buffer};

/// What comes next in a file.
pub(crate) enum Piece {
    /// So many bytes of a buffer.
    Bytes(Buffer, usize),
    /// A hole.
    Zeros(u64),
}

/// Takes a file's pieces in order.
pub(crate) trait Sink {
    /// A buffer to read into; waits for one.
    fn buffer(&mut self) -> Buffer;
    /// What was read; waits while two pieces are not hashed.
    fn take(&mut self, piece: Piece);
}

/// Hashes on this thread.
pub(crate) struct Alone(Hasher);

impl Alone {
    pub(crate) fn new(hasher: Hasher) -> Alone {
        Alone(hasher)
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

impl Sink for Alone {
    fn buffer(&mut self) -> Buffer {
        buffers::take()
    }

    fn take(&mut self, piece: Piece) {
        if let Some(buffer) = update(&mut self.0, piece) {
            buffers::keep(buffer);
        }
    }
}

/// Hashes on a thread of its own while `work` reads: what `work` gave, and the hash of all that it passed on. `None` when no
/// thread is to be had; `work` was not called then.
pub(crate) fn with_helper<T>(hasher: Hasher, work: impl FnOnce(&mut dyn Sink) -> T) -> Option<(T, [u8; 32])> {
    let (to, pieces) = sync_channel(1);
    let (back, free) = channel();
    scope(|scope| {
        let helper =
            Builder::new().name("hash".to_owned()).spawn_scoped(scope, || help(hasher, pieces, back));
        let helper = helper.inspect_err(|error| warn!(%error, "no thread to hash with")).ok()?;
        let mut sink = Helped { to, free, spare: vec![buffers::take(), buffers::take()] };
        let done = work(&mut sink);
        let Helped { to, free, spare } = sink;
        drop(to);
        let hash = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
        spare.into_iter().chain(free).for_each(buffers::keep);
        Some((done, hash))
    })
}

struct Helped {
    to: SyncSender<Piece>,
    free: Receiver<Buffer>,
    spare: Vec<Buffer>,
}

/// The other end went only by a panic, which is passed on when it is joined.
impl Sink for Helped {
    fn buffer(&mut self) -> Buffer {
        self.spare.pop().or_else(|| self.free.recv().ok()).unwrap_or_else(buffers::take)
    }

    fn take(&mut self, piece: Piece) {
        let _ = self.to.send(piece);
    }
}

fn help(mut hasher: Hasher, pieces: Receiver<Piece>, back: Sender<Buffer>) -> [u8; 32] {
    for piece in pieces {
        if let Some(buffer) = update(&mut hasher, piece) {
            let _ = back.send(buffer);
        }
    }
    hasher.finish()
}

/// Hashes a piece, and gives its buffer back.
fn update(hasher: &mut Hasher, piece: Piece) -> Option<Buffer> {
    match piece {
        Piece::Bytes(buffer, used) => {
            hasher.update(&buffer[..used]);
            Some(buffer)
        }
        Piece::Zeros(count) => {
            hasher.update_zeros(count);
            None
        }
    }
}
