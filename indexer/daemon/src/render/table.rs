//! Tables: columns as wide as they must be, the last one cut in the middle where the terminal ends.

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows to be.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these columns.
    pub(crate) fn new(columns: &[Align]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, a cell a column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell a column");
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, cut to `width` columns if there is a width: what is no terminal gets every cell whole.
    pub(crate) fn text(&self, width: Option<usize>) -> String {
        let mut widths = vec![0; self.columns.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        let last = widths.len().saturating_sub(1);
        let before: usize = widths[..last].iter().map(|width| width + 2).sum();
        // A few columns must be left, or the cut says nothing.
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(before).max(12));
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let cell = if at == last { cut(cell, room) } else { cell.clone() };
                let padding = " ".repeat(widths[at].min(room).saturating_sub(columns(&cell)));
                match self.columns[at] {
                    Align::Left => line.extend([&*cell, &*padding]),
                    Align::Right => line.extend([&*padding, &*cell]),
                }
                if at < last {
                    line.push_str("  ");
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Columns a text takes; wide characters of East Asian scripts take two.
fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The text in at most `room` columns: its beginning and its end, which tell paths apart.
fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let head_room = (room - 1) / 3;
    let tail_room = room - 1 - head_room;
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut taken = 0;
        chars
            .take_while(|&c| {
                taken += width(c);
                taken <= room
            })
            .collect::<Vec<char>>()
    };
    let head = take(&mut text.chars(), head_room);
    let tail = take(&mut text.chars().rev(), tail_room);
    head.into_iter().chain(['…']).chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[Align::Right, Align::Left, Align::Left]);
        table.row(["1.5 KiB".into(), "x".into(), "/short".into()]);
        table.row(["9 B".into(), "long".into(), format!("/{}/end", "very".repeat(30))]);
        table
    }

    #[test]
    fn columns_line_up() {
        let text = table().text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "1.5 KiB  x     /short");
        assert!(lines[1].starts_with("    9 B  long  /very"), "{}", lines[1]);
        assert!(lines[1].ends_with("veryvery/end"), "without a terminal nothing is cut");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [30, 40, 80] {
            let text = table().text(Some(width));
            assert!(text.lines().all(|line| columns(line) <= width), "{width}: {text}");
            assert!(text.contains("y/end"), "the end of a path stays: {text}");
            assert!(text.contains('…'));
        }
        assert!(columns(&cut("日本日本日本日本日本", 12)) <= 12);
    }
}
