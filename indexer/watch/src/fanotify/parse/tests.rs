//! The parser on buffers made by hand, and on every kind of rubbish.

use super::*;
use libc::{FAN_ATTRIB, FAN_CREATE, FAN_ONDIR, FAN_Q_OVERFLOW, FAN_RENAME};

const FSID: [i32; 2] = [0x1234, -5];

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0];
    let length = (HEADER + body.len()).next_multiple_of(4);
    record.extend(u16::try_from(length).unwrap().to_ne_bytes());
    record.extend(body);
    record.resize(length, 0);
    record
}

fn fid(handle_type: i32, handle: &[u8], name: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(FSID[0].to_ne_bytes());
    body.extend(FSID[1].to_ne_bytes());
    body.extend(u32::try_from(handle.len()).unwrap().to_ne_bytes());
    body.extend(handle_type.to_ne_bytes());
    body.extend(handle);
    if let Some(name) = name {
        body.extend(name);
        body.push(0);
    }
    body
}

fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let records = records.concat();
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(METADATA + records.len()).unwrap().to_ne_bytes());
    bytes.extend([VERSION, 0]);
    bytes.extend(u16::try_from(METADATA).unwrap().to_ne_bytes());
    bytes.extend(mask.to_ne_bytes());
    bytes.extend((-1i32).to_ne_bytes());
    bytes.extend(42i32.to_ne_bytes());
    bytes.extend(records);
    bytes
}

fn id(kind: i32, handle: &[u8]) -> FileId<'_> {
    FileId { fsid: FSID, kind, handle }
}

fn at<'a>(dir: FileId<'a>, name: &'a [u8]) -> Option<Named<'a>> {
    Some(Named { dir, name: Some(name) })
}

const DIR: [u8; 8] = [1; 8];
const OTHER: [u8; 12] = [2; 12];
const FILE: [u8; 8] = [3; 8];

fn sound() -> Vec<u8> {
    [
        event(FAN_CREATE, &[record(2, &fid(1, &DIR, Some(b"a"))), record(1, &fid(1, &FILE, None))]),
        event(
            FAN_RENAME | FAN_ONDIR,
            &[
                record(10, &fid(1, &DIR, Some(b"old"))),
                record(12, &fid(0x81, &OTHER, Some(b"new name\xff"))),
                record(1, &fid(1, &FILE, None)),
            ],
        ),
        event(FAN_ATTRIB, &[record(1, &fid(1, &FILE, None))]),
        event(FAN_ATTRIB | FAN_ONDIR, &[record(2, &fid(1, &DIR, Some(b".")))]),
        event(FAN_ATTRIB, &[record(3, &fid(1, &DIR, None))]),
        event(FAN_Q_OVERFLOW, &[]),
        event(FAN_CREATE, &[record(99, &[9; 13]), record(2, &fid(1, &DIR, Some(b"x")))]),
    ]
    .concat()
}

#[test]
fn each_form_of_event_is_understood() {
    let bytes = sound();
    let events: Vec<Event<'_>> = parse(&bytes).map(Result::unwrap).collect();
    let (dir, other, file) = (id(1, &DIR), id(0x81, &OTHER), id(1, &FILE));
    let none = Event::default();
    let expected = [
        Event { mask: FAN_CREATE, at: at(dir, b"a"), object: Some(file), ..none },
        Event {
            mask: FAN_RENAME | FAN_ONDIR,
            from: at(dir, b"old"),
            to: at(other, b"new name\xff"),
            object: Some(file),
            ..none
        },
        Event { mask: FAN_ATTRIB, object: Some(file), ..none },
        Event { mask: FAN_ATTRIB | FAN_ONDIR, at: at(dir, b"."), ..none },
        Event { mask: FAN_ATTRIB, at: Some(Named { dir, name: None }), ..none },
        Event { mask: FAN_Q_OVERFLOW, ..none },
        Event { mask: FAN_CREATE, at: at(dir, b"x"), ..none },
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_longer_fixed_part_is_passed_over() {
    let mut bytes = event(FAN_CREATE, &[vec![0; 8], record(2, &fid(1, &DIR, Some(b"x")))]);
    bytes[6..8].copy_from_slice(&32u16.to_ne_bytes());
    let events: Vec<_> = parse(&bytes).collect();
    assert_eq!(events, [Ok(Event { mask: FAN_CREATE, at: at(id(1, &DIR), b"x"), ..Event::default() })]);
}

#[test]
fn a_malformed_record_spoils_its_event_only() {
    let after = event(FAN_Q_OVERFLOW, &[]);
    let mut unterminated = fid(1, &DIR, None);
    unterminated.extend(b"abcd");
    let mut huge = fid(1, &DIR, Some(b"x"));
    huge[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
    let cases: [(&str, Vec<u8>); 5] = [
        ("a name without an end", record(2, &unterminated)),
        ("a handle longer than its record", record(1, &huge)),
        ("a record shorter than its header", vec![2, 0, 2, 0]),
        ("a record longer than the event", vec![2, 0, 255, 255]),
        ("half a header", vec![2, 0]),
    ];
    for (what, bad) in cases {
        let bytes = [event(FAN_CREATE, &[bad]), after.clone()].concat();
        let events: Vec<_> = parse(&bytes).collect();
        let overflow = Event { mask: FAN_Q_OVERFLOW, ..Event::default() };
        assert_eq!(events, [Err(Malformed::Record), Ok(overflow)], "{what}");
    }
}

#[test]
fn an_impossible_length_or_version_ends_the_buffer() {
    let good = event(FAN_Q_OVERFLOW, &[]);
    let spoilt = |range: std::ops::Range<usize>, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[range].copy_from_slice(with);
        bytes.extend(&good);
        bytes
    };
    let cases = [
        (spoilt(0..4, &0u32.to_ne_bytes()), Malformed::Length),
        (spoilt(0..4, &23u32.to_ne_bytes()), Malformed::Length),
        (spoilt(0..4, &u32::MAX.to_ne_bytes()), Malformed::Length),
        (spoilt(6..8, &8u16.to_ne_bytes()), Malformed::Length),
        (spoilt(4..5, &[4]), Malformed::Version(4)),
        (good[..10].to_vec(), Malformed::Length),
        (good[..3].to_vec(), Malformed::Length),
    ];
    for (bytes, malformed) in cases {
        assert_eq!(parse(&bytes).collect::<Vec<_>>(), [Err(malformed)], "{bytes:?}");
    }
}

/// xorshift64: the same rubbish each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

#[test]
fn no_bytes_panic_and_all_end() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let sound = sound();
    for turn in 0..200_000 {
        let bytes = if turn % 4 == 0 {
            (0..random.below(200)).map(|_| random.next().to_ne_bytes()[0]).collect()
        } else {
            let mut bytes = sound.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(bytes.len());
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at].wrapping_add(1),
                    _ => random.next().to_ne_bytes()[0],
                };
            }
            bytes.truncate(random.below(bytes.len()) + 1);
            bytes
        };
        // Every event takes at least its fixed part, so more than this would be a parser that does not advance.
        let most = bytes.len() / METADATA + 1;
        assert!(parse(&bytes).take(most + 1).count() <= most, "{bytes:?}");
    }
}
