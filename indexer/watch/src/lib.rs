//! Makes hints of kernel events and holds them, coalesced and bounded, until someone looks.
//! Decides nothing, looks at no file for its own sake, knows no index: a hint says where to look, never what is there.

mod batch;
mod hint;
mod pending;
mod sync;
#[cfg(not(loom))]
#[cfg(test)]
mod testing;

#[cfg(not(loom))]
pub mod fanotify;
#[cfg(not(loom))]
pub mod inotify;
#[cfg(not(loom))]
mod limits;
#[cfg(not(loom))]
mod mounts;
#[cfg(not(loom))]
mod portable;
#[cfg(not(loom))]
mod reader;

pub use batch::{Batch, DirHints, ListingHint};
pub use hint::{Flags, Handle, Hint, What};
pub use pending::{DEFAULT_CAPACITY, Pending, Stats, Woken};

#[cfg(not(loom))]
pub use fanotify::{ArmError, FanotifyDirectories, FanotifyGroup, FanotifyLimits, MarkShare};
#[cfg(not(loom))]
pub use inotify::{Active, AddError, InotifyTier, Shortage, WatchId};
#[cfg(not(loom))]
pub use limits::InotifyLimits;
#[cfg(not(loom))]
pub use mounts::MountWatch;
#[cfg(not(loom))]
pub use portable::{PortableError, PortableTier, Resolve};
#[cfg(not(loom))]
pub use reader::{BarrierError, Counters, DEFAULT_WINDOW, Health, Reader};
