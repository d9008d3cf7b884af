//! Splits what a read of an inotify queue gave into events. Pure and total, like fanotify's parser.
//!
//! ```text
//! event    i32 wd · u32 mask · u32 cookie · u32 n · u8 name[n], NUL and padding included
//! ```

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// The watch; -1 for an overflow.
    pub(super) wd: i32,
    /// IN_* bits.
    pub(super) mask: u32,
    /// Ties the halves of a rename together.
    pub(super) cookie: u32,
    /// The name, without its NULs; empty for the watched directory itself.
    pub(super) name: &'a [u8],
}

/// The events of a read buffer; `Err` once, as the last, when the rest is none.
pub(super) fn parse(mut rest: &[u8]) -> impl Iterator<Item = Result<Event<'_>, ()>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((event, after)) = split(rest) else {
            rest = &[];
            return Some(Err(()));
        };
        rest = after;
        Some(Ok(event))
    })
}

fn split(bytes: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let wd = u32_at(bytes, 0)?.cast_signed();
    let (mask, cookie, length) = (u32_at(bytes, 4)?, u32_at(bytes, 8)?, u32_at(bytes, 12)?);
    let (name, after) = bytes.get(16..)?.split_at_checked(length as usize)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some((Event { wd, mask, cookie, name: &name[..end] }, after))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
