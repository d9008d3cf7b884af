//! Blocks of change records as bytes. One block holds consecutive seqs of one commit; paths are
//! front-coded within it. Drawn in `docs/formats/index.md`.

use record::{
    Body, Change, Duplicates, EntryId, Gap, How, Op, Place, Record, RootId, Seeded, Seq, State, Time,
};

use crate::bytes::{Cursor, put, put_bytes, put_signed};
use crate::error::Corrupt;
use crate::row_code::{category, digest, near, put_digest, put_near, put_stat, stat};

/// Most records in a block: what one read of one record may have to decode.
pub(crate) const BLOCK_RECORDS: usize = 256;

const HAS_DIGEST: u8 = 1 << 3;
const HAS_CATEGORY: u8 = 1 << 4;

const BODY_CHANGE: u8 = 0;
const BODY_GAP: u8 = 1;
const BODY_ROOT_LOST: u8 = 2;
const BODY_ROOT_FOUND: u8 = 3;
const BODY_SEEDED: u8 = 4;
const BODY_DUPLICATES: u8 = 5;

const HAS_BIRTH: u8 = 1;
const HAS_AT: u8 = 1 << 1;
const HAS_OLD: u8 = 1 << 2;
const HAS_BEFORE: u8 = 1 << 3;
const HAS_AFTER: u8 = 1 << 4;
const COMPLETE: u8 = 1 << 5;
const HAS_PAIR: u8 = 1 << 6;
const HAS_OLD_PATH: u8 = 1 << 7;

/// What the next record is written as a difference to.
struct Context {
    seen: i128,
    path: Vec<u8>,
}

/// Packs records of consecutive seqs, at least one and at most [`BLOCK_RECORDS`].
pub(crate) fn block(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len() * 200);
    let first = records.first().map_or(0, |record| record.seen.0);
    put(&mut out, records.len() as u128);
    put_signed(&mut out, first);
    let mut context = Context { seen: first, path: Vec::new() };
    for record in records {
        put_record(&mut out, record, &mut context);
    }
    out
}

/// When the first record of a block was seen, and how many it holds.
pub(crate) fn header(bytes: &[u8]) -> Result<(u64, Time), Corrupt> {
    let mut from = Cursor::new(bytes);
    let count = from.uint()?;
    if count == 0 || count > BLOCK_RECORDS as u64 {
        return Err(Corrupt("record count out of range"));
    }
    Ok((count, Time(from.signed()?)))
}

/// Unpacks a block whose first record is `first`.
pub(crate) fn records(first: Seq, bytes: &[u8]) -> Result<Vec<Record>, Corrupt> {
    let mut from = Cursor::new(bytes);
    let count = from.uint::<usize>()?;
    if count == 0 || count > BLOCK_RECORDS {
        return Err(Corrupt("record count out of range"));
    }
    let mut context = Context { seen: from.signed()?, path: Vec::new() };
    let mut records = Vec::with_capacity(count);
    for nth in 0..count as u64 {
        let seq = first.0.checked_add(nth).ok_or(Corrupt("seq out of range"))?;
        records.push(record(Seq(seq), &mut from, &mut context)?);
    }
    from.end()?;
    Ok(records)
}

fn put_record(out: &mut Vec<u8>, record: &Record, context: &mut Context) {
    out.push(record.how as u8);
    put_signed(out, record.seen.0.wrapping_sub(context.seen));
    context.seen = record.seen.0;
    put(out, u128::from(record.root.0));
    match &record.body {
        Body::Change(change) => {
            out.push(BODY_CHANGE);
            put_change(out, record.seq, change, context);
        }
        Body::Gap(gap) => {
            out.push(BODY_GAP);
            put_signed(out, gap.from.0);
            put_signed(out, gap.to.0);
            put_bytes(out, &gap.scope);
            put_bytes(out, gap.why.as_bytes());
        }
        Body::RootLost { path, why } => {
            out.push(BODY_ROOT_LOST);
            put_bytes(out, path);
            put_bytes(out, why.as_bytes());
        }
        Body::RootFound { path } => {
            out.push(BODY_ROOT_FOUND);
            put_bytes(out, path);
        }
        Body::Seeded(seeded) => {
            out.push(BODY_SEEDED);
            put_bytes(out, &seeded.path);
            put(out, u128::from(seeded.entries));
        }
        Body::Duplicates(set) => {
            out.push(BODY_DUPLICATES);
            put_digest(out, &set.digest);
            put(out, u128::from(set.size));
            put(out, u128::from(set.copies));
            put(out, u128::from(set.were));
            put(out, u128::from(set.wasted));
            put(out, set.paths.len() as u128);
            for path in &set.paths {
                put_path(out, path, context);
            }
        }
    }
}

fn record(seq: Seq, from: &mut Cursor<'_>, context: &mut Context) -> Result<Record, Corrupt> {
    let how = *How::ALL.get(usize::from(from.byte()?)).ok_or(Corrupt("unknown how"))?;
    context.seen = context.seen.wrapping_add(from.signed()?);
    let seen = Time(context.seen);
    let root = RootId(from.uint()?);
    let body = match from.byte()? {
        BODY_CHANGE => Body::Change(Box::new(change(seq, from, context)?)),
        BODY_GAP => Body::Gap(Gap {
            from: Time(from.signed()?),
            to: Time(from.signed()?),
            scope: from.bytes()?.into(),
            why: text(from)?,
        }),
        BODY_ROOT_LOST => Body::RootLost { path: from.bytes()?.into(), why: text(from)? },
        BODY_ROOT_FOUND => Body::RootFound { path: from.bytes()?.into() },
        BODY_SEEDED => Body::Seeded(Seeded { path: from.bytes()?.into(), entries: from.uint()? }),
        BODY_DUPLICATES => {
            let digest = digest(from)?;
            let (size, copies, were, wasted) = (from.uint()?, from.uint()?, from.uint()?, from.uint()?);
            let mut paths = Vec::new();
            for _ in 0..from.uint::<usize>()? {
                paths.push(path(from, context)?);
            }
            Body::Duplicates(Box::new(Duplicates { digest, size, copies, were, wasted, paths }))
        }
        _ => return Err(Corrupt("unknown record body")),
    };
    Ok(Record { seq, seen, how, root, body })
}

