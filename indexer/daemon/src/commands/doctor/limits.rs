//! What the host allows a watcher, what these roots need of it, and the line that raises it. Knows numbers; whoever
//! asks brings how many directories there are.

use rustix::fs::inotify::{self, CreateFlags};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use watch::InotifyLimits;

use crate::render::{bytes, count};

/// Descriptors that a walk and a daemon are comfortable with.
const DESCRIPTORS: u64 = 4096;

/// Events that a queue should hold: what kernels set by themselves.
const QUEUED: u64 = 16_384;

/// Kernel memory of one inotify watch, with the inode it pins.
const WATCH_BYTES: u64 = 1_330;

/// Where settings stay over a restart of the host.
const FILE: &str = "/etc/sysctl.d/90-indexer.conf";

/// One limit of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Limit {
    /// `fs.inotify.max_user_watches`, or `RLIMIT_NOFILE`.
    pub(super) name: &'static str,
    /// Null: there is none, or this kernel does not tell.
    pub(super) allowed: Option<u64>,
    /// The least that is enough.
    pub(super) needed: u64,
    /// Whether that is allowed.
    pub(super) enough: bool,
    /// What lack of it comes to; null while there is enough.
    pub(super) why: Option<String>,
    /// The command that raises it now, and the one that raises it for good; null while there is enough.
    pub(super) fix: Option<String>,
    pub(super) fix_for_good: Option<String>,
}

/// What is watched, and by what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// Roots, each of which may take a fanotify group.
    pub(super) roots: u64,
    /// Directories in roots that no file-system mark covers.
    pub(super) directories: u64,
}

impl Limit {
    fn of_kernel(name: &'static str, allowed: Option<u64>, needed: u64, better: u64, why: String) -> Limit {
        let enough = allowed.is_none_or(|allowed| allowed >= needed);
        let when_short = |text: String| (!enough).then_some(text);
        Limit {
            name,
            allowed,
            needed,
            enough,
            why: when_short(why),
            fix: when_short(format!("sudo sysctl {name}={better}")),
            fix_for_good: when_short(format!("echo {name}={better} | sudo tee -a {FILE}")),
        }
    }

    /// As advice: what is lacking, and what to type.
    pub(super) fn advice(&self) -> Option<String> {
        let (why, fix) = (self.why.as_ref()?, self.fix.as_ref()?);
        let for_good = self.fix_for_good.as_ref().map(|line| format!("; to keep it: `{line}`"));
        Some(format!("{why}: `{fix}`{}", for_good.unwrap_or_default()))
    }
}

/// The limit of watches of which the share is `directories` or more.
fn watches_for(directories: u64) -> u64 {
    // An eighth is left for other programs, and 512 at least.
    directories.saturating_add((directories / 7 + 1).max(512))
}

/// All that matter to what is watched.
pub(super) fn look(needs: Needs) -> Vec<Limit> {
    // The surest test of instances is to have one; it goes at once.
    let instance = inotify::init(CreateFlags::CLOEXEC).is_ok();
    let fanotify = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/fanotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    judge(
        needs,
        InotifyLimits::read(),
        instance,
        (fanotify("max_user_groups"), fanotify("max_user_marks")),
        getrlimit(Resource::Nofile).current,
    )
}

