//! What the daemon answers. Everything that reads the disk runs on threads for that; this one only waits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use index::Reader;
use record::Seq;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use crate::alerting::Tried;
use crate::api::answer::{ApiError, json};
use crate::api::{connections, monitor, stream};
use crate::consumers::Consumers;
use crate::engine::{Engine, EngineError, Level, Scrub};
use crate::query::{
    self, AlertRequest, ConsumerRequest, DuRequest, HashRequest, LookupRequest, PathRequest, QueryError,
    ScrubRequest, SettleRequest, SweepRequest,
};
use crate::relaying;

/// Questions answered at once; one more is refused as `busy`.
const QUESTIONS: usize = 32;
/// Looks at metrics and health at once: few are needed, and they must not wait behind actions.
const PROBES: usize = 4;
/// Actions (settle, sweep and the like) at once; each occupies a thread until it is done.
const ACTIONS: usize = 24;

/// Bytes of a request's body.
const MOST_BODY: usize = 2 << 20;

/// What the daemon answers from.
#[derive(Clone)]
pub(crate) struct Api {
    engine: Arc<Engine>,
    consumers: Consumers,
    questions: Arc<Semaphore>,
    actions: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Api {
    /// An API over `engine` and its consumers, whose streams end when `stopping` turns true.
    pub(crate) fn new(engine: Arc<Engine>, consumers: Consumers, stopping: watch::Receiver<bool>) -> Api {
        let permits = |count| Arc::new(Semaphore::new(count));
        Api {
            engine,
            consumers,
            questions: permits(QUESTIONS),
            actions: permits(ACTIONS),
            probes: permits(PROBES),
            stopping,
        }
    }

    /// Runs `work`, which is short, on a thread that may block.
    pub(super) async fn probe<T: Send + 'static>(
        self,
        work: impl FnOnce(&Engine, &Consumers) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.probes.acquire_owned().await.map_err(ApiError::failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&self.engine, &self.consumers)
        });
        done.await.map_err(ApiError::failed)
    }

    /// Runs `work` on a thread that may block.
    async fn act<T: Serialize + Send + 'static>(
        self,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let permit = self.actions.try_acquire_owned().map_err(|_| ApiError::busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&self.engine)
        });
        Ok(json(StatusCode::OK, &done.await.map_err(ApiError::failed)??))
    }
}

/// Answers monitors, and nobody else, on a port until dropped.
pub(crate) async fn serve_port(listener: TcpListener, api: Api) {
    connections::serve(listener, monitor::router().fallback(unknown).with_state(api), &connections::PORT)
        .await;
}

/// Answers on `listener` until dropped.
pub(crate) async fn serve(listener: UnixListener, api: Api) {
    let router = Router::new()
        .route("/v1/version", get(version))
        .route("/v1/status", get(status))
        .route("/v1/find", get(find))
        .route("/v1/replay", get(replay))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/between", get(between))
        .route("/v1/as-of", get(as_of))
        .route("/v1/ls", get(ls))
        .route("/v1/du", get(du))
        .route("/v1/dups", get(dups))
        .route("/v1/rotten", get(rotten))
        .route("/v1/scrub", post(scrub))
        .route("/v1/coverage", get(coverage))
        .route("/v1/lookup", post(lookup))
        .route("/v1/roots", get(roots))
        .route("/v1/check", get(check))
        .route("/v1/changes", get(changes))
        .route("/v1/settle", post(settle))
        .route("/v1/sweep", post(sweep))
        .route("/v1/hash", post(hash))
        .route("/v1/accept", post(accept))
        .route("/v1/confirm", post(confirm))
        .route("/v1/forget", post(forget))
        .route("/v1/alerts", get(alerts))
        .route("/v1/alerts/test", post(test_alert))
        .route("/v1/compact", post(compact))
        .merge(monitor::router())
        .fallback(unknown)
        .method_not_allowed_fallback(method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn(announced))
        .with_state(api);
    connections::serve(listener, router, &connections::SOCKET).await;
}

type Answer = Result<Response, ApiError>;

async fn version() -> Response {
    json(StatusCode::OK, &serde_json::json!({"version": env!("CARGO_PKG_VERSION"), "api": 1}))
}

