//! `doctor`: is the index whole, and does the machine give what watching needs? Says what to type.

mod limits;

use std::os::fd::AsFd as _;

use index::Index;
use record::VolumeId;
use record::wire::v1::text_and_raw;
use serde::Serialize;
use watch::{FanotifyGroup, InotifyLimits};

use self::limits::{Limit, Needs};

use crate::commands::{Context, Source};
use crate::engine::status::Status;
use crate::failure::{Failure, Outcome};
use crate::query::{self, CheckReport, DuRequest, PathPair};
use crate::render::{Align, Out, Table, bytes, count, quoted};

/// Bits of `CapEff`.
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;

/// All that was found; one object of `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The index against itself; null when there is none to read.
    index: Option<CheckReport>,
    /// Why not.
    index_error: Option<String>,
    /// The running kernel.
    kernel: String,
    /// CAP_SYS_ADMIN: marks of whole file systems.
    cap_sys_admin: bool,
    /// CAP_DAC_READ_SEARCH: every directory can be read.
    cap_dac_read_search: bool,
    /// `max_user_watches`.
    inotify_watches: usize,
    /// `max_user_instances`.
    inotify_instances: usize,
    /// `max_queued_events`.
    inotify_queued_events: usize,
    /// Soft limit of open files; null is none.
    open_files: Option<u64>,
    /// Each limit of the host that matters, what is needed of it, and the line that raises it.
    limits: Vec<Limit>,
    /// The roots.
    roots: Vec<RootReport>,
    /// What to do, in sentences.
    advice: Vec<String>,
}

/// One root.
#[derive(Debug, Default, Serialize)]
struct RootReport {
    path: String,
    /// Type of its file system.
    file_system: String,
    /// Whether others may change it without this kernel knowing.
    remote: bool,
    /// `yes`, or why not.
    fanotify: String,
    /// How the running daemon, whose rights may be others than ours, watches it; null without one.
    backend: Option<String>,
    /// Directories, each of which takes a watch under inotify.
    directories: u64,
}

impl RootReport {
    /// Whether its directories need no watch each.
    fn is_marked(&self) -> bool {
        match &self.backend {
            Some(backend) => backend.split('+').all(|tier| tier == "fanotify"),
            None => self.fanotify == "yes",
        }
    }
}

/// Prints findings and advice; ends with 1 when the index has faults, with 3 when it cannot be read.
pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let mut report = Report { kernel: kernel(), ..Report::default() };
    let state = context.state_path()?;
    let looked = index::caught(|| look_at_index(context, &mut report)).unwrap_or_else(|said| {
        Err(Failure::Failed(format!(
            "{} is damaged (reading it ended with: {said}); move it away and the next start builds a new one from the \
             disk",
            crate::paths::shown(&state.join("index.redb"))
        )))
    });
    if let Err(failure) = &looked {
        report.index_error = Some(failure.to_string());
    }
    look_at_machine(&mut report);
    advise(&mut report);
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&report)?;
    } else {
        out.text(&text(&report, Out::width()))?;
    }
    out.flush()?;
    // A machine without an index yet is no failure: what it gives is what was asked for.
    let missing = || !state.join("index.redb").try_exists().unwrap_or(true);
    match looked {
        Err(failure) if !missing() => return Err(failure),
        Ok(()) | Err(_) => {}
    }
    Ok(Outcome::found(report.index.is_none_or(|check| check.faults == 0)))
}

fn look_at_index(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut watched = Vec::new();
    let mut source = Source::open(context)?;
    match &mut source {
        Source::Daemon(client) => {
            report.index = Some(client.get("/v1/check")?);
            watched = client.get("/v1/status").map(|status: Status| status.roots)?;
        }
        Source::Local(index) => {
            // It is open for reading while its pages are compared, so that nobody writes.
            Index::check_pages(&context.state()?.index_path(), context.settings()?.index())?;
            report.index = Some(query::check(index)?);
        }
    }
    for root in source.roots()? {
        let pair = PathPair::new(&root.path);
        let request = DuRequest { path: Some(pair.path), path_raw: pair.raw, ..DuRequest::default() };
        let mut directories = 0;
        source.du(&request, &mut |answer| {
            let du = match answer {
                crate::commands::Answer::Line(line) => serde_json::from_slice(line).ok(),
                crate::commands::Answer::Value(du) => Some(du),
                crate::commands::Answer::Pause => None,
            };
            directories += du.map_or(0, |du: record::wire::v1::Du| du.directories);
            Ok(true)
        })?;
        let (path, _) = text_and_raw(&root.path);
        let shown = watched.iter().find(|shown| shown.path == path && shown.backend != "none");
        let backend = shown.map(|shown| shown.backend.clone());
        report.roots.push(RootReport { backend, ..look_at_root(&root.path, directories) });
    }
    Ok(())
}

fn look_at_root(path: &[u8], directories: u64) -> RootReport {
    let mut root = RootReport { path: quoted(path).into_owned(), directories, ..RootReport::default() };
    let fd = match scan::open_root(path) {
        Ok(fd) => fd,
        Err(error) => {
            root.fanotify = format!("the root cannot be opened: {error}");
            return root;
        }
    };
    let mount = scan::look_self(fd.as_fd()).map_or(0, |seen| seen.mount);
    let mounts = scan::mounts().unwrap_or_default();
    if let Some(mount) = mounts.iter().find(|known| known.id == mount) {
        mount.fs_type.clone_into(&mut root.file_system);
        root.remote = scan::is_remote(&mount.fs_type);
    }
    // The surest test is to do it; the mark goes with the group, at once.
    root.fanotify = match FanotifyGroup::arm(VolumeId(0), fd.as_fd(), Vec::new()) {
        Ok(_) => "yes".to_owned(),
        Err(error) => error.to_string(),
    };
    root
}

