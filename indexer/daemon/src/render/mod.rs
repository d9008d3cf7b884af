//! Text for people: paths, numbers, times, tables. Knows no index and no socket.

mod csv;
mod html;
mod human;
mod out;
mod owner;
mod page;
mod quote;
mod table;
mod talk;

pub(crate) use csv::csv_line;
pub(crate) use html::html_page;
pub(crate) use human::{ago, bytes, count, local_time, mode_text, signed_bytes};
pub(crate) use out::Out;
pub(crate) use owner::{Names, user_number};
pub(crate) use page::page_table;
pub(crate) use quote::quoted;
pub(crate) use table::{Align, Table};
pub(crate) use talk::{Talk, stand};
