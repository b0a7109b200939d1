use super::*;
use crate::samples::{checksums_are_right, syn, udp, with_extensions, with_ipv4_options};
use etherparse::TcpOptionElement::{
    MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, WindowScale,
};

fn mss_of(packet: &[u8]) -> u16 {
    let segment = Packet::read(packet).unwrap().transport();
    let at = mss_at(segment).unwrap();
    u16::from_be_bytes([segment[at], segment[at + 1]])
}

#[test]
fn a_syn_of_either_family_gets_what_fits_the_mtu_and_a_right_checksum() {
    for (ipv4, expected) in [(true, 1360), (false, 1340)] {
        let mut packet =
            syn(ipv4, &[MaximumSegmentSize(1460), SelectiveAcknowledgementPermitted, WindowScale(7)]);
        assert!(checksums_are_right(&packet));
        assert!(clamp(&mut packet, 1400));
        assert_eq!(mss_of(&packet), expected);
        assert!(checksums_are_right(&packet));
        assert!(!clamp(&mut packet, 1400), "a second time there is nothing left to do");
    }
}

#[test]
fn the_checksum_is_right_for_every_value_at_even_and_odd_offsets() {
    for pads in 0..4 {
        for old in (537..=u16::MAX).step_by(997) {
            for mtu in [576, 1279, 1280, 1400, 9000] {
                let mut options = vec![Noop; pads];
                options.push(MaximumSegmentSize(old));
                let mut packet = syn(true, &options);
                let changed = clamp(&mut packet, mtu);
                assert_eq!(changed, usize::from(old) > mtu - 40);
                assert_eq!(usize::from(mss_of(&packet)), usize::from(old).min(mtu - 40));
                assert!(checksums_are_right(&packet), "{pads} pads, {old} to fit {mtu}");
            }
        }
    }
}

#[test]
fn a_small_value_is_never_raised() {
    let mut packet = syn(true, &[MaximumSegmentSize(536)]);
    let before = packet.clone();
    assert!(!clamp(&mut packet, 1500));
    assert!(!clamp(&mut packet, usize::MAX));
    assert!(!clamp(&mut packet, 40), "a limit of zero is no limit");
    assert_eq!(packet, before);
}

#[test]
fn a_segment_without_syn_and_a_udp_packet_stay_as_they_are() {
    let mut data = syn(true, &[MaximumSegmentSize(1460)]);
    data[20 + 13] = 0x10;
    let mut datagram = udp(true, 1000);
    for packet in [&mut data, &mut datagram] {
        let before = packet.clone();
        assert!(!clamp(packet, 576));
        assert_eq!(*packet, before);
    }
}

#[test]
fn the_option_is_found_behind_ipv4_options_and_ipv6_extension_headers() {
    let with_options =
        with_ipv4_options(&syn(true, &[MaximumSegmentSize(1460)]), &[1, 1, 1, 0, 0x94, 4, 0, 0]);
    let extension = (60, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let with_extension = with_extensions(&syn(false, &[Noop, MaximumSegmentSize(1440)]), &[extension]);
    for mut packet in [with_options, with_extension] {
        assert!(clamp(&mut packet, 1280));
        assert!(checksums_are_right(&packet));
    }
}

#[test]
fn a_signed_packet_and_a_later_fragment_stay_as_they_are() {
    let ah = (51, [vec![0, 4, 0, 0], vec![0; 20]].concat());
    let signed = with_extensions(&syn(false, &[MaximumSegmentSize(1440)]), &[ah]);
    let fragment = (44, vec![0, 0, 0, 8, 0, 0, 0, 1]);
    let later = with_extensions(&syn(false, &[MaximumSegmentSize(1440)]), &[fragment]);
    for mut packet in [signed, later] {
        assert!(!clamp(&mut packet, 1280));
    }
}

#[test]
fn broken_options_change_nothing() {
    let whole = syn(true, &[MaximumSegmentSize(1460), WindowScale(7)]);
    let breakages: [(usize, u8); 5] = [(41, 0), (41, 1), (41, 3), (41, 200), (32, 0xf0)];
    for (at, value) in breakages {
        let mut packet = whole.clone();
        packet[at] = value;
        let before = packet.clone();
        assert!(!clamp(&mut packet, 1280), "byte {at} = {value}");
        assert_eq!(packet, before);
    }
}
