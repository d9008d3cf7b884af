//! Requests of `object_store` by the HTTP client that the house has already, each on a thread that waits for it. Keeps what went
//! wrong last, in our words; headers and questions of a request, where secrets are, go into no message.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use consumer::web;
use http_body_util::BodyExt as _;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use ureq::http::header::{HeaderValue, IF_NONE_MATCH};
use ureq::http::request::Parts;
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Agent, Timeout};

use super::trouble::{Trouble, Troubles};

/// For a connection to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// For a part to go up.
const SEND: Duration = Duration::from_secs(300);
/// Bytes of an answer; none that we ask for is long.
const MOST: u64 = 16 << 20;
/// A connection that was left open longer may be dead.
const IDLE: Duration = Duration::from_secs(5);

/// What makes the clients of a store.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    agent: Agent,
    troubles: Troubles,
    fresh: bool,
}

impl Connector {
    /// One whose requests are answered within `answer`; `fresh`: an upload that is completed shall replace nothing.
    pub(super) fn new(troubles: &Troubles, answer: Duration, fresh: bool) -> Connector {
        let mut config = Agent::config_builder()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_body(Some(SEND))
            .timeout_recv_response(Some(answer))
            .timeout_recv_body(Some(answer))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_age(IDLE)
            .user_agent(concat!("indexer/", env!("CARGO_PKG_VERSION")));
        // Where the system has no certificates, addresses without TLS are reached all the same.
        if let Ok(tls) = web::tls(None) {
            config = config.tls_config(tls);
        }
        Connector { agent: config.build().new_agent(), troubles: troubles.clone(), fresh }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|told| told == "true");
        Ok(HttpClient::new(Service(Arc::new(Client { connector: self.clone(), plain }))))
    }
}

#[derive(Debug)]
struct Service(Arc<Client>);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Service {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Answer<'b>
    where
        'a: 'b,
    {
        let client = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let asked = tokio::task::spawn_blocking(move || client.ask(&head, &body));
            asked.await.unwrap_or_else(|died| Err(HttpError::new(HttpErrorKind::Unknown, died)))
        })
    }
}

#[derive(Debug)]
struct Client {
    connector: Connector,
    /// Whether what is sent may be read on its way.
    plain: bool,
}

impl Client {
    fn ask(&self, head: &Parts, body: &[u8]) -> Result<HttpResponse, HttpError> {
        let Connector { troubles, fresh, .. } = &self.connector;
        let host = host(&head.uri);
        if !self.plain && head.uri.scheme_str() == Some("http") && !is_here(&head.uri) {
            troubles.note(Trouble::Plain { host });
            return Err(HttpError::new(HttpErrorKind::Unknown, io::Error::from(io::ErrorKind::Unsupported)));
        }
        let failed = |error: ureq::Error| {
            troubles.note(Trouble::Connection { host: host.clone(), why: said(&error) });
            // Its text may repeat the address, and what it asks.
            HttpError::new(kind(&error), io::Error::other(said(&error)))
        };
        let answered = if *fresh && completes(head) { self.fresh(head, body) } else { self.send(head, body) };
        let mut answered = answered.map_err(failed)?;
        let text = answered.body_mut().with_config().limit(MOST).read_to_vec().map_err(failed)?;
        // That something is not there is an answer.
        let absent = head.method == Method::HEAD && answered.status() == StatusCode::NOT_FOUND;
        if !answered.status().is_success() && !absent {
            troubles.note(Trouble::status(host, answered.status().as_u16(), &text));
        }
        let (mut head, _) = answered.into_parts();
        // What a store does not know of it will not know in a minute, and `object_store` would ask again till then.
        if head.status == StatusCode::NOT_IMPLEMENTED {
            head.status = StatusCode::BAD_REQUEST;
        }
        Ok(HttpResponse::from_parts(head, text.into()))
    }

    /// Completes an upload where nothing is yet; `object_store` has no word for that. It signs no such header either when it uses it.
    fn fresh(&self, head: &Parts, body: &[u8]) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut careful = head.clone();
        careful.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        let answered = self.send(&careful, body)?;
        // A store that does not know of that; it was not there just now.
        if answered.status() == StatusCode::NOT_IMPLEMENTED { self.send(head, body) } else { Ok(answered) }
    }

    fn send(&self, head: &Parts, body: &[u8]) -> Result<Response<ureq::Body>, ureq::Error> {
        let agent = &self.connector.agent;
        let head = head.clone();
        // A proxy of the environment is for what is far away; credentials of a machine come from beside it.
        let direct = head.uri.scheme_str() == Some("http");
        if [Method::PUT, Method::POST].contains(&head.method) {
            let request = Request::from_parts(head, body);
            return if direct {
                agent.run(agent.configure_request(request).proxy(None).build())
            } else {
                agent.run(request)
            };
        }
        let request = Request::from_parts(head, ());
        if direct {
            agent.run(agent.configure_request(request).proxy(None).build())
        } else {
            agent.run(request)
        }
    }
}

/// Whether it is what makes an object of parts (`CompleteMultipartUpload` of S3).
fn completes(head: &Parts) -> bool {
    head.method == Method::POST && head.uri.query().is_some_and(|query| query.starts_with("uploadId="))
}

fn host(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", uri.scheme_str().unwrap_or("https"))
}

/// Whether it is this machine.
fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Which of them are tried again is decided by these.
fn kind(error: &ureq::Error) -> HttpErrorKind {
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}

fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(what) => format!("no answer in time ({what})"),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error} (SSL_CERT_FILE names certificates to trust)"),
        ureq::Error::Tls(why) => format!("TLS: {why}"),
        ureq::Error::ConnectionFailed => "the connection failed".to_owned(),
        _ => "no HTTP came back".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for (uri, here) in [
            ("http://127.0.0.1:9000/b", true),
            ("http://[::1]:9000/b", true),
            ("http://localhost/b", true),
            ("http://b.localhost:9000/", true),
            ("http://localhost.example/b", false),
            ("http://10.0.0.1/b", false),
            ("http://[2001:db8::1]/b", false),
        ] {
            assert_eq!(is_here(&uri.parse().unwrap()), here, "{uri}");
        }
    }

    #[test]
    fn a_host_is_shown_without_what_stands_before_it() {
        let uri = "https://me:SECRET@host:9/b/k?sig=SECRET".parse().unwrap();
        assert_eq!(host(&uri), "https://host:9");
    }
}
