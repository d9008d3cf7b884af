//! `consume`: reads what indexers publish from a broker, until told to leave, and answers from what it kept. Needs no index.

mod alert;
mod batches;
mod rehash;

use std::path::PathBuf;

use consumer::Secret;
use publish::{Arrived, Fatal, Handler, Origins, Settings, Stop, Subscription, Verdict, subscribe};
use record::wire::v1::bytes_of;
use replica::{Event, Incoming, Listed, Replica, ReplicaError, Set, SetChange, Source};
use serde::Serialize;

use crate::cli::{At, Broker, Consume};
use crate::commands::{Context, interrupt};
use crate::failure::{Failure, Outcome};
use crate::render::{Out, bytes, count, quoted};

/// Messages that are here and not acknowledged: those of a transaction.
const PREFETCH: u16 = 200;

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

/// Reads, or answers.
pub(crate) fn run(context: &Context, what: &Consume) -> Result<Outcome, Failure> {
    if let Consume::Rehash { at, host, map, threads } = what {
        return rehash::run(settings(context, at)?, host, map, *threads);
    }
    let folder = context.state_path()?;
    match what {
        Consume::Snapshot { list: true, .. } => entries(context, &Replica::existing(&folder)?),
        Consume::Snapshot { status: true, .. } => status(context, &Replica::existing(&folder)?),
        Consume::Snapshot { broker, .. } => keep(context, broker, folder, None),
        Consume::Duplicates { list: true, top, min_size, .. } => {
            sets(context, &Replica::existing(&folder)?, (*min_size, top.unwrap_or(usize::MAX)))
        }
        Consume::Alert { broker } => alert::run(context, broker, &folder),
        Consume::Duplicates { broker, min_size, .. } => keep(context, broker, folder, Some(*min_size)),
        Consume::Rehash { .. } => Ok(Outcome::Done),
    }
}

/// Keeps a replica; `tell` says that sets of files so large are told of.
fn keep(context: &Context, broker: &Broker, folder: PathBuf, tell: Option<u64>) -> Result<Outcome, Failure> {
    let settings = settings(context, &broker.at)?;
    let subscription = subscription(&settings, broker, "replica")?;
    let mut keeper =
        Keeper { replica: Replica::open(&folder)?, out: Out::stdout(), json: context.global.json, tell };
    let stop = Stop::default();
    let asked = stop.clone();
    interrupt::at_first(move || asked.stop())?;
    subscribe(&settings, &subscription, &mut keeper, &stop)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Outcome::Done)
}

/// The queue of those who need the order of all that is published, called `word` where it is not named.
fn subscription(settings: &Settings, broker: &Broker, word: &str) -> Result<Subscription, Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let queue = broker.queue.clone().unwrap_or_else(|| format!("{}.{word}.{host}", settings.exchange));
    if queue.is_empty() || queue.len() > 200 || queue.chars().any(char::is_control) {
        return Err(Failure::Usage("--queue: write a name of 1 to 200 bytes".to_owned()));
    }
    settings.check().map_err(|error| Failure::Usage(error.to_string()))?;
    let from = Origins::Records(vec!["fs.v1.#".to_owned()]);
    Ok(Subscription { queue, from, prefetch: PREFETCH, one_reader: true })
}

fn settings(context: &Context, broker: &At) -> Result<Settings, Failure> {
    let mut settings = match (&broker.amqp, &context.file.relay) {
        (None, None) => {
            return Err(Failure::Usage(
                "no broker; name it by --amqp URL, INDEXER_AMQP_URL, or [amqp] in the configuration"
                    .to_owned(),
            ));
        }
        (url, Some(settings)) => {
            let url = url.as_ref().map_or_else(|| settings.url.clone(), |url| Secret::Plain(url.clone()));
            Settings { url, ..settings.clone() }
        }
        (Some(url), None) => Settings::new(Secret::Plain(url.clone())),
    };
    if let Some(exchange) = &broker.exchange {
        settings.exchange.clone_from(exchange);
    }
    Ok(settings)
}

/// Applies what arrives, and tells of sets.
struct Keeper {
    replica: Replica,
    out: Out,
    json: bool,
    tell: Option<u64>,
}

impl Handler for Keeper {
    fn handle(&mut self, messages: &[Arrived]) -> Result<Vec<Verdict>, Fatal> {
        let Keeper { replica, out, json, tell } = self;
        let mut tell = |change: &SetChange| match tell {
            // Of a set that dissolved nobody may be left who knows the size.
            Some(least) if change.set.size >= *least || change.set.size == 0 => {
                if *json {
                    out.json(change)?;
                } else {
                    out.line(line(change).as_bytes())?;
                }
                out.flush()
            }
            _ => Ok(()),
        };
        batches::each(messages, &mut |some| {
            let incoming: Vec<Incoming<'_>> =
                some.iter().map(|one| Incoming { id: &one.id, key: &one.key, body: &one.body }).collect();
            replica.apply(&incoming, &mut tell).map_err(|error| Fatal(error.to_string()))
        })
    }
}

fn shown(copy: &replica::Copy) -> String {
    let path = bytes_of(&copy.path, copy.path_raw.as_deref()).unwrap_or_default();
    let path = if path.is_empty() { "(no path yet)".into() } else { quoted(&path) };
    format!("{}:{path}", copy.host)
}

