//! Files that are hard to read: refused, gone, written, grown, endless, no files at all, or swapped for what must not be read.
//! It could break by a reader that waits for ever, a file that is left out for ever, a link that is followed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use indexer_tests::{
    Daemon, Fs, Ground, LoopMount, NOBODY, Place, blake3_of, indexer, indexer_binary, is_root, json_lines,
    skipped, stderr, wait_for,
};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, futimens, mknodat};
use serde_json::Value;

const FULL: &[&str] = &["--hash", "full"];
const MIB: usize = 1 << 20;

fn start(flags: &[&str]) -> (Ground, Daemon) {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], flags);
    (ground, daemon)
}

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_goes_on() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let binary = ground.lend(indexer_binary());
    for file in 0..20 {
        fs::write(root.join(format!("{file}")), format!("content {file}")).unwrap();
        fs::set_permissions(root.join(format!("{file}")), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let secret = root.join("7");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let mut daemon = Daemon::spawn_unprivileged(&binary, &ground.state(), &[root], FULL);
    daemon.wait_live();
    daemon.wait_hashed(19);
    let status = wait_for("the refusal to be counted", || {
        let status = daemon.status();
        (status["hashing"]["refused"] == 1).then_some(status)
    });
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("/7 (") && warnings.contains("could not be read"), "{warnings}");
    assert_eq!(status["hashing"]["waiting"], 0);
    let said = daemon.run(&[&"hash", &secret]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert!(stderr(&said).contains("ermission denied"), "{}", stderr(&said));
    // Given the right, it is read without being asked again.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    daemon.settle();
    daemon.wait_hashed(20);
    assert_eq!(daemon.digest_of(&secret), blake3_of(&secret).ok());
}

/// They go while the rest of the tree is read slowly.
#[test]
fn files_that_go_before_they_are_read_are_not_missed() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::write(root.join("first"), vec![b'a'; 3 * MIB]).unwrap();
    for file in 0..200 {
        fs::write(root.join(format!("{file}")), vec![b'b'; 10_000 + file]).unwrap();
    }
    let daemon = Daemon::start(&ground.state(), &[root], &["--hash", "full", "--hash-rate", "2MiB"]);
    wait_for("the reading to begin", || {
        (daemon.hashing("bytes_left") + daemon.hashing("hashed") > 0).then_some(())
    });
    for file in (0..200).filter(|file| file % 2 == 0) {
        fs::remove_file(root.join(format!("{file}"))).unwrap();
    }
    assert_eq!(daemon.assert_hashed(root), 101);
    daemon.wait_at_rest();
    daemon.assert_exact(root);
    assert_eq!(daemon.hashing("refused"), 0);
}

/// What is open for writing is not read: neither what was there before the daemon, nor what it saw written.
#[test]
fn a_file_open_for_writing_is_read_when_it_is_closed() {
    for flags in [FULL, &["--hash", "full", "--backend", "inotify"]] {
        let ground = Place::Here.open().unwrap();
        let root = ground.root();
        let [old, new] = ["old", "new"].map(|name| root.join(name));
        fs::write(&old, b"from before").unwrap();
        let untouched = OpenOptions::new().read(true).write(true).open(&old).unwrap();
        let daemon = Daemon::start(&ground.state(), &[root], flags);
        let mut writer = File::create(&new).unwrap();
        writer.write_all(b"half").unwrap();
        // Nobody writes for two seconds, so its record is complete; it waits all the same.
        wait_for("a complete record", || {
            let told = daemon.changes(0);
            let last = told.iter().rfind(|record| record["path"].as_str() == new.to_str())?.clone();
            (last["complete"] == true).then_some(())
        });
        wait_for("both to wait", || (daemon.hashing("waiting") == 2).then_some(()));
        assert_eq!(daemon.hashing("files_read"), 0, "{flags:?}");
        writer.write_all(b" and half").unwrap();
        drop(writer);
        drop(untouched);
        assert_eq!(daemon.assert_hashed(root), 2);
    }
}

