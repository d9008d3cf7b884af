//! An address, by HTTP POST. Redirects are not followed, no proxy is asked, nothing but the head of the answer is read. No error
//! has a secret in it.

use std::time::Duration;

use consumer::web::{self, HeaderName, HeaderValue, Lost, Uri};

use crate::message::Letter;
use crate::rule::Webhook;

/// Headers that are ours to set.
const OURS: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "idempotency-key"];

/// What sends.
pub(super) struct Agent {
    agent: web::Agent,
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
        Ok(Agent { agent: web::Agent::new(secure, webhook.ca.as_deref(), timeout)?, timeout })
    }

    /// Posts once.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub(super) fn post(&self, webhook: &Webhook, letter: &Letter) -> Result<(), String> {
        let mut headers = headers(webhook)?;
        let key = HeaderValue::try_from(&letter.key).map_err(|_| "the key is no header".to_owned())?;
        headers.push((HeaderName::from_static("content-type"), HeaderValue::from_static("application/json")));
        headers.push((HeaderName::from_static("idempotency-key"), key));
        match self.agent.post(&address(webhook)?, &headers, &letter.body, 0).map(|answer| answer.status) {
            Ok(200..=299) => Ok(()),
            Ok(status @ 300..=399) => Err(format!(
                "the answer is {status}, and redirects are not followed; write the final address into the rule"
            )),
            Ok(status) => Err(format!("the answer is {status}")),
            Err(Lost::Timeout(what)) => {
                Err(format!("no answer within {} ({what})", crate::fold::length(self.timeout)))
            }
            Err(Lost::Failed(why)) => Err(why),
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
