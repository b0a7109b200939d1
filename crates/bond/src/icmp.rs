//! ICMP answers of a router, and the hop count.
//!
//! Owns building "too big", "unreachable" and "time exceeded" for both families, and what must never be answered.
//! Refuses to know routes and rates: the caller decides that a packet cannot go on, which address answers for it, and
//! how many answers a second there may be (RFC 4443 §2.4(f) demands a limit).

use crate::checksum;
use crate::packet::{ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, Packet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1812 §4.3.2.3: an IPv4 answer is at most this long.
const IPV4_ANSWER_MAX: usize = 576;
/// RFC 4443 §2.4(c): an IPv6 answer fits the minimum MTU.
const IPV6_ANSWER_MAX: usize = 1280;
const ICMP_HEADER: usize = 8;
const ANSWER_TTL: u8 = 64;
/// RFC 1812 §4.3.2.5: errors carry precedence 6, internetwork control.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Why a packet cannot reach its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    NoRoute,
    Host,
    Port,
    /// Some rule forbids the destination.
    Prohibited,
    /// The sender may not use this source address.
    Source,
}

/// The packet is longer than `mtu` and may not be fragmented.
///
/// `None` if there is nothing to answer: it fits, routers may fragment it, or [the rules](may_answer) forbid it.
#[must_use]
pub fn too_big(packet: &[u8], mtu: usize, from: IpAddr) -> Option<Vec<u8>> {
    let packet = Packet::read(packet).ok()?;
    if packet.total_len() <= mtu || !packet.dont_fragment() {
        return None;
    }
    let ipv4_mtu = u32::from(u16::try_from(mtu).unwrap_or(u16::MAX));
    // RFC 8200 §5: no link is below 1280, and RFC 8201 §4 has hosts ignore a lower value.
    let ipv6_mtu = u32::try_from(mtu.max(IPV6_ANSWER_MAX)).unwrap_or(u32::MAX);
    let message = Message { ipv4: (3, 4, ipv4_mtu), ipv6: (2, 0, ipv6_mtu), to_multicast: true };
    answer(&packet, from, &message)
}

/// The packet cannot reach its destination.
#[must_use]
pub fn unreachable(packet: &[u8], code: Unreachable, from: IpAddr) -> Option<Vec<u8>> {
    let (ipv4, ipv6) = match code {
        Unreachable::NoRoute => (0, 0),
        Unreachable::Host => (1, 3),
        Unreachable::Port => (3, 4),
        Unreachable::Prohibited => (13, 1),
        Unreachable::Source => (13, 5),
    };
    let message = Message { ipv4: (3, ipv4, 0), ipv6: (1, ipv6, 0), to_multicast: false };
    answer(&Packet::read(packet).ok()?, from, &message)
}

/// The packet's hop count ran out here.
#[must_use]
pub fn time_exceeded(packet: &[u8], from: IpAddr) -> Option<Vec<u8>> {
    let message = Message { ipv4: (11, 0, 0), ipv6: (3, 0, 0), to_multicast: false };
    answer(&Packet::read(packet).ok()?, from, &message)
}

/// Takes one hop off the TTL or hop limit. False if the packet must not go on: it expired (and is left as it was,
/// ready for [`time_exceeded`]) or is no IP packet.
pub fn decrement_ttl(packet: &mut [u8]) -> bool {
    match packet.first().map(|b| b >> 4) {
        Some(4) if packet.len() >= IPV4_HEADER => {
            let old = u16::from_be_bytes([packet[8], packet[9]]);
            if packet[8] <= 1 {
                return false;
            }
            packet[8] -= 1;
            let sum = u16::from_be_bytes([packet[10], packet[11]]);
            let sum = checksum::updated(sum, old, old - 0x0100);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            true
        }
        Some(6) if packet.len() >= IPV6_HEADER && packet[7] > 1 => {
            packet[7] -= 1;
            true
        }
        _ => false,
    }
}

/// Type, code and the second word of the header, for each family.
struct Message {
    ipv4: (u8, u8, u32),
    ipv6: (u8, u8, u32),
    /// RFC 4443 §2.4(e.3): of these, only "too big" answers an IPv6 packet to a multicast address.
    to_multicast: bool,
}

