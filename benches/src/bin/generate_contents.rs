//! Makes a tree of files with contents, the same one every time: 30 % of the files have equals, pairs differ in one byte in the
//! middle or at the end, some have two names, are empty, or have a hole. Says in JSON what is in it.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Parser;
use indexer_tests::{Contents, ContentsSummary, make_folders};
use rayon::prelude::*;
use serde_json::json;

/// Make a tree of contents for benchmarks
#[derive(Parser)]
struct Arguments {
    /// Folder to make it in; must not exist
    folder: PathBuf,
    /// Files
    #[arg(long, default_value_t = 20_000)]
    files: usize,
    /// Another seed makes another tree
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let pieces = Contents::new(arguments.files, arguments.seed).plan();
    fs::create_dir(&arguments.folder)?;
    make_folders(&pieces, &arguments.folder)?;
    pieces.par_iter().try_for_each(|piece| piece.make(&arguments.folder))?;
    let ContentsSummary { files, names, bytes, equal, sets, wasted } = ContentsSummary::of(&pieces);
    let said = json!({"files": files, "names": names, "bytes": bytes, "equal": equal, "sets": sets, "wasted": wasted});
    writeln!(io::stdout(), "{said}")
}
