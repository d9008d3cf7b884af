//! What can be a root and what cannot, what is in its scope, and where the state may lie. A mistake of the user's gets exit 2
//! and a sentence that helps; a state folder that cannot be used gets exit 3 and is left as it was.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use indexer_tests::{Daemon, Place, TmpfsMount, find_json, indexer, need_root, skipped, stderr, wait_for};
use rustix::process::Signal;

fn watch(state: &Path, roots: &[&Path]) -> Output {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"watch"];
    for root in roots {
        arguments.push(root);
    }
    indexer(state, &arguments)
}

fn names(daemon: &Daemon, root: &Path) -> Vec<String> {
    let below = |path: &Vec<u8>| {
        String::from_utf8_lossy(&path[root.as_os_str().len()..]).trim_start_matches('/').to_owned()
    };
    find_json(daemon, root).keys().map(below).collect()
}

#[test]
fn what_cannot_be_a_root_is_refused_with_a_reason() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    fs::create_dir(root.join("inner")).unwrap();
    fs::write(root.join("file"), b"x").unwrap();
    symlink(root, ground.beside("link")).unwrap();
    symlink("nowhere", ground.beside("dangling")).unwrap();
    let (file, missing, inner) = (root.join("file"), root.join("missing"), root.join("inner"));
    let below_file = file.join("below");
    for (roots, word) in [
        (vec![&*missing], "does not exist"),
        (vec![&*file], "not a directory"),
        (vec![&*below_file], "does not exist"),
        (vec![&*ground.beside("link")], "symbolic link"),
        (vec![&*ground.beside("dangling")], "symbolic link"),
        (vec![Path::new("/proc")], "kernel"),
        (vec![Path::new("/proc/sys")], "kernel"),
        (vec![Path::new("/sys")], "kernel"),
        (vec![root, &*inner], "inside"),
        (vec![&*inner, root], "inside"),
        (vec![root, root], "twice"),
        (vec![root, &*inner.join("..")], "twice"),
        (vec![], "root"),
    ] {
        let said = watch(&state, &roots);
        assert_eq!(said.status.code(), Some(2), "{roots:?}: {}", stderr(&said));
        assert!(stderr(&said).contains(word), "{roots:?}: no `{word}` in: {}", stderr(&said));
        assert!(said.stdout.is_empty());
        for path in &roots[..roots.len().min(1)] {
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(stderr(&said).contains(&*name), "it does not name {name}: {}", stderr(&said));
        }
    }
    // Nor inside one that the index has.
    let mut daemon = Daemon::start(&state, &[root], &[]);
    assert!(daemon.terminate().success());
    let said = watch(&state, &[&inner]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("inside"), "{}", stderr(&said));
}

/// The index writes into the tree it watches; were it to look at itself, each look would be the cause of the next.
fn state_inside(flags: &[&str]) {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::write(root.join("file"), b"x").unwrap();
    let state = root.join("sub/state");
    fs::create_dir_all(&state).unwrap();
    let mut daemon = Daemon::start(&state, &[root], flags);
    daemon.settle();
    let seq = daemon.seq();
    for _ in 0..5 {
        daemon.settle();
    }
    assert_eq!(daemon.seq(), seq, "it hears itself: {:#?}", daemon.changes(seq));
    daemon.while_stopped(|| {
        fs::write(root.join("sub/beside"), b"x").unwrap();
        fs::write(state.join("of somebody else"), b"x").unwrap();
    });
    daemon.settle();
    assert_eq!(daemon.told(seq), ["created beside"]);
    assert_eq!(names(&daemon, root), ["", "file", "sub", "sub/beside"]);
    daemon.assert_exact_without(root, &[&state]);
    // Moved elsewhere inside the tree it stays out of scope: it is known by inode.
    assert!(daemon.terminate().success());
    fs::rename(&state, root.join("moved")).unwrap();
    let daemon = Daemon::start(&root.join("moved"), &[], flags);
    daemon.settle();
    daemon.assert_exact_without(root, &[&root.join("moved")]);
    assert_eq!(names(&daemon, root), ["", "file", "sub", "sub/beside"]);
}

