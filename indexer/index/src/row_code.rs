//! Rows and totals as bytes. Drawn in `docs/formats/index.md`; a change here is a new format version.

use record::{
    Category, Digest, DigestKind, EntryId, Kind, Place, Row, Stat, StoredDigest, Time, Totals, VolumeId,
};

use crate::bytes::{Cursor, put, put_bytes, put_signed};
use crate::error::Corrupt;

const HAS_PLACE: u8 = 1 << 3;
const MANY_NAMES: u8 = 1 << 4;
const WRITING: u8 = 1 << 5;
const HAS_DIGEST: u8 = 1 << 6;
const HAS_MAGIC: u8 = 1 << 7;
/// In the kind of a row's digest.
const CARRIED: u8 = 1 << 7;
/// In a stat; the bits below are those of its holder.
const HAS_CREATED: u8 = 1 << 7;

/// Nanoseconds in the unit that `looked_at` is kept in.
const MILLI: i128 = 1_000_000;

/// Appends the row of `id`.
pub(crate) fn put_row(out: &mut Vec<u8>, id: EntryId, row: &Row) {
    let place = row.place.as_ref().map(|place| (place.dir, &place.name[..]));
    put_row_parts(out, id, &row.stat, place, row);
}

/// Appends a row of which the first name is borrowed: the seed writes millions without making boxes.
pub(crate) fn put_seed_row(
    out: &mut Vec<u8>,
    id: EntryId,
    stat: &Stat,
    place: Option<(EntryId, &[u8])>,
    at: Time,
) {
    let row = Row::new(*stat, at);
    put_row_parts(out, id, stat, place, &row);
}

fn put_row_parts(out: &mut Vec<u8>, id: EntryId, stat: &Stat, place: Option<(EntryId, &[u8])>, row: &Row) {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(
        flag(place.is_some(), HAS_PLACE)
            | flag(row.many_names, MANY_NAMES)
            | flag(row.writing, WRITING)
            | flag(row.digest.is_some(), HAS_DIGEST)
            | flag(row.magic.is_some(), HAS_MAGIC),
    );
    put_stat(out, stat, 0);
    put_signed(out, row.looked_at.0.div_euclid(MILLI));
    if let Some((dir, name)) = place {
        put_near(out, dir, id);
        put_bytes(out, name);
    }
    if let Some(stored) = &row.digest {
        out.push(stored.digest.kind as u8 | flag(stored.carried, CARRIED));
        out.extend_from_slice(&stored.digest.bytes);
        put(out, u128::from(stored.size));
        put_signed(out, stored.modified.0);
        put_signed(out, stored.changed.0);
    }
    out.extend(row.magic.map(|magic| magic as u8));
}

/// Reads the row of `id`.
pub(crate) fn row(id: EntryId, bytes: &[u8]) -> Result<Row, Corrupt> {
    let mut from = Cursor::new(bytes);
    let flags = from.byte()?;
    let (stat, _) = stat(&mut from)?;
    let looked_at = Time(from.signed()?.checked_mul(MILLI).ok_or(Corrupt("time out of range"))?);
    let place = match flags & HAS_PLACE {
        0 => None,
        _ => Some(Place { dir: near(&mut from, id)?, name: from.bytes()?.into() }),
    };
    let digest = match flags & HAS_DIGEST {
        0 => None,
        _ => {
            let kind = from.byte()?;
            Some(StoredDigest {
                digest: digest_of(kind & !CARRIED, &mut from)?,
                size: from.uint()?,
                modified: Time(from.signed()?),
                changed: Time(from.signed()?),
                carried: kind & CARRIED != 0,
            })
        }
    };
    let magic = if flags & HAS_MAGIC == 0 { None } else { Some(category(&mut from)?) };
    from.end()?;
    let many_names = flags & MANY_NAMES != 0;
    Ok(Row { stat, place, many_names, looked_at, writing: flags & WRITING != 0, digest, magic })
}

/// Whether the bytes are the row of `id` with these fields (but the access time), first named `name` in `dir`, with
/// a last record that was complete. Allocates nothing.
pub(crate) fn is_row_of(
    id: EntryId,
    bytes: &[u8],
    seen: &Stat,
    dir: EntryId,
    name: &[u8],
) -> Result<bool, Corrupt> {
    let mut from = Cursor::new(bytes);
    let flags = from.byte()?;
    if flags & (HAS_PLACE | WRITING) != HAS_PLACE || !stat(&mut from)?.0.same(seen) {
        return Ok(false);
    }
    from.signed()?;
    Ok(near(&mut from, id)? == dir && from.bytes()? == name)
}

