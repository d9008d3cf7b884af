//! `schema`: what is published, in the languages of those who read it. Makes no schema and needs no state.

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
    };
    let mut out = Out::stdout();
    // With the `#`, a value is written over lines.
    out.text(&format!("{document:#}\n"))?;
    out.flush()?;
    Ok(Outcome::Done)
}
