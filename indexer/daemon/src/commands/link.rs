//! `dups --link` and `dups --undo`: joins the copies of sets, or parts them again. The acting itself is the crate `duplicates`;
//! here are the sets, the log's place and what is said.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use duplicates::{Copy, Kind, Linker, Log, Report, Set, Stopped, What, Why};
use jiff::Timestamp;
use record::wire::v1;
use serde::Serialize;

use crate::cli::{Dups, LinkArg};
use crate::commands::source::by_spelling;
use crate::commands::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::paths::{is_below, shown};
use crate::query::{DupsRequest, PathPair};
use crate::render::{Out, bytes, count, quoted};

/// How the names of our logs in the state folder begin and end.
const LOG: (&str, &str) = ("links-", ".jsonl");

/// Writers are held off by leases.
struct Leases;

impl duplicates::Guard for Leases {
    fn hold(&self, file: BorrowedFd<'_>) -> Option<bool> {
        scan::hold_writers(file)
    }

    fn held(&self, file: BorrowedFd<'_>) -> bool {
        scan::are_writers_held(file)
    }
}

/// One line of `dups --link --json` and `dups --undo --json`.
#[derive(Serialize)]
struct Action<'a> {
    action: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    /// The other names of the copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links_raw: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_raw: Option<String>,
    /// Freed; by an undo, used.
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// What an action is called: when it would be done, and when it was.
#[derive(Clone, Copy)]
enum Deed {
    Link,
    Reflink,
    Undo,
}

impl Deed {
    /// In JSON and, with spaces, in text.
    fn word(self, what: &What) -> &'static str {
        match (what, self) {
            (What::Skipped(_), _) => "skipped",
            (What::Already, _) => "already",
            (What::Would, Deed::Link) => "would_link",
            (What::Would, Deed::Reflink) => "would_reflink",
            (What::Would, Deed::Undo) => "would_undo",
            (What::Done, Deed::Link) => "linked",
            (What::Done, Deed::Reflink) => "reflinked",
            (What::Done, Deed::Undo) => "undone",
        }
    }
}

/// Prints actions, and counts them.
struct Teller {
    deed: Deed,
    json: bool,
    out: Out,
    /// The kept file that was named last.
    kept: Option<Vec<u8>>,
    no_sharing: bool,
    files: u64,
    bytes: u64,
    already: u64,
    skipped: u64,
    failed: u64,
}

impl Teller {
    fn new(deed: Deed, json: bool) -> Teller {
        let out = Out::stdout();
        Teller {
            deed,
            json,
            out,
            kept: None,
            no_sharing: false,
            files: 0,
            bytes: 0,
            already: 0,
            skipped: 0,
            failed: 0,
        }
    }

    fn tell(&mut self, report: &Report) -> io::Result<()> {
        match &report.what {
            What::Would | What::Done => {
                self.files += 1;
                self.bytes += report.bytes;
            }
            What::Already => self.already += 1,
            What::Skipped(why) if why.is_failure() => self.failed += 1,
            What::Skipped(_) => self.skipped += 1,
        }
        let word = self.deed.word(&report.what);
        let why = match &report.what {
            What::Skipped(why) => Some(why.to_string()),
            _ => None,
        };
        if self.json {
            self.out.json(&action(word, report, why.as_deref()))?;
        } else {
            self.text(&word.replace('_', " "), report, why.as_deref())?;
        }
        self.out.flush()
    }

    /// The kept file on a line of its own, and below it what becomes of each copy.
    fn text(&mut self, word: &str, report: &Report, why: Option<&str>) -> io::Result<()> {
        // That is said once, at the end: it holds for the whole file system.
        if matches!(report.what, What::Skipped(Why::NoSharing)) {
            self.no_sharing = true;
            return Ok(());
        }
        if self.kept.as_ref() != Some(&report.kept) && !report.kept.is_empty() {
            self.out.text(&format!("{}\n", quoted(&report.kept)))?;
            self.kept = Some(report.kept.clone());
        }
        for (nth, name) in report.names.iter().enumerate() {
            let word = if nth == 0 { word } else { "  =" };
            self.out.text(&format!("  {word:<13}  {}\n", quoted(name)))?;
        }
        match why {
            Some(why) => self.out.text(&format!("{:17}{why}\n", "")),
            None => Ok(()),
        }
    }