async fn status(State(api): State<Api>) -> Answer {
    let consumers = api.consumers.clone();
    api.act(move |engine| {
        let mut status = engine.status();
        consumers.show(&mut status);
        Ok(status)
    })
    .await
}

async fn alerts(State(api): State<Api>) -> Answer {
    let alerts = Arc::clone(&api.consumers.alerts);
    api.act(move |_| Ok(alerts.reports())).await
}

async fn test_alert(State(api): State<Api>, body: Bytes) -> Answer {
    let request: AlertRequest = from_body(&body)?;
    let alerts = Arc::clone(&api.consumers.alerts);
    api.act(move |_| Ok(Tried::of(alerts.test(&request.rule)))).await
}

async fn roots(State(api): State<Api>) -> Answer {
    api.act(|engine| Ok(query::roots(&engine.index().read()?)?)).await
}

async fn check(State(api): State<Api>) -> Answer {
    api.act(|engine| Ok(query::check(engine.index())?)).await
}

async fn find(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        query::find(&query::whole(api.engine.index())?, &request, &mut |entry| lines.push(&entry))
    })
    .await)
}

async fn replay(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        let index = api.engine.index();
        let origin = relaying::origin(format!("{:032x}", index.epoch()?));
        let reader = query::whole(index)?;
        // Its ids carry the number of the last record, and go out.
        covered(&api.engine, &reader)?;
        query::replay(&reader, &origin, &request, &mut |line| lines.push(&line))
    })
    .await)
}

async fn snapshot(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::frames(api.questions, move |frames| {
        let index = api.engine.index();
        let origin = relaying::origin(format!("{:032x}", index.epoch()?));
        let reader = query::whole(index)?;
        // Its watermark goes out.
        covered(&api.engine, &reader)?;
        query::snapshot(index, &reader, &origin, &request, &mut |frame| frames.pass(frame))
    })
    .await)
}

async fn between(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::frames(api.questions, move |frames| {
        let index = api.engine.index();
        let origin = relaying::origin(format!("{:032x}", index.epoch()?));
        let reader = query::whole(index)?;
        // It goes out that something was as of a seq.
        covered(&api.engine, &reader)?;
        query::between(&reader, &origin, &request, &mut |frame| frames.pass(frame))
    })
    .await)
}

async fn as_of(State(api): State<Api>) -> Answer {
    api.act(|engine| {
        let reader = engine.index().read()?;
        engine.cover(reader.seq()?)?;
        Ok(query::as_of(engine.index(), &reader)?)
    })
    .await
}

/// Makes sure that the numbers up to the last one that `reader` sees may be shown outside.
fn covered(engine: &Engine, reader: &Reader) -> Result<(), QueryError> {
    let covered = reader.seq().map_err(EngineError::from).and_then(|seq| engine.cover(seq));
    covered.map(drop).map_err(|error| QueryError::Failed(error.to_string()))
}

async fn ls(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        query::ls(&api.engine.index().read()?, &request, &mut |entry| lines.push(&entry))
    })
    .await)
}

async fn du(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request: DuRequest = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        if request.by.is_some() {
            let reader = query::whole(api.engine.index())?;
            return query::du_by(&reader, &request, &mut |sum| lines.push(&sum));
        }
        query::du(&api.engine.index().read()?, &request, &mut |du| lines.push(&du))
    })
    .await)
}

async fn dups(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        query::dups(&api.engine.index().read()?, &request, &mut |set| lines.push(&set))
    })
    .await)
}

async fn rotten(State(api): State<Api>) -> Answer {
    Ok(stream::lines(api.questions, move |lines| {
        query::rotten(&api.engine.index().read()?, &mut |rotten| lines.push(&rotten))
    })
    .await)
}

async fn scrub(State(api): State<Api>, body: Bytes) -> Answer {
    let request: ScrubRequest = from_body(&body)?;
    let path = request.path.as_deref().map(|path| path_of(path, request.path_raw.as_deref())).transpose()?;
    let older_than = Duration::from_millis(request.older_than_ms.unwrap_or(0));
    let what = Scrub { path, older_than, rate: request.rate };
    let hasher = Arc::clone(&api.consumers.hasher);
    Ok(stream::lines(api.questions, move |lines| {
        // Hours may pass between two of them.
        let done = hasher.scrub(&what, &mut |line| lines.push(&line) && lines.flush());
        done.map_err(|error| QueryError::Failed(error.to_string()))
    })
    .await)
}

