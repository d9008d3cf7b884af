//! The JSON Schemas of what is said over a broker, messages, jobs and answers, made from the types that are written and the words that the code has. Knows no broker
//! and no file.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::job::{ANSWER_SCHEMA, Answer, JOB_SCHEMA, Job};
use super::message::{DATA_SCHEMA, Message, Read, Shape};
use crate::{Body, Category, DigestKind, Op};

/// The schema by itself, in the dialect of 2020-12. Fields that it does not name are allowed, as later ones may come.
#[must_use]
pub fn message() -> Value {
    let generator = settings(SchemaSettings::draft2020_12()).into_generator();
    let mut schema = generator.into_root_schema_for::<Message>();
    schema.insert("$id".to_owned(), DATA_SCHEMA.into());
    schema.insert("title".to_owned(), "A change of a file tree, version 1".into());
    schema.insert("oneOf".to_owned(), Shape::ALL.map(shape).into());
    sorted(schema.to_value())
}

/// That of a job for a worker.
#[must_use]
pub fn job() -> Value {
    titled::<Job>(JOB_SCHEMA, "A file whose content is to be read, version 1", None)
}

/// That of an answer to one: what was found, or why nothing was.
#[must_use]
pub fn answer() -> Value {
    titled::<Answer>(ANSWER_SCHEMA, "What came of a job, version 1", Some(found_or_not()))
}

/// What of an answer is there together.
#[must_use]
pub fn found_or_not() -> Value {
    let none_of = |names: [&str; 3]| json!({"anyOf": names.map(|name| json!({"required": [name]}))});
    json!([
        {"title": "found", "required": ["digest", "magic", "head"], "not": {"required": ["refused"]}},
        {"title": "not found", "required": ["refused"], "not": none_of(["digest", "magic", "head"])},
    ])
}

fn titled<T: JsonSchema>(id: &str, title: &str, choices: Option<Value>) -> Value {
    let generator = settings(SchemaSettings::draft2020_12()).into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), id.into());
    schema.insert("title".to_owned(), title.into());
    if let Some(choices) = choices {
        schema.insert("oneOf".to_owned(), choices);
    }
    sorted(schema.to_value())
}

/// The names of the bodies among [`definitions`].
#[derive(Clone, Debug)]
pub struct Bodies {
    /// Of messages.
    pub message: String,
    /// Of jobs.
    pub job: String,
    /// Of answers.
    pub answer: String,
}

/// The same for a document that has definitions of its own at `path` (as `/components/schemas`), in draft 7: all of them by
/// name, and the names of the bodies'. They do not hold the shapes.
#[must_use]
pub fn definitions(path: &'static str) -> (Map<String, Value>, Bodies) {
    let mut settings = settings(SchemaSettings::draft07());
    settings.definitions_path = path.into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<Message>();
    generator.subschema_for::<Job>();
    generator.subschema_for::<Answer>();
    let definitions = generator.take_definitions(true);
    let name = |name: std::borrow::Cow<'_, str>| name.into_owned();
    let (message, job, answer) =
        (name(Message::schema_name()), name(Job::schema_name()), name(Answer::schema_name()));
    (definitions, Bodies { message, job, answer })
}

/// What a body of a shape holds beyond what all do.
#[must_use]
pub fn shape(shape: Shape) -> Value {
    let entry = |is_there| if is_there { json!({"type": "object"}) } else { json!({"type": "null"}) };
    let (before, after) = shape.has();
    let mut change = json!({"properties": {"verb": {"enum": shape.verbs()}}});
    if shape == Shape::Notice {
        change["required"] = json!(["path"]);
    }
    json!({"title": shape.word(), "properties": {
        "op": {"const": shape.op()},
        "before": entry(before),
        "after": entry(after),
        "change": change,
    }})
}

/// All verbs, in the order of their numbers.
#[must_use]
pub fn verbs() -> Vec<&'static str> {
    let replay = [Read::VERB, Read::BEGUN, Read::ENDED];
    Op::ALL.into_iter().map(Op::word).chain(Body::WORDS).chain(replay).collect()
}

/// The categories, and null.
pub(super) fn category_words() -> Vec<Option<&'static str>> {
    Category::ALL.into_iter().map(|category| Some(category.word())).chain([None]).collect()
}

/// What [`super::v1::digest_text`] writes.
pub(super) fn digest_pattern() -> String {
    format!("^({}):[0-9a-f]{{64}}$", DigestKind::ALL.map(DigestKind::word).join("|"))
}

/// As the types are written, which is not quite as they are read.
fn settings(dialect: SchemaSettings) -> SchemaSettings {
    let mut settings = dialect.for_serialize();
    // Before the dialect's own, one of which moves what stands beside a reference.
    settings.transforms.insert(0, Box::new(RecursiveTransform(absent_is_never_null)));
    settings
}

/// What may be left out is left out, and never null.
fn absent_is_never_null(schema: &mut Schema) {
    let always: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        let Some(property) = property.as_object_mut().filter(|_| !always.iter().any(|one| one == name))
        else {
            continue;
        };
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|one| one != "null");
            if let [one] = &types[..] {
                property["type"] = one.clone();
            }
        }
        if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
            choices.retain(|one| one["type"] != "null");
            if let [Value::Object(one)] = &choices[..] {
                let one = one.clone();
                property.remove("anyOf");
                property.extend(one);
            }
        }
    }
}

