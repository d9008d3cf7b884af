//! Makes a tree of a given number of entries, the same one every time: 20 files a directory, directories at random depths
//! (about 11 on average), names of 8 to 24 bytes, sizes mostly up to 4 KiB and cheap to make.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use indexer_tests::Rng;
use rayon::prelude::*;
use rustix::fs::{CWD, Mode, OFlags, ftruncate, openat};

/// Files a directory; the last one takes what remains.
const FILES: u64 = 20;
const ENDINGS: [&str; 8] = [".jpg", ".mp4", ".txt", ".rs", ".flac", ".tar.gz", ".dat", ""];

/// Make a tree for benchmarks
#[derive(Parser)]
struct Arguments {
    /// Folder to make it in; must not exist
    folder: PathBuf,
    /// Entries in all, the folder itself included
    #[arg(long, default_value_t = 1_051_237)]
    entries: u64,
    /// Another seed makes another tree
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let directories = (arguments.entries / (FILES + 1)).max(1);
    let files = arguments.entries.saturating_sub(directories);
    let folders = make_folders(&arguments.folder, directories, arguments.seed)?;
    folders.par_iter().enumerate().try_for_each(|(index, folder)| {
        let index = index as u64;
        let first = (index * FILES).min(files);
        let last = if index + 1 == directories { files } else { (first + FILES).min(files) };
        make_files(folder, last - first, arguments.seed ^ ((index + 1) << 20))
    })?;
    let elapsed = start.elapsed().as_secs_f64();
    eprintln!("{directories} directories and {files} files in {elapsed:.1} s");
    Ok(())
}

/// A random recursive tree: each directory goes into any of those before it.
fn make_folders(top: &Path, count: u64, seed: u64) -> io::Result<Vec<PathBuf>> {
    fs::create_dir(top)?;
    let mut rng = Rng::new(seed);
    let mut folders = vec![top.to_owned()];
    for number in 1..count {
        let parent = &folders[rng.index(folders.len())];
        let path = parent.join(name(&mut rng, number, ""));
        fs::create_dir(&path)?;
        folders.push(path);
    }
    Ok(folders)
}

fn make_files(folder: &Path, count: u64, seed: u64) -> io::Result<()> {
    let mut rng = Rng::new(seed);
    let directory = openat(CWD, folder, OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?;
    for number in 0..count {
        let ending = rng.pick(&ENDINGS);
        let name = name(&mut rng, number, ending);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = fs::File::from(openat(&directory, &name, flags, Mode::from_raw_mode(0o644))?);
        // One in 16 has blocks of its own, one in 64 is large; the others are holes, which cost a stat the same.
        match rng.below(64) {
            0..4 => file.write_all(&vec![b'x'; 1 + rng.index(4096)])?,
            4 => ftruncate(&file, rng.below(64 << 20))?,
            _ => ftruncate(&file, rng.below(4097))?,
        }
    }
    Ok(())
}

/// 8 to 24 bytes that begin with the number, so that no two in a directory are equal.
fn name(rng: &mut Rng, number: u64, ending: &str) -> String {
    let mut name = format!("{number:x}-");
    let length = 8 + rng.index(17);
    while name.len() + ending.len() < length {
        name.push(char::from(rng.pick(b"abcdefghijklmnopqrstuvwxyz_0123456789")));
    }
    name + ending
}
