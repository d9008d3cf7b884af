//! `changes`: records as lines, and the cursors of those who read them.

use index::Edits;
use jiff::tz::TimeZone;
use record::{Seq, Time};

use crate::api::{ChangeView, Client};
use crate::cli::Changes;
use crate::commands::{Answer, Context, Source};
use crate::failure::{Failure, Outcome};
use crate::query::{ChangesRequest, ConsumerRequest, PathPair};
use crate::render::{Out, count, local_time, quoted};
use crate::state::when_free;
use crate::values::{self, SinceArg};

/// Prints records; ends with 1 when there are none.
pub(crate) fn run(context: &Context, flags: &Changes) -> Result<Outcome, Failure> {
    let zone = TimeZone::system();
    let mut request = request(flags, Time::now(), &zone)?;
    if flags.forget {
        return forget(context, flags.consumer.as_deref().unwrap_or_default());
    }
    let mut source = Source::open(context)?;
    if flags.follow && matches!(source, Source::Local(_)) {
        return Err(Failure::Failed(
            "--follow needs a running daemon, and none runs on this state folder; start `indexer watch`"
                .into(),
        ));
    }
    if let Some(root) = &flags.root {
        // A root is stored by its real path; one that is gone is known by how it is written.
        let spelling = crate::paths::spellings(root)?.pop().unwrap_or_default();
        let pair = PathPair::new(&spelling);
        (request.root, request.root_raw) = (Some(pair.path), pair.raw);
    }
    let mut acks = match (&source, &flags.consumer) {
        (Source::Daemon(client), Some(consumer)) if flags.ack => Some((client.another()?, consumer.clone())),
        _ => None,
    };
    let mut out = Out::stdout();
    let mut printed: Option<u64> = None;
    let mut confirmed = 0;
    source.changes(&request, &mut |answer| {
        if let Answer::Pause = answer {
            // A cursor moves over what was really handed over.
            out.flush()?;
            if let (Some((client, consumer)), Some(seq)) = (&mut acks, printed.filter(|seq| *seq > confirmed))
            {
                confirm(client, consumer, seq)?;
                confirmed = seq;
            }
            return Ok(true);
        }
        let change = match &answer {
            Answer::Line(line) => ChangeView::read(line)?,
            Answer::Value(change) => ChangeView::of(change.clone()),
            Answer::Pause => return Ok(true),
        };
        printed = Some(change.seq);
        if context.global.json {
            answer.print(&mut out)?;
        } else {
            out.line(text(&change, &zone)?.as_bytes())?;
        }
        Ok(true)
    })?;
    out.flush()?;
    match (acks, &flags.consumer, printed) {
        (Some((mut client, consumer)), _, Some(seq)) if seq > confirmed => {
            confirm(&mut client, &consumer, seq)?;
        }
        (None, Some(consumer), Some(seq)) if flags.ack => {
            drop(source);
            write(context, Edits { cursors: vec![(consumer.clone(), Seq(seq))], ..Edits::default() })?;
        }
        _ => {}
    }
    Ok(Outcome::found(printed.is_some()))
}

fn request(flags: &Changes, now: Time, zone: &TimeZone) -> Result<ChangesRequest, Failure> {
    let since =
        flags.since.as_deref().map(|text| values::since(text, zone)).transpose().map_err(Failure::Usage)?;
    let (mut seq, mut time) = (None, None);
    match since {
        None => {}
        Some(SinceArg::Seq(after)) => seq = Some(after),
        Some(SinceArg::Time(at)) => time = Some(at),
        Some(SinceArg::Age(age)) => time = Some(values::before(now, age)),
    }
    Ok(ChangesRequest {
        since: seq,
        since_ns: time
            .map(|time| i64::try_from(time.0).unwrap_or(if time.0 < 0 { i64::MIN } else { i64::MAX })),
        root: None,
        root_raw: None,
        consumer: flags.consumer.clone(),
        limit: flags.limit,
        follow: flags.follow.then_some(true),
    })
}

fn confirm(client: &mut Client, consumer: &str, seq: u64) -> Result<(), Failure> {
    client.post("/v1/confirm", &ConsumerRequest { consumer: consumer.to_owned(), seq: Some(seq) })
}

fn forget(context: &Context, consumer: &str) -> Result<Outcome, Failure> {
    if let Some(mut client) = Source::daemon(&context.state()?)? {
        let request = ConsumerRequest { consumer: consumer.to_owned(), seq: None };
        client.post::<()>("/v1/forget", &request)?;
    } else {
        write(context, Edits { forget_cursors: vec![consumer.to_owned()], ..Edits::default() })?;
    }
    Ok(Outcome::Done)
}

/// Writes cursors without a daemon.
fn write(context: &Context, edits: Edits) -> Result<(), Failure> {
    let state = context.state()?;
    let _lock = state.lock()?;
    let settings = context.settings()?.index();
    when_free(|| index::Index::open(&state.index_path(), settings))?.commit(edits)?;
    Ok(())
}

/// `1234  2026-11-20 10:00:00  renamed   /new  (was /old)`
fn text(change: &ChangeView, zone: &TimeZone) -> Result<String, Failure> {
    let path = change.path()?;
    let time = local_time(change.seen_ns, zone);
    let mut line = format!("{:>8}  {time}  {:<9}  {}", change.seq, change.op, quoted(&path));
    if let Some(old) = change.old_path()? {
        line.push_str(&format!("  (was {})", quoted(&old)));
    }
    if let Some(why) = &change.why {
        line.push_str(&format!("  ({})", quoted(why.as_bytes())));
    }
    if let Some(entries) = change.entries {
        line.push_str(&format!("  ({} entries)", count(entries)));
    }
    if !change.complete {
        line.push_str("  (writing)");
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reads_as_a_sentence() {
        let line = br#"{"seq":7,"op":"renamed","path":"/n\nw","old_path":"/old","root":"/","seen_ns":0,"how":"sweep","complete":false}"#;
        let change = ChangeView::read(line).unwrap();
        let text = text(&change, &TimeZone::UTC).unwrap();
        assert_eq!(text, "       7  1970-01-01 00:00:00  renamed    $'/n\\nw'  (was /old)  (writing)");
    }

    #[test]
    fn since_is_a_seq_or_a_time() {
        let flags = |since: &str| Changes {
            since: Some(since.into()),
            follow: false,
            root: None,
            consumer: None,
            ack: false,
            forget: false,
            limit: None,
        };
        let of = |text: &str| request(&flags(text), Time(7_200_000_000_001), &TimeZone::UTC);
        assert_eq!(of("12").unwrap().since, Some(12));
        assert_eq!(of("2h").unwrap().since_ns, Some(1));
        assert_eq!(of("1970-01-01").unwrap().since_ns, Some(0));
        assert!(matches!(of("never"), Err(Failure::Usage(_))));
    }
}
