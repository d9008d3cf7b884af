//! What of the journal was shown outside, in a small file beside the index: an index that was put back from a backup is older
//! than that, and must not give the same numbers to other records. Knows no broker and no subscriber.
//!
//! An epoch goes on only if the file says that it may: it names this very epoch, and no record that the journal does not have.
//! In every other case a new one is minted, which costs subscribers a new begin and is never wrong.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use record::Seq;
use tracing::warn;

use crate::error::IndexError;
use crate::file::Index;

/// Its name, beside the index.
const NAME: &str = "published";
/// What it begins with: whose it is, and its version.
const HEAD: &str = "indexer published 1";
/// Bytes of each of the two places that marks are written to in turn: a write that is cut off spoils one of them.
const SLOT: usize = 4096;

/// An epoch, and the last record of it that may have been shown outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    epoch: u128,
    seq: Seq,
}

/// The file, for the one process that may write to the index.
pub struct Published {
    path: PathBuf,
    noted: Mutex<Noted>,
}

/// The mark on the disk, and where the next one goes.
struct Noted {
    mark: Mark,
    /// As it was made; none where that could not be done, or it could not be written to.
    file: Option<File>,
    next: usize,
}

impl Published {
    /// Compares `index` with the file beside it before any record of it is shown, and mints a new epoch where the file does not
    /// vouch for the one there is. Cursors that stand behind the last record are set to it. The caller holds the right to write
    /// to both.
    ///
    /// # Errors
    /// When the index cannot be written, or the file of a new epoch.
    pub fn open(index: &Index) -> Result<Published, IndexError> {
        let path = index.path().with_file_name(NAME);
        let (epoch, last) = (index.epoch()?, index.read()?.seq()?);
        for (consumer, seq) in index.recall_cursors()? {
            warn!(
                consumer,
                seq = seq.0,
                last = last.0,
                "a cursor stood behind the last record; it is set to that"
            );
        }
        let doubt = match read(&path) {
            Ok(mark) if mark.epoch != epoch => Some("it is of another epoch".to_owned()),
            Ok(mark) if mark.seq > last => Some(format!(
                "records up to {} were shown outside, and the journal ends at {last}: it was put back from a backup",
                mark.seq
            )),
            Ok(mark) => {
                let published = Published { path, noted: Mutex::new(Noted { mark, file: None, next: 0 }) };
                if let Err(error) = published.note(last) {
                    // Nothing is shown before it could be written.
                    warn!(%error, "what was shown outside cannot be noted for now");
                }
                return Ok(published);
            }
            Err(why) if why.kind() == ErrorKind::NotFound => Some("it is not there".to_owned()),
            Err(why) => Some(why.to_string()),
        };
        let epoch = index.renew_epoch()?;
        let mark = Mark { epoch, seq: last };
        let published = Published { path, noted: Mutex::new(Noted { mark, file: None, next: 0 }) };
        published.note(last)?;
        let path = &published.path;
        // A new index has shown nothing to anybody.
        if let Some(why) = doubt.filter(|_| last > Seq(0)) {
            let (file, epoch) = (path.display(), format!("{epoch:032x}"));
            warn!(%file, why, epoch, "the journal goes on with a new epoch: subscribers begin anew");
        }
        Ok(published)
    }

    /// Notes durably that records up to `seq`, which are in the journal, may be shown outside. Costs nothing where that is noted.
    ///
    /// # Errors
    /// When the file cannot be written: then they must not be shown.
    pub fn raise(&self, seq: Seq) -> Result<(), IndexError> {
        // Of two at once the greater one stays.
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.mark.seq < seq { self.note_in(&mut noted, seq) } else { Ok(()) }
    }

    fn note(&self, seq: Seq) -> Result<(), IndexError> {
        self.note_in(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner), seq)
    }

    fn note_in(&self, noted: &mut Noted, seq: Seq) -> Result<(), IndexError> {
        let mark = Mark { seq, ..noted.mark };
        let written = match noted.file.take() {
            None => make(&self.path, mark),
            Some(file) => overwrite(&file, noted.next, mark).map(|()| file),
        };
        let file =
            written.map_err(|source| IndexError::Run { doing: "write", path: self.path.clone(), source })?;
        *noted = Noted { mark, file: Some(file), next: 1 - noted.next };
        Ok(())
    }

    /// The last record that is noted.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).mark.seq
    }
}

