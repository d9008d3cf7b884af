//! `verify`: settles, compares, looks again at each difference, and tells what is left.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::api::EntryView;
use crate::commands::{Answer, Context, Source};
use crate::engine::StoredRules;
use crate::engine::status::Settled;
use crate::failure::{Failure, Outcome};
use crate::query::{FindRequest, LookupRequest, PathPair, PathRequest, SettleRequest};
use crate::render::{Out, count, quoted};
use crate::verify::{Candidate, Merge, Scope, Side, Walk, difference, look_at, said};

/// Differences looked at again at once: the bound of what is held.
const BATCH: usize = 1000;
/// How often an entry is looked at again before it is called different or restless.
const ROUNDS: usize = 3;
/// How long a settle may take, in milliseconds.
const SETTLE_MS: u64 = 600_000;

/// A verification under way.
struct Verify<'a> {
    json: bool,
    scope: &'a Scope,
    /// Asked about single paths, apart from the stream that is being read.
    again: Source,
    out: Out,
    differences: u64,
    unknown: u64,
    restless: u64,
}

/// Compares one root or all. Ends with 1 when there are differences, or a root is lost.
pub(crate) fn run(context: &Context, root: Option<&Path>) -> Result<Outcome, Failure> {
    let state = context.state()?;
    let mut source = Source::open(context)?;
    settle(&mut source)?;
    let mut roots = source.roots()?;
    if let Some(root) = root {
        let spellings = crate::paths::spellings(root)?;
        roots.retain(|known| spellings.contains(&known.path));
        if roots.is_empty() {
            return Err(Failure::NotIndexed(format!(
                "{} is not a root of the index; see `indexer status`",
                crate::paths::shown(root)
            )));
        }
    }
    if roots.is_empty() {
        return Err(Failure::Failed("the index has no roots; `indexer watch ROOT` makes one".to_owned()));
    }
    let meta =
        state.path.symlink_metadata().map_err(|error| Failure::doing("look at the state folder", error))?;
    let mut differences = 0;
    let mut lost = 0;
    for root in roots {
        if let Some(why) = &root.lost {
            lost += 1;
            eprintln!("indexer: not verified: {}: the root is lost: {why}", quoted(&root.path));
            continue;
        }
        let rules = StoredRules::parse(&root.rules);
        let scope = Scope::new(&root.path, &rules, vec![(meta.dev(), meta.ino())])?;
        let mut verify = Verify {
            json: context.global.json,
            scope: &scope,
            again: source.another()?,
            out: Out::stdout(),
            differences: 0,
            unknown: 0,
            restless: 0,
        };
        let compared = verify.root(&mut source)?;
        verify.out.flush()?;
        differences += verify.differences;
        if !context.global.json && !context.global.quiet {
            let found = match verify.differences {
                0 => "equal".to_owned(),
                n => format!("{} differences", count(n)),
            };
            verify.out.text(&format!(
                "{}: {found}, {} entries compared\n",
                quoted(&root.path),
                count(compared)
            ))?;
            verify.out.flush()?;
        }
        if verify.unknown > 0 {
            eprintln!(
                "indexer: {} places could not be looked at and are not verified",
                count(verify.unknown)
            );
        }
        if verify.restless > 0 {
            eprintln!("indexer: {} entries kept changing and are not verified", count(verify.restless));
        }
    }
    Ok(Outcome::found(differences == 0 && lost == 0))
}

