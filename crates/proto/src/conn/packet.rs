//! One packet: header, frames, seal, record.

use super::Connection;
use crate::crypto::HeaderKey;
use crate::frames::{Frames, Token};
use crate::handshake::LevelId;
use crate::path::Path;
use crate::space::Departure;
use mpquic_base::{Cid, Ecn, PathId, Time};
use mpquic_wire::header::{FIXED_BIT, FirstByte, LongHeader, LongKind, ShortHeader};
use mpquic_wire::{Writer, packet_number};

/// RFC 9001 §5.4.2: the sample starts this far behind the start of the packet number.
pub(super) const SAMPLE_OFFSET: usize = 4;
/// Bytes that AES takes at once.
const BLOCK: usize = 16;

impl Connection {
    /// Writes one 1-RTT packet of path `slot` into `out`, at most as long as that; `None` if `fill` wrote nothing.
    ///
    /// `fill` returns the size that the packet must at least have.
    pub(super) fn short_packet(
        &mut self,
        slot: usize,
        departs: Time,
        out: &mut [u8],
        fill: impl FnOnce(&mut Self, &mut Frames<'_>) -> usize,
    ) -> Option<usize> {
        let dcid = self.cids.peer_cid(self.paths[slot].id)?;
        let mut tokens = core::mem::take(&mut self.tokens);
        tokens.clear();
        let size = self.write_short(slot, dcid, out, &mut tokens, fill);
        let recorded = size.map(|(size, eliciting)| {
            let bytes = u16::try_from(size).expect("a UDP payload is below 64 KiB");
            let ect = self.paths[slot].mark() != Ecn::NotEct;
            let mtu_probe = tokens.iter().any(|t| matches!(t, Token::MtuProbe(_)));
            let packet = Departure { ect, mtu_probe, ..Departure::new(departs, bytes, eliciting, eliciting) };
            let Path { recovery, space, .. } = &mut self.paths[slot];
            recovery.on_sent(space, packet, &tokens);
            size
        });
        self.tokens = tokens;
        recorded
    }

    /// The packet's size and whether it elicits an ACK.
    pub(super) fn write_short(
        &mut self,
        slot: usize,
        dcid: Cid,
        out: &mut [u8],
        tokens: &mut Vec<Token>,
        fill: impl FnOnce(&mut Self, &mut Frames<'_>) -> usize,
    ) -> Option<(usize, bool)> {
        let grease = self.greases_bit();
        let path = &self.paths[slot];
        let (id, sent) = (path.id, &path.space.sent);
        let pn = sent.next_pn();
        let keys = self.keys.as_ref()?;
        let tag_len = keys.tag_len();
        let pn_len = packet_number::pn_len(pn, sent.largest_acked());
        let pn_len = whole_blocks(pn_len, out.len().saturating_sub(1 + dcid.len() + tag_len));
        let header = ShortHeader { dcid, pn, pn_len, key_phase: keys.phase(), spin: path.spin.value() };
        let frames_from = header.len();
        let frames_to = room_for_frames(out, tag_len, frames_from, pn_len)?;
        let pn_at = header.write(&mut Writer::new(out));
        if grease {
            out[0] &= !FIXED_BIT;
        }
        let mut frames = Frames::new(&mut out[frames_from..frames_to], tokens).fetching();
        let at_least = fill(self, &mut frames);
        let (written, eliciting, apart) = (frames.len(), frames.ack_eliciting(), frames.apart());
        if written == 0 {
            return None;
        }
        let floor = at_least.saturating_sub(tag_len).min(frames_to).max(pn_at + SAMPLE_OFFSET);
        let end = (frames_from + written).max(floor) + tag_len;
        out[frames_from + written..end - tag_len].fill(0);
        let rest = apart.map_or(&[][..], |apart| self.streams.fetch(apart));
        let keys = self.keys.as_mut()?;
        let (head, payload) = out[..end].split_at_mut(frames_from);
        keys.seal(id, pn, head, payload, rest);
        protect(&*keys.header_local, &mut out[..end], pn_at, pn_len);
        Some((end, eliciting))
    }

    /// Writes one Initial or Handshake packet into `out`; `None` if `fill` wrote nothing or the level is gone.
    ///
    /// `pad` fills the packet up to the end of `out`.
    pub(super) fn long_packet(
        &mut self,
        level: LevelId,
        departs: Time,
        out: &mut [u8],
        pad: bool,
        fill: impl FnOnce(&mut Self, &mut Frames<'_>),
    ) -> Option<usize> {
        let mut tokens = core::mem::take(&mut self.tokens);
        tokens.clear();
        let size = self.write_long(level, out, pad, &mut tokens, fill);
        let recorded = size.map(|(size, eliciting, in_flight)| {
            let bytes = u16::try_from(size).expect("a UDP payload is below 64 KiB");
            let packet = Departure::new(departs, bytes, eliciting, in_flight);
            if let (Some(level), Some(path)) = (self.handshake.level(level), self.paths.first_mut()) {
                path.recovery.on_sent(&mut level.space, packet, &tokens);
            }
            size
        });
        self.tokens = tokens;
        recorded
    }

    /// The packet's size, whether it elicits an ACK and whether it counts as in flight.
    fn write_long(
        &mut self,
        id: LevelId,
        out: &mut [u8],
        pad: bool,
        tokens: &mut Vec<Token>,
        fill: impl FnOnce(&mut Self, &mut Frames<'_>),
    ) -> Option<(usize, bool, bool)> {
        let kind = if id == LevelId::Initial { LongKind::Initial } else { LongKind::Handshake };
        let dcid = self.cids.peer_cid(PathId::ZERO)?;
        let (version, scid) = (self.version, self.scid);
        let token: &[u8] = if kind == LongKind::Initial { &self.initial_token } else { &[] };
        let level = self.handshake.level(id)?;
        let pn = level.space.sent.next_pn();
        let pn_len = packet_number::pn_len(pn, level.space.sent.largest_acked());
        let tag_len = level.keys.local.packet.tag_len();
        let header = LongHeader { kind, version, dcid, scid, token, pn, pn_len };
        let frames_from = header.len();
        let frames_to = room_for_frames(out, tag_len, frames_from, pn_len)?;
        let offsets = header.write(&mut Writer::new(out));
        let mut frames = Frames::new(&mut out[frames_from..frames_to], tokens);
        fill(self, &mut frames);
        let (written, eliciting) = (frames.len(), frames.ack_eliciting());
        if written == 0 {
            return None;
        }
        let floor = if pad { frames_to } else { offsets.pn_at + SAMPLE_OFFSET };
        let end = (frames_from + written).max(floor) + tag_len;
        out[frames_from + written..end - tag_len].fill(0);
        offsets.patch_length(&mut out[..end], end);
        let keys = &self.handshake.level(id)?.keys.local;
        let (head, payload) = out[..end].split_at_mut(frames_from);
        keys.packet.seal(PathId::ZERO, pn, head, payload);
        protect(&*keys.header, &mut out[..end], offsets.pn_at, pn_len);
        // RFC 9002 §2: padding makes a packet count as in flight.
        Some((end, eliciting, eliciting || end - tag_len > frames_from + written))
    }
}

/// The length of a packet number that needs `pn_len` bytes, where it shares `room` with the frames. AES takes longer over a
/// part of a block than over a whole one, by more than a byte or two are worth: as many more as leave whole ones for the
/// frames, if 4 are enough for that.
const fn whole_blocks(pn_len: usize, room: usize) -> usize {
    let frames = room.saturating_sub(pn_len);
    let longer = pn_len + frames % BLOCK;
    if frames > BLOCK && longer <= 4 { longer } else { pn_len }
}

/// Where the frames must end, if there is room for the shortest packet that header protection can sample.
pub(super) fn room_for_frames(
    out: &[u8],
    tag_len: usize,
    frames_from: usize,
    pn_len: usize,
) -> Option<usize> {
    let to = out.len().checked_sub(tag_len)?;
    (to > frames_from && to >= frames_from - pn_len + SAMPLE_OFFSET).then_some(to)
}

pub(crate) fn protect(key: &dyn HeaderKey, packet: &mut [u8], pn_at: usize, pn_len: usize) {
    let (head, tail) = packet.split_at_mut(pn_at + SAMPLE_OFFSET);
    let (first, rest) = head.split_at_mut(1);
    // With a packet number shorter than 4 bytes the split lies within the payload, which the key does not touch.
    let sample = &tail[..key.sample_len()];
    key.protect(sample, &mut first[0], &mut rest[pn_at - 1..pn_at - 1 + pn_len]);
}

/// Removes header protection; the packet number in full, and where the payload starts. `None` if it is too short.
pub(super) fn unprotect(
    key: &dyn HeaderKey,
    packet: &mut [u8],
    pn_at: usize,
    largest: Option<u64>,
) -> Option<(FirstByte, u64, usize)> {
    // RFC 9001 §5.4.2: without a whole sample the packet is dropped.
    if packet.len() < pn_at + SAMPLE_OFFSET + key.sample_len() {
        return None;
    }
    let (head, tail) = packet.split_at_mut(pn_at + SAMPLE_OFFSET);
    let (first, rest) = head.split_at_mut(1);
    key.unprotect(&tail[..key.sample_len()], &mut first[0], &mut rest[pn_at - 1..]);
    let first = FirstByte(packet[0]);
    let payload_at = pn_at + first.pn_len();
    let truncated = packet_number::read(&packet[pn_at..payload_at]);
    Some((first, packet_number::expand(largest, truncated, first.pn_len()), payload_at))
}

#[cfg(test)]
#[test]
fn a_packet_number_grows_by_what_leaves_whole_blocks_and_never_beyond_4() {
    // A packet of 1452 bytes: 1 and 8 and 16 go to the first byte, the connection ID and the tag.
    assert_eq!([1, 2, 3, 4].map(|pn_len| whole_blocks(pn_len, 1452 - 25)), [3, 3, 3, 4]);
    for (room, pn_len) in (0..1500).flat_map(|room| (1..=4).map(move |pn_len| (room, pn_len))) {
        let len = whole_blocks(pn_len, room);
        assert!((pn_len..=4).contains(&len));
        if len != pn_len {
            assert!(room > len && (room - len).is_multiple_of(BLOCK), "{room}, {pn_len}");
        }
    }
}
