//! Asks the daemon. Blocking for its caller; a small runtime of its own does the waiting.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::api::answer::ErrorBody;
use crate::api::socket;
use crate::failure::Failure;

/// How an error line of a stream begins, and no other line does.
const ERROR_LINE: &[u8] = b"{\"error\":";

/// Called with each line, and with `None` when all that has come is passed on; answers false for no more.
pub(crate) type EachLine<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> Result<bool, Failure>;

/// A connection to the daemon, made anew when it was used up.
pub(crate) struct Client {
    runtime: Runtime,
    socket: PathBuf,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects; `None` where nobody listens.
    ///
    /// # Errors
    /// When somebody does and it fails.
    pub(crate) fn connect(socket: &Path) -> Result<Option<Client>, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::doing("start the runtime", error))?;
        let mut client = Client { runtime, socket: socket.to_path_buf(), sender: None };
        match client.runtime.block_on(open(&client.socket)) {
            Ok(sender) => client.sender = Some(sender),
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(client.lost(error)),
        }
        Ok(Some(client))
    }

    /// Another connection to the same daemon.
    ///
    /// # Errors
    /// When it has gone.
    pub(crate) fn another(&self) -> Result<Client, Failure> {
        Client::connect(&self.socket)?
            .ok_or_else(|| Failure::Failed("the daemon has gone meanwhile; start it again".to_owned()))
    }

    /// GETs one object.
    ///
    /// # Errors
    /// What the daemon says, or that it has gone.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::GET, path.to_owned(), Bytes::new())?;
        self.object(response)
    }

    /// POSTs `body` and reads one object.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::doing("write the request", error))?;
        let response = self.send(Method::POST, path.to_owned(), body.into())?;
        self.object(response)
    }

    /// GETs a stream of lines.
    ///
    /// # Errors
    /// As [`Client::get`], and what `each` answers.
    pub(crate) fn lines(
        &mut self,
        path: &str,
        query: &impl Serialize,
        each: EachLine<'_>,
    ) -> Result<(), Failure> {
        let query =
            serde_urlencoded::to_string(query).map_err(|error| Failure::doing("write the request", error))?;
        let response = self.send(Method::GET, format!("{path}?{query}"), Bytes::new())?;
        self.stream(response, each)
    }

    /// GETs a stream of bytes; `each` is called with every piece.
    ///
    /// # Errors
    /// As [`Client::get`], and what `each` answers.
    pub(crate) fn bytes(
        &mut self,
        path: &str,
        query: &impl Serialize,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let query =
            serde_urlencoded::to_string(query).map_err(|error| Failure::doing("write the request", error))?;
        let response = self.send(Method::GET, format!("{path}?{query}"), Bytes::new())?;
        let mut body = response.into_body();
        while let Some(frame) = self.runtime.block_on(body.frame()) {
            let frame = frame.map_err(|error| self.lost(error))?;
            if let Some(data) = frame.data_ref() {
                // Where it fails the rest is not read, and the connection goes with it.
                each(data).inspect_err(|_| self.sender = None)?;
            }
        }
        Ok(())
    }

    /// POSTs `body` and reads a stream of lines.
    ///
    /// # Errors
    /// As [`Client::lines`].
    pub(crate) fn post_lines(
        &mut self,
        path: &str,
        body: &impl Serialize,
        each: EachLine<'_>,
    ) -> Result<(), Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::doing("write the request", error))?;
        let response = self.send(Method::POST, path.to_owned(), body.into())?;
        self.stream(response, each)
    }

    fn send(&mut self, method: Method, path: String, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "indexer")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::doing("write the request", error))?;
        let mut kept = self.sender.take();
        let answered = self.runtime.block_on(async {
            let usable = match &mut kept {
                Some(sender) => sender.ready().await.is_ok(),
                None => false,
            };
            let mut sender = match kept {
                Some(sender) if usable => sender,
                _ => open(&self.socket).await?,
            };
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((sender, response))
        });
        let (sender, response) = answered.map_err(|error| self.lost(error))?;
        self.sender = Some(sender);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.whole(response)?;
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => error.failure(),
            Err(_) => Failure::Failed(format!("the daemon answered {status}")),
        })
    }

    fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let collected = self.runtime.block_on(response.into_body().collect());
        Ok(collected.map_err(|error| self.lost(error))?.to_bytes())
    }

    fn object<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failure> {
        let body = self.whole(response)?;
        serde_json::from_slice(&body).map_err(|error| Failure::doing("read the daemon's answer", error))
    }

    fn stream(&mut self, response: Response<Incoming>, each: EachLine<'_>) -> Result<(), Failure> {
        let mut body = response.into_body();
        let mut kept: Vec<u8> = Vec::new();
        while let Some(frame) = self.runtime.block_on(body.frame()) {
            let frame = frame.map_err(|error| self.lost(error))?;
            let Some(data) = frame.data_ref() else { continue };
            let mut rest: &[u8] = data;
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let more = if kept.is_empty() {
                    pass(&rest[..end], each)?
                } else {
                    kept.extend_from_slice(&rest[..end]);
                    let more = pass(&kept, each)?;
                    kept.clear();
                    more
                };
                rest = &rest[end + 1..];
                if !more {
                    // The rest is not wanted, and the connection goes with it.
                    self.sender = None;
                    return Ok(());
                }
            }
            kept.extend_from_slice(rest);
            each(None)?;
        }
        if kept.is_empty() { Ok(()) } else { Err(self.lost("its answer ended within a line")) }
    }

    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::Failed(format!("lost the daemon at {}: {why}", crate::paths::shown(&self.socket)))
    }
}

fn pass(line: &[u8], each: EachLine<'_>) -> Result<bool, Failure> {
    if line.starts_with(ERROR_LINE)
        && let Ok(error) = serde_json::from_slice::<ErrorBody>(line)
    {
        return Err(error.failure());
    }
    each(Some(line))
}

async fn open(socket: &Path) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = socket::connect(socket).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the stream; what went wrong on it comes out at the request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
