//! Datagrams out. Asked again and again until nothing is left to send; each answer is one batch for one path.

use super::Connection;
use crate::close::CloseFrame;
use crate::frames::{Frames, Token};
use crate::handshake::LevelId;
use crate::path::{MTU_BASE, Path};
use crate::stream::Sendable;
use mpquic_base::{Duration, Ecn, FourTuple, PathId, Role, Time};
use mpquic_policy::sched::{Pick, Want};
use mpquic_wire::Frame;

/// Kernels take at most this many segments in one GSO send.
const SEGMENTS_MAX: usize = 64;
/// Padding that a packet may get so that it is as large as the others of its batch: an ACK frame's worth.
const EVEN_OUT_MAX: usize = 48;
/// An ACK rides on data that departs within this time; otherwise it goes by itself.
const ACK_RIDES_WITHIN: Duration = Duration::from_millis(1);

/// A batch of datagrams for one path: `len` bytes, cut into pieces of `segment` (the last may be shorter).
#[derive(Clone, Copy, Debug)]
pub struct Transmit {
    pub tuple: FourTuple,
    pub len: usize,
    pub segment: usize,
    pub ecn: Ecn,
    /// Not before this time.
    pub departs_at: Time,
    /// ACKs, probes and handshakes: ahead of data in the wheel.
    pub urgent: bool,
    /// To be given back to [`Connection::settle`] with the batch's fate.
    pub tag: Tag,
}

/// Which packets a transmission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub path: PathId,
    pub(super) first: u64,
    pub(super) count: u16,
    /// Holds one of the connection's transmission credits.
    pub(super) credit: bool,
}

impl Tag {
    /// For a datagram that belongs to no connection.
    pub(crate) const fn none() -> Self {
        Self { path: PathId::ZERO, first: 0, count: 0, credit: false }
    }
}

/// What became of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left this host, at that time.
    Sent(Time),
    /// The host refused it for good.
    Failed,
    /// The host has no way out there: the device is gone, or there is no route or no such address.
    Unreachable,
    /// The host sends nothing of that size there.
    TooLarge,
    /// It was taken back before it left.
    Cancelled,
}

impl Connection {
    /// Writes the next batch into `out`; `None` if there is nothing to send now.
    pub fn transmit(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        if !self.close.is_open() {
            return self.transmit_close(now, out);
        }
        if self.read_since_tune {
            self.read_since_tune = false;
            let patience = self.reordering_span();
            self.streams.tune(now, patience);
        }
        let after = self.config.key_update_packets;
        if self.keys.as_ref().is_some_and(|k| self.handshake.is_confirmed() && k.wants_update(now, after)) {
            self.keys.iter_mut().for_each(crate::keys::OneRttKeys::update);
        }
        if self.keys.as_ref().is_some_and(crate::keys::OneRttKeys::is_exhausted) {
            self.violate(now, crate::error::Violation::aead_limit());
            return self.transmit_close(now, out);
        }
        let sent = self
            .transmit_handshake(now, out)
            .or_else(|| self.transmit_early(now, out))
            .or_else(|| self.transmit_own(now, out))
            .or_else(|| self.transmit_probe(now, out))
            .or_else(|| self.transmit_data(now, out))
            .or_else(|| self.transmit_told(now, out))
            .or_else(|| self.transmit_acks(now, out))
            .or_else(|| self.transmit_mtu_probe(now, out));
        let Some(sent) = sent else {
            self.asked_at = Some(now);
            return None;
        };
        self.rested = false;
        self.counters.transmissions += 1;
        self.counters.datagrams_sent += sent.len.div_ceil(sent.segment) as u64;
        Some(sent)
    }

    /// How long data of the fastest path may wait for what the slowest one carries. A receiver's own RTT samples know
    /// nothing of the queue that the sender builds, nor of the round trip that a lost packet costs: hence the double.
    fn reordering_span(&self) -> Duration {
        let usable = self.paths.iter().filter(|p| p.is_usable());
        let slowest = usable.map(|p| p.recovery.rtt.smoothed() + p.recovery.rtt.variance() * 4).max();
        slowest.unwrap_or(self.config.initial_rtt) * 2
    }

