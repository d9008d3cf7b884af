//! What monitors ask: `/metrics` and `/healthz`, the same on the socket and on the port. Says, and changes nothing.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;

use crate::api::answer::ApiError;
use crate::api::server::Api;
use crate::engine::status::Problem;
use crate::metrics;

/// Problems that `/healthz` lists; `status` has all.
const MOST_LISTED: usize = 100;

/// The two paths.
pub(super) fn router() -> Router<Api> {
    Router::new().route("/metrics", get(answer_metrics)).route("/healthz", get(answer_health))
}

async fn answer_metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let text = api.probe(metrics::of).await?.map_err(ApiError::failed)?;
    Ok(plain(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

async fn answer_health(State(api): State<Api>) -> Result<Response, ApiError> {
    let problems = api.probe(|engine, _| engine.status().problems).await?;
    let (status, text) = match problems.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, list(&problems)),
    };
    Ok(plain(status, "text/plain; charset=utf-8", text))
}

/// One line a problem: its code, its root if it has one, and what is wrong.
fn list(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(MOST_LISTED) {
        text.push_str(&problem.line());
        text.push('\n');
    }
    if problems.len() > MOST_LISTED {
        text.push_str(&format!("and {} more\n", problems.len() - MOST_LISTED));
    }
    text
}

fn plain(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
