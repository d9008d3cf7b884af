//! Why the engine could not do what it was asked to.

use std::time::Duration;

use index::{IndexError, OpenError};
use record::Seq;

/// An error of the engine, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The index could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The index failed while open.
    #[error("{source}{}", full(.source))]
    Index {
        /// What it said.
        #[from]
        source: IndexError,
    },
    /// A root cannot be indexed.
    #[error("root {path}: {why}")]
    Root {
        /// Its path, for display.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The backend that was asked for is not to be had.
    #[error("cannot watch {path} by fanotify: {why}; without --backend the next best is taken")]
    Backend {
        /// Which tree.
        path: String,
        /// What the kernel said.
        why: String,
    },
    /// A consumer says that it is done with records that are still to come.
    #[error(
        "{consumer} cannot be done with seq {seq}: the journal ends at {last}; is it of another epoch? Compare with \
         `indexer status --json`"
    )]
    Ahead {
        /// Its name.
        consumer: String,
        /// Where its cursor was to stand.
        seq: Seq,
        /// The last record there is.
        last: Seq,
    },
    /// Not done in time.
    #[error("not settled within {0:?}; the daemon goes on, ask again or give it longer by --timeout")]
    TimedOut(Duration),
    /// The engine has stopped or is stopping.
    #[error("the daemon is stopping")]
    Stopped,
    /// The engine ended on an error of its own.
    #[error("{0}")]
    Failed(String),
}

fn full(error: &IndexError) -> &'static str {
    if error.is_disk_full() {
        "; the state folder's disk is full: make room and start again, nothing is lost"
    } else if error.is_io() {
        "; look after the disk that the state folder is on and start again, nothing is lost"
    } else {
        ""
    }
}
