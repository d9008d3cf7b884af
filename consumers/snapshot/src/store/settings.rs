//! A store by its address and the environment, as its own tools read that. Shows no value of it.

use std::ffi::OsString;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use ureq::http::Uri;

use super::http::Connector;
use super::trouble::Troubles;
use crate::address::{Address, Kind};
use crate::error::SnapshotError;

/// Between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How many times the patience a request may take: a store may be at it for minutes to make an object of many parts.
const ANSWER: u32 = 5;

/// The store of `address`, which is tried for as long as `patience`.
///
/// # Errors
/// When a setting is missing or is none.
pub(super) fn open(
    address: &Address,
    patience: Duration,
    fresh: bool,
    troubles: &Troubles,
) -> Result<Box<dyn ObjectStore>, SnapshotError> {
    let wrong = |why: String| SnapshotError::Settings { url: address.to_string(), why };
    check(address.kind, std::env::vars_os()).map_err(wrong)?;
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() },
        // Time is what counts.
        max_retries: usize::MAX,
        retry_timeout: patience,
    };
    let told = |name: &str| std::env::var(name).unwrap_or_default();
    let fresh = fresh && address.kind == Kind::S3 && told("AWS_CONDITIONAL_PUT").trim() != "disabled";
    let connector = Connector::new(troubles, patience * ANSWER, fresh);
    let built = match address.kind {
        Kind::S3 => AmazonS3Builder::from_env()
            .with_bucket_name(&address.bucket)
            // A single object is removed by a plain request, which every store knows.
            .with_disable_bulk_delete(true)
            .with_retry(retry)
            .with_http_connector(connector)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        Kind::Google => GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(&address.bucket)
            // By itself it speaks plain HTTP to anybody.
            .with_config(
                GoogleConfigKey::Client(ClientConfigKey::AllowHttp),
                plain(&told("GOOGLE_ALLOW_HTTP")),
            )
            .with_retry(retry)
            .with_http_connector(connector)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        Kind::Azure => MicrosoftAzureBuilder::from_env()
            .with_container_name(&address.bucket)
            .with_retry(retry)
            .with_http_connector(connector)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
    };
    built.map_err(|error| wrong(troubles.why(address, &error)))
}

fn plain(told: &str) -> &str {
    if told.is_empty() { "false" } else { told }
}

/// What `object_store` would panic at.
fn check(kind: Kind, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<(), String> {
    let (prefix, places, words): (_, &[&str], &[&str]) = match kind {
        Kind::S3 => (
            "AWS_",
            &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_STS"],
            &["AWS_REGION", "AWS_DEFAULT_REGION"],
        ),
        Kind::Google => ("GOOGLE_", &["GOOGLE_BASE_URL"], &[]),
        Kind::Azure => {
            ("AZURE_", &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], &["AZURE_STORAGE_ACCOUNT_NAME"])
        }
    };
    for (name, value) in environment {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        // A key of Google's is text of many lines.
        let line = name.starts_with(prefix) && name != "GOOGLE_SERVICE_ACCOUNT_KEY";
        if line && value.contains(char::is_control) {
            return Err(format!(
                "{name} holds a line break or another control character; set it anew without"
            ));
        }
        if places.contains(&name) && !is_place(value) {
            return Err(format!("{name} is no address; write https://HOST or http://HOST:PORT, or unset it"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if words.contains(&name) && (value.is_empty() || !value.bytes().all(plain)) {
            return Err(format!("{name} is one word of letters, digits and `-`; set it anew, or unset it"));
        }
    }
    Ok(())
}

fn is_place(value: &str) -> bool {
    let Ok(uri) = value.parse::<Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_said_by_its_name() {
        let said = |name: &str, value: &str| check(Kind::S3, [(name.into(), value.into())].into_iter());
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "localhost:9000"),
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_ENDPOINT", "http://bad host"),
            ("AWS_ENDPOINT_URL_S3", "ftp://host"),
            ("AWS_REGION", "eu west"),
            ("AWS_SECRET_ACCESS_KEY", "SESAME\r"),
        ] {
            let why = said(name, value).unwrap_err();
            assert!(why.starts_with(name) && !why.contains("SESAME"), "{why}");
        }
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
            ("AWS_ENDPOINT", "https://host/path"),
            ("AWS_REGION", "us-east-1"),
            ("GOOGLE_BASE_URL", ""),
            ("LINES", "a\nb"),
        ] {
            assert_eq!(said(name, value), Ok(()), "{name}");
        }
    }
}
