//! Why a check did not come to its end. Knows no check.

use std::io;

/// What ends a check, or all of them, early.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Somebody asked for the end.
    #[error("interrupted")]
    Interrupted,
    /// What was asked for cannot be: what, and what to do instead.
    #[error("{0}")]
    Usage(String),
    /// It could not be tried. Says nothing of the program.
    #[error("{0}")]
    Cannot(String),
    /// The program failed where it must not: it ended, did not answer, or broke its word.
    #[error("{0}")]
    Fault(String),
}

impl Trouble {
    /// What could not be done, and what the system said.
    pub(crate) fn cannot(doing: impl std::fmt::Display) -> impl Fn(io::Error) -> Trouble {
        move |error| Trouble::Cannot(format!("failed to {doing}: {error}"))
    }
}
