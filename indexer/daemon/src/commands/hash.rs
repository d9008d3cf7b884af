//! `hash`: reads files now, and prints their digests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use record::wire::v1;

use crate::commands::progress::Shown;
use crate::commands::{Context, Source};
use crate::engine::{self, Hashed};
use crate::failure::{Failure, Outcome};
use crate::paths::is_below;
use crate::query::{FindRequest, HashRequest, PathPair, PathRequest};
use crate::render::{Out, bytes, count, quoted};
use crate::state::StateDir;

/// Reads what lies at `paths` and below, then prints the digests.
pub(crate) fn run(context: &Context, paths: &[PathBuf], patience: Duration) -> Result<Outcome, Failure> {
    let state = context.state()?;
    let asked = paths.iter().map(|path| indexed(context, path)).collect::<Result<Vec<_>, _>>()?;
    let hashed = match Source::daemon(&state)? {
        Some(mut client) => {
            let paths = asked.iter().map(|path| PathRequest::from(&path[..])).collect();
            let timeout_ms = u64::try_from(patience.as_millis()).ok();
            client.post("/v1/hash", &HashRequest { paths, timeout_ms })?
        }
        None => alone(context, &state, &asked, patience)?,
    };
    print(context, &asked, &hashed)
}

/// The spelling of `path` that lies in a root of the index.
///
/// # Errors
/// [`Failure::NotIndexed`] when there is none.
pub(super) fn indexed(context: &Context, path: &Path) -> Result<Vec<u8>, Failure> {
    let roots = Source::open(context)?.roots()?;
    let holds = |spelling: &Vec<u8>| roots.iter().any(|root| is_below(spelling, &root.path));
    crate::paths::spellings(path)?.into_iter().find(holds).ok_or_else(|| {
        Failure::NotIndexed(format!("{} is in no root of the index", crate::paths::shown(path)))
    })
}

/// Without a daemon.
fn alone(
    context: &Context,
    state: &StateDir,
    paths: &[Vec<u8>],
    patience: Duration,
) -> Result<Hashed, Failure> {
    let shown = Shown::new(context.global.quiet);
    let lock = state.lock()?;
    scan::outlive_leases();
    let mut roots = context.stored_roots(state)?;
    roots.retain(|root| paths.iter().any(|path| is_below(path, &root.path)));
    let config = context.settings()?.engine(roots, shown.hook());
    let hashed = engine::hash_once(state, lock, config, paths, patience);
    shown.clear();
    Ok(hashed?)
}

/// One line a file; then, for people, what was read.
fn print(context: &Context, paths: &[Vec<u8>], hashed: &Hashed) -> Result<Outcome, Failure> {
    let mut source = Source::open(context)?;
    let mut out = Out::stdout();
    for path in paths {
        let PathPair { path, raw } = PathPair::new(path);
        let kinds = Some("file".to_owned());
        let request = FindRequest { path: Some(path), path_raw: raw, kinds, ..FindRequest::default() };
        source.find(&request, &mut |answer| {
            let mut kept: Vec<v1::Entry> = Vec::new();
            answer.print_or_keep(context.global.json, &mut out, &mut kept)?;
            for entry in kept {
                let digest = entry.digest.as_deref().unwrap_or("-");
                let path = v1::bytes_of(&entry.path, entry.path_raw.as_deref());
                let path = path.map_err(|error| Failure::doing("read a path", error))?;
                out.text(&format!("{digest}  {}\n", quoted(&path)))?;
            }
            Ok(true)
        })?;
    }
    out.flush()?;
    for unread in &hashed.failed {
        let path = v1::bytes_of(&unread.path, unread.path_raw.as_deref()).unwrap_or_default();
        eprintln!("indexer: not hashed: {}: {}", quoted(&path), unread.why);
    }
    if !context.global.json && !context.global.quiet {
        eprintln!(
            "{} files, {} of them read now ({})",
            count(hashed.files),
            count(hashed.read),
            bytes(hashed.bytes)
        );
    }
    Ok(Outcome::found(hashed.failed.is_empty()))
}
