//! Whether the daemon keeps the trees as true as its configuration asks. A judgement over a status and a few facts: it
//! asks nobody and changes nothing.

use std::time::Duration;

use record::Time;

use super::config::{Backend, Require};
use super::status::{Problem, RootStatus, Status};
use super::vitals::STALLED;

/// What a sweep may be late by before it is overdue, beside a whole period.
const LATE: Duration = Duration::from_secs(60);

/// What cannot be vouched for where files have the numbers of layers.
pub(crate) const LAYERS: &str = "its file system gives files the numbers of its layers, and two files may have the same one; \
                                 mount the overlay with xino=on, or with all layers on one file system";

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) backend: Backend,
    pub(crate) require: Require,
}

/// What a status does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) failed: Option<String>,
    /// The index could not be read.
    pub(crate) unreadable: Option<String>,
    /// How long the engine has stood still with work.
    pub(crate) stalled: Duration,
    /// Readers of kernel queues that ended by themselves, and why.
    pub(crate) dead_readers: Vec<String>,
    /// Volumes that wait for a repair.
    pub(crate) owed: u64,
}

/// Everything that is not as it was asked for; nothing when all is well.
pub(crate) fn problems(status: &Status, asked: Asked, facts: &Facts, now: Time) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say = |code: &str, root: Option<&RootStatus>, why: String| {
        problems.push(Problem { code: code.to_owned(), root: root.map(|root| root.path.clone()), why });
    };
    if let Some(why) = &facts.failed {
        say("engine_failed", None, why.clone());
    }
    if let Some(why) = &facts.unreadable {
        say("index_unreadable", None, why.clone());
    }
    if facts.stalled >= STALLED {
        say("engine_stalled", None, format!("no progress for {} s", facts.stalled.as_secs()));
    }
    for why in &facts.dead_readers {
        say("reader_dead", None, why.clone());
    }
    match &*status.state {
        "live" | "degraded" => {}
        "stopping" | "stopped" => say("stopped", None, "it does not follow changes".to_owned()),
        state => say("starting", None, format!("{state}: not all is in the index and followed yet")),
    }
    if facts.owed > 0 {
        say("repair_owed", None, format!("hints were lost on {} volumes, not swept yet", facts.owed));
    }
    let starting = !matches!(&*status.state, "live" | "degraded");
    for root in status.roots.iter().filter(|root| root.state != "unwatched") {
        match &*root.state {
            "lost" => say("root_lost", Some(root), root.lost.clone().unwrap_or_default()),
            "repairing" => {
                let why = root.trouble.as_ref().map(|why| format!("cannot be swept: {why}"));
                let why = why.unwrap_or_else(|| "hints were lost; it is being swept".to_owned());
                say("repair_owed", Some(root), why);
            }
            "live" | "sweeping" => {}
            // The daemon's own state says so too while it starts.
            state if !starting => {
                say("starting", Some(root), format!("{state}: not all is in the index and followed yet"));
            }
            _ => {}
        }
        of_coverage(root, asked, starting, now, &mut say);
    }
    problems
}

