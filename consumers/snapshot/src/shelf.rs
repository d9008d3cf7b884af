//! The snapshots of a folder in the layout `host=/root=/date=/`: which there are, whether they are whole, and how they go. Knows no
//! index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::error::{Doing as _, SnapshotError};
use crate::keep::Keep;
use crate::manifest::{Manifest, ManifestFile};
use crate::place::{MANIFEST, ROWS, parts};

/// How the name of a folder ends that is on its way out.
const GOING: &str = ".gone";
/// Read at a time.
const BLOCK: usize = 1 << 18;

/// One snapshot.
#[derive(Debug)]
pub struct Shelved {
    /// Its folder.
    pub folder: PathBuf,
    /// Its day, in UTC.
    pub date: Date,
    /// What its manifest says; why that cannot be read.
    pub manifest: Result<Manifest, SnapshotError>,
}

impl Shelved {
    /// The rows.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(ROWS)
    }
}

/// All snapshots below `top`, by host, root and day; none where it is missing. What has other names is passed over; no link is followed.
///
/// # Errors
/// When a folder cannot be read.
pub fn snapshots(top: &Path) -> Result<Vec<Shelved>, SnapshotError> {
    let mut found = Vec::new();
    for (_, host) in inside(top, "host=")? {
        for (_, root) in inside(&host, "root=")? {
            for (day, folder) in inside(&root, "date=")? {
                let Ok(date) = day.parse() else { continue };
                let manifest = Manifest::read(&folder.join(MANIFEST));
                found.push(Shelved { folder, date, manifest });
            }
        }
    }
    Ok(found)
}

fn inside(folder: &Path, begin: &str) -> Result<Vec<(String, PathBuf)>, SnapshotError> {
    parts(folder, begin).doing("look into", folder)
}

/// What is wrong with a snapshot: each file is read, and compared with what the manifest says of it.
#[must_use]
pub fn verify(shelved: &Shelved) -> Vec<String> {
    let manifest = match &shelved.manifest {
        Ok(manifest) => manifest,
        Err(error) => return vec![error.to_string()],
    };
    let mut wrong: Vec<String> = manifest
        .files
        .iter()
        .filter_map(|file| unlike(&shelved.folder.join(&file.name), file).err())
        .collect();
    let sum = |of: fn(&ManifestFile) -> u64| manifest.files.iter().map(of).fold(0, u64::saturating_add);
    if (sum(|file| file.rows), sum(|file| file.bytes)) != (manifest.rows, manifest.bytes) {
        wrong.push("the manifest's sums are not those of its files".to_owned());
    }
    wrong
}

fn unlike(path: &Path, file: &ManifestFile) -> Result<(), String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown}: {error}");
    let mut open = File::open(path).map_err(failed)?;
    let (bytes, hash) = digest(&mut open).map_err(failed)?;
    if bytes != file.bytes {
        return Err(format!("{shown}: {bytes} bytes, and the manifest says {}", file.bytes));
    }
    if hash.to_hex().as_str() != file.blake3 {
        return Err(format!("{shown}: its bytes are not those that were written (BLAKE3)"));
    }
    let reader = SerializedFileReader::new(open).map_err(|error| format!("{shown}: {error}"))?;
    let rows = reader.metadata().file_metadata().num_rows();
    if u64::try_from(rows) != Ok(file.rows) {
        return Err(format!("{shown}: {rows} rows, and the manifest says {}", file.rows));
    }
    Ok(())
}

/// Length and BLAKE3 of what is left to read.
pub(crate) fn digest(file: &mut File) -> io::Result<(u64, blake3::Hash)> {
    let (mut hasher, mut bytes, mut block) = (blake3::Hasher::new(), 0, vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((bytes, hasher.finalize())),
            Ok(read) => {
                bytes += read as u64;
                hasher.update(&block[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Those that `keep` lets go, of each host and root by itself; of one host alone where one is named. What has no manifest that can
/// be read is none of ours to remove.
#[must_use]
pub fn spare<'a>(all: &'a [Shelved], keep: Keep, host: Option<&str>) -> Vec<&'a Shelved> {
    let mut series: BTreeMap<&Path, Vec<&Shelved>> = BTreeMap::new();
    for shelved in all {
        let ours = matches!(&shelved.manifest, Ok(manifest) if host.is_none_or(|host| manifest.host == host));
        if let Some(above) = shelved.folder.parent().filter(|_| ours) {
            series.entry(above).or_default().push(shelved);
        }
    }
    let mut spare = Vec::new();
    for series in series.into_values() {
        let days: BTreeSet<Date> = series.iter().map(|shelved| shelved.date).collect();
        let kept = keep.of(&days);
        spare.extend(series.into_iter().filter(|shelved| !kept.contains(&shelved.date)));
    }
    spare
}

/// Removes a snapshot: its name goes first, so that nobody finds half of one.
///
/// # Errors
/// When it cannot be removed, or holds files that are no snapshot's.
pub fn remove(shelved: &Shelved) -> Result<(), SnapshotError> {
    let folder = &shelved.folder;
    let ours = |name: &std::ffi::OsStr| match &shelved.manifest {
        Ok(manifest) => name == MANIFEST || manifest.files.iter().any(|file| name == file.name.as_str()),
        Err(_) => false,
    };
    for entry in fs::read_dir(folder).doing("look into", folder)? {
        if !ours(&entry.doing("look into", folder)?.file_name()) {
            return Err(SnapshotError::Foreign(folder.clone()));
        }
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(GOING);
    let going = folder.with_file_name(name);
    clear(&going)?;
    fs::rename(folder, &going).doing("rename", folder)?;
    clear(&going)
}

/// Removes what a removal that was cut off left below `top`.
///
/// # Errors
/// When a folder cannot be read, or what is in it not be removed.
pub fn sweep_up(top: &Path) -> Result<(), SnapshotError> {
    for (_, host) in inside(top, "host=")? {
        for (_, root) in inside(&host, "root=")? {
            for (_, left) in inside(&root, ".date=")?.iter().filter(|(rest, _)| rest.ends_with(GOING)) {
                clear(left)?;
            }
        }
    }
    Ok(())
}

fn clear(folder: &Path) -> Result<(), SnapshotError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.doing("remove", folder),
    }
}