fn text(mark: Mark) -> String {
    let body = format!("{HEAD}\nepoch {:032x}\nseq {}\n", mark.epoch, mark.seq);
    let check = check(&body);
    format!("{body}check {check}\n")
}

/// A number with a digit gone wrong is a number too.
fn check(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex()[..16].to_owned()
}

fn parse(text: &str) -> Option<Mark> {
    let (body, _) = text.split_once("check ")?;
    let mut lines = body.lines();
    let head = lines.next()?;
    let epoch = lines.next()?.strip_prefix("epoch ")?;
    let seq = lines.next()?.strip_prefix("seq ")?;
    let mark = Mark { epoch: u128::from_str_radix(epoch, 16).ok()?, seq: Seq(seq.parse().ok()?) };
    (head == HEAD && text == self::text(mark)).then_some(mark)
}

/// The later of the two: one that was cut off announced nothing yet.
fn read(path: &Path) -> io::Result<Mark> {
    let mut found = Vec::new();
    File::open(path)?.take(2 * SLOT as u64).read_to_end(&mut found)?;
    let marks = found.chunks(SLOT).filter_map(|slot| {
        let text = std::str::from_utf8(slot).ok()?;
        parse(text.trim_end_matches(' '))
    });
    marks.max_by_key(|mark| mark.seq).ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidData, "it is damaged, of another version, or no file of ours")
    })
}

fn slot(mark: Mark) -> Vec<u8> {
    let mut slot = text(mark).into_bytes();
    slot.resize(SLOT, b' ');
    slot
}

/// No more than this page, and no word of it but what it holds: that is one flush, and no commit of the file system.
fn overwrite(file: &File, place: usize, mark: Mark) -> io::Result<()> {
    file.write_all_at(&slot(mark), (place * SLOT) as u64)?;
    file.sync_data()
}

/// Writes it aside, with room for two marks, and gives it its name, each step on the disk before the next.
fn make(path: &Path, mark: Mark) -> io::Result<File> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(&slot(mark))?;
    file.write_all(&[b' '; SLOT])?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_or_is_cut_off_announces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let at = |seq| Mark { epoch: 7, seq: Seq(seq) };
        let noted = Mutex::new(Noted { mark: at(1), file: None, next: 0 });
        let published = Published { path: path.clone(), noted };
        for seq in 2..6 {
            published.raise(Seq(seq)).unwrap();
            assert_eq!(read(&path).unwrap(), at(seq));
            // Cut off at any byte, the one before counts.
            let good = fs::read(&path).unwrap();
            let place = usize::from(good[SLOT..].starts_with(text(at(seq)).as_bytes())) * SLOT;
            for cut in 0..text(at(seq)).len() {
                let mut bytes = good.clone();
                bytes[place + cut..place + SLOT].fill(b'x');
                fs::write(folder.path().join("torn"), &bytes).unwrap();
                let torn = read(&folder.path().join("torn")).ok();
                assert_eq!(torn, (seq > 2).then(|| at(seq - 1)), "{seq} cut at {cut}");
            }
        }
        published.noted.lock().unwrap().file = Some(File::options().write(true).open("/dev/full").unwrap());
        published.raise(Seq(9)).unwrap_err();
        assert_eq!((published.seq(), read(&path).unwrap()), (Seq(5), at(5)));
        published.raise(Seq(9)).unwrap();
        assert_eq!((published.seq(), read(&path).unwrap()), (Seq(9), at(9)));
    }

    #[test]
    fn a_mark_is_read_back_and_no_changed_byte_is() {
        let mark = Mark { epoch: 0x0123_4567_89ab_cdef, seq: Seq(1_234) };
        let good = text(mark);
        assert_eq!(parse(&good), Some(mark));
        assert_eq!(
            good,
            "indexer published 1\nepoch 00000000000000000123456789abcdef\nseq 1234\ncheck 1e6996aac304b90c\n"
        );
        for at in 0..good.len() {
            for other in [b'0', b'7', b'\n', b' '] {
                let mut bytes = good.clone().into_bytes();
                if bytes[at] != other {
                    bytes[at] = other;
                    assert_eq!(parse(std::str::from_utf8(&bytes).unwrap()), None, "byte {at}");
                }
            }
            assert_eq!(parse(&good[..at]), None, "cut at {at}");
        }
        assert_eq!(parse(&format!("{good}x")), None);
    }
}
