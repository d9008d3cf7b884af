//! `replay`: what the index holds, to the message broker. Knows neither what is in a message nor how it gets there.

use std::path::Path;
use std::time::{Duration, Instant};

use index::{Index, Published};
use publish::{Letter, PublishError, Publisher, Stopper};
use record::Time;
use serde::Serialize;

use crate::commands::progress::Shown;
use crate::commands::{Answer, Context, Source, interrupt};
use crate::engine::status::Progress;
use crate::failure::{Failure, Outcome};
use crate::query::{PathPair, ReplayEnded, ReplayHead, ReplayLetter, ReplayLine, ReplayRequest};
use crate::render::{Out, count};
use crate::state::when_free;

/// Messages between two looks at the progress.
const TICK: u64 = 256;

/// What `--json` says at the end.
#[derive(Serialize)]
struct Summary<'a> {
    epoch: &'a str,
    as_of: u64,
    roots: &'a [ReplayEnded],
    /// Entries told, of all roots.
    entries: u64,
    /// Messages that the broker confirmed.
    messages: u64,
    connections: u64,
    took_ms: u64,
}

/// Sends all of it; the broker has it when this returns.
pub(crate) fn run(
    context: &Context,
    root: Option<&Path>,
    as_reads: bool,
    patience: Duration,
) -> Result<Outcome, Failure> {
    if !as_reads {
        return Err(Failure::Usage(
            "replay sends entries as they are now, and has no other form: write `indexer replay --as-reads`"
                .to_owned(),
        ));
    }
    let settings = context.file.relay.clone().ok_or_else(|| {
        Failure::Usage(
            "no broker is configured: write [amqp] with a url into the configuration file, or set INDEXER_AMQP_URL"
                .to_owned(),
        )
    })?;
    crate::relaying::check(Some(&settings))?;
    let mut request = ReplayRequest::default();
    if let Some(root) = root {
        // A root is stored by its real path; one that is gone is known by how it is written.
        let spelling = crate::paths::spellings(root)?.pop().unwrap_or_default();
        let pair = PathPair::new(&spelling);
        (request.root, request.root_raw) = (Some(pair.path), pair.raw);
    }
    vouch(context)?;
    let mut source = Source::open(context)?;
    let stopper = Stopper::default();
    let asked = stopper.clone();
    interrupt::at_first(move || asked.stop())?;
    let began = Instant::now();
    // Before the index is read: a reader that waits for a broker keeps old pages alive.
    let publisher =
        Publisher::open(settings, patience, &stopper).map_err(|error| incomplete(failure(error), 0))?;
    let shown = Shown::new(context.global.quiet);
    let mut sending = Sending { publisher, shown, head: None, ended: Vec::new(), entries: 0, sent: 0 };
    let done = source.replay(&request, &mut |answer| sending.take(answer)).and_then(|()| sending.finish());
    sending.shown.clear();
    let published = done.map_err(|why| incomplete(why, sending.sent))?;
    let Some(head) = sending.head else { return Ok(Outcome::Nothing) };
    let mut out = Out::stdout();
    if context.global.json {
        out.json(&Summary {
            epoch: &head.epoch,
            as_of: head.as_of,
            roots: &sending.ended,
            entries: sending.entries,
            messages: published.confirmed,
            connections: published.connections,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })?;
    } else if !context.global.quiet {
        let (entries, as_of) = (count(sending.entries), count(head.as_of));
        out.text(&format!("replayed: {entries} entries as of seq {as_of}; the broker has all of them\n"))?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Without a daemon: makes sure that the epoch is one whose ids may be given, as a daemon does at its start.
pub(super) fn vouch(context: &Context) -> Result<(), Failure> {
    let state = context.state()?;
    if Source::daemon(&state)?.is_some() {
        return Ok(());
    }
    let _lock = state.lock()?;
    let settings = context.settings()?.index();
    let index = when_free(|| Index::open(&state.index_path(), settings))?;
    Published::open(&index)?;
    Ok(())
}

/// What was sent so far.
struct Sending {
    publisher: Publisher,
    shown: Shown,
    head: Option<ReplayHead>,
    ended: Vec<ReplayEnded>,
    entries: u64,
    sent: u64,
}

impl Sending {
    fn take(&mut self, answer: Answer<'_, ReplayLine>) -> Result<bool, Failure> {
        let line = match answer {
            Answer::Line(line) => serde_json::from_slice(line)
                .map_err(|error| Failure::doing("read the daemon's answer", error))?,
            Answer::Value(line) => line,
            Answer::Pause => return Ok(true),
        };
        match line {
            ReplayLine::Head(head) => self.head = Some(head),
            ReplayLine::Letter(letter) => self.send(letter)?,
            ReplayLine::Ended(ended) => {
                self.entries += ended.entries;
                self.ended.push(ended);
            }
        }
        Ok(true)
    }

    fn send(&mut self, letter: ReplayLetter) -> Result<(), Failure> {
        if self.sent.is_multiple_of(TICK) {
            self.show();
        }
        // All before the end has to be there, or a root would be told to have ended that has not.
        if letter.verb == "replay_ended" {
            self.publisher.finish().map_err(failure)?;
        }
        let ReplayLetter { key, id, source, verb, subject, seen_ns, body } = letter;
        let seen = Time(i128::from(seen_ns));
        let letter = Letter { key, id, source, verb, subject, seen, body: body.into_bytes(), batch: None };
        self.publisher.send(letter).map_err(failure)?;
        self.sent += 1;
        Ok(())
    }

    fn show(&self) {
        let expected = self.head.as_ref().map_or(0, |head| head.entries).max(1);
        let percent = (self.sent as f64 / expected as f64 * 100.0).min(99.0);
        let progress = Progress { percent, files_found: self.sent, ..Progress::default() };
        self.shown.hook()(&progress, "replaying");
    }

    /// Waits until all has arrived.
    fn finish(&mut self) -> Result<publish::Published, Failure> {
        let wanted = self.head.as_ref().map_or(1, |head| head.roots);
        if self.ended.len() != wanted {
            return Err(Failure::Failed(format!(
                "the answer ended after {} of {wanted} roots",
                self.ended.len()
            )));
        }
        self.publisher.finish().map_err(failure)
    }
}

fn failure(error: PublishError) -> Failure {
    match error {
        PublishError::Settings(error) => Failure::Usage(error.to_string()),
        PublishError::Stopped => Failure::Failed("it was stopped".to_owned()),
        other => Failure::Failed(other.to_string()),
    }
}

/// What has to be known of a replay that did not end.
fn incomplete(why: Failure, sent: u64) -> Failure {
    match why {
        Failure::Failed(why) if sent == 0 => Failure::Failed(format!("nothing was replayed: {why}")),
        Failure::Failed(why) => Failure::Failed(format!(
            "the replay is incomplete: {why}. {} messages were sent, and no end to them: subscribers keep what they have; run it \
             again",
            count(sent)
        )),
        other => other,
    }
}
