//! The committed schemas are those that the program prints, official validators take them, and what is published is as they
//! say. Knows the program by its command line and its messages.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indexer_tests::{
    Daemon, Delivery, Ground, Place, Skipped, Subscriber, broker_url, indexer, need_tool, skipped, wait_for,
};
use record::wire::job::{Answer, Job, Told, Which};
use record::wire::message::{Message, Origin, Replay, Shape};
use record::wire::v1::{Entry, Place as WirePlace};
use record::{
    Body, Category, Change, Digest, DigestKind, Duplicates, EntryId, Gap, How, Kind, Op, Record, RootId,
    Seeded, Seq, Stat, State, Time, VolumeId,
};
use serde_json::{Value, json};

const COMMITTED: [(&str, &str); 5] = [
    ("json", "message.v1.schema.json"),
    ("asyncapi", "asyncapi.v1.json"),
    ("arrow", "batch.v1.arrow.json"),
    ("job", "rehash-job.v1.schema.json"),
    ("answer", "rehash-answer.v1.schema.json"),
];

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("schema").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(committed(name)).unwrap()).unwrap()
}

#[test]
fn what_is_committed_is_what_the_program_prints() {
    for (kind, name) in COMMITTED {
        let said = indexer(Path::new("/nowhere"), &[&"schema", &kind]);
        assert!(said.status.success(), "{kind}: {}", String::from_utf8_lossy(&said.stderr));
        let is = fs::read(committed(name)).unwrap_or_default();
        assert!(is == said.stdout, "schema/{name} is out of date: indexer schema {kind} > schema/{name}");
    }
}

#[test]
fn tables_of_engines_are_committed_as_the_program_prints_them() {
    for (kind, name) in [("clickhouse", "table.sql"), ("clickhouse-cluster", "cluster.sql")] {
        let said = indexer(Path::new("/nowhere"), &[&"schema", &kind]);
        let is = fs::read(committed("../deploy/clickhouse").join(name)).unwrap_or_default();
        assert!(is == said.stdout, "{name} is out of date: indexer schema {kind} > deploy/clickhouse/{name}");
    }
}

/// What is said to a program, and what it answers.
fn converse(mut program: Command, text: &str) -> String {
    let mut running = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    let text = text.to_owned();
    // Beside the reading of the answers: a pipe holds little.
    let said = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = running.wait_with_output().unwrap();
    said.join().unwrap().unwrap();
    assert!(output.status.success(), "{program:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema").join(name)
}

/// The validator of Python's `jsonschema`.
struct Validator {
    python: PathBuf,
    packages: PathBuf,
}

impl Validator {
    fn bring(ground: &Ground) -> Result<Validator, Skipped> {
        let python = need_tool("python3", "python3-pip")?;
        let packages = ground.beside("packages");
        let install: [&dyn AsRef<OsStr>; 7] =
            [&"-m", &"pip", &"install", &"--quiet", &"--target", &packages, &"jsonschema==4.26.0"];
        brokers::run(&python, &install).map_err(Skipped)?;
        Ok(Validator { python, packages })
    }

    /// What is wrong with each text; nothing, if it is as the schema says.
    fn judge(&self, schema: &Value, texts: &[String]) -> Vec<Option<String>> {
        let mut program = Command::new(&self.python);
        program.arg(script("validate.py")).env("PYTHONPATH", &self.packages);
        let lines = texts.iter().map(|text| format!("{text}\n"));
        let said = converse(program, &format!("{schema}\n{}", lines.collect::<String>()));
        let verdicts: Vec<Option<String>> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(verdicts.len(), texts.len());
        verdicts
    }
}

/// The messages of JSON that the exchange of records has.
fn of_changes(document: &Value) -> impl Iterator<Item = &Value> {
    let names = document["channels"]["changes"]["messages"].as_object().unwrap().keys();
    names.map(|name| &document["components"]["messages"][name])
}

/// A schema for `{"headers": …, "payload": …}` of exactly one message of the AsyncAPI document, without `headers` for bodies
/// alone.
fn of_one_message(document: &Value, parts: &[&str]) -> Value {
    let choices: Vec<Value> = of_changes(document)
        .map(|message| {
            let part = |part: &&str| ((*part).to_owned(), message[*part].clone());
            json!({"properties": Value::Object(parts.iter().map(part).collect())})
        })
        .collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "required": parts,
        "oneOf": choices,
        "components": document["components"],
    })
}