async fn coverage(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::lines(api.questions, move |lines| {
        let reader = api.engine.index().read()?;
        query::coverage(&reader, &api.engine.keeper(), &request, &mut |line| lines.push(&line))
    })
    .await)
}

async fn lookup(State(api): State<Api>, body: Bytes) -> Answer {
    let request: LookupRequest = from_body(&body)?;
    Ok(stream::lines(api.questions, move |lines| {
        query::look_up(&api.engine.index().read()?, &request, &mut |entry| lines.push(&entry))
    })
    .await)
}

async fn changes(State(api): State<Api>, RawQuery(text): RawQuery) -> Answer {
    let request = from_query(text)?;
    Ok(stream::changes(api.engine, request, api.questions, api.stopping).await)
}

async fn settle(State(api): State<Api>, body: Bytes) -> Answer {
    let request: SettleRequest = from_body(&body)?;
    let timeout = Duration::from_millis(request.timeout_ms.unwrap_or(30_000));
    api.act(move |engine| engine.settle(timeout)).await
}

async fn sweep(State(api): State<Api>, body: Bytes) -> Answer {
    let request: SweepRequest = from_body(&body)?;
    let path = request.path.as_deref().map(|path| path_of(path, request.path_raw.as_deref())).transpose()?;
    let level = match request.level.as_deref() {
        None | Some("stat") => Level::Stat,
        Some("names") => Level::Names,
        Some(other) => {
            return Err(ApiError::bad(format!(
                "unknown level {other:?}; write names or stat; for contents there is POST /v1/scrub"
            )));
        }
    };
    api.act(move |engine| engine.sweep(path, level)).await
}

async fn hash(State(api): State<Api>, body: Bytes) -> Answer {
    let request: HashRequest = from_body(&body)?;
    let paths = request.paths.iter().map(|path| path_of(&path.path, path.path_raw.as_deref()));
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    let patience = Duration::from_millis(request.timeout_ms.unwrap_or(60_000));
    let hasher = Arc::clone(&api.consumers.hasher);
    api.act(move |engine| {
        // A file that was made just now is to be known.
        engine.settle(patience)?;
        hasher.hash(&paths, patience)
    })
    .await
}

async fn accept(State(api): State<Api>, body: Bytes) -> Answer {
    let request: PathRequest = from_body(&body)?;
    let path = path_of(&request.path, request.path_raw.as_deref())?;
    api.act(move |engine| engine.accept(&path)).await
}

async fn confirm(State(api): State<Api>, body: Bytes) -> Answer {
    let request: ConsumerRequest = from_body(&body)?;
    let seq = request.seq.ok_or_else(|| ApiError::bad("confirm takes a seq"))?;
    api.act(move |engine| engine.confirm(&request.consumer, Seq(seq))).await
}

async fn forget(State(api): State<Api>, body: Bytes) -> Answer {
    let request: ConsumerRequest = from_body(&body)?;
    api.act(move |engine| engine.forget(&request.consumer)).await
}

async fn compact() -> ApiError {
    ApiError::conflict("the index cannot be compacted while the daemon has it open; stop the daemon first")
}

/// Refuses a body by its announced length, before waiting for it; one without is cut off while it is read.
async fn announced(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > MOST_BODY as u64 => {
            ApiError::too_large(format!("a request has at most {MOST_BODY} bytes")).into_response()
        }
        _ => next.run(request).await,
    }
}

async fn unknown(uri: axum::http::Uri) -> ApiError {
    ApiError::not_found(format!("nothing is at {}; see GET /v1/version", uri.path()))
}

async fn method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError::method(format!("{method} is not answered at {}", uri.path()))
}

fn from_query<T: DeserializeOwned>(text: Option<String>) -> Result<T, ApiError> {
    serde_urlencoded::from_str(text.as_deref().unwrap_or_default()).map_err(ApiError::bad)
}

fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(if body.is_empty() { b"{}" } else { body }).map_err(ApiError::bad)
}

fn path_of(path: &str, raw: Option<&str>) -> Result<Vec<u8>, ApiError> {
    record::wire::v1::bytes_of(path, raw).map_err(|error| ApiError::bad(format!("path_raw: {error}")))
}
