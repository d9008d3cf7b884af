//! A media tree by a seed, made to be hard for who looks for equal files: sets of equal ones, pairs that differ in one byte,
//! hard links, empty files and a hole. Knows what is equal to what, since it made it so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use prove::Rng;

use crate::Sets;

/// Sizes at most, where nothing else is said.
const MOST: u64 = 64 << 20;
/// Of two thousand contents so many are large.
const LARGE: u64 = 7;
/// No large content is in more files than this: the sum would hang on a few of them.
const MOST_LARGE_COPIES: u64 = 3;
/// Differences stand behind so many equal bytes, if `most` allows.
const EQUAL_HEAD: u64 = 64 << 10;
/// Files a folder.
const FILES: usize = 40;
/// A file of this and its folder, by the size that it goes up to.
const SORTS: [(u64, &str, &str); 4] = [
    (4 << 10, "Notes", "note é.txt"),
    (128 << 10, "Photos", "IMG.jpg"),
    (1 << 20, "Music", "it's \"a\" song.flac"),
    (u64::MAX, "Films", "film.mkv"),
];

/// A tree to make. The same one for the same numbers.
#[derive(Clone, Copy, Debug)]
pub struct Contents {
    /// Regular files, each counted once however many names it has.
    pub files: usize,
    /// No file is larger; the sparse one is as large.
    pub most: u64,
    /// Another one makes another tree.
    pub seed: u64,
}

/// What a file has in it.
#[derive(Clone, Copy, Debug)]
struct Content {
    seed: u64,
    size: u64,
    /// Which byte is another than the seed says.
    flipped: Option<u64>,
    /// Nothing but the first and the last 4 KiB is stored.
    sparse: bool,
}

/// One file to make.
#[derive(Clone, Debug)]
pub struct Piece {
    content: Content,
    /// Below the tree, the first by which it is made.
    names: Vec<PathBuf>,
    /// Files of the same number, but 0, are equal.
    set: usize,
}

/// What a tree has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Regular files.
    pub files: usize,
    /// Their names.
    pub names: usize,
    /// Their sizes added up, each file once.
    pub bytes: u64,
    /// Files in sets.
    pub equal: usize,
    /// Sets of equal files.
    pub sets: usize,
    /// Bytes of all files in sets but one each.
    pub wasted: u64,
}

impl Contents {
    /// About 2.6 GB in 20,000 files.
    #[must_use]
    pub fn new(files: usize, seed: u64) -> Contents {
        Contents { files, most: MOST, seed }
    }

    /// The files of the tree.
    #[must_use]
    pub fn plan(&self) -> Vec<Piece> {
        let mut rng = Rng::new(self.seed);
        let mut contents = vec![(Content { size: self.most, sparse: true, ..self.content(&mut rng) }, 0)];
        for _ in 0..(self.files / 200).max(2) {
            contents.push((Content { size: 0, ..self.content(&mut rng) }, 0));
        }
        let (mut set, mut equal) = (0, 0);
        while equal < self.files * 3 / 10 {
            let content = self.content(&mut rng);
            // Mostly few, up to 20.
            let bound = if rng.chance(80) { 4 } else { 19 };
            let mut copies = 2 + rng.below(bound);
            if content.size > SORTS[2].0 {
                copies = copies.min(MOST_LARGE_COPIES);
            }
            set += 1;
            equal += usize::try_from(copies).unwrap_or(0);
            contents.extend((0..copies).map(|_| (content, set)));
        }
        for pair in 0..(self.files / 50).max(4) {
            let one = self.content(&mut rng);
            let one = Content { size: one.size.max(self.most.min(EQUAL_HEAD * 3)), ..one };
            let at = if pair % 2 == 0 { one.size / 2 } else { one.size - 1 };
            contents.push((one, 0));
            contents.push((Content { flipped: Some(at), ..one }, 0));
        }
        while contents.len() < self.files {
            contents.push((self.content(&mut rng), 0));
        }
        self.name(contents, &mut rng)
    }

    /// Numbers of bits at random, so that there is much of every size.
    fn content(&self, rng: &mut Rng) -> Content {
        let bits = if rng.below(2000) < LARGE { 20 + rng.below(6) } else { 8 + rng.below(11) };
        let size = (1 << bits) + rng.below(1 << bits);
        Content { seed: rng.bits(), size: size.min(self.most), flipped: None, sparse: false }
    }

    /// Equal files come to lie apart.
    fn name(&self, mut contents: Vec<(Content, usize)>, rng: &mut Rng) -> Vec<Piece> {
        for last in (1..contents.len()).rev() {
            contents.swap(last, rng.index(last + 1));
        }
        let folders = contents.len() / FILES + 1;
        let name = |number: usize, folder: usize, size: u64| {
            let sort = SORTS.iter().find(|(most, ..)| size < *most).unwrap_or(&SORTS[3]);
            PathBuf::from(format!("{}/{:03}/{number:05} {}", sort.1, folder, sort.2))
        };
        let mut pieces: Vec<Piece> = contents
            .into_iter()
            .enumerate()
            .map(|(number, (content, set))| Piece {
                names: vec![name(number, number % folders, content.size)],
                content,
                set,
            })
            .collect();
        // Second names, half of them of files that have equals.
        let count = pieces.len();
        for link in 0..(count / 100).max(4) {
            let wanted = |piece: &Piece| piece.content.size > 0 && (piece.set > 0) == (link % 2 == 0);
            let start = rng.index(count);
            let Some(at) = (start..count).chain(0..start).find(|at| wanted(&pieces[*at])) else { continue };
            let size = pieces[at].content.size;
            pieces[at].names.push(name(count + link, rng.index(folders), size));
        }
        pieces
    }

