//! What changed between snapshots: the records of a journal as Parquet files, each going on where the last one ended, in the layout
//! `_changes/host=/date=/EPOCH-AFTER-UPTO.parquet`. Engines and the readers of snapshots pass over a folder that begins so. Knows no journal.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use record::wire::v1;

use crate::aside::Aside;
use crate::entry::Moment;
use crate::error::{Doing as _, SnapshotError};
use crate::keep::Keep;
use crate::place::{date, encoded, parts};
use crate::shelf::Shelved;

/// The folder beside those of snapshots.
const FOLDER: &str = "_changes";
/// The version of the columns.
const SCHEMA: &str = "changes-1";
/// Records that become rows at a time.
const BATCH: usize = 1 << 12;

/// A file, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it is.
    pub file: PathBuf,
    /// The host, as its folder is called.
    host: String,
    /// The day, in UTC, on which it was written.
    pub date: Date,
    /// Of which journal.
    pub epoch: String,
    /// The record before its first.
    pub after: u64,
    /// Its last record.
    pub upto: u64,
}

/// The files below `top`, of one host where one is named, by host, epoch and seq; none where there are none. What has other names is passed over.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(top: &Path, host: Option<&str>) -> Result<Vec<Span>, SnapshotError> {
    let folder = top.join(FOLDER);
    let inside = |folder: &Path, begin| parts(folder, begin).doing("look into", folder);
    let only = host.map(|host| encoded(host.as_bytes()));
    let mut found = Vec::new();
    for (host, at) in inside(&folder, "host=")? {
        if only.as_ref().is_some_and(|only| *only != host) {
            continue;
        }
        for (day, at) in inside(&at, "date=")? {
            let Ok(date) = day.parse() else { continue };
            for entry in fs::read_dir(&at).doing("look into", &at)? {
                let file = entry.doing("look into", &at)?.path();
                if let Some((epoch, after, upto)) = spanned(&file) {
                    found.push(Span { file, host: host.clone(), date, epoch, after, upto });
                }
            }
        }
    }
    found.sort_by(|one, other| {
        (&one.host, &one.epoch, one.after).cmp(&(&other.host, &other.epoch, other.after))
    });
    Ok(found)
}

/// What the name of a file says: epoch, after, up to.
fn spanned(file: &Path) -> Option<(String, u64, u64)> {
    let mut words = file.file_name()?.to_str()?.strip_suffix(".parquet")?.split('-');
    let (epoch, after, upto) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_epoch = epoch.len() == 32 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_epoch && words.next().is_none() && after < upto).then(|| (epoch.to_owned(), after, upto))
}

/// A file that is being written.
pub struct Writer {
    aside: Aside,
    writer: ArrowWriter<File>,
    held: Vec<v1::Change>,
    after: u64,
    next: u64,
    upto: u64,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where.
    pub file: PathBuf,
    /// Its records.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

/// The right to write the next file of one host and epoch: who else asks meanwhile is refused, whatever record it would go on
/// from.
#[derive(Debug)]
pub struct Claim {
    host: PathBuf,
    aside: Aside,
}

impl Claim {
    /// For files below `top`, of the index that `moment` is of.
    ///
    /// # Errors
    /// [`SnapshotError::Busy`] while another has it.
    pub fn new(top: &Path, moment: &Moment) -> Result<Claim, SnapshotError> {
        let host = top.join(FOLDER).join(format!("host={}", encoded(moment.host.as_bytes())));
        fs::create_dir_all(&host).doing("make the folder", &host)?;
        let aside = Aside::file(&host.join(format!("{}.parquet", moment.epoch)), false)?;
        Ok(Claim { host, aside })
    }
}

impl Writer {
    /// Begins the file of all records after `after`, up to the last before `moment`.
    ///
    /// # Errors
    /// When there can be none.
    pub fn begin(claim: Claim, moment: &Moment, after: u64) -> Result<Writer, SnapshotError> {
        let folder = claim.host.join(format!("date={}", date(moment.taken_us)?));
        fs::create_dir_all(&folder).doing("make the folder", &folder)?;
        let upto = moment.watermark;
        let aside =
            claim.aside.renamed(folder.join(format!("{}-{after:012}-{upto:012}.parquet", moment.epoch)));
        let pairs = [
            ("indexer.schema", SCHEMA.to_owned()),
            ("indexer.host", moment.host.clone()),
            ("indexer.epoch", moment.epoch.clone()),
            ("indexer.after", after.to_string()),
            ("indexer.watermark", upto.to_string()),
            ("indexer.taken_us", moment.taken_us.to_string()),
            ("indexer.tool", moment.tool.clone()),
        ];
        let pairs = pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
        let properties = WriterProperties::builder()
            .set_created_by(moment.tool.clone())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()))
            .set_key_value_metadata(Some(pairs))
            .build();
        let schema = table::batch(&[]).doing("write", aside.place())?.schema();
        let writer =
            ArrowWriter::try_new(aside.open()?, schema, Some(properties)).doing("write", aside.place())?;
        Ok(Writer { aside, writer, held: Vec::with_capacity(BATCH), after, next: after + 1, upto })
    }

    /// Takes the next record; answers whether more are wanted. Records beyond the end are none of the file's.
    ///
    /// # Errors
    /// When one is missing, and when it cannot be written.
    pub fn push(&mut self, change: v1::Change) -> Result<bool, SnapshotError> {
        if change.seq > self.upto {
            return Ok(false);
        }
        if change.seq != self.next {
            return Err(SnapshotError::Ended);
        }
        self.next += 1;
        self.held.push(change);
        if self.held.len() == BATCH {
            self.pass_on()?;
        }
        Ok(self.next <= self.upto)
    }

    /// Writes what is left; the file is in place then.
    ///
    /// # Errors
    /// When records are missing, and when it cannot be written.
    pub fn finish(mut self) -> Result<Put, SnapshotError> {
        if self.next <= self.upto {
            return Err(SnapshotError::Ended);
        }
        self.pass_on()?;
        let Writer { aside, writer, after, upto, .. } = self;
        let file = writer.into_inner().doing("write", aside.place())?;
        let bytes = file.metadata().doing("look at", aside.place())?.len();
        let place = aside.place().to_owned();
        aside.commit()?;
        Ok(Put { file: place, records: upto - after, bytes })
    }

    fn pass_on(&mut self) -> Result<(), SnapshotError> {
        let place = self.aside.place();
        let batch = table::batch(&self.held).doing("write", place)?;
        self.held.clear();
        self.writer.write(&batch).doing("write", place)
    }
}

