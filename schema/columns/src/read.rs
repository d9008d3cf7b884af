//! Rows read back from a batch, which may come from anybody: what is not as it should be is refused with a reason. What a row says is checked
//! no further than a JSON body is by its parser.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayAccessor, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, ListArray,
    RecordBatch, StringArray, StructArray, TimestampNanosecondArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use record::DigestKind;
use record::wire::message::{Detail, Message, Shape, Source, Unusable};
use record::wire::v1::{DuplicateSet, Entry, Parent, Place, Stat, digest_text};

use crate::{DATA_SCHEMA, MOST_ROWS, Row};

/// Bytes of words that a batch says, all rows together: a word stands in it once, and may be said by each row.
const MOST_SAID: usize = 8 << 20;
/// Of a kind.
const MOST_WORD: usize = 32;

fn bad<T>(why: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(why.into()))
}

/// The rows of a batch that [`crate::write`] made.
///
/// # Errors
/// What cannot be read of it.
pub fn read(body: &[u8]) -> Result<Vec<Row>, Unusable> {
    // The library looks for what does not fit together, but steps out of bounds at some lies of hostile buffers.
    match catch_unwind(AssertUnwindSafe(|| rows(body))) {
        Ok(rows) => rows,
        Err(_) => bad("no Arrow stream: its buffers lie elsewhere than it says"),
    }
}

fn rows(body: &[u8]) -> Result<Vec<Row>, Unusable> {
    let arrow = |error| Unusable(format!("no Arrow stream: {error}"));
    let mut decoder = StreamDecoder::new();
    let mut left = Buffer::from(body);
    let mut rows = Vec::new();
    let mut known = false;
    while !left.is_empty() {
        let batch = decoder.decode(&mut left).map_err(arrow)?;
        if let Some(schema) = decoder.schema().filter(|_| !known) {
            match schema.metadata().get("schema") {
                Some(schema) if schema == DATA_SCHEMA => known = true,
                other => {
                    return bad(format!("of the schema {other:.40?}; this version reads {DATA_SCHEMA}"));
                }
            }
        }
        let Some(batch) = batch else { continue };
        if rows.len() + batch.num_rows() > MOST_ROWS {
            return bad(format!("a batch of more than {MOST_ROWS} rows"));
        }
        let columns = Columns::new(&batch)?;
        let mut said = 0;
        for row in 0..batch.num_rows() {
            said += columns.said(row);
            if said > MOST_SAID {
                return bad(format!("its rows say more than {MOST_SAID} bytes of words"));
            }
            rows.push(columns.row(row)?);
        }
    }
    decoder.finish().map_err(arrow)?;
    if rows.is_empty() { bad("a batch without rows") } else { Ok(rows) }
}

/// Where columns are looked for by name.
trait Named {
    fn named(&self, name: &str) -> Option<&dyn Array>;
}

impl Named for RecordBatch {
    fn named(&self, name: &str) -> Option<&dyn Array> {
        self.column_by_name(name).map(AsRef::as_ref)
    }
}

impl Named for StructArray {
    fn named(&self, name: &str) -> Option<&dyn Array> {
        self.column_by_name(name).map(AsRef::as_ref)
    }
}

/// A column of a type.
fn get<'a, A: Array + 'static>(of: &'a dyn Named, name: &str) -> Result<&'a A, Unusable> {
    let Some(column) = of.named(name) else { return bad(format!("it has no column {name}")) };
    match column.as_any().downcast_ref() {
        Some(column) => Ok(column),
        None => bad(format!("its column {name} is of the type {}", column.data_type())),
    }
}

/// What a column holds in a row, if anything.
fn at<A: ArrayAccessor>(column: A, row: usize) -> Option<A::Item> {
    column.is_valid(row).then(|| column.value(row))
}

/// What it holds where it must hold something.
fn must<T>(value: Option<T>, name: &str) -> Result<T, Unusable> {
    value.ok_or_else(|| Unusable(format!("a row without {name}")))
}

struct Words<'a>(&'a DictionaryArray<Int8Type>, &'a StringArray);

impl<'a> Words<'a> {
    fn get(of: &'a dyn Named, name: &str) -> Result<Words<'a>, Unusable> {
        let column: &DictionaryArray<Int8Type> = get(of, name)?;
        match column.values().as_any().downcast_ref() {
            Some(words) => Ok(Words(column, words)),
            None => bad(format!("its column {name} is of no words")),
        }
    }

    fn word(&self, row: usize) -> Option<&'a str> {
        let key = usize::try_from(at(self.0.keys(), row)?).ok()?;
        at(self.1, key)
    }

    fn at(&self, row: usize) -> Option<String> {
        self.word(row).map(str::to_owned)
    }
}

struct Raw<'a>(&'a BinaryArray);

