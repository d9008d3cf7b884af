//! What is stored of roots, volumes and coverage: small rows that many readers decode.

use reconcile::Detached;
use record::{EntryId, Place, RootId, Seq, Time, VolumeId};

use crate::bytes::{Cursor, put, put_bytes, put_signed};
use crate::error::Corrupt;
use crate::row_code::{near, put_near};

/// A configured tree and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// Its number.
    pub id: RootId,
    /// Its absolute path.
    pub path: Box<[u8]>,
    /// The directory it is configured at.
    pub top: EntryId,
    /// The `seeded` record that ended its first scan; `None` while that runs.
    pub seeded: Option<Seq>,
    /// The rules it was scanned by, as the caller wrote them (JSON); other rules mean other rows.
    pub rules: String,
    /// Everything in it was true at this time.
    pub verified: Time,
    /// Why it cannot be looked at now.
    pub lost: Option<String>,
}

/// A file system or subvolume that we gave a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its type as the kernel names it.
    pub fs_type: String,
    /// Its UUID, where it has one.
    pub uuid: Option<[u8; 16]>,
    /// `f_fsid` of `statfs`.
    pub fsid: u64,
    /// The btrfs subvolume, 0 elsewhere.
    pub subvolume: u64,
    /// What is mounted: a device, a server's export.
    pub source: Box<[u8]>,
    /// Inode of its root directory.
    pub root_inode: u64,
    /// Birth of its root directory.
    pub root_created: Option<Time>,
}

/// Why a directory cannot be vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// Since when.
    pub since: Time,
    /// Why: `permission denied`, `input/output error`.
    pub why: String,
}

pub(crate) fn put_root(root: &RootRow) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, &root.path);
    put_id(&mut out, root.top);
    put(&mut out, u128::from(root.seeded.map_or(0, |seq| seq.0)));
    put_bytes(&mut out, root.rules.as_bytes());
    put_signed(&mut out, root.verified.0);
    put_optional(&mut out, root.lost.as_deref().map(str::as_bytes));
    out
}

pub(crate) fn root(id: RootId, bytes: &[u8]) -> Result<RootRow, Corrupt> {
    let mut from = Cursor::new(bytes);
    let path = from.bytes()?.into();
    let top = take_id(&mut from)?;
    let seeded = Some(Seq(from.uint()?)).filter(|seq| seq.0 > 0);
    let rules = text(from.bytes()?)?;
    let verified = Time(from.signed()?);
    let lost = optional(&mut from)?.map(text).transpose()?;
    from.end()?;
    Ok(RootRow { id, path, top, seeded, rules, verified, lost })
}

pub(crate) fn put_volume(volume: &VolumeRow) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, volume.fs_type.as_bytes());
    put_optional(&mut out, volume.uuid.as_ref().map(|uuid| &uuid[..]));
    put(&mut out, u128::from(volume.fsid));
    put(&mut out, u128::from(volume.subvolume));
    put_bytes(&mut out, &volume.source);
    put(&mut out, u128::from(volume.root_inode));
    put(&mut out, u128::from(volume.root_created.is_some()));
    put_signed(&mut out, volume.root_created.unwrap_or_default().0);
    out
}

pub(crate) fn volume(bytes: &[u8]) -> Result<VolumeRow, Corrupt> {
    let mut from = Cursor::new(bytes);
    let fs_type = text(from.bytes()?)?;
    let uuid = match optional(&mut from)? {
        Some(uuid) => Some(uuid.try_into().map_err(|_| Corrupt("UUID is not 16 bytes"))?),
        None => None,
    };
    let fsid = from.uint()?;
    let subvolume = from.uint()?;
    let source = from.bytes()?.into();
    let root_inode = from.uint()?;
    let has_created = from.uint::<u8>()? != 0;
    let created = Time(from.signed()?);
    from.end()?;
    let root_created = has_created.then_some(created);
    Ok(VolumeRow { fs_type, uuid, fsid, subvolume, source, root_inode, root_created })
}

pub(crate) fn put_detached(detached: &Detached) -> Vec<u8> {
    let mut out = Vec::new();
    put_id(&mut out, detached.place.dir);
    put_bytes(&mut out, &detached.place.name);
    put_bytes(&mut out, &detached.path);
    out
}

pub(crate) fn detached(bytes: &[u8]) -> Result<Detached, Corrupt> {
    let mut from = Cursor::new(bytes);
    let place = Place { dir: take_id(&mut from)?, name: from.bytes()?.into() };
    let path = from.bytes()?.into();
    from.end()?;
    Ok(Detached { place, path })
}

pub(crate) fn put_blind(blind: &Blind) -> Vec<u8> {
    let mut out = Vec::new();
    put_signed(&mut out, blind.since.0);
    put_bytes(&mut out, blind.why.as_bytes());
    out
}

pub(crate) fn blind(bytes: &[u8]) -> Result<Blind, Corrupt> {
    let mut from = Cursor::new(bytes);
    let blind = Blind { since: Time(from.signed()?), why: text(from.bytes()?)? };
    from.end()?;
    Ok(blind)
}

const NOWHERE: EntryId = EntryId { volume: VolumeId(0), inode: 0 };

fn put_id(out: &mut Vec<u8>, id: EntryId) {
    put_near(out, id, NOWHERE);
}

fn take_id(from: &mut Cursor<'_>) -> Result<EntryId, Corrupt> {
    near(from, NOWHERE)
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put(out, u128::from(bytes.is_some()));
    put_bytes(out, bytes.unwrap_or_default());
}

fn optional<'a>(from: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Corrupt> {
    let some = from.uint::<u8>()? != 0;
    let bytes = from.bytes()?;
    Ok(some.then_some(bytes))
}

fn text(bytes: &[u8]) -> Result<String, Corrupt> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Corrupt("text is not UTF-8"))
}