/// What is wrong with `spans`, which are in order: each file is read whole, and has to hold each record that its name says, in order.
#[must_use]
pub fn verify(spans: &[Span]) -> Vec<String> {
    let mut wrong: Vec<String> = spans.iter().filter_map(|span| unlike(span).err()).collect();
    for pair in spans.windows(2) {
        let [before, after] = pair else { continue };
        if (&before.host, &before.epoch) == (&after.host, &after.epoch) && before.upto != after.after {
            wrong.push(format!(
                "{}: it begins after seq {}, and the file before it ends at {}",
                after.file.display(),
                after.after,
                before.upto
            ));
        }
    }
    wrong
}

fn unlike(span: &Span) -> Result<(), String> {
    let shown = span.file.display();
    let failed = |error: &dyn std::fmt::Display| format!("{shown}: {error}");
    let open = File::open(&span.file).map_err(|error| failed(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(open).and_then(|builder| builder.build());
    let mut next = span.after + 1;
    for batch in reader.map_err(|error| failed(&error))? {
        let batch = batch.map_err(|error| failed(&error))?;
        let seqs = table::seqs(&batch).ok_or_else(|| format!("{shown}: it has no column of seqs"))?;
        for seq in seqs {
            if seq != next.cast_signed() {
                return Err(format!("{shown}: seq {seq} stands where {next} has to"));
            }
            next += 1;
        }
    }
    if next <= span.upto {
        return Err(format!("{shown}: it ends before seq {next}, and its name says {}", span.upto));
    }
    Ok(())
}

/// Those of `spans` that lead to no snapshot that `keep` keeps for its day: of each host what was written before the first of those days.
#[must_use]
pub fn spare<'a>(spans: &'a [Span], snapshots: &[Shelved], keep: Keep) -> Vec<&'a Span> {
    let first = |host: &str| {
        let ours = snapshots.iter().filter(|shelved| {
            shelved.manifest.as_ref().is_ok_and(|manifest| encoded(manifest.host.as_bytes()) == host)
        });
        let days: BTreeSet<Date> = ours.map(|shelved| shelved.date).collect();
        // The last one always is kept.
        days.into_iter().rev().take(keep.daily.max(1)).next_back()
    };
    spans.iter().filter(|span| first(&span.host).is_some_and(|first| span.date < first)).collect()
}

/// Removes them.
///
/// # Errors
/// When one cannot be removed.
pub fn remove(spans: &[&Span]) -> Result<(), SnapshotError> {
    for span in spans {
        fs::remove_file(&span.file).doing("remove", &span.file)?;
        // The folder goes with its last file.
        if let Some(folder) = span.file.parent() {
            let _ = fs::remove_dir(folder);
        }
    }
    Ok(())
}
