//! HTTP as plain text over a stream: a request written by hand, an answer read to its end. Knows no client library, so
//! that it can also be rude.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take; waited out by failures alone.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer: its status and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, 503 and so on.
    pub status: u16,
    /// What follows the head, as it came.
    pub body: String,
}

/// A connection to the socket in the state folder.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn dial(state: &Path) -> UnixStream {
    let stream = UnixStream::connect(state.join("socket")).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// A connection to a port.
///
/// # Panics
/// When nobody listens.
#[must_use]
pub fn dial_port(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Writes `METHOD PATH` with `body`, to be answered once.
///
/// # Panics
/// When the other side does not take it.
pub fn send(stream: &mut impl Write, method: &str, path: &str, body: &str) {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).expect("a request is taken");
}

/// Reads an answer to the end of the connection.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn receive(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    // A peer that closes with bytes of ours unread resets the connection; what it said came before.
    let ended = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer: {ended:?} {text:?}"));
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Answer { status, body }
}

/// Asks the daemon of a state folder by GET.
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn get(state: &Path, path: &str) -> Answer {
    let mut stream = dial(state);
    send(&mut stream, "GET", path, "");
    receive(&mut stream)
}
