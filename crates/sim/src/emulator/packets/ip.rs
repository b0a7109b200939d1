//! The few fields of an IP packet that a link may read or change. Whatever is no IP packet is left as it is.

use mpquic_base::Ecn;

pub(super) const UDP: u8 = 17;
/// RFC 3168 §5: the two low bits of the traffic class.
const ECN_BITS: u8 = 0b11;

/// Where the transport header begins and what it is, unless the packet is a fragment or has other headers before it.
pub(super) fn transport(packet: &[u8]) -> Option<(usize, u8)> {
    match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet[0] & 0xf) * 4;
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            (fragment == 0).then_some((length, *packet.get(9)?))
        }
        6 => Some((40, *packet.get(6)?)),
        _ => None,
    }
}

pub(super) fn ecn(packet: &[u8]) -> Ecn {
    let bits = match packet {
        [first, second, ..] if first >> 4 == 4 => second & ECN_BITS,
        [first, second, ..] if first >> 4 == 6 => second >> 4 & ECN_BITS,
        _ => 0,
    };
    Ecn::from_bits(bits)
}

/// Sets congestion experienced.
pub(super) fn mark(packet: &mut [u8]) {
    match packet {
        [first, second, ..] if *first >> 4 == 6 => *second |= ECN_BITS << 4,
        [first, second, _, _, _, _, _, _, _, _, high, low, ..] if *first >> 4 == 4 => {
            let before = u16::from_be_bytes([*first, *second]);
            *second |= ECN_BITS;
            let after = u16::from_be_bytes([*first, *second]);
            [*high, *low] = adjusted(u16::from_be_bytes([*high, *low]), before, after).to_be_bytes();
        }
        _ => {}
    }
}

/// RFC 1624 §3: an Internet checksum after one of the words below it changed.
pub(super) fn adjusted(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