fn stat(kind: Kind) -> Stat {
    Stat {
        kind,
        mode: 0o7777,
        uid: u32::MAX,
        gid: 0,
        links: 1,
        size: u64::MAX,
        allocated: 0,
        // Before 1678, and the last second of ext4.
        modified: Time(-9_223_372_036_854_775_809),
        changed: Time(15_032_385_535_999_999_999),
        accessed: Time(0),
        created: (kind != Kind::Fifo).then_some(Time(7)),
    }
}

/// A change with all that it can have, or with as little as there is.
fn change(op: Op, kind: Kind, category: Option<Category>, digest: Option<Digest>, full: bool) -> Body {
    let state = Some(State { stat: stat(kind), digest, category });
    let entry = EntryId::new(VolumeId(u32::MAX), u64::MAX);
    let place = || full.then(|| record::Place::new(entry, b"a\xff"));
    Body::Change(Box::new(Change {
        entry,
        birth: None,
        op,
        at: place(),
        old: place(),
        before: state.filter(|_| op != Op::Created),
        after: state.filter(|_| op != Op::Deleted),
        parents: if full { vec![(entry, stat(Kind::Directory))] } else { Vec::new() },
        complete: full,
        pair: full.then_some(Seq(3)),
        path: b"/r/\xff\n".as_slice().into(),
        old_path: full.then(|| b"/r/a".as_slice().into()),
    }))
}

/// One message of each sort that the code can write.
fn every_sort() -> Vec<String> {
    let path: Box<[u8]> = b"/r/\xff".as_slice().into();
    let digest = |kind| Digest { kind, bytes: [0xa5; 32] };
    let mut bodies = Vec::new();
    for (op, full) in Op::ALL.into_iter().flat_map(|op| [(op, true), (op, false)]) {
        bodies.extend(Kind::ALL.map(|kind| change(op, kind, None, None, full)));
        bodies.extend(Category::ALL.map(|category| change(op, Kind::File, Some(category), None, full)));
        for kind in DigestKind::ALL {
            bodies.push(change(op, Kind::File, None, Some(digest(kind)), full));
        }
    }
    let why = "queue overflow".to_owned();
    bodies.push(Body::Gap(Gap { from: Time(-1), to: Time(1), scope: path.clone(), why: why.clone() }));
    bodies.push(Body::RootLost { path: path.clone(), why });
    bodies.push(Body::RootFound { path: path.clone() });
    bodies.push(Body::Seeded(Seeded { path: path.clone(), entries: u64::MAX }));
    for paths in [vec![], vec![path, b"/r/b".as_slice().into()]] {
        let digest = digest(DigestKind::Blake3);
        let set = Duplicates { digest, size: 5, copies: paths.len() as u64, were: 0, wasted: 5, paths };
        bodies.push(Body::Duplicates(Box::new(set)));
    }
    let word = str::to_owned;
    let origin =
        Origin { source: word("/indexer/n"), host: word("n"), epoch: "0a".repeat(16), version: word("0.1") };
    let mut texts = Vec::new();
    for (nth, body) in bodies.into_iter().enumerate() {
        let how = How::ALL[nth % How::ALL.len()];
        let record = Record { seq: Seq(u64::MAX), seen: Time(1 << 62), how, root: RootId(1), body };
        texts.push(serde_json::to_string(&Message::new(&record, b"/r", &origin)).unwrap());
    }
    let replay = Replay { origin: &origin, as_of: 9, at: Time(1), root: RootId(1), path: b"/r/\xff" };
    let name = |name: &[u8]| WirePlace::from(&record::Place::new(EntryId::new(VolumeId(1), 2), name));
    let names = vec![name(b"a"), name(b"\xff")];
    let row = record::Row::new(stat(Kind::File), Time(2));
    let id = EntryId::new(VolumeId(1), 7);
    let read = replay.read(Entry::new(b"/r/\xff/a", id, &row), id, Some(name(b"a")), names);
    for said in [replay.begun(), read, replay.ended(1)] {
        texts.push(serde_json::to_string(&said.message).unwrap());
    }
    texts
}

