//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a condition may take to come true; waited out by failures alone.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions, of which some cost nothing: who is asked needs the processor.
const BREATH: Duration = Duration::from_millis(1);

/// Asks `question` again and again until it has an answer.
///
/// # Panics
/// After two minutes, with `what` was waited for.
pub fn wait_for<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(BREATH);
    }
}
