//! What a report says: columns and rows, of which people and machines are shown the same. Adds nothing up.

/// What a column holds, which says how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    Text,
    /// A number that is no amount, as a user's.
    Number,
    /// How many.
    Count,
    /// Bytes, which add up.
    Bytes,
    /// Bytes more or less.
    Signed,
    /// Entries more or less.
    SignedCount,
    /// A size that adds up to nothing.
    Size,
    /// Microseconds since 1970.
    Time,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

impl Value {
    pub(super) fn text_or_null(text: &str) -> Value {
        if text.is_empty() { Value::Null } else { Value::Text(text.to_owned()) }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(number)
    }
}

/// How many rows were left out, and a row of what adds up of them.
pub type Rest = (usize, Vec<Value>);

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In one word.
    pub name: &'static str,
    /// For people.
    pub title: String,
    /// The columns; the first says what a row is of.
    pub columns: Vec<(&'static str, Shape)>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// The column that bars show.
    pub bar: usize,
    /// Whether rows are parts of one sum, and none may be left out.
    pub whole: bool,
    /// What is to be known with it.
    pub notes: Vec<String>,
}

impl Page {
    pub(super) fn new(name: &'static str, title: &str, bar: usize) -> Page {
        let (columns, rows, notes) = Default::default();
        Page { name, title: title.to_owned(), columns, rows, bar, whole: name == "sizes", notes }
    }

    pub(super) fn column(&mut self, name: &'static str, shape: Shape) -> &mut Page {
        self.columns.push((name, shape));
        self
    }

    pub(super) fn row(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a cell a column");
        self.rows.push(row);
    }

    /// The first so many rows, and what all others add up to: how many they are, and a row with what adds up.
    #[must_use]
    pub fn cut(&self, most: usize) -> (&[Vec<Value>], Option<Rest>) {
        if self.whole || self.rows.len() <= most {
            return (&self.rows, None);
        }
        let (shown, rest) = self.rows.split_at(most);
        let sum = |at: usize, shape: Shape| match shape {
            Shape::Count | Shape::Bytes | Shape::Signed | Shape::SignedCount => {
                let numbers = rest.iter().filter_map(|row| row[at].number());
                Value::Number(numbers.fold(0, i64::saturating_add))
            }
            _ => Value::Null,
        };
        let sums = self.columns.iter().enumerate().map(|(at, (_, shape))| sum(at, *shape)).collect();
        (shown, Some((rest.len(), sums)))
    }
}
