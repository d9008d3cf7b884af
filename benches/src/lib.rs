//! What the bench programs share: numbers in order, and a child's time and memory as the kernel counts them.

mod figures;
mod machine;
mod read;
mod spent;
mod summary;

pub use figures::{Figures, tell};
pub use machine::machine;
pub use read::bytes_read;
pub use spent::{Spent, run};
pub use summary::Summary;
