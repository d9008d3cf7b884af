//! The parser of fanotify's read buffer: any bytes give events or a counted error, and it always ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watch::fanotify::parse::parse;

fuzz_target!(|bytes: &[u8]| {
    let most = bytes.len() + 1;
    assert!(parse(bytes).take(most + 1).count() <= most, "every event takes bytes");
});
