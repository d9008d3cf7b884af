//! The JSON forms of the nouns. A version is written once and copied to the next, never edited.

pub mod job;
pub mod message;
pub mod schema;
mod shape;
pub mod v1;
