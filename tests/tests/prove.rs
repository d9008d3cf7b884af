//! `indexer prove` as users run it, short, on each file system and by each means of watching; and what it must not do: pass
//! a program that lies, leave anything behind, or touch what is the user's.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use indexer_tests::{
    Ground, NOBODY, Place, indexer_binary, is_root, json_lines, skipped, stderr, unprivileged, wait_for,
};
use prove::{Listener, Options, Report};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A short one. Temporary files, and so the state, lie in a folder that is the test's.
fn command(ground: &Ground, binary: &Path, flags: &[&str]) -> Command {
    let temporary = ground.beside("temporary");
    fs::create_dir_all(&temporary).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = Command::new(binary);
    command.arg("prove").arg(ground.root()).args(["--json", "--seed", "1", "--seconds", "4", "--kills", "3"]);
    command.args(flags).env("TMPDIR", temporary).env("INDEXER_STATE", ground.beside("users"));
    // What would break it if it leaked in.
    command.env("INDEXER_BACKEND", "sweep").env("INDEXER_CONFIG", "/dev/null").stdin(Stdio::null());
    command
}

fn assert_nothing_left(ground: &Ground) {
    assert_eq!(fs::read_dir(ground.root()).unwrap().count(), 0, "something is left in the root");
    assert_eq!(fs::read_dir(ground.beside("temporary")).unwrap().count(), 0, "a state is left");
    assert!(!ground.beside("users").try_exists().unwrap(), "the user's state folder was touched");
}

/// The reports by check, and the verdict.
fn read(said: &Output) -> (Vec<Value>, Value) {
    let mut lines = json_lines(said);
    let verdict = lines.pop().unwrap_or_default();
    (lines.into_iter().filter(|line| line["check"].is_string()).collect(), verdict)
}

fn assert_proven(ground: &Ground, said: &Output, backend: &str, skips: &[&str]) {
    let (reports, verdict) = read(said);
    assert_eq!(said.status.code(), Some(0), "{verdict:#}\n{reports:#?}\n{}", stderr(said));
    assert_eq!(verdict["verdict"], "proven", "{verdict:#}");
    assert_eq!(verdict["backend"], backend, "{verdict:#}");
    assert_eq!(serde_json::to_value(skips).unwrap(), verdict["skipped"], "{reports:#?}");
    assert_eq!(verdict["checks"], verdict["passed"]);
    assert!(
        verdict["checks"].as_u64().unwrap() >= 15 && verdict["kills"].as_u64().unwrap() >= 3,
        "{verdict:#}"
    );
    assert!(verdict["operations"].as_u64().unwrap() > 1_000, "{verdict:#}");
    let names: Vec<&str> = reports.iter().filter_map(|report| report["check"].as_str()).collect();
    assert_eq!(
        names,
        ["ground", "silent", "seed", "work", "stop", "overflow", "latency", "kill", "mount"],
        "{reports:#?}"
    );
    assert_nothing_left(ground);
}

fn proven(place: Place, flags: &[&str], backend: &str) {
    let ground = match place.open() {
        Ok(ground) => ground,
        Err(reason) => return skipped(reason),
    };
    let said = command(&ground, indexer_binary(), flags).output().unwrap();
    assert_proven(&ground, &said, backend, &[]);
}

#[test]
fn proven_on_ext4_by_fanotify() {
    proven(Place::Ext4, &[], "fanotify");
}

#[test]
fn proven_on_xfs_by_fanotify() {
    proven(Place::Xfs, &[], "fanotify");
}

#[test]
fn proven_on_btrfs_by_inotify() {
    proven(Place::Btrfs, &["--backend", "inotify"], "inotify");
}

#[test]
fn proven_on_tmpfs_with_the_state_beside() {
    proven(Place::Tmpfs, &["--state-beside"], "fanotify");
}

/// Nobody's program on nobody's folder. The mount is what takes root, and says so.
#[test]
fn proven_without_rights() {
    let ground = Place::Here.open().unwrap();
    let binary = ground.lend(indexer_binary());
    let mut command = command(&ground, &binary, &["--backend", "inotify"]);
    unprivileged(&mut command);
    assert_proven(&ground, &command.output().unwrap(), "inotify", &["mount"]);
}

