//! Other file systems inside a root: followed, left out, or the same one again. Each test mounts in a mount
//! namespace of its own, for which it needs root.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::common::{is_root, scope, set, shown};
use record::VolumeId;
use scan::{Member, Scope};

/// Runs the named test of this file again inside a mount namespace of its own: there `true` is returned.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "SCAN_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !is_root() {
        println!("SKIPPED: {test} mounts file systems, which only root may");
        return false;
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("mounted::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match output {
        Err(error) => println!("SKIPPED: {test} needs unshare(1): {error}"),
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let out = String::from_utf8_lossy(&output.stdout).into_owned();
            if told.contains("unshare failed") {
                println!("SKIPPED: {test} may not make a namespace: {told}");
            } else {
                print!("{}", out.lines().filter(|line| line.contains("SKIPPED")).collect::<String>());
                assert!(output.status.success() && out.contains("1 passed"), "{told}{out}");
            }
        }
    }
    false
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn mount(fs_type: &str, at: &Path) {
    std::fs::create_dir_all(at).unwrap();
    assert!(run("mount", &[&"-t", &fs_type, &"scan-test", &at]), "mount of {fs_type}");
}

fn bind(from: &Path, at: &Path) {
    std::fs::create_dir_all(at).unwrap();
    assert!(run("mount", &[&"--bind", &from, &at]), "bind mount");
}

fn volume(shown: &crate::common::Shown, path: &str) -> VolumeId {
    shown.entries[path.as_bytes()].0.volume
}

#[test]
fn a_mounted_file_system_is_a_volume_of_its_own() {
    if !inside("a_mounted_file_system_is_a_volume_of_its_own") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    mount("tmpfs", &root.join("m"));
    mount("proc", &root.join("p"));
    std::fs::create_dir(root.join("m/dir")).unwrap();
    std::fs::write(root.join("m/dir/file"), b"x").unwrap();
    std::fs::write(root.join("plain"), b"x").unwrap();
    let mut scope = scope(root);
    let found = shown(&scope);
    assert_eq!(found.names(), set(&["m", "m/dir", "m/dir/file", "plain"]));
    assert_ne!(volume(&found, "m"), volume(&found, "plain"));
    assert_eq!(volume(&found, "m"), volume(&found, "m/dir/file"));
    let inode = std::fs::symlink_metadata(root.join("m")).unwrap();
    assert_eq!(found.entries[&b"m"[..]].1.inode, inode.ino());
    let volumes = scope.volumes();
    assert_eq!(volumes.len(), 2);
    assert_eq!(
        volumes[1],
        (inode.dev(), volume(&found, "m"), root.join("m").as_os_str().as_bytes().to_vec())
    );
    scope.one_file_system = true;
    assert_eq!(shown(&scope).names(), set(&["plain"]));
}

#[test]
fn the_same_volume_again_is_left_out() {
    if !inside("the_same_volume_again_is_left_out") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    std::fs::create_dir(root.join("dir")).unwrap();
    std::fs::write(root.join("dir/file"), b"x").unwrap();
    bind(&root.join("dir"), &root.join("again"));
    // Mounted at z first, so z is the one, though a comes first in the alphabet.
    mount("tmpfs", &root.join("z"));
    std::fs::write(root.join("z/file"), b"x").unwrap();
    bind(&root.join("z"), &root.join("a"));
    // A file mounted over another.
    std::fs::write(root.join("over"), b"").unwrap();
    assert!(run("mount", &[&"--bind", &root.join("dir/file"), &root.join("over")]));
    for _ in 0..3 {
        assert_eq!(shown(&scope(root)).names(), set(&["dir", "dir/file", "z", "z/file"]));
    }
    // With z excluded, a is the first that is left; likewise with z covered.
    let mut ruled = scope(root);
    ruled.rules = scan::Rules::new(root.as_os_str().as_bytes(), &["/z".into()], None).unwrap();
    assert_eq!(shown(&ruled).names(), set(&["a", "a/file", "dir", "dir/file"]));
    mount("tmpfs", &root.join("z"));
    assert_eq!(shown(&scope(root)).names(), set(&["a", "a/file", "dir", "dir/file", "z"]));
}

