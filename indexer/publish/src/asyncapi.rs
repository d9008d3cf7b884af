//! What the relay publishes, as an AsyncAPI document: exchange, keys, headers and bodies, from the constants and functions
//! that publish them. Knows the names that are used without a word in the configuration, and no others.

mod reading;
mod samples;

use columns::{ANY_KIND, BATCH};
use lapin::types::AMQPValue;
use record::Kind;
use record::wire::message::{ALL_PARTITIONS, DATA_SCHEMA, NO_KIND, PARTITIONS, Shape, token};
use record::wire::schema;
use serde_json::{Map, Value, json};

use crate::headers::{CONTENT_ENCODING, CONTENT_TYPE, EVENT, PERSISTENT, properties};
use crate::letter::Letter;
use crate::settings::DEFAULT_EXCHANGE;
use crate::topology::{MOST_STREAM_BYTES, MOST_UNROUTED, MOST_UNROUTED_BYTES, stream, unrouted};

/// Of AsyncAPI's AMQP bindings: the parser takes no other.
const BINDINGS: &str = "0.3.0";
/// Where the document has its schemas.
const SCHEMAS: &str = "/components/schemas";

/// The document, AsyncAPI 3.1, the same each time.
#[must_use]
pub fn asyncapi() -> Value {
    let (mut schemas, bodies) = schema::definitions(SCHEMAS);
    schemas.insert("Headers".to_owned(), headers_schema());
    let mut messages: Map<String, Value> = Shape::ALL
        .map(|shape| (shape.word().to_owned(), message(shape, &bodies.message)))
        .into_iter()
        .collect();
    messages.insert(BATCH.to_owned(), batch());
    messages.extend(reading::messages(&bodies));
    let mut document = json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "indexer: changes of file trees",
            "version": "1.0.0",
            "description": "Every record of the journal, in order of its seq and at least once: what has been seen of an epoch \
                is known by its seq. indexer publishes (`publish`), whoever wants to reads from a queue of his own \
                (`subscribe`). Names of exchanges are those without a word in the configuration.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"broker": {
            "host": "{host}:{port}",
            "protocol": "amqp",
            "protocolVersion": "0-9-1",
            "description": "Or `amqps`, on port 5671.",
            "variables": {
                "host": {"default": "localhost"},
                "port": {"default": "5672"},
            },
        }},
        "channels": {
            "changes": changes(),
            "batches": batches(),
            "unrouted": catch_all(),
            "stream": stream_queue(),
            "jobs": reading::jobs(),
            "answers": reading::answers(),
        },
        "operations": {
            "publish": operation("send", "changes", "What indexer does.", json!({
                "deliveryMode": PERSISTENT,
                "mandatory": true,
                "timestamp": true,
            })),
            "subscribe": operation(
                "receive",
                "changes",
                "What a subscriber does: it binds a queue to the exchange by a pattern of keys, as `fs.v1.*.file.#`, and \
                 acknowledges what it is done with. A queue of some partitions takes `#.pall` too.",
                json!({"ack": true}),
            ),
            "publishBatches": between(
                "send",
                "batches",
                "What indexer does instead of `publish` where it was told to (`--amqp-format arrow`).",
                &[BATCH],
                json!({"deliveryMode": PERSISTENT, "mandatory": true, "timestamp": true}),
            ),
            "subscribeBatches": between(
                "receive",
                "batches",
                "What a subscriber to batches does: it binds a queue by `fs.v1.*.any.batch.#`. Bindings by a kind or a verb match \
                 no batch.",
                &[BATCH],
                json!({"ack": true}),
            ),
            "readStream": operation(
                "receive",
                "stream",
                "What a reader of the stream does, with a prefetch and the argument `x-stream-offset`.",
                json!({"ack": true}),
            ),
            "ask": between("send", "jobs", reading::ASK, &[reading::JOB], json!({"deliveryMode": PERSISTENT})),
            "work": between("receive", "jobs", reading::WORK, &[reading::JOB], json!({"ack": true})),
            "answer": between(
                "send",
                "answers",
                reading::ANSWER_TO,
                &[reading::ANSWER],
                json!({"deliveryMode": PERSISTENT, "mandatory": true}),
            ),
            "learn": between("receive", "answers", reading::LEARN, &[reading::ANSWER], json!({"ack": true})),
            "inspect": operation(
                "receive",
                "unrouted",
                "What nobody was bound to, to look at.",
                json!({"ack": true}),
            ),
        },
        "components": {"messages": messages, "schemas": schemas},
    });
    document.sort_all_objects();
    document
}

