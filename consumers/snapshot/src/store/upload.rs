//! An object on its way: parts of one size, a few of them at once. Dropped before its end, it takes back what went up. Knows no
//! Parquet.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _};
use tokio::task::JoinSet;

use super::Store;
use crate::error::SnapshotError;

/// Bytes of a part. Stores want 5 MiB at least, all of one size (R2), and 10,000 parts at most: this makes 58 GiB.
const PART: usize = 6 << 20;
/// Parts on their way, beside the one that is filled.
const AT_ONCE: usize = 2;
/// For taking back.
const GIVE_UP: Duration = Duration::from_secs(10);

/// An object on its way.
pub(crate) struct Upload {
    store: Arc<Store>,
    /// `None` when it is in place.
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    part: Vec<u8>,
    failed: bool,
}

impl Upload {
    pub(super) fn begin(store: &Arc<Store>, path: &Path) -> Result<Upload, SnapshotError> {
        let upload = store.wait(store.store.put_multipart(path));
        let upload = upload.map_err(|error| store.failed("begin", &error))?;
        let (store, parts, part) = (Arc::clone(store), JoinSet::new(), Vec::with_capacity(PART));
        Ok(Upload { store, upload: Some(upload), parts, part, failed: false })
    }

    /// Sends what is left, and waits for all.
    pub(super) fn send_all(&mut self) -> Result<(), SnapshotError> {
        if !self.part.is_empty() {
            self.send()?;
        }
        self.wait_for(0)
    }

    /// Has it appear.
    pub(super) fn complete(mut self) -> Result<(), SnapshotError> {
        if let Some(upload) = &mut self.upload {
            let done = self.store.wait(upload.complete());
            done.map_err(|error| self.store.failed("complete", &error))?;
        }
        self.upload = None;
        Ok(())
    }

    fn send(&mut self) -> Result<(), SnapshotError> {
        self.wait_for(AT_ONCE - 1)?;
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        let Upload { store, upload: Some(upload), parts, .. } = self else { return Ok(()) };
        let put = upload.put_part(part.into());
        store.wait(async { parts.spawn(put) });
        Ok(())
    }

    /// Waits until so many are on their way.
    fn wait_for(&mut self, many: usize) -> Result<(), SnapshotError> {
        let Upload { store, parts, .. } = self;
        let done = store.wait(async {
            while parts.len() > many {
                match parts.join_next().await {
                    Some(Ok(sent)) => sent?,
                    Some(Err(died)) => return Err(died.into()),
                    None => {}
                }
            }
            Ok(())
        });
        done.map_err(|error| {
            self.failed = true;
            self.store.failed("write", &error)
        })
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART {
            self.send().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let parts = &mut self.parts;
        // What comes up after the end of an upload may stay there. What is left in spite of this, nobody sees.
        let back = async {
            while parts.join_next().await.is_some() {}
            upload.abort().await
        };
        let _ = self.store.wait(async { tokio::time::timeout(GIVE_UP, back).await });
    }
}
