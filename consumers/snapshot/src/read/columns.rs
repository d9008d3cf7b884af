//! Which columns can be asked for, and whether a file has them as its version does. Knows no rows.

use std::path::Path;

use arrow_schema::Schema;

use super::ReadError;
use crate::columns::Columns;

/// A column that can be asked for. A file of eleven columns lacks some; so do its rows then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as the columns are, in docs/snapshots.md")]
pub enum Column {
    PathRaw,
    TopLevelDir,
    Depth,
    FileType,
    Kind,
    Category,
    Size,
    Allocated,
    Modified,
    Accessed,
    Created,
    Permissions,
    Owners,
    OwnerName,
    Entry,
    Digest,
}

impl Column {
    /// What it is in a file; the first is that of the eleven columns, if those have it.
    fn names(self) -> &'static [&'static str] {
        match self {
            Column::PathRaw => &["path_raw"],
            Column::TopLevelDir => &["top_level_dir"],
            Column::Depth => &["depth"],
            Column::FileType => &["file_type"],
            Column::Kind => &["kind"],
            Column::Category => &["category"],
            Column::Size => &["size"],
            Column::Allocated => &["allocated"],
            Column::Modified => &["modified_time"],
            Column::Accessed => &["accessed_time"],
            Column::Created => &["created_time"],
            Column::Permissions => &["permissions"],
            Column::Owners => &["uid", "gid"],
            Column::OwnerName => &["owner"],
            Column::Entry => &["inode", "volume", "links"],
            Column::Digest => &["digest", "digest_kind"],
        }
    }
}

/// The names of the path and of all that is `wanted`, as far as files of such columns have it.
pub(super) fn names(columns: Columns, wanted: &[Column]) -> Vec<&'static str> {
    let mut names = vec!["path"];
    names.extend(wanted.iter().flat_map(|column| column.names()));
    if columns == Columns::Unix {
        // It tells directories by their type.
        names.push("file_type");
    }
    names.retain(|name| columns.specs().iter().any(|spec| spec.name == *name));
    names
}

/// These names, if each is there and of its type.
pub(super) fn checked(
    path: &Path,
    columns: Columns,
    schema: &Schema,
    names: Vec<&'static str>,
) -> Result<Vec<&'static str>, ReadError> {
    for name in &names {
        let Some(spec) = columns.specs().iter().find(|spec| spec.name == *name) else { continue };
        let Ok(field) = schema.field_with_name(name) else {
            return Err(ReadError::damaged(path, format!("it has no column {name}")));
        };
        if *field.data_type() != spec.sort.data() {
            let why = format!("its column {name} is of the type {}", field.data_type());
            return Err(ReadError::damaged(path, why));
        }
    }
    Ok(names)
}
