//! `[[alert]]` in the configuration file, made into rules. Knows what may stand there; reads no variable and no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alert::{Command, Conditions, MOST_RATE, Paths, Rate, Rule, To, Webhook, When};
use consumer::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use crate::config::file::{age, size};

/// How long one attempt may take at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Parts of names of headers whose text must not stand in the file.
const SECRETS: [&str; 7] = ["authorization", "cookie", "token", "secret", "password", "key", "signature"];

/// One `[[alert]]`, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    #[serde(default)]
    op: OneOrMore,
    #[serde(default)]
    path: OneOrMore,
    #[serde(default, deserialize_with = "size")]
    at_least: Option<u64>,
    #[serde(default, deserialize_with = "size")]
    at_most: Option<u64>,
    #[serde(default)]
    category: OneOrMore,
    #[serde(default)]
    unfinished: bool,
    #[serde(default, deserialize_with = "age")]
    lag: Option<Duration>,
    #[serde(default)]
    log: bool,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    env: OneOrMore,
    webhook: Option<Text>,
    #[serde(default)]
    headers: BTreeMap<String, Text>,
    ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "age")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "age")]
    give_up: Option<Duration>,
    #[serde(default)]
    rate: RateTable,
}

/// `rate = { most = 10, per = "1m" }`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateTable {
    most: Option<usize>,
    #[serde(deserialize_with = "age")]
    per: Option<Duration>,
}

impl Table {
    /// The rule it makes. `place` gives a path in the file its folder, `home` is what `~/` stands for.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub(crate) fn rule(&self, place: &dyn Fn(&mut PathBuf), home: Option<&Path>) -> Result<Rule, String> {
        alert::check_name(&self.name)?;
        let timeout = self.timeout.unwrap_or(Duration::from_secs(10));
        if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            return Err("timeout: write 1ms to 5m".to_owned());
        }
        let rate = Rate {
            most: self.rate.most.unwrap_or(10),
            per: self.rate.per.unwrap_or(Duration::from_secs(60)),
        };
        if rate.most == 0 || rate.most > MOST_RATE || rate.per.is_zero() {
            return Err(format!("rate: write {{ most = 1 to {MOST_RATE}, per = \"1m\" }}"));
        }
        Ok(Rule {
            name: self.name.clone(),
            when: self.when(home)?,
            to: self.to(place, home)?,
            rate,
            timeout,
            give_up: self.give_up.unwrap_or(Duration::from_secs(6 * 3600)),
        })
    }

    fn when(&self, home: Option<&Path>) -> Result<When, String> {
        let words = || alert::ops().collect::<Vec<_>>().join(", ");
        if let Some(lag) = self.lag {
            let others = !self.op.0.is_empty()
                || !self.path.0.is_empty()
                || self.at_least.or(self.at_most).is_some()
                || !self.category.0.is_empty()
                || self.unfinished;
            return match (others, lag.is_zero()) {
                (true, _) => Err("lag is about no record; make a rule of its own for it".to_owned()),
                (false, true) => Err("lag: write a length of time, as \"1m\"".to_owned()),
                (false, false) => Ok(When::Lag(lag)),
            };
        }
        if self.op.0.is_empty() {
            return Err(format!("it does not say when; set lag, or op to some of {}", words()));
        }
        let op = |word: &String| {
            alert::op(word).ok_or_else(|| format!("op: unknown word {word:?}, expected {}", words()))
        };
        if let (Some(least), Some(most)) = (self.at_least, self.at_most)
            && least > most
        {
            return Err("at_least is more than at_most; no file is both".to_owned());
        }
        let paths = if self.path.0.is_empty() { None } else { Some(Paths::new(&self.path.0, home)?) };
        Ok(When::Records(Conditions {
            ops: self.op.0.iter().map(op).collect::<Result<_, _>>()?,
            paths,
            at_least: self.at_least,
            at_most: self.at_most,
            categories: self.category.0.iter().map(|word| alert::category(word)).collect::<Result<_, _>>()?,
            unfinished: self.unfinished,
        }))
    }

    fn to(&self, place: &dyn Fn(&mut PathBuf), home: Option<&Path>) -> Result<To, String> {
        let targets = usize::from(self.log)
            + usize::from(!self.command.is_empty())
            + usize::from(self.webhook.is_some());
        if targets != 1 {
            return Err("set exactly one of log = true, command = [\"/path/to/program\"] and \
                        webhook = \"https://…\"; two places take two rules"
                .to_owned());
        }
        if self.command.is_empty() && !self.env.0.is_empty() {
            return Err("env is of a command, and there is none".to_owned());
        }
        if self.webhook.is_none() && (!self.headers.is_empty() || self.ca.is_some()) {
            return Err("headers and ca are of a webhook, and there is none".to_owned());
        }
        let Some(url) = &self.webhook else {
            return if self.log { Ok(To::Log) } else { self.program(home).map(To::Command) };
        };
        if let Text::Plain(url) = url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return Err("webhook: that is no address; write \"https://host/path\", { env = \"NAME\" } or \
                        { file = \"…\" }"
                .to_owned());
        }
        let mut headers = Vec::new();
        for (name, text) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if matches!(text, Text::Plain(_)) && SECRETS.iter().any(|secret| lower.contains(secret)) {
                return Err(format!(
                    "headers: {name} is a secret; write {name} = {{ env = \"NAME\" }} or {name} = {{ file = \"…\" }}"
                ));
            }
            headers.push((name.clone(), text.secret(place)));
        }
        let mut ca = self.ca.clone();
        ca.as_mut().map(place);
        Ok(To::Webhook(Webhook { url: url.secret(place), headers, ca }))
    }

    fn program(&self, home: Option<&Path>) -> Result<Command, String> {
        let mut argv = self.command.clone();
        let program = argv.first().cloned().unwrap_or_default();
        match (program.strip_prefix("~/"), home) {
            (Some(below), Some(home)) => argv[0] = home.join(below).to_string_lossy().into_owned(),
            _ if program.starts_with('/') => {}
            _ => {
                return Err(format!(
                    "command: {program:?} is no whole path; write it as \"/usr/local/bin/tell\" or \"~/bin/tell\""
                ));
            }
        }
        Ok(Command { argv, env: self.env.0.clone() })
    }
}

