//! Bits that flip, pages that are zeros or another's, a file cut short: what is read is an error or what was written, and
//! the check of pages knows the difference. It could break wherever a length or a number in the file is believed.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use reconcile::Stored;
use record::{Seq, Time};
use redb::ReadableTable as _;

use super::make::{look, with_root};
use crate::tables::JOURNAL;
use crate::{Index, IndexError, OpenError, Repair, Settings, Since, caught};

const PAGE: usize = 4096;
/// How long one turn may take: waited out by an endless loop alone.
const PATIENCE: Duration = Duration::from_secs(120);

fn settings(repair: Repair) -> Settings {
    Settings { cache: 1 << 20, repair }
}

/// All that the index holds, one thing a line.
fn dump(index: &Index) -> Result<String, IndexError> {
    let reader = index.read()?;
    let mut all = vec![format!("{:?} {:?} {}", reader.seq()?, reader.oldest()?, reader.entries()?)];
    reader.each_row::<IndexError>(|id, row| {
        all.push(format!("{id} {row:?} {:?} {:?}", reader.links(id)?, reader.detached(id)?));
        Ok(true)
    })?;
    let roots = reader.roots()?;
    reader.each_name::<IndexError>(|dir, name, target| {
        all.push(format!("{dir} {name:?} {target:?} {:?}", reader.path(&roots, target.id)?));
        Ok(true)
    })?;
    for dir in reader.directories(record::EntryId::new(record::VolumeId(0), 0), usize::MAX)? {
        all.push(format!("{dir} {:?}", reader.totals(dir)?));
    }
    all.push(format!("{roots:?} {:?} {:?}", reader.volumes()?, reader.cursors()?));
    all.push(format!("{:?} {:?}", reader.blind()?, reader.all_detached()?));
    reader.position(Since::Time(Time(5))).map(drop).or_else(fresh_start_is_an_answer)?;
    reader.each_record::<IndexError>(Seq(0), |record| {
        all.push(format!("{record:?}"));
        Ok(true)
    })?;
    Ok(all.join("\n"))
}

fn fresh_start_is_an_answer(error: IndexError) -> Result<(), IndexError> {
    if matches!(error, IndexError::FreshStartRequired { .. }) { Ok(()) } else { Err(error) }
}

/// An index with a few hundred rows; its bytes as a closed file, as a file whose writer was killed, and what each of the last
/// two commits held.
struct Made {
    closed: Vec<u8>,
    killed: Vec<u8>,
    truths: [String; 2],
}

