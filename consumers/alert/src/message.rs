//! One message: what is handed to a command or a webhook as JSON, and the key by which a second delivery is known.
//!
//! Version 1. Keys are only added; docs/alerts.md describes them.

use std::time::Duration;

use consumer::Origin;
use record::wire::v1::{self, text_and_raw};
use record::{Body, Record, Seq, Time};
use serde::Serialize;
use serde_json::Value;

use crate::fold::{Fold, length};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A record, and the word by which it was looked for.
    Record(Box<Record>, &'static str),
    /// Many records at once.
    Summary(Box<Fold>),
    /// The index is behind, or no longer.
    Lag {
        /// When that was found.
        at: Time,
        /// By how long.
        lag: Duration,
        /// What the rule allows.
        threshold: Duration,
        /// It is no longer.
        over: bool,
    },
    /// Nothing happened: somebody tries whether it arrives.
    Sample {
        /// When.
        at: Time,
        /// A word that the rule looks for.
        word: String,
    },
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The rule.
    pub(crate) rule: String,
    /// Equal for every attempt at the same message, and for no other.
    pub(crate) key: String,
    /// One line for people.
    pub(crate) text: String,
    /// JSON, one object, one line.
    pub(crate) body: Vec<u8>,
}

/// What all messages have.
#[derive(Serialize)]
struct Head<'a> {
    rule: &'a str,
    key: &'a str,
    epoch: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct OfRecord<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    matched: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(flatten)]
    change: v1::Change,
}

#[derive(Serialize)]
struct OfOther<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    op: &'a str,
    #[serde(flatten)]
    more: Value,
}

