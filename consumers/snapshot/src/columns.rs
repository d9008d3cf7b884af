//! The columns of a snapshot: their names, types and coding, and rows made into them. Knows no file.

mod native;
#[cfg(test)]
mod tests;
mod unix;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{FixedSizeBinaryBuilder, GenericByteBuilder, PrimitiveBuilder};
use arrow_array::types::{ArrowPrimitiveType, ByteArrayType};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use record::{Kind, Time};

use crate::entry::Entry;

/// Which columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All that the index has, in signed types.
    Native,
    /// Eleven, as an older scanner wrote them.
    Unix,
}

impl Columns {
    /// The version of the schema, as it stands in the footer.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Columns::Native => "1",
            Columns::Unix => "unix-1",
        }
    }

    pub(crate) fn specs(self) -> &'static [Spec] {
        match self {
            Columns::Native => &native::SPECS,
            Columns::Unix => &unix::SPECS,
        }
    }

    pub(crate) fn schema(self) -> SchemaRef {
        let fields = self.specs().iter().map(|spec| Field::new(spec.name, spec.sort.data(), spec.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    pub(crate) fn gather(self, root: &str, owners: Arc<Owners>) -> Box<dyn Gather> {
        match self {
            Columns::Native => Box::new(native::Native::new(root, owners)),
            Columns::Unix => Box::new(unix::Unix::new(root)),
        }
    }
}

/// Names of users and groups, by number.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Of users.
    pub users: HashMap<u32, String>,
    /// Of groups.
    pub groups: HashMap<u32, String>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Texts that differ from row to row, and begin as the one before.
    Text,
    /// Likewise, and not text.
    Bytes,
    /// Few different words.
    Word,
    Int32,
    Int64,
    UInt32,
    UInt64,
    /// Microseconds since 1970, UTC.
    Time,
    /// 32 bytes.
    Digest,
}

impl Sort {
    pub(crate) fn data(self) -> DataType {
        match self {
            Sort::Text | Sort::Word => DataType::Utf8,
            Sort::Bytes => DataType::Binary,
            Sort::Int32 => DataType::Int32,
            Sort::Int64 => DataType::Int64,
            Sort::UInt32 => DataType::UInt32,
            Sort::UInt64 => DataType::UInt64,
            Sort::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Sort::Digest => DataType::FixedSizeBinary(32),
        }
    }

    /// How much work it is to encode, to share it out among threads.
    pub(crate) fn effort(self) -> u32 {
        match self {
            Sort::Text => 6,
            Sort::Word | Sort::Digest => 3,
            Sort::Time | Sort::Int64 | Sort::UInt64 => 2,
            Sort::Bytes | Sort::Int32 | Sort::UInt32 => 1,
        }
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) sort: Sort,
    pub(crate) nullable: bool,
}

const fn always(name: &'static str, sort: Sort) -> Spec {
    Spec { name, sort, nullable: false }
}

const fn maybe(name: &'static str, sort: Sort) -> Spec {
    Spec { name, sort, nullable: true }
}

/// Rows on their way into columns.
pub(crate) trait Gather: Send {
    /// Adds a row.
    fn push(&mut self, entry: &Entry<'_>);

    /// The columns of what was added, in the order of the specs, and begins anew.
    fn take(&mut self) -> Vec<ArrayRef>;
}

/// A column that is being gathered.
trait Gathered {
    /// What was gathered. Of texts, which are long, there is room for as much again.
    fn take(&mut self) -> ArrayRef;
}

impl<T: ByteArrayType> Gathered for GenericByteBuilder<T> {
    fn take(&mut self) -> ArrayRef {
        let anew = GenericByteBuilder::with_capacity(self.offsets_slice().len(), self.values_slice().len());
        Arc::new(std::mem::replace(self, anew).finish())
    }
}

impl<T: ArrowPrimitiveType> Gathered for PrimitiveBuilder<T> {
    fn take(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

impl Gathered for FixedSizeBinaryBuilder {
    fn take(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

/// What the path of a row says, beside itself.
struct Parts<'a> {
    parent: &'a str,
    name: &'a str,
    /// The directory right below the root that it is or lies in; empty for the root and for what else lies right in it.
    top_level: &'a str,
}

impl<'a> Parts<'a> {
    /// Of an entry below the root whose path, without a slash at its end, has so many bytes.
    fn of(entry: &Entry<'a>, root: usize) -> Parts<'a> {
        let text = entry.text;
        let (parent, name) = match text.rfind('/') {
            None => ("", text),
            Some(0) if text.len() == 1 => ("", "/"),
            Some(0) => ("/", &text[1..]),
            Some(at) => (&text[..at], &text[at + 1..]),
        };
        let below = text.get(root + 1..).unwrap_or_default();
        let top_level = match (entry.depth, entry.facts.stat.kind) {
            (0, _) => "",
            (1, Kind::Directory) => below,
            (1, _) => "",
            _ => below.split('/').next().unwrap_or_default(),
        };
        Parts { parent, name, top_level }
    }
}

/// Bytes of a root's path without a slash at its end.
fn root_length(root: &str) -> usize {
    root.strip_suffix('/').unwrap_or(root).len()
}

/// `directory`, or the extension of the name in small letters (ASCII's), without the dot; `None` for a name that has none.
fn file_type<'a>(kind: Kind, name: &'a str, lower: &'a mut String) -> Option<&'a str> {
    if kind == Kind::Directory {
        return Some("directory");
    }
    let (before, extension) = name.rsplit_once('.')?;
    if before.is_empty() || extension.is_empty() {
        return None;
    }
    if !extension.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(extension);
    }
    lower.clear();
    lower.push_str(extension);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// Microseconds, rounded down; `None` for what 64 bits do not hold, and for the two values that some engines read as infinity.
pub(crate) fn micros(time: Time) -> Option<i64> {
    // All but a few fit a word, and a word's division is several times as fast.
    let micros = match i64::try_from(time.0) {
        Ok(nanos) => nanos.div_euclid(1000),
        Err(_) => i64::try_from(time.0.div_euclid(1000)).ok()?,
    };
    (-i64::MAX < micros && micros < i64::MAX).then_some(micros)
}

/// A number that no file system makes larger.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
