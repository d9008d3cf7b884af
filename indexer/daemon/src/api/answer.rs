//! Answers that are not streams, and errors: what goes wrong gets a code, a status and a sentence.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use index::IndexError;
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;
use crate::failure::Failure;
use crate::query::QueryError;

/// An error as it goes over the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    /// `bad_request not_found not_indexed fresh_start_required timed_out busy failed stopping`.
    pub(crate) error: String,
    /// What, which, and what to do.
    pub(crate) message: String,
    /// For `fresh_start_required`: the oldest record there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oldest: Option<u64>,
}

impl ErrorBody {
    /// What a command makes of it.
    pub(crate) fn failure(self) -> Failure {
        match (&*self.error, self.oldest) {
            ("fresh_start_required", Some(oldest)) => Failure::FreshStart { oldest },
            ("bad_request", _) => Failure::Usage(self.message),
            ("not_indexed", _) => Failure::NotIndexed(self.message),
            _ => Failure::Failed(self.message),
        }
    }
}

/// An error on its way out.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl ToString) -> ApiError {
        let body = ErrorBody { error: code.to_owned(), message: message.to_string(), oldest: None };
        ApiError { status, body }
    }

    /// The request makes no sense.
    pub(crate) fn bad(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// No such thing to ask for.
    pub(crate) fn not_found(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Something is there, and it is not asked that way.
    pub(crate) fn method(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", message)
    }

    /// More than a request may have.
    pub(crate) fn too_large(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", message)
    }

    /// Too many questions at once.
    pub(crate) fn busy() -> ApiError {
        let message = "the daemon answers as many questions as it can; ask again in a moment";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// The daemon cannot do this while it runs.
    pub(crate) fn conflict(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, "failed", message)
    }

    /// It went wrong here.
    pub(crate) fn failed(message: impl ToString) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    }

    /// The error as the last line of a stream.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self.body).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> ApiError {
        match &error {
            IndexError::FreshStartRequired { oldest } => {
                let mut api = ApiError::new(StatusCode::GONE, "fresh_start_required", &error);
                api.body.oldest = Some(oldest.0);
                api
            }
            _ => ApiError::failed(error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        match error {
            QueryError::Index(error) => error.into(),
            QueryError::Bad(_) => ApiError::bad(error),
            QueryError::Failed(_) => ApiError::failed(error),
            QueryError::NotIndexed { .. } => ApiError::new(StatusCode::NOT_FOUND, "not_indexed", error),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> ApiError {
        match &error {
            EngineError::TimedOut(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", error),
            EngineError::Ahead { .. } => ApiError::bad(error),
            EngineError::Stopped => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error),
            _ => ApiError::failed(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json(self.status, &self.body)
    }
}

/// One JSON object.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, bytes) = match serde_json::to_vec(value) {
        Ok(bytes) => (status, bytes),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