fn judge(
    needs: Needs,
    inotify: InotifyLimits,
    instance: bool,
    (groups, marks): (Option<u64>, Option<u64>),
    files: Option<u64>,
) -> Vec<Limit> {
    let Needs { roots, directories } = needs;
    let watches = if directories == 0 { 0 } else { watches_for(directories) };
    let better = (watches * 3 / 2).checked_next_power_of_two().unwrap_or(watches).max(524_288);
    let share = inotify.share() as u64;
    let instances = inotify.instances as u64;
    let mut limits = vec![
        Limit::of_kernel(
            "fs.inotify.max_user_watches",
            Some(inotify.watches as u64),
            watches,
            better,
            format!(
                "{} directories need a watch each and {} may be used, so the least active {} are only swept (a watch \
                 takes about {} of kernel memory)",
                count(directories),
                count(share),
                count(directories.saturating_sub(share)),
                bytes(WATCH_BYTES)
            ),
        ),
        Limit::of_kernel(
            "fs.inotify.max_user_instances",
            Some(instances),
            if instance { 1 } else { instances + 1 },
            (instances * 2).max(512),
            "no inotify queue is to be had, since other programs use them all; only sweeps are left"
                .to_owned(),
        ),
        Limit::of_kernel(
            "fs.inotify.max_queued_events",
            Some(inotify.queued_events as u64),
            QUEUED,
            QUEUED,
            "a burst of changes overflows so short a queue, and each overflow takes a sweep".to_owned(),
        ),
        Limit::of_kernel(
            "fs.fanotify.max_user_groups",
            groups,
            roots,
            roots.next_power_of_two().max(128),
            "each file system takes a fanotify group".to_owned(),
        ),
        Limit::of_kernel(
            "fs.fanotify.max_user_marks",
            marks,
            roots.max(watches),
            better,
            "where fanotify marks directories one by one, each takes a mark".to_owned(),
        ),
    ];
    let enough = files.is_none_or(|files| files >= DESCRIPTORS);
    limits.push(Limit {
        name: "RLIMIT_NOFILE",
        allowed: files,
        needed: DESCRIPTORS,
        enough,
        why: (!enough).then(|| format!("only {} files may be open at once", count(files.unwrap_or(0)))),
        fix: (!enough).then(|| format!("ulimit -n {DESCRIPTORS}")),
        fix_for_good: (!enough).then(|| format!("LimitNOFILE={DESCRIPTORS} in the unit")),
    });
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    const INOTIFY: InotifyLimits = InotifyLimits { watches: 8192, instances: 128, queued_events: 16_384 };

    fn judged(needs: Needs, inotify: InotifyLimits, instance: bool) -> Vec<Limit> {
        judge(needs, inotify, instance, (Some(128), Some(100_000)), Some(1 << 20))
    }

    /// The limit that is advised gives the share that is needed, and the least that is needed is the least.
    #[test]
    fn what_is_advised_is_enough() {
        for directories in [1, 100, 7168, 7169, 190_000, 2_000_000, 1 << 40] {
            let needed = watches_for(directories);
            let share = |watches: u64| {
                InotifyLimits { watches: usize::try_from(watches).unwrap(), ..INOTIFY }.share() as u64
            };
            assert!(share(needed) >= directories, "{directories}: {needed}");
            assert!(share(needed - 3) <= directories, "{directories}: {needed} is more than needed");
        }
    }

    #[test]
    fn a_host_that_allows_enough_needs_no_line() {
        let needs = Needs { roots: 3, directories: 7_000 };
        for limit in judged(needs, INOTIFY, true) {
            assert!(limit.enough && limit.fix.is_none() && limit.advice().is_none(), "{limit:?}");
        }
        // Where the whole file system is marked, no watch is needed.
        let few = InotifyLimits { watches: 1, ..INOTIFY };
        assert!(judged(Needs { roots: 1, directories: 0 }, few, true).iter().all(|limit| limit.enough));
    }

    #[test]
    fn each_shortage_says_the_line_that_ends_it() {
        let needs = Needs { roots: 200, directories: 2_000_000 };
        let short = InotifyLimits { queued_events: 100, ..INOTIFY };
        let said: Vec<String> = judge(needs, short, false, (Some(128), Some(9)), Some(256))
            .iter()
            .map(|limit| limit.advice().unwrap_or_else(|| panic!("{limit:?}")))
            .collect();
        for (said, line) in said.iter().zip([
            "`sudo sysctl fs.inotify.max_user_watches=4194304`; to keep it: `echo fs.inotify.max_user_watches=4194304 \
             | sudo tee -a /etc/sysctl.d/90-indexer.conf`",
            "`sudo sysctl fs.inotify.max_user_instances=512`",
            "`sudo sysctl fs.inotify.max_queued_events=16384`",
            "`sudo sysctl fs.fanotify.max_user_groups=256`",
            "`sudo sysctl fs.fanotify.max_user_marks=4194304`",
            "`ulimit -n 4096`; to keep it: `LimitNOFILE=4096 in the unit`",
        ]) {
            assert!(said.contains(line), "{said}");
        }
        assert!(
            said[0].starts_with("2,000,000 directories need a watch each and 7,168 may be used"),
            "{}",
            said[0]
        );
    }
}