/// The mount table knows no links, so a root configured through one must be told apart by its real path.
#[test]
fn the_first_mount_wins_below_a_root_behind_a_link() {
    if !inside("the_first_mount_wins_below_a_root_behind_a_link") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let real = temp.path().join("real");
    mount("tmpfs", &real.join("root/z"));
    bind(&real.join("root/z"), &real.join("root/a"));
    std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
    assert_eq!(shown(&scope(&temp.path().join("link/root"))).names(), set(&["z"]));
}

#[test]
fn a_new_mount_is_seen_when_the_old_is_forgotten() {
    if !inside("a_new_mount_is_seen_when_the_old_is_forgotten") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    mount("tmpfs", &root.join("m"));
    let scope = scope(root);
    let before = volume(&shown(&scope), "m");
    assert_eq!(volume(&shown(&scope), "m"), before);
    assert!(run("umount", &[&root.join("m")]));
    scope.forget_mounts();
    assert_eq!(volume(&shown(&scope), "m"), scope.root_entry().unwrap().volume);
    mount("tmpfs", &root.join("m"));
    scope.forget_mounts();
    assert!(![before, scope.root_entry().unwrap().volume].contains(&volume(&shown(&scope), "m")));
}

#[test]
fn identities_survive_a_remount() {
    if !inside("identities_survive_a_remount") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    for (make, size) in [("ext4", "8M"), ("xfs", "320M"), ("btrfs", "128M")] {
        let image = temp.path().join(format!("{make}.img"));
        let at = temp.path().join(make);
        std::fs::create_dir(&at).unwrap();
        let quiet: &[&dyn AsRef<std::ffi::OsStr>] = &[&"-q", &image];
        if !run("truncate", &[&"-s", &size, &image])
            || !run(&format!("mkfs.{make}"), quiet)
            || !run("mount", &[&"-o", &"loop", &image, &at])
        {
            println!("SKIPPED: {make} cannot be made or mounted here");
            continue;
        }
        let first = identity(&at);
        assert_eq!((&*first.fs_type, first.uuid.is_some()), (make, true));
        assert!(run("umount", &[&at]));
        assert!(run("mount", &[&"-o", &"loop", &image, &at]));
        let second = identity(&at);
        assert!(first.same_volume(&second), "{first:?} {second:?}");
        if make == "btrfs" {
            subvolumes(&at, &second);
        }
        assert!(run("umount", &[&at]));
    }
}

/// A subvolume has inode numbers of its own, so it must be a volume of its own.
fn subvolumes(at: &Path, top: &scan::VolumeIdentity) {
    if !run("btrfs", &[&"subvolume", &"create", &at.join("sub")]) {
        println!("SKIPPED: no btrfs(8) here");
        return;
    }
    std::fs::write(at.join("sub/file"), b"x").unwrap();
    std::fs::write(at.join("file"), b"x").unwrap();
    let sub = identity(&at.join("sub"));
    assert_eq!(sub.uuid, top.uuid);
    assert!(!sub.same_volume(top));
    let mut scope = scope(at);
    let found = shown(&scope);
    assert_eq!(found.names(), set(&["file", "sub", "sub/file"]));
    assert_ne!(volume(&found, "sub/file"), volume(&found, "file"));
    scope.one_file_system = true;
    assert_eq!(shown(&scope).names(), set(&["file"]));
}

fn identity(path: &Path) -> scan::VolumeIdentity {
    use std::os::fd::AsFd;
    let dir = scan::open_root(path.as_os_str().as_bytes()).unwrap();
    let seen = scan::look_self(dir.as_fd()).unwrap();
    scan::identify(dir.as_fd(), seen.mount).unwrap()
}

#[test]
fn a_plain_child_is_in_its_parents_volume() {
    use std::os::fd::AsFd;
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("file"), b"x").unwrap();
    let scope: Scope = scope(temp.path());
    let (dir, seen) = scope.open().unwrap();
    let parent = scope.root_entry().unwrap();
    let scan::Look::Present(child) = scope.look(dir.as_fd(), b"file", &|| b"file".to_vec()) else {
        panic!("not seen")
    };
    let standing = (seen.device, seen.mount);
    let member = scope.member(parent, standing, &|| b"file".to_vec(), 1, b"file", &child, dir.as_fd());
    assert_eq!(member, Member::In(parent.volume));
}
