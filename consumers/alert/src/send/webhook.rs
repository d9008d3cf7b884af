//! An address, by HTTP POST. Redirects are not followed, no proxy is asked, nothing but the head of the answer is read. No error
//! has a secret in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::message::Letter;
use crate::rule::Webhook;

/// Bytes of the head of an answer at most.
const MOST_HEAD: usize = 16 << 10;
/// Headers that are ours to set.
const OURS: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "idempotency-key"];

/// What sends.
pub(super) struct Agent {
    agent: ureq::Agent,
    timeout: Duration,
}

impl Agent {
    /// One whose attempts take at most `timeout`, from the name's lookup to the head of the answer.
    ///
    /// # Errors
    /// What is wrong with the address, a header or the certificates.
    pub(super) fn new(webhook: &Webhook, timeout: Duration) -> Result<Agent, String> {
        let secure = address(webhook)?.scheme_str() == Some("https");
        headers(webhook)?;
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
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(provider)
                .root_certs(roots(webhook.ca.as_deref())?);
            config = config.tls_config(tls.build());
        }
        Ok(Agent { agent: config.build().new_agent(), timeout })
    }

    /// Posts once.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub(super) fn post(&self, webhook: &Webhook, letter: &Letter) -> Result<(), String> {
        let mut request = self.agent.post(address(webhook)?);
        for (name, value) in headers(webhook)? {
            request = request.header(name, value);
        }
        let key = HeaderValue::try_from(&letter.key).map_err(|_| "the key is no header".to_owned())?;
        let answer = request
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .send(&letter.body[..]);
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(200..=299) => Ok(()),
            Ok(status @ 300..=399) => Err(format!(
                "the answer is {status}, and redirects are not followed; write the final address into the rule"
            )),
            Ok(status) => Err(format!("the answer is {status}")),
            Err(error) => Err(self.said(&error)),
        }
    }

    /// An error in words; those of the library may repeat the address.
    fn said(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(what) => {
                format!("no answer within {} ({what})", crate::fold::length(self.timeout))
            }
            ureq::Error::Io(error) => format!("the connection failed: {error}"),
            ureq::Error::HostNotFound => "the host is not known".to_owned(),
            ureq::Error::Rustls(error) => format!("TLS: {error}"),
            ureq::Error::Tls(why) => format!("TLS: {why}"),
            ureq::Error::LargeResponseHeader(..) => {
                format!("the head of the answer is over {MOST_HEAD} bytes")
            }
            ureq::Error::Protocol(_) => "the answer is no HTTP, or its head is too long".to_owned(),
            ureq::Error::ConnectionFailed => "the connection failed".to_owned(),
            ureq::Error::RedirectFailed | ureq::Error::TooManyRedirects => {
                "the answer is a redirect, and those are not followed; write the final address into the rule"
                    .to_owned()
            }
            _ => "the request could not be made".to_owned(),
        }
    }
}

fn address(webhook: &Webhook) -> Result<Uri, String> {
    let text = webhook.url.read().map_err(|why| format!("webhook: {why}"))?;
    let uri: Uri =
        text.parse().map_err(|_| "webhook: that is no address; write https://host/path".to_owned())?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => {}
        _ => return Err("webhook: that is no address; write https://host/path".to_owned()),
    }
    if authority.contains('@') {
        return Err(
            "webhook: a name and password in the address are not taken; set headers.Authorization".to_owned()
        );
    }
    Ok(uri)
}

fn headers(webhook: &Webhook) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in &webhook.headers {
        let parsed = HeaderName::try_from(name.as_str());
        let parsed = parsed.map_err(|_| format!("headers: {name:?} is no name of a header"))?;
        if OURS.contains(&parsed.as_str()) {
            return Err(format!("headers: {name} is set by the daemon itself; leave it out"));
        }
        let text = value.read().map_err(|why| format!("headers: {name}: {why}"))?;
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| format!("headers: {name}: its text has bytes that no header can have"))?;
        value.set_sensitive(true);
        headers.push((parsed, value));
    }
    Ok(headers)
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
