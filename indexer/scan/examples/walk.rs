//! Walks a tree with a visitor that does nothing: entries, directories and seconds, for measuring.
//! `cargo run --release --example walk -- PATH [THREADS] [TIMES]`

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use record::{EntryId, RootId, VolumeId};
use scan::{Directory, Errno, Progress, Scope, Seen, Start, Visitor, WalkError, walk};

struct Nothing;

impl Visitor for Nothing {
    type Worker = ();
    type Data = ();

    fn worker(&self) {}

    fn finish(&self, (): ()) {}

    fn enter(&self, (): &mut (), _: &Directory<()>, _: BorrowedFd<'_>, _: &Seen) -> bool {
        true
    }

    fn entry(&self, (): &mut (), _: &Directory<()>, _: &[u8], _: EntryId, _: &Seen) {}

    fn failed(
        &self,
        (): &mut (),
        dir: &Directory<()>,
        name: Option<&[u8]>,
        error: Errno,
        doing: &'static str,
    ) {
        let name = name.map(String::from_utf8_lossy).unwrap_or_default();
        eprintln!("failed to {doing} {}/{name}: {error}", String::from_utf8_lossy(&dir.path()));
    }

    fn listed(&self, (): &mut (), _: &Directory<()>, _: &Seen, _: bool) {}

    fn done(&self, (): &mut (), _: &Directory<()>) {}
}

fn main() -> Result<(), WalkError> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/usr".into()).into_vec();
    let mut number =
        |default| arguments.next().and_then(|text| text.into_string().ok()?.parse().ok()).unwrap_or(default);
    let (threads, times) = (number(2), number(1));
    scan::raise_descriptor_limit();
    for _ in 0..times {
        let scope = Scope::new(RootId(1), path.clone(), Box::new(|_, _| VolumeId(1)));
        let progress = Progress::default();
        let began = Instant::now();
        walk(&scope, Start::root(&scope)?, threads, &Nothing, &AtomicBool::new(false), &progress)?;
        eprintln!(
            "{} entries in {} directories, {:.3} s",
            progress.entries.load(Ordering::Relaxed),
            progress.directories.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}
