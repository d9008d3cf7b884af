//! What was found, and how it is said: one report a check, a verdict over all. Plain data and text of 80 columns.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Columns of a line for people.
const WIDTH: usize = 80;
/// Where the text of a check begins.
const INDENT: usize = 18;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As promised.
    Passed,
    /// There are differences.
    Failed,
    /// It could not be tried here.
    Skipped,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
        }
    }
}

/// What one check came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// A word for it.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done and seen, or why it was skipped.
    pub said: String,
    /// The same in figures; units stand last in the names.
    pub facts: Map<String, Value>,
    /// What is wrong, one line each.
    pub differences: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Lines for people, each ended.
    #[must_use]
    pub fn text(&self) -> String {
        let mark = match self.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        let mut text = wrapped(&format!("{mark:<8}{:<10}", self.name), &self.said);
        for difference in &self.differences {
            // Not wrapped: whoever looks into it copies them.
            text.push_str(&format!("  {difference}\n"));
        }
        text
    }

    /// One object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"check": self.name, "outcome": self.outcome.word(), "said": self.said, "facts": self.facts,
            "differences": self.differences, "took_ms": milliseconds(self.took)})
    }
}

/// What was done and found in all.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The file system, as mount(8) names it.
    pub file_system: String,
    /// Release of the kernel.
    pub kernel: String,
    /// By what it was watched.
    pub backend: String,
    /// What repeats the work.
    pub seed: u64,
    /// Judgements of the whole tree and single expectations.
    pub checks: u64,
    /// Those that came out right.
    pub passed: u64,
    /// Checks that could not be tried here, by name.
    pub skipped: Vec<&'static str>,
    /// The check that failed first; those after it were not made.
    pub failed: Option<&'static str>,
    /// Changes made.
    pub operations: u64,
    /// Times the program was killed.
    pub kills: u64,
    /// Times it was stopped and let go on.
    pub stops: u64,
    /// Times a queue was made to run over.
    pub overflows: u64,
    /// Where folder and state were left.
    pub kept: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Verdict {
    /// Whether everything that could be tried came out right.
    #[must_use]
    pub fn proven(&self) -> bool {
        self.failed.is_none() && self.checks == self.passed && self.checks > 0
    }

    /// The last words for people, each line ended.
    #[must_use]
    pub fn text(&self) -> String {
        let short = self.kernel.split(['-', '+']).next().unwrap_or_default();
        let on = format!("on {} by {} (Linux {short})", self.file_system, self.backend);
        let counts = format!("{} of {} checks", count(self.passed), count(self.checks));
        let work = format!(
            "{} operations, {}, {}, {}",
            count(self.operations),
            many(self.kills, "kill"),
            many(self.stops, "stop"),
            many(self.overflows, "overflow")
        );
        let mut text = match self.failed {
            None if self.proven() => wrapped("", &format!("proven {on}: {counts}; {work}: nothing missed")),
            None => wrapped("", &format!("not proven {on}: {counts}; {work}")),
            Some(name) => wrapped(
                "",
                &format!(
                    "not proven {on}: {counts}; {work}; the check `{name}` failed, and what follows it was not \
                     made; --seed {} repeats the work",
                    self.seed
                ),
            ),
        };
        if !self.skipped.is_empty() {
            text.push_str(&wrapped("", &format!("not tried here: {}", self.skipped.join(", "))));
        }
        for path in &self.kept {
            text.push_str(&format!("kept: {path}\n"));
        }
        text
    }

    /// One object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"verdict": if self.proven() { "proven" } else { "not proven" }, "file_system": self.file_system,
            "kernel": self.kernel, "backend": self.backend, "seed": self.seed, "checks": self.checks,
            "passed": self.passed, "failed": self.failed, "skipped": self.skipped, "operations": self.operations,
            "kills": self.kills, "stops": self.stops, "overflows": self.overflows, "kept": self.kept,
            "took_ms": milliseconds(self.took)})
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `1 kill`, `2 kills`.
pub(crate) fn many(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1,234`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `head` and then `text`, in lines of at most [`WIDTH`] columns unless a word is longer; all but the first are indented.
fn wrapped(head: &str, text: &str) -> String {
    let indent = if head.is_empty() { 2 } else { INDENT };
    let mut all = String::new();
    let mut line = head.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            all.push_str(line.trim_end());
            all.push('\n');
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    all.push_str(line.trim_end());
    all.push('\n');
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            file_system: "ext4".into(),
            kernel: "6.18.1-generic".into(),
            backend: "fanotify".into(),
            checks: 12,
            passed: 12,
            operations: 48_211,
            kills: 31,
            stops: 1,
            ..Verdict::default()
        }
    }

    #[test]
    fn a_verdict_says_on_what_and_after_what() {
        let said = verdict();
        let wanted = "proven on ext4 by fanotify (Linux 6.18.1): 12 of 12 checks; 48,211 operations,\n  31 kills, 1 stop, 0 overflows: nothing missed\n";
        assert_eq!(said.text(), wanted);
        assert_eq!(said.json()["verdict"], "proven");
        let failed = Verdict { passed: 11, failed: Some("kills"), seed: 7, ..verdict() };
        assert!(
            failed.text().starts_with("not proven") && failed.text().contains("--seed 7"),
            "{}",
            failed.text()
        );
        assert_eq!(failed.json()["verdict"], "not proven");
        assert!(!Verdict { checks: 0, passed: 0, ..verdict() }.proven(), "nothing tried is nothing proven");
    }

    #[test]
    fn lines_fit_and_differences_are_whole() {
        let report = Report {
            name: "work",
            outcome: Outcome::Failed,
            said: "word ".repeat(40).trim().to_owned(),
            facts: Map::new(),
            differences: vec!["x".repeat(200)],
            took: Duration::ZERO,
        };
        let text = report.text();
        assert!(text.starts_with("FAILED  work      word word"));
        assert!(text.lines().filter(|line| !line.contains('x')).all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains(&"x".repeat(200)));
        assert_eq!(report.json()["outcome"], "failed");
    }
}
