use super::*;
use crate::cursor::Writer;
use mpquic_base::Cid;
use proptest::prelude::*;

const KINDS: [LongKind; 3] = [LongKind::Initial, LongKind::ZeroRtt, LongKind::Handshake];

fn cid() -> impl Strategy<Value = Cid> {
    prop::collection::vec(any::<u8>(), 0..=20).prop_map(|bytes| Cid::new(&bytes).unwrap())
}

fn version() -> impl Strategy<Value = u32> {
    prop::sample::select(SUPPORTED_VERSIONS.to_vec())
}

fn written(len: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    let mut out = Writer::new(&mut bytes);
    write(&mut out);
    assert_eq!(out.remaining(), 0, "len() is more than is written");
    bytes
}

/// A packet of `payload` bytes behind its packet number, and its patched header.
fn long_packet(header: &LongHeader<'_>, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0xdd; header.len() + payload];
    let mut out = Writer::new(&mut bytes);
    let offsets = header.write(&mut out);
    assert_eq!(out.len(), header.len());
    let end = bytes.len();
    offsets.patch_length(&mut bytes, end);
    bytes
}

proptest! {
    #[test]
    fn long_headers_survive_the_round_trip(
        kind in prop::sample::select(KINDS.to_vec()), version in version(), dcid in cid(), scid in cid(),
        token in prop::collection::vec(any::<u8>(), 0..100),
        pn in 0..=crate::packet_number::PN_MAX, pn_len in 1usize..=4, payload in 0usize..1400,
        rest in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let header = LongHeader { kind, version, dcid, scid, token: &token, pn, pn_len };
        let mut datagram = long_packet(&header, payload);
        let end = datagram.len();
        datagram.extend(&rest);
        let (read, len) = PartialHeader::read(&datagram, 8).unwrap();
        prop_assert_eq!(len, end);
        let PartialHeader::Long(long) = read else { panic!("{read:?}") };
        prop_assert_eq!((long.kind, long.version, long.dcid, long.scid), (kind, version, dcid, scid));
        prop_assert_eq!((long.end, long.pn_offset), (end, header.len() - pn_len));
        prop_assert!(long.fixed_bit);
        let expected: &[u8] = if kind == LongKind::Initial { &token } else { &[] };
        prop_assert_eq!(&datagram[long.token], expected);
        let first = FirstByte(datagram[0]);
        prop_assert_eq!((first.is_long(), first.reserved_bits(), first.pn_len()), (true, 0, pn_len));
        let number = &datagram[long.pn_offset..long.pn_offset + pn_len];
        prop_assert_eq!(crate::packet_number::read(number), crate::packet_number::truncate(pn, pn_len));
    }

    #[test]
    fn short_headers_survive_the_round_trip(
        dcid in cid(), pn in 0..=crate::packet_number::PN_MAX, pn_len in 1usize..=4,
        key_phase: bool, spin: bool, payload in 0usize..1400,
    ) {
        let header = ShortHeader { dcid, pn, pn_len, key_phase, spin };
        let mut datagram = written(header.len(), |out| {
            assert_eq!(header.write(out), 1 + dcid.len());
        });
        datagram.resize(header.len() + payload, 0xdd);
        let (read, len) = PartialHeader::read(&datagram, dcid.len()).unwrap();
        prop_assert_eq!(read.dcid(), dcid.as_slice());
        prop_assert_eq!(len, datagram.len());
        let expected = Short { dcid, pn_offset: 1 + dcid.len(), end: len, fixed_bit: true };
        prop_assert_eq!(read, PartialHeader::Short(expected));
        let first = FirstByte(datagram[0]);
        prop_assert_eq!((first.is_long(), first.reserved_bits(), first.pn_len()), (false, 0, pn_len));
        prop_assert_eq!((first.key_phase(), first.spin()), (key_phase, spin));
    }

    #[test]
    fn version_negotiation_survives_the_round_trip(
        unused: u8,
        dcid in prop::collection::vec(any::<u8>(), 0..=255),
        scid in prop::collection::vec(any::<u8>(), 0..=255),
        versions in prop::collection::vec(any::<u32>(), 1..20),
    ) {
        let header = VersionNegotiationHeader { unused, dcid: &dcid, scid: &scid, versions: &versions };
        let bytes = written(header.len(), |out| header.write(out));
        let (read, len) = PartialHeader::read(&bytes, 8).unwrap();
        prop_assert_eq!(len, bytes.len());
        let PartialHeader::VersionNegotiation { dcid: d, scid: s, versions: list } = read else { panic!("{read:?}") };
        prop_assert_eq!((d, s, list.collect::<Vec<_>>()), (&dcid[..], &scid[..], versions));
    }

    #[test]
    fn retry_survives_the_round_trip(
        version in version(), dcid in cid(), scid in cid(), unused: u8,
        token in prop::collection::vec(any::<u8>(), 0..200), tag: [u8; RETRY_TAG_LEN],
    ) {
        let header = RetryHeader { version, dcid, scid, token: &token, unused };
        let covered = written(header.len(), |out| header.write(out));
        let bytes = [&covered[..], &tag].concat();
        let retry = Retry { version, dcid, scid, token: &token, covered: &covered, tag, fixed_bit: true };
        prop_assert_eq!(PartialHeader::read(&bytes, 8), Ok((PartialHeader::Retry(retry), bytes.len())));
    }

    #[test]
    fn arbitrary_datagrams_walk_to_an_end(
        mut bytes in prop::collection::vec(any::<u8>(), 1..300), version in prop::option::of(version()),
        short_cid_len in 0usize..=20,
    ) {
        if let (Some(version), Some(field)) = (version, bytes.get_mut(1..5)) {
            field.copy_from_slice(&version.to_be_bytes());
        }
        let mut rest = &bytes[..];
        while let Ok((header, len)) = PartialHeader::read(rest, short_cid_len) {
            prop_assert!(len > 0 && len <= rest.len());
            if let PartialHeader::Long(long) = header {
                prop_assert!(long.token.end <= long.pn_offset && long.pn_offset <= long.end && long.end == len);
            }
            rest = &rest[len..];
        }
    }

    #[test]
    fn cut_long_packets_are_truncated(version in version(), dcid in cid(), cut in 0.0f64..1.0) {
        let header =
            LongHeader { kind: LongKind::Initial, version, dcid, scid: dcid, token: &[7; 30], pn: 1, pn_len: 2 };
        let bytes = long_packet(&header, 100);
        let cut = (bytes.len() as f64 * cut) as usize;
        prop_assert_eq!(PartialHeader::read(&bytes[..cut], 8), Err(HeaderError::Truncated));
    }
}

