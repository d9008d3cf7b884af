//! What a snapshot holds: every name below the roots in the order of their paths, as of one moment of the index. Knows no Parquet.

use std::time::Instant;

use index::{Index, IndexError, Reader, RootRow, Rows};
use reconcile::Stored as _;
use record::wire::message::Origin;
use record::{EntryId, Time};
use snapshot::{Ending, Entry, Facts, Moment, RootHead, Spot, Teller, Tree, in_order};

use crate::query::replay::wanted;
use crate::query::whole::if_whole;
use crate::query::{Emit, QueryError, SnapshotRequest};
use crate::render::bytes;

/// Tells all that `reader`, a view of `index`, has of the roots asked for, in frames, until `emit` has enough.
///
/// # Errors
/// [`QueryError::Bad`] for what is no root; [`QueryError::Failed`] at a moment at which not every entry is on a path, and when the
/// index file grows too much meanwhile.
pub(crate) fn snapshot(
    index: &Index,
    reader: &Reader,
    origin: &Origin,
    request: &SnapshotRequest,
    emit: Emit<'_, Vec<u8>>,
) -> Result<(), QueryError> {
    let roots = wanted(reader, request.root.as_deref(), request.root_raw.as_deref())?;
    if_whole(reader)?;
    let mut growth = Growth::new(index, request.max_growth);
    let mut expected = Vec::new();
    for root in &roots {
        let totals = reader.totals(root.top)?.unwrap_or_default();
        expected.push(totals.files + totals.directories);
    }
    let moment = Moment {
        epoch: origin.epoch.clone(),
        watermark: reader.seq()?.0,
        taken_us: i64::try_from(Time::now().0 / 1000).unwrap_or(i64::MAX),
        host: origin.host.clone(),
        tool: crate::relaying::tool(),
        roots: roots.len() as u64,
        expected: expected.iter().sum(),
    };
    let mut sink = |frame| growth.is_fine() && emit(frame);
    let mut teller = Teller::new(&mut sink);
    let told = teller.moment(&moment) && all(reader, &roots, &expected, &mut teller)?;
    if let Some(grown) = growth.excess() {
        return Err(QueryError::Failed(format!(
            "the index file grew by {} while it was read, and may by {}: the snapshot was given up, and nothing is lost; take it when \
             less changes, write it to a faster disk, or allow more with --max-growth",
            bytes(grown),
            bytes(request.max_growth)
        )));
    }
    if told {
        let ending = growth.ending();
        Teller::new(emit).end(ending);
    }
    Ok(())
}

/// Answers false when no more is wanted.
fn all(
    reader: &Reader,
    roots: &[RootRow],
    expected: &[u64],
    teller: &mut Teller<'_>,
) -> Result<bool, QueryError> {
    for (root, &expected) in roots.iter().zip(expected) {
        if !teller.root(&RootHead { path: root.path.to_vec(), expected }) {
            return Ok(false);
        }
        let mut batch = Batch::new(reader);
        let more = in_order(&Names(reader), &root.path, (root.top, true), &mut |spot| {
            batch.put(&spot);
            Ok(!batch.is_full() || batch.tell(teller)?)
        })?;
        if !more || !batch.tell(teller)? || !teller.end_root() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names whose rows are read together, in the order of their numbers: it is more often that of the pages of the index than the order of
/// paths is.
struct Batch<'a> {
    reader: &'a Reader,
    rows: Rows<'a>,
    paths: String,
    raws: Vec<u8>,
    names: Vec<Name>,
    /// The numbers in their order, and whose each is.
    order: Vec<(EntryId, usize)>,
}

/// One of a batch: where its texts end in those of all.
struct Name {
    path_end: usize,
    raw_end: usize,
    depth: u32,
    id: EntryId,
    facts: Option<Facts>,
}

impl<'a> Batch<'a> {
    /// Names.
    const MOST: usize = 8192;
    /// Bytes of their paths.
    const MOST_BYTES: usize = 2 << 20;

    fn new(reader: &'a Reader) -> Batch<'a> {
        Batch {
            reader,
            rows: reader.rows(),
            paths: String::new(),
            raws: Vec::new(),
            names: Vec::new(),
            order: Vec::new(),
        }
    }

    fn put(&mut self, spot: &Spot<'_>) {
        self.paths.push_str(spot.text);
        self.raws.extend_from_slice(spot.raw.unwrap_or_default());
        let (path_end, raw_end) = (self.paths.len(), self.raws.len());
        self.names.push(Name { path_end, raw_end, depth: spot.depth, id: spot.id, facts: None });
    }

    fn is_full(&self) -> bool {
        self.names.len() >= Batch::MOST || self.paths.len() >= Batch::MOST_BYTES
    }

    /// Answers false when no more is wanted.
    fn tell(&mut self, teller: &mut Teller<'_>) -> Result<bool, QueryError> {
        let Batch { reader, rows, paths, raws, names, order } = self;
        order.clear();
        order.extend(names.iter().enumerate().map(|(nth, name)| (name.id, nth)));
        order.sort_unstable();
        for &(id, nth) in &*order {
            names[nth].facts = look_up(reader, rows, id)?;
        }
        let (mut path_at, mut raw_at) = (0, 0);
        let mut more = true;
        for Name { path_end, raw_end, depth, facts, .. } in names.drain(..) {
            let text = &paths[path_at..path_end];
            let raw = (raw_at < raw_end).then(|| &raws[raw_at..raw_end]);
            (path_at, raw_at) = (path_end, raw_end);
            // A name and its row are written in one transaction.
            let Some(facts) = facts else { continue };
            more = more && teller.row(&Entry { text, raw, depth, facts });
        }
        paths.clear();
        raws.clear();
        Ok(more)
    }
}

fn look_up(reader: &Reader, rows: &mut Rows<'_>, id: EntryId) -> Result<Option<Facts>, QueryError> {
    let Some(row) = rows.find(id)? else { return Ok(None) };
    let digest = row.current_digest();
    let digest_time = match digest {
        Some(_) => reader.note(id)?.and_then(|note| note.proved),
        None => None,
    };
    Ok(Some(Facts { id, stat: row.stat, category: row.category(), digest, digest_time }))
}

/// The names of the index.
struct Names<'a>(&'a Reader);

impl Tree for Names<'_> {
    type Error = QueryError;

    fn names(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8], EntryId, bool) -> bool,
    ) -> Result<(), QueryError> {
        self.0.each_child_after(dir, after, |name, target| Ok(each(name, target.id, target.directory)))
    }

    fn circle(&self, dir: EntryId) -> QueryError {
        IndexError::circle(dir).into()
    }
}

