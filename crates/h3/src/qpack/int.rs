//! Integers with a prefix and strings (RFC 7541 §5.1 and §5.2, RFC 9204 §4.1).

use super::huffman;
use super::{QpackError, Sink};

/// RFC 9204 §4.1.1: decoders have to go up to 62 bits; nothing that is counted here is larger.
const INT_MAX: u64 = (1 << 62) - 1;

/// Takes bytes one at a time, for streams that deliver them in pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartialInt {
    value: u64,
    shift: u32,
}

impl PartialInt {
    /// Begins with the `bits` low bits of `first`: the value itself, or what follows is to be added.
    pub(crate) fn begin(first: u8, bits: u32) -> Result<u64, Self> {
        let mask = (1u64 << bits) - 1;
        let value = u64::from(first) & mask;
        if value < mask { Ok(value) } else { Err(Self { value, shift: 0 }) }
    }

    /// The value, once `byte` was its last.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<u64>, QpackError> {
        let low = u64::from(byte & 0x7f);
        // 9 bytes of 7 bits hold every value that is allowed.
        if self.shift > 56 || (low << self.shift) >> self.shift != low {
            return Err(QpackError::Decompression("an integer is too large"));
        }
        self.value += low << self.shift;
        self.shift += 7;
        if self.value > INT_MAX {
            return Err(QpackError::Decompression("an integer is too large"));
        }
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

/// Reads what a field section is made of.
#[derive(Debug)]
pub(super) struct Section<'a> {
    rest: &'a [u8],
}

impl<'a> Section<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The byte that comes next.
    pub(super) const fn next(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn byte(&mut self) -> Result<u8, QpackError> {
        let (first, rest) =
            self.rest.split_first().ok_or(QpackError::Decompression("a field section is cut off"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn int(&mut self, bits: u32) -> Result<u64, QpackError> {
        let mut partial = match PartialInt::begin(self.byte()?, bits) {
            Ok(value) => return Ok(value),
            Err(partial) => partial,
        };
        loop {
            if let Some(value) = partial.push(self.byte()?)? {
                return Ok(value);
            }
        }
    }

    /// A string whose length has a prefix of `bits`, with the Huffman flag before it. Huffman text goes through
    /// `scratch`; no string is longer than `limit`.
    pub(super) fn string<'s>(
        &mut self,
        bits: u32,
        scratch: &'s mut Vec<u8>,
        limit: usize,
    ) -> Result<&'s [u8], QpackError>
    where
        'a: 's,
    {
        let coded = self.next().is_some_and(|byte| byte >> bits & 1 == 1);
        let len = usize::try_from(self.int(bits)?).unwrap_or(usize::MAX);
        let cut = QpackError::Decompression("a string reaches beyond its field section");
        let (text, rest) = self.rest.split_at_checked(len).ok_or(cut)?;
        self.rest = rest;
        if !coded {
            return if len <= limit { Ok(text) } else { Err(QpackError::TooLarge) };
        }
        scratch.clear();
        // The shortest code has 5 bits, so this bounds what comes out; the limit is looked at afterwards.
        let most = len.saturating_mul(8) / 5 + 1;
        huffman::decode(text, scratch, most)
            .map_err(|_| QpackError::Decompression("a string is not Huffman code"))?;
        if scratch.len() <= limit { Ok(scratch) } else { Err(QpackError::TooLarge) }
    }
}

/// Writes `value` with a prefix of `bits` behind the flags in `first`.
pub(super) fn put_int(out: &mut Sink, first: u8, bits: u32, value: u64) {
    let mask = (1u64 << bits) - 1;
    if value < mask {
        out.push(first | value.to_le_bytes()[0]);
        return;
    }
    out.push(first | mask.to_le_bytes()[0]);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Writes a string whose length has a prefix of `bits`: in Huffman code if that is shorter.
pub(super) fn put_string(out: &mut Sink, first: u8, bits: u32, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    if coded < text.len() {
        put_int(out, first | 1 << bits, bits, coded as u64);
        huffman::encode(text, out);
    } else {
        put_int(out, first, bits, text.len() as u64);
        out.extend_from_slice(text);
    }
}