/// What is not kept true as it should be in a root.
fn of_coverage<'r>(
    root: &'r RootStatus,
    asked: Asked,
    starting: bool,
    now: Time,
    say: &mut impl FnMut(&str, Option<&'r RootStatus>, String),
) {
    let coverage = &root.coverage;
    let tiers: Vec<&str> = root.backend.split('+').collect();
    let watched = match asked.require {
        Require::Watched => true,
        Require::Swept => false,
        // The portable watcher promises no more than sweeps do.
        Require::Backend => !matches!(asked.backend, Backend::Sweep | Backend::Notify),
    };
    if watched {
        if coverage.swept > 0 {
            say("swept", Some(root), format!("{} directories are only swept", coverage.swept));
        } else if tiers.contains(&"sweep") {
            say("swept", Some(root), format!("only swept: {}", root.reason));
        }
        let wanted = match asked.backend {
            Backend::Fanotify => Some("fanotify"),
            Backend::Inotify => Some("inotify"),
            _ => None,
        };
        if let Some(wanted) = wanted
            && tiers.iter().any(|tier| *tier != wanted && *tier != "none" && *tier != "sweep")
        {
            say(
                "tier",
                Some(root),
                format!("{wanted} was asked for, it has {}: {}", root.backend, root.reason),
            );
        }
    }
    // While a root is scanned, lost or repaired, its state says so already.
    if coverage.unverified > 0 && matches!(&*root.state, "live" | "sweeping") && !starting {
        say("unverified", Some(root), format!("{} directories are not compared yet", coverage.unverified));
    }
    if root.doubted > 0 {
        let why = format!("{} entries are not there, which a second look has to confirm", root.doubted);
        say("doubted", Some(root), why);
    }
    if root.layered {
        say("layers", Some(root), LAYERS.to_owned());
    }
    let blind = coverage.blind.max(root.blind);
    if blind > 0 {
        let first = root.blind_paths.first().map(|blind| format!(", as {}: {}", blind.path, blind.why));
        say("blind", Some(root), format!("{blind} directories cannot be read{}", first.unwrap_or_default()));
    }
    if let (Some(every), Some(verified)) = (coverage.sweep_every_s, root.verified_ns)
        && coverage.swept > 0
        && root.state == "live"
    {
        let most = Duration::from_secs(every.saturating_mul(2)) + LATE;
        let age = now.0.saturating_sub(verified);
        if age > i128::try_from(most.as_nanos()).unwrap_or(i128::MAX) {
            let seconds = age / 1_000_000_000;
            say("sweep_overdue", Some(root), format!("swept {seconds} s ago, due every {every} s"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{BlindPath, CoverageStatus};
    use super::*;

    const NOW: Time = Time(10_000 * 1_000_000_000);

    fn live() -> Status {
        let root = RootStatus {
            path: "/a".into(),
            state: "live".into(),
            backend: "fanotify".into(),
            verified_ns: Some(NOW.0),
            coverage: CoverageStatus { watched: 10, ..CoverageStatus::default() },
            ..RootStatus::default()
        };
        Status { state: "live".into(), roots: vec![root], ..Status::default() }
    }

    fn codes(status: &Status, asked: Asked, facts: &Facts) -> Vec<String> {
        problems(status, asked, facts, NOW).into_iter().map(|problem| problem.code).collect()
    }

    fn of(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let mut status = live();
        change(&mut status);
        codes(&status, Asked::default(), &Facts::default())
    }

    #[test]
    fn each_fault_has_its_code_and_none_is_green() {
        assert_eq!(of(|_| {}), [""; 0]);
        type Change = fn(&mut Status);
        let by_status: [(&str, Change); 10] = [
            ("starting", |status| status.state = "sweeping".into()),
            ("starting", |status| status.roots[0].state = "seeding".into()),
            ("stopped", |status| status.state = "stopping".into()),
            ("root_lost", |status| status.roots[0].state = "lost".into()),
            ("repair_owed", |status| status.roots[0].state = "repairing".into()),
            ("swept", |status| status.roots[0].coverage.swept = 1),
            ("swept", |status| status.roots[0].backend = "inotify+sweep".into()),
            ("unverified", |status| status.roots[0].coverage.unverified = 1),
            ("unverified", |status| {
                status.roots[0].state = "sweeping".into();
                status.roots[0].coverage.unverified = 10;
            }),
            ("blind", |status| {
                status.roots[0].blind = 1;
                status.roots[0].blind_paths = vec![BlindPath { path: "/a/b".into(), ..BlindPath::default() }];
            }),
        ];
        for (code, change) in by_status {
            assert_eq!(of(change), [code]);
        }
        let by_facts = [
            ("engine_failed", Facts { failed: Some("disk full".into()), ..Facts::default() }),
            ("index_unreadable", Facts { unreadable: Some("EIO".into()), ..Facts::default() }),
            ("engine_stalled", Facts { stalled: STALLED, ..Facts::default() }),
            ("reader_dead", Facts { dead_readers: vec!["it panicked".into()], ..Facts::default() }),
            ("repair_owed", Facts { owed: 1, ..Facts::default() }),
        ];
        for (code, facts) in by_facts {
            assert_eq!(codes(&live(), Asked::default(), &facts), [code]);
        }
    }

    #[test]
    fn a_sweep_of_a_live_root_and_a_root_that_is_not_configured_are_no_fault() {
        assert_eq!(of(|status| status.roots[0].state = "sweeping".into()), [""; 0]);
        assert_eq!(
            of(|status| {
                status.roots[0].state = "unwatched".into();
                status.roots[0].blind = 3;
            }),
            [""; 0]
        );
        let nearly = Facts { stalled: STALLED - Duration::from_secs(1), ..Facts::default() };
        assert_eq!(codes(&live(), Asked::default(), &nearly), [""; 0]);
    }

    #[test]
    fn what_is_asked_decides_whether_sweeps_are_enough() {
        let mut swept = live();
        swept.roots[0].backend = "sweep".into();
        swept.roots[0].coverage = CoverageStatus { swept: 10, ..CoverageStatus::default() };
        let mut fell_back = live();
        fell_back.roots[0].backend = "fanotify+inotify".into();
        let ask = |status: &Status, backend, require| {
            codes(status, Asked { backend, require }, &Facts::default()).join(" ")
        };
        for (backend, require, of_swept, of_fallen) in [
            (Backend::Auto, Require::Backend, "swept", ""),
            (Backend::Auto, Require::Swept, "", ""),
            (Backend::Fanotify, Require::Backend, "swept", "tier"),
            (Backend::Fanotify, Require::Swept, "", ""),
            (Backend::Inotify, Require::Backend, "swept", "tier"),
            (Backend::Sweep, Require::Backend, "", ""),
            (Backend::Sweep, Require::Watched, "swept", ""),
        ] {
            assert_eq!(ask(&swept, backend, require), of_swept, "{backend:?} {require:?}");
            assert_eq!(ask(&fell_back, backend, require), of_fallen, "{backend:?} {require:?}");
        }
    }

    #[test]
    fn a_sweep_is_overdue_after_two_periods_and_a_minute() {
        let age = |seconds: i128| {
            let mut status = live();
            status.roots[0].backend = "sweep".into();
            status.roots[0].coverage =
                CoverageStatus { swept: 1, sweep_every_s: Some(300), ..CoverageStatus::default() };
            status.roots[0].verified_ns = Some(NOW.0 - seconds * 1_000_000_000);
            let asked = Asked { backend: Backend::Sweep, require: Require::Backend };
            codes(&status, asked, &Facts::default())
        };
        assert_eq!(age(660), [""; 0]);
        assert_eq!(age(661), ["sweep_overdue"]);
    }
}