/// Appends a stat: kind, two flags of the caller (bits 3 and 4), then the fields. Times stand as the
/// difference to the change time, which most of them equal.
pub(crate) fn put_stat(out: &mut Vec<u8>, stat: &Stat, flags: u8) {
    out.push(stat.kind as u8 | flags | if stat.created.is_some() { HAS_CREATED } else { 0 });
    put(out, u128::from(stat.mode));
    put(out, u128::from(stat.uid));
    put(out, u128::from(stat.gid));
    put(out, u128::from(stat.links));
    put(out, u128::from(stat.size));
    put(out, u128::from(stat.allocated / 512));
    put_signed(out, stat.changed.0);
    // Wrapping both ways: damaged rows may hold any times, and must come back as they were.
    put_signed(out, stat.modified.0.wrapping_sub(stat.changed.0));
    put_signed(out, stat.accessed.0.wrapping_sub(stat.changed.0));
    if let Some(created) = stat.created {
        put_signed(out, created.0.wrapping_sub(stat.changed.0));
    }
}

/// Reads a stat and the caller's flags.
pub(crate) fn stat(from: &mut Cursor<'_>) -> Result<(Stat, u8), Corrupt> {
    let first = from.byte()?;
    let kind = *Kind::ALL.get(usize::from(first & 7)).ok_or(Corrupt("unknown kind"))?;
    let mode = from.uint()?;
    let uid = from.uint()?;
    let gid = from.uint()?;
    let links = from.uint()?;
    let size = from.uint()?;
    let allocated = from.uint::<u64>()?.checked_mul(512).ok_or(Corrupt("number out of range"))?;
    let changed = from.signed()?;
    let mut time = || Ok::<_, Corrupt>(Time(changed.wrapping_add(from.signed()?)));
    let modified = time()?;
    let accessed = time()?;
    let created = if first & HAS_CREATED == 0 { None } else { Some(time()?) };
    let stat = Stat {
        kind,
        mode,
        uid,
        gid,
        links,
        size,
        allocated,
        modified,
        changed: Time(changed),
        accessed,
        created,
    };
    Ok((stat, first & (HAS_PLACE | MANY_NAMES)))
}

pub(crate) fn put_digest(out: &mut Vec<u8>, digest: &Digest) {
    out.push(digest.kind as u8);
    out.extend_from_slice(&digest.bytes);
}

pub(crate) fn digest(from: &mut Cursor<'_>) -> Result<Digest, Corrupt> {
    let kind = from.byte()?;
    digest_of(kind, from)
}

fn digest_of(kind: u8, from: &mut Cursor<'_>) -> Result<Digest, Corrupt> {
    let kind = match kind {
        0 => DigestKind::Blake3,
        1 => DigestKind::Blake2b256,
        2 => DigestKind::Blake3Sampled,
        _ => return Err(Corrupt("unknown digest kind")),
    };
    let bytes = from.take(32)?.try_into().map_err(|_| Corrupt("ends early"))?;
    Ok(Digest { kind, bytes })
}

pub(crate) fn category(from: &mut Cursor<'_>) -> Result<Category, Corrupt> {
    Category::ALL.get(usize::from(from.byte()?)).copied().ok_or(Corrupt("unknown category"))
}

/// Appends an entry's id as the difference to one that is probably near.
pub(crate) fn put_near(out: &mut Vec<u8>, id: EntryId, to: EntryId) {
    put_signed(out, i128::from(id.volume.0) - i128::from(to.volume.0));
    put_signed(out, i128::from(id.inode) - i128::from(to.inode));
}

/// Reads an id that stands as a difference to `to`.
pub(crate) fn near(from: &mut Cursor<'_>, to: EntryId) -> Result<EntryId, Corrupt> {
    let volume =
        i128::from(to.volume.0).checked_add(from.signed()?).and_then(|value| u32::try_from(value).ok());
    let inode = i128::from(to.inode).checked_add(from.signed()?).and_then(|value| u64::try_from(value).ok());
    match (volume, inode) {
        (Some(volume), Some(inode)) => Ok(EntryId::new(VolumeId(volume), inode)),
        _ => Err(Corrupt("entry out of range")),
    }
}

pub(crate) fn put_totals(out: &mut Vec<u8>, totals: &Totals) {
    put(out, u128::from(totals.files));
    put(out, u128::from(totals.directories));
    put(out, u128::from(totals.bytes));
    put(out, u128::from(totals.allocated / 512));
    put_signed(out, totals.newest.0);
}

pub(crate) fn totals(bytes: &[u8]) -> Result<Totals, Corrupt> {
    let mut from = Cursor::new(bytes);
    let totals = Totals {
        files: from.uint()?,
        directories: from.uint()?,
        bytes: from.uint()?,
        allocated: from.uint::<u64>()?.checked_mul(512).ok_or(Corrupt("number out of range"))?,
        newest: Time(from.signed()?),
    };
    from.end()?;
    Ok(totals)
}