impl Raw<'_> {
    fn at(&self, row: usize) -> Option<String> {
        at(self.0, row).map(|bytes| BASE64.encode(bytes))
    }
}

/// Times of a row that 64 bits do not hold.
type Beyond = BTreeMap<String, String>;

fn time(
    column: &TimestampNanosecondArray,
    row: usize,
    beyond: &Beyond,
    name: &str,
) -> Result<Option<i128>, Unusable> {
    match (at(column, row), beyond.get(name)) {
        (Some(time), _) => Ok(Some(i128::from(time))),
        (None, None) => Ok(None),
        (None, Some(text)) => match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(_) => bad(format!("{name} is no time")),
        },
    }
}

struct Places<'a> {
    volume: &'a UInt32Array,
    parent: &'a UInt64Array,
    name: &'a StringArray,
    raw: Raw<'a>,
}

impl<'a> Places<'a> {
    fn get(of: &'a RecordBatch, prefix: &str) -> Result<Places<'a>, Unusable> {
        Ok(Places {
            volume: get(of, &format!("{prefix}_volume"))?,
            parent: get(of, &format!("{prefix}_parent"))?,
            name: get(of, &format!("{prefix}_name"))?,
            raw: Raw(get(of, &format!("{prefix}_name_raw"))?),
        })
    }

    fn at(&self, row: usize) -> Option<Place> {
        Some(Place {
            volume: at(self.volume, row)?,
            parent: at(self.parent, row)?,
            name: at(self.name, row)?.to_owned(),
            name_raw: self.raw.at(row),
        })
    }
}

struct Stats<'a> {
    kind: Words<'a>,
    size: &'a UInt64Array,
    allocated: &'a UInt64Array,
    times: [&'a TimestampNanosecondArray; 4],
    mode: &'a UInt16Array,
    numbers: [&'a UInt32Array; 3],
}

const TIMES: [&str; 4] = ["modified", "changed", "created", "accessed"];
const NUMBERS: [&str; 3] = ["uid", "gid", "links"];

impl<'a> Stats<'a> {
    fn get(of: &'a dyn Named, prefix: &str) -> Result<Stats<'a>, Unusable> {
        let name = |end: &str| format!("{prefix}{end}");
        let [modified, changed, created, accessed] = TIMES.map(|end| get(of, &name(end)));
        let [uid, gid, links] = NUMBERS.map(|end| get(of, &name(end)));
        Ok(Stats {
            kind: Words::get(of, &name("kind"))?,
            size: get(of, &name("size"))?,
            allocated: get(of, &name("allocated"))?,
            times: [modified?, changed?, created?, accessed?],
            mode: get(of, &name("mode"))?,
            numbers: [uid?, gid?, links?],
        })
    }

    /// The stat in a row; none where there is no entry.
    fn at(&self, row: usize, beyond: &Beyond, prefix: &str) -> Result<Option<Stat>, Unusable> {
        let Some(kind) = self.kind.at(row) else { return Ok(None) };
        if kind.len() > MOST_WORD {
            return bad("a kind that this version does not know");
        }
        let name = |end: &str| format!("{prefix}{end}");
        let mut times = [None; 4];
        for ((value, column), end) in times.iter_mut().zip(self.times).zip(TIMES) {
            *value = time(column, row, beyond, &name(end))?;
        }
        let [modified, changed, created, accessed] = times;
        let [uid, gid, links] = self.numbers;
        Ok(Some(Stat {
            kind,
            size: must(at(self.size, row), &name("size"))?,
            allocated: must(at(self.allocated, row), &name("allocated"))?,
            modified_ns: must(modified, &name("modified"))?,
            changed_ns: must(changed, &name("changed"))?,
            created_ns: created,
            accessed_ns: must(accessed, &name("accessed"))?,
            mode: must(at(self.mode, row), &name("mode"))?,
            uid: must(at(uid, row), &name("uid"))?,
            gid: must(at(gid, row), &name("gid"))?,
            links: must(at(links, row), &name("links"))?,
        }))
    }
}

struct Digests<'a>(Words<'a>, &'a FixedSizeBinaryArray);

impl<'a> Digests<'a> {
    fn get(of: &'a RecordBatch, prefix: &str) -> Result<Digests<'a>, Unusable> {
        let kinds = Words::get(of, &format!("{prefix}_digest_kind"))?;
        Ok(Digests(kinds, get(of, &format!("{prefix}_digest"))?))
    }

    fn at(&self, row: usize) -> Result<Option<String>, Unusable> {
        let Some(word) = self.0.at(row) else { return Ok(None) };
        let kind = DigestKind::ALL.into_iter().find(|kind| kind.word() == word);
        let bytes = at(self.1, row).and_then(|bytes| bytes.try_into().ok());
        match (kind, bytes) {
            (Some(kind), Some(bytes)) => Ok(Some(digest_text(&record::Digest { kind, bytes }))),
            _ => bad("a digest that is none that this version knows"),
        }
    }
}

struct States<'a> {
    prefix: String,
    stat: Stats<'a>,
    category: Words<'a>,
    digest: Digests<'a>,
}

impl<'a> States<'a> {
    fn get(of: &'a RecordBatch, word: &str) -> Result<States<'a>, Unusable> {
        let prefix = format!("{word}_");
        let stat = Stats::get(of, &prefix)?;
        let category = Words::get(of, &format!("{word}_category"))?;
        Ok(States { prefix, stat, category, digest: Digests::get(of, word)? })
    }
}

struct Sets<'a> {
    digest: Digests<'a>,
    numbers: [&'a UInt64Array; 4],
    paths: &'a ListArray,
    raws: &'a ListArray,
}

struct Columns<'a> {
    words: [Words<'a>; 10],
    path: (&'a StringArray, Raw<'a>),
    old_path: (&'a StringArray, Raw<'a>),
    volume: &'a UInt32Array,
    inode: &'a UInt64Array,
    seq: &'a UInt64Array,
    pair: &'a UInt64Array,
    entries: &'a UInt64Array,
    complete: &'a BooleanArray,
    lost: &'a BooleanArray,
    at: Places<'a>,
    old: Places<'a>,
    before: States<'a>,
    after: States<'a>,
    parents: &'a ListArray,
    gap: [&'a TimestampNanosecondArray; 2],
    why: &'a StringArray,
    set: Sets<'a>,
    seen: &'a TimestampNanosecondArray,
    root_id: &'a UInt32Array,
    beyond: &'a StringArray,
}

const WORDS: [&str; 10] =
    ["op", "verb", "kind", "partition", "how", "source", "host", "epoch", "version", "root"];

impl<'a> Columns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Columns<'a>, Unusable> {
        let mut words = Vec::with_capacity(WORDS.len());
        for name in WORDS {
            words.push(Words::get(batch, name)?);
        }
        let Ok(words) = words.try_into() else { return bad("it lacks a column of words") };
        let numbers = ["set_size", "set_copies", "set_were", "set_wasted"].map(|name| get(batch, name));
        let [size, copies, were, wasted] = numbers;
        Ok(Columns {
            words,
            path: (get(batch, "path")?, Raw(get(batch, "path_raw")?)),
            old_path: (get(batch, "old_path")?, Raw(get(batch, "old_path_raw")?)),
            volume: get(batch, "volume")?,
            inode: get(batch, "inode")?,
            seq: get(batch, "seq")?,
            pair: get(batch, "pair")?,
            entries: get(batch, "entries")?,
            complete: get(batch, "complete")?,
            lost: get(batch, "lost")?,
            at: Places::get(batch, "at")?,
            old: Places::get(batch, "old")?,
            before: States::get(batch, "before")?,
            after: States::get(batch, "after")?,
            parents: get(batch, "parents")?,
            gap: [get(batch, "gap_from")?, get(batch, "gap_to")?],
            why: get(batch, "why")?,
            set: Sets {
                digest: Digests::get(batch, "set")?,
                numbers: [size?, copies?, were?, wasted?],
                paths: get(batch, "set_paths")?,
                raws: get(batch, "set_paths_raw")?,
            },
            seen: get(batch, "seen")?,
            root_id: get(batch, "root_id")?,
            beyond: get(batch, "beyond")?,
        })
    }

    /// Bytes of its words.
    fn said(&self, row: usize) -> usize {
        let states = [&self.before, &self.after].into_iter();
        let more = states.flat_map(|state| [&state.stat.kind, &state.category, &state.digest.0]);
        self.words.iter().chain(more).filter_map(|words| words.word(row)).map(str::len).sum()
    }

    fn row(&self, row: usize) -> Result<Row, Unusable> {
        let beyond: Beyond = match at(self.beyond, row) {
            None => Beyond::new(),
            Some(text) => serde_json::from_str(text).or_else(|_| bad("beyond is no object of texts"))?,
        };
        let mut words = Vec::with_capacity(WORDS.len());
        for (column, name) in self.words.iter().zip(WORDS) {
            words.push(must(column.at(row), name)?);
        }
        let Ok([op, verb, kind, partition, how, name, host, epoch, version, root]) =
            <[String; 10]>::try_from(words)
        else {
            return bad("a row without its words");
        };
        let path = must(at(self.path.0, row), "path")?.to_owned();
        let path_raw = self.path.1.at(row);
        let before = {
            // Where it was no other, that of the entry.
            let (path, path_raw) = match at(self.old_path.0, row) {
                Some(old) => (old.to_owned(), self.old_path.1.at(row)),
                None => (path.clone(), path_raw.clone()),
            };
            self.entry(&self.before, row, &beyond, path, path_raw)?
        };
        let after = self.entry(&self.after, row, &beyond, path.clone(), path_raw.clone())?;
        let mut change = Detail {
            verb,
            complete: must(at(self.complete, row), "complete")?,
            at: self.at.at(row),
            old: self.old.at(row),
            parents: self.parents(row, &beyond)?,
            pair: at(self.pair, row),
            from_ns: time(self.gap[0], row, &beyond, "gap_from")?,
            to_ns: time(self.gap[1], row, &beyond, "gap_to")?,
            why: at(self.why, row).map(str::to_owned),
            entries: at(self.entries, row),
            set: self.set(row)?,
            ..Detail::default()
        };
        if op == Shape::Notice.op() {
            (change.path, change.path_raw) = (Some(path), path_raw);
        }
        let ts_ns = must(time(self.seen, row, &beyond, "seen")?, "seen")?;
        let ts_ms = i64::try_from(ts_ns.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        let source = Source {
            version,
            connector: "indexer".to_owned(),
            name,
            host,
            ts_ms,
            ts_ns,
            epoch,
            seq: must(at(self.seq, row), "seq")?,
            root,
            root_id: must(at(self.root_id, row), "root_id")?,
            how,
        };
        let lost = must(at(self.lost, row), "lost")?;
        Ok(Row { message: Message { op, ts_ms, before, after, source, change }, kind, partition, lost })
    }

    fn entry(
        &self,
        states: &States<'_>,
        row: usize,
        beyond: &Beyond,
        path: String,
        path_raw: Option<String>,
    ) -> Result<Option<Entry>, Unusable> {
        let Some(stat) = states.stat.at(row, beyond, &states.prefix)? else { return Ok(None) };
        Ok(Some(Entry {
            path,
            path_raw,
            stat,
            inode: must(at(self.inode, row), "inode")?,
            volume: must(at(self.volume, row), "volume")?,
            category: states.category.at(row),
            digest: states.digest.at(row)?,
        }))
    }

    fn parents(&self, row: usize, beyond: &Beyond) -> Result<Vec<Parent>, Unusable> {
        let values = must(at(self.parents, row), "parents")?;
        let Some(values) = values.as_any().downcast_ref::<StructArray>() else {
            return bad("its column parents is of no structures");
        };
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let (volumes, inodes): (&UInt32Array, &UInt64Array) = (get(values, "volume")?, get(values, "inode")?);
        let stats = Stats::get(values, "")?;
        let parent = |nth| {
            Ok(Parent {
                volume: must(at(volumes, nth), "the volume of a parent")?,
                inode: must(at(inodes, nth), "the inode of a parent")?,
                stat: must(stats.at(nth, beyond, &format!("parents.{nth}."))?, "the kind of a parent")?,
            })
        };
        (0..values.len()).map(parent).collect()
    }

    fn set(&self, row: usize) -> Result<Option<DuplicateSet>, Unusable> {
        let Some(digest) = self.set.digest.at(row)? else { return Ok(None) };
        let [size, copies, were, wasted] = self.set.numbers.map(|column| at(column, row));
        let paths = must(at(self.set.paths, row), "set_paths")?;
        let raws = must(at(self.set.raws, row), "set_paths_raw")?;
        let (Some(paths), Some(raws)) =
            (paths.as_any().downcast_ref::<StringArray>(), raws.as_any().downcast_ref::<BinaryArray>())
        else {
            return bad("the paths of a set are no texts");
        };
        let raws: Vec<String> = raws.iter().flatten().map(|bytes| BASE64.encode(bytes)).collect();
        Ok(Some(DuplicateSet {
            digest,
            size: must(size, "set_size")?,
            copies: must(copies, "set_copies")?,
            were: must(were, "set_were")?,
            wasted: must(wasted, "set_wasted")?,
            paths: paths.iter().flatten().map(str::to_owned).collect(),
            paths_raw: (!raws.is_empty()).then_some(raws),
        }))
    }
}
