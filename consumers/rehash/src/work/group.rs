//! Files of one size, what is known of each, and what is to be read next.

use record::{EntryId, Hashing, Reading};

use super::Ask;
use super::readers::Job;
use crate::refine::{Member, Need, next};
use crate::shelf::Known;

pub(super) struct Group {
    /// In bytes.
    pub(super) size: u64,
    pub(super) files: Vec<Candidate>,
    /// Of what it needs, as much is still being read.
    pub(super) open: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: EntryId,
    pub(super) known: Known,
    /// It cannot be read now: as if it were not there.
    pub(super) out: bool,
}

impl Group {
    pub(super) fn new(size: u64, files: Vec<(EntryId, Known)>) -> Group {
        let files = files.into_iter().map(|(id, known)| Candidate { id, known, out: false });
        Group { size, files: files.collect(), open: 0 }
    }

    /// What is to be read next, when what it needed before is there: that decides.
    pub(super) fn next(&mut self, nth: usize, hashing: Hashing, ask: &Ask) -> Vec<Job> {
        let job = |(at, need): (usize, Need)| Job { id: self.files[at].id, need, place: (nth, at) };
        let jobs: Vec<Job> = self.needs(hashing, ask).map(job).collect();
        self.open = jobs.len();
        jobs
    }

    /// That, by the place of the file.
    fn needs(&self, hashing: Hashing, ask: &Ask) -> impl Iterator<Item = (usize, Need)> {
        let here = self.files.iter().enumerate().filter(|(_, file)| !file.out);
        let mut needs: Vec<(usize, Need)> = Vec::new();
        let candidates = hashing.reading == Reading::Candidates && matches!(ask, Ask::AsWanted);
        if candidates && self.files.iter().any(|file| !file.out && file.known.doubted) {
            // A digest that may be wrong is in a set, or would make one.
            needs.extend(here.filter(|(_, file)| file.known.doubted).map(|(at, _)| (at, Need::Full)));
        } else if candidates {
            let (places, members): (Vec<usize>, Vec<Member>) = here
                .map(|(at, file)| {
                    let Known { digest, head, tail, .. } = file.known;
                    let full = digest.filter(|digest| digest.kind == hashing.kind);
                    (at, Member { id: file.id, full, head, tail })
                })
                .unzip();
            // They come in the order of the members.
            let mut at = 0;
            for (id, need) in next(self.size, &members) {
                while members[at].id != id {
                    at += 1;
                }
                needs.push((places[at], need));
            }
        } else {
            let open = here.filter(|(_, file)| file.known.stamp.size > 0 && !enough(hashing, &file.known));
            needs.extend(open.map(|(at, _)| (at, Need::Full)));
        }
        needs.into_iter()
    }
}

/// Whether what is known of a file is all that is to be known.
pub(super) fn enough(hashing: Hashing, known: &Known) -> bool {
    !known.doubted && known.digest.is_some_and(|digest| hashing.is_enough(digest))
}
