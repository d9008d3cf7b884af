//! TLS with a broker of our own, certificates of an authority of our own, and all that may be wrong with their files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brokers::{Authority, Broker, wait_for};
use consumer::{Feed, Secret};
use publish::{Relay, Settings, SettingsError, Tls};

use crate::journal::{Journal, origin};

fn settings(url: &str, ca: Option<PathBuf>, client: Option<(PathBuf, PathBuf)>) -> Settings {
    let mut settings = Settings::new(Secret::Plain(url.to_owned()));
    settings.pause = (Duration::from_millis(5), Duration::from_millis(50));
    settings.tls = Tls { ca, client };
    settings
}

/// Ten records arrive.
fn works(settings: &Settings) {
    let journal = Journal::of(10);
    let relay = Relay::start(Arc::clone(&journal) as Arc<dyn Feed>, settings.clone(), origin()).unwrap();
    wait_for("the cursor", || (journal.cursor_now() == 10).then_some(()));
    relay.stop();
    relay.join();
}

/// A relay says all of this, at the first attempt or, where the machine is slow, a later one.
fn refused(settings: &Settings, parts: &[&str]) {
    let relay = Relay::start(Journal::of(1) as Arc<dyn Feed>, settings.clone(), origin()).unwrap();
    let (all, mut said) = (parts.join(", "), Vec::new());
    wait_for(&all, || {
        let trouble = relay.report().trouble?;
        if said.last() != Some(&trouble) {
            eprintln!("{trouble}");
            said.push(trouble.clone());
        }
        parts.iter().all(|part| trouble.contains(part)).then_some(())
    });
    relay.stop();
    relay.join();
}

/// A broker that takes TLS alone, and whether it asks who is there.
fn listen(broker: &Broker, authority: &Authority, asks: bool) {
    let (certificate, key) = authority.server();
    let (port, ca) = (broker.spare_port(), authority.certificate());
    broker.configure(&format!(
        "listeners.ssl.default = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = {asks}\n\
         auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\nssl_cert_login_from = common_name\n",
        ca.display(),
        certificate.display(),
        key.display(),
    ));
}

#[test]
fn a_broker_is_believed_by_its_authority_and_believes_us_by_ours() {
    let (authority, stranger, mut broker) = (Authority::new(), Authority::new(), Broker::new());
    broker.enable(&["rabbitmq_auth_mechanism_ssl"]);
    listen(&broker, &authority, false);
    broker.run();
    let port = broker.spare_port();
    let url = format!("amqps://guest:guest@127.0.0.1:{port}/%2f");
    let (ca, client) = (authority.certificate(), authority.client("publisher"));

    works(&settings(&url, Some(ca.clone()), None));
    refused(&settings(&url, None, None), &["UnknownIssuer", "ca names"]);
    refused(&settings(&url, Some(stranger.certificate()), None), &["invalid peer certificate", "ca names"]);
    let other_name = format!("amqps://guest:guest@localhost:{port}/%2f");
    refused(&settings(&other_name, Some(ca.clone()), None), &["localhost", "another name"]);
    // To a port that speaks no TLS, and without TLS to one that does.
    let plain = format!("amqps://guest:guest@127.0.0.1:{}/%2f", broker.port());
    refused(&settings(&plain, Some(ca.clone()), None), &["InvalidContentType"]);
    refused(&settings(&format!("amqp://guest:guest@127.0.0.1:{port}/%2f"), None, None), &[]);

    // The certificate is the login.
    let _ = broker.control(&["add_user", "publisher", "of no use"]);
    let _ = broker.control(&["set_permissions", "publisher", ".*", ".*", ".*"]);
    let external = format!("amqps://127.0.0.1:{port}/%2f?auth_mechanism=external");
    works(&settings(&external, Some(ca.clone()), Some(client.clone())));
    let nobody = Some(authority.client("nobody"));
    refused(&settings(&external, Some(ca.clone()), nobody), &["ACCESS_REFUSED"]);

    // Files are read for each connection: what becomes of them while it runs is said, and mended without a new start.
    let changing = authority.file("changing.pem", &std::fs::read_to_string(&ca).unwrap());
    let journal = Journal::of(10);
    let running = Relay::start(
        Arc::clone(&journal) as Arc<dyn Feed>,
        settings(&url, Some(changing.clone()), None),
        origin(),
    );
    let running = running.unwrap();
    wait_for("the cursor", || (journal.cursor_now() == 10).then_some(()));
    let _ = authority.file("changing.pem", "half a cert");
    broker.kill();
    let path = changing.to_str().unwrap();
    wait_for("the trouble", || running.report().trouble.filter(|why| why.contains(path)));
    listen(&broker, &authority, true);
    broker.run();
    let _ = authority.file("changing.pem", &std::fs::read_to_string(&ca).unwrap());
    wait_for("the broker's question", || running.report().trouble.filter(|why| why.contains("who we are")));
    running.stop();
    running.join();

    // It asks who is there.
    let with = |key: PathBuf| settings(&url, Some(ca.clone()), Some((client.0.clone(), key)));
    works(&with(client.1.clone()));
    works(&with(authority.rewritten(&client.1, "traditional.key", &["rsa", "-traditional"])));
    let (certificate, key) = authority.client_on_a_curve("publisher on a curve");
    for key in [key.clone(), authority.rewritten(&key, "sec1.key", &["ec"])] {
        works(&settings(&url, Some(ca.clone()), Some((certificate.clone(), key))));
    }
    refused(&settings(&url, Some(ca.clone()), None), &["who we are", "client_certificate"]);
    refused(
        &settings(&url, Some(ca.clone()), Some(stranger.client("publisher"))),
        &["not take our client_certificate"],
    );
}