#[test]
fn coalesced_packets_are_walked_one_by_one() {
    let (dcid, scid) = (Cid::new(&[1; 8]).unwrap(), Cid::new(&[2; 5]).unwrap());
    let mut datagram = Vec::new();
    for kind in KINDS {
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token: &[3; 9], pn: 0, pn_len: 1 };
        datagram.extend(long_packet(&header, 40));
    }
    let short = ShortHeader { dcid, pn: 0, pn_len: 1, key_phase: false, spin: false };
    datagram.extend(written(short.len(), |out| {
        short.write(out);
    }));
    datagram.extend([0; 40]);
    let (mut rest, mut seen) = (&datagram[..], Vec::new());
    while !rest.is_empty() {
        let (header, len) = PartialHeader::read(rest, 8).unwrap();
        assert_eq!(header.dcid(), dcid.as_slice());
        seen.push(match header {
            PartialHeader::Long(long) => Some(long.kind),
            PartialHeader::Short(_) => None,
            other => panic!("{other:?}"),
        });
        rest = &rest[len..];
    }
    assert_eq!(seen, [Some(LongKind::Initial), Some(LongKind::ZeroRtt), Some(LongKind::Handshake), None]);
}

/// RFC 9001 appendix A.2 and RFC 9369 appendix A.2: the client's Initial before protection.
#[test]
fn the_first_initial_of_the_documents_is_written_alike() {
    let dcid = Cid::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]).unwrap();
    let examples: [(u32, [u8; 5]); 2] =
        [(VERSION_1, [0xc3, 0, 0, 0, 1]), (VERSION_2, [0xd3, 0x6b, 0x33, 0x43, 0xcf])];
    for (version, start) in examples {
        let kind = LongKind::Initial;
        let header = LongHeader { kind, version, dcid, scid: Cid::EMPTY, token: &[], pn: 2, pn_len: 4 };
        let bytes = long_packet(&header, 1178);
        assert_eq!(bytes[..5], start);
        assert_eq!(
            bytes[5..22],
            [8, 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 8, 0, 0, 0x44, 0x9e, 0, 0, 0, 2]
        );
    }
}

