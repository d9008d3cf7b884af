//! Contents that change while nothing else of their files does: found, told, and not mixed up with what somebody wrote.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Output;

use indexer_tests::{Daemon, Fs, LoopMount, indexer, skipped};
use serde_json::Value;

/// Bytes that are found nowhere else: each block of the file tells its place.
fn content(blocks: u64) -> Vec<u8> {
    (0..blocks * 512)
        .flat_map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1).to_le_bytes())
        .collect()
}

/// The least block that the file systems of tests have.
const BLOCK: usize = 1024;

/// Flips a bit of the block `nth` of `content`, wherever in `image` it lies.
fn flip(image: &Path, content: &[u8], nth: usize) {
    let block = &content[nth * BLOCK..][..BLOCK];
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut here = vec![0; BLOCK];
    let length = file.metadata().unwrap().len();
    for at in (0..length).step_by(BLOCK) {
        if file.read_at(&mut here, at).is_ok_and(|read| read == BLOCK) && here == block {
            here[100] ^= 1;
            file.write_all_at(&here, at).unwrap();
            file.sync_all().unwrap();
            return;
        }
    }
    panic!("the block is nowhere in the image");
}

fn lines(said: &Output) -> Vec<Value> {
    let text = String::from_utf8(said.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sum(lines: &[Value]) -> &Value {
    lines.iter().find(|line| line["what"] == "done").unwrap()
}

#[test]
fn a_flipped_bit_is_rot_and_is_told_until_the_file_is_written() {
    let mut mount = match LoopMount::new(Fs::Ext4, 64) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let root = mount.path().to_owned();
    let (whole, other) = (content(64), content(80)[16 * 4096..].to_vec());
    fs::write(root.join("rots"), &whole).unwrap();
    fs::write(root.join("stays"), &other).unwrap();
    let mut daemon = Daemon::start(&state, &[&root], &["--hash", "full"]);
    daemon.settle();
    assert!(indexer(&state, &[&"hash", &root]).status.success());
    let said = indexer(&state, &[&"scrub", &"--json"]);
    assert_eq!((said.status.code(), sum(&lines(&said))["same"].as_u64()), (Some(0), Some(2)), "{said:?}");
    assert!(daemon.terminate().success());

    mount.unmount();
    flip(&mount.image(), &whole, 33);
    mount.mount().unwrap();
    let mut daemon = Daemon::start(&state, &[&root], &["--hash", "full"]);
    daemon.settle();
    let before = daemon.changes(0).len();
    let said = indexer(&state, &[&"scrub", &"--json"]);
    let told = lines(&said);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let rotten: Vec<&Value> = told.iter().filter(|line| line["what"] == "rotten").collect();
    assert_eq!(rotten.len(), 1, "{told:?}");
    assert_eq!(rotten[0]["path"], root.join("rots").to_str().unwrap());
    assert_eq!((sum(&told)["same"].as_u64(), sum(&told)["rotten"].as_u64()), (Some(1), Some(1)));
    let records = daemon.changes(0);
    assert_eq!(records.len(), before + 1, "{:?}", &records[before..]);
    let record = &records[before];
    assert_eq!(record["op"], "corrupt");
    assert_eq!(
        (&record["before"]["digest"], &record["after"]["digest"]),
        (&rotten[0]["was"], &rotten[0]["is"])
    );
    // Known, until somebody writes the file.
    let again = indexer(&state, &[&"scrub", &"--json"]);
    assert_eq!(sum(&lines(&again))["rotten"].as_u64(), Some(0), "it is told once: {again:?}");
    let list = indexer(&state, &[&"scrub", &"--list", &"--json"]);
    assert_eq!((list.status.code(), lines(&list).len()), (Some(1), 1), "{list:?}");
    assert!(daemon.status()["warnings"].to_string().contains("scrub --list"));
    fs::write(root.join("rots"), &whole).unwrap();
    daemon.settle();
    let list = indexer(&state, &[&"scrub", &"--list", &"--json"]);
    assert_eq!((list.status.code(), lines(&list).len()), (Some(0), 0), "{list:?}");
    assert!(daemon.terminate().success());
    assert!(indexer(&state, &[&"doctor"]).status.success());
}

#[test]
fn what_somebody_writes_is_no_rot() {
    let folder = tempfile::tempdir().unwrap();
    let (root, state) = (folder.path().join("root"), folder.path().join("state"));
    fs::create_dir(&root).unwrap();
    let root = root.canonicalize().unwrap();
    for name in ["open", "restored", "gone", "same"] {
        fs::write(root.join(name), content(4)).unwrap();
    }
    assert!(indexer(&state, &[&"scan", &"--hash", &"full", &root]).status.success());
    // Its modification time is set back: all but the change time is as before.
    let restored = OpenOptions::new().write(true).open(root.join("restored")).unwrap();
    let times = restored.metadata().unwrap();
    restored.write_all_at(b"x", 7).unwrap();
    restored.set_times(fs::FileTimes::new().set_modified(times.modified().unwrap())).unwrap();
    drop(restored);
    fs::remove_file(root.join("gone")).unwrap();
    let open: File = OpenOptions::new().append(true).open(root.join("open")).unwrap();
    let said = indexer(&state, &[&"scrub", &"--json"]);
    let told = lines(&said);
    let sum = sum(&told);
    assert_eq!(said.status.code(), Some(0), "{told:?}");
    assert_eq!((sum["rotten"].as_u64(), sum["same"].as_u64()), (Some(0), Some(1)), "{told:?}");
    assert_eq!((sum["changed"].as_u64(), sum["unsure"].as_u64()), (Some(2), Some(1)), "{told:?}");
    let unsure = told.iter().find(|line| line["what"] == "unsure").unwrap();
    assert_eq!(unsure["path"], root.join("open").to_str().unwrap());
    drop(open);
    // What was read is noted: nothing is left that is older than an hour, and what is younger is read again.
    let said = indexer(&state, &[&"scrub", &"--json", &"--older-than", &"1h"]);
    assert_eq!(lines(&said).len(), 1, "{said:?}");
    let said = indexer(&state, &[&"sweep", &"--level", &"content", &"--json"]);
    assert!(lines(&said).iter().any(|line| line["what"] == "done" && line["same"] == 2), "{said:?}");
    let said = indexer(&state, &[&"scrub", &"--list"]);
    assert_eq!((said.status.code(), said.stdout.len()), (Some(0), 0));
}
