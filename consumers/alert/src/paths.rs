//! Patterns over whole paths: `*` and `?` stop at a slash, `**` does not. Knows no disk: a path is bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Any one of several patterns.
#[derive(Clone, Debug)]
pub struct Paths {
    texts: Vec<String>,
    set: GlobSet,
}

impl PartialEq for Paths {
    fn eq(&self, other: &Paths) -> bool {
        self.texts == other.texts
    }
}

impl Paths {
    /// Compiles `patterns`. One without a slash is matched against the last name alone, all others against the
    /// whole path; `~/` at the beginning is `home`.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn new(patterns: &[String], home: Option<&Path>) -> Result<Paths, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let whole = match (pattern.strip_prefix("~/"), home) {
                (Some(below), Some(home)) => {
                    format!("{}/{below}", globset::escape(&home.to_string_lossy()))
                }
                (Some(_), None) => {
                    return Err(format!("path {pattern:?}: there is no HOME to begin it with"));
                }
                (None, _) if !pattern.contains('/') && !pattern.is_empty() => format!("**/{pattern}"),
                (None, _) if pattern.starts_with('/') || pattern.starts_with("**/") => pattern.clone(),
                (None, _) => {
                    return Err(format!(
                        "path {pattern:?} matches nothing; write a whole path as \"/srv/films/**\", one that begins \
                         with \"~/\" or \"**/\", or a name without a slash as \"*.mkv\""
                    ));
                }
            };
            let glob = GlobBuilder::new(&whole).literal_separator(true).backslash_escape(true).build();
            set.add(glob.map_err(|error| format!("path {pattern:?}: {}", error.kind()))?);
        }
        let set = set.build().map_err(|error| format!("path: {}", error.kind()))?;
        Ok(Paths { texts: patterns.to_vec(), set })
    }

    /// Whether one of them matches the absolute path.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// As they were written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_anywhere_and_paths_as_a_whole() {
        for (pattern, path, expected) in [
            ("*.mkv", &b"/srv/films/a.mkv"[..], true),
            ("*.mkv", b"/srv/a.mkv/b", false),
            ("*.{mkv,avi}", b"/x/y.avi", true),
            ("core", b"/srv/core", true),
            ("core", b"/srv/core.c", false),
            ("/srv/films/**", b"/srv/films/a/b", true),
            ("/srv/films/**", b"/srv/films", false),
            ("/srv/films/*", b"/srv/films/a/b", false),
            ("/srv/films", b"/srv/films", true),
            ("**/cache/**", b"/a/cache/b/c", true),
            ("~/in/*", b"/home/[u]/in/x", true),
            ("~/in/*", b"/home/u/in/x", false),
            ("/srv/\\*", b"/srv/*", true),
            ("/srv/\\*", b"/srv/x", false),
            ("/srv/*.tmp", b"/srv/\xff.tmp", true),
            ("/srv/**", b"/srv/a\nb", true),
            ("[!a]*", b"/x/b", true),
        ] {
            let paths = Paths::new(&[pattern.to_owned()], Some(Path::new("/home/[u]"))).unwrap();
            assert_eq!(paths.matches(path), expected, "{pattern} {}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn what_can_match_nothing_is_refused_by_name() {
        for (pattern, said) in
            [("", "matches nothing"), ("films/*", "matches nothing"), ("/a[", "unclosed"), ("~/x", "no HOME")]
        {
            let error = Paths::new(&[pattern.to_owned()], None).unwrap_err();
            assert!(error.contains(said) && error.contains(&format!("{pattern:?}")), "{pattern}: {error}");
        }
    }
}
