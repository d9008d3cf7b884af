//! The checks, in the order in which they are made. Each knows what it tries and expects, and nothing of the others.

mod ground;
mod kill;
mod latency;
mod mount;
mod overflow;
mod seed;
mod silent;
mod stop;
mod work;

use crate::Trouble;
use crate::trial::Trial;

/// What a check has to say in the end; what was wrong it has told the trial.
pub(crate) enum Said {
    /// What was done and seen.
    Done(String),
    /// Why it cannot be tried here.
    Skipped(String),
}

/// One check.
pub(crate) type Check = for<'t, 'a> fn(&'t mut Trial<'a>) -> Result<Said, Trouble>;

/// All of them by name.
pub(crate) const ALL: [(&str, Check); 9] = [
    ("ground", ground::check),
    ("silent", silent::check),
    ("seed", seed::check),
    ("work", work::check),
    ("stop", stop::check),
    ("overflow", overflow::check),
    ("latency", latency::check),
    ("kill", kill::check),
    ("mount", mount::check),
];
