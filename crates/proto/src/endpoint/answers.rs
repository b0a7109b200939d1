//! Packets to strangers, made without keeping anything about them.

use crate::cids::LOCAL_CID_LEN;
use crate::conn::protect;
use crate::crypto::{InitialCrypto, LevelKeys};
use mpquic_base::{Cid, PathId};
use mpquic_wire::header::{Long, LongHeader, LongKind, RetryHeader};
use mpquic_wire::{Code, Frame, Writer};

/// RFC 9000 §17.2.5: answers the Initial packet `long`; `scid` is what the client is to address from now on.
pub(super) fn retry(crypto: &dyn InitialCrypto, long: &Long, scid: Cid, token: &[u8], unused: u8) -> Vec<u8> {
    let header = RetryHeader { version: long.version, dcid: long.scid, scid, token, unused };
    let mut packet = vec![0; header.len()];
    header.write(&mut Writer::new(&mut packet));
    let tag = crypto.retry_tag(long.version, &pseudo_retry(&long.dcid, &packet));
    packet.extend(tag);
    packet
}

/// RFC 9001 §5.8: what the integrity tag covers.
pub(crate) fn pseudo_retry(original: &Cid, packet: &[u8]) -> Vec<u8> {
    let len = u8::try_from(original.len()).unwrap_or(0);
    [&[len], original.as_slice(), packet].concat()
}

/// An Initial packet with nothing but CONNECTION_CLOSE, in answer to `long`.
pub(super) fn refusal(keys: &LevelKeys, long: &Long, scid: Cid, code: Code, why: &str) -> Vec<u8> {
    let (version, dcid) = (long.version, long.scid);
    let header = LongHeader { kind: LongKind::Initial, version, dcid, scid, token: &[], pn: 0, pn_len: 2 };
    let frame = Frame::ConnectionClose { code: code.0, frame_type: Some(0), reason: why.as_bytes() };
    let (frames_at, tag_len) = (header.len(), keys.local.packet.tag_len());
    let end = frames_at + frame.len().max(LOCAL_CID_LEN) + tag_len;
    let mut packet = vec![0; end];
    let mut out = Writer::new(&mut packet);
    let offsets = header.write(&mut out);
    frame.write(&mut out);
    offsets.patch_length(&mut packet, end);
    let (head, payload) = packet.split_at_mut(frames_at);
    keys.local.packet.seal(PathId::ZERO, 0, head, payload);
    protect(&*keys.local.header, &mut packet, offsets.pn_at, 2);
    packet
}
