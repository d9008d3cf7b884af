//! What is in place is whole, whoever writes beside it and whatever was left.

use std::fs;
use std::io::Write as _;

use super::Aside;
use crate::error::SnapshotError;

const OURS: [&str; 2] = ["rows", "more"];

#[test]
fn a_file_comes_into_place_whole_and_one_writer_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let (place, left) = (temp.path().join("x"), temp.path().join(".x.partial"));
    fs::write(&left, "what a killed run left, and more of it").unwrap();
    let aside = Aside::file(&place, false).unwrap();
    assert!(matches!(Aside::file(&place, false), Err(SnapshotError::Busy(_))));
    aside.open().unwrap().write_all(b"whole").unwrap();
    assert!(!place.is_file());
    aside.commit().unwrap();
    assert_eq!(fs::read(&place).unwrap(), b"whole");
    assert!(matches!(Aside::file(&place, false), Err(SnapshotError::Exists(_))));
    drop(Aside::file(&place, true).unwrap());
    assert!(!left.try_exists().unwrap(), "given up, it is gone");
    let aside = Aside::file(&place, true).unwrap();
    aside.commit().unwrap();
    assert_eq!(fs::read(&place).unwrap(), b"");
}

#[test]
fn what_came_into_place_meanwhile_is_not_written_over() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("x");
    let aside = Aside::file(&place, false).unwrap();
    fs::write(&place, "another's").unwrap();
    assert!(matches!(aside.commit(), Err(SnapshotError::Exists(_))));
    assert_eq!(fs::read(&place).unwrap(), b"another's");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_link_and_a_pipe_aside_are_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let (place, target) = (temp.path().join("x"), temp.path().join("target"));
    fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, temp.path().join(".x.partial")).unwrap();
    assert!(matches!(Aside::file(&place, false), Err(SnapshotError::File { .. })));
    assert_eq!(fs::read(&target).unwrap(), b"mine");
}

#[test]
fn a_folder_is_replaced_as_a_whole_and_never_what_is_not_ours() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("above/x");
    for (text, over) in [("one", false), ("two", true)] {
        let aside = Aside::folder(&place, &OURS, over).unwrap();
        assert!(matches!(Aside::folder(&place, &OURS, over), Err(SnapshotError::Busy(_))));
        fs::write(aside.path().join("rows"), text).unwrap();
        aside.commit().unwrap();
        assert_eq!(fs::read_to_string(place.join("rows")).unwrap(), text);
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "nothing is left beside");
    }
    assert!(matches!(Aside::folder(&place, &OURS, false), Err(SnapshotError::Exists(_))));
    fs::write(place.join("notes"), "").unwrap();
    assert!(matches!(Aside::folder(&place, &OURS, true), Err(SnapshotError::Foreign(_))));
}

/// On a file system without an exchange a run may be killed between two names.
#[test]
fn what_was_to_be_replaced_comes_back_or_goes() {
    let temp = tempfile::tempdir().unwrap();
    let (place, old) = (temp.path().join("x"), temp.path().join(".x.partial.old"));
    let make = |path: &std::path::Path, text: &str| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("rows"), text).unwrap();
    };
    make(&old, "old");
    drop(Aside::folder(&place, &OURS, true).unwrap());
    assert_eq!(fs::read_to_string(place.join("rows")).unwrap(), "old");
    make(&old, "older");
    drop(Aside::folder(&place, &OURS, true).unwrap());
    assert_eq!(fs::read_to_string(place.join("rows")).unwrap(), "old");
    assert!(!old.try_exists().unwrap());
}
