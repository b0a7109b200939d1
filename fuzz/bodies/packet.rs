//! Walks a datagram packet by packet and rebuilds every header from what was read.

use mpquic_base::Cid;
use mpquic_wire::{
    Writer,
    header::{
        FIXED_BIT, FirstByte, Long, LongHeader, LongKind, PartialHeader, Retry, RetryHeader, ShortHeader,
        VersionNegotiationHeader,
    },
    packet_number,
};

/// Still under header protection, so anything may be there; the writer puts zeros.
const RESERVED_SHORT: u8 = 0x18;

pub(crate) fn run(data: &[u8]) {
    let Some((cid_len, datagram)) = data.split_first() else { return };
    let cid_len = usize::from(*cid_len) % (Cid::MAX_LEN + 1);
    let mut rest = datagram;
    while let Ok((header, len)) = PartialHeader::read(rest, cid_len) {
        assert!(len > 0 && len <= rest.len(), "a packet of {len} in {} bytes", rest.len());
        rebuild(&header, &rest[..len], cid_len);
        rest = &rest[len..];
    }
}

fn rebuild(header: &PartialHeader<'_>, packet: &[u8], cid_len: usize) {
    match header {
        PartialHeader::Long(long) => rebuild_long(long, packet),
        PartialHeader::Short(short) => {
            assert_eq!((short.pn_offset, short.end), (1 + cid_len, packet.len()));
            let first = FirstByte(packet[0]);
            let pn_len = first.pn_len();
            let Some(number) = packet.get(short.pn_offset..short.pn_offset + pn_len) else { return };
            let pn = u64::from(packet_number::read(number));
            let (key_phase, spin) = (first.key_phase(), first.spin());
            let again = ShortHeader { dcid: short.dcid, pn, pn_len, key_phase, spin };
            let mut expected = packet[..short.pn_offset + pn_len].to_vec();
            expected[0] = (expected[0] | FIXED_BIT) & !RESERVED_SHORT;
            let bytes = written(again.len(), |out| assert_eq!(again.write(out), short.pn_offset));
            assert_eq!(bytes, expected);
        }
        PartialHeader::Retry(Retry { version, dcid, scid, token, covered, tag, .. }) => {
            assert_eq!([covered, &tag[..]].concat(), packet);
            let again = RetryHeader { version: *version, dcid: *dcid, scid: *scid, token, unused: packet[0] };
            let mut expected = covered.to_vec();
            expected[0] |= FIXED_BIT;
            assert_eq!(written(again.len(), |out| again.write(out)), expected);
        }
        PartialHeader::VersionNegotiation { dcid, scid, versions } => {
            let versions: Vec<u32> = versions.clone().collect();
            let again = VersionNegotiationHeader { unused: packet[0], dcid, scid, versions: &versions };
            let mut expected = packet.to_vec();
            expected[0] |= FIXED_BIT;
            assert_eq!(written(again.len(), |out| again.write(out)), expected);
        }
        PartialHeader::UnknownVersion { dcid, scid, .. } => {
            assert!(dcid.len() + scid.len() + 7 <= packet.len());
        }
    }
}

fn rebuild_long(long: &Long, packet: &[u8]) {
    assert_eq!(long.end, packet.len());
    assert!(long.token.end <= long.pn_offset && long.pn_offset <= long.end);
    assert!(long.kind == LongKind::Initial || long.token.is_empty());
    let token = &packet[long.token.clone()];
    let pn_len = FirstByte(packet[0]).pn_len();
    let Some(number) = packet.get(long.pn_offset..long.pn_offset + pn_len) else { return };
    let pn = u64::from(packet_number::read(number));
    let Long { kind, version, dcid, scid, .. } = *long;
    let again = LongHeader { kind, version, dcid, scid, token, pn, pn_len };
    let payload = &packet[long.pn_offset + pn_len..];
    if pn_len + payload.len() >= 0x4000 {
        return;
    }
    let mut bytes = vec![0; again.len() + payload.len()];
    let mut out = Writer::new(&mut bytes);
    let offsets = again.write(&mut out);
    out.put(payload);
    assert_eq!(out.remaining(), 0);
    let end = bytes.len();
    offsets.patch_length(&mut bytes, end);
    let Ok((PartialHeader::Long(reread), len)) = PartialHeader::read(&bytes, 0) else {
        panic!("{again:?} cannot be read again")
    };
    assert_eq!(len, end);
    assert_eq!((reread.kind, reread.version, reread.dcid, reread.scid), (kind, version, dcid, scid));
    assert_eq!(&bytes[reread.token], token);
    assert_eq!(&bytes[reread.pn_offset..], &packet[long.pn_offset..]);
}

fn written(len: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut out = Writer::new(&mut bytes);
    write(&mut out);
    assert_eq!(out.remaining(), 0, "len() is more than is written");
    bytes
}
