//! `schema`: what is published, in the languages of those who read it. Makes no schema and needs no state.

use snapshot::ddl::{self, Dialect};

use crate::cli::SchemaArg;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

/// Prints the schema.
pub(crate) fn run(kind: SchemaArg) -> Result<Outcome, Failure> {
    let document = match kind {
        SchemaArg::Json => record::wire::schema::message(),
        SchemaArg::Asyncapi => publish::asyncapi(),
        SchemaArg::Arrow => columns::schema(),
        SchemaArg::Job => record::wire::schema::job(),
        SchemaArg::Answer => record::wire::schema::answer(),
        SchemaArg::Clickhouse => return print(&ddl::table(Dialect::ClickHouse)),
        SchemaArg::ClickhouseCluster => return print(&ddl::table(Dialect::ClickHouseCluster)),
        SchemaArg::Duckdb => return print(&ddl::table(Dialect::DuckDb)),
    };
    // With the `#`, a value is written over lines.
    print(&format!("{document:#}\n"))
}

fn print(text: &str) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    out.text(text)?;
    out.flush()?;
    Ok(Outcome::Done)
}
