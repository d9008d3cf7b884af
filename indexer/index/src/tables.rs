//! The tables: what is keyed by what. Drawn in `docs/formats/index.md`.

use reconcile::Target;
use record::{EntryId, Place, VolumeId};
use redb::TableDefinition;

/// (volume, inode) → row.
pub(crate) const ENTRIES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("entries");
/// volume, directory inode, name → volume (with [`DIRECTORY`]) and inode.
pub(crate) const NAMES: TableDefinition<&[u8], (u32, u64)> = TableDefinition::new("names");
/// volume, inode, directory volume, directory inode, name → nothing; for entries with several names.
pub(crate) const LINKS: TableDefinition<&[u8], ()> = TableDefinition::new("links");
/// (volume, directory inode) → totals.
pub(crate) const TOTALS: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("totals");
/// (volume, inode) → where a nameless entry was.
pub(crate) const DETACHED: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("detached");
/// first seq → block of records.
pub(crate) const JOURNAL: TableDefinition<u64, &[u8]> = TableDefinition::new("journal");
/// consumer → last seq it is done with.
pub(crate) const CURSORS: TableDefinition<&str, u64> = TableDefinition::new("cursors");
/// (size, volume, inode) → nothing; of regular files that are not empty.
pub(crate) const SIZES: TableDefinition<(u64, u32, u64), ()> = TableDefinition::new("sizes");
/// digest's kind and bytes, volume, inode → size; of current digests.
pub(crate) const DIGESTS: TableDefinition<(u8, [u8; 32], u32, u64), u64> = TableDefinition::new("digests");
/// digest's kind and bytes → size, how many files have it, and how many of them are known to lie where; of two or more.
pub(crate) const SETS: TableDefinition<(u8, [u8; 32]), (u64, u64, u64)> = TableDefinition::new("sets");
/// (volume, inode) → since when the file waits to be read, in milliseconds since 1970.
pub(crate) const PENDING: TableDefinition<(u32, u64), i64> = TableDefinition::new("digest_pending");
/// (volume, inode) → what else is known of the content.
pub(crate) const NOTES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("contents");
/// (volume, inode) → what a content was before it rotted.
pub(crate) const ROTTEN: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("rotten");
/// (volume, directory inode) → its digest and what lies below it, or the name that it lacks for that.
pub(crate) const TREES: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("trees");
/// a directory's digest, volume, inode → bytes below.
pub(crate) const TREE_DIGESTS: TableDefinition<([u8; 32], u32, u64), u64> =
    TableDefinition::new("tree_digests");
/// (volume, inode) of directories that are to be looked through → the turn that said so.
pub(crate) const TREES_DUE: TableDefinition<(u32, u64), u64> = TableDefinition::new("trees_due");
/// volume → what file system it is.
pub(crate) const VOLUMES: TableDefinition<u32, &[u8]> = TableDefinition::new("volumes");
/// root → path, top entry, options, state.
pub(crate) const ROOTS: TableDefinition<u32, &[u8]> = TableDefinition::new("roots");
/// (volume, directory inode) → why it cannot be vouched for, and since when.
pub(crate) const COVERAGE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("coverage");
/// word → number: format, last seq, journal bytes, next numbers.
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Set in the volume of a names value when the entry is a directory: walking down reads no file's row.
const DIRECTORY: u32 = 1 << 31;

/// The key of a row.
pub(crate) fn key(id: EntryId) -> (u32, u64) {
    (id.volume.0, id.inode)
}

pub(crate) fn id(key: (u32, u64)) -> EntryId {
    EntryId::new(VolumeId(key.0), key.1)
}

pub(crate) fn target_value(target: Target) -> (u32, u64) {
    let volume = target.id.volume.0;
    debug_assert!(volume < DIRECTORY, "volume numbers stay below 2^31");
    (volume | if target.directory { DIRECTORY } else { 0 }, target.id.inode)
}

pub(crate) fn target((volume, inode): (u32, u64)) -> Target {
    Target { id: EntryId::new(VolumeId(volume & !DIRECTORY), inode), directory: volume & DIRECTORY != 0 }
}

/// The first 12 bytes of all names in `dir`.
pub(crate) fn dir_prefix(dir: EntryId) -> [u8; 12] {
    let mut prefix = [0; 12];
    prefix[..4].copy_from_slice(&dir.volume.0.to_be_bytes());
    prefix[4..].copy_from_slice(&dir.inode.to_be_bytes());
    prefix
}

/// The least prefix after all names in `dir`; `None` after the last directory there can be.
pub(crate) fn dir_prefix_end(dir: EntryId) -> Option<[u8; 12]> {
    let number = (u128::from(dir.volume.0) << 64) | u128::from(dir.inode);
    let next = number + 1;
    if next >> 96 != 0 {
        return None;
    }
    let mut end = [0; 12];
    end.copy_from_slice(&next.to_be_bytes()[4..]);
    Some(end)
}

/// The names key of `name` in `dir`.
pub(crate) fn name_key(dir: EntryId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(12 + name.len());
    key.extend_from_slice(&dir_prefix(dir));
    key.extend_from_slice(name);
    key
}

/// The directory and name behind a names key; `None` for a key too short to be one.
pub(crate) fn split_name_key(key: &[u8]) -> Option<(EntryId, &[u8])> {
    let (volume, rest) = key.split_first_chunk::<4>()?;
    let (inode, name) = rest.split_first_chunk::<8>()?;
    Some((EntryId::new(VolumeId(u32::from_be_bytes(*volume)), u64::from_be_bytes(*inode)), name))
}

/// The links key of one name of an entry.
pub(crate) fn link_key(id: EntryId, place: &Place) -> Vec<u8> {
    let mut key = Vec::with_capacity(24 + place.name.len());
    key.extend_from_slice(&dir_prefix(id));
    key.extend_from_slice(&dir_prefix(place.dir));
    key.extend_from_slice(&place.name);
    key
}
