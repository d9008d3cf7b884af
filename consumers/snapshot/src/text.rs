//! Names and paths as text. What is UTF-8 stands as it is; of other names each byte that is none, and each backslash, is written
//! `\xHH`. Knows no order.

use std::borrow::Cow;

/// The text of a name that is not UTF-8; `None` for one that is, since that is its own text.
pub(crate) fn escaped(name: &[u8]) -> Option<String> {
    if std::str::from_utf8(name).is_ok() {
        return None;
    }
    let mut text = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for part in chunk.valid().split_inclusive('\\') {
            match part.strip_suffix('\\') {
                // Without this two names of one directory could get the same text.
                Some(before) => {
                    text.push_str(before);
                    push_byte(&mut text, b'\\');
                }
                None => text.push_str(part),
            }
        }
        for &byte in chunk.invalid() {
            push_byte(&mut text, byte);
        }
    }
    Some(text)
}

/// The text of a name beside its siblings: itself, or its escape with as many backslashes at its end as it takes until `is_sibling`
/// says that nobody else is called so.
pub fn name_text(name: &[u8], mut is_sibling: impl FnMut(&str) -> bool) -> Cow<'_, str> {
    match (std::str::from_utf8(name), escaped(name)) {
        (Ok(text), _) => text.into(),
        (Err(_), escaped) => {
            let mut text = escaped.unwrap_or_default();
            while is_sibling(&text) {
                text.push('\\');
            }
            text.into()
        }
    }
}

/// The text of a whole path, name by name.
#[must_use]
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for (at, name) in path.split(|&byte| byte == b'/').enumerate() {
        if at > 0 {
            text.push('/');
        }
        match std::str::from_utf8(name) {
            Ok(name) => text.push_str(name),
            Err(_) => text.extend(escaped(name)),
        }
    }
    text
}

fn push_byte(text: &mut String, byte: u8) {
    text.push_str("\\x");
    for half in [byte >> 4, byte & 15] {
        text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_text_is_escaped() {
        assert_eq!(escaped(b"plain \\ name\n"), None);
        assert_eq!(escaped("ü".as_bytes()), None);
        assert_eq!(escaped(b"a\xff\\b\xc3").as_deref(), Some("a\\xff\\x5cb\\xc3"));
        assert_eq!(escaped(b"\\\\\x80").as_deref(), Some("\\x5c\\x5c\\x80"));
        assert_eq!(path_text(b"/r\\s/\xfe/x"), "/r\\s/\\xfe/x");
        assert_eq!(path_text(b"/"), "/");
    }
}
