//! Two open files, byte by byte. Knows nothing of what they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::Why;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Compares `size` bytes and the ends. Asks `go_on` before each MiB.
///
/// # Errors
/// [`Why::Differs`]; what reading says; what `go_on` says.
pub(crate) fn same_bytes(
    one: &File,
    other: &File,
    size: u64,
    go_on: impl Fn() -> Result<(), Why>,
) -> Result<(), Why> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    loop {
        go_on()?;
        // One byte beyond the end as well: both must end there.
        let want = usize::try_from((size - at).saturating_add(1)).unwrap_or(CHUNK).min(CHUNK);
        let read = fill(one, &mut left[..want], at).map_err(Why::of_kept)?;
        if read != fill(other, &mut right[..want], at)? || left[..read] != right[..read] {
            return Err(Why::Differs);
        }
        at += read as u64;
        if read < want {
            return if at == size { Ok(()) } else { Err(Why::Changed) };
        }
        if at > size {
            return Err(Why::Changed);
        }
    }
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn fill(file: &File, buffer: &mut [u8], at: u64) -> Result<usize, Why> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Why::Failed { doing: "read it", source }),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn one_byte_anywhere_is_a_difference(size in prop_oneof![1..40usize, CHUNK - 2..CHUNK + 2, 2 * CHUNK..2 * CHUNK + 2], at: prop::sample::Index) {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let one = file(&bytes);
            let equal = |other: &[u8]| same_bytes(&one, &file(other), size as u64, || Ok(()));
            prop_assert!(equal(&bytes).is_ok());
            let mut other = bytes.clone();
            other[at.index(size)] ^= 1;
            prop_assert!(matches!(equal(&other), Err(Why::Differs)));
            other.clone_from(&bytes);
            other[size - 1] ^= 1;
            prop_assert!(matches!(equal(&other), Err(Why::Differs)));
            prop_assert!(matches!(equal(&bytes[..size - 1]), Err(Why::Differs)));
            other.clone_from(&bytes);
            other.push(0);
            prop_assert!(matches!(equal(&other), Err(Why::Differs)));
        }
    }

    #[test]
    fn equal_files_of_another_size_changed() {
        for size in [0, 3, 5] {
            let said = same_bytes(&file(b"four"), &file(b"four"), size, || Ok(()));
            assert!(matches!(said, Err(Why::Changed)), "{size}: {said:?}");
        }
        let stop = || Err(Why::Writer);
        assert!(matches!(same_bytes(&file(b"four"), &file(b"four"), 4, stop), Err(Why::Writer)));
    }
}
