//! Numbers that nobody has used before, for names. Not for secrets.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use record::Time;

/// 16 bytes from the system's random numbers, the clock and the process.
pub(crate) fn id() -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    // Each is seeded by the system, or follows from one that was.
    for _ in 0..4 {
        hasher.update(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    hasher.update(&Time::now().0.to_le_bytes()).update(&std::process::id().to_le_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Two hexadecimal digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
