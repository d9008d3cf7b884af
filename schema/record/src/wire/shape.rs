//! The few shapes that bodies of messages have. Knows which verbs are of which, and no body.

use super::message::Read;
use crate::{Body, Op};

/// What a body holds, by its `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `c`: an entry is new.
    Created,
    /// `u`: an entry is another than before.
    Updated,
    /// `d`: an entry is gone.
    Deleted,
    /// `r`: an entry as a replay found it.
    Read,
    /// `m`: a word about the stream or a set.
    Notice,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 5] = [Shape::Created, Shape::Updated, Shape::Deleted, Shape::Read, Shape::Notice];

    /// That of what happens to an entry.
    #[must_use]
    pub fn of(op: Op) -> Shape {
        match op {
            Op::Created => Shape::Created,
            Op::Deleted => Shape::Deleted,
            _ => Shape::Updated,
        }
    }

    /// The letter in `op`.
    #[must_use]
    pub fn op(self) -> &'static str {
        match self {
            Shape::Created => "c",
            Shape::Updated => "u",
            Shape::Deleted => "d",
            Shape::Read => "r",
            Shape::Notice => "m",
        }
    }

    /// What it is called in the schema.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Shape::Created => "created",
            Shape::Updated => "updated",
            Shape::Deleted => "deleted",
            Shape::Read => "read",
            Shape::Notice => "notice",
        }
    }

    /// The verbs of it.
    #[must_use]
    pub fn verbs(self) -> Vec<&'static str> {
        match self {
            Shape::Read => vec![Read::VERB],
            Shape::Notice => Body::WORDS.into_iter().chain([Read::BEGUN, Read::ENDED]).collect(),
            of_an_entry => {
                let ops = Op::ALL.into_iter().filter(|op| Shape::of(*op) == of_an_entry);
                ops.map(Op::word).collect()
            }
        }
    }

    /// Whether there is an entry before, and one after.
    #[must_use]
    pub fn has(self) -> (bool, bool) {
        match self {
            Shape::Created | Shape::Read => (false, true),
            Shape::Updated => (true, true),
            Shape::Deleted => (true, false),
            Shape::Notice => (false, false),
        }
    }
}
