//! The walk against a hand-made index: what is missing, extra or differs must come out, and nothing else.

use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use record::{Kind, Stat, Time};

use super::walk::Step;
use super::*;
use crate::engine::StoredRules;
use crate::query::testing::{Made, of_stats};
use crate::query::{FindRequest, find};

/// The fields of one look as the index stores them.
fn row(side: &Side) -> Stat {
    let stat = &side.stat;
    Stat {
        kind: Kind::from_word(&stat.kind).unwrap(),
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        links: stat.links,
        size: stat.size,
        allocated: stat.allocated,
        modified: Time(stat.modified_ns),
        changed: Time(stat.changed_ns),
        accessed: Time(stat.accessed_ns),
        created: stat.created_ns.map(Time),
    }
}

fn scope(top: &Path, rules: &StoredRules) -> Scope {
    Scope::new(top.as_os_str().as_bytes(), rules, Vec::new()).unwrap()
}

fn walked(scope: &Scope) -> Vec<(Vec<u8>, Side)> {
    Walk::new(scope)
        .map(|step| match step {
            Step::Entry { path, side } => (path, side),
            Step::Covered { path } => panic!("covered: {}", path.escape_ascii()),
            Step::Blind { path, why } => panic!("{}: {why}", path.escape_ascii()),
        })
        .collect()
}

/// An index that is true of `top` now, `change` applied to what it is told.
fn index(top: &Path, change: impl Fn(&[u8], &mut Stat)) -> Made {
    let all = walked(&scope(top, &StoredRules::default()));
    let length = all[0].0.len() + 1;
    let mut leaves = Vec::new();
    for (path, side) in &all[1..] {
        let mut stat = row(side);
        change(&path[length..], &mut stat);
        leaves.push((&path[length..], side.inode, stat));
    }
    of_stats(top.as_os_str().as_bytes(), row(&all[0].1), all[0].1.inode, &leaves)
}

fn merged(made: &Made, scope: &Scope) -> Vec<String> {
    let mut merge = Merge::new(Walk::new(scope));
    find(&made.reader(), &FindRequest::default(), &mut |entry| {
        let entry = crate::api::EntryView::of(entry).unwrap();
        merge.stored(entry.path, Side { stat: entry.stat, inode: entry.inode });
        true
    })
    .unwrap();
    while merge.rest() {}
    let mut said = Vec::new();
    for Candidate { path, stored, seen } in merge.candidates {
        let found = difference(&path, stored.as_ref(), seen.as_ref()).unwrap();
        let again = look_at(scope, &path).unwrap();
        assert!(difference(&path, again.as_ref(), seen.as_ref()).is_none(), "a second look sees the same");
        let name = scope.relative(&path).unwrap().escape_ascii().to_string();
        said.push(format!("{} {name}", found.what));
    }
    said
}

fn tree() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path();
    for dir in ["a", "a/b", "c", "empty"] {
        std::fs::create_dir(top.join(dir)).unwrap();
    }
    for file in ["a/1", "a/b/2", "a.txt", "c/3", "z"] {
        std::fs::write(top.join(file), file).unwrap();
    }
    std::fs::hard_link(top.join("z"), top.join("c/z")).unwrap();
    std::os::unix::fs::symlink("nowhere", top.join("link")).unwrap();
    std::fs::write(top.join(std::ffi::OsStr::from_bytes(b"\xff\n")), b"").unwrap();
    temp
}

#[test]
fn a_true_index_is_equal() {
    let temp = tree();
    let top = temp.path().canonicalize().unwrap();
    assert_eq!(merged(&index(&top, |_, _| {}), &scope(&top, &StoredRules::default())), [""; 0]);
}

#[test]
fn what_is_missing_extra_or_differs_is_found() {
    let temp = tree();
    let top = temp.path().canonicalize().unwrap();
    let made = index(&top, |path, stat| {
        if path == b"c/3" {
            stat.mode ^= 1;
        }
    });
    std::fs::remove_dir_all(top.join("a/b")).unwrap();
    std::fs::create_dir(top.join("new")).unwrap();
    std::fs::write(top.join("new/file"), b"").unwrap();
    let said = merged(&made, &scope(&top, &StoredRules::default()));
    let expected = [
        "differs ",
        "differs a",
        "extra a/b",
        "extra a/b/2",
        "differs c/3",
        "missing new",
        "missing new/file",
    ];
    assert_eq!(said, expected);
}

