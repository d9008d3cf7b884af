//! Which seqs of a source were seen: all up to a watermark, and stretches behind holes. Knows no record, and not what a hole means.

/// Stretches behind holes that are told apart; of more the first is taken as not seen.
pub const MOST_STRETCHES: usize = 64;

/// Notes that `seq` was seen; false when it had been.
pub fn saw(watermark: &mut u64, stretches: &mut Vec<(u64, u64)>, seq: u64) -> bool {
    if seq <= *watermark || stretches.iter().any(|(first, last)| (*first..=*last).contains(&seq)) {
        return false;
    }
    match stretches.iter_mut().find(|(_, last)| last.checked_add(1) == Some(seq)) {
        Some(stretch) => stretch.1 = seq,
        None => stretches.push((seq, seq)),
    }
    join(watermark, stretches);
    true
}

/// Joins what touches.
pub fn join(watermark: &mut u64, stretches: &mut Vec<(u64, u64)>) {
    stretches.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(stretches.len());
    for (first, last) in stretches.drain(..) {
        if first <= watermark.saturating_add(1) {
            *watermark = (*watermark).max(last);
            continue;
        }
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    if joined.len() > MOST_STRETCHES {
        joined.remove(0);
    }
    *stretches = joined;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seq_is_seen_once_in_whatever_order() {
        let (mut watermark, mut stretches) = (0, Vec::new());
        for seq in [5, 1, 2, 6, 9, u64::MAX, 7] {
            assert!(saw(&mut watermark, &mut stretches, seq), "{seq}");
            assert!(!saw(&mut watermark, &mut stretches, seq), "{seq}");
        }
        assert_eq!((watermark, &stretches[..]), (2, &[(5, 7), (9, 9), (u64::MAX, u64::MAX)][..]));
        assert!(saw(&mut watermark, &mut stretches, 4) && saw(&mut watermark, &mut stretches, 3));
        assert_eq!((watermark, stretches.len()), (7, 2));
    }
}