fn make(folder: &Path, repair: Repair) -> Made {
    let path = folder.join("index.redb");
    let index = Index::create(&path, settings(repair)).unwrap();
    with_root(&index);
    let mut before = String::new();
    for turn in 0..6u64 {
        before = dump(&index).unwrap();
        let names: Vec<Vec<u8>> = (0..60).map(|nth| format!("name {turn} {nth}").into_bytes()).collect();
        let seen = |nth: u64| Some((100 + turn * 60 + nth, nth * 1000));
        let looks: Vec<_> = names.iter().zip(0..).map(|(name, nth)| (&name[..], seen(nth))).collect();
        look(&index, i128::from(turn) + 1, &looks);
    }
    let truths = [before, dump(&index).unwrap()];
    // No daemon stops a copy of a file that is open.
    let killed = std::fs::read(&path).unwrap();
    drop(index);
    let made = Made { closed: std::fs::read(&path).unwrap(), killed, truths };
    std::fs::remove_file(&path).unwrap();
    made
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Spoils the bytes in one of the ways in which disks and copies do.
fn spoil(bytes: &mut Vec<u8>, random: &mut Random) {
    // Most of a small file is room for later; damage there is none.
    let used: Vec<usize> = (0..bytes.len() / PAGE)
        .filter(|page| bytes[page * PAGE..][..PAGE].iter().any(|at| *at != 0))
        .collect();
    let page = |random: &mut Random| used[random.below(used.len())] * PAGE;
    match random.below(8) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let at = page(random);
            bytes[at..][..PAGE].fill(0);
        }
        2 => {
            let (one, other) = (page(random), page(random));
            let kept = bytes[one..][..PAGE].to_vec();
            bytes.copy_within(other..other + PAGE, one);
            bytes[other..][..PAGE].copy_from_slice(&kept);
        }
        // The header: its numbers are believed before anything else is.
        3 => bytes[random.below(512)] ^= 1 << random.below(8),
        4 => {
            let at = page(random) + random.below(PAGE - 8);
            for byte in &mut bytes[at..at + 8] {
                *byte = random.below(256) as u8;
            }
        }
        _ => {
            for _ in 0..=random.below(64) {
                let at = page(random) + random.below(PAGE);
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
}

/// Most memory this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One turn: whether the damage was refused, went unseen since nothing that is read has it, or was read.
fn turn(made: &Made, path: &Path, repair: Repair, nth: u64) -> &'static str {
    let mut random = Random(nth * 7919 + 1);
    let mut bytes = if random.below(2) == 0 { made.closed.clone() } else { made.killed.clone() };
    spoil(&mut bytes, &mut random);
    std::fs::write(path, &bytes).unwrap();
    let sound = Index::check_pages(path, settings(repair));
    assert!(std::fs::read(path).unwrap() == bytes, "turn {nth}: a check of pages changes nothing");
    let opened = match random.below(3) {
        0 => Index::open_read_only(path, settings(repair)),
        1 => Index::open(path, settings(repair)),
        _ => Index::create(path, settings(repair)),
    };
    let index = match opened {
        Ok(index) => index,
        Err(error) => {
            assert!(matches!(error, OpenError::Damaged { .. }), "turn {nth}: {error}");
            let said = error.to_string();
            assert!(said.contains("copy is damaged") && said.contains("move it away"), "turn {nth}: {said}");
            return "refused";
        }
    };
    let read = caught(|| dump(&index));
    let checked = caught(|| index.read().and_then(|reader| reader.check()));
    drop(index);
    match read {
        // A file whose writer was killed may come back as of the commit before, if the last is not whole.
        Ok(Ok(all)) if made.truths.contains(&all) => "true",
        Ok(Ok(_)) => {
            let by_check = !matches!(checked, Ok(Ok(check)) if check.count == 0);
            assert!(sound.is_err() || by_check, "turn {nth}: other content, and no check says so");
            "told by the checks"
        }
        Ok(Err(_)) | Err(_) => {
            assert!(sound.is_err(), "turn {nth}: it cannot be read, and its pages are called sound");
            "an error"
        }
    }
}

fn damaged(repair: Repair, turns: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("copy");
    let made = make(folder.path(), repair);
    // Undamaged, each is what it was.
    for bytes in [&made.closed, &made.killed] {
        std::fs::write(&path, bytes).unwrap();
        Index::check_pages(&path, settings(repair)).unwrap();
        assert!(std::fs::read(&path).unwrap() == *bytes);
        assert_eq!(dump(&Index::open_read_only(&path, settings(repair)).unwrap()).unwrap(), made.truths[1]);
    }
    let before = peak_kib();
    let (sender, receiver) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for nth in 0..turns {
            sender.send((nth, turn(&made, &path, repair, nth))).unwrap();
        }
    });
    let mut ends = std::collections::BTreeMap::<&str, u64>::new();
    for expected in 0..turns {
        match receiver.recv_timeout(PATIENCE) {
            Ok((_, end)) => *ends.entry(end).or_default() += 1,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("turn {expected} has no end"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap();
    println!("{repair:?}: {ends:?}");
    for end in ["refused", "true", "told by the checks", "an error"] {
        assert!(ends.contains_key(end), "no turn was {end}: {ends:?}");
    }
    let grown = peak_kib() - before;
    assert!(grown < 512 << 10, "a number in a file was taken for an amount of memory: {grown} KiB");
}

#[test]
fn damage_is_an_error_or_told_with_walked_repair() {
    damaged(Repair::Walk, 200);
}

#[test]
fn damage_is_an_error_or_told_with_quick_repair() {
    damaged(Repair::Quick, 200);
}

/// A block that says it holds fewer records than lie before the next one must not hold up the search for a time.
#[test]
fn a_damaged_count_ends_the_search_for_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), settings(Repair::Walk)).unwrap();
    with_root(&index);
    for turn in 1..4u64 {
        let names: Vec<Vec<u8>> = (0..5).map(|nth| format!("name {turn} {nth}").into_bytes()).collect();
        let looks: Vec<_> =
            names.iter().zip(turn * 5..).map(|(name, nth)| (&name[..], Some((100 + nth, 1)))).collect();
        look(&index, i128::from(turn), &looks);
    }
    let transaction = index.begin_write().unwrap();
    {
        let mut journal = transaction.open_table(JOURNAL).unwrap();
        let mut block = journal.get(6).unwrap().unwrap().value().to_vec();
        assert_eq!(block[0], 5, "five records");
        block[0] = 1;
        journal.insert(6, &block[..]).unwrap();
    }
    transaction.commit().unwrap();
    for time in 0..5 {
        let _ = index.read().unwrap().position(Since::Time(Time(time)));
    }
}

/// A directory that is its own parent: the way up has no end, and is told to have none.
#[test]
fn a_way_up_in_a_circle_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::create(&folder.path().join("index.redb"), settings(Repair::Walk)).unwrap();
    with_root(&index);
    look(&index, 1, &[(b"a", Some((10, 5)))]);
    let reader = index.read().unwrap();
    let mut row = reader.row(super::make::id(10)).unwrap().unwrap();
    row.place = Some(record::Place::new(super::make::id(10), b"a"));
    let mut edits = crate::Edits::default();
    edits.plan.rows.push((super::make::id(10), Some(row)));
    index.commit(edits).unwrap();
    let reader = index.read().unwrap();
    let roots = reader.roots().unwrap();
    let error = reader.path(&roots, super::make::id(10)).unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
    assert!(reader.check().unwrap().count > 0);
}
