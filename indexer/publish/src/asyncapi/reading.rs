//! The part of the document about contents that other hosts read: jobs, answers, and where both go. Knows the names that are used without a
//! word in the configuration.

use record::wire::job::{ANSWER_SCHEMA, JOB_SCHEMA, Job, Told, Which};
use record::wire::schema::{self, Bodies};
use record::{Category, Digest, DigestKind};
use serde_json::{Map, Value, json};

use super::{BINDINGS, SCHEMAS, named};
use crate::headers::CONTENT_TYPE;
use crate::settings::DEFAULT_EXCHANGE;
use crate::topology::{self, ANSWERS_KEPT, DELIVERIES, dead, results};

/// Names of the messages.
pub(super) const JOB: &str = "job";
pub(super) const ANSWER: &str = "answer";

/// What is done with them.
pub(super) const ASK: &str = "What an index does that has contents read by other hosts (`--hash remote`): at most 1,000 files are asked \
    for and not answered.";
pub(super) const WORK: &str = "What a worker does (`indexer consume rehash`): it reads the file, and acknowledges the job when the broker \
    has the answer.";
pub(super) const ANSWER_TO: &str = "What a worker does with what it found, or with why it found nothing.";
pub(super) const LEARN: &str =
    "What the index does: the answer counts if the file still is what was asked for.";

/// The queue that workers compete for.
pub(super) fn jobs() -> Value {
    let queue = topology::jobs(DEFAULT_EXCHANGE, "{host}");
    json!({
        "address": queue,
        "description": "Files to read, for workers that see those of the host: by the default exchange, into one queue a host.",
        "parameters": {"host": {"description": "The host of the index.", "examples": ["nas"]}},
        "messages": named("#/components/messages", &[JOB]),
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {"name": queue, "durable": true, "exclusive": false, "autoDelete": false},
            "bindingVersion": BINDINGS,
        }},
        "x-arguments": kept(&queue, false),
    })
}

/// The exchange of answers.
pub(super) fn answers() -> Value {
    let queue = format!("{}.{{epoch}}", results(DEFAULT_EXCHANGE));
    json!({
        "address": "{epoch}",
        "description": "The address is the routing key: the epoch of the journal of whom the answer is for.",
        "parameters": {"epoch": {
            "description": "That of the job.",
            "location": "$message.payload#/epoch",
            "examples": ["50887d0f34b0c9e2a6d15f7b8c431e09"],
        }},
        "messages": named("#/components/messages", &[ANSWER]),
        "bindings": {"amqp": {
            "is": "routingKey",
            "exchange": {
                "name": results(DEFAULT_EXCHANGE),
                "type": "direct",
                "durable": true,
                "autoDelete": false,
            },
            "bindingVersion": BINDINGS,
        }},
        // The bindings have no word for what is bound.
        "x-queue": {"name": queue, "durable": true, "x-arguments": kept(&queue, true)},
    })
}

/// What a queue is declared with that a message leaves handled or put aside.
fn kept(queue: &str, answers: bool) -> Value {
    let mut arguments = json!({
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERIES,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead(queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    });
    if answers {
        arguments["x-single-active-consumer"] = true.into();
        arguments["x-expires"] = ANSWERS_KEPT.into();
    }
    arguments
}

/// Both messages, by name.
pub(super) fn messages(bodies: &Bodies) -> Map<String, Value> {
    let message = |name: &str, title: &str, payload: Value, examples: Vec<Value>| {
        let examples: Vec<Value> = examples.into_iter().map(|body| json!({"payload": body})).collect();
        let message = json!({
            "name": name,
            "title": title,
            "contentType": CONTENT_TYPE,
            "payload": payload,
            "bindings": {"amqp": {"bindingVersion": BINDINGS}},
            "examples": examples,
        });
        (name.to_owned(), message)
    };
    let body = |name: &str, id: &str| json!({"$ref": format!("#{SCHEMAS}/{name}"), "x-schema": id});
    let answer = json!({"allOf": [
        {"$ref": format!("#{SCHEMAS}/{}", bodies.answer)},
        {"oneOf": schema::found_or_not(), "x-schema": ANSWER_SCHEMA},
    ]});
    let (asked, found, not_found) = samples();
    [
        message(JOB, "A file whose content is to be read", body(&bodies.job, JOB_SCHEMA), vec![asked]),
        message(ANSWER, "What came of a job", answer, vec![found, not_found]),
    ]
    .into_iter()
    .collect()
}

/// A job and its two answers, made up.
fn samples() -> (Value, Value, Value) {
    let which = Which {
        volume: 1,
        inode: 42,
        size: 5_000_000_000,
        modified_ns: 1_764_000_000_123_456_789,
        changed_ns: 1_764_000_000_123_456_789,
        created_ns: None,
    };
    let epoch = "50887d0f34b0c9e2a6d15f7b8c431e09";
    let job = Job::new("nas", epoch, b"/srv/films/film.mkv", which, DigestKind::Blake3);
    let digest = Digest { kind: DigestKind::Blake3, bytes: [0xa5; 32] };
    let told = Told { digest, magic: Category::Video, head: [1; 16], tail: Some([2; 16]), read: which.size };
    let text = |body: Result<Value, _>| body.unwrap_or_default();
    (
        text(serde_json::to_value(&job)),
        text(serde_json::to_value(job.done("pc", &told))),
        text(serde_json::to_value(job.refused("pc", "it changed while it was read"))),
    )
}