impl Message {
    /// The first record that it tells of; `None` when it tells of none.
    pub(crate) fn first(&self) -> Option<Seq> {
        match self {
            Message::Record(record, _) => Some(record.seq),
            Message::Summary(fold) => Some(fold.first),
            Message::Lag { .. } | Message::Sample { .. } => None,
        }
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<Seq> {
        match self {
            Message::Summary(fold) => Some(fold.last),
            other => other.first(),
        }
    }

    /// How many records it tells of, those that nobody looked at among them.
    pub(crate) fn records(&self) -> u64 {
        match self {
            Message::Record(..) => 1,
            Message::Summary(fold) => fold.count + fold.missed,
            Message::Lag { .. } | Message::Sample { .. } => 0,
        }
    }

    /// The records whose paths it names.
    pub(crate) fn named(&self) -> &[Seq] {
        match self {
            Message::Record(record, _) => std::slice::from_ref(&record.seq),
            Message::Summary(fold) => &fold.seqs,
            Message::Lag { .. } | Message::Sample { .. } => &[],
        }
    }

    /// What is sent of it. `root` is the path of the record's root; `origins` say where those of [`Message::named`] were made, and are
    /// none where that is here.
    pub(crate) fn letter(&self, rule: &str, epoch: &str, root: &[u8], origins: &[Origin]) -> Letter {
        let key = self.key(rule, epoch);
        let first = origins.first();
        let text = self.text(rule, first.map(|origin| origin.host.as_str()));
        let head = Head { rule, key: &key, epoch, text: &text };
        let body = match self {
            Message::Record(record, matched) => {
                let (host, origin) = (first.map(|first| &*first.host), first.map(|first| &*first.id));
                let change = v1::Change::new(record, root);
                serde_json::to_vec(&OfRecord { head, matched, host, origin, change })
            }
            Message::Summary(fold) => {
                let ns = |time: Option<Time>| time.and_then(|time| i64::try_from(time.0).ok());
                let paths: Vec<String> = fold.paths.iter().map(|path| text_and_raw(path).0).collect();
                let mut more = serde_json::json!({
                    "more": fold.count, "missed": fold.missed, "ops": fold.words, "paths": paths,
                    "first_seq": fold.first.0, "last_seq": fold.last.0, "from_ns": ns(fold.from), "to_ns": ns(fold.to),
                });
                if !origins.is_empty() {
                    more["hosts"] = origins.iter().map(|origin| origin.host.as_str()).collect();
                }
                serde_json::to_vec(&OfOther { head, op: "summary", more })
            }
            Message::Lag { at, lag, threshold, over } => {
                let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let more = serde_json::json!({
                    "seen_ns": i64::try_from(at.0).ok(), "lag_ms": ms(lag), "threshold_ms": ms(threshold), "over": over,
                });
                serde_json::to_vec(&OfOther { head, op: "lag", more })
            }
            Message::Sample { at, word } => {
                let more = serde_json::json!({
                    "seen_ns": i64::try_from(at.0).ok(), "matched": word, "path": "/sample", "sample": true,
                });
                serde_json::to_vec(&OfOther { head, op: "sample", more })
            }
        };
        // Texts and numbers do not fail to serialise; if they did, a message without its details is better than none.
        let body = body.unwrap_or_default();
        Letter { rule: rule.to_owned(), key, text, body }
    }

    fn key(&self, rule: &str, epoch: &str) -> String {
        match self {
            Message::Record(record, _) => format!("{epoch}/{}/{rule}", record.seq),
            Message::Summary(fold) => format!("{epoch}/{}-{}/{rule}", fold.first, fold.last),
            Message::Lag { at, over, .. } => {
                format!("{epoch}/lag-{}{}/{rule}", at.0, if *over { "-over" } else { "" })
            }
            Message::Sample { at, .. } => format!("{epoch}/sample-{}/{rule}", at.0),
        }
    }

    fn text(&self, rule: &str, host: Option<&str>) -> String {
        let on = host.map_or_else(String::new, |host| format!(" on {}", shown(host.as_bytes())));
        match self {
            Message::Record(record, matched) => format!("{rule}: {}{on}", sentence(record, matched)),
            Message::Summary(fold) => {
                let mut text = format!("{rule}:");
                if fold.count > 0 {
                    text.push_str(&format!(" {} more in the last {}", fold.count, length(fold.lasted())));
                    let words: Vec<String> =
                        fold.words.iter().map(|(word, count)| format!("{count} {word}")).collect();
                    text.push_str(&format!(" ({})", words.join(", ")));
                }
                if let Some(first) = fold.paths.first() {
                    text.push_str(&format!(", as {}{on}", shown(first)));
                }
                if fold.missed > 0 {
                    text.push_str(&format!(
                        " {} records were not looked at: the journal no longer had them",
                        fold.missed
                    ));
                }
                text
            }
            Message::Lag { lag, over: false, .. } => {
                format!("{rule}: the index is {} behind", length(*lag))
            }
            Message::Lag { over: true, .. } => format!("{rule}: the index is no longer behind"),
            Message::Sample { word, .. } => {
                format!("{rule}: this is a sample; the rule looks for {word}, and nothing happened")
            }
        }
    }
}

fn sentence(record: &Record, matched: &str) -> String {
    let path = shown(path_of(record));
    match &record.body {
        Body::Change(change) => match &change.old_path {
            Some(old) => format!("{matched} {path} (was {})", shown(old)),
            None => format!("{matched} {path}"),
        },
        Body::Gap(gap) => format!("gap {path} ({})", shown(gap.why.as_bytes())),
        Body::RootLost { why, .. } => format!("root_lost {path} ({})", shown(why.as_bytes())),
        Body::RootFound { .. } | Body::Seeded(_) => format!("{matched} {path}"),
        Body::Duplicates(set) => match set.paths.get(1) {
            Some(other) => format!("{matched} {path} is {} ({} copies)", shown(other), set.copies),
            None => format!("{matched} {path} ({} copies)", set.copies),
        },
    }
}

/// The path that a record is about.
pub(crate) fn path_of(record: &Record) -> &[u8] {
    match &record.body {
        Body::Change(change) => &change.path,
        Body::Gap(gap) => &gap.scope,
        Body::RootLost { path, .. } | Body::RootFound { path } => path,
        Body::Seeded(seeded) => &seeded.path,
        Body::Duplicates(set) => set.paths.first().map_or(&[], |path| path),
    }
}

/// On one line, whatever is in it.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use record::{How, RootId};

    use super::*;

    fn lost(seq: u64, path: &[u8]) -> Record {
        let body = Body::RootLost { path: path.into(), why: "not\nmounted".into() };
        Record {
            seq: Seq(seq),
            seen: Time(i128::from(seq) * 1_000_000_000),
            how: How::Sweep,
            root: RootId(1),
            body,
        }
    }

    fn read(letter: &Letter) -> Value {
        assert!(!letter.body.contains(&b'\n'), "one line");
        serde_json::from_slice(&letter.body).unwrap()
    }

