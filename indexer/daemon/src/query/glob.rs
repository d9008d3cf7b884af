//! Shell patterns over names of any bytes: `*`, `?`, `[abc]`, `[!a-z]`, `\x`. Knows no path: a name has no slash.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    parts: Vec<Part>,
    /// Bytes that every match ends with: most names are refused by a look at them.
    tail: Vec<u8>,
    fold: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// One character: a whole one of UTF-8, or a byte that is none.
    Any,
    Star,
    Set {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Compiles `pattern`; `fold` makes upper and lower case alike.
    pub(crate) fn new(pattern: &str, fold: bool) -> Result<Glob, String> {
        let folded = if fold { pattern.to_lowercase() } else { pattern.to_owned() };
        let mut parts = Vec::new();
        let mut rest = folded.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' if parts.last() == Some(&Part::Star) => {}
                '*' => parts.push(Part::Star),
                '?' => parts.push(Part::Any),
                '[' => parts.push(set(&mut rest).ok_or_else(|| {
                    format!("bad pattern {pattern:?}: [ is not closed; write \\[ for the character itself")
                })?),
                '\\' => {
                    let literal =
                        rest.next().ok_or_else(|| format!("bad pattern {pattern:?}: it ends with \\"))?;
                    push(&mut parts, literal);
                }
                literal => push(&mut parts, literal),
            }
        }
        let mut tail: Vec<u8> = parts
            .iter()
            .rev()
            .map_while(|part| if let Part::Byte(byte) = part { Some(*byte) } else { None })
            .collect();
        tail.reverse();
        // Folding changes lengths of letters beyond ASCII.
        if fold && !tail.is_ascii() {
            tail.clear();
        }
        Ok(Glob { parts, tail, fold })
    }

    /// Whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        if !self.fold {
            return name.ends_with(&self.tail) && matches(&self.parts, name);
        }
        let Some(end) = name.len().checked_sub(self.tail.len()) else { return false };
        if name.is_ascii() {
            return name[end..].eq_ignore_ascii_case(&self.tail)
                && matches(&self.parts, &name.to_ascii_lowercase());
        }
        match std::str::from_utf8(name) {
            Ok(text) => matches(&self.parts, text.to_lowercase().as_bytes()),
            Err(_) => matches(&self.parts, &name.to_ascii_lowercase()),
        }
    }
}

fn push(parts: &mut Vec<Part>, literal: char) {
    let mut bytes = [0; 4];
    parts.extend(literal.encode_utf8(&mut bytes).bytes().map(Part::Byte));
}

fn set(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let not = rest.next_if(|&c| c == '!' || c == '^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            // At the start it stands for itself.
            ']' if !ranges.is_empty() => return Some(Part::Set { not, ranges }),
            '\\' => rest.next()?,
            c => c,
        };
        let mut ahead = rest.clone();
        let range = ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']');
        if range {
            rest.next();
            ranges.push((first, rest.next()?));
        } else {
            ranges.push((first, first));
        }
    }
}

/// Greedy, with one point to go back to: the last star.
fn matches(parts: &[Part], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if let Some(part) = parts.get(at) {
            if *part == Part::Star {
                star = Some((at, seen));
                at += 1;
                continue;
            }
            if let Some(length) = one(part, &name[seen..]) {
                at += 1;
                seen += length;
                continue;
            }
        } else if seen == name.len() {
            return true;
        }
        let Some((from, taken)) = star else { return false };
        if taken >= name.len() {
            return false;
        }
        star = Some((from, taken + 1));
        (at, seen) = (from + 1, taken + 1);
    }
}

/// How many bytes of `rest` the part takes.
fn one(part: &Part, rest: &[u8]) -> Option<usize> {
    let &first = rest.first()?;
    if let Part::Byte(byte) = part {
        return (*byte == first).then_some(1);
    }
    let (found, length) = character(rest);
    match part {
        Part::Any => Some(length),
        Part::Set { not, ranges } => {
            let inside = found.is_some_and(|c| ranges.iter().any(|&(low, high)| low <= c && c <= high));
            (inside != *not).then_some(length)
        }
        Part::Byte(_) | Part::Star => None,
    }
}

/// The first character and its length; a byte that begins none counts as one of its own.
fn character(bytes: &[u8]) -> (Option<char>, usize) {
    let length = match bytes[0] {
        0..=0x7f => return (Some(char::from(bytes[0])), 1),
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let text = bytes.get(..length).and_then(|part| std::str::from_utf8(part).ok());
    match text.and_then(|text| text.chars().next()) {
        Some(c) => (Some(c), length),
        None => (None, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", &b"anything"[..], true),
            ("*.rs", b"main.rs", true),
            ("*.rs", b"main.rsx", false),
            ("a*b*c", b"aXbXbYc", true),
            ("a*b*c", b"aXbXbY", false),
            ("?", "ü".as_bytes(), true),
            ("??", "ü".as_bytes(), false),
            ("?", b"\xff", true),
            ("[a-c]x", b"bx", true),
            ("[!a-c]x", b"bx", false),
            ("[]x]", b"]", true),
            ("[a-]", b"-", true),
            ("[ä-ü]", "ö".as_bytes(), true),
            ("\\*", b"*", true),
            ("\\*", b"x", false),
            ("", b"", true),
            ("", b"x", false),
            ("*\n*", b"a\nb", true),
            ("f*", b".f", false),
        ] {
            assert_eq!(Glob::new(pattern, false).unwrap().matches(name), expected, "{pattern} {name:?}");
        }
    }

    #[test]
    fn folding_knows_letters_beyond_ascii() {
        for (pattern, name, expected) in [
            ("*.JPG", &b"img.jpg"[..], true),
            ("*.jpg", b"IMG.JPG", true),
            ("ÄRGER*", "ärgerlich".as_bytes(), true),
            ("*é", "CAFÉ".as_bytes(), true),
            ("*.jpg", b"\xff.JPG", true),
            ("*.jpg", b"pg", false),
        ] {
            assert_eq!(Glob::new(pattern, true).unwrap().matches(name), expected, "{pattern} {name:?}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["[a", "a\\", "[]", "[!]"] {
            Glob::new(pattern, false).expect_err(pattern);
        }
    }
}
