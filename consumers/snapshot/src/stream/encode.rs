//! Into frames.

use std::ops::Range;

use super::{END, Ending, FULL, MOMENT, Moment, ROOT, ROOT_END, ROWS, RootHead, VERSION};
use crate::entry::Entry;

/// Takes frames; answers false when nobody listens any more.
pub type Emit<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

/// Tells a snapshot. Each of its verbs answers false when nobody listens any more.
pub struct Teller<'a> {
    emit: Emit<'a>,
    rows: Vec<u8>,
    /// The path before, in this frame.
    before: Vec<u8>,
    count: u64,
}

impl<'a> Teller<'a> {
    /// Tells to `emit`.
    #[must_use]
    pub fn new(emit: Emit<'a>) -> Teller<'a> {
        Teller { emit, rows: Vec::with_capacity(FULL + 4096), before: Vec::new(), count: 0 }
    }

    /// Of which moment it is.
    pub fn moment(&mut self, moment: &Moment) -> bool {
        let mut rest = vec![VERSION];
        rest.extend(serde_json::to_vec(moment).unwrap_or_default());
        self.send(MOMENT, &rest)
    }

    /// A root begins.
    pub fn root(&mut self, root: &RootHead) -> bool {
        self.count = 0;
        self.send(ROOT, &serde_json::to_vec(root).unwrap_or_default())
    }

    /// A row of it.
    pub fn row(&mut self, entry: &Entry<'_>) -> bool {
        put_row(&mut self.rows, &self.before, entry);
        self.before.clear();
        self.before.extend_from_slice(entry.text.as_bytes());
        self.count += 1;
        self.rows.len() < FULL || self.flush()
    }

    /// All of it was told.
    pub fn end_root(&mut self) -> bool {
        self.flush() && self.send(ROOT_END, &self.count.to_le_bytes())
    }

    /// All was told.
    pub fn end(&mut self, ending: Ending) -> bool {
        self.send(END, &serde_json::to_vec(&ending).unwrap_or_default())
    }

    fn flush(&mut self) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let rows = std::mem::take(&mut self.rows);
        self.before.clear();
        let more = self.send(ROWS, &rows);
        self.rows = rows;
        self.rows.clear();
        more
    }

    fn send(&mut self, kind: u8, rest: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(rest.len() + 5);
        put_frame(&mut frame, kind, rest);
        (self.emit)(frame)
    }
}

pub(super) fn put_frame(out: &mut Vec<u8>, kind: u8, rest: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u32::try_from(rest.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(rest);
}

/// A row by itself, of which nothing stands elsewhere. Answers where its text is.
pub(crate) fn put_whole_row(out: &mut Vec<u8>, entry: &Entry<'_>) -> Range<usize> {
    let at = out.len();
    put_row(out, &[], entry);
    let length = entry.text.len();
    // After the flags and what is shared, which is nothing, the length stands in sevens of bits.
    let digits = (usize::BITS - (length | 1).leading_zeros()).div_ceil(7) as usize;
    let text = at + 2 + digits;
    text..text + length
}

/// A row after one with the path `before`.
pub(crate) fn put_row(out: &mut Vec<u8>, before: &[u8], entry: &Entry<'_>) {
    let Entry { text, raw, depth, facts } = entry;
    let stat = &facts.stat;
    let flag = |on: bool, bit: u8| if on { 1 << bit } else { 0 };
    out.push(
        stat.kind as u8
            | flag(raw.is_some(), 3)
            | flag(stat.created.is_some(), 4)
            | flag(facts.category.is_some(), 5)
            | flag(facts.digest.is_some(), 6)
            | flag(facts.digest_time.is_some(), 7),
    );
    let text = text.as_bytes();
    let shared = shared(text, before);
    put(out, shared as u64);
    put_bytes(out, &text[shared..]);
    if let Some(raw) = raw {
        put_bytes(out, raw);
    }
    put(out, u64::from(*depth));
    put(out, u64::from(facts.id.volume.0));
    put(out, facts.id.inode);
    put(out, u64::from(stat.mode));
    put(out, u64::from(stat.uid));
    put(out, u64::from(stat.gid));
    put(out, u64::from(stat.links));
    put(out, stat.size);
    put(out, stat.allocated);
    put_signed(out, stat.changed.0);
    // Wrapping both ways: damaged rows may hold any times.
    put_signed(out, stat.modified.0.wrapping_sub(stat.changed.0));
    put_signed(out, stat.accessed.0.wrapping_sub(stat.changed.0));
    if let Some(created) = stat.created {
        put_signed(out, created.0.wrapping_sub(stat.changed.0));
    }
    out.extend(facts.category.map(|category| category as u8));
    if let Some(digest) = facts.digest {
        out.push(digest.kind as u8);
        out.extend_from_slice(&digest.bytes);
    }
    if let Some(time) = facts.digest_time {
        put_signed(out, time.0);
    }
}

/// How many bytes two begin with alike.
fn shared(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = 8;
    let words = one.chunks_exact(WORD).zip(other.chunks_exact(WORD)).take_while(|(one, other)| one == other);
    let at = words.count() * WORD;
    at + one[at..].iter().zip(&other[at..]).take_while(|(one, other)| one == other).count()
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    if number < 128 {
        return out.push(number as u8);
    }
    let (mut bytes, mut length) = ([0; 10], 0);
    while number >= 128 {
        bytes[length] = number as u8 | 128;
        number >>= 7;
        length += 1;
    }
    bytes[length] = number as u8;
    out.extend_from_slice(&bytes[..=length]);
}

fn put_signed(out: &mut Vec<u8>, number: i128) {
    // Zigzag: small numbers of either sign are short.
    let mut number = (number.wrapping_shl(1) ^ (number >> 127)) as u128;
    // All but a few fit a word, and a word's arithmetic is several times as fast.
    if let Ok(word) = u64::try_from(number) {
        return put(out, word);
    }
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
