//! Two sides of one path: what the index holds and what the disk has. All fields must agree but the access time.

use record::wire::v1::{self, Difference};

/// One side: a stat and an inode number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// The fields.
    pub(crate) stat: v1::Stat,
    /// The inode number.
    pub(crate) inode: u64,
}

impl Side {
    /// Whether both are the same entry in the same state.
    pub(crate) fn agrees(&self, other: &Side) -> bool {
        let stat = v1::Stat { accessed_ns: other.stat.accessed_ns, ..self.stat.clone() };
        stat == other.stat && self.inode == other.inode
    }
}

/// The difference at `path`, if there is one.
pub(crate) fn difference(path: &[u8], stored: Option<&Side>, seen: Option<&Side>) -> Option<Difference> {
    let what = match (stored, seen) {
        (None, None) => return None,
        (Some(stored), Some(seen)) if stored.agrees(seen) => return None,
        (None, Some(_)) => "missing",
        (Some(_), None) => "extra",
        (Some(_), Some(_)) => "differs",
    };
    let (path, path_raw) = v1::text_and_raw(path);
    let stat = |side: Option<&Side>| side.map(|side| side.stat.clone());
    Some(Difference { path, path_raw, what: what.to_owned(), stored: stat(stored), seen: stat(seen) })
}

/// The fields that differ, as `size 5 stored, 6 on disk`.
pub(crate) fn said(stored: &Side, seen: &Side) -> String {
    let (a, b) = (&stored.stat, &seen.stat);
    let time = |time: Option<i128>| time.map_or("none".to_owned(), |ns| ns.to_string());
    let fields = [
        ("kind", a.kind.clone(), b.kind.clone()),
        ("inode", stored.inode.to_string(), seen.inode.to_string()),
        ("size", a.size.to_string(), b.size.to_string()),
        ("allocated", a.allocated.to_string(), b.allocated.to_string()),
        ("modified_ns", a.modified_ns.to_string(), b.modified_ns.to_string()),
        ("changed_ns", a.changed_ns.to_string(), b.changed_ns.to_string()),
        ("created_ns", time(a.created_ns), time(b.created_ns)),
        ("mode", format!("{:o}", a.mode), format!("{:o}", b.mode)),
        ("uid", a.uid.to_string(), b.uid.to_string()),
        ("gid", a.gid.to_string(), b.gid.to_string()),
        ("links", a.links.to_string(), b.links.to_string()),
    ];
    let differing = fields.into_iter().filter(|(_, a, b)| a != b);
    differing.map(|(name, a, b)| format!("{name} {a} stored, {b} on disk")).collect::<Vec<_>>().join("; ")
}