    /// Initial and Handshake packets, coalesced into one datagram on path 0.
    fn transmit_handshake(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        let levels = [LevelId::Initial, LevelId::Handshake];
        let wanting: Vec<LevelId> = levels.into_iter().filter(|l| self.handshake.wants(*l)).collect();
        if wanting.is_empty() {
            return None;
        }
        let path = self.paths.first()?;
        let limit = usize::try_from(path.allowance()).unwrap_or(usize::MAX).min(usize::from(MTU_BASE));
        let room = path.recovery.window_left() >= u64::from(MTU_BASE);
        let (mut len, mut asks) = (0, false);
        for (i, &level) in wanting.iter().enumerate() {
            let state = self.handshake.level(level)?;
            let probing = state.space.probes > 0;
            // RFC 9002 §7: probes and ACKs go out whatever the window says.
            if state.wants_eliciting() && !probing && !room && !state.space.acks.is_pending() {
                continue;
            }
            let eliciting = state.wants_eliciting() && (room || probing);
            // RFC 9000 §14.1: a client pads every Initial datagram, a server those that elicit an ACK.
            let has_initial = wanting[0] == LevelId::Initial;
            let pad = has_initial
                && i + 1 == wanting.len()
                && (self.role.is_client() || eliciting || wanting.len() > 1);
            let size = self.long_packet(level, now, &mut out[len..limit.max(len)], pad, |conn, frames| {
                conn.fill_level(now, level, eliciting, frames);
            });
            len += size.unwrap_or(0);
            asks |= eliciting && size.is_some();
            if size.is_some() && level == LevelId::Handshake && self.role.is_client() {
                // RFC 9001 §4.9.1: the first Handshake packet sent ends Initial for a client.
                self.discard_level(LevelId::Initial);
            }
        }
        if asks {
            self.mark_eliciting_sent(now);
        }
        (len > 0).then(|| self.finish_urgent(now, 0, len))
    }

    fn fill_level(&mut self, now: Time, id: LevelId, eliciting: bool, frames: &mut Frames<'_>) {
        let Some(level) = self.handshake.level(id) else { return };
        if level.space.acks.is_pending() {
            let header = mpquic_wire::frame::AckHeader {
                path: PathId::ZERO,
                multipath: false,
                delay: u64::try_from(level.space.acks.delay(now).as_micros()).unwrap_or(0)
                    >> super::ACK_DELAY_EXPONENT,
                ecn: level.space.acks.ecn(),
            };
            let largest = level.space.acks.largest().unwrap_or(0);
            if frames.push_with(|out| header.write(level.space.acks.ranges(), out)) > 0 {
                frames.leave(Token::Ack { path: PathId::ZERO, largest });
                level.space.acks.on_ack_sent();
            }
        }
        if !eliciting {
            return;
        }
        level.write_crypto(frames);
        if level.space.probes > 0 {
            level.space.probes -= 1;
            if !frames.ack_eliciting() {
                let _fits = frames.push_untracked(&Frame::Ping);
            }
        }
    }

    /// What belongs on one particular path: answers to challenges, challenges, probes.
    fn transmit_own(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.keys.as_ref().filter(|_| self.handshake.is_complete())?;
        (0..self.paths.len()).find_map(|slot| {
            let wanted = self.paths[slot].wants_own(now);
            wanted.then(|| self.own_packet(now, slot, out)).flatten()
        })
    }

    /// Addresses that found no data of their path to ride on.
    fn transmit_told(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.keys.as_ref().filter(|_| self.handshake.is_complete())?;
        (0..self.paths.len()).find_map(|slot| {
            let wanted = self.paths[slot].wants_tell();
            wanted.then(|| self.own_packet(now, slot, out)).flatten()
        })
    }

