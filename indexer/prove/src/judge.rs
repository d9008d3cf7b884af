//! The judgement of a tree at rest: the program's own `verify`, a walk of ours against `find`, the journal folded over what
//! was there at first, and the sums. Sees answers of the command line and the disk, nothing of how they came about.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::folder::Folder;
use crate::program::Indexer;
use crate::{Difference, Rows, Trouble, compare, found, walk};

/// Differences of one judgement that are told one by one.
const TOLD: usize = 20;

/// Faults of an index that are told.
const FAULTS: usize = 3;

/// What is known of a journal so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    rows: Rows,
    /// The last record that `rows` hold.
    seq: u64,
}

/// What a judgement came to.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// One line each; empty when all agree.
    pub(crate) differences: Vec<String>,
    /// Entries on disk.
    pub(crate) entries: usize,
    /// Entries whose blocks of disk were counted anew by the file system, of which nothing tells: a sweep brought them up to date.
    pub(crate) blocks_settled: usize,
    /// Records since the last judgement, or since the beginning.
    pub(crate) records: Vec<Value>,
}

impl Judge {
    /// Begins with what the index has now; work may go on meanwhile.
    ///
    /// # Errors
    /// When the program does not answer.
    pub(crate) fn begin(indexer: &Indexer<'_>, root: &Path) -> Result<Judge, Trouble> {
        let seq = indexer.seq()?;
        let rows = rows(indexer, root)?;
        Ok(Judge { rows, seq })
    }

    /// The last record that was folded.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Settles and judges. The tree must be at rest.
    ///
    /// # Errors
    /// When the program does not answer or the tree cannot be walked.
    pub(crate) fn judge(
        &mut self,
        indexer: &Indexer<'_>,
        folder: &Folder,
        root: &Path,
    ) -> Result<Judgement, Trouble> {
        folder.write_back();
        indexer.settle()?;
        let mut made = Judgement::default();
        let mut differences = differences(indexer, root, &mut made)?;
        if !differences.is_empty() && differences.iter().all(|one| one.field == Some("allocated")) {
            made.blocks_settled = differences.len();
            let _ = indexer.ask(&[&"sweep", &root])?;
            indexer.settle()?;
            differences = self::differences(indexer, root, &mut made)?;
        }
        made.differences.extend(some(differences.iter().map(ToString::to_string).collect()));
        if differences.is_empty() {
            let said = indexer.ask(&[&"verify", &root])?;
            made.differences.extend(some(said.iter().map(|one| format!("verify: {one}")).collect()));
        }
        let health = indexer.ask(&[&"doctor"])?.pop().unwrap_or_default();
        if health["index"]["faults"] != 0 {
            let faults = &health["index"]["faults"];
            let first: Vec<&Value> =
                health["index"]["first"].as_array().into_iter().flatten().take(FAULTS).collect();
            made.differences.push(format!("rows, names and sums disagree in {faults} places: {first:?}"));
        }
        made.records = indexer.changes(self.seq)?;
        made.differences.extend(some(self.fold(&made.records)));
        if made.differences.is_empty() {
            let led = self.rows.differences(&rows(indexer, root)?);
            made.differences.extend(some(led.iter().map(|one| format!("journal: {one}")).collect()));
        }
        Ok(made)
    }

    /// Applies records, which follow on each other without a gap; what is wrong with them.
    fn fold(&mut self, records: &[Value]) -> Vec<String> {
        let mut wrong = Vec::new();
        for record in records {
            if record["seq"] != self.seq + 1 {
                wrong.push(format!("journal: record {} follows on {}", record["seq"], self.seq));
            }
            if let Err(why) = self.rows.apply(record) {
                wrong.push(format!("journal: {why}"));
            }
            self.seq = record["seq"].as_u64().unwrap_or(self.seq + 1);
        }
        wrong
    }
}

/// Walk against `find`.
pub(crate) fn differences(
    indexer: &Indexer<'_>,
    root: &Path,
    made: &mut Judgement,
) -> Result<Vec<Difference>, Trouble> {
    let walked = walk(root, &[]).map_err(Trouble::cannot("walk the tree"))?;
    made.entries = walked.len();
    let index = found(indexer.ask(&[&"find", &root])?).map_err(Trouble::Fault)?;
    Ok(compare(&walked, &index))
}

fn rows(indexer: &Indexer<'_>, root: &Path) -> Result<Rows, Trouble> {
    let index = found(indexer.ask(&[&"find", &root])?).map_err(Trouble::Fault)?;
    Rows::of_find(&index).map_err(Trouble::Fault)
}

/// The first of many, and how many more there are.
fn some(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > TOLD {
        let more = lines.len() - TOLD;
        lines.truncate(TOLD);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Records that were seen before a kill, by number, against the journal after it: each must be there, and the same.
pub(crate) fn lost_or_changed(seen: &BTreeMap<u64, Value>, journal: &[Value]) -> Vec<String> {
    let kept: BTreeMap<u64, &Value> =
        journal.iter().filter_map(|record| Some((record["seq"].as_u64()?, record))).collect();
    let gone = seen.iter().filter_map(|(seq, record)| match kept.get(seq) {
        None => Some(format!("journal: record {seq} was told and is not there after the kill")),
        Some(other) if *other != record => Some(format!("journal: record {seq} is another after the kill")),
        Some(_) => None,
    });
    some(gone.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(seq: u64, name: &str) -> Value {
        json!({"seq": seq, "op": "created", "volume": 1, "inode": 10 + seq,
            "at": {"volume": 1, "parent": 2, "name": name}, "after": {"kind": "file"}})
    }

    #[test]
    fn a_journal_with_a_hole_a_repetition_or_nonsense_is_told() {
        let fold = |records: &[Value]| Judge::default().fold(records).len();
        assert_eq!(fold(&[record(1, "a"), record(2, "b")]), 0);
        assert_eq!(fold(&[record(1, "a"), record(3, "b")]), 1);
        assert_eq!(fold(&[record(1, "a"), record(1, "a")]), 1);
        assert_eq!(fold(&[json!({"seq": 1, "op": "created"})]), 1);
    }

    #[test]
    fn what_a_kill_lost_or_changed_is_told() {
        let seen = BTreeMap::from([(1, record(1, "a")), (2, record(2, "b"))]);
        assert_eq!(
            lost_or_changed(&seen, &[record(1, "a"), record(2, "b"), record(3, "c")]),
            Vec::<String>::new()
        );
        assert!(lost_or_changed(&seen, &[record(1, "a")])[0].contains("record 2 was told"));
        assert!(lost_or_changed(&seen, &[record(1, "x"), record(2, "b")])[0].contains("record 1 is another"));
    }

    #[test]
    fn many_differences_are_told_in_part() {
        let many = some((0..100).map(|n| n.to_string()).collect());
        assert_eq!((many.len(), &*many[TOLD]), (TOLD + 1, "and 80 more"));
    }
}
