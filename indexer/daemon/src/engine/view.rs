//! What the engine's state looks like from outside, gathered when asked for.

use std::sync::atomic::Ordering;

use index::{Index, IndexError, Reader};
use reconcile::Stored as _;
use record::wire::v1::text_and_raw;

use super::health::{Facts, problems};
use super::shared::Shared;
use super::status::{
    AuditStatus, BlindPath, ConsumerStatus, CoverageStatus, RootStatus, Status, SweepStatus,
};

/// Blind directories that are listed one by one.
const MOST_BLIND: usize = 20;

impl Shared {
    /// How things stand.
    pub(crate) fn status(&self) -> Status {
        let mut status = Status {
            pid: Some(std::process::id()),
            uptime_s: self.started.elapsed().as_secs(),
            rss_bytes: resident_bytes(),
            pending: self.pending.len() as u64,
            lag_ms: self
                .pending
                .oldest()
                .map_or(0, |at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            ..Status::default()
        };
        let read = self.index.read().and_then(|reader| of_index(&self.index, &reader, &mut status));
        let day = self.day();
        let ms = |micros: Option<u64>| micros.map(|micros| micros as f64 / 1_000.0);
        status.audit = AuditStatus {
            directories: day.directories,
            entries: day.entries,
            missed: day.missed,
            detections: day.detections,
            detection_p50_ms: ms(day.p50_us),
            detection_p99_ms: ms(day.p99_us),
        };
        let known = self.known_ns();
        // The engine's thread waits for this lock: it is not held while the index is read.
        let (shown, failed, asked, repairs, sweep_every) = {
            let view = self.view();
            view.state.clone_into(&mut status.state);
            status.progress = view.sweeps_progress().or_else(|| view.progress.clone());
            for sweep in &view.sweeps {
                status.sweeps.push(SweepStatus {
                    root: text_and_raw(&sweep.root).0,
                    level: sweep.level.word().to_owned(),
                    why: sweep.why.to_owned(),
                    began_ns: sweep.began.0,
                    percent: sweep.progress().percent,
                });
            }
            (view.roots.clone(), view.failed.clone(), view.asked, view.repairs, view.sweep_every)
        };
        status.state_dir = self.state_dir.to_string_lossy().into_owned();
        let (events, overflows) = self.arms.counts();
        (status.events, status.overflows) = (events, overflows.max(repairs));
        for root in &mut status.roots {
            "unwatched".clone_into(&mut root.state);
            let bytes = record::wire::v1::bytes_of(&root.path, root.path_raw.as_deref()).unwrap_or_default();
            let Some(shown) = shown.iter().find(|shown| shown.path == bytes) else { continue };
            shown.state.clone_into(&mut root.state);
            root.backend.clone_from(&shown.backend);
            root.reason.clone_from(&shown.reason);
            root.lost.clone_from(&shown.lost);
            let one_by_one = ["inotify", "fanotify-dirs"].iter().any(|word| shown.backend.contains(word));
            if one_by_one {
                root.watches = self.arms.watches();
            }
            let counted = self.index.read().and_then(|reader| self.count_coverage(&reader, shown, root));
            status.warnings.extend(counted.err().map(|error| error.to_string()));
            let CoverageStatus { swept, unverified, .. } = root.coverage;
            root.swept.clone_from(&shown.swept);
            root.doubted = shown.doubted;
            root.trouble.clone_from(&shown.trouble);
            root.layered = shown.layered.load(Ordering::Relaxed);
            if swept == 0 && unverified == 0 {
                root.verified_ns = Some(known);
            } else if shown.verified.0 > 0 {
                root.verified_ns = Some(shown.verified.0);
            }
            if swept > 0 {
                root.coverage.sweep_every_s = sweep_every.map(|every| every.as_secs());
            }
            if swept > 0 && one_by_one {
                status.warnings.push(format!(
                    "{}: {swept} directories have no watch and are swept; see `indexer doctor`",
                    root.path
                ));
            }
        }
        status.warnings.extend(failed.clone());
        let unreadable = read.err().map(|error| error.to_string());
        status.warnings.extend(unreadable.clone());
        let facts = Facts {
            failed,
            unreadable,
            stalled: self.stalled_for(),
            dead_readers: self.arms.dead_readers(),
            owed: self.vitals.done().owed,
        };
        status.problems = problems(&status, asked, &facts, record::Time::now());
        if status.state == "live" && !status.problems.is_empty() {
            "degraded".clone_into(&mut status.state);
        }
        status
    }
}

/// What the index alone tells: all of `status` when no daemon runs.
pub(crate) fn of_index(index: &Index, reader: &Reader, status: &mut Status) -> Result<(), IndexError> {
    env!("CARGO_PKG_VERSION").clone_into(&mut status.version);
    if status.state.is_empty() {
        "stopped".clone_into(&mut status.state);
    }
    status.entries = reader.entries()?;
    status.seq = reader.seq()?.0;
    status.oldest_seq = reader.oldest()?.0;
    status.epoch = format!("{:032x}", index.epoch()?);
    status.index_bytes = index.file_length();
    status.journal_bytes = reader.journal_bytes()?;
    for (name, seq) in reader.cursors()? {
        let lag = status.seq.saturating_sub(seq.0);
        status.consumers.push(ConsumerStatus { name, seq: seq.0, lag });
    }
    let rows = reader.roots()?;
    for row in &rows {
        let totals = reader.totals(row.top)?.unwrap_or_default();
        let (path, path_raw) = text_and_raw(&row.path);
        status.roots.push(RootStatus {
            path,
            path_raw,
            state: if row.lost.is_some() { "lost" } else { "unwatched" }.to_owned(),
            backend: "none".to_owned(),
            reason: "no daemon runs".to_owned(),
            entries: totals.files + totals.directories,
            bytes: totals.bytes,
            verified_ns: Some(row.verified.0).filter(|ns| *ns > 0),
            lost: row.lost.clone(),
            ..RootStatus::default()
        });
    }
    for (id, blind) in reader.blind()? {
        // What a mount covers has no name; it is shown where it was.
        let path = match reader.path(&rows, id)? {
            Some(path) => path,
            None => match reader.detached(id)? {
                Some(detached) => detached.path.into(),
                None => continue,
            },
        };
        let at = rows.iter().position(|row| path.starts_with(&row.path));
        let Some(root) = at.and_then(|at| status.roots.get_mut(at)) else { continue };
        root.blind += 1;
        if root.blind_paths.len() < MOST_BLIND {
            let path = text_and_raw(&path).0;
            root.blind_paths.push(BlindPath { path, why: blind.why, since_ns: blind.since.0 });
        }
    }
    Ok(())
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib * 1024
}
