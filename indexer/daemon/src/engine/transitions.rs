//! One line of the log for each change of state, of the daemon or of a root. Sees two views and compares them; who
//! changed what is not its business.

use tracing::{error, info, warn};

use super::shared::View;

/// The states of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct States {
    daemon: &'static str,
    roots: Vec<(Vec<u8>, &'static str)>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The root, or none for the daemon itself.
    pub(crate) root: Option<Vec<u8>>,
    /// The state it had; `none` for a root that is new.
    pub(crate) old: &'static str,
    /// The state it has.
    pub(crate) new: &'static str,
    pub(crate) why: String,
}

impl States {
    pub(crate) fn of(view: &View) -> States {
        States {
            daemon: view.state,
            roots: view.roots.iter().map(|root| (root.path.clone(), root.state)).collect(),
        }
    }

    /// What is different in `view`.
    pub(crate) fn changed(&self, view: &View) -> Vec<Transition> {
        let mut changed = Vec::new();
        for root in &view.roots {
            let old =
                self.roots.iter().find(|(path, _)| *path == root.path).map_or("none", |(_, state)| state);
            if old != root.state {
                let why = match (old, root.state) {
                    (_, "lost") => root.lost.clone().unwrap_or_default(),
                    (_, "repairing") => view.why_repair.clone(),
                    _ => why(old, root.state).to_owned(),
                };
                changed.push(Transition { root: Some(root.path.clone()), old, new: root.state, why });
            }
        }
        for (path, old) in &self.roots {
            if !view.roots.iter().any(|root| root.path == *path) {
                let why = "no longer configured; its rows are kept".to_owned();
                changed.push(Transition { root: Some(path.clone()), old, new: "none", why });
            }
        }
        if self.daemon != view.state {
            let why = match &view.failed {
                Some(failed) => failed.clone(),
                None => why(self.daemon, view.state).to_owned(),
            };
            changed.push(Transition { root: None, old: self.daemon, new: view.state, why });
        }
        changed
    }
}

fn why(old: &str, new: &str) -> &'static str {
    match (old, new) {
        (_, "starting") => "configured",
        (_, "seeding") => "not in the index yet",
        ("lost", "sweeping") => "it is back",
        (_, "sweeping") => "compared with the disk",
        ("repairing", "live") => "repaired",
        (_, "live") => "up to date, and changes are followed",
        (_, "stopped") => "told to leave",
        _ => "",
    }
}

impl Transition {
    /// Writes the line: a warning for what a person should know, an error for what ends the daemon.
    pub(crate) fn log(&self, failed: bool) {
        let Transition { old, new, why, .. } = self;
        match &self.root {
            None if failed => error!(old, new, why, "state changed"),
            None => info!(old, new, why, "state changed"),
            Some(root) => {
                let root = crate::render::quoted(root);
                match *new {
                    "lost" | "repairing" => warn!(root = %root, old, new, why, "root changed state"),
                    _ => info!(root = %root, old, new, why, "root changed state"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::RootView;
    use super::*;

    fn root(path: &str, state: &'static str) -> RootView {
        RootView { path: path.into(), state, ..RootView::default() }
    }

    #[test]
    fn each_difference_is_one_transition_and_sameness_none() {
        let mut view =
            View { state: "live", roots: vec![root("/a", "live"), root("/b", "live")], ..View::default() };
        let states = States::of(&view);
        assert_eq!(states.changed(&view), []);
        view.progress = Some(super::super::status::Progress::default());
        assert_eq!(states.changed(&view), [], "progress is no change of state");

        view.roots[0] = RootView { lost: Some("cannot be opened".into()), ..root("/a", "lost") };
        view.roots[1] = root("/b", "repairing");
        view.why_repair = "the queue overflowed".into();
        let told: Vec<_> =
            states.changed(&view).into_iter().map(|change| (change.old, change.new, change.why)).collect();
        let expected = [("live", "lost", "cannot be opened"), ("live", "repairing", "the queue overflowed")];
        assert_eq!(told, expected.map(|(old, new, why)| (old, new, why.to_owned())));
    }

    #[test]
    fn roots_come_and_go_and_a_failure_is_the_reason_of_the_end() {
        let mut view = View { state: "live", roots: vec![root("/a", "live")], ..View::default() };
        let states = States::of(&view);
        view.roots = vec![root("/b", "seeding")];
        view.state = "stopped";
        view.failed = Some("disk full".into());
        let told: Vec<_> = states
            .changed(&view)
            .into_iter()
            .map(|change| (change.root.map(|root| String::from_utf8(root).unwrap()), change.old, change.new))
            .collect();
        assert_eq!(
            told,
            [
                (Some("/b".into()), "none", "seeding"),
                (Some("/a".into()), "live", "none"),
                (None, "live", "stopped")
            ]
        );
        assert_eq!(states.changed(&view)[2].why, "disk full");
    }
}
