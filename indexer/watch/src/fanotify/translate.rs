//! Turns one fanotify event into hints. Decides nothing about files; drops only what is out of scope.

#[cfg(test)]
mod tests;

use super::inode::InodeOf;
use super::parse::{Event, FileId, Named};
use crate::reader::{Counts, bump};
use crate::{Flags, Handle, Hint, What};
use libc::{
    FAN_ATTRIB, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE, FAN_DELETE_SELF, FAN_MODIFY, FAN_MOVE_SELF,
    FAN_ONDIR, FAN_Q_OVERFLOW, FAN_RENAME,
};
use record::{How, VolumeId};

/// What a group asks the kernel for.
///
/// Not MOVED_FROM and MOVED_TO nor the *_SELF events: a rename would be four events instead of one.
pub(super) const MASK: u64 =
    FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR;

/// What a mark on one directory asks for: also the ends of the directory itself, with which the mark ends, and moves
/// of it, which a root's unwatched parent does not tell. Files have none of these events.
pub(super) const DIRECTORY_MASK: u64 = MASK | libc::FAN_EVENT_ON_CHILD | FAN_DELETE_SELF | FAN_MOVE_SELF;

/// Which events are whose.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The trees of inode numbers (btrfs subvolumes) that are volumes of ours; elsewhere one, numbered 0.
    pub(super) trees: Vec<(u64, VolumeId)>,
    /// Directories whose events are nobody's business: (volume, inode).
    pub(super) ignored: Vec<(VolumeId, u64)>,
    /// Whether handles can be opened, so that hints should carry them.
    pub(super) openable: bool,
    /// Whether a link that comes or goes changes its file without an event of the file's own: so it is where
    /// directories are marked one by one. The file system's mark tells of it.
    pub(super) links_are_silent: bool,
}

impl Scope {
    fn volume(&self, tree: u64) -> Option<VolumeId> {
        self.trees.iter().find(|(known, _)| *known == tree).map(|(_, volume)| *volume)
    }
}

/// A directory that an event names, in a volume of ours.
struct Place {
    volume: VolumeId,
    dir: u64,
    handle: Option<Handle>,
}

/// Pushes the hints of `event`. `inode_of` tells which inode a file id means, `None` when it is gone.
///
/// A name in an event is a label: of a file opened by a name that went while others remained it still tells
/// that one. So a write or a change of metadata hints at the object as well, unless the event itself tells that
/// the name was made and not removed since.
pub(super) fn translate(
    event: &Event<'_>,
    scope: &Scope,
    mut inode_of: impl FnMut(FileId<'_>) -> Option<InodeOf>,
    counts: &Counts,
    hints: &mut Vec<Hint>,
) {
    if event.mask & FAN_Q_OVERFLOW != 0 {
        bump(&counts.overflows);
        return lost(scope, "the kernel's queue of events overflowed", hints);
    }
    let object = event.object.and_then(&mut inode_of);
    let flags = flags(event.mask);
    if event.mask & FAN_RENAME != 0 {
        for named in [event.from, event.to].into_iter().flatten() {
            if let Some(place) = place(named, scope, &mut inode_of, counts) {
                entry(place, named, flags, hints);
            }
        }
        return inode(object, scope, flags, counts, hints);
    }
    let Some(named) = event.at else {
        return inode(object, scope, flags, counts, hints);
    };
    let Some(place) = place(named, scope, &mut inode_of, counts) else {
        // A file that was opened by a name in a directory that is gone may live on under another.
        if inode_of(named.dir).is_none() {
            inode(object, scope, flags.without(Flags::NAMED), counts, hints);
        }
        return;
    };
    let volume = place.volume;
    let name = named.name.unwrap_or(b".");
    if name == b"." {
        let what = What::Inode(place.dir);
        hints.push(Hint { volume, what, flags, handle: None, how: How::Fanotify });
        return;
    }
    let made = event.mask & FAN_CREATE != 0;
    let gone = event.mask & FAN_DELETE != 0;
    let unlinked = object.is_some_and(|object| is_unlinked_name(name, object.inode));
    if made || gone || !unlinked {
        entry(place, named, flags, hints);
    }
    let touched = flags.any(Flags::WRITTEN | Flags::CLOSED | Flags::META);
    // Of the name that came or went, others of the file may remain, with another link count and change time.
    let linked = scope.links_are_silent && (made || gone) && event.mask & FAN_ONDIR == 0;
    if linked {
        inode(object, scope, flags.without(Flags::NAMED) | Flags::META, counts, hints);
    } else if unlinked || (touched && (gone || !made)) {
        inode(object, scope, flags.without(Flags::NAMED), counts, hints);
    }
}

/// The hints that everything this group watches is lost.
pub(super) fn lost(scope: &Scope, why: &str, hints: &mut Vec<Hint>) {
    for (_, volume) in &scope.trees {
        let what = What::Lost { why: why.to_owned() };
        hints.push(Hint { volume: *volume, what, flags: Flags::NONE, handle: None, how: How::Fanotify });
    }
}

fn flags(mask: u64) -> Flags {
    const TABLE: [(u64, Flags); 6] = [
        (FAN_DELETE_SELF | FAN_MOVE_SELF, Flags::META),
        (FAN_MODIFY, Flags::WRITTEN),
        (FAN_CLOSE_WRITE, Flags::CLOSED),
        (FAN_ATTRIB, Flags::META),
        (FAN_CREATE | FAN_DELETE | FAN_RENAME, Flags::NAMED),
        (FAN_RENAME, Flags::MOVED),
    ];
    let mut flags = Flags::NONE;
    for (bits, flag) in TABLE {
        if mask & bits != 0 {
            flags |= flag;
        }
    }
    if mask & FAN_ONDIR != 0 && flags.has(Flags::NAMED) {
        flags |= Flags::DIRECTORY;
    }
    flags
}

/// Whether `name` is what the kernel calls an O_TMPFILE: `#` and its inode number, also after it was linked.
fn is_unlinked_name(name: &[u8], inode: u64) -> bool {
    name.strip_prefix(b"#")
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .is_some_and(|digits| digits == inode.to_string())
}

/// The directory of `named`; `None` when it is gone or out of scope.
fn place(
    named: Named<'_>,
    scope: &Scope,
    inode_of: &mut impl FnMut(FileId<'_>) -> Option<InodeOf>,
    counts: &Counts,
) -> Option<Place> {
    // A directory that is gone: its parent's hint covers that.
    let of = inode_of(named.dir)?;
    let Some(volume) = scope.volume(of.tree) else {
        bump(&counts.foreign);
        return None;
    };
    if scope.ignored.contains(&(volume, of.inode)) {
        bump(&counts.ignored);
        return None;
    }
    let handle = scope.openable.then(|| Handle::new(named.dir.kind, named.dir.handle));
    Some(Place { volume, dir: of.inode, handle })
}

fn entry(place: Place, named: Named<'_>, flags: Flags, hints: &mut Vec<Hint>) {
    let Place { volume, dir, handle } = place;
    let what = match named.name {
        Some(name) => What::Entry { dir, name: name.into() },
        None => What::Listing(dir),
    };
    hints.push(Hint { volume, what, flags, handle, how: How::Fanotify });
}

fn inode(object: Option<InodeOf>, scope: &Scope, flags: Flags, counts: &Counts, hints: &mut Vec<Hint>) {
    let Some(object) = object else { return };
    match scope.volume(object.tree) {
        Some(volume) => hints.push(Hint {
            volume,
            what: What::Inode(object.inode),
            flags,
            handle: None,
            how: How::Fanotify,
        }),
        None => bump(&counts.foreign),
    }
}
