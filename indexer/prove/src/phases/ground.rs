//! `ground`: what this file system is and can do, and by what the program watches it.

use std::fs;

use crate::Trouble;
use crate::ground::Ground;
use crate::phases::Said;
use crate::trial::Trial;
use crate::verdict::count;

/// Surveys the folder, then asks a daemon on an empty tree which means it took, and why.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let survey = Ground::survey(trial.folder.path());
    trial.ground = survey.map_err(Trouble::cannot("try out what the file system can do"))?;
    let ground = trial.ground.clone();
    let tree = trial.tree();
    fs::create_dir(&tree).map_err(Trouble::cannot("make the tree"))?;
    let mut indexer = trial.indexer("first", &tree)?;
    indexer.start()?;
    let status = indexer.status()?;
    let root = &status["roots"][0];
    let word = |field: &str| root[field].as_str().unwrap_or_default().to_owned();
    trial.backend = word("backend");
    trial.expect(!root["backend"].as_str().unwrap_or_default().is_empty(), || {
        format!("the status names no means of watching: {status}")
    });
    let reason = word("reason");
    for (name, text) in [
        ("file_system", &ground.kind),
        ("source", &ground.source),
        ("options", &ground.options),
        ("kernel", &ground.kernel),
        ("backend", &trial.backend.clone()),
        ("reason", &reason),
    ] {
        trial.fact(name, text.as_str());
    }
    trial.fact("case_sensitive", ground.case_sensitive);
    trial.fact("births", ground.births);
    trial.fact("resolution_ns", ground.resolution_ns);
    trial.fact("tick_ns", ground.tick_ns);
    trial.fact("refuses", ground.refuses.clone());
    let mut said = vec![
        format!("{} on {}, Linux {}", ground.kind, ground.source, ground.kernel),
        format!("watched by {}: {reason}", trial.backend),
        (if ground.births { "keeps birth times" } else { "keeps no birth times" }).to_owned(),
        format!("times to {}, steps of {}", time(ground.resolution_ns), time(ground.tick_ns)),
    ];
    if !ground.case_sensitive {
        said.push("upper and lower case are one".to_owned());
    }
    if !ground.refuses.is_empty() {
        said.push(format!("refuses {}", ground.refuses.join(", ")));
    }
    Ok(Said::Done(said.join("; ")))
}

fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", count(ns / 1_000)),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..10_000_000_000 => format!("{} s", ns / 1_000_000_000),
        _ => "longer than was waited for".to_owned(),
    }
}
