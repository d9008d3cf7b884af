//! Comma-separated values, as RFC 4180 has them. Knows no columns.

/// A line with its end: cells with a comma, a quote or a line break stand in quotes.
pub(crate) fn csv_line<T: AsRef<str>>(cells: &[T]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        let cell = cell.as_ref();
        if at > 0 {
            line.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            line.extend(["\"", &cell.replace('"', "\"\""), "\""]);
        } else {
            line.push_str(cell);
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::csv_line;

    #[test]
    fn only_what_would_be_misread_is_quoted() {
        assert_eq!(csv_line(&["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(
            csv_line(&["a,b", "say \"x\"", "two\nlines"]),
            "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n"
        );
    }
}
