//! Figures of one scenario: shown to people, and kept as a line of JSON.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::machine;

/// Figures by name, units in the name.
pub type Figures = BTreeMap<String, Value>;

/// Prints the figures, and adds them to `results` with the time and the machine.
///
/// # Errors
/// When stdout or the file cannot be written to.
pub fn tell(scenario: &str, backend: &str, figures: &Figures, results: Option<&Path>) -> io::Result<()> {
    let mut out = io::stdout();
    for (name, value) in figures {
        writeln!(out, "{name:44} {value}")?;
    }
    let Some(results) = results else { return Ok(()) };
    let line = json!({
        "scenario": scenario,
        "unix_time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        "machine": machine(),
        "backend": backend,
        "figures": figures,
    });
    writeln!(OpenOptions::new().create(true).append(true).open(results)?, "{line}")
}
