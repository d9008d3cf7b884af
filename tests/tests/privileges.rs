//! The daemon keeps no right that it has no use for.

use std::fs;

use indexer_tests::{Daemon, is_root, skipped};

/// `CAP_DAC_READ_SEARCH`, `CAP_FOWNER`, `CAP_SYS_ADMIN`, `CAP_LEASE`, by their numbers in `capability.h`.
const KEPT: u64 = 1 << 2 | 1 << 3 | 1 << 21 | 1 << 28;

#[test]
fn as_root_it_keeps_four_capabilities_and_can_gain_none() {
    if !is_root() {
        return skipped("dropping capabilities takes having them");
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut daemon = Daemon::start(&folder.path().join("state"), &[&root], &[]);
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let mut threads = 0;
    for task in tasks {
        // One that helped to begin may end meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        for set in ["CapEff:", "CapPrm:"] {
            let held = u64::from_str_radix(&field(set), 16).unwrap();
            assert_eq!(held & !KEPT, 0, "{set} {held:#x} in thread {}", field("Name:"));
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        threads += 1;
    }
    assert!(threads > 1, "its threads were looked at too");
    assert!(daemon.terminate().success());
}
