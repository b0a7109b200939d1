//! 0-RTT (RFC 9001 §4.6, RFC 9000 §7.4.1): data before the handshake is done, under keys of an earlier connection.
//!
//! Its packets share path 0's packet number space with 1-RTT. If the server refuses them, their frames are sent again.

use super::Connection;
use super::packet::{SAMPLE_OFFSET, protect, room_for_frames, unprotect};
use super::receive::{Arrival, Opened};
use super::transmit::{Tag, Transmit};
use crate::crypto::DirectionKeys;
use crate::error::Violation;
use crate::event::Event;
use crate::frames::{Frames, Token};
use crate::handshake::LevelId;
use crate::path::{MTU_BASE, Path};
use crate::space::Departure;
use mpquic_base::{Ecn, PathId, Time};
use mpquic_wire::header::{Long, LongHeader, LongKind};
use mpquic_wire::{TransportParameters, Writer, packet_number};

/// A client's: for sealing, with the limits of the last visit. A server's: for opening.
pub(super) struct Early {
    keys: DirectionKeys,
    remembered: Option<TransportParameters>,
    /// RFC 9001 §4.9.3: a server keeps the keys for a while after the handshake.
    until: Option<Time>,
}

impl Connection {
    /// Whether streams may be written to before the handshake is done. The data may be replayed by an attacker: only
    /// what does no harm when done twice belongs there.
    #[must_use]
    pub fn can_send_early(&self) -> bool {
        self.role.is_client() && self.early.is_some() && !self.handshake.is_complete()
    }

    /// Whether 1-RTT packets may go out. RFC 9001 §5.7: a server may answer 0-RTT before it has heard the end of the
    /// handshake; only the client whose hello it was can read that.
    pub(super) const fn may_answer(&self) -> bool {
        self.handshake.is_complete() || (!self.role.is_client() && self.early.is_some())
    }

    /// A client that was here before begins with the limits of then.
    pub(super) fn begin_early(&mut self) {
        let Some(keys) = self.handshake.session.early_keys() else { return };
        let bytes = self.handshake.session.remembered_parameters();
        let read = bytes.and_then(|bytes| TransportParameters::decode(bytes, self.role.peer()).ok());
        let Some(remembered) = read else { return };
        self.streams.on_peer_limits(&super::setup::stream_limits(&remembered));
        self.streams.allow_reset_at(remembered.reset_stream_at);
        self.datagrams.on_peer_max(remembered.max_datagram_frame_size);
        self.early = Some(Box::new(Early { keys, remembered: Some(remembered), until: None }));
    }

    /// A server that accepts 0-RTT learns so from the ClientHello.
    pub(super) fn accept_early(&mut self) {
        if !self.role.is_client()
            && self.early.is_none()
            && !self.handshake.is_complete()
            && let Some(keys) = self.handshake.session.early_keys()
        {
            self.early = Some(Box::new(Early { keys, remembered: None, until: None }));
        }
    }

    /// RFC 9001 §4.9.3: a server's keys end once no 0-RTT packet can be on its way any more.
    pub(super) fn forget_early(&mut self, now: Time) {
        if self.early.as_ref().is_some_and(|early| early.until.is_some_and(|until| until <= now)) {
            self.early = None;
        }
    }

    /// The handshake is complete: the client learns what became of its early data.
    pub(super) fn settle_early(&mut self, now: Time) -> Result<(), Violation> {
        if !self.role.is_client() {
            let until = now + (self.largest_pto() + self.config.max_ack_delay) * 3;
            self.early.iter_mut().for_each(|early| early.until = Some(until));
            self.early_outcome = self.early.is_some().then_some(true);
            return Ok(());
        }
        let Some(early) = self.early.take() else { return Ok(()) };
        let accepted = self.handshake.session.early_accepted() == Some(true);
        let lowered = match (&early.remembered, &self.peer) {
            (Some(old), Some(new)) => is_lowered(old, &new.parameters),
            _ => false,
        };
        if accepted && lowered {
            return Err(Violation::protocol("0-RTT was accepted under limits that then shrank"));
        }
        self.early_outcome = Some(accepted);
        self.push_event(Event::EarlyData { accepted });
        if !accepted {
            self.disown_early();
        }
        Ok(())
    }

    /// RFC 9001 §4.6.2: the server has read nothing of what was said early. It is said again, within the limits that the
    /// server has today; they may be lower than those of the last visit (RFC 9000 §7.4.1).
    pub(super) fn disown_early(&mut self) {
        self.again_early();
        self.paths.iter_mut().for_each(|path| path.space.sent.disown());
        let limits = self.peer.as_ref().map(|peer| super::setup::stream_limits(&peer.parameters));
        self.streams.rewind(limits.as_ref());
    }

    /// RFC 9000 §17.2.5.3, RFC 9001 §4.6.2: everything that was sent early is sent again.
    pub(super) fn again_early(&mut self) {
        if let Some(Path { recovery, space, .. }) = self.paths.first_mut() {
            recovery.orphan_all(space, &mut self.fates);
        }
        self.settle_tokens(LevelId::App);
    }