/// One word, or several.
#[derive(Clone, Debug, Default, PartialEq)]
struct OneOrMore(Vec<String>);

/// By hand, since an untagged enum would swallow what is wrong.
impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OneOrMore, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or several in brackets")
            }

            fn visit_str<E>(self, one: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![one.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMore, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(OneOrMore(all))
            }
        }
        from.deserialize_any(Either)
    }
}

/// A text, or where it is to be found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// As it stands.
    Plain(String),
    /// In a variable.
    Env(String),
    /// In a file.
    File(PathBuf),
}

impl Text {
    /// The same as a secret; `place` gives a path in the file its folder.
    pub(crate) fn secret(&self, place: &dyn Fn(&mut PathBuf)) -> Secret {
        match self {
            Text::Plain(text) => Secret::Plain(text.clone()),
            Text::Env(name) => Secret::Env(name.clone()),
            Text::File(path) => {
                let mut path = path.clone();
                place(&mut path);
                Secret::File(path)
            }
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret(&|_| {}).fmt(f)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, { env = \"NAME\" } or { file = \"…\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                match From::deserialize(MapAccessDeserializer::new(map))? {
                    From { env: Some(name), file: None } => Ok(Text::Env(name)),
                    From { env: None, file: Some(path) } => Ok(Text::File(path)),
                    _ => Err(serde::de::Error::custom(
                        "expected either { env = \"NAME\" } or { file = \"…\" }",
                    )),
                }
            }
        }
        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