#[test]
fn rules_leave_out_what_they_name() {
    let temp = tree();
    let top = temp.path().canonicalize().unwrap();
    std::fs::write(top.join(".indexerignore"), "*.txt\n").unwrap();
    let names = |rules: &StoredRules| -> Vec<String> {
        let scope = scope(&top, rules);
        let all = walked(&scope);
        all.iter().map(|(path, _)| scope.relative(path).unwrap().escape_ascii().to_string()).collect()
    };
    let rules = StoredRules { excludes: vec!["/c/".into(), "1".into()], ..StoredRules::default() };
    let left = ["", ".indexerignore", "a", "a/b", "a/b/2", "empty", "link", "z", "\\xff\\n"];
    assert_eq!(names(&rules), left);
    let shallow = StoredRules { max_depth: Some(1), ..StoredRules::default() };
    assert!(names(&shallow).iter().all(|name| !name.contains('/')));
    let out = look_at(&scope(&top, &rules), top.join("c/3").as_os_str().as_bytes()).unwrap();
    assert_eq!(out, None, "what is left out is not there");
}

#[test]
fn the_state_folder_is_left_out_by_inode() {
    let temp = tree();
    let top = temp.path().canonicalize().unwrap();
    let empty =
        look::look_self(look::open_path(top.join("empty").as_os_str().as_bytes()).unwrap().as_fd()).unwrap();
    let left_out = vec![(empty.device, empty.side.inode)];
    let scope = Scope::new(top.as_os_str().as_bytes(), &StoredRules::default(), left_out).unwrap();
    assert!(walked(&scope).iter().all(|(path, _)| !path.ends_with(b"empty")));
}

/// Deeper than descriptors are kept, longer than PATH_MAX.
#[test]
fn depth_is_no_limit() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let name = [b'd'; 100];
    let mut at = look::open_path(top.as_os_str().as_bytes()).unwrap();
    for _ in 0..300 {
        rustix::fs::mkdirat(&at, &name[..], rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::mkdirat(&at, c"x", rustix::fs::Mode::RWXU).unwrap();
        at = look::open(at.as_fd(), &name).unwrap();
    }
    let scope = scope(&top, &StoredRules::default());
    let all = walked(&scope);
    assert_eq!(all.len(), 601);
    assert!(all.windows(2).all(|pair| merge::order(&pair[0].0, &pair[1].0).is_lt()));
    let (deepest, side) = all.iter().max_by_key(|(path, _)| path.len()).unwrap();
    assert!(deepest.len() > 30_000);
    assert!(look_at(&scope, deepest).unwrap().is_some_and(|again| again.agrees(side)));
}

#[test]
fn an_unreadable_directory_is_unknown_and_nothing_below_it_is_extra() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root may read every directory");
        return;
    }
    let temp = tree();
    let top = temp.path().canonicalize().unwrap();
    let made = index(&top, |_, _| {});
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(top.join("a"), mode(0o000)).unwrap();
    let said = merged(&made, &scope(&top, &StoredRules::default()));
    std::fs::set_permissions(top.join("a"), mode(0o755)).unwrap();
    assert_eq!(said, ["differs a"], "its mode alone");
}

/// A link outside is entered once, by its least path; one inside or into a target stays a link.
#[test]
fn followed_links_are_told_once() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let (root, out) = (top.join("root"), top.join("out"));
    for dir in [&root, &root.join("in"), &out, &out.join("deep")] {
        std::fs::create_dir(dir).unwrap();
    }
    std::fs::write(out.join("deep/file"), b"1").unwrap();
    std::fs::write(top.join("lone"), b"22").unwrap();
    let link = |target: &Path, at: &Path| std::os::unix::fs::symlink(target, at).unwrap();
    link(&out, &root.join("b"));
    link(&out, &root.join("c"));
    link(&out.join("deep"), &root.join("d"));
    link(&root.join("in"), &root.join("e"));
    link(&top.join("lone"), &root.join("f"));
    link(&root, &out.join("loop"));
    let rules = StoredRules { follow_symlinks: true, ..StoredRules::default() };
    let scope = scope(&root, &rules);
    let all = walked(&scope);
    let kinds: Vec<String> = all
        .iter()
        .map(|(path, side)| {
            let name = scope.relative(path).unwrap().escape_ascii().to_string();
            format!("{name} {}", side.stat.kind)
        })
        .collect();
    let expected = [
        " directory",
        "b directory",
        "b/deep directory",
        "b/deep/file file",
        "b/loop symlink",
        "c symlink",
        "d symlink",
        "e symlink",
        "f file",
        "in directory",
    ];
    assert_eq!(kinds, expected);
    for (path, side) in &all {
        assert!(
            look_at(&scope, path).unwrap().is_some_and(|again| again.agrees(side)),
            "{}",
            path.escape_ascii()
        );
    }
}