    /// One 0-RTT packet, in a datagram of its own behind the ClientHello.
    pub(super) fn transmit_early(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        let path = self.paths.first().filter(|_| self.can_send_early())?;
        let sendable = self.streams.sendable();
        let wanted = sendable.fresh + sendable.again + self.datagrams.queued_bytes() > 0;
        let full = self.credits_used >= self.config.max_in_flight_transmissions
            || path.recovery.window_left() < u64::from(MTU_BASE);
        if full || !(wanted || self.streams.has_control()) {
            return None;
        }
        let first = path.space.sent.next_pn();
        let limit = usize::from(MTU_BASE).min(out.len());
        let mut tokens = core::mem::take(&mut self.tokens);
        tokens.clear();
        let written = self.write_early(&mut out[..limit], &mut tokens);
        if let (Some(len), Some(Path { recovery, space, .. })) = (written, self.paths.first_mut()) {
            let bytes = u16::try_from(len).expect("a UDP payload is below 64 KiB");
            recovery.on_sent(space, Departure::new(now, bytes, true, true), &tokens);
        }
        self.tokens = tokens;
        let len = written?;
        self.credits_used += 1;
        let path = self.paths.first_mut()?;
        path.on_datagram_sent(now, len as u64, 1);
        let tag = Tag { path: path.id, first, count: 1, credit: true };
        let (tuple, ecn) = (path.tuple, Ecn::NotEct);
        Some(Transmit { tuple, len, segment: len, ecn, departs_at: now, urgent: false, tag })
    }

    fn write_early(&mut self, out: &mut [u8], tokens: &mut Vec<Token>) -> Option<usize> {
        let dcid = self.cids.peer_cid(PathId::ZERO)?;
        let sent = &self.paths.first()?.space.sent;
        let (pn, pn_len) = (sent.next_pn(), packet_number::pn_len(sent.next_pn(), sent.largest_acked()));
        let tag_len = self.early.as_ref()?.keys.packet.tag_len();
        // RFC 9369 §4.1: never in the version that the server went on in.
        let (version, scid) = (self.begun.version, self.scid);
        let header = LongHeader { kind: LongKind::ZeroRtt, version, dcid, scid, token: &[], pn, pn_len };
        let frames_from = header.len();
        let frames_to = room_for_frames(out, tag_len, frames_from, pn_len)?;
        let offsets = header.write(&mut Writer::new(out));
        let mut frames = Frames::new(&mut out[frames_from..frames_to], tokens);
        let whole = frames.remaining();
        self.streams.write_control(&mut frames);
        self.fill_data(&mut frames, whole);
        let written = frames.len();
        if written == 0 {
            return None;
        }
        let end = (frames_from + written).max(offsets.pn_at + SAMPLE_OFFSET) + tag_len;
        out[frames_from + written..end - tag_len].fill(0);
        offsets.patch_length(&mut out[..end], end);
        let keys = &self.early.as_ref()?.keys;
        let (head, payload) = out[..end].split_at_mut(frames_from);
        keys.packet.seal(PathId::ZERO, pn, head, payload);
        protect(&*keys.header, &mut out[..end], offsets.pn_at, pn_len);
        Some(end)
    }

    /// A server takes in a 0-RTT packet; whatever it carries, it belongs to path 0.
    pub(super) fn receive_early(&mut self, now: Time, arrival: &Arrival, long: &Long, packet: &mut [u8]) {
        if self.role.is_client() || long.version != self.begun.version {
            return;
        }
        let Some(early) = self.early.as_ref().filter(|e| e.until.is_none_or(|until| now < until)) else {
            let soon = !self.handshake.is_complete();
            return self.stash(soon, arrival, LevelId::Initial, packet);
        };
        let Some(slot) = self.slot(PathId::ZERO) else { return };
        let acks = &self.paths[slot].space.acks;
        let Some((first, pn, payload_at)) =
            unprotect(&*early.keys.header, packet, long.pn_offset, acks.largest())
        else {
            return;
        };
        let (header, payload) = packet.split_at_mut(payload_at);
        let Ok(len) = early.keys.packet.open(PathId::ZERO, pn, header, payload) else {
            self.counters.forged += 1;
            return;
        };
        if acks.is_duplicate(pn) {
            self.counters.duplicates += 1;
            return;
        }
        if first.reserved_bits() != 0 {
            return self.violate(now, Violation::protocol("reserved header bits are set"));
        }
        self.counters.early_packets += 1;
        self.take_in(now, &Opened { level: LevelId::App, pn, arrival, early: true }, &payload[..len]);
    }
}

/// RFC 9000 §7.4.1: what a server that accepts 0-RTT must not lower.
fn is_lowered(old: &TransportParameters, new: &TransportParameters) -> bool {
    let limits = |p: &TransportParameters| {
        [
            p.active_connection_id_limit,
            p.initial_max_data,
            p.initial_max_stream_data_bidi_local,
            p.initial_max_stream_data_bidi_remote,
            p.initial_max_stream_data_uni,
            p.initial_max_streams_bidi,
            p.initial_max_streams_uni,
            p.max_datagram_frame_size,
            // draft-ietf-quic-reliable-stream-reset-10 §3.
            u64::from(p.reset_stream_at),
        ]
    };
    limits(old).iter().zip(limits(new)).any(|(old, new)| new < *old)
}

#[cfg(test)]
mod tests {
    use super::is_lowered;
    use mpquic_wire::TransportParameters;

    #[test]
    fn an_extension_withdrawn_counts_as_lowered() {
        let without = TransportParameters::default();
        let with = TransportParameters { reset_stream_at: true, ..without.clone() };
        assert!(is_lowered(&with, &without));
        assert!(!is_lowered(&without, &with) && !is_lowered(&with, &with));
    }
}
