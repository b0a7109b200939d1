//! Datagrams in: taken apart, opened in place, their frames handed on.

use super::Connection;
use super::negotiation::RetryCopy;
use super::packet::unprotect;
use crate::cids::LOCAL_CID_LEN;
use crate::error::Violation;
use crate::event::CloseReason;
use crate::handshake::LevelId;
use crate::path::{Path, PathSetup, Validation};
use mpquic_base::{Cid, Duration, Ecn, FourTuple, PathId, Role, Time};
use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::header::{FIXED_BIT, Long, LongKind, PartialHeader, Short, short_dcid};
use std::net::SocketAddr;

/// Packets kept for keys that are still to come, and the largest one worth keeping.
const STASH_MAX: usize = 10;
/// RFC 9000 §14.1: smaller datagrams must not carry a client's Initial packet.
pub(crate) const INITIAL_DATAGRAM_MIN: usize = 1200;
/// RFC 9000 §10.3: a stateless reset is at least this long.
pub(crate) const RESET_LEN_MIN: usize = 21;

/// How a datagram came in: its addresses, its ECN mark and what its connection ID leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) tuple: FourTuple,
    pub(crate) ecn: Ecn,
    pub(crate) path: PathId,
    /// Bytes of the datagram that its sender has earned nothing for yet.
    pub(crate) len: usize,
    /// Sequence number of our connection ID on it; `None` for the client's own first choice.
    pub(crate) cid_seq: Option<u64>,
}

/// A packet that waits for its keys.
#[derive(Debug)]
pub(crate) struct Stashed {
    arrival: Arrival,
    /// Whose keys it waits for; Initial stands for 0-RTT, because no Initial packet ever waits.
    level: LevelId,
    bytes: Vec<u8>,
}

/// A packet that was opened, on its way to the parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened<'a> {
    pub(super) level: LevelId,
    pub(super) pn: u64,
    pub(super) arrival: &'a Arrival,
    /// It came as 0-RTT.
    pub(super) early: bool,
}

impl Connection {
    /// Takes in one datagram; it is decrypted where it lies.
    pub(crate) fn receive(&mut self, now: Time, arrival: &Arrival, datagram: &mut [u8]) {
        // RFC 9000 §9: a client drops what comes from an address that is not its server's.
        if self.role.is_client() && !self.knows_server(&arrival.tuple.peer) {
            return;
        }
        self.counters.datagrams_received += 1;
        self.rested = false;
        if let Some(slot) = self.slot(arrival.path) {
            self.paths[slot].on_datagram_received(&arrival.tuple.peer, datagram.len());
        }
        if !self.close.is_open() {
            // RFC 9000 §10.2.1: only a close of the peer's own still matters.
            self.close.on_packet();
        }
        if let Some((_, pn_offset)) = short_dcid(datagram, LOCAL_CID_LEN) {
            // By far the most common: one 1-RTT packet, which reaches to the end of the datagram.
            let valid = datagram[0] & FIXED_BIT != 0 || self.config.greasing;
            if valid && !self.close.is_done() {
                self.receive_short(now, arrival, pn_offset, datagram);
            }
            return self.unstash(now);
        }
        let whole = datagram.len();
        let mut rest = datagram;
        let mut dcid = None;
        while !rest.is_empty() && !self.close.is_done() {
            let Ok((header, len)) = PartialHeader::read(rest, LOCAL_CID_LEN) else { return };
            // RFC 9000 §12.2: every packet of a datagram is for the same connection.
            let this = Cid::new(header.dcid());
            let same = *dcid.get_or_insert(this) == this;
            let parsed = match header {
                PartialHeader::Long(long) if long.fixed_bit || self.config.greasing => Parsed::Long(long),
                PartialHeader::Short(short) if short.fixed_bit || self.config.greasing => {
                    Parsed::Short(short)
                }
                PartialHeader::Retry(retry) if retry.fixed_bit => Parsed::Retry(retry.into()),
                PartialHeader::VersionNegotiation { scid, versions, .. } => {
                    Parsed::Versions(Cid::new(scid), versions.collect())
                }
                _ => Parsed::Ignored,
            };
            let (packet, tail) = rest.split_at_mut(len);
            rest = tail;
            if !same {
                continue;
            }
            match parsed {
                Parsed::Long(long) => self.receive_long(now, arrival, &long, packet, whole),
                Parsed::Short(short) => self.receive_short(now, arrival, short.pn_offset, packet),
                Parsed::Versions(scid, versions) => self.on_version_negotiation(scid, &versions),
                Parsed::Retry(retry) => self.on_retry(retry),
                Parsed::Ignored => {}
            }
        }
        self.unstash(now);
    }

