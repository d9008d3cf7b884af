//! Splits what a read of a fanotify group gave into events. Pure and total: any bytes whatever give events or
//! errors, never a panic, and always an end.
//!
//! ```text
//! event    u32 length · u8 version (3) · u8 0 · u16 metadata length (24) · u64 mask · i32 fd · i32 pid · records
//! record   u8 type · u8 0 · u16 length · body, padded to 4
//! body     i32 fsid[2] · u32 n · i32 handle type · u8 handle[n] [· name · NUL]
//! ```

#[cfg(test)]
mod tests;

/// The version of the format (FANOTIFY_METADATA_VERSION).
const VERSION: u8 = 3;
/// Length of the fixed part of an event; also what FIONREAD counts for each queued event.
pub const METADATA: usize = 24;
/// Length of a record's header.
const HEADER: usize = 4;

/// An object as the kernel names it: a file system and a handle in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId<'a> {
    /// The file system, as in statfs.
    pub fsid: [i32; 2],
    /// `handle_type`: the file system's own number for the layout of the handle.
    pub kind: i32,
    /// `f_handle`.
    pub handle: &'a [u8],
}

/// A directory and, where the kernel gave one, a name in it; `.` is the directory itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The directory.
    pub dir: FileId<'a>,
    /// The name, without its NUL and never empty.
    pub name: Option<&'a [u8]>,
}

/// One event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// FAN_* bits, of several operations ORed together where they merged.
    pub mask: u64,
    /// Where it happened.
    pub at: Option<Named<'a>>,
    /// For a rename, the name that went.
    pub from: Option<Named<'a>>,
    /// For a rename, the name that came.
    pub to: Option<Named<'a>>,
    /// What it happened to.
    pub object: Option<FileId<'a>>,
}

/// Why bytes are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The rest of the buffer cannot be divided into events; there are no more after this.
    #[error("an event's length is impossible")]
    Length,
    /// The kernel speaks another version of the format; there are no more after this.
    #[error("fanotify metadata version {0} is unknown")]
    Version(u8),
    /// One event's records do not fit into it; the next event is sound.
    #[error("a record of an event is malformed")]
    Record,
}

/// The events of a read buffer, in the kernel's order.
#[must_use]
pub fn parse(bytes: &[u8]) -> Events<'_> {
    Events { rest: bytes }
}

/// Iterator over the events of a read buffer.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match split(self.rest) {
            Ok((event, rest)) => {
                self.rest = rest;
                Some(event)
            }
            Err(malformed) => {
                self.rest = &[];
                Some(Err(malformed))
            }
        }
    }
}

type Parsed<'a> = Result<Event<'a>, Malformed>;

/// The first event of `bytes` and what follows it, which is always shorter.
fn split(bytes: &[u8]) -> Result<(Parsed<'_>, &[u8]), Malformed> {
    let length = u32_at(bytes, 0).ok_or(Malformed::Length)? as usize;
    let version = *bytes.get(4).ok_or(Malformed::Length)?;
    if version != VERSION {
        return Err(Malformed::Version(version));
    }
    let metadata = usize::from(u16_at(bytes, 6).ok_or(Malformed::Length)?);
    if metadata < METADATA || length < metadata || length > bytes.len() {
        return Err(Malformed::Length);
    }
    let (event, rest) = bytes.split_at(length);
    let mask = u64_at(event, 8).ok_or(Malformed::Length)?;
    Ok((records(mask, &event[metadata..]).ok_or(Malformed::Record), rest))
}

/// The event of `mask` with these records; those of unknown types are passed over by their length.
fn records(mask: u64, mut bytes: &[u8]) -> Option<Event<'_>> {
    let mut event = Event { mask, ..Event::default() };
    while !bytes.is_empty() {
        let kind = *bytes.first()?;
        let length = usize::from(u16_at(bytes, 2)?);
        if length < HEADER {
            return None;
        }
        let body = bytes.get(HEADER..length)?;
        match kind {
            libc::FAN_EVENT_INFO_TYPE_FID => event.object = Some(file_id(body)?.0),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => event.at = Some(named(body)?),
            libc::FAN_EVENT_INFO_TYPE_DFID => event.at = Some(Named { dir: file_id(body)?.0, name: None }),
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => event.from = Some(named(body)?),
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => event.to = Some(named(body)?),
            _ => {}
        }
        bytes = bytes.get(length..)?;
    }
    Some(event)
}

fn named(body: &[u8]) -> Option<Named<'_>> {
    let (dir, rest) = file_id(body)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let name = rest.get(..end).filter(|name| !name.is_empty());
    Some(Named { dir, name })
}

/// The file id that `body` begins with, and what follows it.
fn file_id(body: &[u8]) -> Option<(FileId<'_>, &[u8])> {
    let fsid = [u32_at(body, 0)?.cast_signed(), u32_at(body, 4)?.cast_signed()];
    let length = u32_at(body, 8)? as usize;
    let kind = u32_at(body, 12)?.cast_signed();
    let (handle, rest) = body.get(16..)?.split_at_checked(length)?;
    Some((FileId { fsid, kind, handle }, rest))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}
