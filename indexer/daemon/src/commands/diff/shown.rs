//! A difference as a line: for people, as JSON, as CSV. Knows not where it comes from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use record::wire::v1::digest_text;
use serde::Serialize;
use snapshot::{Change, Head, Op, State, Sum, Summary};

use crate::render::{bytes, count, csv_line, quoted, signed_bytes};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Csv,
}

/// The first line of CSV.
pub(super) const CSV_HEAD: &str = "op,path,old_path,kind,changed,size_before,size_after,allocated_before,allocated_after,\
modified_us_before,modified_us_after,link,below\r\n";

#[derive(Serialize)]
struct ChangeLine<'a> {
    op: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_path_raw: Option<String>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<&'static str>,
    /// By how many bytes the tree grew by it.
    bytes: i64,
    allocated: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link: bool,
    #[serde(skip_serializing_if = "is_zero")]
    below: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<StateLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<StateLine>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct StateLine {
    kind: &'static str,
    size: u64,
    allocated: Option<u64>,
    modified_us: Option<i64>,
    created_us: Option<i64>,
    mode: Option<u16>,
    uid: Option<u32>,
    gid: Option<u32>,
    links: Option<u32>,
    inode: Option<u64>,
    volume: Option<u32>,
    digest: Option<String>,
}

impl From<&State> for StateLine {
    fn from(state: &State) -> StateLine {
        StateLine {
            kind: state.kind.word(),
            size: state.size,
            allocated: state.allocated,
            modified_us: state.modified,
            created_us: state.created,
            mode: state.mode,
            uid: state.uid,
            gid: state.gid,
            links: state.links,
            inode: state.id.map(|id| id.inode),
            volume: state.id.and_then(|id| id.volume),
            digest: state.digest.as_ref().map(digest_text),
        }
    }
}

#[derive(Serialize)]
struct SumLine {
    entries: u64,
    bytes: i64,
    allocated: i64,
}

impl From<Sum> for SumLine {
    fn from(sum: Sum) -> SumLine {
        SumLine { entries: sum.entries, bytes: sum.bytes, allocated: sum.allocated }
    }
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    op: &'a str,
    root: &'a str,
    created: SumLine,
    deleted: SumLine,
    modified: SumLine,
    renamed: SumLine,
    along: u64,
    unchanged: u64,
    rows_before: u64,
    rows_after: u64,
    taken_us_before: i64,
    taken_us_after: i64,
    watermark_before: Option<u64>,
    watermark_after: Option<u64>,
    renames_complete: bool,
}

/// By how many bytes the tree grew.
fn growth(change: &Change<'_>) -> (i64, i64) {
    let (taken, brought) = (change.taken(), change.brought());
    (brought.0.saturating_sub(taken.0), brought.1.saturating_sub(taken.1))
}

