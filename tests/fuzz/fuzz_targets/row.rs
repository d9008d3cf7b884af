//! The decoder of rows: any bytes are refused, or are a row that is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::{EntryId, VolumeId};

fuzz_target!(|bytes: &[u8]| {
    let id = EntryId::new(VolumeId(1), 4096);
    if let Ok(row) = index::fuzz::row(id, bytes) {
        let again = index::fuzz::put_row(id, &row);
        assert_eq!(index::fuzz::row(id, &again).as_ref(), Ok(&row));
    }
});
