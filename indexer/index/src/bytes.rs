//! Packed numbers: LEB128 varints, zigzag for signed ones. Knows no row or record.

use crate::error::Corrupt;

/// Appends `value` as a LEB128 varint.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u128) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends `value` so that small magnitudes of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put(out, ((value << 1) ^ (value >> 127)).cast_unsigned());
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

/// Reads what the `put` functions wrote. Every read checks its bounds: the bytes may come from a damaged
/// disk.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&first, rest) = self.rest.split_first().ok_or(Corrupt("ends early"))?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Corrupt("ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Corrupt> {
        // All but a few fit a word, and a word's arithmetic is several times as fast.
        let mut word = 0u64;
        for (at, &byte) in self.rest.iter().take(9).enumerate() {
            word |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(u128::from(word));
            }
        }
        let mut value = 0u128;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let low = u128::from(byte & 0x7f);
            if shift > 126 || (shift == 126 && low > 3) {
                return Err(Corrupt("number too long"));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// A varint that must fit `T`.
    pub(crate) fn uint<T: TryFrom<u128>>(&mut self) -> Result<T, Corrupt> {
        T::try_from(self.u128()?).map_err(|_| Corrupt("number out of range"))
    }

    pub(crate) fn signed(&mut self) -> Result<i128, Corrupt> {
        let raw = self.u128()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.uint::<usize>()?;
        self.take(length)
    }

    /// All of it must have been read.
    pub(crate) fn end(self) -> Result<(), Corrupt> {
        if self.rest.is_empty() { Ok(()) } else { Err(Corrupt("has bytes too many")) }
    }
}
