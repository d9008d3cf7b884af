//! The floor under every scan: a rayon job a directory, names by getdents64 and a statx each through the directory's
//! descriptor, and nothing kept but sums.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use rayon::Scope;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags, openat, statx};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Walk a tree with the fewest system calls that see every stat
#[derive(Parser)]
struct Arguments {
    /// Folder to walk
    folder: PathBuf,
    /// Threads; as many as there are cores by default
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Default)]
struct Sums {
    entries: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    // A directory stays open until all jobs of its children have begun.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads)
        .build_global()
        .map_err(io::Error::other)?;

    let start = Instant::now();
    let sums = Sums::default();
    let root =
        openat(CWD, &arguments.folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rayon::scope(|scope| walk(scope, &Arc::new(root), &sums));
    eprintln!(
        "{} entries, {} bytes, {} errors in {:.3} s",
        sums.entries.load(Ordering::Relaxed) + 1,
        sums.bytes.load(Ordering::Relaxed),
        sums.errors.load(Ordering::Relaxed),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn walk<'scope>(scope: &Scope<'scope>, directory: &Arc<OwnedFd>, sums: &'scope Sums) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let (mut entries, mut bytes, mut errors) = (0, 0, 0);
    let mut listing = RawDir::new(directory, &mut buffer);
    while let Some(entry) = listing.next() {
        let Ok(entry) = entry else {
            errors += 1;
            break;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statx(
            directory,
            name,
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
            StatxFlags::BASIC_STATS | StatxFlags::BTIME,
        ) else {
            errors += 1;
            continue;
        };
        entries += 1;
        bytes += stat.stx_size;
        if stat.stx_mode & 0o170_000 == 0o040_000 {
            let (parent, name) = (Arc::clone(directory), CString::from(name));
            scope.spawn(move |scope| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(&parent, name, flags, Mode::empty()) {
                    Ok(child) => {
                        drop(parent);
                        walk(scope, &Arc::new(child), sums);
                    }
                    Err(_) => drop(sums.errors.fetch_add(1, Ordering::Relaxed)),
                }
            });
        }
    }
    sums.entries.fetch_add(entries, Ordering::Relaxed);
    sums.bytes.fetch_add(bytes, Ordering::Relaxed);
    sums.errors.fetch_add(errors, Ordering::Relaxed);
}
