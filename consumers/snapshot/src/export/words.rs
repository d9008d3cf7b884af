//! Names, values and types as ClickHouse writes them. Sends nothing.

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A value, as parameters are written.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\0' => text.push_str("\\0"),
            other => text.push(other),
        }
    }
    text
}

/// A type without what changes no value: how words are kept, and in which zone times are shown.
pub(super) fn plain(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(inner) = word.strip_prefix("LowCardinality(").and_then(|rest| rest.strip_suffix(')')) {
        word = inner.to_owned();
    }
    if let Some((before, zone)) = word.split_once(", '")
        && let Some((_, rest)) = zone.split_once('\'')
    {
        word = format!("{before}{rest}");
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_end_where_they_end() {
        assert_eq!(quoted("a`b\\c"), "`a\\`b\\\\c`");
        assert_eq!(escaped("a\tb\\x\n'"), "a\\tb\\\\x\\n'");
        assert_eq!(plain("LowCardinality(Nullable(String))"), "Nullable(String)");
        assert_eq!(plain("Nullable(DateTime64(6, 'UTC'))"), "Nullable(DateTime64(6))");
        assert_ne!(plain("DateTime64(3)"), plain("DateTime64(6, 'UTC')"));
    }
}