/// Sweeps have no queue and tell of nothing by themselves; what remains is exact all the same.
#[test]
fn proven_by_sweeps_alone() {
    let ground = Place::Here.open().unwrap();
    if is_root() {
        chown(ground.root(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let binary = ground.lend(indexer_binary());
    let mut command = command(&ground, &binary, &["--backend", "sweep"]);
    unprivileged(&mut command);
    assert_proven(&ground, &command.output().unwrap(), "sweep", &["overflow", "latency", "mount"]);
}

#[test]
fn what_cannot_be_tried_is_no_verdict() {
    let ground = Place::Here.open().unwrap();
    let file = ground.root().join("file");
    fs::write(&file, b"").unwrap();
    for (path, code) in [(file.clone(), 2), (ground.root().join("none"), 2), (PathBuf::from("/proc"), 3)] {
        let said = Command::new(indexer_binary()).arg("prove").arg(&path).output().unwrap();
        assert_eq!(said.status.code(), Some(code), "{}: {}", path.display(), stderr(&said));
        assert!(said.stdout.is_empty(), "{}", String::from_utf8_lossy(&said.stdout));
    }
    fs::remove_file(file).unwrap();
    assert_eq!(fs::read_dir(ground.root()).unwrap().count(), 0);
}

/// Ctrl-C in the middle: nothing is left, not the folder, not the state, not the daemon.
#[test]
fn an_interrupted_trial_leaves_nothing() {
    let ground = Place::Here.open().unwrap();
    let mut child =
        command(&ground, indexer_binary(), &["--backend", "inotify"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    while !next().contains("\"check\":\"seed\"") {}
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_nothing_left(&ground);
    let daemons = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let root = ground.root().as_os_str().as_encoded_bytes();
        processes
            .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
            .filter(|line| line.windows(root.len()).any(|part| part == root))
            .count()
    };
    wait_for("the daemon to be gone", || (daemons() == 0).then_some(()));
}

/// Listens to nothing but remembers.
#[derive(Default)]
struct Memory(Vec<Report>);

impl Listener for Memory {
    fn begins(&mut self, _: &Path, _: u64) {}
    fn progress(&mut self, _: &str, _: &str) {}
    fn report(&mut self, report: &Report) {
        self.0.push(report.clone());
    }
}

/// A program that leaves something out of an answer: `answers` is the command, `without` what grep leaves out. Prove must find
/// it out in the check `at`, say `said`, and keep the evidence.
fn a_liar_is_found_out(answers: &str, without: &str, at: &str, said: &str) {
    let ground = Place::Here.open().unwrap();
    let text = format!(
        "#!/bin/sh\nif [ \"$5\" = {answers} ]; then\n  {0} \"$@\" >\"$2/answer\"; code=$?\n  grep -v '{without}' \"$2/answer\"; exit $code\nfi\nexec {0} \"$@\"\n",
        indexer_binary().display()
    );
    let liar = ground.program("liar", &text);
    let options = Options {
        path: ground.root().to_owned(),
        program: liar,
        seed: 1,
        seconds: 2,
        rounds: None,
        threads: 2,
        kills: 1,
        backend: Some("inotify".to_owned()),
        keep: false,
        state_beside: false,
    };
    let mut memory = Memory::default();
    let verdict = prove::run(&options, &AtomicBool::new(false), &mut memory).unwrap();
    assert!(!verdict.proven());
    assert_eq!(verdict.failed, Some(at), "{:?}", memory.0);
    assert!(verdict.passed < verdict.checks);
    let differences = &memory.0.last().unwrap().differences;
    assert!(differences.iter().any(|one| one.contains(said)), "{differences:?}");
    for kept in &verdict.kept {
        assert!(Path::new(kept).try_exists().unwrap(), "{kept} is not kept");
        fs::remove_dir_all(kept).unwrap();
    }
    assert_eq!(verdict.kept.len(), 2);
}

#[test]
fn a_missing_entry_is_found_out() {
    a_liar_is_found_out("find", "still/3/10/file 7\"", "seed", "still/3/10/file 7: missing from the index");
}

#[test]
fn a_missing_record_is_found_out() {
    a_liar_is_found_out("changes", "\"op\":\"unlinked\"", "seed", "follows on");
}

/// No answer is no proof.
#[test]
fn a_doctor_without_an_answer_is_found_out() {
    a_liar_is_found_out("doctor", "{", "seed", "disagree");
}
