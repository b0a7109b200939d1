//! Fates come home: ACKs, losses, and what the wheel and the socket made of a transmission.

use super::{Connection, Fate, Tag};
use crate::error::Violation;
use crate::event::{Event, PathEvent};
use crate::frames::Token;
use crate::handshake::LevelId;
use crate::path::{AckMeta, MTU_BASE, Path, Recovery, Verdict};
use crate::stream::SendHints;
use mpquic_base::{Duration, PathId, Rate, Time};
use mpquic_wire::frame::Ack;

use super::receive::Opened;

/// RFC 9000 §13.2.5: more than this the peer's ACK delay cannot mean.
const ACK_DELAY_MAX: Duration = Duration::from_secs(16);

/// Bytes that may wait to be sent for the first time while there is one path: eight of the largest batches.
const UNSENT_MAX: u64 = 512 * 1024;

/// A stream's turn takes this long, as far as it is no shorter than [`SendHints::TURN_MIN`] and no longer than the largest
/// batch: the more of a stream lies together, the less often its reader is woken.
const TURN_TIME: Duration = Duration::from_millis(1);
const TURN_MAX: u64 = 64 * 1024;

impl Connection {
    pub(super) fn on_ack(&mut self, now: Time, opened: &Opened<'_>, ack: &Ack<'_>) -> Result<(), Violation> {
        if opened.level != LevelId::App {
            return self.on_handshake_ack(now, opened.level, ack);
        }
        if ack.multipath {
            self.path_ids.require_negotiated()?;
            // A path that was given up is acknowledged until it is forgotten.
            self.path_ids.check(ack.path)?;
        }
        let Some(slot) = self.slot(ack.path) else { return Ok(()) };
        let max_ack_delay = self.max_ack_delay();
        let exponent = self.peer.as_ref().map_or(3, |p| p.parameters.ack_delay_exponent);
        let delay = Duration::from_micros(ack.delay.saturating_mul(1 << exponent)).min(ACK_DELAY_MAX);
        // RFC 9002 §5.3: capped by what the peer promised, once the handshake is confirmed.
        let delay = if self.handshake.is_confirmed() { delay.min(max_ack_delay) } else { delay };
        let meta = AckMeta {
            now,
            largest: ack.largest,
            delay,
            same_path: opened.arrival.path == ack.path,
            max_ack_delay,
        };
        let Path { recovery, space, .. } = &mut self.paths[slot];
        let verdict = recovery.on_ack(space, meta, ack.ranges(), &mut self.fates)?;
        if let Some(keys) = self.keys.as_mut().filter(|_| verdict.progress) {
            keys.on_ack();
        }
        self.paths[slot].on_ecn(now, &verdict, ack.ecn);
        self.on_verdict(now, slot, &verdict);
        self.settle_tokens(LevelId::App);
        self.review_ack_wishes(now);
        Ok(())
    }

    /// How often the peer should acknowledge may have changed with the paths.
    fn review_ack_wishes(&mut self, now: Time) {
        if !self.handshake.is_confirmed() || !self.ack_wishes.wants_review(now) {
            return;
        }
        self.collect_views(now);
        let busiest = self.slots.iter().zip(&self.views).max_by_key(|(_, view)| view.in_flight);
        if busiest.is_some_and(|(slot, _)| self.paths[*slot].recovery.in_slow_start()) {
            // draft-ietf-quic-ack-frequency §8.1.1: while a window grows with its ACKs, they are not to be late.
            return;
        }
        let thresholds = self.slots.iter().map(|slot| self.paths[*slot].recovery.packet_threshold());
        if let Some(reordering) = thresholds.min() {
            self.ack_wishes.review(now, &self.views, reordering);
        }
    }

    fn on_handshake_ack(&mut self, now: Time, level: LevelId, ack: &Ack<'_>) -> Result<(), Violation> {
        let (Some(l), Some(path)) = (self.handshake.level(level), self.paths.first_mut()) else {
            return Ok(());
        };
        let meta = AckMeta {
            now,
            largest: ack.largest,
            delay: Duration::ZERO,
            same_path: true,
            max_ack_delay: Duration::ZERO,
        };
        path.recovery.on_ack(&mut l.space, meta, ack.ranges(), &mut self.fates)?;
        self.settle_tokens(level);
        Ok(())
    }

