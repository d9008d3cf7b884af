//! Alerts of the running program: rules in a file, real commands, a real server, a daemon that is killed. It could break by a
//! cursor that moves before the effect, by a secret that is shown, by an end that waits for a stranger.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use indexer_tests::http::get;
use indexer_tests::{Daemon, Ground, Place, indexer, json_lines, stderr, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The configuration that every command on this state folder reads.
fn configure(ground: &Ground, text: &str) {
    let folder = ground.state().join("indexer");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("indexer.toml"), text).unwrap();
}

/// A rule with a script of the shell as its command; `$1` is `path`.
fn rule(name: &str, conditions: &str, script: &str, path: &Path) -> String {
    let path = path.to_str().unwrap();
    format!(
        "[[alert]]\nname = {name:?}\n{conditions}\nrate = {{ most = 1000, per = \"1s\" }}\n\
         command = [\"/bin/sh\", \"-c\", {script:?}, \"script\", {path:?}]\n"
    )
}

/// Messages in a file, as far as their lines are whole.
fn messages(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(messages: &[Value]) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for message in messages {
        let path = message["path"].as_str().unwrap();
        *names.entry(path.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
    }
    names
}

/// A server that answers every request with 204, and tells when each came.
fn server() -> (u16, Receiver<(Instant, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(body) = body(&mut stream) else { continue };
            if sender.send((Instant::now(), body)).is_err() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    (port, requests)
}

fn body(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            return Some(body);
        }
    }
}

#[test]
fn a_file_dropped_in_is_told_of_within_a_moment_of_its_close() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let (port, requests) = server();
    configure(
        &ground,
        &format!(
            "[[alert]]\nname = \"new\"\nop = \"created\"\npath = \"*.bin\"\nat_least = 3\n\
             rate = {{ most = 1000, per = \"1s\" }}\nwebhook = \"http://127.0.0.1:{port}/\"\n"
        ),
    );
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    let mut took: Vec<Duration> = Vec::new();
    for number in 0..30 {
        let path = root.join(format!("{number}.bin"));
        fs::write(root.join(format!("{number}.txt")), b"of no interest").unwrap();
        fs::write(&path, b"new").unwrap();
        let closed = Instant::now();
        let (came, message) = requests.recv_timeout(Duration::from_secs(60)).expect("an alert comes");
        took.push(came.saturating_duration_since(closed));
        assert_eq!(message["path"].as_str(), path.to_str(), "{message}");
        assert_eq!((&message["matched"], &message["complete"]), (&"created".into(), &true.into()));
        assert_eq!(message["after"]["size"], 3);
    }
    took.sort_unstable();
    println!("close to alert: median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
    daemon.settle();
    assert!(requests.try_recv().is_err(), "each is told of once");
}

/// The effect is there and the command has not ended, so the cursor has not moved: the same message comes again.
#[test]
fn killed_between_the_effect_and_the_cursor_it_is_told_again_and_nothing_is_lost() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let (out, hold, pid) = (ground.beside("out"), ground.beside("out.hold"), ground.beside("out.pid"));
    let script = "cat >> \"$1\"; if [ -e \"$1.hold\" ]; then echo $$ > \"$1.pid\"; exec sleep 600; fi";
    let text = rule("r", "op = \"created\"\ntimeout = \"2m\"", script, &out);
    configure(&ground, &text);
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    for round in 0..5 {
        fs::write(&hold, b"").unwrap();
        for file in 0..3 {
            fs::write(root.join(format!("{round}-{file}")), b"x").unwrap();
        }
        let held: i32 = wait_for("the command to have its effect", || {
            fs::read_to_string(&pid).ok().and_then(|text| text.trim().parse().ok())
        });
        let last = messages(&out).pop().unwrap();
        daemon.kill9();
        // The command outlives a daemon that is killed.
        kill_process(Pid::from_raw(held).unwrap(), Signal::KILL).unwrap();
        fs::remove_file(&pid).unwrap();
        fs::remove_file(&hold).unwrap();
        fs::write(root.join(format!("{round}-down")), b"x").unwrap();
        daemon = Daemon::start(&ground.state(), &[root], &[]);
        let expected: Vec<String> =
            (0..3).map(|file| format!("{round}-{file}")).chain([format!("{round}-down")]).collect();
        wait_for("everything to be told", || {
            let told = names(&messages(&out));
            expected.iter().all(|name| told.contains_key(name)).then_some(())
        });
        let twice = messages(&out).iter().filter(|message| message["key"] == last["key"]).count();
        assert_eq!(twice, 2, "{last}");
    }
    let expected = names(&messages(&out)).len();
    assert_eq!(expected, 20);
}

