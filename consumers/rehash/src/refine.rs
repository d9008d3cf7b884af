//! Which reads come next, so that equal files of one size all get full digests and unequal ones are not read through. Pure:
//! asked again after each reading, until nothing is left.

use std::collections::HashMap;
use std::hash::Hash;

use record::{Digest, EntryId};

use crate::token::{TAIL_OVER, TOKEN_BYTES, Token};

/// A file among all those of one size, and what is known of its content as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub id: EntryId,
    /// Its full digest, of the one kind that all of them are to have.
    pub full: Option<Digest>,
    /// Of its first 4 KiB.
    pub head: Option<Token>,
    /// Of its last 4 KiB.
    pub tail: Option<Token>,
}

/// What is to be read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// All of it: [`read`](crate::read()).
    Full,
    /// Its begin: [`head`](crate::head).
    Head,
    /// Its end: [`tail`](crate::tail).
    Tail,
}

/// What is to be read next of files of `size` bytes, at most one thing of each, in the order of `members`. None when those that
/// could be equal all have digests. A file that cannot be read must be left out, or it is asked for again.
#[must_use]
pub fn next(size: u64, members: &[Member]) -> Vec<(EntryId, Need)> {
    let all: Vec<&Member> = members.iter().collect();
    let mut needs = HashMap::new();
    if is_open(&all) {
        if size <= TOKEN_BYTES {
            need_full(&all, &mut needs);
        } else {
            for same_head in split(&all, Need::Head, |member| member.head, &mut needs) {
                if size <= TAIL_OVER {
                    need_full(&same_head, &mut needs);
                } else {
                    for same_ends in split(&same_head, Need::Tail, |member| member.tail, &mut needs) {
                        need_full(&same_ends, &mut needs);
                    }
                }
            }
        }
    }
    members.iter().filter_map(|member| Some((member.id, needs.remove(&member.id)?))).collect()
}

/// Whether something is still to be found out: there are several, and one has no digest.
fn is_open(members: &[&Member]) -> bool {
    members.len() > 1 && members.iter().any(|member| member.full.is_none())
}

/// The open groups of those with equal tokens; who has none needs one, also with a digest, since another may be equal to it.
fn split<'a, T: Hash + Eq>(
    members: &[&'a Member],
    need: Need,
    token: impl Fn(&Member) -> Option<T>,
    needs: &mut HashMap<EntryId, Need>,
) -> Vec<Vec<&'a Member>> {
    let mut groups: HashMap<T, Vec<&Member>> = HashMap::new();
    for member in members {
        match token(member) {
            Some(token) => groups.entry(token).or_default().push(member),
            None => _ = needs.insert(member.id, need),
        }
    }
    groups.into_values().filter(|group| is_open(group)).collect()
}

fn need_full(members: &[&Member], needs: &mut HashMap<EntryId, Need>) {
    needs.extend(members.iter().filter(|member| member.full.is_none()).map(|member| (member.id, Need::Full)));
}

#[cfg(test)]
mod tests;
