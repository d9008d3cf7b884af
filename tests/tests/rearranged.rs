//! The daemon stands still while names change hands: afterwards the index equals the disk, what only moved is told as moved,
//! and nothing behind a symbolic link is taken in. It breaks where events are replayed instead of looked after.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use indexer_tests::{Daemon, Place, find_json, skipped};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Records about names since `seq`, as `op path` or `renamed old new` below the root, sorted: which circle is cut where is
/// nobody's business.
fn told(daemon: &Daemon, root: &Path, seq: u64) -> Vec<String> {
    let below = |path: &serde_json::Value| {
        let path = path.as_str().unwrap_or_default();
        path.strip_prefix(root.to_str().unwrap()).unwrap_or(path).trim_start_matches('/').to_owned()
    };
    let mut all = Vec::new();
    for record in daemon.changes(seq) {
        let op = record["op"].as_str().unwrap();
        match op {
            "renamed" => {
                all.push(format!("renamed {} {}", below(&record["old_path"]), below(&record["path"])));
            }
            "created" | "deleted" | "linked" | "unlinked" | "root_lost" => {
                all.push(format!("{op} {}", below(&record["path"])));
            }
            _ => {}
        }
    }
    all.sort();
    all
}

fn file(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

struct Case {
    name: &'static str,
    before: fn(&Path),
    change: fn(&Path),
    /// Sorted.
    told: &'static [&'static str],
}

/// `ROOT/../outside` holds what no index of the root may take in.
const CASES: &[Case] = &[
    Case {
        name: "mv foo bar && ln -s bar foo",
        before: |at| {
            fs::create_dir_all(at.join("foo/deep")).unwrap();
            file(&at.join("foo/deep/file"), "x");
        },
        change: |at| {
            fs::rename(at.join("foo"), at.join("bar")).unwrap();
            symlink("bar", at.join("foo")).unwrap();
        },
        told: &["created foo", "renamed foo bar"],
    },
    Case {
        name: "a directory gives its name to a link out of the root",
        before: |at| {
            fs::create_dir(at.join("dir")).unwrap();
            file(&at.join("dir/same"), "inside");
        },
        change: |at| {
            fs::rename(at.join("dir"), at.join("moved")).unwrap();
            symlink("../outside", at.join("dir")).unwrap();
            // An event that names the directory's old path comes from here.
            file(&at.join("moved/same"), "inside, longer");
            file(&at.join("dir/of outside"), "not ours");
        },
        told: &["created dir", "renamed dir moved"],
    },
    Case {
        name: "a directory goes for a link, and comes back",
        before: |at| {
            fs::create_dir(at.join("dir")).unwrap();
            file(&at.join("dir/same"), "inside");
        },
        change: |at| {
            fs::rename(at.join("dir"), at.join("away")).unwrap();
            symlink("../outside", at.join("dir")).unwrap();
            fs::remove_file(at.join("dir")).unwrap();
            fs::rename(at.join("away"), at.join("dir")).unwrap();
        },
        told: &[],
    },
    Case {
        name: "three directories take each other's names",
        before: |at| {
            for name in ["a", "b", "c"] {
                fs::create_dir(at.join(name)).unwrap();
                file(&at.join(name).join(format!("of {name}")), name);
            }
        },
        change: |at| {
            for (from, to) in [("c", "t"), ("b", "c"), ("a", "b"), ("t", "a")] {
                fs::rename(at.join(from), at.join(to)).unwrap();
            }
        },
        told: &["renamed a b", "renamed b c", "renamed c a"],
    },
    Case {
        name: "names that are handed down a chain",
        before: |at| {
            for name in ["1", "2", "3"] {
                file(&at.join(name), name);
            }
        },
        change: |at| {
            for (from, to) in [("3", "4"), ("2", "3"), ("1", "2")] {
                fs::rename(at.join(from), at.join(to)).unwrap();
            }
        },
        told: &["renamed 1 2", "renamed 2 3", "renamed 3 4"],
    },
    Case {
        name: "a directory and the one in it change places",
        before: |at| {
            fs::create_dir_all(at.join("out/mid/in/deep")).unwrap();
            file(&at.join("out/of out"), "x");
            file(&at.join("out/mid/in/deep/of in"), "x");
        },
        change: |at| {
            fs::rename(at.join("out/mid/in"), at.join("t")).unwrap();
            fs::rename(at.join("out"), at.join("t/in")).unwrap();
            fs::rename(at.join("t"), at.join("out")).unwrap();
        },
        told: &["renamed out out/in", "renamed out/mid/in out"],
    },
    Case {
        name: "RENAME_EXCHANGE of directories, and of a file and a directory",
        before: |at| {
            for name in ["one", "two", "three"] {
                fs::create_dir(at.join(name)).unwrap();
                file(&at.join(name).join(format!("of {name}")), name);
            }
            file(&at.join("file"), "x");
        },
        change: |at| {
            exchange(&at.join("one"), &at.join("two"));
            exchange(&at.join("three"), &at.join("file"));
        },
        told: &["renamed file three", "renamed one two", "renamed three file", "renamed two one"],
    },
    Case {
        name: "all is removed and made again under the same names",
        before: |at| {
            fs::create_dir_all(at.join("dir/sub")).unwrap();
            for name in ["dir/1", "dir/2", "dir/sub/3"] {
                file(&at.join(name), "old");
            }
        },
        change: |at| {
            fs::remove_dir_all(at.join("dir")).unwrap();
            // In another order, so that another entry gets each number where numbers are given out anew.
            fs::create_dir_all(at.join("dir")).unwrap();
            for name in ["dir/2", "dir/1"] {
                file(&at.join(name), "new");
            }
            fs::create_dir_all(at.join("dir/sub")).unwrap();
            file(&at.join("dir/sub/3"), "new");
        },
        told: &[
            "created dir",
            "created dir/1",
            "created dir/2",
            "created dir/sub",
            "created dir/sub/3",
            "deleted dir",
            "deleted dir/1",
            "deleted dir/2",
            "deleted dir/sub",
            "deleted dir/sub/3",
        ],
    },
    Case {
        name: "a file has another name for a moment, in a directory that is new",
        before: |at| file(&at.join("file"), "x"),
        change: |at| {
            fs::create_dir(at.join("new")).unwrap();
            fs::hard_link(at.join("file"), at.join("new/name")).unwrap();
            fs::remove_file(at.join("new/name")).unwrap();
        },
        told: &["created new"],
    },
    Case {
        name: "a file has another name for a moment, and its directory comes and goes too",
        before: |at| file(&at.join("file"), "x"),
        change: |at| {
            fs::create_dir(at.join("new")).unwrap();
            fs::hard_link(at.join("file"), at.join("new/name")).unwrap();
            fs::remove_dir_all(at.join("new")).unwrap();
        },
        told: &[],
    },
];

