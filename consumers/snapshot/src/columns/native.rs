//! All columns, in signed types: engines and table formats without unsigned ones read them as they are.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, FixedSizeBinaryBuilder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};

use super::{
    Entry, Gather, Gathered, Owners, Parts, Sort, Spec, always, file_type, maybe, micros, root_length, signed,
};

pub(super) const SPECS: [Spec; 26] = [
    always("path", Sort::Text),
    maybe("path_raw", Sort::Bytes),
    always("parent_path", Sort::Word),
    always("name", Sort::Text),
    always("depth", Sort::Int32),
    always("top_level_dir", Sort::Word),
    always("kind", Sort::Word),
    maybe("file_type", Sort::Word),
    maybe("category", Sort::Word),
    always("size", Sort::Int64),
    always("allocated", Sort::Int64),
    maybe("modified_time", Sort::Time),
    maybe("accessed_time", Sort::Time),
    maybe("created_time", Sort::Time),
    maybe("changed_time", Sort::Time),
    always("permissions", Sort::Int32),
    always("uid", Sort::Int64),
    always("gid", Sort::Int64),
    maybe("owner", Sort::Word),
    maybe("group", Sort::Word),
    always("links", Sort::Int64),
    always("inode", Sort::Int64),
    always("volume", Sort::Int32),
    maybe("digest", Sort::Digest),
    maybe("digest_kind", Sort::Word),
    maybe("digest_time", Sort::Time),
];

#[derive(Debug)]
pub(super) struct Native {
    root: usize,
    owners: Arc<Owners>,
    lower: String,
    path: StringBuilder,
    path_raw: BinaryBuilder,
    parent_path: StringBuilder,
    name: StringBuilder,
    depth: Int32Builder,
    top_level_dir: StringBuilder,
    kind: StringBuilder,
    file_type: StringBuilder,
    category: StringBuilder,
    size: Int64Builder,
    allocated: Int64Builder,
    modified: TimestampMicrosecondBuilder,
    accessed: TimestampMicrosecondBuilder,
    created: TimestampMicrosecondBuilder,
    changed: TimestampMicrosecondBuilder,
    permissions: Int32Builder,
    uid: Int64Builder,
    gid: Int64Builder,
    owner: StringBuilder,
    group: StringBuilder,
    links: Int64Builder,
    inode: Int64Builder,
    volume: Int32Builder,
    digest: FixedSizeBinaryBuilder,
    digest_kind: StringBuilder,
    digest_time: TimestampMicrosecondBuilder,
}

impl Native {
    pub(super) fn new(root: &str, owners: Arc<Owners>) -> Native {
        let time = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
        Native {
            root: root_length(root),
            owners,
            lower: String::new(),
            path: StringBuilder::new(),
            path_raw: BinaryBuilder::new(),
            parent_path: StringBuilder::new(),
            name: StringBuilder::new(),
            depth: Int32Builder::new(),
            top_level_dir: StringBuilder::new(),
            kind: StringBuilder::new(),
            file_type: StringBuilder::new(),
            category: StringBuilder::new(),
            size: Int64Builder::new(),
            allocated: Int64Builder::new(),
            modified: time(),
            accessed: time(),
            created: time(),
            changed: time(),
            permissions: Int32Builder::new(),
            uid: Int64Builder::new(),
            gid: Int64Builder::new(),
            owner: StringBuilder::new(),
            group: StringBuilder::new(),
            links: Int64Builder::new(),
            inode: Int64Builder::new(),
            volume: Int32Builder::new(),
            digest: FixedSizeBinaryBuilder::new(32),
            digest_kind: StringBuilder::new(),
            digest_time: time(),
        }
    }
}

impl Gather for Native {
    fn push(&mut self, entry: &Entry<'_>) {
        let (facts, stat) = (&entry.facts, &entry.facts.stat);
        let parts = Parts::of(entry, self.root);
        self.path.append_value(entry.text);
        self.path_raw.append_option(entry.raw);
        self.parent_path.append_value(parts.parent);
        self.name.append_value(parts.name);
        self.depth.append_value(i32::try_from(entry.depth).unwrap_or(i32::MAX));
        self.top_level_dir.append_value(parts.top_level);
        self.kind.append_value(stat.kind.word());
        self.file_type.append_option(file_type(stat.kind, parts.name, &mut self.lower));
        self.category.append_option(facts.category.map(record::Category::word));
        self.size.append_value(signed(stat.size));
        self.allocated.append_value(signed(stat.allocated));
        self.modified.append_option(micros(stat.modified));
        self.accessed.append_option(micros(stat.accessed));
        self.created.append_option(stat.created.and_then(micros));
        self.changed.append_option(micros(stat.changed));
        self.permissions.append_value(i32::from(stat.mode));
        self.uid.append_value(i64::from(stat.uid));
        self.gid.append_value(i64::from(stat.gid));
        self.owner.append_option(self.owners.users.get(&stat.uid));
        self.group.append_option(self.owners.groups.get(&stat.gid));
        self.links.append_value(i64::from(stat.links));
        // All 64 bits: a number beyond the half of them comes out negative, and is still the only one.
        self.inode.append_value(facts.id.inode.cast_signed());
        self.volume.append_value(facts.id.volume.0.cast_signed());
        match &facts.digest {
            // It fails for other than 32 bytes alone.
            Some(digest) if self.digest.append_value(digest.bytes).is_ok() => {}
            _ => self.digest.append_null(),
        }
        self.digest_kind.append_option(facts.digest.map(|digest| digest.kind.word()));
        self.digest_time.append_option(facts.digest_time.and_then(micros));
    }

    fn take(&mut self) -> Vec<ArrayRef> {
        let builders: [&mut dyn Gathered; SPECS.len()] = [
            &mut self.path,
            &mut self.path_raw,
            &mut self.parent_path,
            &mut self.name,
            &mut self.depth,
            &mut self.top_level_dir,
            &mut self.kind,
            &mut self.file_type,
            &mut self.category,
            &mut self.size,
            &mut self.allocated,
            &mut self.modified,
            &mut self.accessed,
            &mut self.created,
            &mut self.changed,
            &mut self.permissions,
            &mut self.uid,
            &mut self.gid,
            &mut self.owner,
            &mut self.group,
            &mut self.links,
            &mut self.inode,
            &mut self.volume,
            &mut self.digest,
            &mut self.digest_kind,
            &mut self.digest_time,
        ];
        builders.into_iter().map(|builder| builder.take()).collect()
    }
}
