//! Looks at directories: single looks, listings, the parallel walk, mounts, rules, and what belongs to a root.
//! Decides nothing about change and knows no database. Everything is relative to open descriptors, paths are
//! bytes, and no symbolic link is looked through (but under `--follow-symlinks`).

mod batch;
mod crossing;
mod directory;
mod disk;
mod extents;
mod ioctl;
mod lease;
mod links;
mod listing;
mod look;
mod mounts;
mod open;
mod rules;
mod scope;
mod solid;
mod start;
mod visitor;
mod volume;
mod walk;

pub use crossing::{ANOTHER, Binder, is_of_mounts};
pub use directory::{Directory, raise_descriptor_limit};
pub use disk::{Disk, EachName, Kernel};
pub use extents::lies_at;
pub use lease::{are_writers_held, hold_writers, outlive_leases, read_when_idle};
pub use listing::{ListBuffer, list};
pub use look::{Look, Seen, look, look_self, look_through};
pub use mounts::{Mount, is_below, is_hidden, is_pseudo, is_remote, mounts, parse as parse_mounts};
pub use open::{open_below, open_dir, open_file, open_file_through, open_root};
pub use rules::{IGNORE_FILE, Rules, RulesError};
pub use rustix::io::Errno;
pub use scope::{Member, Met, Scope, Standing};
pub use solid::is_solid;
pub use start::{Rest, Start, WalkError};
pub use visitor::{Progress, Visitor};
pub use volume::{VolumeIdentity, identify};
pub use walk::{walk, walk_rest};
