//! Rows made into columns. What a column is called, holds and means stands here once: the schema is that of a table without rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray,
    StructArray, TimestampNanosecondArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, Field, Fields, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use record::Digest;
use record::wire::v1::{DuplicateSet, Entry, Place, Stat, digest_of};

use crate::{DATA_SCHEMA, DIGEST, Row, WriteError};

/// Columns, in their order.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<(Field, ArrayRef)>,
    /// What each is for.
    pub(crate) says: Vec<&'static str>,
    /// Of each row the times that 64 bits do not hold, by column.
    beyond: Vec<BTreeMap<String, String>>,
}

/// Whether a column may hold nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Always,
    Sometimes,
}
use Holds::{Always, Sometimes};

/// A column by name, and what stands in it.
type Named<T, V> = (&'static str, fn(&T) -> V);

/// All columns of `rows`.
pub(crate) fn table(rows: &[Row]) -> Result<Table, WriteError> {
    let mut table = Table { beyond: vec![BTreeMap::new(); rows.len()], ..Table::default() };
    let change = || rows.iter().map(|row| &row.message.change);
    let source = || rows.iter().map(|row| &row.message.source);
    let before = || rows.iter().map(|row| row.message.before.as_ref());
    let after = || rows.iter().map(|row| row.message.after.as_ref());
    // What the record is about; before and after are of one entry.
    let entry = || before().zip(after()).map(|(before, after)| after.or(before));

    let seqs: UInt64Array = source().map(|source| Some(source.seq)).collect();
    table.put("seq", Always, "Number of the record, gapless within the epoch", seqs);
    let ops = words(rows.iter().map(|row| Some(row.message.op.as_str())))?;
    table.put("op", Always, "c created, u updated, d deleted, m about no one entry", ops);
    let verbs = words(change().map(|change| Some(change.verb.as_str())))?;
    table.put("verb", Always, "What happened, finer than op", verbs);
    let kinds = words(rows.iter().map(|row| Some(row.kind.as_str())))?;
    table.put("kind", Always, "What the entry is; none where the record is about no one entry", kinds);
    let partitions = words(rows.iter().map(|row| Some(row.partition.as_str())))?;
    let says =
        "p00 to p15, the same for all records of an entry; pall where the record is about no one entry";
    table.put("partition", Always, says, partitions);

    let path = |row: &Row| match row.message.after.as_ref().or(row.message.before.as_ref()) {
        Some(entry) => (entry.path.clone(), entry.path_raw.clone()),
        None => (row.message.change.path.clone().unwrap_or_default(), row.message.change.path_raw.clone()),
    };
    let paths: Vec<_> = rows.iter().map(path).collect();
    let text: StringArray = paths.iter().map(|(path, _)| Some(path)).collect();
    table.put("path", Always, "Absolute path of the entry, the scope or the root", text);
    let raws = raw(paths.iter().map(|(_, raw)| raw.as_deref()))?;
    table.put("path_raw", Sometimes, "Its bytes, where path cannot hold them", raws);
    let old = |(before, after): (Option<&Entry>, Option<&Entry>)| {
        let (before, after) = (before?, after?);
        (before.path != after.path || before.path_raw != after.path_raw)
            .then(|| (before.path.clone(), before.path_raw.clone()))
    };
    let olds: Vec<_> = before().zip(after()).map(old).collect();
    let text: StringArray = olds.iter().map(|old| old.as_ref().map(|(path, _)| path)).collect();
    table.put("old_path", Sometimes, "The path before, where it was another", text);
    let raws = raw(olds.iter().map(|old| old.as_ref().and_then(|(_, raw)| raw.as_deref())))?;
    table.put("old_path_raw", Sometimes, "Its bytes, where old_path cannot hold them", raws);
    let volumes: UInt32Array = entry().map(|entry| entry.map(|entry| entry.volume)).collect();
    table.put("volume", Sometimes, "The indexer's number of the file system that the entry is on", volumes);
    let inodes: UInt64Array = entry().map(|entry| entry.map(|entry| entry.inode)).collect();
    table.put("inode", Sometimes, "Inode number of the entry", inodes);
    let complete: BooleanArray = change().map(|change| Some(change.complete)).collect();
    table.put("complete", Always, "False while a writer is still at the entry", complete);
    let pairs: UInt64Array = change().map(|change| change.pair).collect();
    table.put("pair", Sometimes, "The other record of a recycled inode number", pairs);

    table.place("at", "the name it happened to", change().map(|change| change.at.as_ref()))?;
    table.place("old", "the name it had, for renamed", change().map(|change| change.old.as_ref()))?;
    table.state("before", before().collect())?;
    table.state("after", after().collect())?;
    table.parents(rows)?;

    let from = change().map(|change| change.from_ns).collect();
    table.time("gap_from", Sometimes, "For gap: from when", from);
    let to = change().map(|change| change.to_ns).collect();
    table.time("gap_to", Sometimes, "For gap: until when", to);
    let whys: StringArray = change().map(|change| change.why.as_deref()).collect();
    table.put("why", Sometimes, "For gap and root_lost: what happened", whys);
    let entries: UInt64Array = change().map(|change| change.entries).collect();
    table.put("entries", Sometimes, "For seeded: entries in the root", entries);
    table.set(change().map(|change| change.set.as_ref()).collect())?;
    let lost: BooleanArray = rows.iter().map(|row| Some(row.lost)).collect();
    let says = "No record of the journal, but the word that all up to this seq are lost to subscribers";
    table.put("lost", Always, says, lost);

    let seen = source().map(|source| Some(source.ts_ns)).collect();
    table.time("seen", Sometimes, "When it was seen", seen);
    let hows = words(source().map(|source| Some(source.how.as_str())))?;
    table.put("how", Always, "By what means it was found", hows);
    let names = words(source().map(|source| Some(source.name.as_str())))?;
    table.put("source", Always, "Of which indexer", names);
    let hosts = words(source().map(|source| Some(source.host.as_str())))?;
    table.put("host", Always, "The host it runs on", hosts);
    let epochs = words(source().map(|source| Some(source.epoch.as_str())))?;
    table.put("epoch", Always, "Epoch of the journal: seqs compare only within one", epochs);
    let versions = words(source().map(|source| Some(source.version.as_str())))?;
    table.put("version", Always, "Version of the program that sent it", versions);
    let roots = words(source().map(|source| Some(source.root.as_str())))?;
    table.put("root", Always, "Path of the root it belongs to", roots);
    let numbers: UInt32Array = source().map(|source| Some(source.root_id)).collect();
    table.put("root_id", Always, "Number of that root, as in the routing key", numbers);

    let beyond = |times: &BTreeMap<String, String>| {
        (!times.is_empty()).then(|| serde_json::to_string(times).unwrap_or_default())
    };
    let beyond: StringArray = table.beyond.iter().map(beyond).collect();
    let says = "JSON: times that 64 bits of nanoseconds do not hold, by column, which is null then";
    table.put("beyond", Sometimes, says, beyond);
    Ok(table)
}

impl Table {
    pub(crate) fn batch(self) -> Result<RecordBatch, ArrowError> {
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = self.columns.into_iter().unzip();
        let about = HashMap::from([("schema".to_owned(), DATA_SCHEMA.to_owned())]);
        RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, about)), arrays)
    }

    fn put(
        &mut self,
        name: impl Into<String>,
        holds: Holds,
        says: &'static str,
        array: impl arrow_array::Array + 'static,
    ) {
        self.columns.push(column(name, holds, Arc::new(array)));
        self.says.push(says);
    }

    /// A time a row.
    fn time(&mut self, name: &str, holds: Holds, says: &'static str, values: Vec<Option<i128>>) {
        let array = self.times(&values, |row| (row, name.to_owned()));
        self.put(name, holds, says, array);
    }

    /// Times, of which `whose` says the row and the name.
    fn times(
        &mut self,
        values: &[Option<i128>],
        whose: impl Fn(usize) -> (usize, String),
    ) -> TimestampNanosecondArray {
        let fits = |(nth, value): (usize, &Option<i128>)| {
            let time = (*value)?;
            let fits = i64::try_from(time).ok();
            if fits.is_none() {
                let (row, name) = whose(nth);
                self.beyond[row].insert(name, time.to_string());
            }
            fits
        };
        values.iter().enumerate().map(fits).collect::<TimestampNanosecondArray>().with_timezone("UTC")
    }

    fn place<'a>(
        &mut self,
        prefix: &str,
        what: &'static str,
        places: impl Iterator<Item = Option<&'a Place>> + Clone,
    ) -> Result<(), WriteError> {
        let name = |end: &str| format!("{prefix}_{end}");
        let volumes: UInt32Array = places.clone().map(|place| place.map(|place| place.volume)).collect();
        self.put(name("volume"), Sometimes, what, volumes);
        let parents: UInt64Array = places.clone().map(|place| place.map(|place| place.parent)).collect();
        self.put(name("parent"), Sometimes, what, parents);
        let names: StringArray = places.clone().map(|place| place.map(|place| &place.name)).collect();
        self.put(name("name"), Sometimes, what, names);
        let raws = raw(places.map(|place| place?.name_raw.as_deref()))?;
        self.put(name("name_raw"), Sometimes, what, raws);
        Ok(())
    }

    /// The entry before or after, without its name and number; all null where there is none.
    fn state(&mut self, prefix: &str, entries: Vec<Option<&Entry>>) -> Result<(), WriteError> {
        let what = if prefix == "before" { "the entry before" } else { "the entry after" };
        let stats: Vec<_> = entries.iter().map(|entry| entry.map(|entry| &entry.stat)).collect();
        let columns = self.stats(&stats, Sometimes, |row, end| (row, format!("{prefix}_{end}")))?;
        for (field, array) in columns {
            let name = format!("{prefix}_{}", field.name());
            self.columns.push((field.with_name(name), array));
            self.says.push(what);
        }
        let categories =
            words(entries.iter().map(|entry| entry.and_then(|entry| entry.category.as_deref())))?;
        self.put(format!("{prefix}_category"), Sometimes, what, categories);
        let digests = entries.iter().map(|entry| entry.and_then(|entry| entry.digest.as_deref()));
        self.digests(prefix, what, digests)
    }

    fn digests<'a>(
        &mut self,
        prefix: &str,
        what: &'static str,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<(), WriteError> {
        let digest = |text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => match digest_of(text) {
                None => Err(WriteError::Malformed(format!("digest {text:?} is none"))),
                known => Ok(known),
            },
        };
        let digests: Vec<Option<Digest>> = texts.map(digest).collect::<Result<_, _>>()?;
        let kinds = words(digests.iter().map(|digest| digest.map(|digest| digest.kind.word())))?;
        self.put(format!("{prefix}_digest_kind"), Sometimes, what, kinds);
        let bytes = digests.iter().map(|digest| digest.map(|digest| digest.bytes));
        let bytes = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, DIGEST)?;
        self.put(format!("{prefix}_digest"), Sometimes, what, bytes);
        Ok(())
    }

    /// The stat fields; `whose` says of the nth stat and a field's name which row and what name a time beyond has.
    fn stats(
        &mut self,
        stats: &[Option<&Stat>],
        holds: Holds,
        whose: impl Fn(usize, &str) -> (usize, String),
    ) -> Result<Vec<(Field, ArrayRef)>, WriteError> {
        let u64s = |of: fn(&Stat) -> u64| -> ArrayRef {
            Arc::new(stats.iter().map(|stat| stat.map(of)).collect::<UInt64Array>())
        };
        let u32s = |of: fn(&Stat) -> u32| -> ArrayRef {
            Arc::new(stats.iter().map(|stat| stat.map(of)).collect::<UInt32Array>())
        };
        let kinds = words(stats.iter().map(|stat| stat.map(|stat| stat.kind.as_str())))?;
        let modes: UInt16Array = stats.iter().map(|stat| stat.map(|stat| stat.mode)).collect();
        let mut columns = vec![
            column("kind", holds, Arc::new(kinds)),
            column("size", holds, u64s(|stat| stat.size)),
            column("allocated", holds, u64s(|stat| stat.allocated)),
        ];
        let times: [Named<Stat, Option<i128>>; 4] = [
            ("modified", |stat| Some(stat.modified_ns)),
            ("changed", |stat| Some(stat.changed_ns)),
            ("created", |stat| stat.created_ns),
            ("accessed", |stat| Some(stat.accessed_ns)),
        ];
        for (name, of) in times {
            let values: Vec<_> = stats.iter().map(|stat| stat.and_then(of)).collect();
            let array = self.times(&values, |nth| whose(nth, name));
            columns.push(column(name, Sometimes, Arc::new(array)));
        }
        columns.push(column("mode", holds, Arc::new(modes)));
        columns.push(column("uid", holds, u32s(|stat| stat.uid)));
        columns.push(column("gid", holds, u32s(|stat| stat.gid)));
        columns.push(column("links", holds, u32s(|stat| stat.links)));
        Ok(columns)
    }

    fn parents(&mut self, rows: &[Row]) -> Result<(), WriteError> {
        let each = || {
            rows.iter().enumerate().flat_map(|(row, of)| {
                of.message.change.parents.iter().enumerate().map(move |(nth, parent)| (row, nth, parent))
            })
        };
        let whose: Vec<(usize, usize)> = each().map(|(row, nth, _)| (row, nth)).collect();
        let stats: Vec<_> = each().map(|(.., parent)| Some(&parent.stat)).collect();
        let volumes: UInt32Array = each().map(|(.., parent)| Some(parent.volume)).collect();
        let inodes: UInt64Array = each().map(|(.., parent)| Some(parent.inode)).collect();
        let mut columns =
            vec![column("volume", Always, Arc::new(volumes)), column("inode", Always, Arc::new(inodes))];
        let name = |at: usize, end: &str| (whose[at].0, format!("parents.{}.{end}", whose[at].1));
        columns.extend(self.stats(&stats, Always, name)?);
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let values = StructArray::try_new_with_length(Fields::from(fields), arrays, None, whose.len())?;
        let lengths = rows.iter().map(|row| row.message.change.parents.len());
        let item = Field::new("item", arrow_array::Array::data_type(&values).clone(), false);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list = ListArray::try_new(Arc::new(item), offsets, Arc::new(values), None)?;
        self.put("parents", Always, "Directories whose own times it moved, with their new stat", list);
        Ok(())
    }

    /// For duplicate: the set as it is now.
    fn set(&mut self, sets: Vec<Option<&DuplicateSet>>) -> Result<(), WriteError> {
        let what = "For duplicate: the set as it is now";
        self.digests("set", what, sets.iter().map(|set| set.map(|set| set.digest.as_str())))?;
        let numbers: [Named<DuplicateSet, u64>; 4] = [
            ("set_size", |set| set.size),
            ("set_copies", |set| set.copies),
            ("set_were", |set| set.were),
            ("set_wasted", |set| set.wasted),
        ];
        for (name, of) in numbers {
            let values: UInt64Array = sets.iter().map(|set| set.map(of)).collect();
            self.put(name, Sometimes, what, values);
        }
        let texts = |set: &Option<&DuplicateSet>| set.map_or(&[][..], |set| &set.paths).len();
        let offsets = OffsetBuffer::from_lengths(sets.iter().map(texts));
        let paths: StringArray = sets.iter().flatten().flat_map(|set| &set.paths).map(Some).collect();
        let item = Arc::new(Field::new("item", arrow_schema::DataType::Utf8, false));
        self.put("set_paths", Always, what, ListArray::try_new(item, offsets, Arc::new(paths), None)?);
        let raws = |set: &Option<&DuplicateSet>| set.map_or(0, |set| set.paths_raw.iter().flatten().count());
        let offsets = OffsetBuffer::from_lengths(sets.iter().map(raws));
        let paths =
            raw(sets.iter().flatten().flat_map(|set| set.paths_raw.iter().flatten()).map(|p| Some(&**p)))?;
        let item = Arc::new(Field::new("item", arrow_schema::DataType::Binary, false));
        let what = "The bytes of all of them, where set_paths cannot hold those of some";
        self.put("set_paths_raw", Always, what, ListArray::try_new(item, offsets, Arc::new(paths), None)?);
        Ok(())
    }
}

fn column(name: impl Into<String>, holds: Holds, array: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), holds == Sometimes), array)
}

/// Words of which there are few.
fn words<'a>(
    words: impl Iterator<Item = Option<&'a str>>,
) -> Result<arrow_array::DictionaryArray<Int8Type>, ArrowError> {
    let mut built = StringDictionaryBuilder::<Int8Type>::new();
    for word in words {
        match word {
            Some(word) => drop(built.append(word)?),
            None => built.append_null(),
        }
    }
    Ok(built.finish())
}

/// The bytes of paths that are no text.
fn raw<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Result<BinaryArray, WriteError> {
    let bytes = |text: Option<&str>| text.map(|text| BASE64.decode(text)).transpose();
    let bytes: Result<Vec<_>, _> = texts.map(bytes).collect();
    let bytes = bytes.map_err(|why| WriteError::Malformed(format!("path is not base64: {why}")))?;
    Ok(bytes.iter().map(|bytes| bytes.as_deref()).collect())
}
