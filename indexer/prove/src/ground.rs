//! What a file system is and can do, as far as it can be asked and tried in a folder of ours. Knows nothing of the program.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, StatxFlags, Timespec, Timestamps, openat, renameat_with, statx,
    utimensat,
};

/// Stamps taken to find the tick.
const STAMPS: usize = 4_000;

/// A file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// As mount(8) names it: `ext4`, `fuse.sshfs`.
    pub(crate) kind: String,
    /// What is mounted.
    pub(crate) source: String,
    /// Options of the mount and of the file system.
    pub(crate) options: String,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Whether `a` and `A` are two names.
    pub(crate) case_sensitive: bool,
    /// Whether it keeps birth times.
    pub(crate) births: bool,
    /// The finest time that it stores, in nanoseconds.
    pub(crate) resolution_ns: u64,
    /// The least step between two modification times that were given one after the other, in nanoseconds.
    pub(crate) tick_ns: u64,
    /// Operations that it refuses.
    pub(crate) refuses: Vec<&'static str>,
}

impl Ground {
    /// Asks and tries in `folder`, which is empty before and after.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn survey(folder: &Path) -> io::Result<Ground> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut ground = Ground { kernel: release.trim().to_owned(), ..Ground::default() };
        let told = statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID | StatxFlags::BTIME)?;
        ground.births = StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::BTIME);
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        if let Some((kind, source, options)) = mount(&String::from_utf8_lossy(&table), told.stx_mnt_id) {
            (ground.kind, ground.source, ground.options) = (kind, source, options);
        }
        let file = folder.join("survey");
        fs::write(&file, b"")?;
        ground.case_sensitive = !folder.join("SURVEY").try_exists()?;
        ground.resolution_ns = resolution(&file)?;
        ground.tick_ns = tick(&file)?;
        ground.refuses = refused(folder, &file);
        for name in ["survey", "SURVEY", "other", "link", "soft", "moved"] {
            // What a refusal left out is not there.
            let _ = fs::remove_file(folder.join(name));
        }
        Ok(ground)
    }
}

/// Type, source and options of the mount with this id, from the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mount(table: &str, id: u64) -> Option<(String, String, String)> {
    let line = table.lines().find(|line| line.split(' ').next() == Some(&id.to_string()))?;
    let (mount, system) = line.split_once(" - ")?;
    let mount_options = mount.split(' ').nth(5)?;
    let mut system = system.split(' ');
    let (kind, source, options) = (system.next()?, system.next()?, system.next().unwrap_or_default());
    let options = format!("{mount_options},{options}");
    Some((kind.to_owned(), source.replace("\\040", " "), options))
}

/// What is left of a time with all digits.
fn resolution(file: &Path) -> io::Result<u64> {
    let time = Timespec { tv_sec: 1_234_567_891, tv_nsec: 123_456_789 };
    utimensat(CWD, file, &Timestamps { last_access: time, last_modification: time }, AtFlags::empty())?;
    let stat = fs::symlink_metadata(file)?;
    let (seconds, part) = (stat.mtime(), u64::try_from(stat.mtime_nsec()).unwrap_or(0));
    Ok(match part {
        0 if seconds % 2 == 0 => 2_000_000_000,
        0 => 1_000_000_000,
        part => {
            (0..9).map(|digits| 10_u64.pow(digits)).take_while(|step| part % step == 0).last().unwrap_or(1)
        }
    })
}

fn tick(file: &Path) -> io::Result<u64> {
    let open = File::options().write(true).open(file)?;
    let mut last = 0_i128;
    let mut least = i128::MAX;
    for _ in 0..STAMPS {
        open.write_all_at(b"x", 0)?;
        let stat = open.metadata()?;
        let now = i128::from(stat.mtime()) * 1_000_000_000 + i128::from(stat.mtime_nsec());
        if last != 0 && now > last {
            least = least.min(now - last);
        }
        last = now;
    }
    // None of them differed: one tick is longer than all of this took.
    Ok(u64::try_from(least).unwrap_or(0))
}

fn refused(folder: &Path, file: &Path) -> Vec<&'static str> {
    let other = folder.join("other");
    let exchange = || {
        fs::write(&other, b"")?;
        renameat_with(CWD, file, CWD, &other, RenameFlags::EXCHANGE)?;
        Ok(())
    };
    let unnamed = || {
        openat(CWD, folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?;
        Ok(())
    };
    let attribute = || Ok(rustix::fs::setxattr(file, "user.indexer", b"x", rustix::fs::XattrFlags::empty())?);
    let tried: [(&str, io::Result<()>); 5] = [
        ("exchange", exchange()),
        ("hard links", fs::hard_link(file, folder.join("link"))),
        ("symbolic links", symlink("survey", folder.join("soft"))),
        ("files without a name", unnamed()),
        ("extended attributes", attribute()),
    ];
    tried.into_iter().filter(|(_, done)| done.is_err()).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_leaves_nothing_and_knows_its_mount() {
        let folder = tempfile::tempdir().unwrap();
        let ground = Ground::survey(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(!ground.kind.is_empty() && !ground.kernel.is_empty(), "{ground:?}");
        assert!((1..=2_000_000_000).contains(&ground.resolution_ns), "{ground:?}");
    }

    #[test]
    fn a_line_of_the_table_is_found_by_its_number() {
        let table = "36 35 98:0 / /mnt rw,noatime shared:1 master:2 - ext3 /dev/a\\040b rw,errors=continue\n\
                     37 35 0:5 / /x rw - tmpfs none\n";
        let wanted = ("ext3".into(), "/dev/a b".into(), "rw,noatime,rw,errors=continue".into());
        assert_eq!(mount(table, 36), Some(wanted));
        assert_eq!(mount(table, 37).map(|(kind, ..)| kind).as_deref(), Some("tmpfs"));
        assert_eq!(mount(table, 3), None);
    }
}