/// Messages with one thing wrong, by what it is.
fn bad(texts: &[String]) -> Vec<(&'static str, Value)> {
    let of = |verb: &str| -> Value {
        let mark = format!("\"verb\":\"{verb}\"");
        let text = texts.iter().find(|text| text.contains(&mark)).unwrap();
        // A `Value` holds no number of more than 64 bits.
        serde_json::from_str(&text.replace("-9223372036854775809", "-1")).unwrap()
    };
    let with = |verb: &str, path: &str, value: Value| {
        let mut message = of(verb);
        *message.pointer_mut(path).unwrap_or_else(|| panic!("{verb} has no {path}")) = value;
        message
    };
    let without = |verb: &str, path: &str| {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut message = of(verb);
        let gone = message.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        assert!(gone.is_some(), "{verb} has no {path}");
        message
    };
    let mut null_pair = of("created");
    null_pair["change"]["pair"] = Value::Null;
    vec![
        ("no object", json!("created")),
        ("nothing", json!({})),
        ("an op that is none", with("created", "/op", json!("x"))),
        ("the op of another verb", with("created", "/op", json!("u"))),
        ("no op", without("created", "/op")),
        ("no source", without("created", "/source")),
        ("no seq", without("created", "/source/seq")),
        ("a seq in quotes", with("created", "/source/seq", json!("7"))),
        ("a seq below 0", with("created", "/source/seq", json!(-7))),
        ("an epoch that is none", with("created", "/source/epoch", json!("latest"))),
        ("another connector", with("created", "/source/connector", json!("mysql"))),
        ("a means that is none", with("created", "/source/how", json!("guess"))),
        ("a verb that is none", with("created", "/change/verb", json!("exploded"))),
        ("a verb of another op", with("created", "/change/verb", json!("deleted"))),
        ("a kind that is none", with("created", "/after/kind", json!("door"))),
        ("a category that is none", with("created", "/after/category", json!("novel"))),
        ("a digest that is none", with("created", "/after/digest", json!("md5:00"))),
        ("a broken size", with("created", "/after/size", json!(1.5))),
        ("an entry that lacks its inode", without("created", "/after/inode")),
        ("nothing after", with("created", "/after", Value::Null)),
        ("nothing before", with("renamed", "/before", Value::Null)),
        ("a deleted entry that is there", with("deleted", "/after", json!({"path": "/r/a"}))),
        ("null where a field is left out", null_pair),
        ("a gap of nowhere", without("gap", "/change/path")),
        ("a set whose paths are a text", with("duplicate", "/change/set/paths", json!("/r/a"))),
    ]
}

#[test]
fn messages_of_every_sort_are_valid_and_bad_ones_are_not() {
    let ground = Place::Here.open().unwrap();
    let validator = match Validator::bring(&ground) {
        Ok(validator) => validator,
        Err(reason) => return skipped(reason),
    };
    let good = every_sort();
    assert!(good.len() > 300, "{}", good.len());
    let bad = bad(&good);
    let more = {
        // A later version may say more: readers of this one go on.
        let mut message: Value = serde_json::from_str(good.last().unwrap()).unwrap();
        message["source"]["weather"] = json!("fine");
        message.to_string()
    };
    let bare: Vec<String> = good.iter().cloned().chain([more]).collect();
    let bodies: Vec<String> = bare.iter().map(|text| format!("{{\"payload\":{text}}}")).collect();
    let document = read("asyncapi.v1.json");
    let schemas = [
        (read("message.v1.schema.json"), bare, false),
        (of_one_message(&document, &["payload"]), bodies, true),
    ];
    for (schema, texts, wrapped) in schemas {
        for (text, wrong) in texts.iter().zip(validator.judge(&schema, &texts)) {
            assert_eq!(wrong, None, "{text}");
        }
        let texts: Vec<String> = bad
            .iter()
            .map(|(_, body)| if wrapped { json!({"payload": body}) } else { body.clone() }.to_string())
            .collect();
        for ((what, body), wrong) in bad.iter().zip(validator.judge(&schema, &texts)) {
            assert!(wrong.is_some(), "{what} is taken, wrapped {wrapped}: {body}");
        }
    }
    let examples: Vec<String> = of_changes(&document)
        .flat_map(|message| message["examples"].as_array().unwrap())
        .map(ToString::to_string)
        .collect();
    let verdicts = validator.judge(&of_one_message(&document, &["headers", "payload"]), &examples);
    assert_eq!(verdicts, vec![None; Shape::ALL.len()], "{examples:?}");
}