    /// Makes the tree in `folder`, which is there and empty.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(&self, folder: &Path) -> io::Result<Vec<Piece>> {
        let pieces = self.plan();
        make_folders(&pieces, folder)?;
        pieces.iter().try_for_each(|piece| piece.make(folder))?;
        Ok(pieces)
    }
}

/// Makes the folders that the pieces will lie in.
///
/// # Errors
/// When the file system refuses.
pub fn make_folders(pieces: &[Piece], folder: &Path) -> io::Result<()> {
    let folders: BTreeSet<&Path> =
        pieces.iter().flat_map(|piece| &piece.names).filter_map(|name| name.parent()).collect();
    folders.into_iter().try_for_each(|inner| fs::create_dir_all(folder.join(inner)))
}

/// The sets of equal files that have more than one, as [`crate::sets_by_jdupes`] and its kin give them.
#[must_use]
pub fn sets_made(pieces: &[Piece], folder: &Path) -> Sets {
    let mut sets: BTreeMap<usize, BTreeSet<PathBuf>> = BTreeMap::new();
    for piece in pieces.iter().filter(|piece| piece.set > 0) {
        let least = piece.names.iter().min().map(|name| folder.join(name));
        sets.entry(piece.set).or_default().extend(least);
    }
    sets.into_values().collect()
}

impl Summary {
    /// Of the pieces of a tree.
    #[must_use]
    pub fn of(pieces: &[Piece]) -> Summary {
        let mut sum = Summary { files: pieces.len(), ..Summary::default() };
        let mut met = BTreeSet::new();
        for piece in pieces {
            sum.names += piece.names.len();
            sum.bytes += piece.content.size;
            sum.equal += usize::from(piece.set > 0);
            if piece.set > 0 && !met.insert(piece.set) {
                sum.wasted += piece.content.size;
            }
        }
        Summary { sets: met.len(), ..sum }
    }
}

impl Piece {
    /// Makes the file with all its names; its folders are there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(&self, folder: &Path) -> io::Result<()> {
        let Some((first, others)) = self.names.split_first() else { return Ok(()) };
        let first = folder.join(first);
        self.content.write(&File::create_new(&first)?)?;
        others.iter().try_for_each(|name| fs::hard_link(&first, folder.join(name)))
    }
}

impl Content {
    fn write(&self, mut file: &File) -> io::Result<()> {
        let mut rng = Rng::new(self.seed);
        if self.sparse {
            let mut block = [0; 4096];
            file.set_len(self.size)?;
            fill(&mut block, &mut rng);
            file.write_all_at(&block, 0)?;
            return file.write_all_at(&block, self.size.saturating_sub(4096));
        }
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        while at < self.size {
            let length = usize::try_from(self.size - at).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = &mut buffer[..length];
            fill(chunk, &mut rng);
            let flipped = self.flipped.and_then(|flipped| usize::try_from(flipped.checked_sub(at)?).ok());
            if let Some(byte) = flipped.and_then(|flipped| chunk.get_mut(flipped)) {
                *byte ^= 1;
            }
            file.write_all(chunk)?;
            at += length as u64;
        }
        Ok(())
    }
}

fn fill(buffer: &mut [u8], rng: &mut Rng) {
    for part in buffer.chunks_mut(8) {
        part.copy_from_slice(&rng.bits().to_le_bytes()[..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_what_makes_equal_files_hard_to_find() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents { files: 300, most: 256 << 10, seed: 3 };
        let pieces = contents.make(folder.path()).unwrap();
        let sum = Summary::of(&pieces);
        assert_eq!((sum.files, sum.names), (300, 304));
        assert!((90..110).contains(&sum.equal), "{sum:?}");
        let read = |piece: &Piece| fs::read(folder.path().join(&piece.names[0])).unwrap();
        let mut by_bytes: BTreeMap<Vec<u8>, BTreeSet<usize>> = BTreeMap::new();
        let mut heads: BTreeMap<(usize, Vec<u8>), usize> = BTreeMap::new();
        for piece in pieces.iter().filter(|piece| piece.content.size > 0) {
            let bytes = read(piece);
            assert_eq!(bytes.len() as u64, piece.content.size);
            if piece.set == 0 && bytes.len() > 64 << 10 {
                *heads.entry((bytes.len(), bytes[..64 << 10].to_vec())).or_default() += 1;
            }
            by_bytes.entry(bytes).or_default().insert(piece.set);
        }
        // Equal files are of one set, files without equals of none, and near pairs are no equals.
        let sets: Vec<usize> =
            by_bytes.into_values().flat_map(|sets| sets.into_iter().collect::<Vec<_>>()).collect();
        assert_eq!(sets.iter().filter(|set| **set > 0).count(), sum.sets);
        assert_eq!(sets.iter().filter(|set| **set == 0).count(), 300 - sum.equal - 2);
        assert_eq!(heads.values().filter(|count| **count == 2).count(), 6);
        assert_eq!(sets_made(&pieces, folder.path()).len(), sum.sets);
    }
}