    /// What came of it, on stderr, and how the command ends.
    fn end(mut self, apply: bool, quiet: bool) -> Result<Outcome, Failure> {
        self.out.flush()?;
        if !quiet && !self.json {
            if self.no_sharing {
                eprintln!("the file system cannot share blocks between files; btrfs and XFS can");
            }
            eprintln!("{}", self.summary(apply));
        }
        if self.failed > 0 {
            let files = count(self.failed);
            return Err(Failure::Failed(format!(
                "{files} files hold what stands nowhere else, and were left beside the names above; look at them"
            )));
        }
        Ok(Outcome::found(self.skipped == 0))
    }

    fn summary(&self, apply: bool) -> String {
        let files = match self.files {
            1 => "1 file".to_owned(),
            files => format!("{} files", count(files)),
        };
        let (would, done) = match self.deed {
            Deed::Link => ("would be linked", "linked"),
            Deed::Reflink => ("would be reflinked", "reflinked"),
            Deed::Undo => ("would be made again", "made again"),
        };
        let room = if matches!(self.deed, Deed::Undo) { "used" } else { "freed" };
        let mut text = format!("{files} {}, {} {room}", if apply { done } else { would }, bytes(self.bytes));
        for (number, word) in [(self.already, "so already"), (self.skipped, "skipped")] {
            if number > 0 {
                text.push_str(&format!(", {} {word}", count(number)));
            }
        }
        if !apply {
            text.push_str("; nothing was done: --apply does it");
        }
        text
    }
}

fn action<'a>(word: &'static str, report: &Report, why: Option<&'a str>) -> Action<'a> {
    let (first, others) = report.names.split_first().map_or((&b""[..], &[][..]), |(one, all)| (one, all));
    let (path, path_raw) = v1::text_and_raw(first);
    let (links, links_raw) = v1::texts_and_raws(others.iter().map(|name| &name[..]));
    let kept = (!report.kept.is_empty()).then(|| v1::text_and_raw(&report.kept));
    let (kept, kept_raw) = kept.map_or((None, None), |(text, raw)| (Some(text), raw));
    Action { action: word, path, path_raw, links, links_raw, kept, kept_raw, bytes: report.bytes, why }
}

/// Joins the copies of the sets that `flags` ask for, or says what it would do.
pub(crate) fn link(context: &Context, flags: &Dups, how: LinkArg) -> Result<Outcome, Failure> {
    // All of them before the first action: a daemon does not wait for us, and an index that is read here is let go.
    let sets = sets(context, flags)?;
    scan::outlive_leases();
    let (kind, deed) = match how {
        LinkArg::Hard => (Kind::Hard, Deed::Link),
        LinkArg::Reflink => (Kind::Reflink, Deed::Reflink),
    };
    let log = if flags.apply {
        let folder = context.state()?.path;
        mend(&folder)?;
        // No set, no log.
        if sets.is_empty() { None } else { Some(log(&folder, flags.log.as_deref())?) }
    } else {
        None
    };
    let path = log.as_ref().map(|log| log.path().to_path_buf());
    let mut linker = Linker::new(kind, &Leases, log);
    let mut teller = Teller::new(deed, context.global.json);
    for set in &sets {
        linker.set(set, &mut |report| teller.tell(&report)).map_err(stopped)?;
    }
    linker.end().map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some(path) = path.filter(|_| !context.global.quiet && !context.global.json) {
        eprintln!("undo: indexer dups --apply --undo {}", shown(&path));
    }
    teller.end(flags.apply, context.global.quiet)
}