/// Root has no lease on the files of others without a right of its own for that.
#[test]
fn another_users_file_open_for_writing_is_not_read_either() {
    if !is_root() {
        return skipped("giving a file away takes root");
    }
    let (ground, daemon) = start(FULL);
    let path = ground.root().join("file");
    let mut writer = File::create(&path).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    writer.write_all(b"half").unwrap();
    wait_for("it to wait", || (daemon.hashing("waiting") == 1).then_some(()));
    daemon.settle();
    // One that is closed comes after it, and is read.
    fs::write(ground.root().join("other"), b"x").unwrap();
    wait_for("the other", || (daemon.hashing("hashed") == 1).then_some(()));
    assert_eq!(daemon.digest_of(&path), None);
    drop(writer);
    assert_eq!(daemon.assert_hashed(ground.root()), 2);
}

#[test]
fn a_growing_file_is_right_in_the_end() {
    for flags in [FULL, &["--hash", "full", "--backend", "inotify"]] {
        let (ground, daemon) = start(flags);
        let path = ground.root().join("log");
        for line in 0..60 {
            // Opened and closed each time, as a logger in a shell does it.
            let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
            file.write_all(&vec![b'0' + line % 10; 30_000]).unwrap();
            drop(file);
            let _ = daemon.hashing("waiting");
        }
        assert_eq!(daemon.assert_hashed(ground.root()), 1);
    }
}

/// Two of a tebibyte of nothing, and of other heads: told apart by those. Were they equal, all the zeros would be hashed, and
/// whoever wants the daemon to leave does not wait for that.
#[test]
fn huge_files_without_data_hold_nothing_up() {
    let (ground, mut daemon) = start(&["--hash", "candidates"]);
    let root = ground.root();
    let huge = |name: &str, head: &[u8]| {
        let mut file = File::create(root.join(name)).unwrap();
        file.write_all(head).unwrap();
        file.set_len(1 << 40)
    };
    if let Err(error) = huge("one", b"one") {
        return skipped(format!("no files of 1 TiB here: {error}"));
    }
    huge("two", b"two").unwrap();
    daemon.settle_contents();
    assert_eq!((daemon.hashing("files_read"), daemon.hashing("ends_read")), (0, 2));
    assert!(daemon.hashing("bytes_read") <= 2 * 4096);
    huge("three", b"two").unwrap();
    daemon.settle();
    wait_for("ends to be read", || (daemon.hashing("ends_read") >= 5).then_some(()));
    assert!(daemon.terminate().success());
}

/// What has no content to be read, or cannot have: it is indexed, and not opened.
#[test]
fn only_regular_files_are_read() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("file", root.join("link inside")).unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    if is_root() {
        // /dev/zero: without an end.
        let zero = rustix::fs::makedev(1, 5);
        mknodat(CWD, root.join("zero"), FileType::CharacterDevice, Mode::from_raw_mode(0o644), zero).unwrap();
    } else {
        skipped("a device takes root");
    }
    fs::write(root.join("file"), b"content").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    // From a clock that went ahead, or an archive.
    let far = File::create(root.join("far")).unwrap();
    (&far).write_all(b"from 2242").unwrap();
    let time = Timespec { tv_sec: 8_600_000_000, tv_nsec: 1 };
    futimens(&far, &Timestamps { last_access: time, last_modification: time }).unwrap();
    drop(far);
    let daemon = Daemon::start(&ground.state(), &[root], FULL);
    assert_eq!(daemon.assert_hashed(root), 2);
    assert_eq!((daemon.hashing("files_read"), daemon.hashing("refused")), (2, 0));
    // The same when they come while it watches, in place of files.
    fs::remove_file(root.join("file")).unwrap();
    mknodat(CWD, root.join("file"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    assert_eq!(daemon.assert_hashed(root), 1);
    daemon.assert_exact(root);
}

/// A directory and a file that are swapped for links to what lies outside, between the index's look and the reading: what is
/// outside is never read.
#[test]
fn r10_what_is_swapped_for_a_link_is_not_read_through() {
    for flags in [FULL, &["--hash", "full", "--backend", "inotify"]] {
        let ground = Place::Here.open().unwrap();
        let root = ground.root();
        let outside = ground.beside("outside");
        fs::create_dir(&outside).unwrap();
        for file in 0..30 {
            fs::write(outside.join(format!("{file}")), format!("secret  {file:03}")).unwrap();
        }
        let mut secrets = Vec::new();
        for entry in fs::read_dir(&outside).unwrap() {
            secrets.push(blake3_of(&entry.unwrap().path()).unwrap());
        }
        let daemon = Daemon::start(&ground.state(), &[root], flags);
        for round in 0..5 {
            let folder = root.join(format!("folder {round}"));
            fs::create_dir(&folder).unwrap();
            for file in 0..30 {
                fs::write(folder.join(format!("{file}")), format!("public  {file:03}")).unwrap();
            }
            let lone = root.join(format!("file {round}"));
            fs::write(&lone, b"public  000").unwrap();
            if round % 2 == 0 {
                // The index has them, and they wait to be read or are.
                daemon.settle();
            }
            daemon.while_stopped(|| {
                fs::rename(&folder, root.join(format!("away {round}"))).unwrap();
                symlink(&outside, &folder).unwrap();
                fs::remove_file(&lone).unwrap();
                symlink(outside.join("0"), &lone).unwrap();
            });
            let _ = daemon.hashing("waiting");
        }
        assert_eq!(daemon.assert_hashed(root), 150);
        let told = daemon.changes(0);
        let digests = told.iter().filter_map(|record| record["after"]["digest"].as_str());
        assert!(digests.clone().count() >= 150);
        assert!(digests.into_iter().all(|digest| !secrets.iter().any(|secret| secret == digest)));
        let said = daemon.run(&[&"hash", &root.join("folder 0/3")]);
        assert!(!said.status.success() && said.stdout.is_empty(), "{}", stderr(&said));
    }
}

fn digests(said: &std::process::Output) -> Vec<Value> {
    assert!(said.status.success(), "hash: {}: {}", said.status, stderr(said));
    json_lines(said).into_iter().map(|line| line["digest"].clone()).collect()
}

fn told_where_it_is_not(said: &std::process::Output, path: &Path) {
    assert_eq!(said.status.code(), Some(1), "{}", stderr(said));
    let stderr = stderr(said);
    assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("no root"), "{stderr}");
    assert!(said.stdout.is_empty());
}

