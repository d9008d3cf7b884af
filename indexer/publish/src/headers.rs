//! What stands beside the body: AMQP's own properties, and CloudEvents 1.0 in binary mode, whose attributes are headers with
//! the prefix `cloudEvents_`.

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use record::wire::message::DATA_SCHEMA;

use crate::letter::Letter;

/// AMQP's word for a message that is written to the disk.
pub(crate) const PERSISTENT: u8 = 2;

/// What bodies are.
pub(crate) const CONTENT_TYPE: &str = "application/json";
/// How they are written.
pub(crate) const CONTENT_ENCODING: &str = "utf-8";
/// Before a verb, the type of an event.
pub(crate) const EVENT: &str = "indexer.fs.v1.";

/// The properties of a message.
pub(crate) fn properties(letter: &Letter) -> BasicProperties {
    let mut table = FieldTable::default();
    let mut put = |name: &str, value: String| {
        let value = AMQPValue::LongString(LongString::from(value));
        table.insert(format!("cloudEvents_{name}").as_str().into(), value);
    };
    let kind = format!("{EVENT}{}", letter.verb);
    put("specversion", "1.0".to_owned());
    put("id", letter.id.clone());
    put("source", letter.source.clone());
    put("type", kind.clone());
    let schema = if letter.batch.is_some() { columns::DATA_SCHEMA } else { DATA_SCHEMA };
    put("dataschema", schema.to_owned());
    put("partitionkey", letter.key.rsplit('.').next().unwrap_or_default().to_owned());
    if let Some(subject) = &letter.subject {
        put("subject", subject.clone());
    }
    if let Some(batch) = letter.batch {
        put("firstseq", batch.first.to_string());
        put("lastseq", batch.last.to_string());
        put("records", batch.records.to_string());
    }
    let nanoseconds = letter.seen.0;
    if let Ok(time) = Timestamp::from_nanosecond(nanoseconds) {
        put("time", time.to_string());
    }
    let seconds = u64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(0);
    let is = match letter.batch {
        Some(_) => BasicProperties::default().with_content_type(columns::CONTENT_TYPE.into()),
        None => BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_content_encoding(CONTENT_ENCODING.into()),
    };
    is.with_delivery_mode(PERSISTENT)
        .with_message_id(short(&letter.id))
        .with_app_id("indexer".into())
        .with_type(short(&kind))
        .with_timestamp(seconds)
        .with_headers(table)
}

/// AMQP's short texts are of 255 bytes; what is longer stands in the headers as a whole.
fn short(text: &str) -> lapin::types::ShortString {
    let end = (0..=text.len().min(255)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].into()
}