/// In one order whatever the features of `serde_json` are.
fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{How, Kind};

    /// All values of a kind, by a chain that no longer compiles when there is one more.
    fn all<T: Copy>(first: T, next: impl Fn(T) -> Option<T>) -> Vec<T> {
        std::iter::successors(Some(first), |one| next(*one)).collect()
    }

    fn set<'a>(schema: &'a Value, path: &str) -> &'a Vec<Value> {
        schema.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("no set at {path}"))
    }

    #[test]
    fn every_word_that_the_code_has_is_in_its_set() {
        let ops = all(Op::Created, |op| match op {
            Op::Created => Some(Op::Modified),
            Op::Modified => Some(Op::Attrib),
            Op::Attrib => Some(Op::Renamed),
            Op::Renamed => Some(Op::Linked),
            Op::Linked => Some(Op::Unlinked),
            Op::Unlinked => Some(Op::Deleted),
            Op::Deleted => Some(Op::Hashed),
            Op::Hashed => Some(Op::Corrupt),
            Op::Corrupt => None,
        });
        let kinds = all(Kind::File, |kind| match kind {
            Kind::File => Some(Kind::Directory),
            Kind::Directory => Some(Kind::Symlink),
            Kind::Symlink => Some(Kind::Fifo),
            Kind::Fifo => Some(Kind::Socket),
            Kind::Socket => Some(Kind::Block),
            Kind::Block => Some(Kind::Char),
            Kind::Char => None,
        });
        let hows = all(How::Fanotify, |how| match how {
            How::Fanotify => Some(How::Inotify),
            How::Inotify => Some(How::Notify),
            How::Notify => Some(How::Sweep),
            How::Sweep => Some(How::Scan),
            How::Scan => Some(How::Digest),
            How::Digest => Some(How::Import),
            How::Import => None,
        });
        let categories = all(Category::Photo, |category| match category {
            Category::Photo => Some(Category::Video),
            Category::Video => Some(Category::Music),
            Category::Music => Some(Category::Document),
            Category::Document => Some(Category::Archive),
            Category::Archive => Some(Category::Code),
            Category::Code => Some(Category::Other),
            Category::Other => None,
        });
        let digests = all(DigestKind::Blake3, |kind| match kind {
            DigestKind::Blake3 => Some(DigestKind::Blake2b256),
            DigestKind::Blake2b256 => Some(DigestKind::Blake3Sampled),
            DigestKind::Blake3Sampled => None,
        });
        let shapes = all(Shape::Created, |shape| match shape {
            Shape::Created => Some(Shape::Updated),
            Shape::Updated => Some(Shape::Deleted),
            Shape::Deleted => Some(Shape::Read),
            Shape::Read => Some(Shape::Notice),
            Shape::Notice => None,
        });
        // That a word of a body is one of these, `Body::word` has from the compiler.
        let mut verbs: Vec<&str> = ops.iter().map(|op| op.word()).chain(Body::WORDS).collect();
        verbs.extend(["read", "replay_begun", "replay_ended"]);

        let schema = message();
        let has = |path: &str, words: &[&str]| assert_eq!(set(&schema, path), words, "{path}");
        has("/properties/op/enum", &shapes.iter().map(|shape| shape.op()).collect::<Vec<_>>());
        has("/$defs/Detail/properties/verb/enum", &verbs);
        has("/$defs/Source/properties/how/enum", &hows.iter().map(|how| how.word()).collect::<Vec<_>>());
        for of in ["Entry", "Parent"] {
            let path = format!("/$defs/{of}/properties/kind/enum");
            has(&path, &kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>());
        }
        let mut words: Vec<Value> = categories.iter().map(|category| category.word().into()).collect();
        words.push(Value::Null);
        assert_eq!(*set(&schema, "/$defs/Entry/properties/category/enum"), words);
        let pattern = digest_pattern();
        assert!(digests.iter().all(|kind| pattern.contains(kind.word())), "{pattern}");
        let of_shapes: usize = shapes.iter().map(|shape| shape.verbs().len()).sum();
        assert_eq!(of_shapes, verbs.len(), "a verb is of one shape");
    }

    #[test]
    fn what_may_be_left_out_is_never_null() {
        let schema = message();
        let place = schema.pointer("/$defs/Detail/properties/old").expect("old");
        assert_eq!(place["$ref"], "#/$defs/Place", "{place}");
        let from = schema.pointer("/$defs/Detail/properties/from_ns/type").expect("from_ns");
        assert_eq!(from, "integer");
        // These are always there.
        let born = schema.pointer("/$defs/Entry/properties/created_ns/type").expect("created_ns");
        assert_eq!(*born, json!(["integer", "null"]));
        assert_eq!(schema.pointer("/properties/before/anyOf/1/type").expect("before"), "null");
    }

    #[test]
    fn definitions_refer_to_each_other_where_they_will_stand() {
        let (definitions, bodies) = definitions("/components/schemas");
        let text = serde_json::to_string(&definitions).expect("text");
        let references: Vec<&str> = text.split("\"$ref\":\"").skip(1).collect();
        assert!(references.len() > 5, "{text}");
        for reference in references {
            let name =
                reference.strip_prefix("#/components/schemas/").and_then(|rest| rest.split('"').next());
            assert!(definitions.contains_key(name.expect("a place")), "{reference}");
        }
        for body in [&bodies.message, &bodies.job, &bodies.answer] {
            assert!(definitions.contains_key(body), "{body}");
        }
        assert!(!text.contains("$defs"), "{text}");
    }
}