/// At once after the write, with and without a daemon, whatever is read otherwise.
#[test]
fn hash_reads_what_it_is_given_now() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    let path = root.join("file");
    let folder = root.join("folder/below");
    fs::create_dir_all(&folder).unwrap();
    for file in 0..10 {
        fs::write(folder.join(format!("{file}")), format!("content {file}")).unwrap();
    }
    assert!(indexer(&state, &[&"scan", &root]).status.success());
    for round in 0..5 {
        fs::write(&path, format!("round {round}")).unwrap();
        let said = indexer(&state, &[&"hash", &path, &"--json"]);
        assert_eq!(digests(&said), [Value::from(blake3_of(&path).unwrap())], "without a daemon");
    }
    assert_eq!(digests(&indexer(&state, &[&"hash", &root.join("folder"), &"--json"])).len(), 10);
    told_where_it_is_not(&indexer(&state, &[&"hash", &ground.beside("nowhere")]), &ground.beside("nowhere"));
    for flags in [&["--hash", "none"][..], &["--hash", "candidates"], FULL] {
        let mut daemon = Daemon::start(&state, &[root], flags);
        for round in 0..10 {
            fs::write(&path, format!("round {round} of {flags:?}")).unwrap();
            let said = daemon.run(&[&"hash", &path, &"--json"]);
            assert_eq!(digests(&said), [Value::from(blake3_of(&path).unwrap())], "{flags:?}");
        }
        let new = root.join("folder/new");
        fs::write(&new, format!("{flags:?}")).unwrap();
        let all = digests(&daemon.run(&[&"hash", &root.join("folder"), &"--json"]));
        assert!(all.len() == 11 && all.iter().all(Value::is_string), "{all:?}");
        assert!(all.contains(&blake3_of(&new).unwrap().into()));
        told_where_it_is_not(&daemon.run(&[&"hash", &ground.beside("nowhere")]), &ground.beside("nowhere"));
        let missing = root.join("missing");
        let said = daemon.run(&[&"hash", &missing]);
        assert!(matches!(said.status.code(), Some(1 | 3)), "{}", said.status);
        assert!(stderr(&said).contains("missing"), "{}", stderr(&said));
        // One that is being written is given up on.
        let writer = OpenOptions::new().append(true).open(&new).unwrap();
        (&writer).write_all(b"more").unwrap();
        let said = daemon.run(&[&"hash", &new, &"--timeout", &"1s"]);
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        assert!(stderr(&said).contains("not hashed"), "{}", stderr(&said));
        drop(writer);
        assert!(daemon.terminate().success());
    }
}