/// The topic exchange and its keys.
fn changes() -> Value {
    let kinds: Vec<&str> = Kind::ALL.map(Kind::word).into_iter().chain([NO_KIND]).collect();
    json!({
        "address": "fs.v1.{root}.{kind}.{verb}.{partition}",
        "description": "The address is the routing key; each word is from a closed set.",
        "parameters": {
            "root": {"description": "`r` and the number of the root, as in `source.root_id`.", "examples": ["r1"]},
            "kind": {
                "description": format!("What the entry is; `{NO_KIND}` where a record is about no one entry."),
                "enum": kinds,
            },
            "verb": {
                "description": "What happened.",
                "enum": schema::verbs(),
                "location": "$message.payload#/change/verb",
            },
            "partition": {
                "description": format!(
                    "By inode and volume, so that all records of an entry have one; `{ALL_PARTITIONS}` where a record is \
                     about no one entry: each partition's queue binds it too."
                ),
                "enum": partitions(),
                "location": "$message.header#/cloudEvents_partitionkey",
            },
        },
        "messages": references("#/components/messages"),
        "bindings": {"amqp": {
            "is": "routingKey",
            "exchange": {"name": DEFAULT_EXCHANGE, "type": "topic", "durable": true, "autoDelete": false},
            "bindingVersion": BINDINGS,
        }},
        // The bindings have no word for it.
        "x-alternate-exchange": {
            "name": unrouted(DEFAULT_EXCHANGE),
            "type": "fanout",
            "durable": true,
            "autoDelete": false,
        },
    })
}

/// The queue behind the alternate exchange.
fn catch_all() -> Value {
    let mut messages = references("#/components/messages");
    messages[BATCH] = json!({"$ref": format!("#/components/messages/{BATCH}")});
    json!({
        "address": unrouted(DEFAULT_EXCHANGE),
        "description": "The queue of the alternate exchange: messages that no binding wants. The oldest go.",
        "messages": messages,
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {
                "name": unrouted(DEFAULT_EXCHANGE),
                "durable": true,
                "exclusive": false,
                "autoDelete": false,
            },
            "bindingVersion": BINDINGS,
        }},
        "x-arguments": {
            "x-max-length": MOST_UNROUTED,
            "x-max-length-bytes": MOST_UNROUTED_BYTES,
            "x-overflow": "drop-head",
        },
    })
}

/// Batches of the same exchange.
fn batches() -> Value {
    let mut channel = changes();
    let parameter = channel["parameters"]["root"].clone();
    channel["address"] = format!("fs.v1.{{root}}.{ANY_KIND}.{BATCH}.{ALL_PARTITIONS}").into();
    channel["description"] = "Consecutive records of one root, of any kind, verb and partition.".into();
    channel["parameters"] = json!({"root": parameter});
    channel["messages"] = named("#/components/messages", &[BATCH]);
    channel
}

/// The queue that keeps everything for whoever comes later.
fn stream_queue() -> Value {
    let mut messages = references("#/components/messages");
    messages[BATCH] = json!({"$ref": format!("#/components/messages/{BATCH}")});
    json!({
        "address": stream(DEFAULT_EXCHANGE),
        "description": "A stream of all that is published, where `stream = true` is configured: readers take nothing from each other, \
            and begin where they like.",
        "messages": messages,
        "bindings": {"amqp": {
            "is": "queue",
            "queue": {
                "name": stream(DEFAULT_EXCHANGE),
                "durable": true,
                "exclusive": false,
                "autoDelete": false,
            },
            "bindingVersion": BINDINGS,
        }},
        // The age is that of the configuration.
        "x-arguments": {"x-queue-type": "stream", "x-max-length-bytes": MOST_STREAM_BYTES},
    })
}

/// References to messages by name.
fn named(to: &str, names: &[&str]) -> Value {
    let reference = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("{to}/{name}")}));
    Value::Object(names.iter().map(reference).collect())
}

fn references(to: &str) -> Value {
    let reference =
        |shape: Shape| (shape.word().to_owned(), json!({"$ref": format!("{to}/{}", shape.word())}));
    Value::Object(Shape::ALL.map(reference).into_iter().collect())
}

fn operation(action: &str, channel: &str, what: &str, binding: Value) -> Value {
    between(action, channel, what, &Shape::ALL.map(Shape::word), binding)
}

/// An operation with messages of these names.
fn between(action: &str, channel: &str, what: &str, names: &[&str], mut binding: Value) -> Value {
    binding["bindingVersion"] = BINDINGS.into();
    let channel = format!("#/channels/{channel}");
    let messages: Vec<Value> =
        names.iter().map(|name| json!({"$ref": format!("{channel}/messages/{name}")})).collect();
    json!({
        "action": action,
        "channel": {"$ref": channel},
        "description": what,
        "messages": messages,
        "bindings": {"amqp": binding},
    })
}

fn partitions() -> Vec<String> {
    (0..PARTITIONS).map(token).chain([ALL_PARTITIONS.to_owned()]).collect()
}