/// Killed at any other time too.
#[test]
fn killed_again_and_again_nothing_is_lost() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let out = ground.beside("out");
    configure(&ground, &rule("r", "op = [\"created\", \"deleted\"]", "cat >> \"$1\"", &out));
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    for round in 0..8 {
        for file in 0..10 {
            fs::write(root.join(format!("{round}-{file}")), b"x").unwrap();
        }
        let enough = round * 10 + round;
        wait_for("some of it to be told", || (names(&messages(&out)).len() >= enough).then_some(()));
        daemon.kill9();
        daemon = Daemon::start(&ground.state(), &[root], &[]);
    }
    daemon.settle();
    wait_for("everything to be told", || (names(&messages(&out)).len() == 80).then_some(()));
    let consumer = || {
        let status = daemon.status();
        let consumers = status["consumers"].as_array().unwrap().clone();
        consumers.into_iter().find(|consumer| consumer["name"] == "alert/r").unwrap()
    };
    wait_for("the cursor to be at the end", || (consumer()["lag"] == 0).then_some(()));
}

/// A command gets its three pipes and nothing of the daemon's: not its index, its lock, nor what it watches by.
#[test]
fn a_command_inherits_no_descriptor() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    let out = ground.beside("out");
    let script =
        "cat > /dev/null; for fd in /proc/$$/fd/*; do readlink \"$fd\"; done >> \"$1\"; echo end >> \"$1\"";
    configure(&ground, &rule("r", "op = \"created\"", script, &out));
    let daemon = Daemon::start(&ground.state(), &[root], &[]);
    fs::write(root.join("file"), b"x").unwrap();
    let said = wait_for("the command to end", || {
        fs::read_to_string(&out).ok().filter(|said| said.ends_with("end\n"))
    });
    // What whoever started the daemon left open goes through it; what it opened itself does not.
    let state = ground.state();
    let of_daemon = |to: &&str| {
        to.starts_with(state.to_str().unwrap()) || to.contains("inode:") || to.starts_with("socket:")
    };
    let others: Vec<&str> = said.lines().filter(of_daemon).collect();
    assert!(others.is_empty(), "{others:?}");
    // That it has such is what makes this a test.
    let own = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let own: Vec<String> = own
        .filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    assert!(own.iter().any(|to| of_daemon(&to.as_str())), "{own:?}");
}

#[test]
fn a_lost_root_is_told_and_a_new_configuration_is_followed() {
    let ground = Place::Here.open().unwrap();
    let root = ground.beside("tree");
    fs::create_dir(&root).unwrap();
    let (first, second) = (ground.beside("first"), ground.beside("second"));
    let lost = rule("first", "op = [\"root_lost\", \"root_found\"]", "cat >> \"$1\"", &first);
    configure(&ground, &lost);
    let daemon = Daemon::start(&ground.state(), &[&root], &[]);
    let away = ground.beside("away");
    fs::rename(&root, &away).unwrap();
    let told = wait_for("the loss to be told", || messages(&first).pop());
    assert_eq!((&told["op"], told["path"].as_str()), (&"root_lost".into(), root.to_str()));
    assert!(told["text"].as_str().unwrap().starts_with("first: root_lost "), "{told}");

    // A file that is wrong changes nothing.
    configure(&ground, &format!("{lost}[[alert]]\nname = \"second\"\nop = \"no\"\nlog = true\n"));
    daemon.signal(Signal::HUP);
    wait_for("the refusal", || daemon.log().contains("the configuration is left as it was").then_some(()));
    assert!(daemon.log().contains("unknown word"), "{}", daemon.log());
    configure(&ground, &format!("{lost}{}", rule("second", "op = \"root_found\"", "cat >> \"$1\"", &second)));
    daemon.signal(Signal::HUP);
    wait_for("the new rule", || {
        let rules = json_lines(&daemon.run(&[&"alerts", &"--json"]));
        (rules.len() == 2 && rules.iter().all(|rule| rule["cursor"].is_u64())).then_some(())
    });
    fs::rename(&away, &root).unwrap();
    let told =
        wait_for("both rules to tell", || messages(&second).pop().filter(|_| messages(&first).len() == 2));
    assert_eq!(told["op"], "root_found");
}