fn kind(change: &Change<'_>) -> &'static str {
    change.after.or(change.before).map_or("file", |state| state.kind.word())
}

impl Form {
    /// A difference, with the end of its line.
    pub(super) fn line(self, change: &Change<'_>) -> String {
        match self {
            Form::Text => text(change),
            Form::Json => json(change),
            Form::Csv => csv(change),
        }
    }

    /// All of them in one line.
    pub(super) fn summary(self, heads: &[Head; 2], summary: &Summary) -> String {
        let [before, after] = heads;
        if self != Form::Text {
            let line = SummaryLine {
                op: "summary",
                root: &after.root,
                created: summary.created.into(),
                deleted: summary.deleted.into(),
                modified: summary.modified.into(),
                renamed: summary.renamed.into(),
                along: summary.along,
                unchanged: summary.unchanged,
                rows_before: summary.rows_before,
                rows_after: summary.rows_after,
                taken_us_before: before.taken_us,
                taken_us_after: after.taken_us,
                watermark_before: before.watermark,
                watermark_after: after.watermark,
                renames_complete: summary.complete,
            };
            return serde_json::to_string(&line).unwrap_or_default() + "\n";
        }
        let sum = |sum: Sum, word: &str| {
            let grown =
                if sum.bytes == 0 { String::new() } else { format!(" ({})", signed_bytes(sum.bytes)) };
            format!("{} {word}{grown}", count(sum.entries))
        };
        let along = if summary.along == 0 {
            String::new()
        } else {
            format!(" with {} in renamed directories", count(summary.along))
        };
        format!(
            "{}, {}, {}, {}{along}; {} unchanged\n",
            sum(summary.created, "created"),
            sum(summary.deleted, "deleted"),
            sum(summary.modified, "modified"),
            sum(summary.renamed, "renamed"),
            count(summary.unchanged),
        )
    }
}

fn text(change: &Change<'_>) -> String {
    let slash = if kind(change) == "directory" { "/" } else { "" };
    let shown = |path: &str, raw: Option<&[u8]>| format!("{}{slash}", quoted(raw.unwrap_or(path.as_bytes())));
    let (grown, _) = growth(change);
    let size = match (change.op, change.after.or(change.before)) {
        _ if change.link => "link".to_owned(),
        (Op::Created, Some(state)) if !state.is_directory() => bytes(state.size),
        _ if grown == 0 => String::new(),
        _ => signed_bytes(grown),
    };
    let mut line = format!("{:<8}  {size:>10}  ", change.op.word());
    if let Some(old) = change.old_path {
        line += &format!("{} -> ", shown(old, change.old_raw));
    }
    line += &shown(change.path, change.raw);
    if !change.fields.is_empty() {
        line += &format!("  ({})", change.fields.words().join(", "));
    }
    if change.below > 0 {
        line += &format!("  (with {} below)", count(change.below));
    }
    line.push('\n');
    line
}

fn json(change: &Change<'_>) -> String {
    let (bytes, allocated) = growth(change);
    let line = ChangeLine {
        op: change.op.word(),
        path: change.path,
        path_raw: change.raw.map(|raw| BASE64.encode(raw)),
        old_path: change.old_path,
        old_path_raw: change.old_raw.map(|raw| BASE64.encode(raw)),
        kind: kind(change),
        changed: change.fields.words(),
        bytes,
        allocated,
        link: change.link,
        below: change.below,
        before: change.before.map(StateLine::from),
        after: change.after.map(StateLine::from),
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

fn csv(change: &Change<'_>) -> String {
    let of = |state: Option<&State>, number: &dyn Fn(&State) -> Option<String>| {
        state.and_then(number).unwrap_or_default()
    };
    let size = |state: &State| Some(state.size.to_string());
    let allocated = |state: &State| state.allocated.map(|bytes| bytes.to_string());
    let modified = |state: &State| state.modified.map(|us| us.to_string());
    csv_line(&[
        change.op.word(),
        change.path,
        change.old_path.unwrap_or_default(),
        kind(change),
        &change.fields.words().join(" "),
        &of(change.before, &size),
        &of(change.after, &size),
        &of(change.before, &allocated),
        &of(change.after, &allocated),
        &of(change.before, &modified),
        &of(change.after, &modified),
        if change.link { "true" } else { "false" },
        &change.below.to_string(),
    ])
}

/// Those that moved most bytes; holds no more than are asked for.
pub(super) struct Largest {
    most: usize,
    /// The least of them on top.
    kept: BinaryHeap<Reverse<(u64, Reverse<u64>, String)>>,
    met: u64,
}

impl Largest {
    pub(super) fn new(most: usize) -> Largest {
        Largest { most, kept: BinaryHeap::new(), met: 0 }
    }

    pub(super) fn add(&mut self, change: &Change<'_>, form: Form) {
        let weight = growth(change).0.unsigned_abs();
        self.met += 1;
        if self.kept.len() >= self.most
            && self.kept.peek().is_none_or(|Reverse((least, ..))| *least >= weight)
        {
            return;
        }
        self.kept.push(Reverse((weight, Reverse(self.met), form.line(change))));
        if self.kept.len() > self.most {
            self.kept.pop();
        }
    }

    /// The largest first.
    pub(super) fn lines(self) -> Vec<String> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse((_, _, line))| line).collect()
    }
}
