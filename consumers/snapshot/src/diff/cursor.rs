//! One side of a merge: where it stands. Compares nothing.

use crate::read::{Line, Lines};

/// Answers the next rows; none at the end.
pub type Next<'a, E> = &'a mut dyn FnMut() -> Result<Option<Lines>, E>;

pub(super) struct Cursor<'a, E> {
    next: Next<'a, E>,
    lines: Option<Lines>,
    at: usize,
    rows: u64,
}

impl<'a, E> Cursor<'a, E> {
    /// Stands at the first row.
    pub(super) fn new(next: Next<'a, E>) -> Result<Cursor<'a, E>, E> {
        let mut cursor = Cursor { next, lines: None, at: 0, rows: 0 };
        cursor.turn()?;
        Ok(cursor)
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.lines.as_ref().map(|lines| lines.path(self.at))
    }

    pub(super) fn line(&self) -> Option<Line<'_>> {
        self.lines.as_ref().map(|lines| lines.line(self.at))
    }

    pub(super) fn go_on(&mut self) -> Result<(), E> {
        self.at += 1;
        self.rows += 1;
        if self.lines.as_ref().is_some_and(|lines| self.at < lines.len()) { Ok(()) } else { self.turn() }
    }

    /// Rows that it went past.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn turn(&mut self) -> Result<(), E> {
        self.at = 0;
        loop {
            self.lines = (self.next)()?;
            match &self.lines {
                Some(lines) if lines.is_empty() => {}
                _ => return Ok(()),
            }
        }
    }
}
