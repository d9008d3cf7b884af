//! What a relay is told: which broker, which exchange, how much at once. Shows no password to anybody.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use consumer::Secret;
use lapin::uri::{AMQPScheme, AMQPUri};

use crate::tls::Tls;
use crate::topology;

/// The exchange that records go to.
pub const DEFAULT_EXCHANGE: &str = "indexer";

/// Where the broker is, without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with the settings. Never says what a secret holds.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address of the broker cannot be had, or is none.
    #[error("amqp: the address of the broker {0}")]
    Address(String),
    /// A file of certificates cannot be read, or holds none.
    #[error("amqp: {what} {}: {why}", path.display())]
    File {
        /// What it is for.
        what: &'static str,
        /// Where it is said to be.
        path: PathBuf,
        /// What the system said, or what is wrong with what it holds.
        why: std::io::Error,
    },
    /// Whoever names certificates wants them to be used.
    #[error(
        "amqp: certificates are named, but the address of the broker begins with amqp://, which is without TLS; write amqps://"
    )]
    Plain,
    /// A name that AMQP has no room for.
    #[error("amqp: the exchange {0:?} has no name of 1 to 200 letters, digits, dots, dashes and underscores")]
    Exchange(String),
    /// An age that the broker does not understand.
    #[error("amqp: {0:?} is no age for a stream; write a number and one of Y, M, D, h, m and s, as \"7D\"")]
    Age(String),
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Each is a message of its own.
    Json,
    /// Consecutive ones of a root are one message, for readers who take many at once.
    Arrow,
}

/// How records are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `amqp://user:password@host:5672/%2f`, or `amqps://`.
    pub url: Secret,
    /// Certificates.
    pub tls: Tls,
    /// The topic exchange.
    pub exchange: String,
    /// The exchange for what no binding wants, and its queue; `<exchange>.unrouted` unless named.
    pub unrouted: Option<String>,
    /// How long a stream queue of the name `<exchange>.stream` keeps all records, as the broker writes ages; none without.
    pub stream: Option<String>,
    /// Whether exchanges and these queues are made at the start; if not, they have to be there.
    pub declare: bool,
    /// How records are written.
    pub format: Format,
    /// Messages on their way that are not confirmed, at most.
    pub window: usize,
    /// Between two attempts, at first and at most.
    pub pause: (Duration, Duration),
}

impl Settings {
    /// Those for a broker, as they are without a word about them.
    #[must_use]
    pub fn new(url: Secret) -> Settings {
        Settings {
            url,
            tls: Tls::default(),
            exchange: DEFAULT_EXCHANGE.to_owned(),
            unrouted: None,
            stream: None,
            declare: true,
            format: Format::Json,
            window: 2_000,
            pause: (Duration::from_millis(200), Duration::from_secs(30)),
        }
    }

    /// Whether they can be used, as far as can be seen without the broker.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(&self) -> Result<Address, SettingsError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        for name in [Some(&self.exchange), self.unrouted.as_ref()].into_iter().flatten() {
            if name.is_empty() || name.len() > 200 || !name.bytes().all(allowed) {
                return Err(SettingsError::Exchange(name.clone()));
            }
        }
        if let Some(age) = &self.stream {
            let number = age.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']).unwrap_or_default();
            if number.is_empty() || number.len() > 9 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(SettingsError::Age(age.clone()));
            }
        }
        self.tls.read()?;
        let uri = self.uri()?;
        if uri.scheme == AMQPScheme::AMQP && self.tls != Tls::default() {
            return Err(SettingsError::Plain);
        }
        Ok(shown(&uri))
    }

    /// The name of the catch-all exchange and of its queue.
    pub(crate) fn unrouted(&self) -> String {
        self.unrouted.clone().unwrap_or_else(|| topology::unrouted(&self.exchange))
    }

    /// The address with all that is secret. A frame of silence twice as long as the heartbeat is a broken connection.
    pub(crate) fn uri(&self) -> Result<AMQPUri, SettingsError> {
        let text = self.url.read().map_err(|why| SettingsError::Address(format!("cannot be read: {why}")))?;
        // What is wrong is said without the text, which holds a password.
        let mut uri: AMQPUri = text.parse().map_err(|_| {
            SettingsError::Address(
                "is not as it should be; write it as \"amqp://user:password@host:5672/%2f\", with what is special in a \
                 password percent-encoded"
                    .to_owned(),
            )
        })?;
        uri.query.heartbeat.get_or_insert(20);
        Ok(uri)
    }
}

fn shown(uri: &AMQPUri) -> Address {
    let scheme = if uri.scheme == AMQPScheme::AMQPS { "amqps" } else { "amqp" };
    let vhost = uri.vhost.replace('/', "%2f");
    Address(format!("{scheme}://{}:{}/{vhost}", uri.authority.host, uri.authority.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let settings = Settings::new(Secret::Plain("amqps://u:hunter2@mq.example/%2f".into()));
        assert_eq!(settings.check().expect("an address").to_string(), "amqps://mq.example:5671/%2f");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn bad_settings_are_refused_without_a_word_of_the_secret() {
        for url in ["", "hunter2", "http://u:hunter2@h/", "amqp://u:hunter2@:x/"] {
            let error = Settings::new(Secret::Plain(url.into())).check().expect_err(url).to_string();
            assert!(error.contains("amqp://user:password@host") && !error.contains("hunter2"), "{error}");
        }
        let unset = Settings::new(Secret::Env("INDEXER_NO_SUCH_URL".into())).check().expect_err("unset");
        assert!(unset.to_string().contains("INDEXER_NO_SUCH_URL is not set"), "{unset}");
        let good = Settings::new(Secret::Plain("amqp://localhost".into()));
        for exchange in ["", "a b", &"x".repeat(201)] {
            let settings = Settings { exchange: exchange.to_owned(), ..good.clone() };
            assert!(matches!(settings.check(), Err(SettingsError::Exchange(_))), "{exchange}");
        }
        for age in ["", "7", "D", "7 D", "-7D", "7d", "7DD", "9999999999s"] {
            let settings = Settings { stream: Some(age.to_owned()), ..good.clone() };
            assert!(matches!(settings.check(), Err(SettingsError::Age(_))), "{age}");
        }
        let named = Settings { unrouted: Some("a b".into()), ..good.clone() };
        assert!(matches!(named.check(), Err(SettingsError::Exchange(_))));
        let tls = Tls { ca: Some("/nowhere/ca.pem".into()), client: None };
        let error = Settings { tls, ..good.clone() }.check().expect_err("no file").to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
