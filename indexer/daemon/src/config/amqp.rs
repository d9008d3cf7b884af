//! `[amqp]` in the configuration file, and the variable that stands for it: which broker records are published to. Reads no
//! secret.

use std::path::PathBuf;

use consumer::Secret;
use publish::{Format, Settings, Tls};
use serde::Deserialize;

use crate::config::Env;
use crate::config::alerts::Text;

/// The variable that holds the broker's address, over that of the file.
const VARIABLE: &str = "INDEXER_AMQP_URL";

/// How long a stream keeps records where nothing is said: readers that come back within a week miss nothing.
const STREAM_AGE: &str = "7D";

/// What may stand there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Table {
    url: Option<Text>,
    exchange: Option<String>,
    unrouted: Option<String>,
    stream: Option<bool>,
    stream_max_age: Option<String>,
    declare: Option<bool>,
    format: Option<String>,
    window: Option<usize>,
    ca: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

impl Table {
    /// The relay's settings; none where no broker is named. `place` gives a path in the file its folder.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(crate) fn settings(
        &self,
        place: &dyn Fn(&mut PathBuf),
        env: Env<'_>,
    ) -> Result<Option<Settings>, String> {
        let url = match (env(VARIABLE), &self.url) {
            (Some(text), _) if !text.is_empty() => Secret::Env(VARIABLE.to_owned()),
            (_, Some(url)) => url.secret(place),
            (_, None) if *self == Table::default() => return Ok(None),
            (_, None) => {
                return Err(format!(
                    "no url; write url = {{ file = \"amqp.url\" }}, url = {{ env = \"NAME\" }}, url = \"amqp://host\", or set {VARIABLE}"
                ));
            }
        };
        let mut settings = Settings::new(url);
        if let Some(exchange) = &self.exchange {
            settings.exchange.clone_from(exchange);
        }
        settings.unrouted.clone_from(&self.unrouted);
        settings.stream = match (self.stream, &self.stream_max_age) {
            (Some(true), age) => Some(age.clone().unwrap_or_else(|| STREAM_AGE.to_owned())),
            (None, Some(_)) => return Err("stream_max_age is of no use without stream = true".to_owned()),
            (None | Some(false), _) => None,
        };
        settings.declare = self.declare.unwrap_or(settings.declare);
        settings.format = match self.format.as_deref() {
            None | Some("json") => Format::Json,
            Some("arrow") => Format::Arrow,
            Some(other) => return Err(format!("format: {other:?} is none; write \"json\" or \"arrow\"")),
        };
        settings.window = match self.window {
            Some(0) => return Err("window: write 1 or more messages".to_owned()),
            window => window.unwrap_or(settings.window),
        };
        let placed = |path: &Option<PathBuf>| {
            path.clone().map(|mut path| {
                place(&mut path);
                path
            })
        };
        let client = match (placed(&self.client_certificate), placed(&self.client_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("client_certificate and client_key are given together, or neither".to_owned()),
        };
        settings.tls = Tls { ca: placed(&self.ca), client };
        Ok(Some(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str, variable: Option<&str>) -> Result<Option<Settings>, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let place = |path: &mut PathBuf| *path = PathBuf::from("/etc").join(&*path);
        table.settings(&place, &|name| variable.filter(|_| name == VARIABLE).map(Into::into))
    }

    #[test]
    fn a_broker_is_named_by_the_file_or_the_variable() {
        assert_eq!(settings("", None), Ok(None));
        let from_variable = settings("", Some("amqp://h")).unwrap().unwrap();
        assert_eq!(from_variable, Settings::new(Secret::Env(VARIABLE.into())));
        let all = "url = { file = \"url\" }\nexchange = \"e\"\nunrouted = \"u\"\nstream = true\ndeclare = false\nformat = \"arrow\"\nwindow = 5\nca = \"ca.pem\"\n\
                   client_certificate = \"c\"\nclient_key = \"/k\"";
        let file = settings(all, None).unwrap().unwrap();
        assert_eq!(file.url, Secret::File("/etc/url".into()));
        assert_eq!((file.exchange.as_str(), file.declare, file.window), ("e", false, 5));
        assert_eq!(file.format, Format::Arrow);
        assert_eq!((file.unrouted.as_deref(), file.stream.as_deref()), (Some("u"), Some("7D")));
        let month = settings("url = \"amqp://h\"\nstream = true\nstream_max_age = \"1M\"", None);
        assert_eq!(month.unwrap().unwrap().stream.as_deref(), Some("1M"));
        assert_eq!(file.tls.ca, Some("/etc/ca.pem".into()));
        assert_eq!(file.tls.client, Some(("/etc/c".into(), "/k".into())));
        assert_eq!(settings(all, Some("amqp://h")).unwrap().unwrap().url, Secret::Env(VARIABLE.into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("exchange = \"e\"", "no url"),
            ("url = \"amqp://h\"\nwindow = 0", "window"),
            ("url = \"amqp://h\"\nformat = \"avro\"", "\"json\" or \"arrow\""),
            ("url = \"amqp://h\"\nclient_key = \"k\"", "together"),
            ("url = \"amqp://h\"\nstream_max_age = \"1D\"", "without stream"),
            ("adress = \"x\"", "adress"),
        ] {
            let error = settings(text, None).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