fn answer(packet: &Packet<'_>, from: IpAddr, message: &Message) -> Option<Vec<u8>> {
    if !may_answer(packet, message.to_multicast) {
        return None;
    }
    match (from, packet.source()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(write_ipv4(packet, from, to, message.ipv4)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(write_ipv6(packet, from, to, message.ipv6)),
        _ => None,
    }
}

/// RFC 1122 §3.2.2, RFC 1812 §4.3.2.7 and RFC 4443 §2.4(e): no answer to an error, to a later fragment, or to what
/// came from or went to more than one host.
fn may_answer(packet: &Packet<'_>, to_multicast: bool) -> bool {
    if packet.is_later_fragment() || is_icmp_error(packet) {
        return false;
    }
    match (packet.source(), packet.destination()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => is_one_host(source) && !is_group(destination),
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let one_host = !source.is_multicast() && !source.is_unspecified() && !source.is_loopback();
            one_host && (to_multicast || !destination.is_multicast())
        }
        _ => false,
    }
}

fn is_one_host(source: Ipv4Addr) -> bool {
    // Net 0 and class E name no host; 255.255.255.255 is in the latter.
    let first = source.octets()[0];
    first != 0 && first < 240 && !source.is_loopback() && !source.is_multicast()
}

const fn is_group(destination: Ipv4Addr) -> bool {
    destination.is_multicast() || destination.is_broadcast()
}

/// Unknown and unreadable messages count as errors, so that two routers never answer each other.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let kind = packet.transport().first().copied();
    match packet.protocol() {
        // Echo, router discovery, timestamp, information and mask messages ask or reply; all others report.
        ICMP => !matches!(kind, Some(0 | 8..=10 | 13..=18)),
        // RFC 4443 §2.1: errors have the high bit clear; §2.4(e.2): a redirect is not answered either.
        ICMPV6 => kind.is_none_or(|kind| kind < 128 || kind == 137),
        _ => false,
    }
}

fn write_ipv4(
    packet: &Packet<'_>,
    from: Ipv4Addr,
    to: Ipv4Addr,
    (kind, code, word): (u8, u8, u32),
) -> Vec<u8> {
    let quoted = quote(packet, IPV4_ANSWER_MAX - IPV4_HEADER - ICMP_HEADER);
    let len = IPV4_HEADER + ICMP_HEADER + quoted.len();
    let mut out = Vec::with_capacity(len);
    out.extend([0x45, INTERNETWORK_CONTROL]);
    out.extend(be_len(len));
    out.extend([0, 0, 0, 0, ANSWER_TTL, ICMP, 0, 0]);
    out.extend(from.octets());
    out.extend(to.octets());
    let sum = checksum::over(&out);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    write_message(&mut out, (kind, code, word), quoted);
    let sum = checksum::over(&out[IPV4_HEADER..]);
    out[IPV4_HEADER + 2..IPV4_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    out
}

fn write_ipv6(packet: &Packet<'_>, from: Ipv6Addr, to: Ipv6Addr, message: (u8, u8, u32)) -> Vec<u8> {
    let quoted = quote(packet, IPV6_ANSWER_MAX - IPV6_HEADER - ICMP_HEADER);
    let len = ICMP_HEADER + quoted.len();
    let mut out = Vec::with_capacity(IPV6_HEADER + len);
    out.extend([0x60, 0, 0, 0]);
    out.extend(be_len(len));
    out.extend([ICMPV6, ANSWER_TTL]);
    out.extend(from.octets());
    out.extend(to.octets());
    write_message(&mut out, message, quoted);
    let sum = checksum::over_icmpv6(from, to, &out[IPV6_HEADER..]);
    out[IPV6_HEADER + 2..IPV6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    out
}

fn write_message(out: &mut Vec<u8>, (kind, code, word): (u8, u8, u32), quoted: &[u8]) {
    out.extend([kind, code, 0, 0]);
    out.extend(word.to_be_bytes());
    out.extend_from_slice(quoted);
}

fn quote<'a>(packet: &Packet<'a>, limit: usize) -> &'a [u8] {
    &packet.bytes()[..packet.total_len().min(limit)]
}

/// Lengths here are bounded by the answer's maximum.
fn be_len(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;