fn rearranged(place: Place, flags: &[&str]) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    // The root's parent lies on the same file system, and so does what must not be taken in.
    let above = ground.root().join("above");
    let root = above.join("root");
    fs::create_dir_all(&root).unwrap();
    let daemon = Daemon::start(&ground.state(), &[&root], flags);
    for (nth, case) in CASES.iter().enumerate() {
        let at = root.join(nth.to_string());
        // Beside the link's directory: `../outside` from there is in the root, and a link in it leads out.
        fs::create_dir(&at).unwrap();
        let outside = root.join("outside");
        let _ = fs::remove_file(&outside);
        fs::create_dir_all(above.join("outside")).unwrap();
        symlink("../outside", &outside).unwrap();
        file(&above.join("outside/same"), "what nobody may see");
        (case.before)(&at);
        daemon.settle();
        let seq = daemon.seq();
        daemon.while_stopped(|| (case.change)(&at));
        daemon.settle();
        daemon.assert_exact(&root);
        assert_eq!(told(&daemon, &at, seq), case.told, "{}: {:#?}", case.name, daemon.changes(seq));
        let seen = find_json(&daemon, &root);
        let out = ["of outside", "what nobody"].map(str::as_bytes);
        assert!(
            !seen
                .keys()
                .any(|path| out.iter().any(|word| path.windows(word.len()).any(|part| part == *word))),
            "{}: taken in through a link",
            case.name
        );
    }
    // The way to the root goes and comes back: nothing of it is ours to tell.
    let seq = daemon.seq();
    daemon.while_stopped(|| {
        fs::rename(&above, ground.root().join("elsewhere")).unwrap();
        fs::rename(ground.root().join("elsewhere"), &above).unwrap();
    });
    daemon.settle();
    daemon.assert_exact(&root);
    assert_eq!(told(&daemon, &root, seq), Vec::<String>::new());
    many_links(&daemon, &root);
}

/// A thousand names of one file, in two directories that change names meanwhile.
fn many_links(daemon: &Daemon, root: &Path) {
    let (one, two) = (root.join("links"), root.join("more links"));
    for dir in [&one, &two] {
        fs::create_dir(dir).unwrap();
    }
    file(&one.join("first"), "one file");
    daemon.settle();
    let seq = daemon.seq();
    daemon.while_stopped(|| {
        for nth in 0..1000 {
            let dir = if nth % 2 == 0 { &one } else { &two };
            fs::hard_link(one.join("first"), dir.join(nth.to_string())).unwrap();
        }
        exchange(&one, &two);
    });
    assert_eq!(fs::symlink_metadata(two.join("first")).unwrap().nlink(), 1001);
    daemon.settle();
    daemon.assert_exact(root);
    let all = told(daemon, root, seq);
    let count = |word: &str| all.iter().filter(|told| told.starts_with(word)).count();
    assert_eq!((count("linked"), count("renamed"), all.len()), (1000, 2, 1002), "{all:#?}");
    let seq = daemon.seq();
    daemon.while_stopped(|| {
        for nth in 0..1000 {
            let dir = if nth % 2 == 0 { &two } else { &one };
            if nth != 7 {
                fs::remove_file(dir.join(nth.to_string())).unwrap();
            }
        }
        fs::remove_file(two.join("first")).unwrap();
    });
    daemon.settle();
    daemon.assert_exact(root);
    let all = told(daemon, root, seq);
    assert_eq!(all.iter().filter(|told| told.starts_with("unlinked")).count(), 1000, "{all:#?}");
    assert_eq!(all.len(), 1000, "it lives on under its last name");
}

#[test]
fn rearranged_on_ext4_by_fanotify() {
    rearranged(Place::Ext4, &[]);
}

#[test]
fn rearranged_on_ext4_by_inotify() {
    rearranged(Place::Ext4, &["--backend", "inotify"]);
}

#[test]
fn rearranged_on_tmpfs_by_the_best_means() {
    rearranged(Place::Tmpfs, &[]);
}

#[test]
fn rearranged_on_tmpfs_by_inotify() {
    rearranged(Place::Tmpfs, &["--backend", "inotify"]);
}

#[test]
fn rearranged_on_btrfs_by_marks_on_directories() {
    rearranged(Place::SubvolumeAlone, &["--backend", "fanotify"]);
}
