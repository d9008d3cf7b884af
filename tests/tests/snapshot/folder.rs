//! Folders of snapshots: what is written comes into place whole, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use indexer_tests::{
    Killer, Place, TmpfsMount, done, independent_walk, indexer, indexer_binary, parquet_footer, parquet_rows,
    skipped, stderr, unprivileged,
};
use rustix::process::Signal;
use serde_json::Value;

use super::{digest, fill, scanned, summary};

/// Everything below `folder`, by its path in it.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(
                below(&path).into_iter().map(|inner| Path::new(path.file_name().unwrap()).join(inner)),
            );
        }
        found.insert(path.file_name().unwrap().into());
    }
    found
}

/// The folder of a root's snapshot of today, in `top`: the only one.
fn leaf(top: &Path) -> PathBuf {
    // What a killed run left is hidden.
    let hidden = |path: &Path| path.components().any(|part| part.as_os_str().as_bytes().starts_with(b"."));
    let manifest = below(top).into_iter().find(|path| path.ends_with("_manifest.json") && !hidden(path));
    top.join(manifest.expect("a manifest").parent().unwrap())
}

/// A folder of ours says what lies in it.
fn check_folder(leaf: &Path, root: &Path) -> Value {
    let manifest: Value = serde_json::from_slice(&fs::read(leaf.join("_manifest.json")).unwrap()).unwrap();
    let file = leaf.join("snapshot.parquet");
    assert_eq!(manifest["files"][0]["blake3"], digest(&file));
    assert_eq!(manifest["bytes"].as_u64(), Some(file.symlink_metadata().unwrap().len()));
    assert_eq!(manifest["root"], root.to_str().unwrap());
    let (metadata, footer) = parquet_footer(&file);
    assert_eq!(manifest["rows"].as_i64(), Some(metadata.file_metadata().num_rows()));
    assert_eq!(manifest["watermark"].to_string(), footer["indexer.watermark"]);
    assert_eq!(manifest["epoch"], footer["indexer.epoch"]);
    let words: Vec<String> =
        leaf.components().rev().take(3).map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
    assert!(
        words[0].starts_with("date=20") && words[2] == format!("host={}", footer["indexer.host"]),
        "{words:?}"
    );
    assert_eq!(words[1], format!("root={}", root.to_str().unwrap().replace('/', "%2F")));
    manifest
}