    fn knows_server(&self, peer: &SocketAddr) -> bool {
        let probed = |path: &Path| path.probe.as_ref().is_some_and(|probe| probe.tuple.peer == *peer);
        self.paths.iter().any(|path| path.tuple.peer == *peer || probed(path))
            || self.preferred_addresses().any(|address| address == *peer)
    }

    fn receive_long(&mut self, now: Time, arrival: &Arrival, long: &Long, packet: &mut [u8], whole: usize) {
        let level = match long.kind {
            LongKind::Initial => LevelId::Initial,
            LongKind::Handshake => LevelId::Handshake,
            LongKind::ZeroRtt => return self.receive_early(now, arrival, long, packet),
        };
        if arrival.path != PathId::ZERO || !self.may_come_in(level, long.version) {
            return;
        }
        if level == LevelId::Initial {
            // RFC 9000 §14.1 and §17.2.2: too small a client datagram, or a token from a server.
            let small = self.role == Role::Server && whole < INITIAL_DATAGRAM_MIN;
            if small || (self.role.is_client() && !long.token.is_empty()) {
                return;
            }
        }
        // RFC 9000 §7.2: once the peer's ID is known, packets under another one are dropped.
        if self.peer_scid.is_some_and(|scid| scid != long.scid) {
            return;
        }
        if level == LevelId::Initial {
            self.follow_version(long, packet);
        }
        let Some((space, keys)) = self.opening(level, long.version) else {
            let soon = level == LevelId::Handshake && !self.handshake.is_complete();
            self.stash(soon, arrival, level, packet);
            return;
        };
        let largest = space.acks.largest();
        let Some((first, pn, payload_at)) = unprotect(&*keys.header, packet, long.pn_offset, largest) else {
            return;
        };
        let (header, payload) = packet.split_at_mut(payload_at);
        let Ok(len) = keys.packet.open(PathId::ZERO, pn, header, payload) else {
            self.counters.forged += 1;
            return;
        };
        if space.acks.is_duplicate(pn) {
            self.counters.duplicates += 1;
            return;
        }
        if first.reserved_bits() != 0 {
            return self.violate(now, Violation::protocol("reserved header bits are set"));
        }
        let newest = largest.is_none_or(|largest| pn > largest);
        self.on_long_opened(now, (long, level), arrival, newest.then_some(whole));
        self.take_in(now, &Opened { level, pn, arrival, early: false }, &payload[..len]);
    }

    /// What a genuine long-header packet proves, whatever it carries.
    ///
    /// `newest` is the size of its datagram, if none with a higher number came before.
    fn on_long_opened(
        &mut self,
        now: Time,
        (long, level): (&Long, LevelId),
        arrival: &Arrival,
        newest: Option<usize>,
    ) {
        if self.peer_scid.is_none() {
            self.cids.set_first_peer_cid(long.scid);
            self.peer_scid = Some(long.scid);
        }
        if self.role.is_client() {
            return;
        }
        let pto = self.validation_pto();
        if arrival.cid_seq.is_some()
            && let Some(path) = self.paths.first_mut()
        {
            if path.tuple.peer != arrival.tuple.peer {
                // A NAT that moves its client in the middle of the handshake would otherwise end it. But copies are
                // made easily: the new address is challenged once there are keys for that.
                if let Some(received) = newest {
                    path.on_address_change(now, arrival.tuple, pto, received);
                }
            } else if path.is_usable() {
                // RFC 9000 §8.1: whoever uses an ID of ours, which nobody could guess, receives what we send there.
                path.on_validated();
            }
        }
        if level == LevelId::Handshake {
            // RFC 9001 §4.9.1: Initial keys are done with.
            self.discard_level(LevelId::Initial);
        }
    }

