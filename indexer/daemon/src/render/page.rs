//! A report for people: cells as text, a table with bars. Knows no report.

use jiff::tz::TimeZone;
use snapshot::{Page, Shape, Value};

use super::{Align, Table, bytes, count, local_time, quoted, signed_bytes};

/// Columns of a bar.
const BAR: usize = 12;

/// A cell as text.
pub(super) fn cell_text(value: &Value, shape: Shape) -> String {
    match (value, shape) {
        (Value::Null, Shape::Text) => "(none)".to_owned(),
        (Value::Null, _) => String::new(),
        (Value::Text(text), _) => quoted(text.as_bytes()).into_owned(),
        (Value::Number(number), Shape::Count) => count(number.unsigned_abs()),
        (Value::Number(number), Shape::SignedCount) => {
            let sign = if *number < 0 { "-" } else { "+" };
            format!("{sign}{}", count(number.unsigned_abs()))
        }
        (Value::Number(number), Shape::Bytes | Shape::Size) => bytes(number.unsigned_abs()),
        (Value::Number(number), Shape::Signed) => signed_bytes(*number),
        (Value::Number(us), Shape::Time) => {
            let mut time = local_time(i128::from(*us) * 1000, &TimeZone::system());
            time.truncate(10);
            time
        }
        (Value::Number(number), Shape::Number | Shape::Text) => number.to_string(),
    }
}

/// What a column is called for people.
pub(super) fn heading(name: &str) -> String {
    name.replace('_', " ")
}

/// The greatest amount that a bar shows.
pub(super) fn greatest(page: &Page, rows: &[Vec<Value>]) -> u64 {
    rows.iter().filter_map(|row| row[page.bar].number()).map(i64::unsigned_abs).max().unwrap_or(0).max(1)
}

/// A bar of eighths of a column, for a part of the greatest amount.
fn bar(amount: i64, greatest: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let part = amount.unsigned_abs() as f64 / greatest as f64;
    let mut eighths = (part * (BAR * 8) as f64).round() as usize;
    if amount != 0 {
        // Something is never shown as nothing.
        eighths = eighths.max(1);
    }
    let full = if amount < 0 { "▒" } else { "█" };
    if amount < 0 {
        return full.repeat(eighths.div_ceil(8));
    }
    format!("{}{}", full.repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// The first `most` rows, and all others in one.
pub(crate) fn page_table(page: &Page, most: usize, width: Option<usize>) -> String {
    let (rows, rest) = page.cut(most);
    let greatest = greatest(page, rows);
    // What a row is of comes last, where it may be cut.
    let order: Vec<usize> = (1..page.columns.len()).chain([0]).collect();
    let mut aligns: Vec<Align> = order.iter().map(|_| Align::Right).collect();
    let key = aligns.len() - 1;
    aligns[key] = Align::Left;
    aligns.insert(key, Align::Left);
    let mut table = Table::new(&aligns);
    let mut heads: Vec<String> = order.iter().map(|at| heading(page.columns[*at].0)).collect();
    heads.insert(key, String::new());
    table.row(heads);
    for row in rows {
        let mut cells: Vec<String> =
            order.iter().map(|at| cell_text(&row[*at], page.columns[*at].1)).collect();
        cells.insert(key, bar(row[page.bar].number().unwrap_or(0), greatest));
        table.row(cells);
    }
    if let Some((left, sums)) = rest {
        let mut cells: Vec<String> =
            order.iter().map(|at| cell_text(&sums[*at], page.columns[*at].1)).collect();
        cells[key] = format!("({} more)", count(left as u64));
        cells.insert(key, String::new());
        table.row(cells);
    }
    table.text(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_parts_of_the_greatest() {
        assert_eq!(bar(100, 100), "█".repeat(BAR));
        assert_eq!((bar(0, 100).as_str(), bar(1, 1_000_000).as_str()), ("", "▏"));
        assert_eq!(bar(50, 100), "█".repeat(BAR / 2));
        assert_eq!(bar(-100, 100), "▒".repeat(BAR));
    }

    #[test]
    fn what_is_left_out_is_added_up_and_no_line_is_too_wide() {
        let row = |name: &str, size: i64| {
            vec![Value::Text(name.to_owned()), Value::Number(2), Value::Number(size), Value::Number(size)]
        };
        let page = Page {
            name: "types",
            title: "Files by type".into(),
            columns: vec![
                ("type", Shape::Text),
                ("files", Shape::Count),
                ("bytes", Shape::Bytes),
                ("allocated", Shape::Bytes),
            ],
            rows: vec![row(&"long".repeat(40), 4096), row("b", 1024), row("c\u{1b}[31m", 512)],
            bar: 2,
            whole: false,
            notes: Vec::new(),
        };
        let text = page_table(&page, 1, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.ends_with("    4  1.5 KiB    1.5 KiB                (2 more)\n"), "{text}");
        assert!(page_table(&page, 9, None).contains("$'c\\x1b[31m'"), "a name draws nothing");
    }
}
