//! What cannot be opened is refused by name, and never by a panic.

use std::path::Path;

use super::make::{look, with_root};
use crate::tables::META;
use crate::{FORMAT, Index, OpenError, Settings};

const SMALL: Settings = Settings { cache: 1 << 20, repair: crate::Repair::Walk };

fn open(path: &Path) -> Result<Index, OpenError> {
    Index::open(path, SMALL)
}

/// A closed index with a few rows.
fn made(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("index.redb");
    let index = Index::create(&path, SMALL).unwrap();
    with_root(&index);
    look(&index, 1, &[(b"a", Some((10, 5))), (b"b", Some((11, 5)))]);
    path
}

#[test]
fn each_obstacle_has_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(matches!(open(&at("none")), Err(OpenError::Missing(_))));
    std::fs::write(at("empty"), b"").unwrap();
    assert!(matches!(open(&at("empty")), Err(OpenError::Damaged { .. })));
    assert!(matches!(Index::create(&at("empty"), SMALL), Err(OpenError::Damaged { .. })));
    let noise: Vec<u8> = (0..100_000u32).map(|nth| (nth.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(at("noise"), &noise).unwrap();
    assert!(matches!(open(&at("noise")), Err(OpenError::Damaged { .. })));
    assert!(open(folder.path()).is_err(), "a folder is no index");
    let path = made(folder.path());
    let _held = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::InUse(_))));
    assert!(matches!(Index::create(&path, SMALL), Err(OpenError::InUse(_))));
    assert!(matches!(Index::open_read_only(&path, SMALL), Err(OpenError::InUse(_))));
}

#[test]
fn several_may_read_and_none_may_write_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let one = Index::open_read_only(&path, SMALL).unwrap();
    let two = Index::open_read_only(&path, SMALL).unwrap();
    assert_eq!(one.read().unwrap().seq().unwrap(), two.read().unwrap().seq().unwrap());
    assert!(one.commit(crate::Edits::default()).is_err());
    assert!(matches!(open(&path), Err(OpenError::InUse(_))));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(folder.path());
    let set = |format: Option<u64>| {
        let index = open(&path).unwrap();
        let transaction = index.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            match format {
                Some(format) => drop(meta.insert("format", format).unwrap()),
                None => drop(meta.remove("format").unwrap()),
            }
        }
        transaction.commit().unwrap();
    };
    set(Some(u64::from(FORMAT) + 1));
    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found, known: FORMAT, .. } if found == FORMAT + 1));
    assert!(error.to_string().contains("newer"), "{error}");
    assert!(matches!(Index::open_read_only(&path, SMALL), Err(OpenError::Newer { .. })));
}

#[test]
fn a_folder_that_may_not_be_written_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(closed.join("probe"), b"").is_ok() {
        println!("SKIPPED: this user may write to any folder");
        return;
    }
    assert!(matches!(Index::create(&closed.join("index"), SMALL), Err(OpenError::Io { .. })));
}

/// A new index appears whole or not at all: what a crash while making it leaves is not taken for one.
#[test]
fn a_new_index_appears_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.redb");
    drop(Index::create(&path, SMALL).unwrap());
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["index.redb"], "nothing but the index is left");
}
