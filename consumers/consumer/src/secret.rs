//! A text that may be secret: from the environment, from a file, or as it stands in the configuration. Read when it is used,
//! shown to nobody.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

/// Bytes of a file that are read at most.
const LONGEST: u64 = 64 << 10;

/// Where a text comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The configuration itself.
    Plain(String),
    /// A variable of the environment.
    Env(String),
    /// A file, read at each use; what follows the text as line ends is not part of it.
    File(PathBuf),
}

impl Secret {
    /// The text.
    ///
    /// # Errors
    /// Which variable or file is missing, and never what it holds.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Secret::Plain(text) => Ok(text.clone()),
            Secret::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(text),
                Ok(_) => Err(format!("the variable {name} is empty")),
                Err(std::env::VarError::NotPresent) => Err(format!("the variable {name} is not set")),
                Err(std::env::VarError::NotUnicode(_)) => Err(format!("the variable {name} is not UTF-8")),
            },
            Secret::File(path) => {
                let mut text = String::new();
                let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
                match read {
                    Ok(_) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
                    Err(error) => Err(format!("the file {} cannot be read: {error}", path.display())),
                }
            }
        }
    }

    /// Where it comes from, or of an address the scheme and the host: what follows may be a secret.
    #[must_use]
    pub fn shown_as_url(&self) -> String {
        match self {
            Secret::Plain(url) => match url.split_once("://") {
                Some((scheme, rest)) => {
                    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                    // Before an `@` stand a name and a password.
                    let host = host.rsplit('@').next().unwrap_or_default();
                    format!("{scheme}://{host}/…")
                }
                None => "…".to_owned(),
            },
            Secret::Env(name) => format!("of the variable {name}"),
            Secret::File(path) => format!("of the file {}", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("Plain(…)"),
            Secret::Env(name) => write!(f, "Env({name})"),
            Secret::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_what_is_inside() {
        let url = Secret::Plain("https://u:hunter2@hooks.example:8443/services/T0/secret?k=secret".into());
        assert_eq!(url.shown_as_url(), "https://hooks.example:8443/…");
        assert_eq!(format!("{url:?}"), "Plain(…)");
        assert_eq!(Secret::Plain("hunter2".into()).shown_as_url(), "…");
    }

    #[test]
    fn a_file_is_read_anew_and_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let secret = Secret::File(path.clone());
        let error = secret.read().unwrap_err();
        assert!(error.contains("token") && error.contains("cannot be read"), "{error}");
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\r\n")).unwrap();
            assert_eq!(secret.read().unwrap(), token);
        }
        let missing = Secret::Env("INDEXER_NO_SUCH_VARIABLE".into()).read().unwrap_err();
        assert_eq!(missing, "the variable INDEXER_NO_SUCH_VARIABLE is not set");
    }
}