#[test]
fn a_daemon_whose_webhook_hangs_ends_in_time_and_tells_again() {
    let ground = Place::Here.open().unwrap();
    let root = ground.root();
    // Connections are taken by the kernel, and nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hook = |timeout: &str| {
        format!(
            "[[alert]]\nname = \"hook\"\nop = \"created\"\ntimeout = \"{timeout}\"\nwebhook = \"http://{address}/\"\n"
        )
    };
    let out = ground.beside("out");
    configure(&ground, &format!("{}{}", hook("5m"), rule("good", "op = \"created\"", "cat >> \"$1\"", &out)));
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    fs::write(root.join("file"), b"x").unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let first = body(&mut stream).unwrap();
    wait_for("the other rule to tell", || messages(&out).pop());
    let began = Instant::now();
    assert!(daemon.terminate().success());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "the time of the rule is five minutes: {took:?}");
    drop(stream);
    let mut daemon = Daemon::start(&ground.state(), &[root], &[]);
    let (mut stream, _) = listener.accept().unwrap();
    let again = body(&mut stream).unwrap();
    assert_eq!(first["key"], again["key"]);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    wait_for("the delivery", || {
        json_lines(&daemon.run(&[&"alerts", &"--json"]))
            .iter()
            .any(|rule| rule["delivered"] == 1)
            .then_some(())
    });
    assert!(daemon.terminate().success());
}

#[test]
fn secrets_are_used_and_never_shown() {
    let ground = Place::Here.open().unwrap();
    let (root, state) = (ground.root(), ground.state());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap();
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 500 hunter2\r\nContent-Length: 7\r\n\r\nhunter2");
        }
    });
    configure(
        &ground,
        &format!(
            "[[alert]]\nname = \"hook\"\nop = \"created\"\nwebhook = \"http://{address}/hunter2/path\"\n\
             headers = {{ Authorization = {{ env = \"TEST_HOOK\" }} }}\n\
             [[alert]]\nname = \"log\"\nop = \"created\"\nlog = true\n"
        ),
    );
    // Without the variable nothing begins.
    let said = indexer(&state, &[&"watch", &root]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(
        stderr(&said).contains("alert hook: headers: Authorization: the variable TEST_HOOK is not set"),
        "{said:?}"
    );

    let environment: [(&str, &OsStr); 2] =
        [("TEST_HOOK", OsStr::new("hunter2")), ("INDEXER_LOG", OsStr::new("trace"))];
    let mut daemon = Daemon::spawn_in(&environment, &state, &[root], &[]);
    daemon.wait_live();
    let tried = daemon.run(&[&"alerts", &"test", &"hook", &"--json"]);
    assert_eq!(tried.status.code(), Some(3), "{tried:?}");
    assert!(heads.recv().unwrap().contains("hunter2"));
    assert_eq!(daemon.run(&[&"alerts", &"test", &"log"]).status.code(), Some(0));
    let unknown = daemon.run(&[&"alerts", &"test", &"nobody"]);
    assert!(
        stderr(&unknown).contains("no alert rule is called \"nobody\"; the rules are hook, log"),
        "{unknown:?}"
    );
    fs::write(root.join("file"), b"x").unwrap();
    wait_for("a failure to be told", || {
        json_lines(&daemon.run(&[&"alerts", &"--json"]))
            .iter()
            .any(|rule| rule["failures"] != 0)
            .then_some(())
    });
    let status = daemon.run(&[&"status"]);
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("warning: alert hook: the answer is 500"),
        "{status:?}"
    );
    let metrics = get(&state, "/metrics").body;
    assert!(metrics.contains("indexer_alert_failures_total{rule=\"hook\"}"), "{metrics}");
    let list = daemon.run(&[&"alerts"]);
    let json = daemon.run(&[&"alerts", &"--json"]);
    // That rule has a thread of its own.
    wait_for("the other rule", || daemon.log().contains("alert: log: created ").then_some(()));
    assert!(daemon.terminate().success());
    // Without a daemon: the rules of the file, and their cursors.
    let stopped = indexer(&state, &[&"alerts", &"--json"]);
    let rules = json_lines(&stopped);
    assert_eq!(rules.iter().map(|rule| rule["rule"].as_str().unwrap()).collect::<Vec<_>>(), ["hook", "log"]);
    assert!(rules[1]["cursor"].is_u64(), "{rules:?}");
    for said in [&tried, &status, &list, &json, &stopped] {
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), stderr(said));
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(!daemon.log().contains("hunter2") && !metrics.contains("hunter2"), "{}", daemon.log());
}
