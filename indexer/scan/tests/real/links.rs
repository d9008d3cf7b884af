//! Links that are followed on request: each target once, the same ones each time, and no loops.

use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::{scope, set, shown};
use record::Kind;
use scan::{Look, Scope};

fn tree() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let real = std::fs::canonicalize(temp.path()).unwrap();
    let (root, out) = (real.join("root"), real.join("out"));
    for dir in [&root.join("dir"), &out.join("x/y")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::write(root.join("dir/file"), b"in").unwrap();
    std::fs::write(out.join("x/y/deep"), b"out").unwrap();
    std::fs::write(out.join("single"), b"single").unwrap();
    (temp, root, out)
}

fn following(root: &Path) -> Scope {
    let mut scope = scope(root);
    scope.follow_symlinks = true;
    scope
}

fn kind(shown: &crate::common::Shown, path: &str) -> Kind {
    shown.entries[path.as_bytes()].1.stat.kind
}

#[test]
fn without_the_flag_links_are_links() {
    let (_temp, root, out) = tree();
    symlink(&out, root.join("link")).unwrap();
    let found = shown(&scope(&root));
    assert_eq!(found.names(), set(&["dir", "dir/file", "link"]));
    assert_eq!(kind(&found, "link"), Kind::Symlink);
}

#[test]
fn links_out_are_entered_and_links_inside_stay() {
    let (_temp, root, out) = tree();
    symlink(out.join("x"), root.join("link")).unwrap();
    symlink(out.join("single"), root.join("single")).unwrap();
    symlink("dir", root.join("inner")).unwrap();
    symlink("dir/file", root.join("inner_file")).unwrap();
    symlink("/nowhere/at/all", root.join("broken")).unwrap();
    symlink("/proc/self/status", root.join("pseudo")).unwrap();
    let scope = following(&root);
    let found = shown(&scope);
    assert_eq!(
        found.names(),
        set(&[
            "broken",
            "dir",
            "dir/file",
            "inner",
            "inner_file",
            "link",
            "link/y",
            "link/y/deep",
            "pseudo",
            "single"
        ])
    );
    for (path, expected) in [
        ("link", Kind::Directory),
        ("single", Kind::File),
        ("inner", Kind::Symlink),
        ("inner_file", Kind::Symlink),
        ("broken", Kind::Symlink),
        ("pseudo", Kind::Symlink),
    ] {
        assert_eq!(kind(&found, path), expected, "{path}");
    }
    // A look at a hint, and an opening by path, see the same as the walk.
    let (dir, _) = scope.open().unwrap();
    let Look::Present(seen) = scope.look(dir.as_fd(), b"link", &|| b"link".to_vec()) else { panic!() };
    assert!(seen.same_inode(&found.entries[&b"link"[..]].1));
    let opened = scope.open_below(dir.as_fd(), &[b"link", b"y"]).unwrap();
    let y = scan::look_self(opened.as_fd()).unwrap();
    assert!(y.same_inode(&found.entries[&b"link/y"[..]].1));
}

#[test]
fn a_target_is_entered_once_by_the_least_path() {
    let (_temp, root, out) = tree();
    symlink(out.join("x"), root.join("b")).unwrap();
    symlink(out.join("x"), root.join("c")).unwrap();
    // Below a target that is entered already.
    symlink(out.join("x/y"), root.join("d")).unwrap();
    for _ in 0..5 {
        let found = shown(&following(&root));
        assert_eq!(found.names(), set(&["b", "b/y", "b/y/deep", "c", "d", "dir", "dir/file"]));
        assert_eq!((kind(&found, "c"), kind(&found, "d")), (Kind::Symlink, Kind::Symlink));
    }
}

#[test]
fn a_target_that_holds_another_leaves_it_out() {
    let (_temp, root, out) = tree();
    symlink(out.join("x/y"), root.join("a")).unwrap();
    symlink(&out, root.join("b")).unwrap();
    let found = shown(&following(&root));
    assert_eq!(found.names(), set(&["a", "a/deep", "b", "b/single", "b/x", "dir", "dir/file"]));
}

#[test]
fn loops_end() {
    let (_temp, root, out) = tree();
    // Out to a directory that leads back, to itself, and to a parent of the root.
    symlink(out.join("x"), root.join("link")).unwrap();
    symlink(&root, out.join("x/back")).unwrap();
    symlink(".", out.join("x/self")).unwrap();
    symlink(root.parent().unwrap(), out.join("x/up")).unwrap();
    symlink(out.join("x/y"), out.join("x/y/again")).unwrap();
    let found = shown(&following(&root));
    assert_eq!(
        found.names(),
        set(&[
            "dir",
            "dir/file",
            "link",
            "link/back",
            "link/self",
            "link/up",
            "link/up/out",
            "link/up/out/single",
            "link/y",
            "link/y/again",
            "link/y/deep"
        ]),
    );
    assert_eq!(kind(&found, "link/back"), Kind::Symlink);
    assert_eq!(kind(&found, "link/up"), Kind::Directory);
}
