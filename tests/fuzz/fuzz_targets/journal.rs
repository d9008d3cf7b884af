//! The decoder of journal blocks: any bytes are refused, or are records that are written and read back the
//! same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use record::Seq;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(records) = index::fuzz::records(Seq(1), bytes) {
        let again = index::fuzz::put_records(&records);
        assert_eq!(index::fuzz::records(Seq(1), &again).as_ref(), Ok(&records));
    }
});