    fn receive_short(&mut self, now: Time, arrival: &Arrival, pn_offset: usize, packet: &mut [u8]) {
        let Some(&tail) = packet.last_chunk::<RESET_TOKEN_LEN>() else { return };
        // RFC 9001 §5.7: a server reads nothing of 1-RTT before the handshake is complete.
        let Some(keys) = self.keys.as_mut().filter(|_| self.handshake.is_complete()) else {
            let soon = !self.handshake.is_complete();
            return self.stash(soon, arrival, LevelId::App, packet);
        };
        let slot = self.paths.binary_search_by_key(&arrival.path, |p| p.id).ok();
        if slot.is_none() && self.path_ids.is_consumed(arrival.path) {
            return; // a path that was given up
        }
        let largest = slot.and_then(|slot| self.paths[slot].space.acks.largest());
        let whole = packet.len();
        let Some((first, pn, payload_at)) = unprotect(&*keys.header_peer, packet, pn_offset, largest) else {
            return;
        };
        let paths = &self.paths;
        let keep = || {
            let longest = paths.iter().map(|p| p.recovery.pto_interval(Duration::from_millis(25))).max();
            longest.unwrap_or_default() * 3
        };
        let (header, payload) = packet.split_at_mut(payload_at);
        let opened = keys.open(now, keep, (arrival.path, pn, first.key_phase()), header, payload);
        if let Err(violation) = keys.check_order() {
            return self.violate(now, violation);
        }
        let Ok(len) = opened else {
            self.counters.forged += 1;
            return self.on_forged(now, whole, &tail);
        };
        if slot.is_some_and(|slot| self.paths[slot].space.acks.is_duplicate(pn)) {
            self.counters.duplicates += 1;
            return;
        }
        if first.reserved_bits() != 0 {
            return self.violate(now, Violation::protocol("reserved header bits are set"));
        }
        if slot.is_none() && !self.on_unknown_path(now, arrival, whole) {
            return;
        }
        if largest.is_none_or(|largest| pn > largest)
            && let Some(slot) = self.slot(arrival.path)
        {
            self.paths[slot].spin.on_packet(self.role, first.spin());
        }
        self.take_in(now, &Opened { level: LevelId::App, pn, arrival, early: false }, &payload[..len]);
    }

    /// RFC 9000 §10.3.1: what does not decrypt may be the peer telling us that it forgot the connection.
    fn on_forged(&mut self, now: Time, len: usize, tail: &[u8; RESET_TOKEN_LEN]) {
        if len >= RESET_LEN_MIN && self.on_stateless_reset(now, tail) {
            return;
        }
        if let Some(Err(violation)) = self.keys.as_ref().map(crate::keys::OneRttKeys::check_forgeries) {
            self.violate(now, violation);
        }
    }

    /// True if the last bytes of a datagram were a token of the peer's: it has forgotten this connection.
    pub(crate) fn on_stateless_reset(&mut self, now: Time, tail: &[u8; RESET_TOKEN_LEN]) -> bool {
        let genuine = self.cids.is_reset_token(tail);
        if genuine {
            self.drain(now, CloseReason::StatelessReset);
        }
        genuine
    }

    /// draft-ietf-quic-multipath-21 §3.1: a client opens a path by using an id for which it holds our connection ID.
    fn on_unknown_path(&mut self, now: Time, arrival: &Arrival, received: usize) -> bool {
        let allowed = self.role == Role::Server
            && self.path_ids.is_negotiated()
            && arrival.path <= self.path_ids.usable_max()
            && self.paths.len() < usize::from(self.config.max_paths)
            && self.cids.activate(arrival.path);
        if !allowed {
            return false;
        }
        self.path_ids.consume(arrival.path);
        let validation = Validation::pending(now, self.validation_pto());
        self.insert_path(now, arrival.path, arrival.tuple, validation, true);
        if let Some(slot) = self.slot(arrival.path) {
            self.paths[slot].on_datagram_received(&arrival.tuple.peer, received);
        }
        true
    }

