//! Packet numbers travel as their lowest 1 to 4 bytes (RFC 9000 §17.1, appendix A).

use crate::cursor::{VARINT_MAX, Writer};

/// The largest packet number (RFC 9000 §12.3).
pub const PN_MAX: u64 = VARINT_MAX;

/// Bytes to send of `pn` so that whoever last got `largest_acked` can restore it.
///
/// RFC 9000 §17.1: the encoding covers more than twice the distance to the largest acknowledged packet.
#[must_use]
pub const fn pn_len(pn: u64, largest_acked: Option<u64>) -> usize {
    let distance = match largest_acked {
        Some(acked) => pn.saturating_sub(acked),
        None => pn.saturating_add(1),
    };
    match distance {
        0..0x80 => 1,
        0x80..0x8000 => 2,
        0x8000..0x80_0000 => 3,
        _ => 4,
    }
}

/// The lowest `len` bytes of `pn`; `len` is 1 to 4.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "truncating is its purpose")]
pub const fn truncate(pn: u64, len: usize) -> u32 {
    debug_assert!(matches!(len, 1..=4));
    pn as u32 & (u32::MAX >> (32 - 8 * len))
}

/// The packet number closest to the successor of `largest` that ends in these `len` bytes; `len` is 1 to 4.
///
/// `largest` is the largest packet number received so far in this space *and authenticated*.
#[must_use]
pub const fn expand(largest: Option<u64>, truncated: u32, len: usize) -> u64 {
    debug_assert!(matches!(len, 1..=4));
    let expected = match largest {
        Some(largest) => largest + 1,
        None => 0,
    };
    let window = 1u64 << (8 * len);
    let candidate = (expected & !(window - 1)) | truncated as u64;
    if candidate + window / 2 <= expected && candidate + window <= PN_MAX {
        candidate + window
    } else if candidate >= window && (candidate > expected + window / 2 || candidate > PN_MAX) {
        candidate - window
    } else {
        candidate
    }
}

/// The truncated number in the 1 to 4 bytes of an unprotected header.
#[must_use]
pub fn read(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, b| (n << 8) | u32::from(*b))
}

pub(crate) fn write(pn: u64, len: usize, out: &mut Writer<'_>) {
    let [a, b, c, d] = truncate(pn, len).to_be_bytes();
    // Copies of a known length are moves and no calls.
    match len {
        1 => out.put(&[d]),
        2 => out.put(&[c, d]),
        3 => out.put(&[b, c, d]),
        _ => out.put(&[a, b, c, d]),
    }
}

#[cfg(test)]
mod tests;
