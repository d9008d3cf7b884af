//! Codec, commits, journal, seeds, damaged files and power loss: the index against oracles of its own.

mod codec;
mod commits;
mod contents;
mod crash;
mod damage;
mod format;
mod journal;
mod make;
mod moving;
mod opening;
mod published;
mod resume;
mod seed;
mod trees;
