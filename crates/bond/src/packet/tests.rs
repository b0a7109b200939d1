use super::*;
use crate::samples::{CLIENT4, SERVER4, client6, ping, server6, syn, udp, with_extensions};
use crate::{icmp, mss, order, sources};
use proptest::prelude::*;

fn fragment_header(offset: u16, more: bool) -> Vec<u8> {
    let field = (offset << 3) | u16::from(more);
    [&[0, 0], &field.to_be_bytes()[..], &[0, 0, 0, 9]].concat()
}

#[test]
fn a_udp_packet_of_either_family_shows_its_addresses_ports_and_payload() {
    for ipv4 in [true, false] {
        let bytes = udp(ipv4, 100);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(packet.version(), if ipv4 { 4 } else { 6 });
        let (from, to): (IpAddr, IpAddr) =
            if ipv4 { (CLIENT4.into(), SERVER4.into()) } else { (client6().into(), server6().into()) };
        assert_eq!((packet.source(), packet.destination()), (from, to));
        let flow = packet.flow();
        assert_eq!((flow.source, flow.destination, flow.protocol), (from, to, UDP));
        assert_eq!((flow.source_port, flow.destination_port), (5000, 53));
        assert_eq!(packet.transport().len(), 108);
        assert!(!packet.is_fragment());
        assert_eq!(packet.total_len(), bytes.len());
    }
}

#[test]
fn an_echo_is_a_flow_by_its_identifier_and_an_error_has_none() {
    for ipv4 in [true, false] {
        let mut bytes = ping(ipv4);
        let flow = Packet::read(&bytes).unwrap().flow();
        assert_eq!((flow.source_port, flow.destination_port), (77, 0));
        let kind_at = if ipv4 { 20 } else { 40 };
        bytes[kind_at] = 3;
        assert_eq!(Packet::read(&bytes).unwrap().flow().source_port, 0);
    }
}

#[test]
fn every_fragment_of_a_packet_belongs_to_one_flow_without_ports() {
    let mut first = udp(true, 64);
    first[6] = 0x20;
    let mut later = first.clone();
    later[6..8].copy_from_slice(&9u16.to_be_bytes());
    let (first, later) = (Packet::read(&first).unwrap(), Packet::read(&later).unwrap());
    assert!(first.is_fragment() && !first.is_later_fragment());
    assert!(later.is_fragment() && later.is_later_fragment());
    assert_eq!(first.flow(), later.flow());
    assert_eq!(first.flow().source_port, 0);

    let v6 = udp(false, 64);
    let first = with_extensions(&v6, &[(FRAGMENT, fragment_header(0, true))]);
    let later = with_extensions(&v6, &[(FRAGMENT, fragment_header(9, false))]);
    let (first, later) = (Packet::read(&first).unwrap(), Packet::read(&later).unwrap());
    assert!(first.is_fragment() && !first.is_later_fragment() && later.is_later_fragment());
    assert_eq!(first.flow(), later.flow());
    assert_eq!(first.flow().protocol, UDP);
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let bytes = with_extensions(&udp(false, 64), &[(FRAGMENT, fragment_header(0, false))]);
    let packet = Packet::read(&bytes).unwrap();
    assert!(!packet.is_fragment());
    assert_eq!(packet.flow().destination_port, 53);
}

#[test]
fn ports_are_found_behind_a_chain_of_extension_headers() {
    let option = |kind| (kind, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let long = (DESTINATION, [vec![0, 2, 1, 20], vec![0; 20]].concat());
    let ah = (AUTHENTICATION, [vec![0, 4, 0, 0], vec![0; 20]].concat());
    let bytes = with_extensions(&syn(false, &[]), &[option(HOP_BY_HOP), long, ah, option(ROUTING)]);
    let packet = Packet::read(&bytes).unwrap();
    assert_eq!(packet.protocol(), TCP);
    assert!(packet.is_authenticated());
    assert_eq!((packet.flow().source_port, packet.flow().destination_port), (40000, 443));
}

#[test]
fn a_chain_of_more_than_eight_extension_headers_is_malformed() {
    let option = (DESTINATION, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let chain = |n| with_extensions(&udp(false, 8), &vec![option.clone(); n]);
    assert!(Packet::read(&chain(EXTENSIONS_MAX)).is_ok());
    assert!(Packet::read(&chain(EXTENSIONS_MAX + 1)).is_err());
}

#[test]
fn a_length_that_is_not_the_slices_length_is_malformed() {
    for ipv4 in [true, false] {
        let bytes = udp(ipv4, 20);
        assert!(Packet::read(&bytes[..bytes.len() - 1]).is_err());
        assert!(Packet::read(&[&bytes[..], &[0]].concat()).is_err());
        let mut other_version = bytes;
        other_version[0] = 0x55;
        assert!(Packet::read(&other_version).is_err());
    }
    assert!(Packet::read(&[]).is_err());
    let mut short_header = udp(true, 20);
    short_header[0] = 0x44;
    assert!(Packet::read(&short_header).is_err());
}

#[test]
fn only_ipv4_without_its_bit_may_be_fragmented() {
    let mut bytes = udp(true, 20);
    bytes[6] = 0x40;
    assert!(Packet::read(&bytes).unwrap().dont_fragment());
    bytes[6] = 0;
    assert!(!Packet::read(&bytes).unwrap().dont_fragment());
    assert!(Packet::read(&udp(false, 20)).unwrap().dont_fragment());
}

/// Random bytes under a header that is good enough to get past the first checks.
fn almost_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..300), any::<u8>(), 5u8..16).prop_map(
        |(ipv4, mut bytes, protocol, words)| {
            let known = [0, 1, 6, 17, 43, 44, 51, 58, 60, 6, 58, 44];
            let protocol = known.get(usize::from(protocol) % 16).copied().unwrap_or(protocol);
            let len = bytes.len();
            if ipv4 && len >= 20 {
                bytes[0] = 0x40 | words;
                bytes[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
                bytes[9] = protocol;
            } else if len >= 40 {
                bytes[0] = 0x60;
                bytes[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
                bytes[6] = protocol;
            }
            bytes
        },
    )
}

fn exercise(bytes: &[u8], mtu: usize) {
    if let Ok(packet) = Packet::read(bytes) {
        assert_eq!(packet.total_len(), bytes.len());
        let _flow = packet.flow();
        let _checked = sources::check(&packet, &sources::Prefixes::default());
    }
    for from in ["192.0.2.1", "2001:db8::1"].map(|a| a.parse().unwrap()) {
        for answer in [
            icmp::too_big(bytes, mtu, from),
            icmp::unreachable(bytes, icmp::Unreachable::Port, from),
            icmp::time_exceeded(bytes, from),
        ] {
            assert!(answer.is_none_or(|a| Packet::read(&a).is_ok()));
        }
    }
    let mut changed = bytes.to_vec();
    mss::clamp(&mut changed, mtu);
    icmp::decrement_ttl(&mut changed);
    assert_eq!(changed.len(), bytes.len());
    let _stamp = order::Stamp::split(bytes);
}

proptest! {
    #[test]
    fn arbitrary_bytes_panic_nowhere(bytes in prop::collection::vec(any::<u8>(), 0..200), mtu in 0usize..2000) {
        exercise(&bytes, mtu);
    }

    #[test]
    fn arbitrary_bytes_under_a_plausible_header_panic_nowhere(bytes in almost_a_packet(), mtu in 0usize..2000) {
        exercise(&bytes, mtu);
    }
}
