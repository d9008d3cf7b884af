//! Rows that were read, as values. Knows both sets of columns; what a file lacks or nobody asked for is not there.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array as _, BinaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, PrimitiveArray, RecordBatch,
    StringArray, UInt32Array, UInt64Array,
};
use record::{Digest, DigestKind, Kind};

use crate::columns::Columns;

/// An entry, as the snapshot that it is in numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The index's number of its file system; none in a file of eleven columns.
    pub volume: Option<u32>,
    /// Its inode.
    pub inode: u64,
}

/// One row. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are called as the columns are, in docs/snapshots.md")]
pub struct Line<'a> {
    pub path: &'a str,
    pub raw: Option<&'a [u8]>,
    pub top_level: Option<&'a str>,
    pub depth: u32,
    pub kind: Kind,
    pub file_type: Option<&'a str>,
    pub category: Option<&'a str>,
    pub size: u64,
    pub allocated: Option<u64>,
    pub modified: Option<i64>,
    pub accessed: Option<i64>,
    pub created: Option<i64>,
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub owner: Option<&'a str>,
    pub links: Option<u32>,
    pub id: Option<NodeId>,
    pub digest: Option<Digest>,
}

/// Rows, one after the other.
#[derive(Clone, Debug)]
pub struct Lines {
    path: StringArray,
    raw: Option<BinaryArray>,
    top_level: Option<StringArray>,
    depth: Numbers,
    kind: Option<StringArray>,
    file_type: Option<StringArray>,
    category: Option<StringArray>,
    size: Numbers,
    allocated: Numbers,
    modified: Numbers,
    accessed: Numbers,
    created: Numbers,
    permissions: Numbers,
    uid: Numbers,
    gid: Numbers,
    owner: Option<StringArray>,
    links: Numbers,
    inode: Numbers,
    volume: Numbers,
    digest: Option<FixedSizeBinaryArray>,
    digest_kind: Option<StringArray>,
    /// Whether files are told from directories by their type alone.
    bare: bool,
}

/// A column of numbers of any type that there is.
#[derive(Clone, Debug)]
enum Numbers {
    None,
    Int32(Int32Array),
    Int64(Int64Array),
    UInt32(UInt32Array),
    UInt64(UInt64Array),
    Micros(PrimitiveArray<TimestampMicrosecondType>),
}

impl Numbers {
    fn get(&self, row: usize) -> Option<i128> {
        fn at<T: ArrowPrimitiveType<Native: Into<i128>>>(
            array: &PrimitiveArray<T>,
            row: usize,
        ) -> Option<i128> {
            array.is_valid(row).then(|| array.value(row).into())
        }
        match self {
            Numbers::None => None,
            Numbers::Int32(array) => at(array, row),
            Numbers::Int64(array) => at(array, row),
            Numbers::UInt32(array) => at(array, row),
            Numbers::UInt64(array) => at(array, row),
            Numbers::Micros(array) => at(array, row),
        }
    }

    fn small<T: TryFrom<i128>>(&self, row: usize) -> Option<T> {
        self.get(row).and_then(|number| T::try_from(number).ok())
    }

    /// A time: microseconds, or seconds in a plain column.
    fn time(&self, row: usize) -> Option<i64> {
        match self {
            Numbers::Int64(array) if array.is_valid(row) => array.value(row).checked_mul(1_000_000),
            _ => self.small(row),
        }
    }
}

impl Lines {
    /// The rows of a batch; none if it has no paths.
    pub(crate) fn new(batch: &RecordBatch, columns: Columns) -> Option<Lines> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>().cloned();
        let numbers = |name: &str| {
            let Some(column) = batch.column_by_name(name) else { return Numbers::None };
            if let Some(array) = column.as_primitive_opt::<Int64Type>() {
                return Numbers::Int64(array.clone());
            }
            if let Some(array) = column.as_primitive_opt::<TimestampMicrosecondType>() {
                return Numbers::Micros(array.clone());
            }
            if let Some(array) = column.as_primitive_opt::<Int32Type>() {
                return Numbers::Int32(array.clone());
            }
            if let Some(array) = column.as_primitive_opt::<UInt64Type>() {
                return Numbers::UInt64(array.clone());
            }
            column.as_primitive_opt::<UInt32Type>().cloned().map_or(Numbers::None, Numbers::UInt32)
        };
        Some(Lines {
            path: text("path")?,
            raw: batch.column_by_name("path_raw").and_then(|raw| raw.as_binary_opt::<i32>().cloned()),
            top_level: text("top_level_dir"),
            depth: numbers("depth"),
            kind: text("kind"),
            file_type: text("file_type"),
            category: text("category"),
            size: numbers("size"),
            allocated: numbers("allocated"),
            modified: numbers("modified_time"),
            accessed: numbers("accessed_time"),
            created: numbers("created_time"),
            permissions: numbers("permissions"),
            uid: numbers("uid"),
            gid: numbers("gid"),
            owner: text("owner"),
            links: numbers("links"),
            inode: numbers("inode"),
            volume: numbers("volume"),
            digest: batch
                .column_by_name("digest")
                .and_then(|digest| digest.as_fixed_size_binary_opt().cloned()),
            digest_kind: text("digest_kind"),
            bare: columns == Columns::Unix,
        })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.path.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The paths of all.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.path.value(row))
    }

    /// The path of one.
    #[must_use]
    pub fn path(&self, row: usize) -> &str {
        self.path.value(row)
    }

    /// One of them.
    #[must_use]
    pub fn line(&self, row: usize) -> Line<'_> {
        // All 64 bits of an inode, whatever the sign.
        let inode = self.inode.get(row).map(|number| number as u64);
        let file_type = word(&self.file_type, row).filter(|word| !word.is_empty());
        let kind = match (&self.kind, self.bare) {
            (Some(_), _) => word(&self.kind, row).and_then(Kind::from_word).unwrap_or(Kind::File),
            (None, true) if file_type == Some("directory") => Kind::Directory,
            (None, _) => Kind::File,
        };
        Line {
            path: self.path.value(row),
            raw: self.raw.as_ref().filter(|raw| raw.is_valid(row)).map(|raw| raw.value(row)),
            top_level: word(&self.top_level, row),
            depth: self.depth.small(row).unwrap_or(0),
            kind,
            file_type,
            category: word(&self.category, row),
            size: self.size.small(row).unwrap_or(0),
            allocated: self.allocated.small(row),
            modified: self.modified.time(row),
            accessed: self.accessed.time(row),
            created: self.created.time(row),
            mode: self.permissions.small(row),
            uid: self.uid.small(row),
            gid: self.gid.small(row),
            owner: word(&self.owner, row),
            links: self.links.small(row),
            id: inode.map(|inode| NodeId { volume: self.volume.get(row).map(|number| number as u32), inode }),
            digest: self.digest(row),
        }
    }

    fn digest(&self, row: usize) -> Option<Digest> {
        let bytes = self.digest.as_ref().filter(|digest| digest.is_valid(row))?.value(row);
        let kind = word(&self.digest_kind, row)?;
        let kind = DigestKind::ALL.into_iter().find(|known| known.word() == kind)?;
        Some(Digest { kind, bytes: bytes.try_into().ok()? })
    }
}

fn word(column: &Option<StringArray>, row: usize) -> Option<&str> {
    column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
}
