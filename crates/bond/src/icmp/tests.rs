use super::*;
use crate::samples::{checksums_are_right, ping, router, set_header_checksum, udp, with_extensions};
use std::net::IpAddr;

/// A UDP packet that routers may not fragment.
fn large(ipv4: bool, payload: usize) -> Vec<u8> {
    let mut packet = udp(ipv4, payload);
    if ipv4 {
        packet[6] |= 0x40;
        set_header_checksum(&mut packet);
    }
    packet
}

fn set_source(packet: &mut [u8], source: &str) {
    match source.parse().unwrap() {
        IpAddr::V4(a) => packet[12..16].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => packet[8..24].copy_from_slice(&a.octets()),
    }
}

fn set_destination(packet: &mut [u8], destination: &str) {
    match destination.parse().unwrap() {
        IpAddr::V4(a) => packet[16..20].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => packet[24..40].copy_from_slice(&a.octets()),
    }
}

#[test]
fn too_big_tells_the_sender_the_mtu_and_quotes_the_packet() {
    for ipv4 in [true, false] {
        let packet = large(ipv4, 1400);
        let answer = too_big(&packet, 1300, router(ipv4)).unwrap();
        assert!(checksums_are_right(&answer));
        let read = Packet::read(&answer).unwrap();
        assert_eq!(read.source(), router(ipv4));
        assert_eq!(read.destination(), Packet::read(&packet).unwrap().source());
        let message = read.transport();
        assert_eq!(message[..2], if ipv4 { [3, 4] } else { [2, 0] });
        assert_eq!(message[4..8], 1300u32.to_be_bytes());
        assert_eq!(message[8..], packet[..message.len() - 8]);
        assert_eq!(answer.len(), if ipv4 { IPV4_ANSWER_MAX } else { IPV6_ANSWER_MAX });
    }
}

#[test]
fn a_packet_that_fits_or_may_be_fragmented_is_not_too_big() {
    assert_eq!(too_big(&large(true, 1000), 1028, router(true)), None);
    assert!(too_big(&large(true, 1001), 1028, router(true)).is_some());
    assert_eq!(too_big(&udp(true, 1400), 1300, router(true)), None);
}

#[test]
fn an_ipv6_sender_is_never_told_less_than_1280() {
    let answer = too_big(&large(false, 1300), 1000, router(false)).unwrap();
    assert_eq!(answer[44..48], 1280u32.to_be_bytes());
}

#[test]
fn every_reason_has_its_code_in_both_families() {
    use Unreachable::{Host, NoRoute, Port, Prohibited, Source};
    for (code, ipv4, ipv6) in
        [(NoRoute, 0, 0), (Host, 1, 3), (Port, 3, 4), (Prohibited, 13, 1), (Source, 13, 5)]
    {
        let answer = unreachable(&udp(true, 11), code, router(true)).unwrap();
        assert_eq!(answer[20..22], [3, ipv4]);
        assert!(checksums_are_right(&answer));
        let answer = unreachable(&udp(false, 11), code, router(false)).unwrap();
        assert_eq!(answer[40..42], [1, ipv6]);
        assert!(checksums_are_right(&answer));
    }
}

#[test]
fn an_expired_packet_is_quoted_whole_when_it_is_short() {
    for (ipv4, kind) in [(true, 11), (false, 3)] {
        let packet = ping(ipv4);
        let answer = time_exceeded(&packet, router(ipv4)).unwrap();
        assert!(checksums_are_right(&answer));
        let message = Packet::read(&answer).unwrap().transport();
        assert_eq!(message[..2], [kind, 0]);
        assert_eq!(message[8..], packet);
    }
}

#[test]
fn an_icmp_error_a_redirect_and_a_message_cut_off_are_not_answered() {
    for ipv4 in [true, false] {
        let error = unreachable(&udp(ipv4, 8), Unreachable::Port, router(ipv4)).unwrap();
        assert_eq!(time_exceeded(&error, router(ipv4)), None);
        let mut redirect = ping(ipv4);
        redirect[if ipv4 { 20 } else { 40 }] = if ipv4 { 5 } else { 137 };
        assert_eq!(time_exceeded(&redirect, router(ipv4)), None);
        let mut empty = ping(ipv4)[..if ipv4 { 20 } else { 40 }].to_vec();
        if ipv4 {
            empty[3] = 20;
        } else {
            empty[5] = 0;
        }
        assert!(Packet::read(&empty).is_ok());
        assert_eq!(time_exceeded(&empty, router(ipv4)), None);
    }
}

#[test]
fn only_the_first_fragment_is_answered() {
    for (offset, answered) in [(0, true), (8, false)] {
        let mut packet = udp(true, 64);
        packet[6] = 0x20;
        packet[7] = offset;
        assert_eq!(time_exceeded(&packet, router(true)).is_some(), answered);
        let fragment = (44, vec![0, 0, 0, offset | 1, 0, 0, 0, 1]);
        let packet = with_extensions(&udp(false, 64), &[fragment]);
        assert_eq!(time_exceeded(&packet, router(false)).is_some(), answered);
    }
}

#[test]
fn a_source_that_names_no_single_host_is_not_answered() {
    let none = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
    ];
    for source in none {
        let ipv4 = source.contains('.');
        let mut packet = large(ipv4, 1400);
        set_source(&mut packet, source);
        assert_eq!(unreachable(&packet, Unreachable::NoRoute, router(ipv4)), None, "{source}");
        assert_eq!(too_big(&packet, 1300, router(ipv4)), None, "{source}");
    }
}

#[test]
fn a_multicast_destination_is_answered_by_too_big_of_ipv6_alone() {
    let mut packet = large(false, 1400);
    set_destination(&mut packet, "ff0e::1");
    assert!(too_big(&packet, 1300, router(false)).is_some());
    assert_eq!(time_exceeded(&packet, router(false)), None);
    for destination in ["224.0.0.251", "255.255.255.255"] {
        let mut packet = large(true, 1400);
        set_destination(&mut packet, destination);
        assert_eq!(too_big(&packet, 1300, router(true)), None);
        assert_eq!(time_exceeded(&packet, router(true)), None);
    }
}

#[test]
fn a_router_answers_in_the_packets_own_family_only() {
    assert_eq!(time_exceeded(&udp(true, 8), router(false)), None);
    assert_eq!(time_exceeded(&udp(false, 8), router(true)), None);
}

#[test]
fn each_hop_takes_one_until_the_packet_expires_untouched() {
    let mut packet = ping(true);
    for left in (1..64).rev() {
        assert!(decrement_ttl(&mut packet));
        assert_eq!(packet[8], left);
        assert!(checksums_are_right(&packet), "ttl {left}");
    }
    let last = packet.clone();
    assert!(!decrement_ttl(&mut packet));
    assert_eq!(packet, last);

    let mut packet = ping(false);
    assert!((1..64).rev().all(|left| decrement_ttl(&mut packet) && packet[7] == left));
    assert!(!decrement_ttl(&mut packet));
    assert!(!decrement_ttl(&mut []));
    assert!(!decrement_ttl(&mut [0x45; 19]));
}

#[test]
fn the_header_checksum_follows_the_ttl_whatever_it_was() {
    let mut packet = ping(true);
    for id in 0..=u16::MAX {
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        packet[8] = 64;
        set_header_checksum(&mut packet);
        assert!(decrement_ttl(&mut packet));
        assert!(checksums_are_right(&packet), "id {id}");
    }
}
