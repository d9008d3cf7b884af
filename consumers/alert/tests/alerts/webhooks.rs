//! Addresses as targets, against a real server on a loopback port: what is sent, and that a rude one does no harm. It could break
//! by a time that begins anew with each byte, by following a redirect, by reading what nobody needs.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, Server, attempt, read_request, status, webhook};
use alert::{To, Webhook};
use consumer::Secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[test]
fn a_message_is_posted_with_its_key_and_the_headers() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Bearer hunter2\n").unwrap();
    let server = Server::of(&[&status(204)]);
    let headers = vec![
        ("Authorization".to_owned(), Secret::File(token)),
        // Set for every test.
        ("X-Place".to_owned(), Secret::Env("CARGO_MANIFEST_DIR".into())),
    ];
    let url = Secret::Plain(server.url());
    attempt(To::Webhook(Webhook { url, headers, ca: None }), PATIENCE).unwrap();
    let request = server.next();
    assert_eq!(request.line, "POST /hook?x=1 HTTP/1.1");
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    assert_eq!(header("authorization"), Some("Bearer hunter2"));
    assert_eq!(header("x-place"), std::env::var("CARGO_MANIFEST_DIR").ok().as_deref());
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("idempotency-key"), request.body["key"].as_str());
    assert_eq!(request.body["sample"], true);
    server.join();
}

#[test]
fn redirects_are_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}/", other.local_addr().unwrap());
        let server = Server::of(&[&format!(
            "HTTP/1.1 {code} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )]);
        let error = attempt(webhook(&server.url()), PATIENCE).unwrap_err();
        assert!(error.contains("redirect") && error.contains("final address"), "{code}: {error}");
        other.set_nonblocking(true).unwrap();
        other.accept().expect_err("nobody comes here");
        server.join();
    }
}

#[test]
fn other_answers_are_failures_with_their_number() {
    for code in [400, 401, 404, 410, 429, 500, 503] {
        let server = Server::of(&[&status(code)]);
        let error = attempt(webhook(&server.url()), PATIENCE).unwrap_err();
        assert_eq!(error, format!("the answer is {code}"));
    }
}

/// Neither one that says nothing, nor one that says a little again and again, takes longer than the rule allows.
#[test]
fn who_hangs_or_dribbles_is_left_in_time() {
    for dribble in [false, true] {
        let (done, wait) = channel::<()>();
        let server = Server::new(1, move |_, stream| {
            if dribble {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            }
            while wait.recv_timeout(Duration::from_millis(50)).is_err() {
                if dribble && stream.write_all(b"X-More: a\r\n").is_err() {
                    return;
                }
            }
        });
        let began = Instant::now();
        let error = attempt(webhook(&server.url()), Duration::from_millis(600)).unwrap_err();
        assert!(error.starts_with("no answer within 600 ms"), "{error}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(600) && took < PATIENCE / 2, "{took:?}");
        let _ = done.send(());
        server.join();
    }
}

#[test]
fn a_huge_answer_is_not_read() {
    let (sent, written) = channel();
    let server = Server::new(1, move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n");
        let chunk = vec![b'x'; 1 << 20];
        let mut megabytes = 0;
        // Until the other side has had enough.
        while stream.write_all(&chunk).is_ok() {
            megabytes += 1;
        }
        sent.send(megabytes).unwrap();
    });
    attempt(webhook(&server.url()), PATIENCE).unwrap();
    let megabytes = written.recv_timeout(PATIENCE).unwrap();
    assert!(megabytes < 64, "{megabytes} MiB went into buffers of the kernel");

    let server = Server::new(1, |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").is_ok() {}
    });
    let error = attempt(webhook(&server.url()), PATIENCE).unwrap_err();
    assert!(
        !error.starts_with("no answer within"),
        "it was not read for as long as the rule allows: {error}"
    );
    server.join();
}

#[test]
fn what_is_no_http_and_who_is_not_there_are_failures() {
    let server = Server::of(&["SSH-2.0-OpenSSH_9.9\r\n\r\n"]);
    attempt(webhook(&server.url()), PATIENCE).unwrap_err();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = attempt(webhook(&format!("http://{free}/secret")), PATIENCE).unwrap_err();
    assert!(error.starts_with("the connection failed") && !error.contains("secret"), "{error}");
}

#[test]
fn what_a_rule_lacks_is_told_before_anything_is_sent() {
    let to = |url: &str, headers: &[(&str, Secret)], ca: Option<PathBuf>| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        To::Webhook(Webhook { url: Secret::Plain(url.to_owned()), headers, ca })
    };
    let plain = |text: &str| Secret::Plain(text.to_owned());
    for (to, said) in [
        (to("ftp://host/hunter2", &[], None), "that is no address"),
        (to("hunter2", &[], None), "that is no address"),
        (to("https:///hunter2", &[], None), "that is no address"),
        (to("https://user:hunter2@host/", &[], None), "set headers.Authorization"),
        (to("http://h/", &[("Host", plain("x"))], None), "set by the daemon itself"),
        (to("http://h/", &[("idempotency-key", plain("x"))], None), "set by the daemon itself"),
        (to("http://h/", &[("a b", plain("x"))], None), "no name of a header"),
        (to("http://h/", &[("X-A", plain("hunter2\r\nX-B: y"))], None), "bytes that no header can have"),
        (
            to("http://h/", &[("X-A", Secret::Env("INDEXER_NO_SUCH".into()))], None),
            "INDEXER_NO_SUCH is not set",
        ),
        (to("https://h/", &[], Some("/no/such/ca".into())), "/no/such/ca"),
        (to("https://h/", &[], Some("/dev/null".into())), "has no certificate"),
    ] {
        let error = attempt(to, PATIENCE).unwrap_err();
        assert!(error.starts_with("alert one: ") && error.contains(said), "{said}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Answers one request over TLS with 200, if it comes so far.
fn secure_server() -> (u16, std::thread::JoinHandle<bool>) {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut secure = rustls::Stream::new(&mut connection, &mut stream);
        let came = read_request(&mut secure).is_some();
        if came {
            secure.write_all(status(200).as_bytes()).unwrap();
            secure.conn.send_close_notify();
            let _ = secure.flush();
        }
        came
    });
    (port, thread)
}

#[test]
fn https_is_believed_by_the_certificates_of_the_rule_and_by_no_others() {
    let to = |port: u16, host: &str, ca: Option<PathBuf>| {
        let url = Secret::Plain(format!("https://{host}:{port}/hook"));
        To::Webhook(Webhook { url, headers: Vec::new(), ca })
    };
    let (port, server) = secure_server();
    attempt(to(port, "localhost", Some(fixture("ca.pem"))), PATIENCE).unwrap();
    assert!(server.join().unwrap());

    // Of another name than the certificate's.
    let (port, server) = secure_server();
    let error = attempt(to(port, "127.0.0.2", Some(fixture("ca.pem"))), PATIENCE).unwrap_err();
    assert!(!error.is_empty());
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    assert!(!server.join().unwrap());

    // By an authority that nobody named.
    let (port, server) = secure_server();
    let error = attempt(to(port, "localhost", None), PATIENCE).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    assert!(!server.join().unwrap());

    // Nobody there speaks TLS.
    let server = Server::of(&[]);
    attempt(to(server.port, "localhost", Some(fixture("ca.pem"))), PATIENCE).unwrap_err();
}