fn types(verbs: &[&str]) -> Vec<String> {
    verbs.iter().map(|verb| format!("{EVENT}{verb}")).collect()
}

/// CloudEvents 1.0 in binary mode.
fn headers_schema() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut properties = json!({
        "cloudEvents_specversion": {"type": "string", "const": "1.0"},
        "cloudEvents_id": text(
            "`source/epoch/seq`, the same each time that it is sent; as `message_id`. A gap that tells what the journal lost \
             has `/r<root>` behind it; what a replay sends has `/<entry>`, `/begun/r<root>` or `/ended/r<root>`.",
        ),
        "cloudEvents_source": text("Of which indexer; as `source.name`."),
        "cloudEvents_type": {"type": "string", "enum": types(&schema::verbs())},
        "cloudEvents_dataschema": {"type": "string", "const": DATA_SCHEMA},
        "cloudEvents_partitionkey": {"type": "string", "enum": partitions()},
        "cloudEvents_subject": text("`volume:inode` of the entry."),
        "cloudEvents_time": text("When it was seen; absent for years beyond 9999."),
    });
    properties["cloudEvents_subject"]["pattern"] = "^[0-9]+:[0-9]+$".into();
    properties["cloudEvents_source"]["format"] = "uri-reference".into();
    properties["cloudEvents_time"]["format"] = "date-time".into();
    let always = ["specversion", "id", "source", "type", "dataschema", "partitionkey"];
    json!({
        "type": "object",
        "description": "CloudEvents 1.0 in binary mode.",
        "properties": properties,
        "required": always.map(|name| format!("cloudEvents_{name}")),
    })
}

/// A batch. Its columns are no JSON, and are told of beside.
fn batch() -> Value {
    let number = |what: &str| json!({"type": "string", "pattern": "^[0-9]+$", "description": what});
    let own = json!({
        "cloudEvents_id": {"description": "`source/epoch/first-last`; of one record, as it would be by itself, where it is lost."},
        "cloudEvents_type": {"const": format!("{EVENT}{BATCH}")},
        "cloudEvents_dataschema": {"const": columns::DATA_SCHEMA},
        "cloudEvents_partitionkey": {"const": ALL_PARTITIONS},
        "cloudEvents_firstseq": number("Seq of the first record."),
        "cloudEvents_lastseq": number("Of the last."),
        "cloudEvents_records": number("How many there are."),
    });
    let mut headers = headers_schema();
    if let (Some(all), Value::Object(own)) = (headers["properties"].as_object_mut(), own) {
        all.remove("cloudEvents_subject");
        for (name, more) in own {
            all.insert(name, more);
        }
    }
    json!({
        "name": BATCH,
        "title": "Consecutive records of one root, as columns",
        "contentType": columns::CONTENT_TYPE,
        "headers": headers,
        "payload": {
            "type": "string",
            "format": "binary",
            "description": "An Arrow IPC stream of one schema and one record batch.",
            "x-arrow": columns::schema(),
        },
        "bindings": {"amqp": {"bindingVersion": BINDINGS}},
    })
}

fn message(shape: Shape, body: &str) -> Value {
    let (before, after) = shape.has();
    let mut headers = json!({"properties": {"cloudEvents_type": {"enum": types(&shape.verbs())}}});
    if before || after {
        headers["required"] = json!(["cloudEvents_subject"]);
    }
    json!({
        "name": shape.word(),
        "title": match shape {
            Shape::Created => "An entry is new",
            Shape::Updated => "An entry is another than before: by content, metadata, name or digest",
            Shape::Deleted => "An entry is gone",
            Shape::Read => "An entry as a replay found it",
            Shape::Notice => "A word about the stream or a set, and about no one entry",
        },
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "allOf": [{"$ref": format!("#{SCHEMAS}/Headers")}, headers],
        },
        "payload": {"allOf": [{"$ref": format!("#{SCHEMAS}/{body}")}, schema::shape(shape)]},
        "bindings": {"amqp": {"contentEncoding": CONTENT_ENCODING, "bindingVersion": BINDINGS}},
        "examples": [example(&samples::letter(shape))],
    })
}

/// A message as it is published.
fn example(letter: &Letter) -> Value {
    let properties = properties(letter);
    let table = properties.headers().as_ref().map(|table| table.inner().iter()).into_iter().flatten();
    let headers: Map<String, Value> = table
        .filter_map(|(name, value)| match value {
            AMQPValue::LongString(text) => Some((name.to_string(), text.to_string().into())),
            _ => None,
        })
        .collect();
    json!({
        "name": letter.verb,
        "summary": format!("By the key {}", letter.key),
        "headers": headers,
        "payload": serde_json::from_slice::<Value>(&letter.body).unwrap_or_default(),
    })
}
