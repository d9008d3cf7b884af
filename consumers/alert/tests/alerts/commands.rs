//! Real programs as targets: what they are given, and that none of them holds anything up. It could break by a shell, by an
//! inherited environment, by a pipe that nobody reads, by children that outlive the time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, attempt, script, wait_for};
use alert::{Command, To};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn it_gets_the_message_and_little_else() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = "cat > \"$1\"; echo \"$2\" >> \"$1\"; pwd >> \"$1\"; env >> \"$1\"";
    attempt(script(text, &[out.to_str().unwrap(), "$HOME; `id` 'x"]), PATIENCE).unwrap();
    let said = fs::read_to_string(&out).unwrap();
    let mut lines = said.lines();
    let message: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&message["rule"], &message["op"]), (&"one".into(), &"sample".into()));
    assert_eq!(lines.next(), Some("$HOME; `id` 'x"), "no shell looks at arguments");
    assert_eq!(lines.next(), Some("/"));
    // A shell adds PWD, SHLVL and `_` by itself.
    let mut names: Vec<&str> = lines.filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["INDEXER_ALERT_KEY", "INDEXER_ALERT_RULE", "LANG", "PATH"]);
    assert!(said.contains(&format!("INDEXER_ALERT_KEY={}", message["key"].as_str().unwrap())));
}

#[test]
fn variables_are_passed_on_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let To::Command(command) = script("printf %s \"$CARGO_MANIFEST_DIR\" > \"$1\"", &[out.to_str().unwrap()])
    else {
        panic!("a script is a command")
    };
    let env = vec!["CARGO_MANIFEST_DIR".to_owned(), "INDEXER_NO_SUCH_VARIABLE".to_owned()];
    attempt(To::Command(Command { env, ..command }), PATIENCE).unwrap();
    // Set by cargo for every test.
    assert_eq!(fs::read_to_string(&out).unwrap(), std::env::var("CARGO_MANIFEST_DIR").unwrap());
}

#[test]
fn what_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pids");
    let text = "sleep 600 & echo $! > \"$1\"; wait";
    let began = Instant::now();
    let error = attempt(script(text, &[out.to_str().unwrap()]), Duration::from_secs(20)).unwrap_err();
    assert_eq!(error, "/bin/sh did not end within 20 s and was killed");
    assert!(began.elapsed() < PATIENCE / 2);
    let pid = fs::read_to_string(&out).unwrap();
    let task = Path::new("/proc").join(pid.trim()).join("stat");
    // Gone, or dead and not yet waited for by whoever took it over.
    wait_for("the child of the program to be gone", || match fs::read_to_string(&task) {
        Ok(stat) => {
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')).then_some(())
        }
        Err(_) => Some(()),
    });
}

#[test]
fn a_child_that_stays_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pid");
    let began = Instant::now();
    // It keeps our pipes open; what counts is the program itself.
    let text = "sleep 600 & echo $! > \"$1\"; exit 0";
    attempt(script(text, &[out.to_str().unwrap()]), PATIENCE).unwrap();
    assert!(began.elapsed() < PATIENCE / 2);
    // It is nobody's any more, and holds what whoever ran the test left open.
    let pid = fs::read_to_string(&out).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn too_much_said_is_cut_off_and_unread_input_is_no_failure() {
    attempt(script("yes; exit 0", &[]), PATIENCE).unwrap();
    attempt(script("yes >&2; exit 0", &[]), PATIENCE).unwrap();
    attempt(script("exec 0<&-; exit 0", &[]), PATIENCE).unwrap();
    let error = attempt(script("exec yes", &[]), PATIENCE).unwrap_err();
    assert!(error.contains("SIGPIPE"), "{error}");
}

#[test]
fn failures_say_what_which_and_why() {
    let error = attempt(script("echo 'no such \u{1b}[31muser' >&2; exit 3", &[]), PATIENCE).unwrap_err();
    assert_eq!(error, "/bin/sh ended with exit status: 3: no such  [31muser");
    let error = attempt(script("kill -9 $$", &[]), PATIENCE).unwrap_err();
    assert!(error.contains("signal: 9"), "{error}");
    let missing = To::Command(Command { argv: vec!["/no/such/program".to_owned()], env: Vec::new() });
    let error = attempt(missing, PATIENCE).unwrap_err();
    assert!(error.starts_with("cannot start /no/such/program: "), "{error}");
}
