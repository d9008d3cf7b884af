//! What a rule is: what it looks for, whom it tells, how often. Plain data: who parses it and who acts on it is elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use consumer::Secret;
use record::Category;

use crate::paths::Paths;

/// Rules at most. Each has a thread and reads the journal by itself.
pub const MOST_RULES: usize = 32;

/// Messages at most in the period of a [`Rate`]: so many may wait to be sent.
pub const MOST_RATE: usize = 1_000;

/// Bytes of a rule's name at most.
const LONGEST_NAME: usize = 64;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name; the cursor is kept under it.
    pub name: String,
    /// What it looks for.
    pub when: When,
    /// Whom it tells.
    pub to: To,
    /// How often at most.
    pub rate: Rate,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// For how long a message is tried before it is given up.
    pub give_up: Duration,
}

/// What a rule looks for.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// Records.
    Records(Conditions),
    /// The index is behind by so long.
    Lag(Duration),
}

/// Which records: those for which every condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Words of [`crate::ops`]; any one of them.
    pub ops: Vec<&'static str>,
    /// The path, or for renames one of the two, matches one of these; none takes all.
    pub paths: Option<Paths>,
    /// Bytes that a regular file has at least.
    pub at_least: Option<u64>,
    /// Bytes that it has at most.
    pub at_most: Option<u64>,
    /// Any one of these; none takes all.
    pub categories: Vec<Category>,
    /// Tell of files while they are still being written, too.
    pub unfinished: bool,
}

/// Whom a rule tells.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// The daemon's log.
    Log,
    /// A program, with the message on its standard input.
    Command(Command),
    /// An address, by POST.
    Webhook(Webhook),
}

/// A program. No shell looks at its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's absolute path and its arguments.
    pub argv: Vec<String>,
    /// Variables of the daemon's environment that are passed on.
    pub env: Vec<String>,
}

/// An address to POST to.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// `http://…` or `https://…`; some services put a secret into it.
    pub url: Secret,
    /// Headers beside our own.
    pub headers: Vec<(String, Secret)>,
    /// A file of certificates (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// So many messages in any period of that length; what is more is folded into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages, 1 to [`MOST_RATE`].
    pub most: usize,
    /// The period.
    pub per: Duration,
}

impl Rule {
    /// The consumer that its cursor is kept under.
    #[must_use]
    pub fn consumer(&self) -> String {
        format!("{}{}", CONSUMERS, self.name)
    }
}

/// How the names of all our consumers begin.
pub(crate) const CONSUMERS: &str = "alert/";

/// Whether `name` can be a rule's: it stands in headers, metrics and variables.
///
/// # Errors
/// What is wrong, and what to write.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fine) {
        return Err(format!(
            "{name:?} is no name of a rule; write 1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`"
        ));
    }
    Ok(())
}

/// Whom, for people: no header, no secret, no argument of a program.
impl To {
    /// `log`, `command /usr/bin/tell`, `webhook https://host/…`.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            To::Log => "log".to_owned(),
            To::Command(command) => {
                format!("command {}", command.argv.first().map_or("", String::as_str))
            }
            To::Webhook(webhook) => format!("webhook {}", webhook.url.shown_as_url()),
        }
    }
}

impl When {
    /// What it looks for, in words.
    #[must_use]
    pub fn shown(&self) -> String {
        let conditions = match self {
            When::Lag(threshold) => return format!("lag {}", crate::fold::length(*threshold)),
            When::Records(conditions) => conditions,
        };
        let mut words = vec![conditions.ops.join("|")];
        if let Some(paths) = &conditions.paths {
            words.push(paths.texts().join("|"));
        }
        if let Some(bytes) = conditions.at_least {
            words.push(format!("at least {bytes} B"));
        }
        if let Some(bytes) = conditions.at_most {
            words.push(format!("at most {bytes} B"));
        }
        if !conditions.categories.is_empty() {
            let categories: Vec<&str> = conditions.categories.iter().map(|one| one.word()).collect();
            words.push(categories.join("|"));
        }
        words.join(", ")
    }
}