/// A set as it came, in a line.
fn line(change: &SetChange) -> String {
    let set = &change.set;
    let copies: Vec<String> = set.files.iter().map(shown).collect();
    let more = set.copies.saturating_sub(set.files.len() as u64);
    let more = if more > 0 { format!(" and {} more", count(more)) } else { String::new() };
    match change.event {
        Event::Dissolved if copies.is_empty() => format!("dissolved: {}, no copy is left", set.digest),
        Event::Dissolved => format!("dissolved: {} is left alone", copies.join(", ")),
        Event::Came | Event::Changed => format!(
            "{} copies of {}, {} wasted: {}{more}",
            count(set.copies),
            bytes(set.size),
            bytes(set.wasted),
            copies.join(", ")
        ),
    }
}

/// Prints the entries.
fn entries(context: &Context, replica: &Replica) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    let mut any = false;
    replica.list(&mut |listed: &Listed| {
        any = true;
        if context.global.json {
            out.json(listed)?;
        } else {
            let path = bytes_of(&listed.entry.path, listed.entry.path_raw.as_deref()).unwrap_or_default();
            out.line(format!("{}:{}", listed.host, quoted(&path)).as_bytes())?;
        }
        Ok::<bool, Failure>(true)
    })?;
    out.flush()?;
    Ok(Outcome::found(any))
}

/// Prints the sets.
fn sets(context: &Context, replica: &Replica, which: (u64, usize)) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    let (mut found, mut wasted) = (0, 0);
    replica.list_sets(which, &mut |set: &Set| {
        found += 1;
        wasted += set.wasted;
        if context.global.json {
            out.json(set)?;
            return Ok::<(), Failure>(());
        }
        let (copies, size) = (count(set.copies), bytes(set.size));
        out.line(format!("{copies} copies of {size}, {} wasted", bytes(set.wasted)).as_bytes())?;
        for copy in &set.files {
            out.line(format!("  {}", shown(copy)).as_bytes())?;
        }
        let more = set.copies.saturating_sub(set.files.len() as u64);
        if more > 0 {
            out.line(format!("  and {} more", count(more)).as_bytes())?;
        }
        Ok(())
    })?;
    out.flush()?;
    if !context.global.json && !context.global.quiet {
        eprintln!("{} sets, {} wasted", count(found), bytes(wasted));
    }
    Ok(Outcome::found(found > 0))
}

/// A source for machines.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    source: &'a Source,
    complete: bool,
    missing: Option<String>,
}

/// Prints what is known of which indexer.
fn status(context: &Context, replica: &Replica) -> Result<Outcome, Failure> {
    let mut out = Out::stdout();
    for source in replica.sources().values() {
        let (complete, missing) = (source.is_complete() && !source.stale, source.missing());
        if context.global.json {
            out.json(&Told { source, complete, missing })?;
            continue;
        }
        out.text(&text(source, missing))?;
    }
    out.flush()?;
    if replica.sources().is_empty() && !context.global.json {
        eprintln!("no indexer is known yet; `indexer consume snapshot` listens to those that publish");
    }
    Ok(Outcome::found(!replica.sources().is_empty()))
}

/// A head line, and one a root; long paths stand last.
fn text(source: &Source, missing: Option<String>) -> String {
    let epoch = source.epoch.get(..8).unwrap_or(&source.epoch);
    let mut text = format!(
        "{}  epoch {epoch}…  {} entries  seq {}\n",
        source.name,
        count(source.entries),
        count(source.watermark)
    );
    for root in source.roots.values() {
        let state = match (root.whole, root.replay) {
            (_, Some(replay)) => format!("replay as of {}: {} came", count(replay.as_of), count(replay.came)),
            (Some(whole), None) if root.is_whole() => format!("whole as of {}", count(whole)),
            _ => "not whole".to_owned(),
        };
        text.push_str(&format!("  {state}  {}\n", quoted(root.path.as_bytes())));
    }
    match missing {
        Some(why) => {
            text.push_str(&format!("  incomplete: {}\n", quoted(why.as_bytes())));
            text.push_str(&format!("  on {}: indexer replay --as-reads\n", source.host));
        }
        None => text.push_str("  complete\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use replica::{Copy, Root};

    #[test]
    fn what_is_missing_is_said_and_what_to_do() {
        let mut source = Source {
            name: "/indexer/nas".into(),
            host: "nas".into(),
            epoch: "0123456789abcdef".repeat(2),
            watermark: 1_234,
            ..Source::default()
        };
        source.roots.insert(1, Root { path: "/srv".into(), ..Root::default() });
        let told = text(&source, source.missing());
        assert!(told.contains("seq 1,234") && told.contains("not whole  /srv"), "{told}");
        assert!(told.contains("on nas: indexer replay --as-reads"), "{told}");
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
        source.roots.insert(1, Root { path: "/srv".into(), whole: Some(7), ..Root::default() });
        assert!(text(&source, source.missing()).ends_with("complete\n"));
    }

    #[test]
    fn a_set_is_a_line_that_cannot_lie() {
        let copy = |host: &str, path: &str| Copy { host: host.into(), path: path.into(), path_raw: None };
        let files = vec![copy("nas", "/srv/a"), copy("pc", "/home/b\nc")];
        let set = Set { digest: "blake3:00".into(), size: 2_048, copies: 5, wasted: 8_192, files };
        let change = SetChange { event: Event::Came, were: 0, set };
        assert_eq!(
            line(&change),
            r"5 copies of 2.0 KiB, 8.0 KiB wasted: nas:/srv/a, pc:$'/home/b\nc' and 3 more"
        );
        let one = Set { copies: 1, wasted: 0, files: vec![copy("nas", "/srv/a")], ..change.set.clone() };
        let change = SetChange { event: Event::Dissolved, were: 2, set: one };
        assert_eq!(line(&change), "dissolved: nas:/srv/a is left alone");
    }
}
