//! Records as columns, called as those of snapshots are, with what was before and after beside each other. Knows no file.

use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use parquet::errors::ParquetError;
use record::Time;
use record::wire::v1::{Change, EntryState, bytes_of, digest_of};

use crate::columns::{micros, signed};
use crate::text::path_text;

/// The first column.
const SEQ: &str = "seq";

/// A column: its name, its values, whether some may be missing.
type Column = (String, ArrayRef, bool);

/// The rows of `changes`.
pub(super) fn batch(changes: &[Change]) -> Result<RecordBatch, ParquetError> {
    let all = || changes.iter();
    let paths = texts(all().map(|change| Some((change.path.as_str(), change.path_raw.as_deref()))))?;
    let old_paths = texts(
        all().map(|change| change.old_path.as_deref().map(|path| (path, change.old_path_raw.as_deref()))),
    )?;
    let number = |of: fn(&Change) -> Option<i64>| all().map(of).collect::<Vec<_>>();
    let mut columns = vec![
        ints(SEQ, false, number(|change| Some(change.seq.cast_signed()))),
        words("op", false, all().map(|change| Some(change.op.as_str()))),
        times("seen_time", all().map(|change| Some(change.seen_ns))),
        words("how", false, all().map(|change| Some(change.how.as_str()))),
        flags("complete", all().map(|change| change.complete)),
        words("root", false, all().map(|change| Some(change.root.as_str()))),
    ];
    for (name, (text, raw)) in [("path", paths), ("old_path", old_paths)] {
        columns.push((name.to_owned(), Arc::new(text), name != "path"));
        columns.push((format!("{name}_raw"), Arc::new(raw), true));
    }
    columns.push(ints("inode", true, number(|change| change.inode.map(u64::cast_signed))));
    let volumes: Int32Array = all().map(|change| change.volume.map(u32::cast_signed)).collect();
    columns.push(("volume".to_owned(), Arc::new(volumes), true));
    for (side, of) in [
        ("before", (|change| change.before.as_ref()) as fn(&Change) -> Option<&EntryState>),
        ("after", |change| change.after.as_ref()),
    ] {
        state(side, &all().map(of).collect::<Vec<_>>(), &mut columns);
    }
    columns.extend([
        ints("pair", true, number(|change| change.pair.map(u64::cast_signed))),
        times("from_time", all().map(|change| change.from_ns)),
        times("to_time", all().map(|change| change.to_ns)),
        words("why", true, all().map(|change| change.why.as_deref())),
        ints("entries", true, number(|change| change.entries.map(u64::cast_signed))),
    ]);
    let json = |change: &Change| -> Result<[Option<String>; 2], serde_json::Error> {
        let parents = (!change.parents.is_empty()).then(|| serde_json::to_string(&change.parents));
        Ok([parents.transpose()?, change.set.as_ref().map(serde_json::to_string).transpose()?])
    };
    let json: Result<Vec<_>, _> = all().map(json).collect();
    let json = json.map_err(|error| ParquetError::External(Box::new(error)))?;
    columns.push(words("parents", true, json.iter().map(|[parents, _]| parents.as_deref())));
    columns.push(words("set", true, json.iter().map(|[_, set]| set.as_deref())));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The seqs of rows that [`batch`] made; none where there is no such column.
pub(super) fn seqs(batch: &RecordBatch) -> Option<Vec<i64>> {
    let column = batch.column_by_name(SEQ)?.as_primitive_opt::<Int64Type>()?;
    Some(column.iter().flatten().collect())
}

/// An entry on one side.
fn state(side: &str, states: &[Option<&EntryState>], columns: &mut Vec<Column>) {
    let name = |field: &str| format!("{side}_{field}");
    let all = || states.iter().copied();
    let number = |field: &str, of: fn(&EntryState) -> i64| {
        ints(&name(field), true, all().map(|state| state.map(of)).collect())
    };
    let time = |field: &str, of: fn(&EntryState) -> Option<i128>| {
        times(&name(field), all().map(|state| state.and_then(of)))
    };
    columns.extend([
        words(&name("kind"), true, all().map(|state| state.map(|state| state.stat.kind.as_str()))),
        words(&name("category"), true, all().map(|state| state?.category.as_deref())),
        number("size", |state| signed(state.stat.size)),
        number("allocated", |state| signed(state.stat.allocated)),
        time("modified_time", |state| Some(state.stat.modified_ns)),
        time("accessed_time", |state| Some(state.stat.accessed_ns)),
        time("created_time", |state| state.stat.created_ns),
        time("changed_time", |state| Some(state.stat.changed_ns)),
    ]);
    let modes: Int32Array = all().map(|state| state.map(|state| i32::from(state.stat.mode))).collect();
    columns.push((name("permissions"), Arc::new(modes), true));
    columns.extend([
        number("uid", |state| i64::from(state.stat.uid)),
        number("gid", |state| i64::from(state.stat.gid)),
        number("links", |state| i64::from(state.stat.links)),
    ]);
    let digests: Vec<_> = all().map(|state| digest_of(state?.digest.as_deref()?)).collect();
    let mut bytes = FixedSizeBinaryBuilder::new(32);
    for digest in &digests {
        match digest {
            // It fails for other than 32 bytes alone.
            Some(digest) if bytes.append_value(digest.bytes).is_ok() => {}
            _ => bytes.append_null(),
        }
    }
    columns.push((name("digest"), Arc::new(bytes.finish()), true));
    let kinds = digests.iter().map(|digest| digest.as_ref().map(|digest| digest.kind.word()));
    columns.push(words(&name("digest_kind"), true, kinds));
}

fn ints(name: &str, nullable: bool, values: Vec<Option<i64>>) -> Column {
    (name.to_owned(), Arc::new(Int64Array::from(values)), nullable)
}

fn words<'a>(name: &str, nullable: bool, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    (name.to_owned(), Arc::new(values.collect::<StringArray>()), nullable)
}

fn flags(name: &str, values: impl Iterator<Item = bool>) -> Column {
    (name.to_owned(), Arc::new(values.map(Some).collect::<BooleanArray>()), false)
}

/// Nanoseconds, as columns of times hold them.
fn times(name: &str, values: impl Iterator<Item = Option<i128>>) -> Column {
    let micros = values.map(|ns| micros(Time(ns?)));
    let array = micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    (name.to_owned(), Arc::new(array), true)
}

/// Paths as text, and the bytes of those that are not UTF-8.
fn texts<'a>(
    paths: impl Iterator<Item = Option<(&'a str, Option<&'a str>)>>,
) -> Result<(StringArray, BinaryArray), ParquetError> {
    let mut both: Vec<(Option<String>, Option<Vec<u8>>)> = Vec::new();
    for path in paths {
        both.push(match path {
            None => (None, None),
            Some((text, None)) => (Some(text.to_owned()), None),
            Some((text, raw)) => {
                let bytes = bytes_of(text, raw).map_err(|error| ParquetError::External(Box::new(error)))?;
                (Some(path_text(&bytes)), Some(bytes))
            }
        });
    }
    let raw = both.iter().map(|(_, raw)| raw.as_deref()).collect();
    Ok((both.iter().map(|(text, _)| text.as_deref()).collect(), raw))
}
