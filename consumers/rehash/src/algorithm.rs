//! The two hash functions that full digests are made by, behind one [`Hasher`]. Knows bytes and runs of zeros, no files.
//!
//! BLAKE2b is `blake2b_simd`'s: on one core with AVX2 it hashes 0.61 GiB/s where `blake2` 0.11, without SIMD, does 0.42;
//! BLAKE3 does 2.2 there.
//!
//! Zeros are hashed like any bytes. No table of subtrees of zeros can spare that: a chunk of BLAKE3 takes its number in, so
//! equal chunks at different places have different chaining values, and BLAKE2b has no tree at all. A hole of 1 TiB takes that
//! core six minutes of BLAKE3, twenty of BLAKE2b.

use std::sync::LazyLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use record::DigestKind;
use tracing::warn;

use crate::manners::be_nice;

/// What full digests are made by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// BLAKE3, 256 bits.
    #[default]
    Blake3,
    /// BLAKE2b with a digest of 32 bytes.
    Blake2b256,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Algorithm; 2] = [Algorithm::Blake3, Algorithm::Blake2b256];

    /// The word used in configuration: that of its digests.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.kind().word()
    }

    /// The algorithm called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }

    /// What its digests of whole contents are marked as.
    #[must_use]
    pub fn kind(self) -> DigestKind {
        match self {
            Algorithm::Blake3 => DigestKind::Blake3,
            Algorithm::Blake2b256 => DigestKind::Blake2b256,
        }
    }
}

/// Zeros to hash where a file has a hole. Never written to, so the pages are the kernel's one page of zeros.
pub(crate) static ZEROS: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; 1 << 20]);

/// Threads that share one hashing; `None` when there is one core, or no thread is to be had.
static CREW: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads < 2 {
        return None;
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("hash-{number}"))
        .start_handler(|_| be_nice())
        .build();
    pool.inspect_err(|error| warn!(%error, "no threads to hash with")).ok()
});

/// A hashing that is under way.
pub(crate) enum Hasher {
    Blake3 { state: Box<blake3::Hasher>, crew: Option<&'static ThreadPool> },
    Blake2b256(Box<blake2b_simd::State>),
}

impl Hasher {
    /// One that has seen nothing. `parallel`: BLAKE3 over all cores; BLAKE2b cannot.
    pub(crate) fn new(algorithm: Algorithm, parallel: bool) -> Hasher {
        match algorithm {
            Algorithm::Blake3 => {
                Hasher::Blake3 { state: Box::default(), crew: parallel.then(|| CREW.as_ref()).flatten() }
            }
            Algorithm::Blake2b256 => {
                Hasher::Blake2b256(Box::new(blake2b_simd::Params::new().hash_length(32).to_state()))
            }
        }
    }

    /// Takes in `bytes`.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Blake3 { state, crew: None } => _ = state.update(bytes),
            Hasher::Blake3 { state, crew: Some(crew) } => crew.install(|| _ = state.update_rayon(bytes)),
            Hasher::Blake2b256(state) => _ = state.update(bytes),
        }
    }

    /// Takes in `count` zeros, at the speed of hashing.
    pub(crate) fn update_zeros(&mut self, mut count: u64) {
        while count > 0 {
            let step = ZEROS.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.update(&ZEROS[..step]);
            count -= step as u64;
        }
    }

    /// The 256 bits.
    pub(crate) fn finish(self) -> [u8; 32] {
        match self {
            Hasher::Blake3 { state, .. } => *state.finalize().as_bytes(),
            Hasher::Blake2b256(state) => {
                let hash = state.finalize();
                let mut bytes = [0; 32];
                bytes.copy_from_slice(hash.as_bytes());
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests;
