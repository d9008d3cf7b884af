//! `completions` and `man`: what the command line says of itself, in the forms of shells and man(1).

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "indexer", &mut script);
    let mut out = Out::stdout();
    out.text(&String::from_utf8_lossy(&script))?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Writes `indexer.1` and a page a command into `dir`.
pub(crate) fn man(dir: &Path) -> Result<Outcome, Failure> {
    let shown = crate::paths::shown(dir);
    std::fs::create_dir_all(dir).map_err(|error| Failure::doing(format!("make {shown}"), error))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(|error| Failure::doing(format!("write the manual pages into {shown}"), error))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let temp = tempfile::tempdir().unwrap();
        man(&temp.path().join("man1")).unwrap();
        for page in ["indexer.1", "indexer-watch.1", "indexer-root-accept.1"] {
            let text = std::fs::read_to_string(temp.path().join("man1").join(page)).expect(page);
            assert!(text.contains(".SH NAME"), "{page}");
        }
    }
}
