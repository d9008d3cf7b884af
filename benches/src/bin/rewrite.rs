//! What a hashed tree costs to hash again after one file in a hundred was written anew: bytes read, against those files' sizes.
//! The files get the bytes they had, so that the tree stays what it was.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use indexer_benches::{Figures, bytes_read, tell};
use serde_json::json;

/// Measure what is read after a part of a tree was written
#[derive(Parser)]
struct Arguments {
    /// Program to measure
    #[arg(long)]
    indexer: PathBuf,
    /// State folder, made anew
    #[arg(long)]
    state: PathBuf,
    /// Tree to hash and write in
    #[arg(long)]
    root: PathBuf,
    /// What is hashed: candidates, sampled, full
    #[arg(long, default_value = "full")]
    hash: String,
    /// One file in so many is written
    #[arg(long, default_value_t = 100)]
    one_in: usize,
    /// File that a line of JSON is added to
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    // Beside the state, a copy of it, by which the same scan goes without hashing.
    let copy = arguments.state.with_extension("copy");
    for folder in [&arguments.state, &copy] {
        if folder.try_exists()? {
            fs::remove_dir_all(folder)?;
        }
    }
    let first = arguments.scan(&arguments.state, &arguments.hash)?;
    let again = arguments.scan(&arguments.state, &arguments.hash)?;
    let (files, bytes) = rewrite(&arguments.root, arguments.one_in)?;
    let copied = Command::new("cp").arg("-a").arg(&arguments.state).arg(&copy).status()?;
    if !copied.success() {
        return Err(io::Error::other(format!("the state cannot be copied: {copied}")));
    }
    let unhashed = arguments.scan(&copy, "none")?;
    let hashed = arguments.scan(&arguments.state, &arguments.hash)?;
    fs::remove_dir_all(&arguments.state)?;
    fs::remove_dir_all(&copy)?;
    let of_contents = hashed.saturating_sub(unhashed);
    let figures = Figures::from([
        ("files written".to_owned(), json!(files)),
        ("bytes of these".to_owned(), json!(bytes)),
        ("bytes read by the first scan".to_owned(), json!(first)),
        ("bytes read where nothing changed".to_owned(), json!(again)),
        ("bytes read after, without hashing".to_owned(), json!(unhashed)),
        ("bytes read after".to_owned(), json!(hashed)),
        ("bytes of contents read, to those written".to_owned(), json!(of_contents as f64 / bytes as f64)),
    ]);
    tell(&format!("rewrite, --hash {}", arguments.hash), "scan", &figures, arguments.results.as_deref())
}

impl Arguments {
    /// Bytes that a scan reads.
    fn scan(&self, state: &Path, hash: &str) -> io::Result<u64> {
        let mut command = Command::new(&self.indexer);
        bytes_read(
            command.args(["--quiet", "--state"]).arg(state).args(["scan", "--hash", hash]).arg(&self.root),
        )
    }
}

/// Writes one file in so many, in place and with what it has; how many and their bytes.
fn rewrite(root: &Path, one_in: usize) -> io::Result<(u64, u64)> {
    let mut files = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let stat = path.symlink_metadata()?;
            if stat.is_dir() {
                waiting.push(path);
            // What is written has no holes afterwards: files with some are left as they are.
            } else if stat.is_file() && stat.len() > 0 && stat.blocks() * 512 >= stat.len() {
                files.push(path);
            }
        }
    }
    files.sort();
    let (mut count, mut bytes) = (0, 0);
    for path in files.into_iter().step_by(one_in) {
        let content = fs::read(&path)?;
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(&content)?;
        count += 1;
        bytes += content.len() as u64;
    }
    Ok((count, bytes))
}
