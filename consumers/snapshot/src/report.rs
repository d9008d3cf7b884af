//! Sums over the rows of snapshots, all in one pass: by type, by owner, by size, by age, and why disks fill as they do. Knows neither
//! where rows come from nor how a page is shown.

mod growth;
mod page;
mod parquet;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use record::Kind;

use crate::columns::Columns;
use crate::read::{Column, Head, Line, Lines, NodeId};

pub use growth::{By, Growth};
pub use page::{Page, Rest, Shape, Value};
pub use parquet::page_to_parquet;
use sums::{Sum, Sums};

/// The columns that reports take.
pub const REPORTED: [Column; 11] = [
    Column::TopLevelDir,
    Column::Kind,
    Column::FileType,
    Column::Category,
    Column::Size,
    Column::Allocated,
    Column::Modified,
    Column::Accessed,
    Column::OwnerName,
    Column::Owners,
    Column::Entry,
];

/// Which report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Files by the extension of their names.
    Types,
    /// By who owns them.
    Owners,
    /// Files by their size.
    Sizes,
    /// What was not written, or not read, for so many microseconds, by directory.
    Stale {
        /// How long.
        age_us: i64,
        /// Whether by access and not by modification.
        accessed: bool,
    },
    /// Sizes against disk.
    Usage,
}

/// Adds up reports.
#[derive(Debug)]
pub struct Reports {
    tallies: Vec<Tally>,
    links: Links,
    /// The root whose rows come.
    root: String,
    /// Whether some rows were of eleven columns.
    bare: bool,
}

#[derive(Debug)]
struct Tally {
    report: Report,
    sums: Sums,
    /// Stale is what is before.
    before: i64,
    parts: Parts,
}

/// What is the difference between what is read and what is on the disk.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    names: Sum,
    again: Sum,
    holes: Sum,
    rounding: Sum,
    directories: Sum,
    others: Sum,
}