/// A job, and what is answered: found, with and without a second end, and not found.
fn job_and_answers() -> (Job, Vec<Answer>) {
    let which = Which {
        volume: u32::MAX,
        inode: u64::MAX,
        size: u64::MAX,
        modified_ns: -9_223_372_036_854_775_809,
        changed_ns: 15_032_385_535_999_999_999,
        created_ns: None,
    };
    let job = Job::new("nas", &"0a".repeat(16), b"/srv/\xff", which, DigestKind::Blake2b256);
    let digest = Digest { kind: DigestKind::Blake2b256, bytes: [0xa5; 32] };
    let found = |tail| Told { digest, magic: Category::Other, head: [7; 16], tail, read: 9 };
    let answers = vec![
        job.done("pc", &found(None)),
        job.done("pc", &found(Some([1; 16]))),
        job.refused("pc", "it is not there"),
    ];
    (job, answers)
}

#[test]
fn jobs_and_answers_are_valid_and_bad_ones_are_not() {
    let ground = Place::Here.open().unwrap();
    let validator = match Validator::bring(&ground) {
        Ok(validator) => validator,
        Err(reason) => return skipped(reason),
    };
    let (job, answers) = job_and_answers();
    let small = |mut value: Value| {
        // A `Value` holds no number of more than 64 bits.
        (value["which"]["modified_ns"], value["which"]["changed_ns"]) = (json!(1), json!(2));
        value
    };
    let value = |text: &str| small(serde_json::from_str(&text.replace("-9223372036854775809", "1")).unwrap());
    let with = |of: &str, path: &str, is: Value| {
        let mut value = value(of);
        let (parent, name) = path.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[name] = is;
        value.to_string()
    };
    let without = |of: &str, name: &str| {
        let mut value = value(of);
        assert!(value.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        value.to_string()
    };
    let text = serde_json::to_string(&job).unwrap();
    let texts: Vec<String> = answers.iter().map(|answer| serde_json::to_string(answer).unwrap()).collect();
    let bad_jobs = [
        "{}".to_owned(),
        without(&text, "path"),
        without(&text, "which"),
        with(&text, "/digest", json!("md5")),
        with(&text, "/digest", json!("blake3-sampled")),
        with(&text, "/epoch", json!("latest")),
        with(&text, "/which/size", json!(-1)),
        with(&text, "/which/modified_ns", json!("now")),
        texts[0].clone(),
    ];
    let bad_answers = [
        "{}".to_owned(),
        without(&texts[0], "digest"),
        without(&texts[2], "refused"),
        with(&texts[0], "/refused", json!("and yet")),
        with(&texts[0], "/digest", json!("md5:00")),
        with(&texts[0], "/magic", json!("novel")),
        with(&texts[0], "/head", json!("00")),
        with(&texts[2], "/worker", json!(7)),
        text.clone(),
    ];
    let document = read("asyncapi.v1.json");
    let of = |name: &str| {
        let mut schema = document["components"]["messages"][name]["payload"].clone();
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
        schema["components"] = document["components"].clone();
        // In draft 7 nothing counts beside a reference.
        json!({"allOf": [schema.clone()], "$schema": schema["$schema"], "components": schema["components"]})
    };
    for (schema, good, bad) in [
        (read("rehash-job.v1.schema.json"), vec![text.clone()], &bad_jobs[..]),
        (of("job"), vec![text.clone()], &bad_jobs[..]),
        (read("rehash-answer.v1.schema.json"), texts.clone(), &bad_answers[..]),
        (of("answer"), texts.clone(), &bad_answers[..]),
    ] {
        for (text, wrong) in good.iter().zip(validator.judge(&schema, &good)) {
            assert_eq!(wrong, None, "{text}");
        }
        for (text, wrong) in bad.iter().zip(validator.judge(&schema, bad)) {
            assert!(wrong.is_some(), "taken: {text}");
        }
    }
    for name in ["job", "answer"] {
        let examples = document["components"]["messages"][name]["examples"].as_array().unwrap();
        let bodies: Vec<String> = examples.iter().map(|example| example["payload"].to_string()).collect();
        assert_eq!(validator.judge(&of(name), &bodies), vec![None; bodies.len()], "{bodies:?}");
    }
}

/// Headers, key and body as the document has them.
fn delivered(delivery: &Delivery) -> Value {
    let table = delivery.properties.headers().as_ref().unwrap();
    let headers = table
        .inner()
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(value.as_long_string().unwrap().to_string())));
    let payload: Value = serde_json::from_slice(&delivery.data).unwrap();
    json!({"headers": Value::Object(headers.collect()), "payload": payload})
}

