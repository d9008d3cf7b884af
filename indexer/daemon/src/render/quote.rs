//! Paths in text: exact where a terminal can show them, quoted for a shell where it cannot.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The path as it is; with control characters, invisible marks or invalid UTF-8 as `$'a\nb\xff'`, which bash and
/// zsh read back.
pub(crate) fn quoted(path: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(hides) => Cow::Borrowed(text),
        _ => Cow::Owned(in_quotes(path)),
    }
}

fn in_quotes(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 8);
    text.push_str("$'");
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '\\' => text.push_str("\\\\"),
                '\'' => text.push_str("\\'"),
                c if hides(c) => {
                    let mut bytes = [0; 4];
                    for byte in c.encode_utf8(&mut bytes).bytes() {
                        // Writing to a String does not fail.
                        let _ = write!(text, "\\x{byte:02x}");
                    }
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('\'');
    text
}

/// Control characters, and marks that turn or hide text: a name must not lie about what it is.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_shown_is_quoted() {
        for (path, shown) in [
            (&b"/a b/c'd"[..], "/a b/c'd"),
            ("/ä/日本".as_bytes(), "/ä/日本"),
            (b"/a\nb", r"$'/a\nb'"),
            (b"/a\x1b[31m'", r"$'/a\x1b[31m\''"),
            (b"/\xff\\x", r"$'/\xff\\x'"),
            ("a\u{202e}b".as_bytes(), r"$'a\xe2\x80\xaeb'"),
        ] {
            assert_eq!(quoted(path), shown);
        }
    }
}