    fn own_packet(&mut self, now: Time, slot: usize, out: &mut [u8]) -> Option<Transmit> {
        let path = &self.paths[slot];
        let first = path.space.sent.next_pn();
        let allowance = usize::try_from(path.allowance()).unwrap_or(usize::MAX);
        let limit = allowance.min(usize::from(MTU_BASE)).min(out.len());
        // Too little to say anything in: the peer's address has to earn more.
        let size = self.short_packet(slot, now, &mut out[..limit], |conn, frames| {
            conn.fill_own(now, slot, frames, limit)
        })?;
        self.mark_eliciting_sent(now);
        let mut transmit = self.finish_marked(now, slot, size);
        transmit.tag.first = first;
        transmit.tag.count = 1;
        Some(transmit)
    }

    fn fill_own(&mut self, now: Time, slot: usize, frames: &mut Frames<'_>, limit: usize) -> usize {
        let multipath = self.path_ids.is_negotiated();
        let path = &mut self.paths[slot];
        // A challenge comes first: a new address may not have earned room for anything else.
        // RFC 9000 §8.2.1: padded to prove that the path carries it, as far as the amplification limit allows.
        let pad = path.write_own(now, &mut self.rng, &mut self.observed_seq, frames);
        path.write_ack(now, super::ACK_DELAY_EXPONENT, multipath, frames);
        if path.space.probes > 0 {
            path.space.probes -= 1;
            // A probe of a living path carries what is overdue; a silent one must not swallow data.
            if path.is_usable() && !path.silent {
                self.fill_control(now, frames);
                self.fill_data(frames, 0);
            }
            // draft-ietf-quic-ack-frequency §7: what a probe wants to know should not wait.
            if self.ack_wishes.are_heeded() && frames.remaining() > 0 {
                let _fits = frames.push_untracked(&Frame::ImmediateAck);
            }
            if !frames.ack_eliciting() {
                let _fits = frames.push_untracked(&Frame::Ping);
            }
        }
        if pad { limit } else { 0 }
    }

    /// Application data and control frames, on the path that the scheduler picks.
    fn transmit_data(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.pacing_wake = None;
        self.keys.as_ref().filter(|_| self.may_answer())?;
        let mut sendable = self.streams.sendable();
        let mut data = sendable.fresh + sendable.again + self.datagrams.queued_bytes();
        let control = self.wants_control();
        if data == 0 && self.double_the_tail(now) {
            sendable = self.streams.sendable();
            data = sendable.again;
        }
        if data == 0 {
            self.paths.iter_mut().for_each(|p| p.recovery.on_app_limited());
            if !control {
                return None;
            }
        }
        if self.credits_used >= self.config.max_in_flight_transmissions {
            return None;
        }
        let slot = self.pick_path(now, Want { bytes: data, retransmit: sendable.again > 0 })?;
        let transmit = self.batch(now, slot, out);
        if transmit.is_some() {
            self.credits_used += 1;
            self.mark_eliciting_sent(now);
        }
        transmit
    }

    pub(super) fn wants_control(&self) -> bool {
        self.streams.has_control()
            || self.cids.wants()
            || self.path_ids.wants()
            || self.handshake.wants(LevelId::App)
            || self.grants.wants()
            || self.ack_wishes.wants()
            || self.paths.iter().any(|p| p.status.wants() && p.closing.is_none())
    }

    /// Asks the scheduler; notes when a pacer will let go if nothing can be sent now.
    fn pick_path(&mut self, now: Time, want: Want) -> Option<usize> {
        self.collect_views(now);
        if !self.views.iter().any(|v| v.can_send) {
            let paced = self.slots.iter().zip(&self.views).filter(|(_, v)| v.window_left >= u64::from(v.mtu));
            self.pacing_wake = paced.map(|(slot, _)| self.paths[*slot].recovery.pacer.opens_at()).min();
            return None;
        }
        let pick = if want.bytes == 0 {
            // Control frames alone: the quickest path that can take them.
            let open = self.views.iter().enumerate().filter(|(_, v)| v.can_send);
            open.min_by_key(|(_, v)| (v.backup, v.srtt)).map(|(i, _)| i)
        } else {
            match self.scheduler.pick(now, &self.views, &want) {
                Pick::Send(i) if self.views.get(i).is_some_and(|v| v.can_send) => Some(i),
                Pick::Send(_) | Pick::Wait => None,
            }
        };
        if pick.is_none() {
            let blocked = self.slots.iter().zip(&self.views).filter(|(_, v)| !v.can_send);
            let opens = blocked.map(|(slot, _)| self.paths[*slot].recovery.pacer.opens_at());
            self.pacing_wake = opens.filter(|at| *at > now).min();
        }
        pick.map(|i| self.slots[i])
    }

