//! Proves the program on a file system: random work in a folder of its own while the program watches, is stopped, flooded
//! and killed; then a judgement of its own. Knows the program by its command line alone.

mod folder;
mod ground;
mod judge;
mod mapping;
mod phases;
mod program;
mod replay;
mod rng;
mod trial;
mod trouble;
mod verdict;
mod walk;
mod workload;

pub use replay::Rows;
pub use rng::Rng;
pub use trial::{Listener, Options, run};
pub use trouble::Trouble;
pub use verdict::{Outcome, Report, Verdict};
pub use walk::{Difference, Found, Walked, WalkedStat, compare, found, walk};
pub use workload::{Work, Workload};