    #[test]
    fn a_record_is_itself_with_a_head() {
        let letter =
            Message::Record(Box::new(lost(5, b"/a\xff\n")), "root_lost").letter("r", "e0", b"/a", &[]);
        assert_eq!(letter.key, "e0/5/r");
        assert_eq!(letter.text, "r: root_lost /a\u{fffd}\\n (not\\nmounted)");
        let json = read(&letter);
        for (key, value) in [("rule", "r"), ("key", "e0/5/r"), ("op", "root_lost"), ("matched", "root_lost")]
        {
            assert_eq!(json[key], value);
        }
        assert_eq!((&json["seq"], &json["seen_ns"]), (&5.into(), &5_000_000_000u64.into()));
        assert_eq!(v1::bytes_of("", json["path_raw"].as_str()).unwrap(), b"/a\xff\n");
    }

    #[test]
    fn a_fold_counts_and_is_of_a_bounded_size() {
        let mut fold = Fold::of(&lost(5, b"/r5"), "root_lost");
        assert_eq!(fold.clone().message(), Message::Record(Box::new(lost(5, b"/r5")), "root_lost"));
        for seq in 6..=104 {
            fold.count(&lost(seq, format!("/r{seq}").as_bytes()), "root_lost");
        }
        let Message::Summary(fold) = fold.message() else { panic!("a hundred are a summary") };
        let letter = Message::Summary(fold).letter("r", "e0", b"", &[]);
        assert_eq!(letter.key, "e0/5-104/r");
        assert_eq!(letter.text, "r: 100 more in the last 99 s (100 root_lost), as /r5");
        let json = read(&letter);
        assert_eq!(
            (&json["op"], &json["more"], &json["missed"]),
            (&"summary".into(), &100.into(), &0.into())
        );
        assert_eq!((&json["first_seq"], &json["last_seq"]), (&5.into(), &104.into()));
        assert_eq!(json["paths"].as_array().unwrap().len(), 10);
        assert_eq!(json["ops"]["root_lost"], 100);
    }

    #[test]
    fn folds_merge_and_missed_records_are_told() {
        let mut fold = Fold::of_missed(Seq(1), Seq(40));
        fold.merge(Fold::of(&lost(41, b"/r"), "root_lost"));
        assert_eq!((fold.count, fold.missed, fold.first, fold.last), (1, 40, Seq(1), Seq(41)));
        let letter = fold.message().letter("r", "e", b"", &[]);
        assert!(letter.text.contains("40 records were not looked at"), "{}", letter.text);
        assert_eq!(read(&letter)["missed"], 40);
    }

    #[test]
    fn lag_and_samples_are_told_apart() {
        let lag = |over| Message::Lag {
            at: Time(9),
            lag: Duration::from_secs(90),
            threshold: Duration::from_secs(60),
            over,
        };
        let (begins, ends) = (lag(false).letter("r", "e", b"", &[]), lag(true).letter("r", "e", b"", &[]));
        assert_ne!(begins.key, ends.key);
        assert_eq!(begins.text, "r: the index is 90 s behind");
        assert_eq!(read(&begins)["lag_ms"], 90_000);
        assert_eq!(read(&ends)["over"], true);
        let sample = Message::Sample { at: Time(9), word: "created".into() }.letter("r", "e", b"", &[]);
        assert_eq!(read(&sample)["sample"], true);
    }

    #[test]
    fn what_was_made_elsewhere_says_where() {
        let on = |host: &str| Origin { host: host.into(), id: format!("/indexer/{host}/e1/9") };
        let one = Message::Record(Box::new(lost(5, b"/a")), "root_lost");
        let letter = one.letter("r", "e0", b"/a", &[on("nas")]);
        assert_eq!(letter.text, "r: root_lost /a (not\\nmounted) on nas");
        let json = read(&letter);
        assert_eq!((&json["host"], &json["origin"]), (&"nas".into(), &"/indexer/nas/e1/9".into()));
        assert_eq!((letter.key.as_str(), one.named()), ("e0/5/r", &[Seq(5)][..]));
        assert!(read(&one.letter("r", "e0", b"/a", &[])).get("host").is_none(), "here it is as it was");

        let mut fold = Fold::of(&lost(5, b"/a"), "root_lost");
        fold.merge(Fold::of(&lost(6, b"/b"), "root_lost"));
        let summary = fold.message();
        assert_eq!(summary.named(), [Seq(5), Seq(6)]);
        let letter = summary.letter("r", "e0", b"", &[on("nas"), on("pc")]);
        assert!(letter.text.ends_with(", as /a on nas"), "{}", letter.text);
        assert_eq!(read(&letter)["hosts"], serde_json::json!(["nas", "pc"]));
    }
}
