//! Batches among messages: made into the messages that their records would have been, so that who applies them knows of one form. Applies
//! nothing.

use std::borrow::Cow;
use std::mem;

use publish::{Arrived, Fatal, Verdict};
use record::wire::message::Unusable;

/// Bytes that are made of messages at once, about; what is more is applied after it.
const MOST_BYTES: usize = 16 << 20;

/// What of each record could not be used, if anything.
type Answers = Result<Vec<Option<Unusable>>, Fatal>;

/// A record, as it would have come by itself.
pub(super) struct One<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) key: Cow<'a, str>,
    pub(super) body: Cow<'a, [u8]>,
}

/// Has `apply` take what all messages say, in order, and answers what became of each message. A batch of which one record cannot be used cannot
/// be used, and the others of it are applied all the same.
pub(super) fn each(
    messages: &[Arrived],
    apply: &mut dyn FnMut(&[One<'_>]) -> Answers,
) -> Result<Vec<Verdict>, Fatal> {
    let mut verdicts = vec![Verdict::Done; messages.len()];
    let (mut ones, mut whose, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (nth, message) in messages.iter().enumerate() {
        match read(message) {
            Ok(some) => {
                bytes += some.iter().map(|one| one.body.len()).sum::<usize>();
                whose.resize(whose.len() + some.len(), nth);
                ones.extend(some);
            }
            Err(why) => verdicts[nth] = Verdict::Unusable(why.0),
        }
        if bytes >= MOST_BYTES || nth + 1 == messages.len() {
            let answers = if ones.is_empty() { Vec::new() } else { apply(&ones)? };
            for (answer, nth) in answers.into_iter().zip(mem::take(&mut whose)) {
                if let (Some(why), Verdict::Done) = (answer, &verdicts[nth]) {
                    verdicts[nth] = Verdict::Unusable(why.0);
                }
            }
            ones.clear();
            bytes = 0;
        }
    }
    Ok(verdicts)
}

/// The records of a message.
fn read(message: &Arrived) -> Result<Vec<One<'_>>, Unusable> {
    let Arrived { id, key, content_type, body } = message;
    if content_type != columns::CONTENT_TYPE {
        return Ok(vec![One { id: id.into(), key: key.into(), body: body.into() }]);
    }
    let one = |row: columns::Row| {
        let body = serde_json::to_vec(&row.message).map_err(|why| Unusable(why.to_string()))?;
        Ok(One { id: row.id().into(), key: row.key().into(), body: body.into() })
    };
    columns::read(body)?.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use columns::Row;
    use record::wire::message::{Message, Origin};
    use record::{Body, How, Record, RootId, Seq, Time};

    fn batch(seqs: &[u64]) -> Arrived {
        let word = str::to_owned;
        let (source, host) = (word("/indexer/nas"), word("nas"));
        let origin = Origin { source, host, epoch: "e".repeat(32), version: word("0") };
        let row = |seq: &u64| {
            let body = Body::RootFound { path: b"/r".as_slice().into() };
            let record = Record { seq: Seq(*seq), seen: Time(7), how: How::Sweep, root: RootId(1), body };
            Row::new(&record, b"/r", &origin, *seq == 9)
        };
        let body = columns::write(&seqs.iter().map(row).collect::<Vec<_>>()).expect("a batch");
        let (content_type, key) = (columns::CONTENT_TYPE.to_owned(), columns::key(RootId(1)));
        Arrived { id: "of the batch".into(), key, content_type, body }
    }

    fn json(text: &str) -> Arrived {
        let body = text.as_bytes().to_vec();
        Arrived { id: "an id".into(), key: "fs.v1.k".into(), content_type: "application/json".into(), body }
    }

    #[test]
    fn records_of_a_batch_come_in_order_as_they_would_have_by_themselves() {
        let (mut told, mut calls) = (Vec::new(), 0);
        let messages = [json("first"), batch(&[7, 8, 9]), json("last")];
        let verdicts = each(&messages, &mut |ones| {
            calls += 1;
            for one in ones {
                told.push((one.id.to_string(), one.key.to_string()));
            }
            let of_8 = Message::read(&ones[2].key, &ones[2].body).expect("a message");
            assert_eq!(of_8.source.seq, 8);
            Ok(ones.iter().map(|_| None).collect())
        });
        assert_eq!((verdicts.expect("verdicts"), calls), (vec![Verdict::Done; 3], 1));
        let of = |seq: &str| format!("/indexer/nas/{}/{seq}", "e".repeat(32));
        let found = "fs.v1.r1.none.root_found.pall";
        let expected = [
            ("an id".to_owned(), "fs.v1.k"),
            (of("7"), found),
            (of("8"), found),
            (of("9/r1"), found),
            ("an id".to_owned(), "fs.v1.k"),
        ];
        assert_eq!(told, expected.map(|(id, key)| (id, key.to_owned())));
    }

    #[test]
    fn what_cannot_be_used_is_told_of_the_message_that_it_came_with() {
        let garbage = Arrived { body: b"garbage".to_vec(), ..batch(&[1]) };
        let verdicts = each(&[garbage, batch(&[1, 2, 3]), batch(&[4])], &mut |ones| {
            assert_eq!(ones.len(), 4);
            Ok((0..4).map(|nth| (nth == 1).then(|| Unusable("it is bad".to_owned()))).collect())
        });
        let verdicts = verdicts.expect("verdicts");
        assert!(matches!(&verdicts[0], Verdict::Unusable(why) if why.contains("Arrow")), "{verdicts:?}");
        assert_eq!(verdicts[1..], [Verdict::Unusable("it is bad".to_owned()), Verdict::Done]);
        assert_eq!(each(&[], &mut |_| panic!("nothing to apply")).expect("none"), []);
    }

    #[test]
    fn much_is_applied_in_parts() {
        let large = "x".repeat(MOST_BYTES);
        let messages = [json(&large), json("small"), json(&large), json("last")];
        let mut parts = Vec::new();
        let verdicts = each(&messages, &mut |ones| {
            parts.push(ones.len());
            Ok(vec![None; ones.len()])
        });
        assert_eq!((verdicts.expect("verdicts").len(), parts), (4, vec![1, 2, 1]));
    }
}
