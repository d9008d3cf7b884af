//! Numbers of file systems where nothing remembers them: made from what a file system is known by, so that they are the same in
//! each run. Knows no index.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use record::VolumeId;
use scan::VolumeIdentity;

/// Gives file systems their numbers.
#[derive(Default)]
pub(super) struct Volumes(Mutex<HashMap<u32, VolumeIdentity>>);

impl Volumes {
    /// The number of `identity`.
    pub(super) fn number(&self, identity: &VolumeIdentity) -> VolumeId {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = hash(identity);
        while known.get(&number).is_some_and(|other| !other.same_volume(identity)) {
            number = number % i32::MAX.unsigned_abs() + 1;
        }
        known.entry(number).or_insert_with(|| identity.clone());
        VolumeId(number)
    }
}

/// 31 bits, and not 0: the column is signed. FNV-1a, which is no secret and stays what it is.
fn hash(identity: &VolumeIdentity) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    match &identity.uuid {
        Some(uuid) => take(uuid),
        None => {
            take(identity.fs_type.as_bytes());
            take(&identity.source);
            take(&identity.root_inode.to_le_bytes());
        }
    }
    take(&identity.subvolume.to_le_bytes());
    let folded = (hash ^ (hash >> 32)) as u32 & 0x7fff_ffff;
    folded.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_one_number_and_no_other_has_it() {
        let volumes = Volumes::default();
        let one = VolumeIdentity {
            fs_type: "ext4".into(),
            uuid: Some([7; 16]),
            fsid: 1,
            subvolume: 0,
            source: b"/dev/a".to_vec(),
            root_inode: 2,
            root_created: None,
        };
        let number = volumes.number(&one);
        let moved = VolumeIdentity { source: b"/dev/b".to_vec(), fsid: 2, ..one.clone() };
        assert_eq!((volumes.number(&moved), Volumes::default().number(&one)), (number, number));
        let other = VolumeIdentity { subvolume: 5, ..one.clone() };
        assert_ne!(volumes.number(&other), number);
        assert!(number.0 > 0 && number.0.cast_signed() > 0);
        // Should two be alike in this, they differ all the same.
        let full = Volumes::default();
        full.0.lock().unwrap().insert(hash(&one), other);
        assert_eq!(full.number(&one).0, hash(&one) + 1);
    }
}
