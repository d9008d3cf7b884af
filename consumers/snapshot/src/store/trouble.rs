//! What a store said last when it said no, and what may help. Shows no secret, wherever it came from.

use std::sync::{Arc, Mutex, PoisonError};

use crate::address::{Address, Kind};

/// Characters of what a store says that are repeated.
const MOST: usize = 300;
/// Where machines in a cloud get their credentials.
const MACHINES: [&str; 4] =
    ["http://169.254.169.254", "http://169.254.170.2", "http://metadata.google.internal", "http://metadata"];
/// What a variable is called that may hold a secret: it begins so, and has one of these.
const STORES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
const SECRET: [&str; 4] = ["SECRET", "KEY", "TOKEN", "SAS"];
/// Shorter values are no secrets, and stand everywhere.
const SHORTEST: usize = 6;

/// What went wrong at a request.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer.
    Connection { host: String, why: String },
    /// An answer that is none of success.
    Status { host: String, status: u16, code: String, message: String },
    /// It would go over the net for all to read.
    Plain { host: String },
}

impl Trouble {
    /// Of an answer, whose text is the XML of all three.
    pub(super) fn status(host: String, status: u16, text: &[u8]) -> Trouble {
        let text = String::from_utf8_lossy(text);
        let part = |name: &str| {
            let (_, after) = text.split_once(&format!("<{name}>"))?;
            let (inside, _) = after.split_once(&format!("</{name}>"))?;
            Some(inside.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let (code, message) = (part("Code").unwrap_or_default(), part("Message").unwrap_or_default());
        Trouble::Status { host, status, code, message }
    }
}

/// The last one.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles(Arc<Mutex<Option<Trouble>>>);

impl Troubles {
    pub(super) fn note(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    /// Whether the store said that it does not know of what was asked.
    pub(super) fn lacks(&self) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*last, Some(Trouble::Status { status: 501, .. }))
    }

    /// Whether another setting would do.
    pub(super) fn is_setting(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Some(Trouble::Plain { .. }))
    }

    /// Why `error` came, in words.
    pub(super) fn why(&self, address: &Address, error: &object_store::Error) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match &*last {
            Some(trouble) => words(trouble, address),
            None => settings(address, error),
        };
        let secrets = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let named = STORES.iter().any(|word| name.starts_with(word))
                && SECRET.iter().any(|word| name.contains(word));
            (named && value.len() >= SHORTEST).then_some(value)
        });
        without(why, secrets)
    }
}

fn without(text: String, secrets: impl Iterator<Item = String>) -> String {
    secrets.fold(text, |text, secret| text.replace(&secret, "…"))
}

fn words(trouble: &Trouble, address: &Address) -> String {
    let Variables { credentials, place, plain } = variables(address.kind);
    match trouble {
        Trouble::Plain { host } => {
            format!(
                "{host} is plain HTTP, which all on the way can read; write https://, or set {plain}=true"
            )
        }
        Trouble::Connection { host, .. } | Trouble::Status { host, .. }
            if MACHINES.contains(&host.as_str()) =>
        {
            format!(
                "there are no credentials: set {credentials} (and this machine has no role that gives any)"
            )
        }
        Trouble::Connection { host, why } => {
            format!("{host} cannot be reached: {why}; {place} say where the store is")
        }
        Trouble::Status { host, status: status @ (401 | 403), code, .. } => format!(
            "{host} refuses the credentials ({}); they come from {credentials}, and must be allowed to read, write and delete there",
            with(*status, code)
        ),
        Trouble::Status { host, status: 404, code, .. } if code != "NoSuchUpload" => format!(
            "{host} has no {} ({}); make it, or see whether {place} say where the store is",
            if address.kind == Kind::Azure { "container" } else { "bucket" }.to_owned()
                + " "
                + &address.bucket,
            with(404, code)
        ),
        Trouble::Status { host, status: status @ 300..=399, code, .. } => {
            format!("{host} says that it is elsewhere ({}); set {place}", with(*status, code))
        }
        Trouble::Status { host, status, code, message } => {
            let message: String = message.chars().take(MOST).collect();
            let colon = if message.is_empty() { "" } else { ": " };
            format!("{host} answered {}{colon}{message}", with(*status, code))
        }
    }
}

fn with(status: u16, code: &str) -> String {
    if code.is_empty() { status.to_string() } else { format!("{status} {code}") }
}

/// Nothing was asked yet.
fn settings(address: &Address, error: &object_store::Error) -> String {
    let Variables { credentials, place, .. } = variables(address.kind);
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let why: String = inner.to_string().chars().take(MOST).collect();
    format!(
        "the settings do not do: {why}; credentials come from {credentials}, and {place} say where the store is"
    )
}

struct Variables {
    credentials: &'static str,
    place: &'static str,
    plain: &'static str,
}

fn variables(kind: Kind) -> Variables {
    match kind {
        Kind::S3 => Variables {
            credentials: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            place: "AWS_ENDPOINT_URL and AWS_REGION",
            plain: "AWS_ALLOW_HTTP",
        },
        Kind::Google => Variables {
            credentials: "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
            place: "GOOGLE_BASE_URL and the name of the bucket",
            plain: "GOOGLE_ALLOW_HTTP",
        },
        Kind::Azure => Variables {
            credentials: "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            place: "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
            plain: "AZURE_ALLOW_HTTP",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(status: u16, text: &str) -> String {
        let address = Address::of(Path::new("s3://bucket/x")).unwrap().unwrap();
        words(&Trouble::status("https://host".to_owned(), status, text.as_bytes()), &address)
    }

    #[test]
    fn answers_become_words() {
        let code =
            |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>be\n  cause</Message></Error>");
        for (status, text, part) in [
            (
                403,
                code("SignatureDoesNotMatch"),
                "(403 SignatureDoesNotMatch); they come from AWS_ACCESS_KEY_ID",
            ),
            (403, String::new(), "refuses the credentials (403);"),
            (404, code("NoSuchBucket"), "https://host has no bucket bucket (404 NoSuchBucket)"),
            (404, code("NoSuchUpload"), "answered 404 NoSuchUpload: be cause"),
            (301, String::new(), "is elsewhere (301); set AWS_ENDPOINT_URL and AWS_REGION"),
            (503, "<html>".to_owned(), "answered 503"),
        ] {
            assert!(said(status, &text).contains(part), "{}", said(status, &text));
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        let text = without("a SESAME b".to_owned(), ["SESAME".to_owned()].into_iter());
        assert_eq!(text, "a … b");
    }
}
