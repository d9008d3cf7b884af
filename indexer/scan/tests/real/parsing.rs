//! Tables for what is parsed: the mount table and the rules.

use std::path::Path;

use proptest::prelude::*;
use rustix::fs::makedev;
use scan::{Mount, Rules, is_hidden, is_pseudo, is_remote, parse_mounts};

#[test]
fn mountinfo_lines() {
    let text = b"36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/root rw,errors=continue\n\
        40 36 0:45 /@home /home rw - btrfs /dev/sdb1 rw,subvolid=257,subvol=/@home\n\
        41 36 0:46 / /mnt/with\\040space\\011tab\\012line\\134slash rw master:1 propagate_from:2 unbindable - \
        fuse.sshfs me@host:/a\\040b rw\n\
        42 36 8:1 /sub\\377dir /mnt/\xff\\1 ro - ext4  rw\n\
        garbage\n\
        43 36 0:47 / /no/separator rw shared:3\n\
        44 x 0:47 / /bad/number rw - tmpfs tmpfs rw\n\
        45 36 0 / /bad/device rw - tmpfs tmpfs rw\n";
    let found = parse_mounts(text);
    let mount = |id, device: (u32, u32), root: &[u8], point: &[u8], fs_type: &str, source: &[u8]| Mount {
        id,
        parent: if id == 36 { 35 } else { 36 },
        device: makedev(device.0, device.1),
        root: root.to_vec(),
        point: point.to_vec(),
        fs_type: fs_type.into(),
        source: source.to_vec(),
    };
    let expected = [
        mount(36, (98, 0), b"/", b"/", "ext4", b"/dev/root"),
        mount(40, (0, 45), b"/@home", b"/home", "btrfs", b"/dev/sdb1"),
        mount(41, (0, 46), b"/", b"/mnt/with space\ttab\nline\\slash", "fuse.sshfs", b"me@host:/a b"),
        mount(42, (8, 1), b"/sub\xffdir", b"/mnt/\xff\\1", "ext4", b""),
    ];
    assert_eq!(found, expected);
    assert!(parse_mounts(b"").is_empty());
}

#[test]
fn covered_mounts_are_hidden() {
    let mount = |id, parent, point: &str| Mount {
        id,
        parent,
        device: id,
        root: b"/".to_vec(),
        point: point.into(),
        fs_type: "ext4".into(),
        source: Vec::new(),
    };
    // 3 lies on 2; 5 covers the directory that 4 is mounted in; 6 is on 4.
    let table = [
        mount(1, 0, "/"),
        mount(2, 1, "/a"),
        mount(3, 2, "/a"),
        mount(4, 1, "/b/c"),
        mount(5, 1, "/b"),
        mount(6, 4, "/b/c/d"),
        mount(7, 1, "/bb"),
    ];
    let hidden: Vec<u64> =
        table.iter().filter(|mount| is_hidden(mount, &table)).map(|mount| mount.id).collect();
    assert_eq!(hidden, [2, 4, 6]);
}

#[test]
fn kinds_of_file_systems() {
    for (fs_type, pseudo, remote) in [
        ("ext4", false, false),
        ("tmpfs", false, false),
        ("ramfs", false, false),
        ("overlay", false, false),
        ("proc", true, false),
        ("cgroup2", true, false),
        ("autofs", true, false),
        ("nfs4", false, true),
        ("fuse.sshfs", false, true),
        ("fuse", false, false),
    ] {
        assert_eq!((is_pseudo(fs_type), is_remote(fs_type)), (pseudo, remote), "{fs_type}");
    }
}

#[test]
fn the_running_system_has_a_mount_table() {
    let table = scan::mounts().unwrap();
    assert!(table.iter().any(|mount| mount.point == b"/"));
}

fn rules(excludes: &[&str]) -> Rules {
    let excludes: Vec<String> = excludes.iter().map(ToString::to_string).collect();
    Rules::new(b"/nowhere/at/all", &excludes, None).unwrap()
}

