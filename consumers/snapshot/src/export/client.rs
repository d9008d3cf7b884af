//! One question or one batch to ClickHouse over HTTP, and what its answer means: done, to be tried again, or never. Knows no table.

use std::path::Path;
use std::time::Duration;

use consumer::web::{Agent, Answer, HeaderName, HeaderValue};

use super::error::ExportError;
use super::server::Server;
use crate::place::encoded;

/// Bytes of an answer that are read.
const MOST: u64 = 64 << 10;
/// Letters of an exception that are shown.
const SHOWN: usize = 400;
/// The number of an exception.
const CODE: &str = "x-clickhouse-exception-code";

/// Exceptions of ClickHouse that pass by themselves: too much at once, no memory, a merge behind, a keeper or a replica away, the same query
/// still running, a time limit.
const PASSING: [u32; 24] = [
    159, 173, 201, 202, 203, 209, 210, 216, 225, 236, 241, 242, 243, 252, 279, 285, 286, 319, 394, 425, 439,
    473, 574, 999,
];

/// Why it was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may be tried again; nobody knows whether it was done.
    Passing(String),
    /// It will not be otherwise.
    Lasting(String),
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    address: Server,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(address: Server, ca: Option<&Path>, timeout: Duration) -> Result<Client, ExportError> {
        let agent = Agent::new(address.secure, ca, timeout).map_err(ExportError::Address)?;
        let headers = address.headers()?;
        Ok(Client { agent, address, headers, timeout })
    }

    /// Does what `sql` says, with these settings and values (`param_…`), and answers what it says.
    pub(super) fn ask(&self, sql: &str, settings: &[(&str, String)]) -> Result<String, Fault> {
        self.post(settings, &[], sql.as_bytes())
    }

    /// Does what `sql` says with these bytes, which zstd made.
    pub(super) fn send(&self, sql: &str, settings: &[(&str, String)], body: &[u8]) -> Result<(), Fault> {
        let mut settings = settings.to_vec();
        settings.push(("query", sql.to_owned()));
        let kind = HeaderValue::from_static("application/octet-stream");
        let headers = [
            (HeaderName::from_static("content-encoding"), HeaderValue::from_static("zstd")),
            (HeaderName::from_static("content-type"), kind),
        ];
        match &*self.post(&settings, &headers, body)? {
            "" => Ok(()),
            // There is none; what is told in the midst of an answer is why not.
            said => Err(Fault::Lasting(self.shown(said))),
        }
    }

    fn post(
        &self,
        settings: &[(&str, String)],
        more: &[(HeaderName, HeaderValue)],
        body: &[u8],
    ) -> Result<String, Fault> {
        // The answer comes when all is done, and says how that went.
        let mut query = "wait_end_of_query=1".to_owned();
        for (name, value) in settings {
            query.push_str(&format!("&{name}={}", encoded(value.as_bytes())));
        }
        let uri = self.address.uri(&query).map_err(|error| Fault::Lasting(error.to_string()))?;
        let headers: Vec<_> = self.headers.iter().chain(more).cloned().collect();
        match self.agent.post(&uri, &headers, body, MOST) {
            Ok(answer) => self.judged(&answer),
            Err(consumer::web::Lost::Timeout(what)) => {
                Err(Fault::Passing(format!("no answer within {} s ({what})", self.timeout.as_secs())))
            }
            Err(error) => Err(Fault::Passing(error.to_string())),
        }
    }

    fn judged(&self, answer: &Answer) -> Result<String, Fault> {
        let text = String::from_utf8_lossy(&answer.body);
        let code = answer.headers.get(CODE).and_then(|code| code.to_str().ok());
        // Where an exception comes late, its text alone tells.
        let code = code.or_else(|| text.strip_prefix("Code: ").and_then(|rest| rest.split('.').next()));
        match (code.map(|code| code.parse::<u32>().unwrap_or(0)), answer.status) {
            (Some(code), _) if PASSING.contains(&code) => Err(Fault::Passing(self.shown(&text))),
            (Some(_), _) => Err(Fault::Lasting(self.shown(&text))),
            (None, 200) => Ok(text.into_owned()),
            (None, status @ (408 | 429 | 500..=599)) => {
                Err(Fault::Passing(format!("the answer is {status}")))
            }
            (None, status @ 300..=399) => Err(Fault::Lasting(format!(
                "the answer is {status}, and redirects are not followed; give the final address"
            ))),
            (None, status @ (401 | 403)) => Err(Fault::Lasting(format!(
                "the answer is {status}: give another --user and password, as CLICKHOUSE_PASSWORD or by --password-file"
            ))),
            (None, status) => Err(Fault::Lasting(format!("the answer is {status}, and not ClickHouse's"))),
        }
    }

    /// The first line of what a server says, of a length that can be read.
    fn shown(&self, said: &str) -> String {
        let line = said.trim().lines().next().unwrap_or_default();
        let line = self.address.redacted(line);
        let mut letters = line.chars().filter(|letter| !letter.is_control());
        let mut short: String = letters.by_ref().take(SHOWN).collect();
        short.extend(letters.next().map(|_| '…'));
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, code: &'static str, body: &str) -> (Option<bool>, String) {
        let address = Server::new("http://u:secret@h").unwrap();
        let client = Client::new(address, None, Duration::from_secs(1)).unwrap();
        let mut answer = Answer { status, headers: Default::default(), body: body.into() };
        if !code.is_empty() {
            answer.headers.insert(CODE, HeaderValue::from_static(code));
        }
        match client.judged(&answer) {
            Ok(said) => (None, said),
            Err(Fault::Passing(why)) => (Some(true), why),
            Err(Fault::Lasting(why)) => (Some(false), why),
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_nothing_else() {
        let passes = |status, code, body| judged(status, code, body).0;
        assert_eq!(judged(200, "", "1\t2"), (None, "1\t2".to_owned()));
        assert_eq!(passes(503, "", ""), Some(true));
        assert_eq!(passes(429, "", ""), Some(true));
        assert_eq!(passes(500, "241", "Code: 241. DB::Exception: Memory limit"), Some(true));
        assert_eq!(passes(200, "", "Code: 209. DB::Exception: late"), Some(true));
        assert_eq!(passes(200, "53", ""), Some(false));
        for status in [301, 400, 401, 403, 404] {
            assert_eq!(passes(status, "", ""), Some(false), "{status}");
        }
        let (lasts, why) = judged(500, "497", &format!("Code: 497. no \tsecret{}\nmore", "x".repeat(999)));
        assert_eq!(lasts, Some(false));
        assert!(
            why.starts_with("Code: 497. no …xxx") && why.ends_with("x…") && !why.contains("more"),
            "{why}"
        );
        assert_eq!(why.chars().count(), SHOWN + 1);
    }
}
