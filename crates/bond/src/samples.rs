//! Packets for tests, built by another implementation (etherparse), which also checks checksums by recomputing them.

use etherparse::{PacketBuilder, PacketBuilderStep, SlicedPacket, TcpOptionElement, TransportSlice};
use std::net::IpAddr;

pub(crate) const CLIENT4: [u8; 4] = [10, 0, 0, 2];
pub(crate) const SERVER4: [u8; 4] = [93, 184, 216, 34];

pub(crate) fn client6() -> [u8; 16] {
    "2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets()
}

pub(crate) fn server6() -> [u8; 16] {
    "2001:db8:1::34".parse::<std::net::Ipv6Addr>().unwrap().octets()
}

pub(crate) fn router(ipv4: bool) -> IpAddr {
    if ipv4 { "192.0.2.1".parse().unwrap() } else { "2001:db8:ff::1".parse().unwrap() }
}

/// Routers may fragment it if it is IPv4.
pub(crate) fn udp(ipv4: bool, payload: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let builder = if ipv4 {
        PacketBuilder::ipv4(CLIENT4, SERVER4, 64)
    } else {
        PacketBuilder::ipv6(client6(), server6(), 64)
    };
    let mut out = Vec::new();
    builder.udp(5000, 53).write(&mut out, &payload).unwrap();
    if ipv4 {
        out[6] = 0;
        set_header_checksum(&mut out);
    }
    out
}

pub(crate) fn syn(ipv4: bool, options: &[TcpOptionElement]) -> Vec<u8> {
    let builder: PacketBuilderStep<_> = if ipv4 {
        PacketBuilder::ipv4(CLIENT4, SERVER4, 64)
    } else {
        PacketBuilder::ipv6(client6(), server6(), 64)
    };
    let mut out = Vec::new();
    builder.tcp(40000, 443, 7, 65535).syn().options(options).unwrap().write(&mut out, &[]).unwrap();
    out
}

pub(crate) fn ping(ipv4: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if ipv4 {
        PacketBuilder::ipv4(CLIENT4, SERVER4, 64)
            .icmpv4_echo_request(77, 1)
            .write(&mut out, b"ping")
            .unwrap();
    } else {
        PacketBuilder::ipv6(client6(), server6(), 64)
            .icmpv6_echo_request(77, 1)
            .write(&mut out, b"ping")
            .unwrap();
    }
    out
}

/// An IPv6 packet with these headers, each `(next header value of itself, bytes)`, between the IP header and the rest.
pub(crate) fn with_extensions(packet: &[u8], extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = packet[..40].to_vec();
    let mut next_at = 6;
    let last = packet[6];
    for (kind, bytes) in extensions {
        out[next_at] = *kind;
        next_at = out.len();
        out.extend_from_slice(bytes);
    }
    out[next_at] = last;
    out.extend_from_slice(&packet[40..]);
    let len = u16::try_from(out.len() - 40).unwrap();
    out[4..6].copy_from_slice(&len.to_be_bytes());
    out
}

/// The same IPv4 packet with options in its header, and a header checksum that is right.
pub(crate) fn with_ipv4_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut out = packet[..20].to_vec();
    out.extend_from_slice(options);
    out.extend_from_slice(&packet[20..]);
    out[0] = 0x40 | u8::try_from(5 + options.len() / 4).unwrap();
    let len = u16::try_from(out.len()).unwrap();
    out[2..4].copy_from_slice(&len.to_be_bytes());
    set_header_checksum(&mut out);
    out
}

pub(crate) fn set_header_checksum(packet: &mut [u8]) {
    let sum = etherparse::Ipv4HeaderSlice::from_slice(packet).unwrap().to_header().calc_header_checksum();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Recomputes every checksum of a whole packet from scratch.
pub(crate) fn checksums_are_right(packet: &[u8]) -> bool {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let transport = sliced.transport.expect("a transport that is known");
    match sliced.net.expect("an IP header") {
        etherparse::NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            let (from, to) = (header.source, header.destination);
            header.calc_header_checksum() == header.header_checksum
                && match transport {
                    TransportSlice::Tcp(tcp) => tcp.calc_checksum_ipv4(from, to).unwrap() == tcp.checksum(),
                    TransportSlice::Icmpv4(icmp) => {
                        let kind = icmp.icmp_type();
                        kind.calc_checksum(icmp.payload()) == icmp.checksum()
                    }
                    other => panic!("no checker for {other:?}"),
                }
        }
        etherparse::NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            match transport {
                TransportSlice::Tcp(tcp) => {
                    tcp.calc_checksum_ipv6(header.source, header.destination).unwrap() == tcp.checksum()
                }
                TransportSlice::Icmpv6(icmp) => icmp.is_checksum_valid(header.source, header.destination),
                other => panic!("no checker for {other:?}"),
            }
        }
        etherparse::NetSlice::Arp(_) => panic!("not IP"),
    }
}