#[test]
fn the_state_may_lie_inside_the_tree() {
    state_inside(&[]);
}

#[test]
fn the_state_may_lie_inside_the_tree_by_inotify() {
    state_inside(&["--backend", "inotify"]);
}

#[test]
fn a_damaged_or_newer_index_is_refused_and_left_alone() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    fs::write(root.join("file"), b"x").unwrap();
    let mut daemon = Daemon::start(&state, &[root], &[]);
    assert!(daemon.terminate().success());
    let index = state.join("index.redb");
    let good = fs::read(&index).unwrap();
    let mut torn = good.clone();
    torn[..256].fill(0xA5);
    for (what, bytes) in [
        ("noise", (0..100_000u32).map(|n| (n * 7919 % 251) as u8).collect::<Vec<u8>>()),
        ("text", b"this is no index\n".to_vec()),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("a header of noise", torn),
    ] {
        fs::write(&index, &bytes).unwrap();
        for command in [
            vec!["watch"],
            vec!["find"],
            vec!["status"],
            vec!["du"],
            vec!["changes"],
            vec!["scan"],
            vec!["doctor"],
        ] {
            let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
                command.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
            let said = indexer(&state, &arguments);
            let error = stderr(&said);
            assert_eq!(said.status.code(), Some(3), "{what}, {command:?}: {error}");
            assert!(
                error.contains("index.redb") && error.contains("move it away") && !error.contains("panicked"),
                "{what}, {command:?}: {error}"
            );
        }
        assert!(fs::read(&index).unwrap() == bytes, "{what}: the file was touched");
    }
    fs::write(&index, &good).unwrap();
    // Damage in the middle, of a page that opening does not read: every answer is an answer, and `doctor` tells.
    let whole: Vec<Vec<u8>> = ["find", "changes"].map(|word| indexer(&state, &[&word]).stdout).into();
    let used = (4096..good.len()).filter(|at| good[*at] != 0).collect::<Vec<_>>();
    for nth in 0..12 {
        let mut bytes = good.clone();
        for at in used[nth * used.len() / 12..].iter().take(200) {
            bytes[*at] ^= 0x10;
        }
        fs::write(&index, &bytes).unwrap();
        let doctor = indexer(&state, &[&"doctor"]);
        let told = !doctor.status.success();
        for (word, right) in ["find", "changes"].iter().zip(&whole) {
            let said = indexer(&state, &[word]);
            let error = stderr(&said);
            assert!(!error.contains("panicked"), "{nth}, {word}: {error}");
            match said.status.code() {
                Some(0 | 1) => {
                    assert!(told || said.stdout == *right, "{nth}, {word}: other answers, and no word of it");
                }
                code => assert!(code == Some(3) && told, "{nth}, {word}: {code:?}: {error}"),
            }
        }
        let error = stderr(&doctor);
        assert!(!told || error.contains("index.redb") && error.contains("move it away"), "{nth}: {error}");
        assert!(fs::read(&index).unwrap() == bytes, "{nth}: the file was touched");
    }
    fs::write(&index, &good).unwrap();
    let daemon = Daemon::start(&state, &[], &[]);
    daemon.assert_exact(root);
}

