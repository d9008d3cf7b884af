//! Reads again what was read before, to see whether it is still what it was. A content that changed while size and times did not
//! has rotted, if a second read past the page cache says so too and nobody can have written it.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use record::{Digest, DigestKind, EntryId, Time};
use rustix::fs::{Mode, OFlags, open};

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use super::hand::{BATCH, Hand};
use super::{START, Told, Work, after};
use crate::algorithm::Algorithm;
use crate::look::{Eye, Refused};
use crate::read::{Content, Depth, How, read};
use crate::shelf::{Closed, Found, Known, Opened, ShelfError};

const WRITTEN: &str = "somebody has it open for writing";

/// Bytes read between two deliveries.
const DELIVER: u64 = 1 << 30;

/// What came of reading a file again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is what it was.
    Same,
    /// It changed in an ordinary way, or is gone.
    Changed,
    /// It rotted.
    Rotten {
        /// What it held.
        was: Digest,
        /// What it holds.
        is: Digest,
    },
    /// It holds something else, or may, and that it rotted is not sure: why.
    Unsure(&'static str),
    /// It cannot be read: why.
    Refused(String),
}

/// What was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Files that are what they were.
    pub same: u64,
    /// Files that changed in an ordinary way.
    pub changed: u64,
    /// Files that rotted.
    pub rotten: u64,
    /// Files of which it is not sure.
    pub unsure: u64,
    /// Files that could not be read.
    pub refused: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Work<'_> {
    /// Reads every file again of which the content was last read in full before `time`, and for which `wanted` holds. `tell` is
    /// told of each; a stop, or its false, ends it, and what was proved stays so.
    ///
    /// # Errors
    /// When the index fails.
    pub fn scrub(
        &mut self,
        time: Time,
        wanted: &dyn Fn(EntryId) -> Result<bool, ShelfError>,
        tell: Told<'_>,
    ) -> Result<Scrubbed, ShelfError> {
        let mut sum = Scrubbed::default();
        let (mut from, mut found, mut since) = (START.1, Vec::new(), 0);
        let mut more = true;
        while more {
            let ids = self.shelf.unproved(time, from, BATCH)?;
            let Some(next) = ids.last().and_then(|last| after(*last)) else { break };
            from = next;
            for (id, known) in self.known(&ids)? {
                let Some(was) = known.digest.filter(|_| !known.writing) else { continue };
                if !wanted(id)? {
                    continue;
                }
                let before = self.meter.counted().bytes;
                let proof = self.prove(id, &known, was, &mut found);
                let bytes = self.meter.counted().bytes.saturating_sub(before);
                (sum.bytes, since) = (sum.bytes + bytes, since + bytes);
                match &proof {
                    Proof::Same => sum.same += 1,
                    Proof::Changed => sum.changed += 1,
                    Proof::Rotten { .. } => sum.rotten += 1,
                    Proof::Unsure(_) => sum.unsure += 1,
                    Proof::Refused(_) => sum.refused += 1,
                }
                if since >= DELIVER || matches!(proof, Proof::Rotten { .. }) {
                    since = 0;
                    self.hand_over(&mut found)?;
                }
                more = tell(id, proof) && !self.stop.load(Ordering::Relaxed);
                if !more {
                    break;
                }
            }
            self.hand_over(&mut found)?;
        }
        Ok(sum)
    }

    fn hand_over(&mut self, found: &mut Vec<Found>) -> Result<(), ShelfError> {
        let mut put_off = HashSet::new();
        let mut hand = Hand::new(self.shelf, &mut self.later, &mut put_off);
        hand.found = std::mem::take(found);
        hand.deliver()
    }

    fn prove(&self, id: EntryId, known: &Known, was: Digest, found: &mut Vec<Found>) -> Proof {
        let sampled = was.kind == DigestKind::Blake3Sampled;
        let algorithm =
            if was.kind == DigestKind::Blake2b256 { Algorithm::Blake2b256 } else { Algorithm::Blake3 };
        let depth = if sampled { Depth::Sampled } else { Depth::Full };
        let first = match self.shelf.opener().open(id).map_err(closed) {
            Ok(opened) => {
                let how = How { depth, algorithm, parallel: opened.solid, direct: false };
                self.once(&opened.file, how, known).map(|content| (content, opened))
            }
            Err(proof) => Err(proof),
        };
        let (content, opened) = match first {
            Ok(read) => read,
            Err(proof) => {
                if proof == Proof::Changed {
                    found.push(Found::Astray(id));
                }
                return proof;
            }
        };
        let birth = known.birth;
        if content.digest == was {
            let extents = opened.extents;
            found.push(Found::Content { id, birth, content, extents });
            return Proof::Same;
        }
        if sampled {
            return Proof::Unsure("only parts of it are known, and one of those is another");
        }
        match self.again(id, known, &opened, algorithm) {
            Ok(second) if second.digest == was => {
                Proof::Unsure("what is on the disk is right, what is in memory is not written yet")
            }
            Ok(second) if second.digest == content.digest => {
                found.push(Found::Rotten { id, birth, content: second, was });
                Proof::Rotten { was, is: second.digest }
            }
            Ok(_) => Proof::Unsure("each read gives something else: the disk or its cable is failing"),
            Err(proof) => proof,
        }
    }

    /// The second read, past the page cache.
    fn again(
        &self,
        id: EntryId,
        known: &Known,
        opened: &Opened,
        algorithm: Algorithm,
    ) -> Result<Content, Proof> {
        let (file, direct) = match past_the_cache(&opened.file) {
            Ok(file) => (file, true),
            // The file system has no such thing: the best there is is to have the pages dropped.
            Err(_) => {
                let _ = rustix::fs::fadvise(&opened.file, 0, None, rustix::fs::Advice::DontNeed);
                let again = opened.file.try_clone().map_err(|error| Proof::Refused(error.to_string()))?;
                (again, false)
            }
        };
        let how = How { depth: Depth::Full, algorithm, parallel: opened.solid, direct };
        let content = self.once(&file, how, known)?;
        drop(file);
        // Nobody came meanwhile who maps it.
        let after = self.shelf.opener().open(id).map_err(closed)?;
        if self.shelf.has_writer(&after.file) == Some(false) {
            Ok(content)
        } else {
            Err(Proof::Unsure("whether somebody is writing it cannot be known"))
        }
    }

    fn once(&self, file: &File, how: How, known: &Known) -> Result<Content, Proof> {
        let eye: &dyn Eye = self.shelf;
        let content =
            read(file, how, eye, &mut |ahead| super::readers::wait(self.pace, self.stop, ahead.bytes))
                .map_err(|refused| match refused {
                    Refused::Changed | Refused::NoFile | Refused::Young { .. } => Proof::Changed,
                    Refused::Written => Proof::Unsure(WRITTEN),
                    Refused::Stopped => Proof::Unsure("the scrub was stopped"),
                    Refused::Unsized | Refused::Failed { .. } => {
                        Proof::Refused(super::readers::why(&refused))
                    }
                })?;
        self.meter.file();
        self.meter.read(content.read);
        if content.stamp == known.stamp { Ok(content) } else { Err(Proof::Changed) }
    }
}

fn closed(closed: Closed) -> Proof {
    match closed {
        Closed::Gone => Proof::Changed,
        Closed::Refused(error) => Proof::Refused(error.to_string()),
    }
}

/// The same file, open past the page cache.
fn past_the_cache(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(open(path, flags, Mode::empty())?))
}
