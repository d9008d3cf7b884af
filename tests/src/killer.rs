//! Runs of one command that are killed, each at another moment of the time that it takes.

use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Rng;

/// Kills runs of a command, and counts those that died of it.
#[derive(Debug)]
pub struct Killer {
    rng: Rng,
    /// How long a run takes that is left alone.
    whole: Duration,
    died: u32,
}

impl Killer {
    /// Of a command that took `whole` once; the moments are those of `seed`.
    #[must_use]
    pub fn new(seed: u64, whole: Duration) -> Killer {
        Killer { rng: Rng::new(seed), whole, died: 0 }
    }

    /// Runs `command` with its output thrown away and sends it `signal`, if it is not over before; how it ended.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run(&mut self, mut command: Command, signal: Signal) -> ExitStatus {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let (began, after) = (Instant::now(), self.whole.mul_f64(self.rng.below(1000) as f64 / 900.0));
        let ended = loop {
            if let Some(ended) = child.try_wait().expect("a child of ours can be waited for") {
                // What was measured was slower than most, as the first run on a busy machine may be.
                self.whole = self.whole.min(began.elapsed());
                break ended;
            }
            if began.elapsed() >= after {
                kill_process(Pid::from_child(&child), signal).expect("it is not waited for yet");
                break child.wait().expect("a child of ours can be waited for");
            }
            std::thread::yield_now();
        };
        self.died += u32::from(!ended.success());
        ended
    }

    /// How many did not come to their end.
    #[must_use]
    pub fn died(&self) -> u32 {
        self.died
    }
}
