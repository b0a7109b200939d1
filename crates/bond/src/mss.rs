//! Clamping the segment size of TCP to what fits through the tunnel.
//!
//! Owns the MSS option of a SYN or SYN-ACK. Refuses to know connections: each packet is looked at alone.

use crate::checksum;
use crate::packet::{IPV4_HEADER, IPV6_HEADER, Packet, TCP};

const TCP_HEADER: usize = 20;
const CHECKSUM_AT: usize = 16;
const SYN: u8 = 0x02;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;

/// Lowers the MSS of a TCP SYN so that full segments make packets of at most `mtu` bytes; never raises it.
///
/// RFC 6691 §2: the value leaves out the fixed IP and TCP headers only. True if the packet changed.
pub fn clamp(packet: &mut [u8], mtu: usize) -> bool {
    let Ok(read) = Packet::read(packet) else { return false };
    if read.protocol() != TCP || read.is_later_fragment() || read.is_authenticated() {
        return false;
    }
    let ip_header = if read.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
    let limit = u16::try_from(mtu.saturating_sub(ip_header + TCP_HEADER)).unwrap_or(u16::MAX);
    let Some(at) = mss_at(read.transport()) else { return false };
    let segment = read.transport_at();
    lower(&mut packet[segment..], at, limit)
}

/// Where the value of the MSS option starts within the segment.
fn mss_at(segment: &[u8]) -> Option<usize> {
    if segment.get(13)? & SYN == 0 {
        return None;
    }
    let header_len = usize::from(segment[12] >> 4) * 4;
    let header = segment.get(..header_len)?;
    let mut at = TCP_HEADER;
    loop {
        match *header.get(at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => match usize::from(*header.get(at + 1)?) {
                4 if kind == MSS => return (at + 4 <= header_len).then_some(at + 2),
                // A length below two would not move on.
                len => at += (len >= 2).then_some(len)?,
            },
        }
    }
}

fn lower(segment: &mut [u8], at: usize, limit: u16) -> bool {
    let old = u16::from_be_bytes([segment[at], segment[at + 1]]);
    if limit == 0 || old <= limit {
        return false;
    }
    segment[at..at + 2].copy_from_slice(&limit.to_be_bytes());
    // RFC 1071 §2(B): a value at an odd offset adds to the sum with its bytes swapped.
    let word = |value: u16| if at.is_multiple_of(2) { value } else { value.swap_bytes() };
    let checksum = u16::from_be_bytes([segment[CHECKSUM_AT], segment[CHECKSUM_AT + 1]]);
    let checksum = checksum::updated(checksum, word(old), word(limit));
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests;
