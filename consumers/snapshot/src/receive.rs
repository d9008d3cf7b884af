//! From frames to files: each root into a file, folder or object of its own, whole or not at all. Knows not where frames come from.

mod target;

use std::path::PathBuf;

use serde::Serialize;

use crate::columns::Columns;
use crate::entry::{Moment, RootHead};
use crate::error::{Doing as _, SnapshotError};
use crate::manifest::{FORMAT, Manifest, ManifestFile};
use crate::place::{Place, ROWS};
use crate::stream::{Ending, Frame, Frames};
use crate::write::{Form, Rows};
use target::Target;
pub(crate) use target::{Out, Summed};

/// One root, written.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// Its path.
    pub root: String,
    /// Its bytes in base64, where `root` cannot hold them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_raw: Option<String>,
    /// The file, or the URL of the object.
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
    target: Target,
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
                if matches!(place, Place::File(_) | Place::Object(_)) && moment.roots != 1 {
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
        let (target, out, file) = Target::begin(place, over, moment, &head.path)?;
        let rows = Rows::begin(Summed::new(out), form, moment, &head.path).doing("", &file)?;
        Ok(Root { head, target, file, rows })
    }

    fn finish(self, columns: Columns, moment: &Moment, told: u64) -> Result<Written, SnapshotError> {
        let Root { head, target, file, rows } = self;
        let (summed, rows) = rows.finish().doing("", &file)?;
        if rows != told {
            return Err(SnapshotError::Ended);
        }
        let (out, bytes, blake3) = summed.finish().doing("write", &file)?;
        let (root, root_raw) = (crate::path_text(&head.path), record::wire::v1::text_and_raw(&head.path).1);
        let written = Written { root, root_raw, file, rows, bytes, blake3 };
        target.finish(out, || manifest(&written, columns, moment))?;
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
