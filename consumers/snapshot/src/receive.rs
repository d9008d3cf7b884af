//! From frames to files: each root into a file or folder of its own, whole or not at all. Knows not where frames come from.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::aside::Aside;
use crate::columns::Columns;
use crate::entry::{Moment, RootHead};
use crate::error::{Doing as _, SnapshotError};
use crate::manifest::{FORMAT, Manifest, ManifestFile};
use crate::place::{MANIFEST, Place, ROWS, folder};
use crate::stream::{Ending, Frame, Frames};
use crate::write::{Form, Rows};

/// How the rows are called in a folder until they are whole: nothing that an engine takes for a file of its own.
const UNFINISHED: &str = "rows";

/// One root, written.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// Its path.
    pub root: String,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_raw: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub blake3: String,
}

/// All that was written.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Of which moment.
    pub moment: Moment,
    /// Each root.
    pub roots: Vec<Written>,
    /// What it cost the index.
    pub ending: Ending,
}

/// Takes frames and writes files.
pub struct Receiver {
    place: Place,
    form: Form,
    over: bool,
    frames: Frames,
    state: State,
}

struct State {
    moment: Option<Moment>,
    now: Option<Root>,
    rows: u64,
    written: Vec<Written>,
    ending: Option<Ending>,
}

/// The root that is being written.
struct Root {
    head: RootHead,
    aside: Aside,
    /// What it is to be.
    file: PathBuf,
    rows: Rows<Summed>,
}

impl Receiver {
    /// Writes to `place`, in `form`; `over` what is there.
    #[must_use]
    pub fn new(place: Place, form: Form, over: bool) -> Receiver {
        let state = State { moment: None, now: None, rows: 0, written: Vec::new(), ending: None };
        Receiver { place, form, over, frames: Frames::default(), state }
    }

    /// Takes a piece of the stream.
    ///
    /// # Errors
    /// For what cannot be written or understood, and [`SnapshotError::Told`] when the other side says why it ends.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Receiver { place, form, over, frames, state } = self;
        frames.feed(bytes, |frame| state.take(place, form, *over, frame))
    }

    /// Rows so far, and about how many there will be.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.state.rows, self.state.moment.as_ref().map_or(0, |moment| moment.expected))
    }

    /// What was written.
    ///
    /// # Errors
    /// [`SnapshotError::Ended`] when the end was not told.
    pub fn finish(self) -> Result<Finished, SnapshotError> {
        let State { moment, now, written, ending, .. } = self.state;
        match (moment, ending) {
            (Some(moment), Some(ending)) if now.is_none() && written.len() as u64 == moment.roots => {
                Ok(Finished { moment, roots: written, ending })
            }
            _ => Err(SnapshotError::Ended),
        }
    }
}

impl State {
    fn take(
        &mut self,
        place: &Place,
        form: &Form,
        over: bool,
        frame: Frame<'_>,
    ) -> Result<(), SnapshotError> {
        match frame {
            Frame::Moment(moment) => {
                if matches!(place, Place::File(_)) && moment.roots != 1 {
                    return Err(SnapshotError::OneRoot(moment.roots));
                }
                self.moment = Some(moment);
            }
            Frame::Root(head) => {
                let moment = self.moment.as_ref().ok_or(SnapshotError::Ended)?;
                self.now = Some(Root::begin(place, form, over, moment, head)?);
            }
            Frame::Rows(mut rows) => {
                let now = self.now.as_mut().ok_or(SnapshotError::Ended)?;
                while let Some(entry) = rows.next_row()? {
                    now.rows.push(&entry).doing("", &now.file)?;
                    self.rows += 1;
                }
            }
            Frame::RootEnd(count) => {
                let (Some(now), Some(moment)) = (self.now.take(), &self.moment) else {
                    return Err(SnapshotError::Ended);
                };
                self.written.push(now.finish(form.columns, moment, count)?);
            }
            Frame::End(ending) => self.ending = Some(ending),
            Frame::Failed(why) => return Err(SnapshotError::Told(why.to_vec())),
        }
        Ok(())
    }
}

impl Root {
    fn begin(
        place: &Place,
        form: &Form,
        over: bool,
        moment: &Moment,
        head: RootHead,
    ) -> Result<Root, SnapshotError> {
        let (aside, out, file) = match place {
            Place::File(file) => {
                let aside = Aside::file(file, over)?;
                let out = aside.open()?;
                (aside, out, file.clone())
            }
            Place::Folder(top) => {
                let folder = folder(top, moment, &head.path)?;
                let aside = Aside::folder(&folder, &[ROWS, MANIFEST], over)?;
                let path = aside.path().join(UNFINISHED);
                let out = File::create_new(&path).doing("make", &path)?;
                (aside, out, folder.join(ROWS))
            }
        };
        let rows = Rows::begin(Summed::new(out), form, moment, &head.path).doing("", &file)?;
        Ok(Root { head, aside, file, rows })
    }

    fn finish(self, columns: Columns, moment: &Moment, told: u64) -> Result<Written, SnapshotError> {
        let Root { head, aside, file, rows } = self;
        let (summed, rows) = rows.finish().doing("", &file)?;
        if rows != told {
            return Err(SnapshotError::Ended);
        }
        let (bytes, blake3) = summed.finish().doing("write", &file)?;
        let (root, root_raw) = (crate::path_text(&head.path), record::wire::v1::text_and_raw(&head.path).1);
        let written = Written { root, root_raw, file, rows, bytes, blake3 };
        if written.file.parent().is_some_and(|above| aside.place() == above) {
            let folder = aside.path();
            manifest(&written, columns, moment).write(&folder.join(MANIFEST))?;
            // Last: a pattern of `*.parquet` finds hidden folders too.
            let (from, to) = (folder.join(UNFINISHED), folder.join(ROWS));
            std::fs::rename(&from, &to).doing("rename", &from)?;
        }
        aside.commit()?;
        Ok(written)
    }
}

fn manifest(written: &Written, columns: Columns, moment: &Moment) -> Manifest {
    let Written { root, root_raw, rows, bytes, blake3, .. } = written;
    Manifest {
        format: FORMAT,
        schema: columns.version().to_owned(),
        tool: moment.tool.clone(),
        host: moment.host.clone(),
        root: root.clone(),
        root_raw: root_raw.clone(),
        epoch: moment.epoch.clone(),
        watermark: moment.watermark,
        taken_us: moment.taken_us,
        rows: *rows,
        bytes: *bytes,
        files: vec![ManifestFile {
            name: ROWS.to_owned(),
            rows: *rows,
            bytes: *bytes,
            blake3: blake3.clone(),
        }],
    }
}

/// A file whose bytes are counted and hashed as they go.
pub(crate) struct Summed {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Summed {
    pub(crate) fn new(file: File) -> Summed {
        Summed { file: BufWriter::with_capacity(1 << 18, file), hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// Makes it durable. Answers its length and its BLAKE3.
    pub(crate) fn finish(mut self) -> io::Result<(u64, String)> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((self.bytes, self.hasher.finalize().to_hex().to_string()))
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