/// A pair as large as a long read, and small files that come meanwhile: those do not wait for it.
#[test]
fn a_long_read_does_not_hold_up_what_changes() {
    let (ground, daemon) = start(FULL);
    let root = ground.root();
    let file = File::create(root.join("huge")).unwrap();
    if let Err(error) = file.set_len(1 << 40) {
        return skipped(format!("no files of 1 TiB here: {error}"));
    }
    drop(file);
    daemon.settle();
    wait_for("the long read to begin", || (daemon.hashing("waiting") == 1).then_some(()));
    fs::write(root.join("small"), b"small").unwrap();
    daemon.settle();
    wait_for("the small one to be read beside it", || (daemon.hashing("hashed") == 1).then_some(()));
}

/// Flips a bit of all that lies in `image` as `block` does: the file system's checksum of it is wrong from then on.
fn spoil(image: &Path, block: &[u8]) {
    let image = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut here = vec![0; block.len()];
    let mut spoilt = 0;
    for at in (0..image.metadata().unwrap().len()).step_by(block.len()) {
        if image.read_at(&mut here, at).is_ok_and(|read| read == block.len()) && here == block {
            here[100] ^= 1;
            image.write_all_at(&here, at).unwrap();
            spoilt += 1;
        }
    }
    image.sync_all().unwrap();
    assert_eq!(spoilt, 1);
}

/// A disk that answers EIO in the middle of a file: the file is counted and has no digest, the rest goes on, nobody tries it
/// again and again, and once it is healed it is read.
#[test]
fn a_file_that_fails_in_the_middle_has_no_digest_until_it_is_healed() {
    let mut mount = match LoopMount::new(Fs::Btrfs, 256) {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    let folder = tempfile::tempdir().unwrap();
    let (state, root) = (folder.path().join("state"), mount.path().join("root"));
    fs::create_dir(&root).unwrap();
    let bytes: Vec<u8> =
        (0..MIB as u64).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let (bad, twin) = (root.join("bad"), root.join("twin"));
    fs::write(&bad, &bytes).unwrap();
    for file in 0..20 {
        fs::write(root.join(format!("{file}")), format!("content {file}")).unwrap();
    }
    mount.unmount();
    let middle = 5 * MIB;
    spoil(&mount.image(), &bytes[middle..middle + 4096]);
    mount.mount().unwrap();
    // Else nothing below says anything.
    let file = File::open(&bad).unwrap();
    let mut block = vec![0; 4096];
    assert!(file.read_exact_at(&mut block, 0).is_ok());
    let error = file.read_exact_at(&mut block, middle as u64).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    drop(file);

    let daemon = Daemon::start(&state, &[&root], FULL);
    daemon.wait_hashed(20);
    let status = wait_for("the failure to be counted", || {
        let status = daemon.status();
        (status["hashing"]["refused"] == 1 && status["hashing"]["at_rest"] == true).then_some(status)
    });
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("/bad (cannot read at byte"), "{warnings}");
    assert!(warnings.contains("nput/output error"), "{warnings}");
    assert_eq!(daemon.digest_of(&bad), None);
    let said = daemon.run(&[&"hash", &bad]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert!(stderr(&said).contains("nput/output error"), "{}", stderr(&said));
    // Others that change are read, each once; it is not touched meanwhile, though its copy comes.
    fs::write(&twin, &bytes).unwrap();
    fs::write(root.join("new"), b"new").unwrap();
    daemon.settle();
    daemon.wait_hashed(22);
    assert_eq!(daemon.digest_of(&twin), blake3_of(&twin).ok());
    assert_eq!((daemon.hashing("waiting"), daemon.hashing("refused")), (0, 1));
    assert_eq!(daemon.digest_of(&bad), None);
    // Written over in place, as a disk that maps a sector anew; the event has it read.
    let file = OpenOptions::new().write(true).open(&bad).unwrap();
    file.write_all_at(&bytes[middle..middle + 4096], middle as u64).unwrap();
    drop(file);
    assert_eq!(daemon.assert_hashed(&root), 23);
    assert_eq!(daemon.digest_of(&bad), daemon.digest_of(&twin));
    assert_eq!(daemon.hashing("refused"), 1);
}