#[test]
fn a_state_folder_that_cannot_be_written_to_is_named() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    // A file where the folder should be: no rights help against that.
    fs::write(ground.beside("file"), b"").unwrap();
    for state in [ground.beside("file"), ground.beside("file").join("below")] {
        let said = watch(&state, &[root]);
        assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
        assert!(stderr(&said).contains("file") && stderr(&said).contains("--state"), "{}", stderr(&said));
    }
    if let Err(reason) = need_root("a read-only mount") {
        return skipped(reason);
    }
    let mount = TmpfsMount::new("mode=755").unwrap();
    let state = mount.path().join("state");
    let mut daemon = Daemon::start(&state, &[root], &[]);
    assert!(daemon.terminate().success());
    let remount = |how: &str| {
        let done = std::process::Command::new("mount").args(["-o", how]).arg(mount.path()).status().unwrap();
        assert!(done.success());
    };
    remount("remount,ro");
    let said = watch(&state, &[root]);
    assert_eq!(said.status.code(), Some(3), "{}", stderr(&said));
    assert!(stderr(&said).contains("state") && stderr(&said).contains("ead-only"), "{}", stderr(&said));
    // Reading needs no writing.
    let said = indexer(&state, &[&"find"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    remount("remount,rw");
}

#[test]
fn a_second_daemon_is_refused_by_name_and_pid() {
    let ground = Place::Here.open().unwrap();
    let daemon = Daemon::start(&ground.state(), &[ground.root()], &[]);
    for command in ["watch", "scan", "compact"] {
        let said = match command {
            "compact" => indexer(&ground.state(), &[&command]),
            _ => indexer(&ground.state(), &[&command, &ground.root()]),
        };
        let error = stderr(&said);
        assert_eq!(said.status.code(), Some(3), "{command}: {error}");
        assert!(error.contains(&daemon.pid().to_string()) && error.contains("indexer"), "{command}: {error}");
    }
    daemon.assert_exact(ground.root());
}

#[test]
fn two_roots_then_a_third_and_a_start_that_names_none() {
    let ground = Place::Here.open().unwrap();
    let (one, two, three) =
        (ground.root().join("one"), ground.root().join("two"), ground.root().join("three"));
    for root in [&one, &two, &three] {
        fs::create_dir(root).unwrap();
        fs::write(root.join("file"), b"x").unwrap();
    }
    fs::hard_link(one.join("file"), two.join("link")).unwrap();
    let mut daemon = Daemon::start(&ground.state(), &[&one, &two], &[]);
    let seq = daemon.seq();
    fs::rename(one.join("file"), two.join("came over")).unwrap();
    fs::create_dir(one.join("folder")).unwrap();
    fs::write(one.join("folder/in"), b"x").unwrap();
    daemon.settle();
    fs::rename(one.join("folder"), two.join("folder")).unwrap();
    daemon.settle();
    assert!(daemon.told(seq).contains(&"renamed folder folder".to_owned()), "{:?}", daemon.told(seq));
    for root in [&one, &two] {
        daemon.assert_exact(root);
    }
    assert!(daemon.terminate().success());

    let mut daemon = Daemon::start(&ground.state(), &[&three], &[]);
    daemon.settle();
    daemon.assert_exact(&three);
    let paths = |daemon: &Daemon| -> Vec<String> {
        let status = daemon.status();
        status["roots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|root| root["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(daemon.terminate().success());

    let daemon = Daemon::start(&ground.state(), &[], &[]);
    let mut all = paths(&daemon);
    all.sort();
    let mut wanted = [&one, &two, &three].map(|root| root.to_str().unwrap().to_owned());
    wanted.sort();
    assert_eq!(all, wanted);
    for root in [&one, &two, &three] {
        fs::write(root.join("late"), b"x").unwrap();
    }
    daemon.settle();
    for root in [&one, &two, &three] {
        daemon.assert_exact(root);
    }
    assert!(!daemon.changes(0).is_empty());
}

#[test]
fn excludes_and_depth_bound_the_scope() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let make = |prefix: &str| {
        for path in
            ["keep/a.txt", "keep/b.tmp", "cache/x", "deep/1/2/3/4", "keep/skipped/in", "keep/private.key"]
        {
            let path = root.join(prefix).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
    };
    make("");
    // One at the top of the root, and none elsewhere.
    fs::write(root.join(".indexerignore"), "keep/skipped/\n*.key\n").unwrap();
    let flags = ["--exclude", "*.tmp", "--exclude", "/cache/", "--max-depth", "3"];
    let mut daemon = Daemon::start(&ground.state(), &[root], &flags);
    let wanted =
        ["", ".indexerignore", "deep", "deep/1", "deep/1/2", "keep", "keep/a.txt"].map(str::to_owned);
    assert_eq!(names(&daemon, root), wanted);
    assert!(daemon.run(&[&"verify", &root]).status.success());
    // Live, the same rules hold, for what comes and for what moves over the border.
    let seq = daemon.seq();
    fs::write(root.join("cache/y"), b"x").unwrap();
    fs::write(root.join("keep/c.tmp"), b"x").unwrap();
    fs::write(root.join("keep/skipped/more"), b"x").unwrap();
    fs::write(root.join("deep/1/2/3/more"), b"x").unwrap();
    daemon.settle();
    let told = daemon.told(seq);
    assert!(told.iter().all(|line| !line.starts_with("created")), "{told:?}");
    fs::rename(root.join("cache/y"), root.join("keep/y")).unwrap();
    fs::rename(root.join("keep/a.txt"), root.join("keep/a.tmp")).unwrap();
    fs::rename(root.join("deep/1/2/3/more"), root.join("more")).unwrap();
    daemon.settle();
    let now = ["", ".indexerignore", "deep", "deep/1", "deep/1/2", "keep", "keep/y", "more"];
    assert_eq!(names(&daemon, root), now.map(str::to_owned));
    let said = daemon.run(&[&"verify", &root]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    daemon.assert_whole();
    // A start without flags keeps the rules.
    assert!(daemon.terminate().success());
    let daemon = Daemon::start(&ground.state(), &[], &[]);
    daemon.settle();
    assert_eq!(names(&daemon, root), now.map(str::to_owned));
}

/// A file system mounted below a root is followed as a volume of its own, and left out when asked.
#[test]
fn mounts_inside_a_root_are_followed_or_left_out() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    fs::create_dir_all(root.join("folder/mnt")).unwrap();
    if let Err(reason) = need_root("a mount inside a root") {
        return skipped(reason);
    }
    let point = root.join("folder/mnt");
    let mount = |what: &[&str]| {
        let done = std::process::Command::new(what[0]).args(&what[1..]).arg(&point).status().unwrap();
        assert!(done.success(), "{what:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs"]);
    fs::create_dir(point.join("below")).unwrap();
    fs::write(point.join("below/file"), b"mounted").unwrap();
    for flags in [&[][..], &["--backend", "inotify"]] {
        let mut daemon = Daemon::start(&ground.state(), &[root], flags);
        daemon.settle();
        daemon.assert_exact(root);
        let seq = daemon.seq();
        fs::write(point.join("below/live"), b"mounted").unwrap();
        fs::create_dir(point.join("new")).unwrap();
        fs::write(point.join("new/in"), b"x").unwrap();
        fs::write(root.join("folder/outer"), b"x").unwrap();
        daemon.settle();
        daemon.assert_exact(root);
        assert!(daemon.told(seq).contains(&"created live".to_owned()));
        assert!(daemon.changes(seq).iter().all(|record| record["how"] != "sweep"));
        let found = find_json(&daemon, root);
        let volume = |path: &Path| found[path.as_os_str().as_encoded_bytes()]["volume"].as_u64().unwrap();
        assert_ne!(volume(&point), volume(&root.join("folder")), "a volume of its own");
        assert_eq!(volume(&point), volume(&point.join("below/live")));
        // Across the border a move is a copy and a removal.
        fs::remove_dir_all(point.join("new")).unwrap();
        fs::remove_file(point.join("below/live")).unwrap();
        fs::remove_file(root.join("folder/outer")).unwrap();
        daemon.settle();
        daemon.assert_exact(root);
        assert!(daemon.terminate().success());
        fs::remove_dir_all(ground.state()).unwrap();
    }
    let daemon = Daemon::start(&ground.state(), &[root], &["--one-file-system"]);
    fs::write(point.join("unseen"), b"x").unwrap();
    daemon.settle();
    let found = names(&daemon, root);
    assert!(found.iter().all(|name| !name.contains("below") && !name.contains("unseen")), "{found:?}");
    let said = daemon.run(&[&"verify", &root]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    drop(daemon);
    mount(&["umount"]);
}

/// Links are looked at, not through, unless asked; then each folder is entered once, however the links run in circles.
#[test]
fn symlinks_are_followed_only_when_asked_and_never_in_circles() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let outside = ground.beside("outside");
    fs::create_dir_all(outside.join("below")).unwrap();
    fs::write(outside.join("below/file"), b"x").unwrap();
    symlink(root, outside.join("back")).unwrap();
    symlink(&outside, root.join("out")).unwrap();
    symlink(".", root.join("self")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    assert_eq!(names(&daemon, root), ["", "dangling", "out", "self"]);
    daemon.assert_exact(root);
    assert!(daemon.terminate().success());
    fs::remove_dir_all(ground.state()).unwrap();

    let daemon = Daemon::start(&ground.state(), &[root], &["--follow-symlinks"]);
    let found = find_json(&daemon, root);
    assert!(found.keys().any(|path| path.ends_with(b"/out/below/file")), "{:?}", names(&daemon, root));
    assert!(found.len() < 12, "in circles: {:?}", names(&daemon, root));
    let said = daemon.run(&[&"verify", &root]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    fs::write(outside.join("below/live"), b"x").unwrap();
    wait_for("what came behind a link", || {
        daemon.settle();
        find_json(&daemon, root).keys().any(|path| path.ends_with(b"/out/below/live")).then_some(())
    });
}

#[test]
fn sighup_takes_a_new_root_from_the_configuration() {
    let ground = Place::Here.open().unwrap();
    let (one, two) = (ground.root().join("one"), ground.root().join("two"));
    for root in [&one, &two] {
        fs::create_dir(root).unwrap();
        fs::write(root.join("file"), b"x").unwrap();
    }
    let config = ground.beside("indexer.toml");
    let write = |roots: &[&Path]| fs::write(&config, format!("roots = {roots:?}\n")).unwrap();
    write(&[&one]);
    let flags = ["--config", config.to_str().unwrap()];
    let mut daemon = Daemon::start(&ground.state(), &[], &flags);
    daemon.assert_exact(&one);
    write(&[&one, &two]);
    daemon.signal(Signal::HUP);
    let live = |daemon: &Daemon| {
        let status = daemon.status();
        let roots = status["roots"].as_array().unwrap();
        (roots.len() == 2 && roots.iter().all(|root| root["state"] == "live")).then_some(())
    };
    wait_for("the second root", || live(&daemon));
    fs::write(two.join("late"), b"x").unwrap();
    daemon.settle();
    daemon.assert_exact(&one);
    daemon.assert_exact(&two);
    // A file with a mistake changes nothing and ends nothing.
    fs::write(&config, "rots = []\n").unwrap();
    daemon.signal(Signal::HUP);
    wait_for("a word about the mistake", || daemon.log().contains("rots").then_some(()));
    live(&daemon).expect("both roots are as they were");
    assert!(daemon.terminate().success());
    let said = indexer(&ground.state(), &[&"watch", &"--config", &config]);
    assert_eq!(said.status.code(), Some(2), "{}", stderr(&said));
    assert!(stderr(&said).contains("rots") && stderr(&said).contains("line 1"), "{}", stderr(&said));
}

/// A root that is not there keeps its rows, and its coming back is noticed.
#[test]
fn a_lost_root_is_kept_and_found_again() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root().join("tree");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), b"x").unwrap();
    let mut daemon = Daemon::start(&ground.state(), &[&root], &[]);
    assert!(daemon.terminate().success());
    let away = ground.root().join("away");
    fs::rename(&root, &away).unwrap();
    let daemon = Daemon::start(&ground.state(), &[], &[]);
    assert_eq!(names(&daemon, &root), ["", "file"], "rows of a lost root are kept");
    let said = daemon.run(&[&"settle"]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert_eq!(daemon.status()["roots"][0]["state"], "lost");
    fs::rename(&away, &root).unwrap();
    wait_for("the root to be found", || (daemon.status()["roots"][0]["state"] == "live").then_some(()));
    daemon.settle();
    daemon.assert_exact(&root);
    let told: Vec<String> = daemon.changes(1).iter().map(|r| r["op"].as_str().unwrap().to_owned()).collect();
    assert!(told.contains(&"root_lost".to_owned()) && told.contains(&"root_found".to_owned()), "{told:?}");
}
