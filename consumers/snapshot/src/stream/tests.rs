//! What was told is what was heard, however the bytes arrive; and garbage is refused.

use proptest::prelude::*;
use record::{Category, Digest, DigestKind, EntryId, Kind, Stat, Time, VolumeId};

use super::{Ending, Frame, Frames, Garbled, Teller, failed};
use crate::entry::{Entry, Facts, Moment, RootHead};

type Owned = (String, Option<Vec<u8>>, u32, Facts);

fn facts() -> impl Strategy<Value = Facts> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>());
    let times = (any::<i128>(), any::<i128>(), any::<i128>(), any::<Option<i128>>(), any::<Option<i128>>());
    let rest = (0..7_usize, 0..2_u32, any::<u16>(), any::<Option<[u8; 32]>>(), 0..8_usize);
    (numbers, times, rest).prop_map(|(numbers, times, rest)| Facts {
        id: EntryId::new(VolumeId(rest.1), numbers.0),
        stat: Stat {
            kind: Kind::ALL[rest.0],
            mode: rest.2,
            uid: numbers.3,
            gid: numbers.4,
            links: numbers.5,
            size: numbers.1,
            allocated: numbers.2,
            modified: Time(times.0),
            changed: Time(times.1),
            accessed: Time(times.2),
            created: times.3.map(Time),
        },
        category: Category::ALL.get(rest.4).copied(),
        digest: rest.3.map(|bytes| Digest { kind: DigestKind::ALL[rest.0 % 3], bytes }),
        digest_time: times.4.map(Time),
    })
}

fn moment() -> Moment {
    Moment {
        epoch: "e".into(),
        watermark: 7,
        taken_us: -1,
        host: "h".into(),
        tool: "t".into(),
        roots: 1,
        expected: 3,
    }
}

fn told(rows: &[Owned]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut emit = |frame: Vec<u8>| {
        bytes.extend(frame);
        true
    };
    let mut teller = Teller::new(&mut emit);
    assert!(teller.moment(&moment()));
    assert!(teller.root(&RootHead { path: b"/r\xff".to_vec(), expected: 3 }));
    for (text, raw, depth, facts) in rows {
        assert!(teller.row(&Entry { text, raw: raw.as_deref(), depth: *depth, facts: *facts }));
    }
    assert!(teller.end_root());
    assert!(teller.end(Ending { grown: 5, held_ms: 6 }));
    bytes
}

fn heard(bytes: &[u8], piece: usize) -> Result<(Vec<Owned>, Vec<String>), Garbled> {
    let (mut frames, mut rows, mut words) = (Frames::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        frames.feed::<Garbled>(piece, |frame| {
            match frame {
                Frame::Rows(mut told) => {
                    while let Some(row) = told.next_row()? {
                        rows.push((row.text.to_owned(), row.raw.map(<[u8]>::to_vec), row.depth, row.facts));
                    }
                }
                other => words.push(format!("{other:?}")),
            }
            Ok(())
        })?;
    }
    assert!(frames.is_between());
    Ok((rows, words))
}

proptest! {
    #[test]
    fn what_was_told_is_heard(
        rows in prop::collection::vec(
            ("[a-c/ü]{0,9}", any::<Option<Vec<u8>>>(), any::<u32>(), facts()),
            0..20
        ),
        piece in 1..200_usize,
    ) {
        let (told, words) = heard(&told(&rows), piece).unwrap();
        prop_assert_eq!(&told, &rows);
        prop_assert_eq!(words.len(), 4);
        prop_assert!(words[0].contains("watermark: 7"));
        prop_assert_eq!(&words[2], &format!("RootEnd({})", rows.len()));
        prop_assert!(words[3].contains("grown: 5"));
    }

    #[test]
    fn garbage_is_refused_and_no_more(bytes in prop::collection::vec(any::<u8>(), 0..200), spoilt in any::<usize>()) {
        let hear = |bytes: &[u8]| Frames::default().feed::<Garbled>(bytes, |frame| {
            if let Frame::Rows(mut rows) = frame {
                while rows.next_row()?.is_some() {}
            }
            Ok(())
        });
        // Refused or not: it must end.
        let _ = hear(&bytes);
        let row = ("/r/a".to_owned(), None, 1, facts_plain());
        let mut whole = told(&[row.clone(), row]);
        let at = spoilt % whole.len();
        whole[at] = whole[at].wrapping_add(1);
        let _ = hear(&whole);
    }
}

fn facts_plain() -> Facts {
    let stat = Stat {
        kind: Kind::File,
        mode: 0,
        uid: 0,
        gid: 0,
        links: 1,
        size: 0,
        allocated: 0,
        modified: Time(0),
        changed: Time(0),
        accessed: Time(0),
        created: None,
    };
    let id = EntryId::new(VolumeId(1), 2);
    Facts { id, stat, category: None, digest: None, digest_time: None }
}

#[test]
fn many_rows_go_in_many_frames_and_a_listener_who_left_is_noticed() {
    let rows: Vec<Owned> =
        (0..20_000).map(|number| (format!("/r/{number:09}"), None, 1, facts_plain())).collect();
    let (told, words) = heard(&told(&rows), 1000).unwrap();
    assert_eq!((told.len(), words.len()), (20_000, 4));
    let mut frames = 0;
    let mut emit = |_: Vec<u8>| {
        frames += 1;
        frames < 3
    };
    let mut teller = Teller::new(&mut emit);
    let (text, ..) = &rows[0];
    let entry = Entry { text, raw: None, depth: 1, facts: facts_plain() };
    let pushed = (0..1_000_000).take_while(|_| teller.row(&entry)).count();
    assert!(pushed < 100_000, "{pushed}");
}

#[test]
fn another_version_and_a_failure_are_told_as_such() {
    let mut bytes = told(&[]);
    bytes[5] = 9;
    assert_eq!(heard(&bytes, 100).unwrap_err(), Garbled::Version(9));
    let (_, words) = heard(&failed(b"why"), 100).unwrap();
    assert_eq!(words, ["Failed([119, 104, 121])"]);
}
