//! By how much a tree grew between two snapshots, by directory, owner, category or type. Knows not which snapshots.

use std::collections::BTreeSet;

use record::Kind;

use super::sums::{Sum, Sums};
use super::{Lacks, Links, Page, Shape, Value, directory, owner};
use crate::columns::Columns;
use crate::read::{Head, Line, Lines};

/// What it is parted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The directory right below the root.
    Directory,
    /// Who owns it.
    Owner,
    /// The sort of file.
    Category,
    /// The extension of its name.
    Type,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            By::Directory => "directory",
            By::Owner => "owner",
            By::Category => "category",
            By::Type => "type",
        }
    }

    fn key(self, line: &Line<'_>, root: &str) -> String {
        match self {
            By::Directory => directory(root, line),
            By::Owner => owner(line),
            By::Category => line.category.unwrap_or_default().to_owned(),
            By::Type => line.file_type.unwrap_or_default().to_owned(),
        }
    }
}

/// Adds up two snapshots of one root.
#[derive(Debug)]
pub struct Growth {
    by: By,
    sums: [Sums; 2],
    links: [Links; 2],
    root: String,
}

impl Growth {
    /// Nothing yet.
    #[must_use]
    pub fn new(by: By) -> Growth {
        Growth { by, sums: Default::default(), links: Default::default(), root: String::new() }
    }

    /// Rows of the older (0) or the newer (1) come next.
    ///
    /// # Errors
    /// When they do not say what it is parted by.
    pub fn begin(&mut self, head: &Head) -> Result<(), Lacks> {
        if head.columns == Columns::Unix {
            match self.by {
                By::Owner => return Err(Lacks("who owns what")),
                By::Category => return Err(Lacks("what sort of file is which")),
                By::Directory | By::Type => {}
            }
        }
        self.root.clone_from(&head.root);
        Ok(())
    }

    /// Adds rows of the older (0) or the newer (1).
    pub fn add(&mut self, side: usize, lines: &Lines) {
        for row in 0..lines.len() {
            let line = lines.line(row);
            if line.kind == Kind::Directory || !self.links[side].is_first(&line) {
                continue;
            }
            self.sums[side].get(&self.by.key(&line, &self.root)).add(Sum::of(&line));
        }
    }

    /// What grew most comes first.
    #[must_use]
    pub fn page(self) -> Page {
        let Growth { by, sums, .. } = self;
        let mut page = Page::new("growth", &format!("Growth by {}", by.word()), 3);
        page.column(by.word(), Shape::Text)
            .column("bytes_before", Shape::Bytes)
            .column("bytes", Shape::Bytes);
        page.column("growth", Shape::Signed)
            .column("files_before", Shape::Count)
            .column("files", Shape::Count);
        let [before, after] = sums.map(Sums::into_map);
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let of = |key: &String| {
            let at =
                |sums: &std::collections::HashMap<String, Sum>| sums.get(key).copied().unwrap_or_default();
            (at(&before), at(&after))
        };
        let mut all: Vec<_> = keys.into_iter().map(|key| (key, of(key))).collect();
        all.sort_by_key(|(_, (before, after))| {
            std::cmp::Reverse((
                after.bytes - before.bytes,
                after.entries.cast_signed() - before.entries.cast_signed(),
            ))
        });
        for (key, (before, after)) in all {
            let bytes = [before.bytes.into(), after.bytes.into(), (after.bytes - before.bytes).into()];
            let files = [before.entries.into(), after.entries.into()];
            page.row([Value::text_or_null(key)].into_iter().chain(bytes).chain(files).collect());
        }
        page
    }
}