    pub(super) fn insert_path(
        &mut self,
        now: Time,
        id: PathId,
        tuple: FourTuple,
        validation: Validation,
        limited: bool,
    ) {
        let ceiling = self.peer.as_ref().map_or(self.config.mtu_ceiling, |p| self.mtu_ceiling(&p.parameters));
        let setup = PathSetup {
            id,
            tuple,
            controller: self.config.new_controller(),
            initial_rtt: self.config.initial_rtt,
            mtu_ceiling: ceiling,
            pacing: self.config.pacing,
            ecn: self.config.ecn,
            spin: self.config.spin,
            tells: self.tells_addresses(),
            validation,
            limited,
        };
        let at = self.paths.partition_point(|p| p.id < id);
        self.paths.insert(at, Path::new(setup, now, &mut self.rng));
    }

    /// Hands the frames of a packet to the parts, then has it acknowledged.
    pub(super) fn take_in(&mut self, now: Time, opened: &Opened<'_>, payload: &[u8]) {
        let taken = match self.dispatch(now, opened, payload) {
            Ok(taken) => taken,
            Err(violation) => return self.violate(now, violation),
        };
        self.idle.since = now;
        self.idle.sent_since_heard = false;
        if taken.refused {
            // Unacknowledged, it will be sent again when there is room.
            self.counters.refused += 1;
            return;
        }
        let ecn = opened.arrival.ecn;
        if let Some(slot) = self.slot(opened.arrival.path) {
            self.paths[slot].on_heard(now);
        }
        if opened.level != LevelId::App {
            if let Some(level) = self.handshake.level(opened.level) {
                level.space.acks.on_packet(now, opened.pn, taken.eliciting, ecn, None);
            }
            return;
        }
        let Some(slot) = self.slot(opened.arrival.path) else { return };
        let path = &mut self.paths[slot];
        let newest = path.space.acks.largest().is_none_or(|largest| opened.pn > largest);
        path.on_packet_received();
        let rules = (!taken.immediate).then(|| self.ack_orders.rules());
        path.space.acks.on_packet(now, opened.pn, taken.eliciting, ecn, rules);
        if let Some(probe) = path.probe.as_mut().filter(|probe| probe.tuple == opened.arrival.tuple) {
            probe.on_packet(payload.len());
        }
        if newest && !taken.probing {
            self.follow_peer(now, slot, opened.arrival);
        }
    }

    pub(super) fn stash(&mut self, soon: bool, arrival: &Arrival, level: LevelId, packet: &[u8]) {
        if soon && self.stash.len() < STASH_MAX {
            // RFC 9000 §8.1: a datagram earns its sender an answer once, be it now or when its packets can be read.
            let from_there = |path: &Path| path.id == arrival.path && path.tuple.peer == arrival.tuple.peer;
            let earned = self.paths.iter().any(from_there);
            let arrival = Arrival { len: if earned { 0 } else { packet.len() }, ..*arrival };
            self.stash.push(Stashed { arrival, level, bytes: packet.to_vec() });
        } else {
            self.counters.undecryptable += 1;
        }
    }

    /// Packets whose keys have come in the meantime.
    fn unstash(&mut self, now: Time) {
        if self.stash.is_empty() || !self.close.is_open() {
            return;
        }
        let handshake = self.handshake.handshake.is_some();
        let app = self.keys.is_some() && self.handshake.is_complete();
        let early = self.early.is_some() || self.handshake.is_complete();
        let ready = |s: &Stashed| match s.level {
            LevelId::Initial => early,
            LevelId::Handshake => handshake,
            LevelId::App => app,
        };
        let (now_ready, waiting): (Vec<_>, Vec<_>) = self.stash.drain(..).partition(ready);
        self.stash = waiting;
        for mut stashed in now_ready {
            let whole = stashed.arrival.len;
            match PartialHeader::read(&stashed.bytes, LOCAL_CID_LEN) {
                Ok((PartialHeader::Long(long), _)) => {
                    self.receive_long(now, &stashed.arrival, &long, &mut stashed.bytes, whole);
                }
                Ok((PartialHeader::Short(short), _)) => {
                    self.receive_short(now, &stashed.arrival, short.pn_offset, &mut stashed.bytes);
                }
                _ => {}
            }
        }
    }
}

enum Parsed {
    Long(Long),
    Short(Short),
    Versions(Option<Cid>, Vec<u32>),
    Retry(RetryCopy),
    Ignored,
}
