//! HTTP on the Unix socket in the state folder: the daemon's side and the side of the commands that ask it.
//!
//! Answers are one JSON object, or one a line for streams. An error is `{"error": code, "message": text}` with its
//! HTTP status; one that comes up in mid-stream is the last line.

mod answer;
mod client;
mod connections;
mod monitor;
mod server;
mod socket;
mod stream;
mod view;

pub(crate) use answer::ErrorBody;
pub(crate) use client::Client;
pub(crate) use server::{Api, serve, serve_port};
pub(crate) use socket::listen;
pub(crate) use view::{ChangeView, EntryView};