impl Verify<'_> {
    /// Compares the whole root; answers how many entries both have.
    fn root(&mut self, source: &mut Source) -> Result<u64, Failure> {
        let pair = PathPair::new(&self.scope.path);
        let request = FindRequest { path: Some(pair.path), path_raw: pair.raw, ..FindRequest::default() };
        let mut merge = Merge::new(Walk::new(self.scope));
        // The directories above the entry at hand, and the file system of each.
        let mut above: Vec<(Vec<u8>, u32)> = Vec::new();
        source.find(&request, &mut |answer| {
            let entry = match answer {
                Answer::Line(line) => EntryView::read(line)?,
                Answer::Value(entry) => EntryView::of(entry)?,
                Answer::Pause => return Ok(true),
            };
            while above.last().is_some_and(|(dir, _)| !crate::paths::is_below(&entry.path, dir)) {
                above.pop();
            }
            if above.last().is_some_and(|(_, volume)| *volume != entry.volume)
                && self.scope.relative(&entry.path).is_some_and(|relative| self.scope.is_unmounted(relative))
            {
                merge.hide(entry.path.clone());
            }
            if entry.stat.kind == "directory" {
                above.push((entry.path.clone(), entry.volume));
            }
            merge.stored(entry.path, Side { stat: entry.stat, inode: entry.inode });
            self.take(&mut merge, BATCH)?;
            Ok(true)
        })?;
        while merge.rest() {
            self.take(&mut merge, BATCH)?;
        }
        self.take(&mut merge, 1)?;
        Ok(merge.compared)
    }

    /// Looks at what has gathered in `merge`, once there is enough of it.
    fn take(&mut self, merge: &mut Merge<'_>, enough: usize) -> Result<(), Failure> {
        for (path, why) in merge.unknown.drain(..) {
            self.unknown += 1;
            eprintln!("indexer: not verified: {}: {why}", quoted(&path));
        }
        if merge.candidates.len() < enough {
            return Ok(());
        }
        let candidates = std::mem::take(&mut merge.candidates);
        self.look_again(candidates)
    }

    fn look_again(&mut self, mut left: Vec<Candidate>) -> Result<(), Failure> {
        for round in 1..=ROUNDS {
            settle(&mut self.again)?;
            let paths = left.iter().map(|candidate| PathRequest::from(&candidate.path[..])).collect();
            let mut stored: Vec<Option<Side>> = Vec::with_capacity(left.len());
            // The disk on both sides of the question: what moves between cannot be compared.
            let before = self.disk(&left);
            self.again.look_up(&LookupRequest { paths }, &mut |answer| {
                let entry = match answer {
                    Answer::Line(b"null") | Answer::Value(None) => None,
                    Answer::Line(line) => Some(EntryView::read(line)?),
                    Answer::Value(Some(entry)) => Some(EntryView::of(entry)?),
                    Answer::Pause => return Ok(true),
                };
                stored.push(entry.map(|entry| Side { stat: entry.stat, inode: entry.inode }));
                Ok(true)
            })?;
            let after = self.disk(&left);
            let mut next = Vec::new();
            for (nth, mut candidate) in left.into_iter().enumerate() {
                let (before, after) = (before[nth].clone(), after[nth].clone());
                let Ok(seen) = after else {
                    self.unknown += 1;
                    continue;
                };
                candidate.stored = stored.get(nth).cloned().flatten();
                candidate.seen = seen;
                if difference(&candidate.path, candidate.stored.as_ref(), candidate.seen.as_ref()).is_none() {
                    continue;
                }
                let still = before.is_ok_and(|before| {
                    difference(&candidate.path, before.as_ref(), candidate.seen.as_ref()).is_none()
                });
                match (still, round == ROUNDS) {
                    (_, false) => next.push(candidate),
                    (false, true) => self.restless += 1,
                    (true, true) => self.print(&candidate)?,
                }
            }
            left = next;
            if left.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn disk(&self, candidates: &[Candidate]) -> Vec<Result<Option<Side>, rustix::io::Errno>> {
        candidates.iter().map(|candidate| look_at(self.scope, &candidate.path)).collect()
    }

    fn print(&mut self, candidate: &Candidate) -> Result<(), Failure> {
        let Candidate { path, stored, seen } = candidate;
        let Some(found) = difference(path, stored.as_ref(), seen.as_ref()) else { return Ok(()) };
        self.differences += 1;
        if self.json {
            self.out.json(&found)?;
            return Ok(());
        }
        let fields = match (stored, seen) {
            (Some(stored), Some(seen)) => format!("  ({})", said(stored, seen)),
            _ => String::new(),
        };
        self.out.line(format!("{:<7}  {}{fields}", found.what, quoted(path)).as_bytes())?;
        Ok(())
    }
}

/// Waits for the daemon, where there is one, to know what happened before.
fn settle(source: &mut Source) -> Result<(), Failure> {
    let Source::Daemon(client) = source else { return Ok(()) };
    let settled: Settled = client.post("/v1/settle", &SettleRequest { timeout_ms: Some(SETTLE_MS) })?;
    for root in settled.unsettled {
        eprintln!("indexer: not settled: {root}");
    }
    Ok(())
}
