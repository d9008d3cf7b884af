//! Undo: files of their own again, as they were, or the reason why not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use duplicates::{Report, What, Why, undo};

use crate::support::{Ground, inode, quiet, set, why};

fn undone(log: &Path, apply: bool) -> Vec<Report> {
    let mut said = Vec::new();
    let mut tell = |report| {
        said.push(report);
        Ok(())
    };
    undo(log, &quiet(), apply, &mut tell).unwrap();
    said
}

#[test]
fn files_come_back_with_owner_mode_and_times() {
    let ground = Ground::new();
    let mut content = vec![0; 3 << 20];
    content[5] = 1;
    let odd = b"beyond text \xff";
    let one = ground.file("one", &content, 9);
    let other = ground.path("").join(std::os::unix::ffi::OsStrExt::from_bytes(&odd[..]) as &std::ffi::OsStr);
    fs::rename(ground.file("other", &content, 5), &other).unwrap();
    for path in [&one, &other] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let was = other.symlink_metadata().unwrap();
    ground.link(&set(&[&[&one], &[&other]]), &quiet());
    assert_eq!(inode(&one), inode(&other));
    let said = undone(&ground.log(), false);
    assert!(said.len() == 1 && matches!(said[0].what, What::Would), "{said:?}");
    assert_eq!(inode(&one), inode(&other));

    let said = undone(&ground.log(), true);
    assert!(said.len() == 1 && matches!(said[0].what, What::Done), "{said:?}");
    let is = other.symlink_metadata().unwrap();
    assert_ne!(is.ino(), inode(&one));
    let all = |meta: &fs::Metadata| {
        (meta.mode(), meta.uid(), meta.gid(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.nlink())
    };
    assert_eq!(all(&is), all(&was));
    assert!(fs::read(&other).unwrap() == content);
    // Holes stay holes.
    assert!(is.blocks() * 512 <= 1 << 20, "{}", is.blocks());
    assert!(ground.beside().is_empty());
    assert!(undone(&ground.log(), true).is_empty());
}

#[test]
fn what_is_no_longer_that_link_stays() {
    let ground = Ground::new();
    let files = [1, 2, 3, 4].map(|age| ground.file(&age.to_string(), b"same", 9 - age));
    let [one, replaced, removed, left] = &files;
    let link = || ground.link(&set(&[&[one], &[replaced], &[removed], &[left]]), &quiet());
    link();
    fs::remove_file(replaced).unwrap();
    fs::write(replaced, b"mine").unwrap();
    fs::remove_file(removed).unwrap();
    let said = undone(&ground.log(), true);
    assert!(matches!(said[0].what, What::Done), "{said:?}");
    assert!(matches!(why(&said[1]), Why::Gone) && matches!(why(&said[2]), Why::NoLink), "{said:?}");
    assert_eq!((fs::read(replaced).unwrap(), inode(left) == inode(one)), (b"mine".to_vec(), false));

    // Written to since: all names have that content, and it is not taken apart.
    let files = [1, 2].map(|age| ground.file(&format!("d/{age}"), b"same", 9 - age));
    ground.link(&set(&[&[&files[0]], &[&files[1]]]), &quiet());
    fs::write(&files[0], b"more than that").unwrap();
    let said = undone(&ground.log(), true);
    assert!(matches!(why(&said[0]), Why::NoLink), "{said:?}");
    assert_eq!(inode(&files[0]), inode(&files[1]));
}