    /// What an ACK or a loss timer means for the path as a whole.
    pub(super) fn on_verdict(&mut self, now: Time, slot: usize, verdict: &Verdict) {
        let path = &mut self.paths[slot];
        if verdict.acked_largest > 0 {
            path.mtu.on_acked(verdict.acked_largest);
        }
        if let Some(size) = verdict.probe_acked {
            path.mtu.on_probe_acked(size);
            path.recovery.on_mtu(path.mtu.current());
        }
        for &(size, probe) in &verdict.lost {
            if probe {
                path.mtu.on_probe_lost(now, size);
            } else if path.mtu.on_lost(now, size) {
                path.recovery.on_mtu(path.mtu.current());
            }
        }
        path.ecn.on_lost(verdict.ect_lost);
        let recovered = verdict.progress && path.silent;
        if recovered {
            path.silent = false;
            path.down = None;
            path.ecn.restart(false);
            let id = path.id;
            self.push_event(Event::Path(PathEvent::Recovered(id)));
            self.relieve_silent();
        }
        if verdict.progress {
            self.size_send_buffers();
        }
    }

    /// What is sent stays buffered until everything before it arrived, and that waits for the slowest path: all paths
    /// together send for that long, and once more for what has to be sent again.
    fn size_send_buffers(&mut self) {
        let usable = self.paths.iter().filter(|p| p.is_usable());
        let (mut windows, mut rate, mut slowest, mut count) = (0u64, 0u64, Duration::ZERO, 0);
        for path in usable {
            count += 1;
            windows = windows.saturating_add(path.recovery.window());
            rate = rate.saturating_add(path.recovery.pacer.rate().bytes_per_second());
            slowest = slowest.max(path.recovery.rtt.smoothed() + path.recovery.rtt.variance() * 4);
        }
        let rate = Rate::from_bytes_per_second(rate);
        let in_order = rate.bytes_in(slowest * 2);
        let useful = in_order.max(windows.saturating_mul(2));
        // Only a choice of paths is better for knowing much of what follows; otherwise it merely gets cold in memory.
        let unsent = if count > 1 { u64::MAX } else { UNSENT_MAX };
        let turn = rate.bytes_in(TURN_TIME).clamp(SendHints::TURN_MIN, TURN_MAX);
        self.streams.set_send_hints(SendHints { useful, unsent, turn });
    }

    /// Sends the collected tokens home.
    pub(super) fn settle_tokens(&mut self, level: LevelId) {
        let mut fates = core::mem::take(&mut self.fates);
        let mut acked = fates.acked.drain(..).peekable();
        while let Some(token) = acked.next() {
            let Token::Stream { id, offset, len, mut fin } = token else {
                self.token_acked(level, token);
                continue;
            };
            // Packets in a row mostly carry bytes in a row: one report for all of them.
            let mut end = offset + u64::from(len);
            while let Some(next) = acked.next_if(|next| next.continues(id, end)) {
                if let Token::Stream { len, fin: last, .. } = next {
                    end += u64::from(len);
                    fin |= last;
                }
            }
            self.streams.data_acked(id, offset..end, fin);
        }
        drop(acked);
        for token in fates.lost.drain(..) {
            self.token_lost(level, token);
        }
        self.fates = fates;
    }

    fn token_acked(&mut self, level: LevelId, token: Token) {
        match token {
            Token::Crypto { offset, len } => self.handshake.acked(level, offset, len),
            Token::Ack { path, largest } => self.ack_acked(level, path, largest),
            Token::RetireCid { path, seq } => self.cids.retire_acked(path, seq),
            Token::PathAbandon(path) => self.path_ids.abandon_acked(path),
            Token::AckFrequency(seq) => self.ack_wishes.acked(seq),
            Token::NewCid { .. }
            | Token::HandshakeDone
            | Token::Grant
            | Token::PathStatus { .. }
            | Token::MaxPathId
            | Token::PathsBlocked
            | Token::PathCidsBlocked(_)
            | Token::ObservedAddress { .. }
            | Token::Datagram { .. }
            | Token::MtuProbe(_) => {}
            stream => self.streams.acked(stream),
        }
    }

    fn token_lost(&mut self, level: LevelId, token: Token) {
        match token {
            Token::Crypto { offset, len } => self.handshake.lost(level, offset, len),
            Token::NewCid { path, seq } => self.cids.new_lost(path, seq),
            Token::RetireCid { path, seq } => self.cids.retire_lost(path, seq),
            Token::HandshakeDone => self.handshake.done_lost(),
            Token::Grant => self.grants.lost(),
            Token::PathAbandon(path) => self.path_ids.abandon_lost(path),
            Token::PathStatus { path, seq } => {
                if let Some(slot) = self.slot(path) {
                    self.paths[slot].status.lost(seq);
                }
            }
            Token::ObservedAddress { path, seq } => {
                if let Some(slot) = self.slot(path) {
                    self.paths[slot].observed.lost(seq);
                }
            }
            Token::MaxPathId => self.path_ids.max_lost(),
            Token::AckFrequency(seq) => self.ack_wishes.lost(seq),
            Token::Datagram { .. } => self.datagrams.lost(),
            // An ACK is overtaken by the next one; a blocked path asks again when it tries again.
            Token::Ack { .. } | Token::PathsBlocked | Token::PathCidsBlocked(_) | Token::MtuProbe(_) => {}
            stream => self.streams.lost(stream),
        }
    }