/// Before any broker is asked, and with the file's name.
#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let authority = Authority::new();
    let (ca, (certificate, key)) = (authority.certificate(), authority.client("us"));
    let garbage =
        authority.file("garbage.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let no_certificate =
        authority.file("no.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let empty = authority.file("empty.pem", "");
    let encrypted = authority.rewritten(&key, "secret.key", &["pkcs8", "-topk8", "-passout", "pass:hunter2"]);
    let old = ["rsa", "-traditional", "-aes128", "-passout", "pass:hunter2"];
    let encrypted_before = authority.rewritten(&key, "secret-old.key", &old);
    let other = authority.client("other").1;
    let absent = PathBuf::from("/nowhere/key.pem");
    let url = "amqps://guest:hunter2@127.0.0.1:1/%2f";
    let says = |ca: &PathBuf, client: Option<(&PathBuf, &PathBuf)>, file: &PathBuf, why: &str| {
        let client = client.map(|(certificate, key)| (certificate.clone(), key.clone()));
        let error = settings(url, Some(ca.clone()), client).check().unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()) && error.contains(why), "{why:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    says(&garbage, None, &garbage, "no PEM");
    says(&no_certificate, None, &no_certificate, "is none");
    says(&empty, None, &empty, "holds no certificate");
    says(&key, None, &key, "holds no certificate");
    says(&absent, None, &absent, "No such file");
    says(&ca, Some((&empty, &key)), &empty, "holds no certificate");
    says(&ca, Some((&certificate, &certificate)), &certificate, "holds no private key");
    says(&ca, Some((&certificate, &garbage)), &garbage, "the client's key");
    says(&ca, Some((&certificate, &encrypted)), &encrypted, "is encrypted");
    says(&ca, Some((&certificate, &encrypted_before)), &encrypted_before, "is encrypted");
    says(&ca, Some((&certificate, &other)), &other, "is not that of the certificate");
    says(&ca, Some((&certificate, &other)), &certificate, "is not that of the certificate");
    let plain = settings("amqp://127.0.0.1", Some(ca), Some((certificate, key)));
    assert!(matches!(plain.check(), Err(SettingsError::Plain)));
}
