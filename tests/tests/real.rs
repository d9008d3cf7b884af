//! Programs that people run, at work in a watched tree: an archive unpacked, repositories made and cloned, a build, a copy
//! that keeps times. Random work knows no habits; these have some that nobody would think of.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexer_tests::{Daemon, Place, need_tool, skipped};

/// Files of the system's own documentation or headers that are taken at most.
const MOST: usize = 6_000;

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str], folder: &Path) {
    let done = Command::new(&program)
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // Nor does git go on in the background when it has ended.
        .envs([
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "maintenance.auto"),
            ("GIT_CONFIG_VALUE_0", "false"),
        ])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} {arguments:?}: {said}", program.as_ref().display());
}

/// A folder of the system with at most [`MOST`] files.
fn slice() -> PathBuf {
    let fits = |folder: &PathBuf| {
        let said = Command::new("find").arg(folder).output().unwrap();
        let lines = said.stdout.iter().filter(|&&byte| byte == b'\n').count();
        (500..MOST).contains(&lines)
    };
    let candidates =
        ["/usr/lib/python3", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/share/doc", "/usr/include"];
    candidates.map(PathBuf::from).into_iter().find(fits).unwrap_or_else(|| PathBuf::from("/etc"))
}

fn programs_at_work(place: Place, flags: &[&str]) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let root = ground.root();
    let slice = slice();
    let name = slice.file_name().unwrap().to_str().unwrap();
    let above = slice.parent().unwrap();
    run("cp", &["-a", slice.to_str().unwrap(), root.join("before").to_str().unwrap()], above);
    let daemon = Daemon::start(&ground.state(), &[root], flags);
    daemon.assert_exact(root);
    let check = |what: &str| {
        daemon.settle();
        daemon.assert_exact(root);
        let du = daemon.ask(&[&"du", &root]).swap_remove(0);
        let said = Command::new("du").args(["-s", "-B1"]).arg(root).output().unwrap();
        let allocated = String::from_utf8_lossy(&said.stdout);
        assert_eq!(
            allocated.split_whitespace().next(),
            Some(&*du["allocated"].to_string()),
            "du after {what}"
        );
    };
    let at = |path: &str| root.join(path).to_str().unwrap().to_owned();

    let archive = ground.beside("slice.tar");
    run("tar", &["cf", archive.to_str().unwrap(), name], above);
    run("tar", &["xf", archive.to_str().unwrap()], root);
    check("tar x");

    match need_tool("rsync", "rsync") {
        Ok(rsync) => {
            run(&rsync, &["-a", &at("before/"), &at("copy/")], root);
            check("rsync");
            run(
                &rsync,
                &["-a", "--delete", &format!("--link-dest={}", at("before")), &at("before/"), &at("linked/")],
                root,
            );
            check("rsync --link-dest");
        }
        Err(reason) => skipped(reason),
    }
    match need_tool("git", "git") {
        Ok(git) => {
            let who = ["-c", "user.name=a", "-c", "user.email=a@b"];
            run(&git, &["init", "--quiet", "origin"], root);
            let origin = root.join("origin");
            run("cp", &["-a", &at("before"), &at("origin/files")], root);
            run(&git, &["add", "."], &origin);
            run(&git, &[&who[..], &["commit", "--quiet", "-m", "all"]].concat(), &origin);
            run(&git, &["clone", "--quiet", "origin", "clone"], root);
            run(&git, &["checkout", "--quiet", "-b", "other"], &root.join("clone"));
            run(&git, &["rm", "--quiet", "-r", "files"], &root.join("clone"));
            run(&git, &[&who[..], &["commit", "--quiet", "-m", "none"]].concat(), &root.join("clone"));
            run(&git, &["checkout", "--quiet", "-"], &root.join("clone"));
            run(&git, &["gc", "--quiet"], &root.join("clone"));
            check("git");
        }
        Err(reason) => skipped(reason),
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(&cargo, &["new", "--quiet", "--vcs", "none", "trivial"], root);
    run(&cargo, &["build", "--quiet", "--offline"], &root.join("trivial"));
    check("cargo build");
    fs::write(root.join("trivial/src/main.rs"), "fn main() { println!(\"again\") }\n").unwrap();
    run(&cargo, &["build", "--quiet", "--offline"], &root.join("trivial"));
    run(&cargo, &["clean", "--quiet"], &root.join("trivial"));
    check("cargo clean");

    run("cp", &["-al", &at("before"), &at("hard")], root);
    run("mv", &["copy", "hard/moved"], root);
    check("cp -al and mv");
    run("chmod", &["-R", "go-w", "hard"], root);
    run("rm", &["-rf", "before", "linked", "clone", name], root);
    check("rm -rf");
    let swept: Vec<_> = daemon.changes(0).into_iter().filter(|record| record["how"] == "sweep").collect();
    // inotify may be outrun; then it says so. A mark may not.
    let told = flags.contains(&"inotify") && swept.iter().any(|record| record["op"] == "gap");
    assert!(swept.is_empty() || told, "{} records by a sweep, the first: {:#?}", swept.len(), swept.first());
}

#[test]
fn programs_at_work_on_ext4() {
    programs_at_work(Place::Ext4, &[]);
}

#[test]
fn programs_at_work_here_by_inotify() {
    programs_at_work(Place::Here, &["--backend", "inotify"]);
}
