//! The reads that are asked for, against a model whose files have few contents, few heads and few tails.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use record::{DigestKind, VolumeId};

use super::*;

const SIZES: [u64; 6] = [0, TOKEN_BYTES, TOKEN_BYTES + 1, TAIL_OVER, TAIL_OVER + 1, 1 << 30];

/// A content: what its head, middle and tail hold.
type Content = [u8; 3];

fn token(part: u8) -> Token {
    Token::of(&[part])
}

fn digest(content: Content) -> Digest {
    let [head, middle, tail] = content;
    let mut bytes = [0; 32];
    bytes[..3].copy_from_slice(&[head, middle, tail]);
    Digest { kind: DigestKind::Blake3, bytes }
}

/// A file, and which of its full digest, head and tail are known at first.
fn file() -> impl Strategy<Value = (Content, [bool; 3])> {
    ([0..3_u8, 0..2, 0..2], prop::array::uniform3(prop::bool::weighted(0.3)))
}

fn members(files: &[(Content, [bool; 3])]) -> Vec<Member> {
    let each = files.iter().zip(1..).map(|((content, [full, head, tail]), inode)| Member {
        id: EntryId::new(VolumeId(1), inode),
        full: full.then(|| digest(*content)),
        head: head.then(|| token(content[0])),
        tail: tail.then(|| token(content[2])),
    });
    each.collect()
}

/// Reads what is asked for, all of it or the first alone, until nothing is: all that was asked for.
fn refine(size: u64, contents: &[Content], members: &mut [Member], all: bool) -> Vec<(usize, Need)> {
    let mut asked = Vec::new();
    loop {
        let needs = next(size, members);
        if needs.is_empty() {
            return asked;
        }
        for (id, need) in needs.into_iter().take(if all { usize::MAX } else { 1 }) {
            let at = members.iter().position(|member| member.id == id).expect("a member");
            let member = &mut members[at];
            let content = contents[at];
            match need {
                Need::Full => assert!(member.full.replace(digest(content)).is_none(), "read twice"),
                Need::Head => assert!(member.head.replace(token(content[0])).is_none(), "read twice"),
                Need::Tail => assert!(member.tail.replace(token(content[2])).is_none(), "read twice"),
            }
            asked.push((at, need));
        }
    }
}

fn count<T: std::hash::Hash + Eq>(keys: impl Iterator<Item = T>) -> HashMap<T, usize> {
    keys.fold(HashMap::new(), |mut counts, key| {
        *counts.entry(key).or_default() += 1;
        counts
    })
}

proptest! {
    #[test]
    fn equal_files_get_digests_and_others_are_not_read(
        files in vec(file(), 0..9), size in prop::sample::select(&SIZES), all: bool,
    ) {
        let contents: Vec<Content> = files.iter().map(|(content, _)| *content).collect();
        let mut members = members(&files);
        let asked = refine(size, &contents, &mut members, all);
        let equal = count(contents.iter());
        for (member, content) in members.iter().zip(&contents) {
            if equal[content] > 1 {
                prop_assert_eq!(member.full, Some(digest(*content)));
            }
        }
        let heads = count(contents.iter().map(|[head, _, _]| head));
        let ends = count(contents.iter().map(|[head, _, tail]| (head, tail)));
        for (at, need) in asked {
            let [head, _, tail] = &contents[at];
            match need {
                Need::Full if size > TAIL_OVER => prop_assert!(ends[&(head, tail)] > 1),
                Need::Full if size > TOKEN_BYTES => prop_assert!(heads[head] > 1),
                Need::Full => prop_assert!(contents.len() > 1),
                Need::Tail => prop_assert!(size > TAIL_OVER && heads[head] > 1),
                Need::Head => prop_assert!(size > TOKEN_BYTES && contents.len() > 1),
            }
        }
        prop_assert!(next(size, &members).is_empty());
    }
}

#[test]
fn one_file_alone_needs_nothing() {
    for size in SIZES {
        assert!(next(size, &[]).is_empty());
        assert!(next(size, &members(&[([0, 0, 0], [false; 3])])).is_empty());
    }
}

#[test]
fn a_digest_needs_its_head_while_another_could_match() {
    let known = ([1, 1, 1], [true, false, false]);
    let both = members(&[known, ([1, 1, 1], [false, true, false])]);
    assert_eq!(next(1 << 20, &both), [(both[0].id, Need::Head)]);
    assert!(next(1 << 20, &members(&[known, known])).is_empty());
}

#[test]
fn heads_then_tails_then_all() {
    let contents = [[1, 1, 1], [1, 1, 1], [1, 1, 2], [2, 1, 1]];
    let mut members = members(&contents.map(|content| (content, [false; 3])));
    let asked = refine(1 << 20, &contents, &mut members, true);
    let (heads, tails) = ([0, 1, 2, 3].map(|at| (at, Need::Head)), [0, 1, 2].map(|at| (at, Need::Tail)));
    assert_eq!(asked, [&heads[..], &tails, &[(0, Need::Full), (1, Need::Full)]].concat());
}