/// Whether a key is of the channel: each word from its set.
fn is_of_channel(key: &str, channel: &Value) -> bool {
    let address: Vec<&str> = channel["address"].as_str().unwrap().split('.').collect();
    let words: Vec<&str> = key.split('.').collect();
    let fits = |(word, part): (&&str, &&str)| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        None => word == part,
        Some(name) => match channel["parameters"][name]["enum"].as_array() {
            Some(set) => set.iter().any(|one| one == word),
            None => word.strip_prefix('r').is_some_and(|number| number.parse::<u32>().is_ok()),
        },
    };
    words.len() == address.len() && words.iter().zip(&address).all(fits)
}

/// All that can be done to entries by hand; each step is on record before the next.
fn work(daemon: &Daemon, root: &Path) {
    let at = |name: &str| root.join(name);
    let read_only = || fs::set_permissions(at("new"), fs::Permissions::from_mode(0o400)).unwrap();
    let steps: [&dyn Fn(); 12] = [
        &|| fs::write(at("old"), "five").unwrap(),
        &|| fs::write(at("old"), "a film").unwrap(),
        &|| fs::rename(at("old"), at("new")).unwrap(),
        &read_only,
        &|| fs::hard_link(at("new"), at("other")).unwrap(),
        &|| fs::remove_file(at("other")).unwrap(),
        &|| fs::create_dir(at("folder")).unwrap(),
        &|| symlink("nowhere", at("folder/link")).unwrap(),
        &|| fs::write(root.join(OsStr::from_bytes(b"\xff.jpg")), "").unwrap(),
        &|| fs::write(at("copy 1"), vec![b'c'; 9000]).unwrap(),
        &|| fs::write(at("copy 2"), vec![b'c'; 9000]).unwrap(),
        &|| fs::remove_file(at("new")).unwrap(),
    ];
    for step in steps {
        step();
        daemon.settle();
    }
    wait_for("the set of copies", || {
        daemon.changes(0).iter().any(|record| record["op"] == "duplicate").then_some(())
    });
}

