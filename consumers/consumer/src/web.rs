//! HTTP out: time limits, certificates, one request at a time. Redirects are not followed, no proxy is asked. No error has an address
//! or a secret in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

pub use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Bytes of the head of an answer at most.
const MOST_HEAD: usize = 16 << 10;

/// What sends.
#[derive(Debug)]
pub struct Agent(ureq::Agent);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// As 200.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as far as it was asked for.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It took too long: at what.
    #[error("no answer in time ({0})")]
    Timeout(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Agent {
    /// One whose requests take at most `timeout`, from the name's lookup to the end of the answer. For `secure` addresses it knows the
    /// certificates of the system, or those of the file `ca` alone.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn new(secure: bool, ca: Option<&Path>, timeout: Duration) -> Result<Agent, String> {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MOST_HEAD)
            // A connection that was left open may be dead by the next message.
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(concat!("indexer/", env!("CARGO_PKG_VERSION")));
        if secure {
            config = config.tls_config(tls(ca)?);
        }
        Ok(Agent(config.build().new_agent()))
    }

    /// Posts once, and reads no more than `most` bytes of the answer's body.
    ///
    /// # Errors
    /// Why there is no answer. Whether the request was acted upon is not known then.
    pub fn post(
        &self,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
        most: u64,
    ) -> Result<Answer, Lost> {
        let mut request = self.0.post(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut answer = request.send(body).map_err(|error| lost(&error))?;
        let mut body = Vec::new();
        if most > 0 {
            let reader = answer.body_mut().with_config().limit(u64::MAX).reader();
            let read = std::io::Read::read_to_end(&mut std::io::Read::take(reader, most), &mut body);
            read.map_err(|error| lost(&ureq::Error::from(error)))?;
        }
        Ok(Answer { status: answer.status().as_u16(), headers: std::mem::take(answer.headers_mut()), body })
    }
}

/// How an address is known by its certificate: those of the system, or those of the file `ca` alone.
///
/// # Errors
/// What is wrong with the certificates.
pub fn tls(ca: Option<&Path>) -> Result<TlsConfig, String> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots(ca)?);
    Ok(tls.build())
}

/// An error in words; those of the library may repeat the address.
fn lost(error: &ureq::Error) -> Lost {
    Lost::Failed(match error {
        ureq::Error::Timeout(what) => return Lost::Timeout(what.to_string()),
        ureq::Error::Io(error) => format!("the connection failed: {error}"),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        ureq::Error::Tls(why) => format!("TLS: {why}"),
        ureq::Error::LargeResponseHeader(..) => format!("the head of the answer is over {MOST_HEAD} bytes"),
        ureq::Error::Protocol(_) => "the answer is no HTTP, or its head is too long".to_owned(),
        ureq::Error::ConnectionFailed => "the connection failed".to_owned(),
        ureq::Error::RedirectFailed | ureq::Error::TooManyRedirects => {
            "the answer is a redirect, and those are not followed; write the final address".to_owned()
        }
        _ => "the request could not be made".to_owned(),
    })
}

/// The system's certificates, or those of one file alone.
fn roots(ca: Option<&Path>) -> Result<RootCerts, String> {
    let certificates: Vec<Certificate<'static>> = match ca {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("ca: {}: {error}", path.display()))?;
            let items = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            items.collect()
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        }
    };
    if certificates.is_empty() {
        return Err(match ca {
            Some(path) => format!("ca: {} has no certificate (PEM)", path.display()),
            None => "the system has no certificates to know an https address by; install ca-certificates, or name a \
                     file by ca"
                .to_owned(),
        });
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
