//! Which inode a file handle means, where its layout is known; this saves a system call an event.
//! Opens nothing: whether the layouts hold on a file system is tried out when its group is armed.

use super::parse::FileId;

/// An inode by number, in a tree of inode numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InodeOf {
    /// The inode number.
    pub(super) inode: u64,
    /// On btrfs the id of the subvolume's root, since every subvolume numbers its inodes from 256; else 0.
    pub(super) tree: u64,
}

/// FILEID_INO32_GEN and, with the parent's pair behind it, FILEID_INO32_GEN_PARENT: ext4, f2fs and xfs without
/// 64-bit numbers. tmpfs uses the first with a layout of its own.
const INO32: [i32; 2] = [1, 2];
/// FILEID_INO64_GEN and FILEID_INO64_GEN_PARENT: xfs, and in recent kernels file systems without NFS export.
const INO64: [i32; 2] = [0x81, 0x82];
/// FILEID_BTRFS_WITHOUT_PARENT, _WITH_PARENT and _WITH_PARENT_ROOT.
const BTRFS: [i32; 3] = [0x4d, 0x4e, 0x4f];

/// The inode of `id`, if the layout is known.
pub(super) fn decode(id: FileId<'_>) -> Option<InodeOf> {
    let (kind, bytes) = (id.kind, id.handle);
    let plain = |inode| Some(InodeOf { inode, tree: 0 });
    match bytes.len() {
        // tmpfs: generation, low half, high half.
        12 if kind == INO32[0] => plain(u64::from(u32_at(bytes, 4)?) | u64::from(u32_at(bytes, 8)?) << 32),
        // inode, generation[, parent's inode, generation].
        8.. if INO32.contains(&kind) => plain(u64::from(u32_at(bytes, 0)?)),
        12.. if INO64.contains(&kind) => plain(u64_at(bytes, 0)?),
        // object id, root's object id, generation[, the parent's].
        20.. if BTRFS.contains(&kind) => Some(InodeOf { inode: u64_at(bytes, 0)?, tree: u64_at(bytes, 8)? }),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(kind: i32, words: &[u32]) -> Option<(u64, u64)> {
        let handle: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        decode(FileId { fsid: [0; 2], kind, handle: &handle }).map(|of| (of.inode, of.tree))
    }

    #[test]
    fn each_file_system_has_its_layout() {
        assert_eq!(inode(1, &[12, 77]), Some((12, 0)), "ext4");
        assert_eq!(inode(2, &[12, 77, 2, 78]), Some((12, 0)), "ext4, connectable");
        assert_eq!(inode(1, &[77, 12, 3]), Some((3 << 32 | 12, 0)), "tmpfs");
        #[cfg(target_endian = "little")]
        {
            assert_eq!(inode(0x81, &[12, 3, 77]), Some((3 << 32 | 12, 0)), "xfs");
            assert_eq!(inode(0x4d, &[257, 0, 5, 0, 77]), Some((257, 5)), "btrfs");
            assert_eq!(inode(0x4e, &[257, 0, 5, 0, 77, 256, 0, 78]), Some((257, 5)), "btrfs, connectable");
        }
    }

    #[test]
    fn what_is_unknown_or_short_has_no_inode() {
        assert_eq!(inode(0xf8, &[1, 2, 3, 4, 5, 6]), None, "overlayfs");
        assert_eq!(inode(0, &[]), None, "none");
        assert_eq!(inode(1, &[12]), None);
        assert_eq!(inode(0x81, &[12, 3]), None);
        assert_eq!(inode(0x4d, &[257, 0, 5, 0]), None);
    }
}
