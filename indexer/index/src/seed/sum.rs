//! A sum over the bytes of runs and their manifest, which tells damage from what was written. It stands against accidents
//! and not against malice.

use std::io::Write;

/// Odd, so that multiplying loses nothing.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sum of bytes that come in pieces, however they are cut.
///
/// Four lanes take 8 bytes in turn. Each step of a lane is one-to-one both in what it held and in what it takes, so a
/// change of any 8 bytes, and of any one bit, always changes the sum.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    lanes: [u64; 4],
    held: [u8; 32],
    used: usize,
    length: u64,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { lanes: [1, 2, 3, 4], held: [0; 32], used: 0, length: 0 }
    }
}

impl Sum {
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut sum = Sum::default();
        sum.add(bytes);
        sum.finish()
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let mut rest = bytes;
        if self.used > 0 {
            let taken = rest.len().min(32 - self.used);
            self.held[self.used..self.used + taken].copy_from_slice(&rest[..taken]);
            self.used += taken;
            rest = &rest[taken..];
            if self.used < 32 {
                return;
            }
            let block = self.held;
            self.block(&block);
            self.used = 0;
        }
        while let Some((block, after)) = rest.split_first_chunk::<32>() {
            self.block(block);
            rest = after;
        }
        self.held[..rest.len()].copy_from_slice(rest);
        self.used = rest.len();
    }

    fn block(&mut self, block: &[u8; 32]) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = step(*lane, u64::from_le_bytes(*word));
        }
    }

    pub(crate) fn finish(mut self) -> u64 {
        self.held[self.used..].fill(0);
        let block = self.held;
        self.block(&block);
        let whole = self.lanes.into_iter().fold(self.length, step);
        whole ^ (whole >> 32)
    }
}

fn step(held: u64, word: u64) -> u64 {
    (held ^ word).wrapping_mul(FACTOR).rotate_left(29)
}

/// Adds up what is written through it.
pub(crate) struct Summed<W> {
    out: W,
    sum: Sum,
}

impl<W: Write> Summed<W> {
    pub(crate) fn new(out: W) -> Summed<W> {
        Summed { out, sum: Sum::default() }
    }

    /// Bytes written, and their sum.
    pub(crate) fn finish(self) -> (u64, u64) {
        (self.sum.length, self.sum.finish())
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write_all(bytes)?;
        self.sum.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces do not matter, any bit does, and so does the length: zeros at the end are bytes too.
    #[test]
    fn every_bit_counts_and_no_cut_does() {
        let bytes: Vec<u8> = (0..301u32).map(|at| (at * 7) as u8).collect();
        let whole = Sum::of(&bytes);
        for cut in 0..bytes.len() {
            let mut sum = Sum::default();
            sum.add(&bytes[..cut]);
            sum.add(&bytes[cut..]);
            assert_eq!(sum.finish(), whole);
            assert_ne!(Sum::of(&bytes[..cut]), whole);
        }
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sum::of(&other), whole, "bit {bit}");
        }
        assert_ne!(Sum::of(&[0; 8]), Sum::of(&[0; 9]));
    }
}
