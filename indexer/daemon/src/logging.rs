//! The log: tracing to stderr. Knows which level and form each command has.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::cli::{Command, Global, LogFormat};
use crate::failure::Failure;
use crate::render::Talk;

/// Starts the log: information for `watch` and `consume`, warnings for all others, more with `-v`, errors alone with `-q`.
/// `INDEXER_LOG` (as `warn,indexer=debug`) overrides the level; `NO_COLOR` is honoured.
///
/// # Errors
/// When `INDEXER_LOG` cannot be read.
pub(crate) fn init(global: &Global, command: &Command, format: LogFormat) -> Result<(), Failure> {
    let level = match command {
        _ if global.verbose => "debug",
        _ if global.quiet => "error",
        Command::Watch(_) | Command::Consume(_) => "info",
        _ => "warn",
    };
    let filter = match std::env::var("INDEXER_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| Failure::Usage(format!("INDEXER_LOG={text}: {error}")))?,
        _ => EnvFilter::new(level),
    };
    let colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
    let builder: SubscriberBuilder = tracing_subscriber::fmt();
    let builder = builder.with_writer(|| Talk).with_ansi(colour).with_target(false).with_env_filter(filter);
    match flag(command).unwrap_or(format) {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.init(),
    }
    Ok(())
}

fn flag(command: &Command) -> Option<LogFormat> {
    match command {
        Command::Watch(watch) => watch.scan.log_format,
        Command::Scan(all) => all.scan.log_format,
        _ => None,
    }
}