    /// Views of the living paths; only if there are none, of the silent ones.
    pub(super) fn collect_views(&mut self, now: Time) {
        let living = self.paths.iter().any(Path::is_living);
        self.views.clear();
        self.slots.clear();
        for (slot, path) in self.paths.iter().enumerate() {
            if path.is_usable() && path.down.is_none() && path.silent != living {
                self.slots.push(slot);
                self.views.push(path.view(now));
            }
        }
    }

    /// As many full packets for one path as window, pacer and credit allow, in one piece.
    fn batch(&mut self, now: Time, slot: usize, out: &mut [u8]) -> Option<Transmit> {
        let path = &mut self.paths[slot];
        path.space.skip_sometimes(&mut self.rng);
        let (first, mtu) = (path.space.sent.next_pn(), usize::from(path.mtu.current()));
        let departs = path.recovery.pacer.departs_at(now);
        let budget = path
            .recovery
            .pacer
            .burst_bytes(path.mtu.current())
            .min(path.recovery.window_left())
            .min(path.allowance())
            .min((SEGMENTS_MAX * mtu) as u64);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX).min(out.len());
        let acks = departs.since(now) <= ACK_RIDES_WITHIN;
        // All packets of a batch have the size of its first, which datagrams need not fill; the last may be shorter.
        let (mut len, mut count, mut segment) = (0, 0u16, mtu);
        // Asked for each packet until nothing is wanted: what the data then brings about is for the next batch.
        let mut control = true;
        while len + mtu <= budget {
            let packet = self.short_packet(slot, departs, &mut out[len..len + segment], |conn, frames| {
                conn.fill_packet(now, slot, (acks, &mut control), (mtu, segment), frames)
            });
            let Some(size) = packet else { break };
            len += size;
            count += 1;
            if count == 1 && self.datagrams.wants() {
                segment = size;
            }
            if size < segment {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        let path = &mut self.paths[slot];
        path.on_datagram_sent(now, len as u64, u64::from(count));
        path.recovery.pacer.on_sent(now, len as u64);
        let tag = Tag { path: path.id, first, count, credit: true };
        let (tuple, segment, ecn) = (path.tuple, segment.min(len), path.mark());
        if ecn != Ecn::NotEct {
            path.ecn.on_sent(u64::from(count));
        }
        Some(Transmit { tuple, len, segment, ecn, departs_at: departs, urgent: false, tag })
    }

    /// Returns the size to pad the packet to, if any.
    fn fill_packet(
        &mut self,
        now: Time,
        slot: usize,
        (acks, control): (bool, &mut bool),
        (mtu, segment): (usize, usize),
        frames: &mut Frames<'_>,
    ) -> usize {
        let whole = frames.remaining() + (mtu - segment);
        let multipath = self.path_ids.is_negotiated();
        if acks {
            self.paths[slot].write_ack(now, super::ACK_DELAY_EXPONENT, multipath, frames);
        }
        let path = &mut self.paths[slot];
        path.observed.write(path.id, path.tuple.peer, &mut self.observed_seq, frames);
        *control = *control && self.fill_control(now, frames);
        let had = self.streams.sendable();
        self.fill_data(frames, whole);
        if had != Sendable::default() && self.streams.sendable() == Sendable::default() {
            self.hurry_ack(now, slot, frames);
        }
        // A few bytes of padding are cheaper than a batch that ends.
        let even = segment < mtu && self.datagrams.wants() && frames.remaining() <= EVEN_OUT_MAX;
        if even { segment } else { 0 }
    }

    /// draft-ietf-quic-ack-frequency §8.1.1: the last packet before a pause should not wait for others to be acknowledged.
    fn hurry_ack(&mut self, now: Time, slot: usize, frames: &mut Frames<'_>) {
        let srtt = self.paths[slot].recovery.rtt.smoothed();
        if frames.remaining() > 0 && self.ack_wishes.takes_tail(now, srtt) {
            let _fits = frames.push_untracked(&Frame::ImmediateAck);
        }
    }

    /// Returns whether anything was wanted.
    fn fill_control(&mut self, now: Time, frames: &mut Frames<'_>) -> bool {
        if !self.wants_control() {
            return false;
        }
        self.handshake.write_app(frames);
        self.grants.write(now, &mut self.rng, self.version, frames);
        for path in self.paths.iter_mut().filter(|p| p.closing.is_none()) {
            path.status.write(path.id, frames);
        }
        self.path_ids.write(frames);
        self.cids.write(frames);
        self.ack_wishes.write(frames);
        self.streams.write_control(frames);
        true
    }

    /// `whole` is the room of an empty packet, 0 to leave datagrams alone.
    pub(super) fn fill_data(&mut self, frames: &mut Frames<'_>, whole: usize) {
        if whole > 0 && self.datagrams.wants() {
            self.datagrams.write(frames, whole);
            if self.datagrams.take_unblocked() {
                self.push_event(crate::event::Event::DatagramWritable);
            }
        }
        self.streams.write_data(frames);
    }

    /// ACKs that are due and found no data to ride on. They need no window, no credit and no pacing.
    fn transmit_acks(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.keys.as_ref().filter(|_| self.may_answer())?;
        let due = self.paths.iter().position(|p| p.space.acks.is_due(now))?;
        let slot = self.ack_slot(due)?;
        let limit = usize::from(self.paths[slot].mtu.current()).min(out.len());
        let allowance = usize::try_from(self.paths[slot].allowance()).unwrap_or(usize::MAX);
        let multipath = self.path_ids.is_negotiated();
        let size = self.short_packet(slot, now, &mut out[..limit.min(allowance)], |conn, frames| {
            for path in conn.paths.iter_mut().filter(|p| p.space.acks.is_due(now)) {
                path.write_ack(now, super::ACK_DELAY_EXPONENT, multipath, frames);
            }
            0
        })?;
        let Path { recovery, space, .. } = &mut self.paths[slot];
        recovery.prune(space, &mut self.fates);
        self.settle_tokens(LevelId::App);
        Some(self.finish_marked(now, slot, size))
    }

    /// An ACK goes back over the path it speaks of, so that it is a clean RTT sample; if that path cannot be used, over
    /// the quickest one that can.
    fn ack_slot(&self, due: usize) -> Option<usize> {
        let fit = |p: &Path| p.is_usable() && p.down.is_none() && p.allowance() > 0;
        if fit(&self.paths[due]) && !self.paths[due].silent {
            return Some(due);
        }
        let others = self.paths.iter().enumerate().filter(|(_, p)| fit(p));
        others.min_by_key(|(_, p)| (p.silent, p.recovery.rtt.smoothed())).map(|(slot, _)| slot)
    }

    fn transmit_mtu_probe(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        self.keys.as_ref().filter(|_| self.handshake.is_confirmed())?;
        // A connection that comes and goes, or rests, without a word never needs to know.
        let used = self.streams.were_used() || self.datagrams.were_used();
        let wants = |p: &Path| {
            let wanted = used || p.id != PathId::ZERO;
            let ready = wanted && p.is_usable() && !p.silent && p.allowance() == u64::MAX;
            let size = p.mtu.wanted().filter(|_| ready)?;
            (p.recovery.window_left() >= u64::from(size)).then_some(size)
        };
        let (slot, size) = self.paths.iter().enumerate().find_map(|(i, p)| wants(p).map(|size| (i, size)))?;
        let first = self.paths[slot].space.sent.next_pn();
        let room = usize::from(size);
        let written = self.short_packet(slot, now, out.get_mut(..room)?, |_, frames| {
            let _fits = frames.push(&Frame::Ping, Token::MtuProbe(size));
            room
        })?;
        self.paths[slot].mtu.on_probe_sent();
        self.mark_eliciting_sent(now);
        let mut transmit = self.finish_marked(now, slot, written);
        transmit.urgent = false;
        transmit.tag.first = first;
        transmit.tag.count = 1;
        Some(transmit)
    }

    /// CONNECTION_CLOSE at every level that the peer may be able to read (RFC 9000 §10.2.3); in 1-RTT first, because that alone
    /// carries an application's code, and in a datagram of its own.
    ///
    /// RFC 9000 §12.2 wants all of a datagram read, whatever became of its first packet. Still there are servers (quiche
    /// 0.30) that drop what stands behind a Handshake packet once they have no keys for that, and so the only close that they can read.
    fn transmit_close(&mut self, now: Time, out: &mut [u8]) -> Option<Transmit> {
        let slot = self.close_slot()?;
        let limit = usize::try_from(self.paths[slot].allowance()).unwrap_or(usize::MAX);
        let limit = limit.min(usize::from(MTU_BASE)).min(out.len());
        if let Some(close) = self.close.take_due() {
            if !self.handshake.is_confirmed() {
                self.close.owe_below();
            }
            if self.handshake.is_complete() {
                let said = self.short_packet(slot, now, &mut out[..limit], |_, frames| {
                    write_close(&close, true, frames);
                    0
                });
                if let Some(len) = said {
                    return Some(self.finish_urgent(now, slot, len));
                }
            }
        }
        let close = self.close.take_below()?;
        let len = self.close_below(now, &close, &mut out[..limit]);
        (len > 0).then(|| self.finish_urgent(now, slot, len))
    }

    /// The close in an Initial and a Handshake packet, as far as there are keys.
    fn close_below(&mut self, now: Time, close: &CloseFrame, out: &mut [u8]) -> usize {
        let mut len = 0;
        for level in [LevelId::Initial, LevelId::Handshake] {
            // A client pads its Initial datagrams; the close needs no more than half of one.
            let pad = level == LevelId::Initial && self.role == Role::Client;
            let until = if pad && self.handshake.handshake.is_some() { out.len() / 2 } else { out.len() };
            let to = until.max(len);
            let size = self.long_packet(level, now, &mut out[len..to], pad, |_, frames| {
                write_close(close, false, frames);
            });
            len += size.unwrap_or(0);
        }
        len
    }

    fn close_slot(&self) -> Option<usize> {
        let fit = self.paths.iter().enumerate().filter(|(_, p)| p.is_usable() && p.allowance() > 0);
        fit.min_by_key(|(_, p)| (p.silent, p.recovery.rtt.smoothed())).map(|(slot, _)| slot)
    }

    /// The frame around one datagram that waits for nothing.
    fn finish_urgent(&mut self, now: Time, slot: usize, len: usize) -> Transmit {
        let path = &mut self.paths[slot];
        path.on_datagram_sent(now, len as u64, 1);
        let tag = Tag { path: path.id, first: 0, count: 0, credit: false };
        Transmit {
            tuple: path.tuple,
            len,
            segment: len,
            ecn: Ecn::NotEct,
            departs_at: now,
            urgent: true,
            tag,
        }
    }

    /// The same for a 1-RTT packet alone, which carries its path's ECN mark.
    fn finish_marked(&mut self, now: Time, slot: usize, len: usize) -> Transmit {
        let path = &mut self.paths[slot];
        let ecn = path.mark();
        if ecn != Ecn::NotEct {
            path.ecn.on_sent(1);
        }
        Transmit { ecn, ..self.finish_urgent(now, slot, len) }
    }

    /// RFC 9000 §10.1: of what is sent, only that which asks for an answer restarts the idle timer; an ACK alone does not.
    pub(super) const fn mark_eliciting_sent(&mut self, now: Time) {
        if !self.idle.sent_since_heard {
            self.idle.sent_since_heard = true;
            self.idle.since = now;
        }
    }
}

fn write_close(close: &CloseFrame, one_rtt: bool, frames: &mut Frames<'_>) {
    let _fits = frames.push_untracked(&close.frame(one_rtt));
}
