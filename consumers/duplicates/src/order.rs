//! Which copy is kept, and which may be joined with which. Pure: looks at nothing.

use rustix::fs::StatxAttributes;

use crate::at::Seen;
use crate::attributes::Xattrs;
use crate::{Copy, Kind, Why};

/// Inode flags that hard links would share and that say something of content or safety.
const SHARED: StatxAttributes = StatxAttributes::COMPRESSED
    .union(StatxAttributes::ENCRYPTED)
    .union(StatxAttributes::VERITY)
    .union(StatxAttributes::NODUMP)
    .union(PROTECTED);

const PROTECTED: StatxAttributes = StatxAttributes::IMMUTABLE.union(StatxAttributes::APPEND);

/// Set-user-ID and set-group-ID.
const PRIVILEGED: u16 = 0o6000;

/// Sorts copies by the right to be kept: first those that must not be replaced or would free nothing, then the oldest, then by path.
pub(crate) fn by_right<T>(kind: Kind, copies: &mut [(&Copy, Seen, T)]) {
    copies.sort_by_key(|(copy, seen, _)| {
        let stays = copy.fixed || (kind == Kind::Hard && missing(copy, seen) > 0);
        (!stays, seen.stat.modified, copy.names.first())
    });
}

/// Names of the file that are not known.
fn missing(copy: &Copy, seen: &Seen) -> u32 {
    seen.stat.links.saturating_sub(u32::try_from(copy.names.len()).unwrap_or(u32::MAX))
}

/// Whether a copy may be replaced by a hard link at all.
pub(crate) fn may_go(copy: &Copy, seen: &Seen) -> Result<(), Why> {
    if seen.mount_root {
        return Err(Why::MountPoint);
    }
    if seen.flags.intersects(PROTECTED) {
        return Err(Why::Protected);
    }
    if seen.stat.mode & PRIVILEGED != 0 {
        return Err(Why::Privileged);
    }
    match missing(copy, seen) {
        0 => Ok(()),
        more => Err(Why::Names(more)),
    }
}

/// Whether `copy` may become a hard link of `kept`: what hard links share is equal.
pub(crate) fn fits(kept: (&Seen, &Xattrs), copy: (&Seen, &Xattrs)) -> Result<(), Why> {
    let ((kept, kept_xattrs), (copy, copy_xattrs)) = (kept, copy);
    let stats = (&kept.stat, &copy.stat);
    if (kept.device, kept.mount) != (copy.device, copy.mount) {
        return Err(Why::Elsewhere);
    }
    if (stats.0.uid, stats.0.gid) != (stats.1.uid, stats.1.gid) {
        return Err(Why::Owner);
    }
    if stats.0.mode != stats.1.mode {
        return Err(Why::Mode);
    }
    if kept.flags & SHARED != copy.flags & SHARED {
        return Err(Why::Flags);
    }
    if kept_xattrs != copy_xattrs {
        return Err(Why::Xattrs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use record::{Kind as Sort, Stat, Time};

    use super::*;

    fn seen(inode: u64, modified: i128, links: u32) -> Seen {
        let time = Time(modified);
        Seen {
            device: 1,
            mount: 1,
            mount_root: false,
            inode,
            flags: StatxAttributes::empty(),
            stat: Stat {
                kind: Sort::File,
                mode: 0o644,
                uid: 1,
                gid: 1,
                links,
                size: 1,
                allocated: 4096,
                modified: time,
                changed: time,
                accessed: time,
                created: None,
            },
        }
    }

    fn copy(name: u8, fixed: bool) -> Copy {
        Copy { names: vec![vec![b'/', name]], fixed }
    }

    proptest! {
        #[test]
        fn the_order_is_one_whatever_the_input(made in prop::collection::vec((0..4u8, 0..3i128, 1..3u32, any::<bool>()), 1..12), turn in any::<prop::sample::Index>()) {
            let copies: Vec<(Copy, Seen)> = made.iter().enumerate()
                .map(|(nth, (_, modified, links, fixed))| (copy(nth as u8 + 1, *fixed), seen(nth as u64, *modified, *links)))
                .collect();
            let order = |kind, by: usize| {
                let mut all: Vec<_> = copies.iter().map(|(copy, seen)| (copy, *seen, ())).collect();
                let length = all.len();
                all.rotate_left(by % length);
                by_right(kind, &mut all);
                all.iter().map(|(_, seen, ())| seen.inode).collect::<Vec<_>>()
            };
            for kind in [Kind::Hard, Kind::Reflink] {
                let first = order(kind, 0);
                prop_assert_eq!(&first, &order(kind, turn.index(copies.len())));
                let kept = &copies[first[0] as usize];
                let stays = |(copy, seen): &(Copy, Seen)| copy.fixed || (kind == Kind::Hard && seen.stat.links > 1);
                // The kept one is the oldest of those that stay anyway, or the oldest of all where none does.
                for other in copies.iter().filter(|other| stays(other) || !stays(kept)) {
                    prop_assert!(stays(kept) || !stays(other));
                    prop_assert!(kept.1.stat.modified <= other.1.stat.modified);
                }
            }
        }
    }

    #[test]
    fn what_hard_links_share_must_be_equal() {
        let (kept, none) = (seen(1, 0, 1), Xattrs::new());
        let with = |change: &dyn Fn(&mut Seen)| {
            let mut copy = seen(2, 9, 1);
            change(&mut copy);
            fits((&kept, &none), (&copy, &none))
        };
        assert!(with(&|_| ()).is_ok());
        assert!(matches!(with(&|seen| seen.device = 2), Err(Why::Elsewhere)));
        assert!(matches!(with(&|seen| seen.mount = 2), Err(Why::Elsewhere)));
        assert!(matches!(with(&|seen| seen.stat.uid = 2), Err(Why::Owner)));
        assert!(matches!(with(&|seen| seen.stat.gid = 2), Err(Why::Owner)));
        assert!(matches!(with(&|seen| seen.stat.mode = 0o600), Err(Why::Mode)));
        assert!(matches!(with(&|seen| seen.flags = StatxAttributes::VERITY), Err(Why::Flags)));
        let tagged = vec![(b"user.tag".to_vec(), b"1".to_vec())];
        assert!(matches!(fits((&kept, &none), (&kept, &tagged)), Err(Why::Xattrs)));
    }

    #[test]
    fn what_must_not_be_replaced() {
        let go = |change: &dyn Fn(&mut Seen)| {
            let mut one = seen(1, 0, 1);
            change(&mut one);
            may_go(&copy(b'a', false), &one)
        };
        assert!(go(&|_| ()).is_ok());
        assert!(matches!(go(&|seen| seen.stat.links = 3), Err(Why::Names(2))));
        assert!(matches!(go(&|seen| seen.stat.mode = 0o4755), Err(Why::Privileged)));
        assert!(matches!(go(&|seen| seen.flags = StatxAttributes::APPEND), Err(Why::Protected)));
        assert!(matches!(go(&|seen| seen.mount_root = true), Err(Why::MountPoint)));
    }
}
