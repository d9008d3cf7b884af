//! How a command ends: its exit code and what it says. 0 done, 1 differences or nothing found, 2 usage, 3 failed.

use std::io;
use std::process::ExitCode;

use index::{IndexError, OpenError};

use crate::engine::EngineError;
use crate::query::QueryError;
use crate::state::StateError;

/// A command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what was asked.
    Done,
    /// It found differences, or nothing.
    Nothing,
}

impl Outcome {
    /// `Done` if something was found.
    pub(crate) fn found(any: bool) -> Outcome {
        if any { Outcome::Done } else { Outcome::Nothing }
    }

    /// The exit code.
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Nothing => ExitCode::from(1),
        }
    }
}

/// A command that did not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was asked for something that cannot be: what, which, and what to do instead.
    #[error("{0}")]
    Usage(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// The index does not hold the path.
    #[error("{0}")]
    NotIndexed(String),
    /// The journal begins later than was asked for.
    #[error(
        "fresh_start_required: the journal begins at seq {oldest}; what came before is no longer kept. Begin anew \
         from `indexer find` and go on with `--since {}`", .oldest.saturating_sub(1)
    )]
    FreshStart {
        /// The oldest record there is.
        oldest: u64,
    },
    /// A panic: what it said.
    #[error(
        "gave up: {0}. `indexer doctor` tells whether the index file is damaged; with a whole file this is a bug of ours"
    )]
    Bug(String),
    /// Whoever read our output is gone: nothing is left to say or to whom.
    #[error("the reader of the output is gone")]
    Pipe,
}

impl Failure {
    /// Says it on stderr and answers the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        match self {
            Failure::Pipe => return ExitCode::SUCCESS,
            Failure::FreshStart { oldest } if json => {
                let line = serde_json::json!({"error": "fresh_start_required", "oldest": oldest});
                let mut out = crate::render::Out::stdout();
                // The exit code says it too, should stdout be closed.
                let _ = out.line(line.to_string().as_bytes()).and_then(|()| out.flush());
            }
            _ => {}
        }
        eprintln!("indexer: {self}");
        ExitCode::from(match self {
            Failure::NotIndexed(_) => 1,
            Failure::Usage(_) => 2,
            _ => 3,
        })
    }

    /// A failure while `doing` something.
    pub(crate) fn doing(doing: impl std::fmt::Display, source: impl std::fmt::Display) -> Failure {
        Failure::Failed(format!("failed to {doing}: {source}"))
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Pipe,
            _ => Failure::doing("write the output", error),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Failure {
        match error {
            IndexError::FreshStartRequired { oldest } => Failure::FreshStart { oldest: oldest.0 },
            other => Failure::Failed(other.to_string()),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Failure {
        match error {
            QueryError::Index(error) => error.into(),
            QueryError::Bad(_) => Failure::Usage(error.to_string()),
            QueryError::Failed(_) => Failure::Failed(error.to_string()),
            QueryError::NotIndexed { .. } => Failure::NotIndexed(error.to_string()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::Failed(error.to_string())
    }
}
