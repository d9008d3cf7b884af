//! Turns inotify events into hints. Decides nothing about files; drops only what no watch explains.

use super::heat::Heat;
use super::parse::{Event, parse};
use super::table::Table;
use crate::reader::{Counts, bump};
use crate::{Flags, Hint, What};
use libc::{
    IN_ATTRIB, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_MODIFY, IN_MOVE_SELF,
    IN_MOVED_FROM, IN_MOVED_TO, IN_Q_OVERFLOW, IN_UNMOUNT,
};
use record::{EntryId, How, Name, VolumeId};
use std::collections::VecDeque;

/// Most first halves of renames that are remembered for their second.
const MOST: usize = 1024;

/// First halves of renames of this read and the one before.
///
/// They were hinted at when they came, so one that is forgotten is only not known as moved.
#[derive(Debug, Default)]
pub(super) struct Halves {
    recent: VecDeque<(u32, EntryId, Name)>,
    /// How many of them are of the read before.
    old: usize,
}

/// Pushes the hints of one read, made at `now`.
pub(super) fn translate(
    bytes: &[u8],
    now: Heat,
    table: &mut Table,
    halves: &mut Halves,
    counts: &Counts,
    hints: &mut Vec<Hint>,
) {
    halves.recent.drain(..halves.old);
    halves.old = halves.recent.len();
    for dir in table.take_ousted() {
        push(dir.volume, What::Listing(dir.inode), Flags::NONE, hints);
        push(dir.volume, What::Inode(dir.inode), Flags::META, hints);
    }
    for event in parse(bytes) {
        bump(&counts.events);
        match event {
            Ok(event) => one(&event, now, table, halves, counts, hints),
            Err(()) => {
                bump(&counts.malformed);
                lost(table, "an inotify event was malformed", hints);
            }
        }
    }
}

/// The hints that everything watched here is lost.
pub(super) fn lost(table: &Table, why: &str, hints: &mut Vec<Hint>) {
    for volume in table.volumes() {
        push(volume, What::Lost { why: why.to_owned() }, Flags::NONE, hints);
    }
}

fn one(
    event: &Event<'_>,
    now: Heat,
    table: &mut Table,
    halves: &mut Halves,
    counts: &Counts,
    hints: &mut Vec<Hint>,
) {
    if event.mask & IN_Q_OVERFLOW != 0 {
        bump(&counts.overflows);
        table.overflowed();
        return lost(table, "the kernel's queue of events overflowed", hints);
    }
    let Some(dir) = table.dir(event.wd, now) else {
        bump(&counts.foreign);
        return;
    };
    if event.mask & IN_UNMOUNT != 0 {
        push(dir.volume, What::Lost { why: "it was unmounted".to_owned() }, Flags::NONE, hints);
    }
    if event.mask & IN_IGNORED != 0 {
        table.ignored(event.wd);
        return;
    }
    let mut flags = flags(event.mask);
    if event.name.is_empty() {
        if !flags.is_empty() {
            push(dir.volume, What::Inode(dir.inode), flags, hints);
        }
        return;
    }
    if event.mask & IN_MOVED_TO != 0
        && let Some((from, name)) = halves.of(event.cookie)
    {
        flags |= Flags::MOVED;
        push(from.volume, What::Entry { dir: from.inode, name }, Flags::NAMED | Flags::MOVED, hints);
    }
    if event.mask & IN_MOVED_FROM != 0 {
        halves.add(event.cookie, dir, event.name.into());
    }
    push(dir.volume, What::Entry { dir: dir.inode, name: event.name.into() }, flags, hints);
}

impl Halves {
    fn add(&mut self, cookie: u32, dir: EntryId, name: Name) {
        if self.recent.len() == MOST {
            self.recent.pop_front();
            self.old = self.old.saturating_sub(1);
        }
        self.recent.push_back((cookie, dir, name));
    }

    /// The first half with this cookie; mostly it is the newest.
    fn of(&mut self, cookie: u32) -> Option<(EntryId, Name)> {
        let at = self.recent.iter().rposition(|(known, ..)| *known == cookie)?;
        if at < self.old {
            self.old -= 1;
        }
        self.recent.remove(at).map(|(_, dir, name)| (dir, name))
    }
}

fn flags(mask: u32) -> Flags {
    const TABLE: [(u32, Flags); 5] = [
        (IN_MODIFY, Flags::WRITTEN),
        (IN_CLOSE_WRITE, Flags::CLOSED),
        (IN_ATTRIB, Flags::META),
        (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO, Flags::NAMED),
        (IN_DELETE_SELF | IN_MOVE_SELF, Flags::META),
    ];
    let mut flags = Flags::NONE;
    for (bits, flag) in TABLE {
        if mask & bits != 0 {
            flags |= flag;
        }
    }
    flags
}

fn push(volume: VolumeId, what: What, flags: Flags, hints: &mut Vec<Hint>) {
    hints.push(Hint { volume, what, flags, handle: None, how: How::Inotify });
}
