//! The Internet checksum (RFC 1071) and its update in place (RFC 1624).

use crate::packet::ICMPV6;
use std::net::Ipv6Addr;

/// The checksum over `bytes`, in which the checksum field itself is zero.
pub(crate) fn over(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// RFC 4443 §2.3: with the pseudo-header of RFC 8200 §8.1 in front.
pub(crate) fn over_icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let pseudo =
        sum(&source.octets()) + sum(&destination.octets()) + message.len() as u64 + u64::from(ICMPV6);
    !fold(pseudo + sum(message))
}

/// RFC 1624 §3, equation 3: the checksum after one 16-bit word changed from `old` to `new`.
pub(crate) fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, odd) = bytes.as_chunks::<2>();
    let whole: u64 = words.iter().map(|w| u64::from(u16::from_be_bytes(*w))).sum();
    whole + odd.first().map_or(0, |last| u64::from(*last) << 8)
}

#[allow(clippy::cast_possible_truncation, reason = "the loop ends with a value of 16 bits")]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
