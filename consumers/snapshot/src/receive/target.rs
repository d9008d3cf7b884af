//! Where the rows of one root go, and how they get there whole: aside on a disk, or up into a store. Knows nothing of rows.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::aside::Aside;
use crate::entry::Moment;
use crate::error::{Doing as _, SnapshotError};
use crate::manifest::Manifest;
use crate::place::{MANIFEST, Place, ROWS, layout};
use crate::store::{Object, Upload};

/// How the rows are called in a folder until they are whole: nothing that an engine takes for a file of its own.
const UNFINISHED: &str = "rows";
/// Bytes that go into a file at once.
const BUFFER: usize = 1 << 18;

/// Where it is until it is whole.
pub(super) enum Target {
    File(Aside),
    Folder(Aside),
    Object(Object),
}

impl Target {
    /// Begins one of the root at `path`, in `place`, `over` what is there: what takes its bytes, and what it is to be.
    pub(super) fn begin(
        place: &Place,
        over: bool,
        moment: &Moment,
        path: &[u8],
    ) -> Result<(Target, Out, PathBuf), SnapshotError> {
        Ok(match place {
            Place::File(file) => {
                let aside = Aside::file(file, over)?;
                let out = Out::file(aside.open()?);
                (Target::File(aside), out, file.clone())
            }
            Place::Folder(top) => {
                let folder = top.join(layout(moment, path)?);
                let aside = Aside::folder(&folder, &[ROWS, MANIFEST], over)?;
                let rows = aside.path().join(UNFINISHED);
                let out = Out::file(File::create_new(&rows).doing("make", &rows)?);
                (Target::Folder(aside), out, folder.join(ROWS))
            }
            Place::Object(address) => {
                let (object, upload) = Object::begin(address, None, over)?;
                (Target::Object(object), Out::Upload(Box::new(upload)), address.to_path())
            }
            Place::Prefix(address) => {
                let folder = layout(moment, path)?;
                let rows = address.join(&folder).join(ROWS).to_path();
                let (object, upload) = Object::begin(address, Some(folder), over)?;
                (Target::Object(object), Out::Upload(Box::new(upload)), rows)
            }
        })
    }

    /// Has it appear, with what `manifest` says of it where there is a place for that.
    pub(super) fn finish(self, out: Out, manifest: impl FnOnce() -> Manifest) -> Result<(), SnapshotError> {
        match (self, out) {
            (Target::Object(object), Out::Upload(upload)) => {
                let text = object.in_folder().then(|| manifest().text()).transpose();
                object.finish(*upload, text.doing("write", Path::new(MANIFEST))?)
            }
            (Target::File(aside), _) => aside.commit(),
            (Target::Folder(aside), _) => {
                let folder = aside.path();
                manifest().write(&folder.join(MANIFEST))?;
                // Last: a pattern of `*.parquet` finds hidden folders too.
                let (from, to) = (folder.join(UNFINISHED), folder.join(ROWS));
                std::fs::rename(&from, &to).doing("rename", &from)?;
                aside.commit()
            }
            // What takes the bytes was made with it.
            (Target::Object(_), Out::File(_)) => Err(SnapshotError::Ended),
        }
    }
}

/// What takes the bytes.
pub(crate) enum Out {
    File(BufWriter<File>),
    Upload(Box<Upload>),
}

impl Out {
    pub(crate) fn file(file: File) -> Out {
        Out::File(BufWriter::with_capacity(BUFFER, file))
    }
}

/// A file or an object whose bytes are counted and hashed as they go.
pub(crate) struct Summed {
    out: Out,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Summed {
    pub(crate) fn new(out: Out) -> Summed {
        Summed { out, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    /// Makes a file durable. Answers what took the bytes, how many, and their BLAKE3.
    pub(crate) fn finish(mut self) -> io::Result<(Out, u64, String)> {
        self.flush()?;
        if let Out::File(file) = &self.out {
            file.get_ref().sync_all()?;
        }
        Ok((self.out, self.bytes, self.hasher.finalize().to_hex().to_string()))
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::File(file) => file.write_all(bytes)?,
            Out::Upload(upload) => upload.write_all(bytes)?,
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::File(file) => file.flush(),
            Out::Upload(upload) => upload.flush(),
        }
    }
}