#[test]
fn patterns_decide_as_gitignore_does() {
    for (patterns, path, is_dir, excluded) in [
        (&["*.tmp"][..], &b"a/b/c.tmp"[..], false, true),
        (&["*.tmp"], b"a/b/c.tmp.x", false, false),
        (&["/top"], b"top", false, true),
        (&["/top"], b"a/top", false, false),
        (&["cache/"], b"a/cache", true, true),
        (&["cache/"], b"a/cache", false, false),
        (&["a/**/z"], b"a/b/c/z", false, true),
        (&["*", "!keep"], b"keep", false, false),
        (&["*.o", "!keep.o", "keep.o"], b"keep.o", false, true),
        (&["# comment", ""], b"# comment", false, false),
        (&["\\#file"], b"#file", false, true),
        (&["*.tmp"], b"\xff\xfe.tmp", false, true),
        (&["b\\\\c"], b"b\\c", false, true),
        (&["*.tmp"], b"new\nline.tmp", false, true),
    ] {
        let found = rules(patterns).excluded(path, is_dir);
        assert_eq!(found, excluded, "{patterns:?} on {}", String::from_utf8_lossy(path));
    }
    assert!(rules(&[]).is_empty());
    assert!(!rules(&["x"]).is_empty());
}

#[test]
fn files_of_patterns_stand_below_the_command_line() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().as_os_str().as_encoded_bytes();
    std::fs::write(temp.path().join(scan::IGNORE_FILE), "\u{feff}*.a\r\n*.b\n").unwrap();
    let extra = temp.path().join("extra");
    std::fs::write(&extra, "!x.a\n*.c").unwrap();
    let rules = Rules::new(root, &["!x.b".into()], Some(&extra)).unwrap();
    for (name, excluded) in [
        (&b"x.a"[..], false),
        (b"y.a", true),
        (b"x.b", false),
        (b"y.b", true),
        (b"y.c", true),
        (b"y.d", false),
    ] {
        assert_eq!(rules.excluded(name, false), excluded, "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn errors_name_the_pattern_the_file_and_the_line() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().as_os_str().as_encoded_bytes();
    let message = |excludes: &[String], file: Option<&Path>| {
        Rules::new(root, excludes, file).err().map(|error| error.to_string()).unwrap()
    };
    let bad = message(&["a[z-b]".into()], None);
    assert!(bad.contains("\"a[z-b]\"") && bad.contains("exclude"), "{bad}");
    let file = temp.path().join("patterns");
    std::fs::write(&file, b"fine\n\nb[z-a]\n").unwrap();
    let bad = message(&[], Some(&file));
    assert!(bad.contains("b[z-a]") && bad.contains("line 3") && bad.contains("patterns"), "{bad}");
    std::fs::write(&file, b"fine\n\xff\n").unwrap();
    let bad = message(&[], Some(&file));
    assert!(bad.contains("line 2") && bad.contains("UTF-8"), "{bad}");
    let bad = message(&[], Some(&temp.path().join("absent")));
    assert!(bad.contains("absent"), "{bad}");
    std::os::unix::fs::symlink(&file, temp.path().join(scan::IGNORE_FILE)).unwrap();
    let bad = message(&[], None);
    assert!(bad.contains(scan::IGNORE_FILE), "{bad}");
}

proptest! {
    /// Whatever bytes a mount point is named with, the parser gives them back: the kernel escapes what would
    /// break its lines.
    #[test]
    fn any_mount_point_is_read_back(point in prop::collection::vec(1u8.., 0..40)) {
        let mut line = b"36 35 98:0 / /".to_vec();
        for &byte in &point {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => line.extend(format!("\\{byte:03o}").into_bytes()),
                _ => line.push(byte),
            }
        }
        line.extend(b" rw shared:1 - ext4 /dev/root rw\n");
        let found = parse_mounts(&line);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].point[1..], &point[..]);
    }

    #[test]
    fn no_text_is_too_odd_for_the_parser(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _mounts = parse_mounts(&text);
    }
}