/// Undoes what the log says, or says what it would do.
pub(crate) fn undo(context: &Context, log: &Path, apply: bool) -> Result<Outcome, Failure> {
    scan::outlive_leases();
    let mut teller = Teller::new(Deed::Undo, context.global.json);
    duplicates::undo(log, &Leases, apply, &mut |report| teller.tell(&report)).map_err(stopped)?;
    teller.end(apply, context.global.quiet)
}

/// The sets of the index. With `--root` what does not lie there may be kept, and is not replaced.
fn sets(context: &Context, flags: &Dups) -> Result<Vec<Set>, Failure> {
    let mut source = Source::open(context)?;
    let mut sets = Vec::new();
    by_spelling(flags.root.as_deref(), |below| {
        let pair = below.map(PathPair::new);
        let (path, path_raw) = pair.map_or((None, None), |pair| (Some(pair.path), pair.raw));
        let (min_size, top) = (flags.min_size, flags.top);
        let request = DupsRequest { path, path_raw, min_size, top, files: true };
        source.dups(&request, &mut |answer| {
            let mut kept: Vec<v1::Duplicates> = Vec::new();
            answer.print_or_keep(false, &mut Out::stdout(), &mut kept)?;
            for found in kept {
                sets.push(set(&found, below)?);
            }
            Ok(true)
        })
    })?;
    Ok(sets)
}

fn set(found: &v1::Duplicates, below: Option<&[u8]>) -> Result<Set, Failure> {
    let bytes = |texts: &[String], raws: Option<&[String]>| {
        let raw = |nth: usize| raws.and_then(|raws| raws.get(nth)).map(String::as_str);
        let all = texts.iter().enumerate().map(|(nth, text)| v1::bytes_of(text, raw(nth)));
        all.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::doing("read a path", error))
    };
    let mut copies: Vec<Copy> = bytes(&found.paths, found.paths_raw.as_deref())?
        .into_iter()
        .map(|path| Copy { names: vec![path], fixed: false })
        .collect();
    for links in &found.links {
        if let Some(copy) = copies.get_mut(links.of) {
            copy.names.extend(bytes(&links.paths, links.paths_raw.as_deref())?);
        }
    }
    for copy in &mut copies {
        copy.fixed = below.is_some_and(|below| !copy.names.iter().all(|name| is_below(name, below)));
    }
    Ok(Set { size: found.size, digest: found.digest.clone(), copies })
}

/// A new log: where it was asked for, or by the time.
fn log(folder: &Path, wanted: Option<&Path>) -> Result<Log, Failure> {
    let path = match wanted {
        Some(path) => crate::paths::absolute(path)?,
        None => free_name(folder),
    };
    Log::create(&path).map_err(|error| Failure::Failed(error.to_string()))
}

fn free_name(folder: &Path) -> PathBuf {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
    folder.join(format!("{}{time}{}", LOG.0, LOG.1))
}

/// Ends what runs that were killed left half done, by their logs in the state folder.
fn mend(folder: &Path) -> Result<(), Failure> {
    let listed = std::fs::read_dir(folder).map_err(|error| Failure::doing("list the state folder", error))?;
    for entry in listed {
        let path = entry.map_err(|error| Failure::doing("list the state folder", error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(LOG.0) || !name.ends_with(LOG.1) {
            continue;
        }
        match duplicates::mend(&path, &Leases) {
            Ok(mended) => {
                for one in mended {
                    let name = one.names.first().map(|name| quoted(name)).unwrap_or_default();
                    match one.left {
                        Some(why) => eprintln!("indexer: cut off in an earlier run: {name}: {why}"),
                        None => eprintln!("indexer: cut off in an earlier run, and set right: {name}"),
                    }
                }
            }
            // Nothing that we are to do hangs on it.
            Err(error) => eprintln!("indexer: {error}"),
        }
    }
    Ok(())
}

fn stopped(stopped: Stopped) -> Failure {
    match stopped {
        Stopped::Told(error) => error.into(),
        Stopped::Log(error) => Failure::Failed(error.to_string()),
    }
}