/// Why a report cannot be made of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file of eleven columns (--compat unix) does not say {0}: take a snapshot with all columns")]
pub struct Lacks(&'static str);

impl Reports {
    /// Adds up these.
    #[must_use]
    pub fn new(reports: &[Report]) -> Reports {
        let tally = |report: &Report| Tally {
            report: *report,
            sums: Sums::default(),
            before: i64::MIN,
            parts: Parts::default(),
        };
        Reports {
            tallies: reports.iter().map(tally).collect(),
            links: Links::default(),
            root: String::new(),
            bare: false,
        }
    }

    /// Rows of this root come next.
    ///
    /// # Errors
    /// When they do not say what a report is of.
    pub fn begin(&mut self, head: &Head) -> Result<(), Lacks> {
        self.links = Links::default();
        self.root.clone_from(&head.root);
        let bare = head.columns == Columns::Unix;
        self.bare |= bare;
        for tally in &mut self.tallies {
            match tally.report {
                Report::Owners if bare => return Err(Lacks("who owns what")),
                Report::Usage if bare => return Err(Lacks("what is allocated")),
                Report::Stale { age_us, .. } => tally.before = head.taken_us.saturating_sub(age_us),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds rows.
    pub fn add(&mut self, lines: &Lines) {
        for row in 0..lines.len() {
            let line = lines.line(row);
            let once = self.links.is_first(&line);
            for tally in &mut self.tallies {
                tally.add(&line, once, &self.root);
            }
        }
    }

    /// A page a report.
    #[must_use]
    pub fn pages(self) -> Vec<Page> {
        let bare = self.bare;
        let pages = self.tallies.into_iter().map(Tally::page);
        pages
            .map(|mut page| {
                if bare {
                    page.notes.push(
                        "a file of eleven columns does not say which names are of one file: each counts"
                            .to_owned(),
                    );
                }
                page
            })
            .collect()
    }
}

/// Which name of a file counts: the first, by path.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// How many names of each are still to come, of this root or of elsewhere.
    left: HashMap<NodeId, u32>,
}

impl Links {
    pub(crate) fn is_first(&mut self, line: &Line<'_>) -> bool {
        let (Some(id), Some(links @ 2..)) = (line.id, line.links) else { return true };
        if line.kind == Kind::Directory {
            return true;
        }
        match self.left.get_mut(&id) {
            None => {
                self.left.insert(id, links - 1);
                true
            }
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.left.remove(&id);
                }
                false
            }
        }
    }
}

/// Where sizes are parted: 1 KiB, 4 KiB, … 1 TiB.
const STEPS: u32 = 16;

fn size_step(size: u64) -> usize {
    if size == 0 {
        return 0;
    }
    let mut step = 1;
    while step <= STEPS && size > 1 << (8 + 2 * step) {
        step += 1;
    }
    step as usize
}

/// The least and the greatest size of a step.
fn step_ends(step: usize) -> (u64, Option<u64>) {
    let end = |step: usize| 1_u64 << (8 + 2 * step);
    match step {
        0 => (0, Some(0)),
        1 => (1, Some(end(1))),
        step if step > STEPS as usize => (end(STEPS as usize) + 1, None),
        step => (end(step - 1) + 1, Some(end(step))),
    }
}

/// A directory right below the root, with its path; the root for what lies in it.
pub(crate) fn directory(root: &str, line: &Line<'_>) -> String {
    match line.top_level {
        None | Some("") => root.to_owned(),
        Some(name) => format!("{}/{name}", root.strip_suffix('/').unwrap_or(root)),
    }
}

pub(crate) fn owner(line: &Line<'_>) -> String {
    match (line.owner, line.uid) {
        (Some(owner), _) => owner.to_owned(),
        (None, Some(uid)) => uid.to_string(),
        (None, None) => String::new(),
    }
}

impl Tally {
    fn add(&mut self, line: &Line<'_>, once: bool, root: &str) {
        let file = line.kind == Kind::File;
        let of = Sum::of(line);
        match self.report {
            Report::Types if file && once => self.sums.add(line.file_type.unwrap_or_default(), of, line),
            Report::Owners if once => self.sums.add(&owner(line), of, line),
            Report::Sizes if file && once => {
                // In the order of their sizes.
                self.sums.add(&format!("{:02}", size_step(line.size)), of, line);
            }
            Report::Stale { accessed, .. } if file && once => {
                let time = if accessed { line.accessed } else { line.modified };
                let key = directory(root, line);
                self.sums.add(&key, of, line);
                if let Some(time) = time.filter(|time| *time < self.before) {
                    self.sums.add_stale(&key, of, time);
                }
            }
            Report::Usage => self.parts.add(line, once),
            _ => {}
        }
    }

    fn page(self) -> Page {
        let Tally { report, sums, parts, .. } = self;
        let mut page = match report {
            Report::Types => types(&sums),
            Report::Owners => owners(&sums),
            Report::Sizes => sizes(&sums),
            Report::Stale { accessed, .. } => stale(&sums, accessed),
            Report::Usage => parts.page(),
        };
        if sums.is_cut() {
            page.notes.push(format!("there are more than {} of them: the rest is told together", sums::MOST));
        }
        page
    }
}

fn types(sums: &Sums) -> Page {
    let mut page = Page::new("types", "Files by type", 2);
    page.column("type", Shape::Text).column("files", Shape::Count);
    page.column("bytes", Shape::Bytes).column("allocated", Shape::Bytes);
    for (key, sum) in sums.largest_first() {
        page.row(vec![Value::text_or_null(key), sum.entries.into(), sum.bytes.into(), sum.allocated.into()]);
    }
    page
}

fn owners(sums: &Sums) -> Page {
    let mut page = Page::new("owners", "By owner", 4);
    page.column("owner", Shape::Text).column("uid", Shape::Number).column("files", Shape::Count);
    page.column("directories", Shape::Count).column("bytes", Shape::Bytes).column("allocated", Shape::Bytes);
    for (key, sum) in sums.largest_first() {
        let uid = sum.uid.map_or(Value::Null, |uid| Value::Number(uid.into()));
        let files = sum.entries - sum.directories;
        let counts = [files.into(), sum.directories.into(), sum.bytes.into(), sum.allocated.into()];
        page.row([Value::text_or_null(key), uid].into_iter().chain(counts).collect());
    }
    page
}

fn sizes(sums: &Sums) -> Page {
    let mut page = Page::new("sizes", "Files by size", 2);
    page.column("least", Shape::Size).column("most", Shape::Size).column("files", Shape::Count);
    page.column("bytes", Shape::Bytes).column("allocated", Shape::Bytes);
    for (key, sum) in sums.by_key() {
        let (least, most) = step_ends(key.parse().unwrap_or(0));
        let most = most.map_or(Value::Null, Value::from);
        page.row(vec![least.into(), most, sum.entries.into(), sum.bytes.into(), sum.allocated.into()]);
    }
    page
}

fn stale(sums: &Sums, accessed: bool) -> Page {
    let title = if accessed { "Not read for long" } else { "Not written for long" };
    let mut page = Page::new("stale", title, 2);
    page.column("directory", Shape::Text).column("stale_files", Shape::Count);
    page.column("stale_bytes", Shape::Bytes).column("stale_allocated", Shape::Bytes);
    page.column("files", Shape::Count).column("bytes", Shape::Bytes).column("oldest", Shape::Time);
    for (key, sum) in sums.stalest_first() {
        let oldest = sum.oldest.map_or(Value::Null, Value::Number);
        let old = [sum.stale.0.into(), sum.stale.1.into(), sum.stale.2.into()];
        let all = [sum.entries.into(), sum.bytes.into(), oldest];
        page.row([Value::Text(key.to_owned())].into_iter().chain(old).chain(all).collect());
    }
    if accessed {
        page.notes.push(
            "an access time is as old as the row: a file system that notes none (noatime) says nothing"
                .to_owned(),
        );
    }
    page
}

impl Parts {
    fn add(&mut self, line: &Line<'_>, once: bool) {
        let (size, allocated) = (line.size, line.allocated.unwrap_or(0));
        match line.kind {
            Kind::File => {
                self.names.count(size);
                if !once {
                    self.again.count(size);
                } else if allocated < size {
                    self.holes.count(size - allocated);
                } else if allocated > size {
                    self.rounding.count(allocated - size);
                }
            }
            Kind::Directory => self.directories.count(allocated),
            _ if once => self.others.count(allocated),
            _ => {}
        }
    }

    fn page(&self) -> Page {
        let mut page = Page::new("usage", "Sizes against disk", 2);
        page.column("what", Shape::Text).column("entries", Shape::Count).column("bytes", Shape::Signed);
        let Parts { names, again, holes, rounding, directories, others } = self;
        let apparent = names.bytes - again.bytes;
        let allocated = apparent - holes.bytes + rounding.bytes + directories.bytes + others.bytes;
        for (what, entries, bytes) in [
            ("sizes of all names of files", names.entries, names.bytes),
            ("further names of one file (hard links)", again.entries, -again.bytes),
            ("apparent: each file once", names.entries - again.entries, apparent),
            ("less on disk: holes, compression, data in inodes", holes.entries, -holes.bytes),
            ("more on disk: last blocks, preallocation", rounding.entries, rounding.bytes),
            ("directories", directories.entries, directories.bytes),
            ("links, devices and the like", others.entries, others.bytes),
            (
                "allocated: what du counts",
                names.entries - again.entries + directories.entries + others.entries,
                allocated,
            ),
        ] {
            page.row(vec![Value::Text(what.to_owned()), entries.into(), bytes.into()]);
        }
        page.whole = true;
        page.notes.push(
            "blocks that files share (reflinks, snapshots of file systems) count for each of them".to_owned(),
        );
        page
    }
}