/// How much the index file grows while an old view of it is held: what is freed meanwhile stays in it.
struct Growth<'a> {
    index: &'a Index,
    began: Instant,
    before: u64,
    most: u64,
    grown: u64,
}

impl Growth<'_> {
    fn new(index: &Index, most: u64) -> Growth<'_> {
        Growth { index, began: Instant::now(), before: index.file_length(), most, grown: 0 }
    }

    /// Looks again.
    fn is_fine(&mut self) -> bool {
        let now = self.index.file_length().saturating_sub(self.before);
        self.grown = self.grown.max(now);
        self.grown <= self.most
    }

    fn excess(&self) -> Option<u64> {
        (self.grown > self.most).then_some(self.grown)
    }

    fn ending(&mut self) -> Ending {
        self.is_fine();
        let held_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ending { grown: self.grown, held_ms }
    }
}

#[cfg(test)]
mod tests {
    use record::{Kind, VolumeId};
    use snapshot::{Frame, Frames, Garbled};

    use super::*;
    use crate::query::testing::{Made, made};

    fn tree() -> Made {
        let (dir, file) = (Kind::Directory, Kind::File);
        made(
            b"/r",
            &[
                (b"a", 10, dir, 0),
                (b"a/one", 11, file, 5),
                (b"a.b", 12, file, 6),
                (b"z\xff", 13, dir, 0),
                (b"z\xff/again", 11, file, 5),
            ],
        )
    }

    /// All frames; `at_first` is done when the first comes.
    fn told(made: &Made, most: u64, at_first: impl Fn()) -> Result<Vec<u8>, QueryError> {
        let epoch = "e".repeat(32);
        let origin = Origin { source: "/indexer/h".into(), host: "h".into(), epoch, version: "0".into() };
        let request = SnapshotRequest { max_growth: most, ..SnapshotRequest::default() };
        let mut bytes = Vec::new();
        snapshot(&made.index, &made.index.read().unwrap(), &origin, &request, &mut |frame| {
            if bytes.is_empty() {
                at_first();
            }
            bytes.extend(frame);
            true
        })?;
        Ok(bytes)
    }

    fn rows(bytes: &[u8]) -> (Vec<(String, u64, u32)>, Option<Ending>) {
        let (mut rows, mut ended) = (Vec::new(), None);
        let fed = Frames::default().feed::<Garbled>(bytes, |frame| {
            match frame {
                Frame::Rows(mut told) => {
                    while let Some(row) = told.next_row()? {
                        assert_eq!(row.facts.id.volume, VolumeId(1));
                        rows.push((row.text.to_owned(), row.facts.id.inode, row.facts.stat.links));
                    }
                }
                Frame::Moment(moment) => assert_eq!((moment.watermark, moment.expected), (1, 5)),
                Frame::End(ending) => ended = Some(ending),
                _ => {}
            }
            Ok(())
        });
        fed.unwrap();
        (rows, ended)
    }

    #[test]
    fn each_name_is_told_once_in_the_order_of_paths() {
        let (rows, ended) = rows(&told(&tree(), 0, || ()).unwrap());
        let row = |text: &str, inode, links| (text.to_owned(), inode, links);
        assert_eq!(
            rows,
            [
                row("/r", 2, 2),
                row("/r/a", 10, 1),
                row("/r/a.b", 12, 1),
                row("/r/a/one", 11, 2),
                row("/r/z\\xff", 13, 1),
                row("/r/z\\xff/again", 11, 2),
            ]
        );
        assert_eq!(ended.unwrap().grown, 0);
    }

    #[test]
    fn a_file_that_grows_too_much_ends_it() {
        const MORE: u64 = 1 << 20;
        let made = tree();
        let grow = || {
            let file = std::fs::File::options().write(true).open(made.index.path()).unwrap();
            file.set_len(made.index.file_length() + MORE).unwrap();
        };
        let said = told(&made, MORE - 1, grow).unwrap_err().to_string();
        assert!(said.contains("--max-growth") && said.contains("grew by 1.0 MiB"), "{said}");
        let (rows, ended) = rows(&told(&made, MORE, grow).unwrap());
        assert_eq!((rows.len(), ended.unwrap().grown), (6, MORE));
    }
}
