//! Out of frames. Believes nothing of what came.

use record::{Category, Digest, DigestKind, EntryId, Kind, Stat, Time, VolumeId};

use super::{END, FAILED, Frame, Garbled, MOMENT, MOST, ROOT, ROOT_END, ROWS, VERSION};
use crate::entry::{Entry, Facts};

/// Bytes before the rest of a frame.
const HEAD: usize = 5;

/// Puts frames together from bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Frames {
    kept: Vec<u8>,
}

impl Frames {
    /// Takes a piece; calls `each` with every frame that is whole by then.
    ///
    /// # Errors
    /// For bytes that are no frames, and what `each` answers.
    pub fn feed<E: From<Garbled>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = std::mem::take(&mut self.kept);
        let joined = !kept.is_empty();
        if joined {
            kept.extend_from_slice(bytes);
        }
        let mut rest: &[u8] = if joined { &kept } else { bytes };
        while let Some((kind, body, after)) = split(rest)? {
            each(frame(kind, body)?)?;
            rest = after;
        }
        self.kept = rest.to_vec();
        Ok(())
    }

    /// Whether it stands between two frames.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What a frame is, the rest of it, and what comes after.
type Split<'a> = (u8, &'a [u8], &'a [u8]);

fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, Garbled> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    if ![MOMENT, ROOT, ROWS, ROOT_END, END, FAILED].contains(&kind) {
        return Err(Garbled::Bytes("unknown frame"));
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST {
        return Err(Garbled::Bytes("a frame is too long"));
    }
    Ok(rest.split_at_checked(length).map(|(body, after)| (kind, body, after)))
}

fn frame(kind: u8, body: &[u8]) -> Result<Frame<'_>, Garbled> {
    fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Garbled> {
        serde_json::from_slice(body).map_err(|_| Garbled::Bytes("a head is not readable"))
    }
    Ok(match kind {
        MOMENT => match body.split_first() {
            Some((&VERSION, body)) => Frame::Moment(json(body)?),
            Some((&other, _)) => return Err(Garbled::Version(other)),
            None => return Err(Garbled::Bytes("an empty head")),
        },
        ROOT => Frame::Root(json(body)?),
        ROWS => Frame::Rows(Rows { bytes: body, text: Vec::new() }),
        ROOT_END => {
            let count = body.try_into().map_err(|_| Garbled::Bytes("a count is cut off"))?;
            Frame::RootEnd(u64::from_le_bytes(count))
        }
        END => Frame::End(json(body)?),
        _ => Frame::Failed(body),
    })
}

/// The rows of one frame.
#[derive(Debug)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    text: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// Rows from `bytes`, the first of which begins with what it shares of `text`.
    pub(crate) fn after(text: Vec<u8>, bytes: &'a [u8]) -> Rows<'a> {
        Rows { bytes, text }
    }

    /// The path of the last row, and how many bytes of rows come after it.
    pub(crate) fn into_last(self) -> (Vec<u8>, usize) {
        (self.text, self.bytes.len())
    }
}

impl Rows<'_> {
    /// The next; none at the end.
    ///
    /// # Errors
    /// For bytes that are no row.
    pub fn next_row(&mut self) -> Result<Option<Entry<'_>>, Garbled> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let flags = self.byte()?;
        let has = |bit: u8| flags & (1 << bit) != 0;
        let kind = *Kind::ALL.get(usize::from(flags & 7)).ok_or(Garbled::Bytes("unknown kind"))?;
        let shared = self.length()?;
        if shared > self.text.len() {
            return Err(Garbled::Bytes("a path shares more than there is"));
        }
        let rest = self.bytes()?;
        self.text.truncate(shared);
        self.text.extend_from_slice(rest);
        let raw = if has(3) { Some(self.bytes()?) } else { None };
        let depth = self.small()?;
        let id = EntryId::new(VolumeId(self.small()?), self.number()?);
        let mode = self.small()?;
        let (uid, gid, links) = (self.small()?, self.small()?, self.small()?);
        let (size, allocated) = (self.number()?, self.number()?);
        let changed = self.signed()?;
        let modified = Time(changed.wrapping_add(self.signed()?));
        let accessed = Time(changed.wrapping_add(self.signed()?));
        let created = if has(4) { Some(Time(changed.wrapping_add(self.signed()?))) } else { None };
        let stat = Stat {
            kind,
            mode,
            uid,
            gid,
            links,
            size,
            allocated,
            modified,
            changed: Time(changed),
            accessed,
            created,
        };
        let category = if has(5) { Some(self.one_of(&Category::ALL)?) } else { None };
        let digest = if has(6) { Some(self.digest()?) } else { None };
        let digest_time = if has(7) { Some(Time(self.signed()?)) } else { None };
        let text = std::str::from_utf8(&self.text).map_err(|_| Garbled::Bytes("a path is no text"))?;
        let facts = Facts { id, stat, category, digest, digest_time };
        Ok(Some(Entry { text, raw, depth, facts }))
    }
}

impl<'a> Rows<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Garbled> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Garbled::Bytes("a row is cut off"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Garbled> {
        Ok(self.take(1)?[0])
    }

    fn wide(&mut self) -> Result<u128, Garbled> {
        // All but a few fit a word, and a word's arithmetic is several times as fast.
        let mut word = 0;
        for (at, &byte) in self.bytes.iter().take(9).enumerate() {
            word |= u64::from(byte & 127) << (7 * at);
            if byte < 128 {
                self.bytes = &self.bytes[at + 1..];
                return Ok(u128::from(word));
            }
        }
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err(Garbled::Bytes("a number is too long"))
    }

    fn number(&mut self) -> Result<u64, Garbled> {
        self.wide()?.try_into().map_err(|_| Garbled::Bytes("a number is out of range"))
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Garbled> {
        self.number()?.try_into().map_err(|_| Garbled::Bytes("a number is out of range"))
    }

    fn signed(&mut self) -> Result<i128, Garbled> {
        let number = self.wide()?;
        Ok((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    fn length(&mut self) -> Result<usize, Garbled> {
        self.small()
    }

    fn bytes(&mut self) -> Result<&'a [u8], Garbled> {
        let length = self.length()?;
        self.take(length)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, Garbled> {
        let number = self.byte()?;
        all.get(usize::from(number)).copied().ok_or(Garbled::Bytes("unknown word"))
    }

    fn digest(&mut self) -> Result<Digest, Garbled> {
        let kind = self.one_of(&DigestKind::ALL)?;
        let bytes = self.take(32)?.try_into().map_err(|_| Garbled::Bytes("a digest is cut off"))?;
        Ok(Digest { kind, bytes })
    }
}