fn look_at_machine(report: &mut Report) {
    let capabilities = capabilities();
    report.cap_sys_admin = capabilities >> CAP_SYS_ADMIN & 1 == 1;
    report.cap_dac_read_search = capabilities >> CAP_DAC_READ_SEARCH & 1 == 1;
    let limits = InotifyLimits::read();
    report.inotify_watches = limits.watches;
    report.inotify_instances = limits.instances;
    report.inotify_queued_events = limits.queued_events;
    let unmarked = report.roots.iter().filter(|root| !root.is_marked());
    let needs =
        Needs { roots: report.roots.len() as u64, directories: unmarked.map(|root| root.directories).sum() };
    report.limits = limits::look(needs);
    report.open_files =
        report.limits.iter().find(|limit| limit.name == "RLIMIT_NOFILE").and_then(|limit| limit.allowed);
}

fn advise(report: &mut Report) {
    let mut advice = Vec::new();
    if let Some(check) = report.index.as_ref().filter(|check| check.faults > 0) {
        advice.push(format!(
            "the index has {} faults: stop the daemon, move the index away, and let `indexer scan` build a new one",
            count(check.faults)
        ));
    }
    if !report.cap_sys_admin && !report.roots.iter().all(RootReport::is_marked) {
        advice.push(
            "whole file systems can be marked with more rights: run the daemon as root, or `sudo setcap \
             cap_sys_admin,cap_dac_read_search+ep $(command -v indexer)`"
                .to_owned(),
        );
    }
    advice.extend(report.limits.iter().filter_map(Limit::advice));
    for root in report.roots.iter().filter(|root| root.remote) {
        advice.push(format!(
            "{} is on {}: what other machines change there is found by sweeps alone",
            root.path, root.file_system
        ));
    }
    report.advice = advice;
}

fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

fn capabilities() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

fn text(report: &Report, width: Option<usize>) -> String {
    let mut text = String::new();
    match (&report.index, &report.index_error) {
        (Some(check), _) => {
            let verdict = if check.faults == 0 {
                "whole".to_owned()
            } else {
                format!("{} faults", count(check.faults))
            };
            text.push_str(&format!(
                "index: {verdict}, {} entries, {} names, {}\n",
                count(check.entries),
                count(check.names),
                bytes(check.file_bytes)
            ));
            let mut table = Table::new(&[Align::Left, Align::Right]);
            for size in &check.tables {
                table.row([format!("  {}", size.table), bytes(size.bytes)]);
            }
            text.push_str(&table.text(width));
            for fault in &check.first {
                text.push_str(&format!("  fault: {fault}\n"));
            }
        }
        (None, Some(error)) => text.push_str(&format!("index: {error}\n")),
        (None, None) => {}
    }
    let yes = |is: bool| if is { "yes" } else { "no" };
    text.push_str(&format!(
        "kernel: {}; CAP_SYS_ADMIN {}, CAP_DAC_READ_SEARCH {}\n",
        report.kernel,
        yes(report.cap_sys_admin),
        yes(report.cap_dac_read_search)
    ));
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left]);
    for limit in &report.limits {
        let allowed = limit.allowed.map_or("no limit".to_owned(), count);
        let verdict = if limit.enough { "enough" } else { "too few" };
        table.row([limit.name.to_owned(), allowed, count(limit.needed), verdict.to_owned()]);
    }
    text.push_str("limits: allowed, needed\n");
    text.push_str(&table.text(width));
    for root in &report.roots {
        let backend = root.backend.as_ref().map(|backend| format!("; the daemon has {backend}"));
        text.push_str(&format!(
            "root {}: {}, {} directories, fanotify: {}{}\n",
            root.path,
            root.file_system,
            count(root.directories),
            root.fanotify,
            backend.unwrap_or_default()
        ));
    }
    for advice in &report.advice {
        text.push_str(&format!("advice: {advice}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_says_what_to_type() {
        let mut report = Report {
            limits: limits::look(Needs { roots: 1, directories: 1 << 60 }),
            roots: vec![RootReport {
                path: "/nas".into(),
                file_system: "nfs4".into(),
                remote: true,
                fanotify: "mark failed".into(),
                backend: None,
                directories: 1 << 60,
            }],
            ..Report::default()
        };
        advise(&mut report);
        let said = report.advice.join("\n");
        for word in ["setcap", "fs.inotify.max_user_watches=", "90-indexer.conf", "sweeps alone"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let shown = text(&report, Some(200));
        for word in ["advice: ", "fs.fanotify.max_user_marks", "RLIMIT_NOFILE", "too few"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        let mut fine = Report { cap_sys_admin: true, ..Report::default() };
        advise(&mut fine);
        assert!(fine.advice.is_empty(), "{:?}", fine.advice);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let mut report = Report { kernel: kernel(), ..Report::default() };
        look_at_machine(&mut report);
        assert!(!report.kernel.is_empty() && report.inotify_watches > 0 && report.limits.len() == 6);
        let root = look_at_root(b"/", 1);
        assert!(!root.file_system.is_empty() && !root.fanotify.is_empty());
    }
}
