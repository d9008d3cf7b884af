//! The schema of a batch as JSON, for people and for those who make tables of it. Made from the columns themselves.

use arrow_schema::{DataType, Field, TimeUnit};
use serde_json::{Value, json};

use crate::table::table;
use crate::{CONTENT_TYPE, DATA_SCHEMA, MOST_ROWS};

/// What columns a batch has. Readers find them by name: later versions may add some.
#[must_use]
pub fn schema() -> Value {
    let columns = table(&[]).map(|table| (table.columns, table.says)).unwrap_or_default();
    let fields: Vec<Value> = columns
        .0
        .iter()
        .zip(columns.1)
        .map(|((field, _), says)| {
            let mut described = described(field);
            described["description"] = says.into();
            described
        })
        .collect();
    json!({
        "$id": DATA_SCHEMA,
        "title": "Changes of file trees as an Arrow IPC stream, version 1",
        "description": "One schema, then one record batch: consecutive records of one root, in order of seq.",
        "mediaType": CONTENT_TYPE,
        "mostRows": MOST_ROWS,
        "metadata": {"schema": DATA_SCHEMA},
        "fields": fields,
    })
}

fn described(field: &Field) -> Value {
    let mut described =
        json!({"name": field.name(), "type": word(field.data_type()), "nullable": field.is_nullable()});
    if let DataType::List(item) = field.data_type()
        && let DataType::Struct(fields) = item.data_type()
    {
        described["children"] = fields.iter().map(|field| self::described(field)).collect();
    }
    described
}

/// A type as pyarrow writes it.
fn word(kind: &DataType) -> String {
    match kind {
        DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)) => format!("timestamp[ns, tz={zone}]"),
        DataType::Dictionary(..) => "dictionary<values=string, indices=int8, ordered=0>".to_owned(),
        DataType::FixedSizeBinary(bytes) => format!("fixed_size_binary[{bytes}]"),
        DataType::List(item) => format!("list<{}>", word(item.data_type())),
        DataType::Struct(_) => "struct".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