fn put_change(out: &mut Vec<u8>, seq: Seq, change: &Change, context: &mut Context) {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(change.op as u8);
    out.push(
        flag(change.birth.is_some(), HAS_BIRTH)
            | flag(change.at.is_some(), HAS_AT)
            | flag(change.old.is_some(), HAS_OLD)
            | flag(change.before.is_some(), HAS_BEFORE)
            | flag(change.after.is_some(), HAS_AFTER)
            | flag(change.complete, COMPLETE)
            | flag(change.pair.is_some(), HAS_PAIR)
            | flag(change.old_path.is_some(), HAS_OLD_PATH),
    );
    put(out, u128::from(change.entry.volume.0));
    put(out, u128::from(change.entry.inode));
    if let Some(birth) = change.birth {
        put_signed(out, birth.0);
    }
    for place in change.at.iter().chain(&change.old) {
        put_near(out, place.dir, change.entry);
        put_bytes(out, &place.name);
    }
    for state in change.before.iter().chain(&change.after) {
        let flags = flag(state.digest.is_some(), HAS_DIGEST) | flag(state.category.is_some(), HAS_CATEGORY);
        put_stat(out, &state.stat, flags);
        if let Some(digest) = &state.digest {
            put_digest(out, digest);
        }
        out.extend(state.category.map(|category| category as u8));
    }
    put(out, change.parents.len() as u128);
    for (id, stat) in &change.parents {
        put_near(out, *id, change.entry);
        put_stat(out, stat, 0);
    }
    if let Some(pair) = change.pair {
        put_signed(out, i128::from(pair.0) - i128::from(seq.0));
    }
    put_path(out, &change.path, context);
    if let Some(old_path) = &change.old_path {
        put_path(out, old_path, context);
    }
}

fn change(seq: Seq, from: &mut Cursor<'_>, context: &mut Context) -> Result<Change, Corrupt> {
    let op = *Op::ALL.get(usize::from(from.byte()?)).ok_or(Corrupt("unknown op"))?;
    let flags = from.byte()?;
    let entry = EntryId::new(record::VolumeId(from.uint()?), from.uint()?);
    let birth = if flags & HAS_BIRTH == 0 { None } else { Some(Time(from.signed()?)) };
    let at = if flags & HAS_AT == 0 { None } else { Some(place(from, entry)?) };
    let old = if flags & HAS_OLD == 0 { None } else { Some(place(from, entry)?) };
    let before = if flags & HAS_BEFORE == 0 { None } else { Some(state(from)?) };
    let after = if flags & HAS_AFTER == 0 { None } else { Some(state(from)?) };
    let count = from.uint::<usize>()?;
    let mut parents = Vec::new();
    for _ in 0..count {
        parents.push((near(from, entry)?, stat(from)?.0));
    }
    let pair = if flags & HAS_PAIR == 0 {
        None
    } else {
        let other = i128::from(seq.0).checked_add(from.signed()?).and_then(|seq| u64::try_from(seq).ok());
        Some(Seq(other.ok_or(Corrupt("seq out of range"))?))
    };
    let path = path(from, context)?;
    let old_path = if flags & HAS_OLD_PATH == 0 { None } else { Some(self::path(from, context)?) };
    let complete = flags & COMPLETE != 0;
    Ok(Change { entry, birth, op, at, old, before, after, parents, complete, pair, path, old_path })
}

fn place(from: &mut Cursor<'_>, entry: EntryId) -> Result<Place, Corrupt> {
    Ok(Place { dir: near(from, entry)?, name: from.bytes()?.into() })
}

fn state(from: &mut Cursor<'_>) -> Result<State, Corrupt> {
    let (stat, flags) = stat(from)?;
    let digest = if flags & HAS_DIGEST == 0 { None } else { Some(digest(from)?) };
    let category = if flags & HAS_CATEGORY == 0 { None } else { Some(category(from)?) };
    Ok(State { stat, digest, category })
}

/// A path as what it shares with the one before it, and the rest.
fn put_path(out: &mut Vec<u8>, path: &[u8], context: &mut Context) {
    let shared = path.iter().zip(&context.path).take_while(|(a, b)| a == b).count();
    put(out, shared as u128);
    put_bytes(out, &path[shared..]);
    context.path.truncate(shared);
    context.path.extend_from_slice(&path[shared..]);
}

fn path(from: &mut Cursor<'_>, context: &mut Context) -> Result<Box<[u8]>, Corrupt> {
    let shared = from.uint::<usize>()?;
    if shared > context.path.len() {
        return Err(Corrupt("path prefix out of range"));
    }
    context.path.truncate(shared);
    context.path.extend_from_slice(from.bytes()?);
    Ok(context.path.clone().into())
}

fn text(from: &mut Cursor<'_>) -> Result<String, Corrupt> {
    String::from_utf8(from.bytes()?.to_vec()).map_err(|_| Corrupt("text is not UTF-8"))
}
