//! Streams of lines and frames with back-pressure: a query runs on a thread of its own and waits for its listener; when the
//! listener goes away, it stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Semaphore, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::answer::ApiError;
use crate::engine::Engine;
use crate::priority;
use crate::query::{self, ChangesRequest, QueryError};

/// Bytes gathered before they are sent.
const CHUNK: usize = 16 << 10;
/// Chunks on their way; the query waits when so many are unread.
const CHUNKS: usize = 4;
/// How long a listener may stall. An open reader keeps freed pages in the index file, so it cannot be for ever.
const STALL: Duration = Duration::from_secs(600);
/// Records read at a time.
const RECORDS: usize = 512;

type Part = Result<Bytes, ApiError>;

/// What a stream is made of.
struct Form {
    content: &'static str,
    /// An error as its last part.
    error: fn(&ApiError) -> Vec<u8>,
}

static LINES: Form = Form { content: "application/x-ndjson", error: ApiError::line };
static FRAMES: Form =
    Form { content: "application/octet-stream", error: |error| snapshot::failed(&error.line()) };

/// Takes the lines of one answer, on the query's thread.
pub(crate) struct Lines {
    buffer: Vec<u8>,
    sender: Sender<Part>,
    runtime: Handle,
    gone: bool,
}

impl Lines {
    /// Adds a line; answers false when nobody listens any more.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> bool {
        if serde_json::to_writer(&mut self.buffer, value).is_err() {
            // Nothing of ours fails to serialise; if it does, an end is better than half a line.
            self.gone = true;
        }
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK {
            let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + 1024));
            self.send(Ok(chunk.into()));
        }
        !self.gone
    }

    /// Sends what was gathered; answers false when nobody listens any more.
    pub(crate) fn flush(&mut self) -> bool {
        let chunk = std::mem::take(&mut self.buffer);
        self.send(Ok(chunk.into()));
        !self.gone
    }

    /// Sends bytes as they are; answers false when nobody listens any more.
    pub(crate) fn pass(&mut self, bytes: Vec<u8>) -> bool {
        self.send(Ok(bytes.into()));
        !self.gone
    }

    fn send(&mut self, part: Part) {
        if !self.gone {
            // The clock is the runtime's, and this thread may be none of its own.
            let sent = async { tokio::time::timeout(STALL, self.sender.send(part)).await };
            self.gone = !matches!(self.runtime.block_on(sent), Ok(Ok(())));
        }
    }
}

/// Answers with the lines that `work` pushes. An error before the first chunk has its own status; a later one is
/// the last line.
pub(crate) async fn lines(
    permits: Arc<Semaphore>,
    work: impl FnOnce(&mut Lines) -> Result<(), QueryError> + Send + 'static,
) -> Response {
    answer(permits, &LINES, false, work).await
}

/// Answers with the frames of a snapshot that `work` passes. An error before the first has its own status; a later one is the last
/// frame. It takes seconds of a processor, and gives way to all else.
pub(crate) async fn frames(
    permits: Arc<Semaphore>,
    work: impl FnOnce(&mut Lines) -> Result<(), QueryError> + Send + 'static,
) -> Response {
    answer(permits, &FRAMES, true, work).await
}

async fn answer(
    permits: Arc<Semaphore>,
    form: &'static Form,
    gives_way: bool,
    work: impl FnOnce(&mut Lines) -> Result<(), QueryError> + Send + 'static,
) -> Response {
    let Ok(permit) = permits.try_acquire_owned() else { return ApiError::busy().into_response() };
    let (sender, receiver) = channel(CHUNKS);
    let runtime = Handle::current();
    let work = move || {
        let _permit = permit;
        let mut lines = Lines { buffer: Vec::new(), sender, runtime, gone: false };
        let done = work(&mut lines);
        let rest = std::mem::take(&mut lines.buffer);
        if !rest.is_empty() {
            lines.send(Ok(rest.into()));
        }
        if let Err(error) = done {
            lines.send(Err(error.into()));
        }
    };
    if gives_way {
        // A thread of its own: a priority that was lowered can only be raised with rights.
        let spawned = std::thread::Builder::new().name("export".to_owned()).spawn(move || {
            priority::give_way();
            work();
        });
        if let Err(error) = spawned {
            return ApiError::failed(error).into_response();
        }
    } else {
        tokio::task::spawn_blocking(work);
    }
    response(receiver, form).await
}

/// Answers with the records of `request`; with `follow`, on and on until the daemon stops or nobody listens.
pub(crate) async fn changes(
    engine: Arc<Engine>,
    request: ChangesRequest,
    permits: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) -> Response {
    let (sender, receiver) = channel(CHUNKS);
    tokio::spawn(async move {
        let follow = request.follow.unwrap_or(false);
        let mut durable = engine.follow();
        let mut left = request.limit.unwrap_or(u64::MAX);
        let mut after = None;
        let request = Arc::new(request);
        while left > 0 {
            durable.mark_unchanged();
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let (engine, request) = (engine.clone(), request.clone());
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(RECORDS);
            let read = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                // The reader lives for this one batch.
                let reader = engine.index().read()?;
                let after = match after {
                    Some(after) => after,
                    None => query::start(&reader, &request)?,
                };
                query::batch(&reader, &request, after, most)
            });
            let batch = match read.await {
                Ok(Ok(batch)) => batch,
                Ok(Err(error)) => return drop(sender.send(Err(error.into())).await),
                Err(panic) => return drop(sender.send(Err(ApiError::failed(panic))).await),
            };
            after = Some(batch.last);
            left -= batch.changes.len() as u64;
            let mut chunk = Vec::new();
            for change in &batch.changes {
                if serde_json::to_writer(&mut chunk, change).is_err() {
                    return;
                }
                chunk.push(b'\n');
            }
            let sent = tokio::time::timeout(STALL, sender.send(Ok(chunk.into()))).await;
            if !matches!(sent, Ok(Ok(()))) || (batch.end && !follow) || *stopping.borrow() {
                return;
            }
            if batch.end {
                tokio::select! {
                    more = durable.changed() => if more.is_err() { return },
                    _ = stopping.changed() => return,
                    () = sender.closed() => return,
                }
            }
        }
    });
    response(receiver, &LINES).await
}

async fn response(mut receiver: Receiver<Part>, form: &'static Form) -> Response {
    let first = match receiver.recv().await {
        Some(Err(error)) => return error.into_response(),
        Some(Ok(first)) => first,
        None => Bytes::new(),
    };
    let rest = ReceiverStream::new(receiver)
        .map(|part| Ok::<Bytes, Infallible>(part.unwrap_or_else(|error| (form.error)(&error).into())));
    let mut response = Response::new(Body::from_stream(tokio_stream::once(Ok(first)).chain(rest)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content));
    response
}
