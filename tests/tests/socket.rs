//! The socket against rude peers: whatever they do, they hurt themselves alone. It could break by a query that waits for
//! its listener for ever, by a limit that is never given back, or by a request that is read whole before it is judged.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use indexer_tests::http::{dial, get, receive, send};
use indexer_tests::{Daemon, Place, wait_for};
use serde_json::Value;

/// As `QUESTIONS` of the daemon.
const QUESTIONS: usize = 32;

/// The error's code in an answer.
fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn what_makes_no_sense_is_told_so_and_nothing_else_suffers() {
    let ground = Place::Here.open().unwrap();
    let state = ground.state();
    let mut daemon = Daemon::start(&state, &[ground.root()], &[]);
    let ask = |method: &str, path: &str, body: &str| {
        let mut stream = dial(&state);
        send(&mut stream, method, path, body);
        receive(&mut stream)
    };
    for (method, path, body, status, error) in [
        ("GET", "/", "", 404, "not_found"),
        ("GET", "/v1/nothing?x=1", "", 404, "not_found"),
        ("GET", "/v2/status", "", 404, "not_found"),
        ("GET", "/../../etc/passwd", "", 404, "not_found"),
        ("DELETE", "/v1/status", "", 405, "bad_request"),
        ("POST", "/healthz", "", 405, "bad_request"),
        ("GET", "/v1/find?max_depth=deep", "", 400, "bad_request"),
        ("POST", "/v1/settle", "{", 400, "bad_request"),
        ("POST", "/v1/settle", "[]", 400, "bad_request"),
        ("POST", "/v1/sweep", "{\"level\": \"all\"}", 400, "bad_request"),
        ("POST", "/v1/confirm", "{\"consumer\": \"x\"}", 400, "bad_request"),
    ] {
        let answer = ask(method, path, body);
        assert_eq!((answer.status, &*code(&answer.body)), (status, error), "{method} {path} {body}");
    }

    // A body beyond the limit is refused by its length, before it is sent.
    let mut stream = dial(&state);
    stream
        .write_all(b"POST /v1/lookup HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 999999999999\r\n\r\n")
        .unwrap();
    assert_eq!(receive(&mut stream).status, 413);
    // So is one without a length that does not end: the daemon hangs up, or says why.
    let mut stream = dial(&state);
    stream
        .write_all(
            b"POST /v1/lookup HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let taken = (0..10_000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(taken < 200, "{taken} chunks of 64 KiB were taken");
    // A head without an end.
    let mut stream = dial(&state);
    let line = format!("X-Long: {}\r\n", "y".repeat(8000));
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n").unwrap();
    let taken = (0..10_000).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count();
    assert!(taken < 200, "{taken} lines of 8 kB were taken");
    // No HTTP at all, and nothing at all.
    let mut stream = dial(&state);
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
    assert_eq!(receive(&mut stream).status, 400);
    drop(dial(&state));

    assert_eq!(get(&state, "/healthz").body, "ok\n");
    assert!(daemon.terminate().success());
}

/// Asks for everything and reads no more than the beginning of it.
fn stalled(daemon: &Daemon) -> UnixStream {
    // The place of an answer that was read to its end is free a moment later.
    wait_for("a free place", || {
        let mut stream = dial(daemon.state());
        send(&mut stream, "GET", "/v1/find", "");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        (&begin == b"HTTP/1.1 200").then_some(stream)
    })
}

#[test]
fn readers_that_stall_fill_the_limit_and_readers_that_leave_give_it_back() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    // Far more than sockets and channels hold.
    let long = "n".repeat(200);
    for file in 0..8_000 {
        fs::write(root.join(format!("{long}{file}")), b"").unwrap();
    }
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    let whole = get(daemon.state(), "/v1/find");
    assert_eq!(whole.status, 200);
    assert!(whole.body.len() > 3 << 20, "{} bytes", whole.body.len());

    let listeners: Vec<UnixStream> = (0..QUESTIONS).map(|_| stalled(&daemon)).collect();
    for path in ["/v1/find", "/v1/ls?path=/", "/v1/du"] {
        let busy = get(daemon.state(), path);
        assert_eq!((busy.status, &*code(&busy.body)), (503, "busy"), "{path}");
    }
    // What is not a question of that kind goes on: health, status, actions, and the engine itself.
    assert_eq!(get(daemon.state(), "/healthz").body, "ok\n");
    assert_eq!(get(daemon.state(), "/metrics").status, 200);
    fs::write(root.join("new"), b"").unwrap();
    daemon.settle();
    assert_eq!(daemon.status()["entries"], 8_002);

    // They leave in the middle of their answers.
    drop(listeners);
    let again = wait_for("a free place", || {
        let answer = get(daemon.state(), "/v1/find");
        (answer.status == 200).then_some(answer)
    });
    assert!(again.body.len() > whole.body.len());
    assert!(daemon.terminate().success(), "nobody holds up the end");
}

#[test]
fn a_stalled_reader_does_not_hold_up_the_end() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let long = "n".repeat(200);
    for file in 0..8_000 {
        fs::write(root.join(format!("{long}{file}")), b"").unwrap();
    }
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    let listener = stalled(&daemon);
    let mut follower = dial(daemon.state());
    send(&mut follower, "GET", "/v1/changes?follow=true", "");
    follower.read_exact(&mut [0]).unwrap();
    // Half a request, and then silence.
    let mut half = dial(daemon.state());
    half.write_all(b"POST /v1/settle HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").unwrap();
    assert!(daemon.terminate().success());
    drop((listener, follower, half));
}
