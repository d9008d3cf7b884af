//! What the tests of alerts share: a journal in memory, a server on a loopback port that can be rude, rules to begin with.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alert::{Command, Conditions, Rate, Rule, To, Webhook, When, op};
use consumer::{Feed, Secret, Source, SourceError};
use record::{Body, How, Record, RootId, Seq, Time};
use serde_json::Value;

/// How long anything may take before a test gives up on it; waited out by failures alone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A journal in memory.
#[derive(Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    cursors: BTreeMap<String, Seq>,
    /// Records up to here are no longer kept.
    trimmed: u64,
    lag: Duration,
    /// What was shown cannot be noted.
    full: bool,
}

impl Journal {
    /// Adds a record `root_lost` of `/N`; answers its seq.
    pub(crate) fn lose(&self) -> u64 {
        let seq = self.state.lock().unwrap().records.len() as u64 + 1;
        let path = format!("/{seq}").into_bytes().into();
        self.add(Body::RootLost { path, why: "it is away".into() })
    }

    /// Adds a record.
    pub(crate) fn add(&self, body: Body) -> u64 {
        let mut state = self.state.lock().unwrap();
        let seq = state.records.len() as u64 + 1;
        let seen = Time(i128::from(seq) * 1_000_000_000);
        state.records.push(Record { seq: Seq(seq), seen, how: How::Sweep, root: RootId(1), body });
        seq
    }

    pub(crate) fn trim(&self, up_to: u64) {
        self.state.lock().unwrap().trimmed = up_to;
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state.lock().unwrap().full = full;
    }

    pub(crate) fn set_lag(&self, lag: Duration) {
        self.state.lock().unwrap().lag = lag;
    }

    pub(crate) fn cursor_of(&self, rule: &str) -> Option<u64> {
        self.state.lock().unwrap().cursors.get(&format!("alert/{rule}")).map(|seq| seq.0)
    }

    /// Waits until the rule's durable cursor is there.
    pub(crate) fn wait_cursor(&self, rule: &str, seq: u64) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while state.cursors.get(&format!("alert/{rule}")).is_none_or(|cursor| cursor.0 < seq) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the cursor of {rule} does not come to {seq}: {:?}", state.cursors);
            state = self.moved.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Source for Journal {
    fn cursor(&self, consumer: &str) -> Result<Seq, SourceError> {
        Ok(self.state.lock().unwrap().cursors.get(consumer).copied().unwrap_or_default())
    }

    fn records(&self, after: Seq, most: usize) -> Result<Vec<Record>, SourceError> {
        let state = self.state.lock().unwrap();
        if after.0 < state.trimmed {
            return Err(SourceError::FreshStartRequired { oldest: Seq(state.trimmed + 1) });
        }
        Ok(state.records.iter().filter(|record| record.seq > after).take(most).cloned().collect())
    }

    fn confirm(&self, consumer: &str, seq: Seq) -> Result<(), SourceError> {
        let mut state = self.state.lock().unwrap();
        let cursor = state.cursors.entry(consumer.to_owned()).or_default();
        *cursor = seq.max(*cursor);
        self.moved.notify_all();
        Ok(())
    }
}

impl Feed for Journal {
    fn epoch(&self) -> Result<String, SourceError> {
        Ok("e0".into())
    }
    fn last(&self) -> Result<Seq, SourceError> {
        Ok(Seq(self.state.lock().unwrap().records.len() as u64))
    }
    fn cover(&self, seq: Seq) -> Result<Seq, SourceError> {
        let full = self.state.lock().unwrap().full;
        if full { Err(SourceError::Failed("no space".into())) } else { Ok(seq) }
    }
    fn oldest(&self) -> Result<Seq, SourceError> {
        Ok(Seq(self.state.lock().unwrap().trimmed + 1))
    }
    fn cursors(&self) -> Result<Vec<(String, Seq)>, SourceError> {
        let state = self.state.lock().unwrap();
        Ok(state.cursors.iter().map(|(name, seq)| (name.clone(), *seq)).collect())
    }
    fn forget(&self, consumer: &str) -> Result<(), SourceError> {
        self.state.lock().unwrap().cursors.remove(consumer);
        Ok(())
    }
    fn root(&self, _: RootId) -> Result<Vec<u8>, SourceError> {
        Ok(b"/".to_vec())
    }
    fn roots(&self) -> Result<Vec<RootId>, SourceError> {
        Ok(vec![RootId(1)])
    }
    fn lag(&self) -> Duration {
        self.state.lock().unwrap().lag
    }
}

/// A rule for `root_lost` with a generous rate.
pub(crate) fn rule(name: &str, to: To) -> Rule {
    Rule {
        name: name.to_owned(),
        when: When::Records(Conditions {
            ops: vec![op("root_lost").unwrap()],
            paths: None,
            at_least: None,
            at_most: None,
            categories: Vec::new(),
            unfinished: false,
        }),
        to,
        rate: Rate { most: 100, per: Duration::from_secs(60) },
        timeout: Duration::from_secs(20),
        give_up: Duration::from_secs(3_600),
    }
}

/// To an address, with nothing beside.
pub(crate) fn webhook(url: &str) -> To {
    To::Webhook(Webhook { url: Secret::Plain(url.to_owned()), headers: Vec::new(), ca: None })
}

/// A script for `/bin/sh`; its further arguments are `$1` and so on.
pub(crate) fn script(text: &str, arguments: &[&str]) -> To {
    let mut argv: Vec<String> = ["/bin/sh", "-c", text, "script"].map(str::to_owned).to_vec();
    argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
    To::Command(Command { argv, env: Vec::new() })
}

/// Tries once by a rule of its own.
pub(crate) fn attempt(to: To, timeout: Duration) -> Result<(), String> {
    let rule = Rule { timeout, ..rule("one", to) };
    alert::Alerts::sample([&rule].into_iter(), "one", "e0").map_err(|error| error.to_string())?
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// A server that answers each connection by `answer`, given its number and stream.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) requests: Receiver<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One for `connections` connections.
    pub(crate) fn new(connections: usize, answer: impl Fn(usize, &mut TcpStream) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = channel();
        let thread = std::thread::spawn(move || {
            for number in 0..connections {
                let Ok((mut stream, _)) = listener.accept() else { return };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let Some(request) = read_request(&mut stream) else { continue };
                drop(sender.send(request));
                answer(number, &mut stream);
            }
        });
        Server { port, requests, thread: Some(thread) }
    }

    /// One that answers with these, one a connection.
    pub(crate) fn of(answers: &[&str]) -> Server {
        let answers: Vec<String> = answers.iter().map(|&text| text.to_owned()).collect();
        Server::new(answers.len(), move |number, stream| {
            let _ = stream.write_all(answers[number].as_bytes());
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?x=1", self.port)
    }

    pub(crate) fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request comes")
    }

    /// After its last connection.
    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What an empty answer with a status looks like.
pub(crate) fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} Word\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Reads one request; `None` when there is none, or no HTTP.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body: serde_json::from_slice(&body).ok()? })
}

/// Waits for a condition that nobody tells of.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let never: (_, Receiver<()>) = channel();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        let _ = never.1.recv_timeout(Duration::from_millis(5));
    }
}

/// A journal behind a pointer, as rules want it.
pub(crate) fn journal() -> Arc<Journal> {
    Arc::new(Journal::default())
}
