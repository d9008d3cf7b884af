//! Text for people: paths, numbers, times, tables. Knows no index and no socket.

mod human;
mod out;
mod owner;
mod quote;
mod table;
mod talk;

pub(crate) use human::{ago, bytes, count, local_time, mode_text};
pub(crate) use out::Out;
pub(crate) use owner::{Names, user_number};
pub(crate) use quote::quoted;
pub(crate) use table::{Align, Table};
pub(crate) use talk::{Talk, stand};
