//! The Huffman code of HPACK (RFC 7541, appendix B), which QPACK uses as well.
//!
//! The code is canonical: symbols of one length have consecutive codes in the order of their values, so the lengths
//! say everything and both directions are computed from them at compile time.

/// Bits of each symbol's code; symbol 256 is EOS.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];
const SYMBOLS: usize = 257;
const EOS: u16 = 256;
const LEN_MAX: usize = 30;
const CODES: Codes = Codes::new();

/// A string that is not the code of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadCode;

/// Bytes that `text` takes when encoded.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0u32);
    for byte in text {
        let symbol = usize::from(*byte);
        let len = u32::from(LENGTHS[symbol]);
        bits = (bits << len) | u64::from(CODES.of[symbol]);
        held += len;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held).to_le_bytes()[0]);
        }
    }
    if held > 0 {
        // RFC 7541 §5.2: padded with the beginning of EOS, which is ones.
        let pad = 8 - held;
        out.push(((bits << pad) | ((1 << pad) - 1)).to_le_bytes()[0]);
    }
}

/// Decodes all of `bytes` onto `out`, which may grow up to `limit` bytes.
pub(super) fn decode(bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), BadCode> {
    let (mut bits, mut held, mut rest) = (0u64, 0usize, bytes.iter());
    loop {
        while held <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        // Beyond the end everything is one, as in padding.
        let ahead = if held >= 64 { bits } else { bits | (u64::MAX >> held) };
        let (symbol, len) = CODES.symbol(ahead);
        if len > held {
            // RFC 7541 §5.2: padding is shorter than a byte and all ones.
            let all_ones = held == 0 || bits >> (64 - held) == (1 << held) - 1;
            return if held < 8 && all_ones { Ok(()) } else { Err(BadCode) };
        }
        if symbol == EOS || out.len() >= limit {
            return Err(BadCode);
        }
        out.push(symbol.to_le_bytes()[0]);
        bits <<= len;
        held -= len;
    }
}

/// The code, ready for both directions.
struct Codes {
    of: [u32; SYMBOLS],
    /// By code: all symbols, the shorter codes first.
    sorted: [u16; SYMBOLS],
    /// For each length, the first code that is longer, as the top 32 bits of a window; and what to subtract from a code
    /// to get an index into `sorted`.
    end: [u64; LEN_MAX + 1],
    offset: [i64; LEN_MAX + 1],
}

impl Codes {
    #[allow(clippy::cast_possible_truncation, reason = "symbols are below 257, lengths below 31")]
    const fn new() -> Self {
        let (mut of, mut sorted) = ([0; SYMBOLS], [0; SYMBOLS]);
        let (mut end, mut offset) = ([0; LEN_MAX + 1], [0; LEN_MAX + 1]);
        let (mut code, mut index, mut len) = (0u64, 0usize, 1);
        while len <= LEN_MAX {
            code <<= 1;
            offset[len] = code as i64 - index as i64;
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == len {
                    of[symbol] = code as u32;
                    sorted[index] = symbol as u16;
                    code += 1;
                    index += 1;
                }
                symbol += 1;
            }
            end[len] = code << (32 - len);
            len += 1;
        }
        // The code is complete: nothing is left beyond the last symbol.
        assert!(index == SYMBOLS && code == 1 << LEN_MAX);
        Self { of, sorted, end, offset }
    }

    /// The symbol that `window` begins with, and its length.
    fn symbol(&self, window: u64) -> (u16, usize) {
        let top = window >> 32;
        let mut len = 5;
        while len < LEN_MAX && top >= self.end[len] {
            len += 1;
        }
        let code = i64::try_from(window >> (64 - len)).unwrap_or(0);
        let index = usize::try_from(code - self.offset[len]).unwrap_or(0);
        (self.sorted.get(index).copied().unwrap_or(EOS), len)
    }
}

#[cfg(test)]
mod tests;