#[test]
fn type_bits_differ_between_the_versions() {
    let first = |version, kind| {
        let header =
            LongHeader { kind, version, dcid: Cid::EMPTY, scid: Cid::EMPTY, token: &[], pn: 0, pn_len: 1 };
        written(header.len(), |out| {
            header.write(out);
        })[0]
            >> 4
            & 3
    };
    assert_eq!(KINDS.map(|kind| first(VERSION_1, kind)), [0, 1, 2]);
    assert_eq!(KINDS.map(|kind| first(VERSION_2, kind)), [1, 2, 3]);
    let retry = |version| {
        let header = RetryHeader { version, dcid: Cid::EMPTY, scid: Cid::EMPTY, token: &[], unused: 0 };
        written(header.len(), |out| header.write(out))[0] >> 4 & 3
    };
    assert_eq!([retry(VERSION_1), retry(VERSION_2)], [3, 0]);
}

#[test]
fn a_cleared_fixed_bit_is_reported_and_nothing_else_changes() {
    let dcid = Cid::new(&[1; 8]).unwrap();
    let header = LongHeader {
        kind: LongKind::Handshake,
        version: VERSION_1,
        dcid,
        scid: dcid,
        token: &[],
        pn: 0,
        pn_len: 1,
    };
    let mut bytes = long_packet(&header, 30);
    assert!(PartialHeader::read(&bytes, 8).unwrap().0.fixed_bit());
    bytes[0] &= !FIXED_BIT;
    let (read, len) = PartialHeader::read(&bytes, 8).unwrap();
    assert!(!read.fixed_bit());
    assert_eq!((read.dcid(), len), (dcid.as_slice(), bytes.len()));
    let short = PartialHeader::read(&[0; 30], 8).unwrap().0;
    assert!(!short.fixed_bit());
}

#[test]
fn an_unknown_version_shows_connection_ids_of_any_length() {
    let mut bytes = vec![0x80, 0x1a, 0x2a, 0x3a, 0x4a, 255];
    bytes.extend([5; 255]);
    bytes.push(21);
    bytes.extend([6; 21]);
    bytes.extend([0xff; 900]);
    let expected = PartialHeader::UnknownVersion { version: 0x1a2a_3a4a, dcid: &[5; 255], scid: &[6; 21] };
    assert_eq!(PartialHeader::read(&bytes, 8), Ok((expected, bytes.len())));
}

#[test]
fn a_known_version_has_connection_ids_of_at_most_20_bytes() {
    for lens in [[21, 0], [0, 21]] {
        for version in SUPPORTED_VERSIONS {
            let mut bytes = vec![0xc0];
            bytes.extend(version.to_be_bytes());
            for len in lens {
                bytes.push(len);
                bytes.extend(vec![1; usize::from(len)]);
            }
            bytes.extend([0; 60]);
            assert_eq!(PartialHeader::read(&bytes, 8), Err(HeaderError::CidTooLong));
        }
    }
}

#[test]
fn version_negotiation_without_a_whole_list_is_refused() {
    for list in [&[][..], &[1], &[0, 0, 0, 1, 0]] {
        let bytes = [&[0x80, 0, 0, 0, 0, 0, 0], list].concat();
        assert_eq!(PartialHeader::read(&bytes, 8), Err(HeaderError::NoVersions));
    }
}

#[test]
fn a_retry_shorter_than_its_tag_is_truncated() {
    let bytes = [&[0xf0, 0, 0, 0, 1, 0, 0][..], &[0; 15]].concat();
    assert_eq!(PartialHeader::read(&bytes, 8), Err(HeaderError::Truncated));
}

#[test]
fn a_short_header_without_its_connection_id_is_truncated() {
    assert_eq!(PartialHeader::read(&[0x40; 8], 8), Err(HeaderError::Truncated));
    assert!(PartialHeader::read(&[0x40; 9], 8).is_ok());
    assert_eq!(PartialHeader::read(&[], 8), Err(HeaderError::Truncated));
}

#[test]
fn reserved_bits_are_those_of_the_form() {
    assert_eq!(FirstByte(0xff).reserved_bits(), 0x0c);
    assert_eq!(FirstByte(0x7f).reserved_bits(), 0x18);
    assert_eq!((FirstByte(0xff).protected_bits(), FirstByte(0x7f).protected_bits()), (0x0f, 0x1f));
}

#[test]
fn a_short_header_read_the_quick_way_says_the_same() {
    let mut packet = vec![0x40; 40];
    packet[1..9].copy_from_slice(b"8 bytes!");
    let Ok((PartialHeader::Short(short), _)) = PartialHeader::read(&packet, 8) else { panic!() };
    assert_eq!(short_dcid(&packet, 8), Some((short.dcid.as_slice(), short.pn_offset)));
    assert_eq!(short_dcid(&packet[..8], 8), None, "cut within its connection ID");
    assert_eq!(short_dcid(&[], 8), None);
    packet[0] = 0xc0;
    assert_eq!(short_dcid(&packet, 8), None, "a long header");
}