#[test]
fn a_folder_holds_each_root_and_a_second_run_needs_force() {
    let ground = Place::Here.open().unwrap();
    let (one, two) = (ground.root().join("one"), ground.root().join("two"));
    for root in [&one, &two] {
        fs::create_dir(root).unwrap();
        fs::write(root.join("file"), "x").unwrap();
    }
    done(&indexer(&ground.state(), &[&"scan", &one, &two]));
    let top = ground.beside("out");
    let take = |more: &[&dyn AsRef<OsStr>]| {
        let mut words: Vec<&dyn AsRef<OsStr>> = vec![&"snapshot", &"--json"];
        words.extend(more);
        indexer(&ground.state(), &words)
    };
    let refused = |said: &Output, why: &str| {
        assert_eq!(said.status.code(), Some(2), "{}", stderr(said));
        assert!(stderr(said).contains(why), "{}", stderr(said));
    };
    let told = summary(&take(&[&"--output", &top]));
    assert_eq!((told["roots"].as_array().unwrap().len(), told["rows"].as_u64()), (2, Some(4)));
    for (root, told) in [&one, &two].into_iter().zip(told["roots"].as_array().unwrap()) {
        let leaf = Path::new(told["file"].as_str().unwrap()).parent().unwrap();
        check_folder(leaf, root);
    }
    let before = below(&top);
    refused(&take(&[&"--output", &top]), "is there already");
    assert_eq!(below(&top), before);
    fs::write(one.join("more"), "x").unwrap();
    done(&indexer(&ground.state(), &[&"scan", &one, &two]));
    summary(&take(&[&"--output", &top, &"--force", &"--root", &one]));
    assert_eq!(below(&top), before, "nothing beside");
    let mine = told["roots"][0]["file"].as_str().unwrap();
    assert_eq!(check_folder(Path::new(mine).parent().unwrap(), &one)["rows"], 3);
    fs::write(Path::new(mine).with_file_name("notes.txt"), "mine").unwrap();
    refused(&take(&[&"--output", &top, &"--force", &"--root", &one]), "no snapshot's");
    assert_eq!(fs::read(Path::new(mine).with_file_name("notes.txt")).unwrap(), b"mine");

    // By itself it lies in the state folder, which is nobody's root.
    summary(&take(&[]));
    assert!(ground.state().join("snapshots").is_dir());

    let file = ground.beside("f.parquet");
    refused(&take(&[&"--output", &file]), "2 roots");
    refused(&take(&[&"--output", &file, &"--root", &ground.beside("nothing")]), "is no root");
    summary(&take(&[&"--output", &file, &"--root", &two]));
    refused(&take(&[&"--output", &file, &"--root", &two]), "is there already");
    summary(&take(&[&"--output", &file, &"--root", &two, &"--force"]));
    for url in ["ftp://host/x.parquet", "https://host", "hdfs://c/x"] {
        refused(&take(&[&"--output", &url, &"--root", &two]), "s3://, gs:// and az:// alone");
    }
    let folder = ground.beside("folder.parquet");
    fs::create_dir(&folder).unwrap();
    refused(&take(&[&"--output", &folder, &"--root", &two, &"--force"]), "is a folder");
    let said = take(&[&"--output", &file.join("below"), &"--root", &two]);
    assert_eq!(said.status.code(), Some(3), "a file is no folder: {}", stderr(&said));
    let said = take(&[&"--output", &ground.beside("missing").join("x.parquet"), &"--root", &two]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(!ground.beside("missing").is_dir());
}

#[test]
fn a_full_disk_leaves_nothing() {
    let ground = scanned();
    let mount = match TmpfsMount::new("size=4k") {
        Ok(mount) => mount,
        Err(reason) => return skipped(reason),
    };
    for output in [mount.path().join("x.parquet"), mount.path().join("folder")] {
        let said = indexer(&ground.state(), &[&"snapshot", &"--output", &output]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("No space left"), "{}", stderr(&said));
        let left: Vec<PathBuf> =
            below(mount.path()).into_iter().filter(|path| mount.path().join(path).is_file()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_folder_without_the_right_to_write_is_said() {
    let ground = Place::Here.open().unwrap();
    fs::write(ground.root().join("file"), "x").unwrap();
    let program = ground.lend(indexer_binary());
    let run = |words: &[&dyn AsRef<OsStr>]| {
        let mut command = Command::new(&program);
        command.arg("--state").arg(ground.state()).args(words.iter().map(|word| word.as_ref()));
        // The home of whoever runs the test is not that user's to read.
        command.env("HOME", ground.state()).env_remove("XDG_CONFIG_HOME");
        unprivileged(&mut command);
        command.output().unwrap()
    };
    done(&run(&[&"scan", &ground.root()]));
    let closed = ground.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    for output in [closed.join("x.parquet"), closed.join("folder")] {
        let said = run(&[&"snapshot", &"--output", &output]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("ermission denied"), "{}", stderr(&said));
    }
    assert!(below(&closed).is_empty());
    // Where it may write, it does.
    done(&run(&[&"snapshot"]));
}

#[test]
fn killed_at_any_moment_it_leaves_no_half_file_and_the_next_run_tidies() {
    let ground = Place::Here.open().unwrap();
    fill(ground.root());
    for dir in 0..20 {
        let dir = ground.root().join(format!("more {dir}"));
        fs::create_dir(&dir).unwrap();
        (0..300).for_each(|number| fs::write(dir.join(format!("{number}")), "").unwrap());
    }
    done(&indexer(&ground.state(), &[&"scan", &ground.root()]));
    let rows = independent_walk(ground.root()).len();
    let outputs = [ground.beside("x.parquet"), ground.beside("folder")];
    let mut died = 0;
    for output in &outputs {
        let began = Instant::now();
        done(&indexer(&ground.state(), &[&"snapshot", &"--output", output]));
        let mut killer = Killer::new(7, began.elapsed());
        for _ in 0..20 {
            let mut command = Command::new(indexer_binary());
            command.arg("--state").arg(ground.state()).args(["snapshot", "--force", "--output"]).arg(output);
            killer.run(command, Signal::KILL);
            // What is under a final name is whole, be it the old or the new.
            let file = if output.is_dir() { leaf(output).join("snapshot.parquet") } else { output.clone() };
            assert_eq!(parquet_rows(&file).len(), rows);
            if output.is_dir() {
                check_folder(&leaf(output), ground.root());
            }
        }
        died += killer.died();
        done(&indexer(&ground.state(), &[&"snapshot", &"--force", &"--output", output]));
    }
    assert!(died >= 20, "only {died} of 40 were killed before their end");
    let left =
        below(&ground.beside("")).into_iter().filter(|path| path.to_string_lossy().contains(".partial"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}
