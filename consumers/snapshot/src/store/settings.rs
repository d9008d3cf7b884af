//! A store by its address and the environment, as its own tools read that. Shows no value of it.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

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
