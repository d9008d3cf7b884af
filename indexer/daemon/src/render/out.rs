//! stdout, buffered, with errors. Data goes here and nothing else.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use serde::Serialize;

/// The one writer of stdout.
pub(crate) struct Out(BufWriter<Stdout>);

impl Out {
    /// Writes to stdout from now on.
    pub(crate) fn stdout() -> Out {
        Out(BufWriter::with_capacity(64 << 10, io::stdout()))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader is gone.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.ended(line, b'\n')
    }

    /// Writes `bytes` and then `end`.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn ended(&mut self, bytes: &[u8], end: u8) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.write_all(&[end])
    }

    /// Writes a text that ends its own lines.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// Writes one JSON object on a line.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, value).map_err(io::Error::from)?;
        self.0.write_all(b"\n")
    }

    /// Hands everything over.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    /// Columns of the terminal, or `None` where stdout is none.
    pub(crate) fn width() -> Option<usize> {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let told = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        Some(told.filter(|width| *width > 0).unwrap_or(80))
    }
}