    fn ack_acked(&mut self, level: LevelId, path: PathId, largest: u64) {
        if level != LevelId::App {
            if let Some(level) = self.handshake.level(level) {
                level.space.acks.on_ack_acked(largest);
            }
        } else if let Some(slot) = self.slot(path) {
            self.paths[slot].space.acks.on_ack_acked(largest);
        }
    }

    /// RFC 9001 §4.9: the level's keys, packets and timers go together.
    pub(super) fn discard_level(&mut self, level: LevelId) {
        let gone = match level {
            LevelId::Initial => {
                self.begun.forget_keys();
                self.handshake.initial.take()
            }
            LevelId::Handshake => self.handshake.handshake.take(),
            LevelId::App => None,
        };
        if let (Some(mut gone), Some(path)) = (gone, self.paths.first_mut()) {
            path.recovery.discard(&mut gone.space);
        }
    }

    /// The fate of a transmission that [`Connection::transmit`] handed out.
    pub fn settle(&mut self, now: Time, tag: Tag, fate: Fate) {
        if tag.credit {
            self.credits_used = self.credits_used.saturating_sub(1);
        }
        let Some(slot) = self.slot(tag.path) else { return };
        match fate {
            Fate::Sent(at) => {
                let count = u64::from(tag.count);
                let path = &mut self.paths[slot];
                Recovery::on_departed(&mut path.space, tag.first, count, at);
                // The host can send again. The path stays silent until the peer answers.
                path.down = None;
            }
            // Before the handshake is confirmed its timers set the pace, and those of the validation on a path that nobody
            // answered on yet, as if the packets were lost on the way.
            Fate::Unreachable if self.handshake.is_confirmed() && self.paths[slot].is_usable() => {
                self.take_back(now, slot, tag);
                self.on_down(now, slot);
            }
            Fate::Failed | Fate::Unreachable => self.on_refused(now, slot, tag),
            Fate::TooLarge => self.on_too_large(now, slot, tag),
            Fate::Cancelled => self.take_back(now, slot, tag),
        }
    }

    /// Somebody outside bounds the path's link to `limit`, and lets this transmission leave no earlier than `until`.
    pub fn hold_back(&mut self, tag: Tag, until: Time, limit: Rate) {
        if let Some(slot) = self.slot(tag.path) {
            self.paths[slot].recovery.pacer.on_held_back(until, limit);
        }
    }

    /// A path whose link got a smaller MTU goes on with small packets; a probe has found its answer.
    fn on_too_large(&mut self, now: Time, slot: usize, tag: Tag) {
        let path = &mut self.paths[slot];
        let first = path.space.sent.get(tag.first).copied().filter(|_| tag.count > 0);
        let Some(packet) = first.filter(|p| p.size > MTU_BASE) else {
            return self.on_refused(now, slot, tag);
        };
        if packet.mtu_probe {
            path.mtu.on_probe_refused(now, packet.size);
        } else {
            path.mtu.on_refused(now, packet.size);
            path.recovery.on_mtu(path.mtu.current());
        }
        self.take_back(now, slot, tag);
    }

    /// The host would not send it. Writing it again at once would be refused again, and again: with another path to
    /// go on, this one falls silent; without, the packets count as lost on the way, and the PTO sets the pace.
    fn on_refused(&mut self, now: Time, slot: usize, tag: Tag) {
        if tag.count == 0 {
            return;
        }
        let path = &mut self.paths[slot];
        if let Some(probe) = path.space.sent.get(tag.first).filter(|p| p.mtu_probe) {
            // Larger than the link itself takes; no need to try that three times.
            path.mtu.on_probe_refused(now, probe.size);
            return self.take_back(now, slot, tag);
        }
        if path.is_living() && self.has_alternative(slot) {
            self.on_silence(slot);
            self.paths[slot].recovery.pacer.on_cancelled(now);
        }
    }

    fn take_back(&mut self, now: Time, slot: usize, tag: Tag) {
        let Path { recovery, space, mtu, .. } = &mut self.paths[slot];
        if space.sent.get(tag.first).is_some_and(|p| p.mtu_probe) && tag.count > 0 {
            mtu.on_probe_taken_back();
        }
        for pn in tag.first..tag.first + u64::from(tag.count) {
            recovery.orphan(space, pn, &mut self.fates);
        }
        recovery.pacer.on_cancelled(now);
        self.settle_tokens(LevelId::App);
    }
}