#[test]
fn what_a_broker_is_given_is_as_the_documents_say() {
    let ground = Place::Here.open().unwrap();
    let validator = match Validator::bring(&ground) {
        Ok(validator) => validator,
        Err(reason) => return skipped(reason),
    };
    let (url, exchange) = (broker_url(), format!("schema-{}", std::process::id()));
    let daemon =
        Daemon::publishing(&ground.state(), ground.root(), &exchange, &url, &["--hash", "candidates"]);
    work(&daemon, ground.root());
    let last = daemon.seq();
    // Nobody is bound, so that all of it is in the catch-all, from the first record on.
    let catch_all = format!("{exchange}.unrouted");
    wait_for("all to be published", || {
        let amqp = &daemon.status()["amqp"];
        (amqp["state"] == "publishing" && amqp["confirmed"].as_u64()? >= last).then_some(())
    });
    let seq = |one: &Delivery| delivered(one)["payload"]["source"]["seq"].as_u64().unwrap();
    let taken = Subscriber::new(&url).take_until(&catch_all, |one| seq(one) == last);

    let document = read("asyncapi.v1.json");
    let channel = &document["channels"]["changes"];
    let described = document["components"]["schemas"]["Headers"]["properties"].as_object().unwrap();
    let mut verbs = BTreeSet::new();
    for one in &taken {
        let message = delivered(one);
        for name in message["headers"].as_object().unwrap().keys() {
            assert!(described.contains_key(name), "nothing is said of {name}");
        }
        let key = one.routing_key.as_str();
        assert!(is_of_channel(key, channel), "{key}");
        assert_eq!(one.properties.content_type().as_ref().unwrap().as_str(), "application/json");
        verbs.insert(key.split('.').nth(4).unwrap());
    }
    for verb in "seeded created modified attrib renamed linked unlinked deleted hashed duplicate".split(' ') {
        assert!(verbs.contains(verb), "no {verb} among {verbs:?}");
    }
    assert!(!is_of_channel("fs.v1.r1.door.created.p01", channel));
    assert!(!is_of_channel("fs.v1.r1.file.created.p16", channel));

    let texts: Vec<String> = taken.iter().map(|one| delivered(one).to_string()).collect();
    let whole = of_one_message(&document, &["headers", "payload"]);
    for (text, wrong) in texts.iter().zip(validator.judge(&whole, &texts)) {
        assert_eq!(wrong, None, "{text}");
    }
    // The body of one with the headers of another.
    let of_entry = |one: &&Delivery| !one.routing_key.as_str().contains(".none.");
    let (mut first, other) = (delivered(&taken[0]), delivered(taken.iter().find(of_entry).unwrap()));
    first["headers"] = other["headers"].clone();
    assert_ne!(validator.judge(&whole, &[first.to_string()]), [None], "{first}");
    let bodies: Vec<String> = taken.iter().map(|one| delivered(one)["payload"].to_string()).collect();
    for (text, wrong) in bodies.iter().zip(validator.judge(&read("message.v1.schema.json"), &bodies)) {
        assert_eq!(wrong, None, "{text}");
    }
}

#[test]
fn asyncapis_own_parser_takes_the_document_and_no_broken_one() {
    let ground = Place::Here.open().unwrap();
    let packages = ground.beside("packages");
    let ready = || -> Result<Command, Skipped> {
        let (node, npm) = (need_tool("node", "nodejs")?, need_tool("npm", "npm")?);
        fs::create_dir(&packages).unwrap();
        let install: [&dyn AsRef<OsStr>; 5] =
            [&"install", &"--silent", &"--prefix", &packages, &"@asyncapi/parser@3.6"];
        brokers::run(&npm, &install).map_err(Skipped)?;
        // What a module imports is looked for where it lies.
        let program = packages.join("parse.mjs");
        fs::copy(script("parse.mjs"), &program).unwrap();
        let mut parser = Command::new(node);
        parser.arg(program);
        Ok(parser)
    };
    let parser = match ready() {
        Ok(parser) => parser,
        Err(reason) => return skipped(reason),
    };
    let document = read("asyncapi.v1.json");
    let with = |path: &str, value: Value| {
        let mut document = document.clone();
        *document.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        document
    };
    let documents = [
        document.clone(),
        with("/channels/changes/bindings/amqp/bindingVersion", json!("0.2.0")),
        with("/channels/changes/parameters", json!({"root": {}})),
        with("/channels/answers/parameters", json!({})),
        with("/operations/work/messages/0/$ref", json!("#/channels/jobs/messages/none")),
        with("/operations/subscribe/action", json!("hear")),
        with("/operations/subscribe/channel/$ref", json!("#/channels/none")),
        with("/components/schemas/Entry/type", json!("thing")),
        with("/components/schemas/Message/properties/source", json!({"$ref": "#/components/schemas/None"})),
        with("/asyncapi", json!("3.9.0")),
    ];
    let texts: Vec<String> = documents.iter().map(ToString::to_string).collect();
    let verdicts: Vec<Vec<String>> =
        serde_json::from_str(&converse(parser, &json!(texts).to_string())).unwrap();
    assert_eq!(verdicts[0], Vec::<String>::new());
    assert_eq!(verdicts.len(), documents.len());
    for (nth, errors) in verdicts.iter().enumerate().skip(1) {
        assert!(!errors.is_empty(), "broken document {nth} is taken");
    }
}
