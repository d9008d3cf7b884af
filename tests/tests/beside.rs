//! A question asked without a daemon, and a daemon that starts meanwhile: neither ends for the other's sake. It breaks where
//! an index that is open elsewhere is taken for a failure.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use indexer_tests::{Daemon, Place, indexer_binary, wait_for};

/// More paths than the kernel's pipe holds.
const FILES: usize = 4_000;

#[test]
fn a_daemon_starts_while_a_question_is_answered_without_it() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    for file in 0..FILES {
        fs::write(root.join(format!("a file with a name of some length, number {file}")), b"").unwrap();
    }
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    assert!(daemon.terminate().success());
    let mut question = Command::new(indexer_binary())
        .arg("--state")
        .arg(ground.state())
        .arg("find")
        .arg(root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has said something it has the index open, and it cannot end before all it says is read.
    let mut answer = BufReader::new(question.stdout.take().unwrap());
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let mut daemon = Daemon::spawn(indexer_binary(), &ground.state(), &[], &[]);
    wait_for("the daemon to wait", || daemon.log().contains("another process reads the index").then_some(()));
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(question.wait().unwrap().success());
    assert_eq!(rest.lines().count(), FILES, "the root and each file, less the first line");
    daemon.wait_live();
    daemon.settle();
    daemon.assert_exact(root);
}
