//! `silent`: what the kernel tells nobody of on this file system, tried one by one. Nothing of it is a difference as long as a
//! sweep finds it; what is only found by a sweep is left out of the random work.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::judge::{Judgement, differences};
use crate::mapping::Mapping;
use crate::phases::Said;
use crate::program::Indexer;
use crate::trial::Trial;
use crate::{Trouble, walk};

/// When something came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// At once, or never shown by any field.
    AtOnce,
    Synced,
    Unmapped,
    /// By a sweep and nothing else.
    Swept,
    /// The file system does not do it.
    Refused,
}

impl When {
    fn word(self) -> &'static str {
        match self {
            When::AtOnce => "told",
            When::Synced => "told when synced",
            When::Unmapped => "told when unmapped",
            When::Swept => "found by a sweep",
            When::Refused => "not possible here",
        }
    }
}

struct Probe<'t, 'a> {
    indexer: &'t Indexer<'a>,
    tree: &'t Path,
    outside: &'t Path,
}

/// What is tried, and what of the random work rests on its being told.
type Try = for<'t, 'a> fn(&Probe<'t, 'a>) -> Result<When, Trouble>;
const TRIES: [(&str, Try, &[&str]); 6] = [
    ("store while the file is open", |probe| probe.store_open(), &["map", "store"]),
    ("store after it was closed", |probe| probe.store_closed(), &["map", "store"]),
    ("inode flags (chattr)", |probe| probe.flags(), &[]),
    ("a name made outside the tree", |probe| probe.link_outside(), &[]),
    ("a write by a name outside", |probe| probe.write_outside(), &[]),
    ("blocks counted at write-back", |probe| probe.blocks(), &[]),
];

/// Tries each and says when it was known.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<Said, Trouble> {
    let (tree, outside) = (trial.tree(), trial.folder.join("outside"));
    fs::create_dir(&outside).map_err(Trouble::cannot("make a folder"))?;
    let mut indexer = trial.indexer("first", &tree)?;
    indexer.start()?;
    let mut found: Vec<(When, &str)> = Vec::new();
    for (name, probe, rests) in TRIES {
        trial.step(name)?;
        let when = probe(&Probe { indexer: &indexer, tree: &tree, outside: &outside })?;
        // A sweep mends whatever it was; if not even that does, there is a fault.
        let mut made = Judgement::default();
        let left = differences(&indexer, &tree, &mut made)?;
        trial.expect(left.is_empty(), || {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            format!("{name}: not even a sweep finds it: {}", left.join("; "))
        });
        if when == When::Swept {
            trial.left_out.extend(rests);
        }
        trial.fact(name, when.word());
        found.push((when, name));
    }
    let mut said = Vec::new();
    for when in [When::AtOnce, When::Synced, When::Unmapped, When::Swept, When::Refused] {
        let names: Vec<&str> =
            found.iter().filter(|(other, _)| *other == when).map(|(_, name)| *name).collect();
        if !names.is_empty() {
            said.push(format!("{}: {}", when.word(), names.join(", ")));
        }
    }
    drop(indexer);
    for folder in [&tree, &outside] {
        fs::remove_dir_all(folder).map_err(Trouble::cannot("remove a folder"))?;
    }
    fs::create_dir(&tree).map_err(Trouble::cannot("make a folder"))?;
    Ok(Said::Done(said.join("; ")))
}

impl Probe<'_, '_> {
    /// Whether index and disk agree once the daemon says that it knows all.
    fn known(&self) -> Result<bool, Trouble> {
        self.indexer.settle()?;
        Ok(differences(self.indexer, self.tree, &mut Judgement::default())?.is_empty())
    }

    fn known_or_swept(&self) -> Result<When, Trouble> {
        if self.known()? {
            return Ok(When::AtOnce);
        }
        let _ = self.indexer.ask(&[&"sweep", &self.tree])?;
        self.indexer.settle()?;
        Ok(When::Swept)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf, Trouble> {
        let path = self.tree.join(name);
        fs::write(&path, bytes).map_err(Trouble::cannot("write a file"))?;
        if !self.known()? {
            // Blocks may have been counted anew; that is another try's.
            self.known_or_swept()?;
        }
        Ok(path)
    }

    fn store_open(&self) -> Result<When, Trouble> {
        self.store("stored open", false)
    }

    fn store_closed(&self) -> Result<When, Trouble> {
        self.store("stored closed", true)
    }

    fn store(&self, name: &str, close: bool) -> Result<When, Trouble> {
        let path = self.file(name, &[b'x'; 4096])?;
        let open =
            File::options().read(true).write(true).open(&path).map_err(Trouble::cannot("open a file"))?;
        let Ok(mapping) = Mapping::new(&open) else { return Ok(When::Refused) };
        let mut open = Some(open);
        if close {
            open = None;
            self.known()?;
        }
        let source = File::open("/dev/urandom").map_err(Trouble::cannot("open /dev/urandom"))?;
        mapping.store(&source, 100).map_err(Trouble::cannot("store into a mapping"))?;
        if self.known()? {
            // It may be that nothing shows yet.
            let before = walk(self.tree, &[]).map_err(Trouble::cannot("walk"))?;
            mapping.sync().map_err(Trouble::cannot("sync a mapping"))?;
            let after = walk(self.tree, &[]).map_err(Trouble::cannot("walk"))?;
            drop((mapping, open));
            return match self.known_or_swept()? {
                When::AtOnce if before != after => Ok(When::Synced),
                when => Ok(when),
            };
        }
        mapping.sync().map_err(Trouble::cannot("sync a mapping"))?;
        if self.known()? {
            return Ok(When::Synced);
        }
        drop((mapping, open));
        Ok(match self.known_or_swept()? {
            When::AtOnce => When::Unmapped,
            when => when,
        })
    }

    fn flags(&self) -> Result<When, Trouble> {
        let path = self.file("flags", b"x")?;
        let set = || -> io::Result<()> {
            let file = File::open(&path)?;
            Ok(ioctl_setflags(&file, ioctl_getflags(&file)? | IFlags::NODUMP)?)
        };
        if set().is_err() { Ok(When::Refused) } else { self.known_or_swept() }
    }

    fn link_outside(&self) -> Result<When, Trouble> {
        let path = self.file("linked", b"x")?;
        let done = fs::hard_link(path, self.outside.join("linked"));
        if done.is_err() { Ok(When::Refused) } else { self.known_or_swept() }
    }

    fn write_outside(&self) -> Result<When, Trouble> {
        let Ok(mut file) = File::options().append(true).open(self.outside.join("linked")) else {
            return Ok(When::Refused);
        };
        file.write_all(b"more").map_err(Trouble::cannot("write a file"))?;
        drop(file);
        self.known_or_swept()
    }

    fn blocks(&self) -> Result<When, Trouble> {
        for (name, size) in [("blocks 1", 100), ("blocks 2", 70_000), ("blocks 3", 1_000_000)] {
            fs::write(self.tree.join(name), vec![b'x'; size]).map_err(Trouble::cannot("write a file"))?;
        }
        self.known()?;
        let open = File::open(self.tree).map_err(Trouble::cannot("open the tree"))?;
        // A refusal leaves nothing to see.
        let _ = rustix::fs::syncfs(&open);
        self.known_or_swept()
    }
}
