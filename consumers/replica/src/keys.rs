//! Keys of the tables: numbers with the highest byte first, so that what belongs together lies together. Knows no values.

use record::{EntryId, VolumeId};

/// Bytes of an entry's key.
pub(crate) const ENTRY: usize = 16;

/// An entry of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Who {
    pub(crate) source: u32,
    pub(crate) id: EntryId,
}

impl Who {
    pub(crate) fn key(self) -> [u8; ENTRY] {
        let mut key = [0; ENTRY];
        key[..4].copy_from_slice(&self.source.to_be_bytes());
        key[4..8].copy_from_slice(&self.id.volume.0.to_be_bytes());
        key[8..].copy_from_slice(&self.id.inode.to_be_bytes());
        key
    }

    /// Of the first bytes of a key; `None` for what is too short.
    pub(crate) fn of(key: &[u8]) -> Option<Who> {
        let volume = VolumeId(four(key.get(4..8)?));
        Some(Who { source: four(key.get(..4)?), id: EntryId::new(volume, eight(key.get(8..16)?)) })
    }
}

/// A name of an entry: its key, the directory's, and the name.
pub(crate) fn link(who: Who, dir: EntryId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ENTRY + 12 + name.len());
    key.extend(who.key());
    key.extend(dir.volume.0.to_be_bytes());
    key.extend(dir.inode.to_be_bytes());
    key.extend(name);
    key
}

/// Whose name it is, the directory and the name.
pub(crate) fn of_link(key: &[u8]) -> Option<(Who, EntryId, &[u8])> {
    let dir = EntryId::new(VolumeId(four(key.get(16..20)?)), eight(key.get(20..28)?));
    Some((Who::of(key)?, dir, key.get(28..)?))
}

/// A register that says that something is gone, by when that was. `tag` says which table the key is of.
pub(crate) fn grave(source: u32, seq: u64, tag: u8, key: &[u8]) -> Vec<u8> {
    let mut grave = Vec::with_capacity(13 + key.len());
    grave.extend(source.to_be_bytes());
    grave.extend(seq.to_be_bytes());
    grave.push(tag);
    grave.extend(key);
    grave
}

/// A digest and who has it.
pub(crate) fn digest(text: &str, who: Who) -> Vec<u8> {
    let mut key = text.as_bytes().to_vec();
    key.push(0);
    key.extend(who.key());
    key
}

/// All keys that begin with `prefix`: from it, to what this gives.
pub(crate) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end;
        }
        end.pop();
    }
    // Nothing is behind what is all ones; no key of ours is.
    vec![u8::MAX; 64]
}

pub(crate) fn four(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

pub(crate) fn eight(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_end_behind_their_own() {
        let who = Who { source: 7, id: EntryId::new(VolumeId(2), u64::MAX) };
        let key = link(who, EntryId::new(VolumeId(2), 5), b"a\xff");
        let (whose, dir, name) = of_link(&key).unwrap();
        assert_eq!((whose, dir.inode, name), (who, 5, b"a\xff".as_slice()));
        assert!(Who::of(&key[..15]).is_none() && of_link(&key[..20]).is_none());
        let end = end_of(&who.key());
        assert!(key.as_slice() < end.as_slice() && end.as_slice() > who.key().as_slice());
        assert_eq!(end_of(&[1, 255, 255]), [2]);
    }
}
