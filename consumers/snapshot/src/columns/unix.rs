//! The eleven columns of an older scanner, for queries that were written for its files.

use arrow_array::ArrayRef;
use arrow_array::builder::{Int64Builder, StringBuilder, UInt32Builder, UInt64Builder};

use super::{Entry, Gather, Gathered, Parts, Sort, Spec, always, file_type, maybe, root_length};

pub(super) const SPECS: [Spec; 11] = [
    always("path", Sort::Text),
    always("size", Sort::UInt64),
    always("modified_time", Sort::Int64),
    always("accessed_time", Sort::Int64),
    maybe("created_time", Sort::Int64),
    always("file_type", Sort::Word),
    always("inode", Sort::UInt64),
    always("permissions", Sort::UInt32),
    always("parent_path", Sort::Word),
    always("depth", Sort::UInt32),
    always("top_level_dir", Sort::Word),
];

#[derive(Debug)]
pub(super) struct Unix {
    root: usize,
    lower: String,
    path: StringBuilder,
    size: UInt64Builder,
    modified: Int64Builder,
    accessed: Int64Builder,
    created: Int64Builder,
    file_type: StringBuilder,
    inode: UInt64Builder,
    permissions: UInt32Builder,
    parent_path: StringBuilder,
    depth: UInt32Builder,
    top_level_dir: StringBuilder,
}

impl Unix {
    pub(super) fn new(root: &str) -> Unix {
        Unix {
            root: root_length(root),
            lower: String::new(),
            path: StringBuilder::new(),
            size: UInt64Builder::new(),
            modified: Int64Builder::new(),
            accessed: Int64Builder::new(),
            created: Int64Builder::new(),
            file_type: StringBuilder::new(),
            inode: UInt64Builder::new(),
            permissions: UInt32Builder::new(),
            parent_path: StringBuilder::new(),
            depth: UInt32Builder::new(),
            top_level_dir: StringBuilder::new(),
        }
    }
}

impl Gather for Unix {
    fn push(&mut self, entry: &Entry<'_>) {
        let (facts, stat) = (&entry.facts, &entry.facts.stat);
        let parts = Parts::of(entry, self.root);
        self.path.append_value(entry.text);
        self.size.append_value(stat.size);
        self.modified.append_value(stat.modified.seconds());
        self.accessed.append_value(stat.accessed.seconds());
        self.created.append_option(stat.created.map(record::Time::seconds));
        self.file_type.append_value(file_type(stat.kind, parts.name, &mut self.lower).unwrap_or_default());
        self.inode.append_value(facts.id.inode);
        self.permissions.append_value(u32::from(stat.mode));
        self.parent_path.append_value(parts.parent);
        self.depth.append_value(entry.depth);
        self.top_level_dir.append_value(parts.top_level);
    }

    fn take(&mut self) -> Vec<ArrayRef> {
        let builders: [&mut dyn Gathered; SPECS.len()] = [
            &mut self.path,
            &mut self.size,
            &mut self.modified,
            &mut self.accessed,
            &mut self.created,
            &mut self.file_type,
            &mut self.inode,
            &mut self.permissions,
            &mut self.parent_path,
            &mut self.depth,
            &mut self.top_level_dir,
        ];
        builders.into_iter().map(|builder| builder.take()).collect()
    }
}
