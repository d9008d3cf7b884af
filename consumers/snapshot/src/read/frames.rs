//! Rows on their way from an index, as if they came from a file of all columns. Knows not where frames come from.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::{BATCH, Head, Lines, Part};
use crate::columns::{Columns, Gather, Owners};
use crate::entry::Moment;
use crate::error::SnapshotError;
use crate::stream::{Ending, Frame, Frames};
use crate::text::path_text;

/// Makes rows of frames.
pub struct Unframed {
    frames: Frames,
    owners: Arc<Owners>,
    moment: Option<Moment>,
    root: Option<(Box<dyn Gather>, usize)>,
    ending: Option<Ending>,
}

impl Unframed {
    /// With these names of owners.
    #[must_use]
    pub fn new(owners: Arc<Owners>) -> Unframed {
        Unframed { frames: Frames::default(), owners, moment: None, root: None, ending: None }
    }

    /// Takes a piece of the stream; hands on what is whole by then, until `each` answers false.
    ///
    /// # Errors
    /// For what cannot be understood, and [`SnapshotError::Told`] when the other side says why it ends.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Part) -> bool) -> Result<bool, SnapshotError> {
        let Unframed { frames, owners, moment, root, ending } = self;
        let mut more = true;
        frames.feed(bytes, |frame| {
            match frame {
                Frame::Moment(told) => *moment = Some(told),
                Frame::Root(told) => {
                    let moment = moment.as_ref().ok_or(SnapshotError::Ended)?;
                    let text = path_text(&told.path);
                    *root = Some((Columns::Native.gather(&text, Arc::clone(owners)), 0));
                    more &= each(Part::Begin(Box::new(head(moment, &told.path, text))));
                }
                Frame::Rows(mut rows) => {
                    let (gather, count) = root.as_mut().ok_or(SnapshotError::Ended)?;
                    while let Some(entry) = rows.next_row()? {
                        gather.push(&entry);
                        *count += 1;
                        if *count == BATCH {
                            *count = 0;
                            more &= each(Part::Rows(Box::new(lines(gather.as_mut())?)));
                        }
                    }
                }
                Frame::RootEnd(_) => {
                    let (mut gather, count) = root.take().ok_or(SnapshotError::Ended)?;
                    if count > 0 {
                        more &= each(Part::Rows(Box::new(lines(gather.as_mut())?)));
                    }
                }
                Frame::End(told) => *ending = Some(told),
                Frame::Failed(why) => return Err(SnapshotError::Told(why.to_vec())),
            }
            Ok(())
        })?;
        Ok(more)
    }

    /// All was told.
    ///
    /// # Errors
    /// [`SnapshotError::Ended`] when it was not.
    pub fn finish(self) -> Result<(), SnapshotError> {
        self.ending.map(|_| ()).ok_or(SnapshotError::Ended)
    }
}

fn lines(gather: &mut dyn Gather) -> Result<Lines, SnapshotError> {
    let batch = RecordBatch::try_new(Columns::Native.schema(), gather.take());
    // A unit test holds that columns fit their schema.
    batch.ok().and_then(|batch| Lines::new(&batch, Columns::Native)).ok_or(SnapshotError::Ended)
}

fn head(moment: &Moment, path: &[u8], root: String) -> Head {
    Head {
        root,
        root_raw: record::wire::v1::text_and_raw(path).1,
        host: moment.host.clone(),
        epoch: Some(moment.epoch.clone()),
        watermark: Some(moment.watermark),
        taken_us: moment.taken_us,
        columns: Columns::Native,
    }
}
