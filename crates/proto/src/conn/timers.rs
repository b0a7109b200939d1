//! Time passes.

use super::Connection;
use crate::event::{CloseReason, Event, PathEvent};
use crate::handshake::{Level, LevelId};
use crate::path::{Closing, Path};
use mpquic_base::{Duration, Time};
use mpquic_wire::Code;

/// RFC 9002 §6.2.4: packets that a PTO sends.
const PROBES: u8 = 2;
/// RFC 9000 §10.1: an idle timeout is never shorter than this many PTO.
const IDLE_PTOS: u32 = 3;
/// A sender without credit says so again after this many PTO, then after twice as long, and so on up to the limit below.
const ASK_PTOS: u32 = 2;
const ASK_MAX: Duration = Duration::from_secs(10);
/// After that many doublings any wait is longer.
const ASKS_MAX: u8 = 20;

impl Connection {
    /// When [`Connection::expire`] wants to be called next.
    #[must_use]
    pub fn deadline(&mut self) -> Option<Time> {
        if !self.close.is_open() {
            return self.close.deadline();
        }
        let mut next = self.idle_at();
        if !self.handshake.is_complete() {
            next = Time::soonest(next, Some(self.idle.started + self.config.handshake_timeout));
        }
        for level in [LevelId::Initial, LevelId::Handshake] {
            next = Time::soonest(next, self.level_deadline(level));
        }
        next = Time::soonest(next, self.anti_deadlock_at());
        next = Time::soonest(next, self.ask_at());
        for slot in 0..self.paths.len() {
            next = Time::soonest(next, self.path_deadline(slot));
        }
        next = Time::soonest(next, self.rest_at());
        Time::soonest(next, self.pacing_wake)
    }

    fn level_deadline(&mut self, level: LevelId) -> Option<Time> {
        let path = self.paths.first()?;
        let space = &mut self.handshake.level(level)?.space;
        let pto = path.recovery.pto_at(space, Duration::ZERO);
        // RFC 9002 §6.2.2.1: a server that may not send has no use for a timer.
        let pto = pto.filter(|_| path.allowance() > 0);
        Time::soonest(space.loss_at, pto)
    }

    /// RFC 9002 §6.2.2.1: until the server has validated it, a client keeps a timer even with nothing in flight.
    fn anti_deadlock_at(&mut self) -> Option<Time> {
        if !self.role.is_client() || self.handshake.is_confirmed() {
            return None;
        }
        let path = self.paths.first()?;
        let sent_at = path.quiet_since().max(self.idle.started);
        for level in [LevelId::Initial, LevelId::Handshake] {
            if self.handshake.level(level).is_some_and(|l| l.space.sent.has_outstanding_eliciting()) {
                return None;
            }
        }
        Some(sent_at + path.recovery.backed_off(Duration::ZERO))
    }

    fn path_deadline(&mut self, slot: usize) -> Option<Time> {
        let (delay, confirmed) = (self.max_ack_delay(), self.handshake.is_confirmed());
        let alternative = self.has_alternative(slot);
        let keep_alive = self.config.keep_alive;
        let path = &mut self.paths[slot];
        let asked_at = self.asked_at;
        let unasked = |at: &Time| asked_at.is_none_or(|asked| *at > asked);
        let ack_at = path.space.acks.due_at().filter(unasked);
        if let Some(closing) = path.closing {
            return Time::soonest(Some(closing.forget_at), ack_at);
        }
        let mut next = Time::soonest(ack_at, path.space.loss_at);
        next = Time::soonest(next, path.validation.challenge_at().filter(unasked));
        next = Time::soonest(next, path.validation.give_up_at());
        next = Time::soonest(next, path.probe.as_ref().map(crate::path::Probe::deadline).filter(unasked));
        next = Time::soonest(next, path.mtu.deadline());
        if let Some(down) = path.down {
            return Time::soonest(next, Some(down.probe_at));
        }
        if confirmed && path.allowance() > 0 {
            next = Time::soonest(next, path.pto_at(delay));
        }
        if alternative && !path.silent && path.is_usable() {
            next = Time::soonest(next, path.silent_at(delay));
        }
        if confirmed {
            next = Time::soonest(next, path.keep_alive_at(keep_alive));
        }
        next
    }

    /// Another path can take over what this one holds.
    pub(super) fn has_alternative(&self, slot: usize) -> bool {
        self.paths.iter().enumerate().any(|(other, p)| other != slot && p.is_living())
    }

    /// A living path whose packets are not overdue: without another one to take over, no path is ever called silent.
    pub(super) fn answers(&mut self, now: Time, slot: usize) -> bool {
        let delay = self.max_ack_delay();
        let path = &mut self.paths[slot];
        path.is_living() && path.silent_at(delay).is_none_or(|at| at > now)
    }

    fn idle_timeout(&self) -> Option<Duration> {
        let local = self.config.max_idle_timeout;
        let peer = self.peer.as_ref().map_or(Duration::ZERO, |p| p.parameters.max_idle_timeout);
        let timeout = match (local.is_zero(), peer.is_zero()) {
            (true, true) => return None,
            (true, false) => peer,
            (false, true) => local,
            (false, false) => local.min(peer),
        };
        Some(timeout.max(self.largest_pto() * IDLE_PTOS))
    }

    fn idle_at(&self) -> Option<Time> {
        self.idle_timeout().map(|timeout| self.idle.since + timeout)
    }

    /// RFC 9000 §4.1: a sender without credit and with nothing in flight repeats that it is blocked. That keeps the
    /// connection open; and if a NAT has moved the sender, the credit went to where it is no more, and only something from
    /// it can tell the peer.
    fn ask_at(&mut self) -> Option<Time> {
        if !self.handshake.is_confirmed() || !self.streams.wants_credit() {
            return None;
        }
        if self.paths.iter_mut().any(|path| path.space.sent.has_outstanding_eliciting()) {
            return None;
        }
        let quiet = self.paths.iter().map(Path::quiet_since).max()?;
        let most = self.idle_timeout().map_or(ASK_MAX, |timeout| ASK_MAX.min(timeout / 3));
        let wait = (self.largest_pto() * ASK_PTOS).saturating_mul(1 << self.asked_for_credit);
        Some(quiet + wait.min(most))
    }

    fn ask_for_credit(&mut self) {
        // What now waits to be written stops the clock.
        self.asked_for_credit = (self.asked_for_credit + 1).min(ASKS_MAX);
        self.streams.repeat_blocked();
        debug_assert!(self.streams.has_control(), "bytes that are held and wait for nothing");
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if !self.close.is_open() {
            self.close.expire(now);
            if self.close.is_done() {
                self.cids.remove_all();
            }
            return;
        }
        if due(self.idle_at()) {
            return self.end(CloseReason::IdleTimeout);
        }
        if !self.handshake.is_complete() && due(Some(self.idle.started + self.config.handshake_timeout)) {
            return self.end(CloseReason::HandshakeTimeout);
        }
        for level in [LevelId::Initial, LevelId::Handshake] {
            self.expire_level(now, level);
        }
        if due(self.anti_deadlock_at()) {
            self.on_anti_deadlock();
        }
        if due(self.ask_at()) {
            self.ask_for_credit();
        }
        for slot in (0..self.paths.len()).rev() {
            self.expire_path(now, slot);
        }
        if due(self.pacing_wake) {
            self.pacing_wake = None;
        }
        if due(self.rest_at()) {
            self.rest(now);
        }
    }

    fn expire_level(&mut self, now: Time, id: LevelId) {
        let allowed = self.paths.first().is_some_and(|p| p.allowance() > 0);
        let (Some(level), Some(path)) = (self.handshake.level(id), self.paths.first_mut()) else { return };
        if level.space.loss_at.is_some_and(|at| at <= now) {
            path.recovery.on_loss_timer(&mut level.space, now, Duration::ZERO, &mut self.fates);
        } else if allowed
            && path.recovery.pto_at(&mut level.space, Duration::ZERO).is_some_and(|at| at <= now)
        {
            path.recovery.on_pto();
            level.space.pto_since = Some(now);
            level.space.probes = PROBES;
            // RFC 9002 §6.2.4: what is outstanding is sent again, without being called lost.
            for pn in level.space.sent.outstanding().collect::<Vec<_>>() {
                self.fates.lost.extend(level.space.sent.tokens(pn));
            }
        }
        self.settle_tokens(id);
        self.probe_other_levels();
    }

    /// RFC 9002 §6.2.4: a probe of one level takes what the others have to say along. What was lost at one level could
    /// otherwise wait for ever behind packets of another that the peer cannot read without it.
    fn probe_other_levels(&mut self) {
        let probing = |l: Option<&Level>| l.is_some_and(|l| l.space.probes > 0);
        if !probing(self.handshake.initial.as_deref()) && !probing(self.handshake.handshake.as_deref()) {
            return;
        }
        for level in [&mut self.handshake.initial, &mut self.handshake.handshake].into_iter().flatten() {
            if level.wants_crypto() {
                level.space.probes = level.space.probes.max(1);
            }
        }
        self.probe_one_rtt();
    }

    /// A server that confirmed has dropped its Handshake keys. If a NAT moved the client in that moment, only a 1-RTT
    /// packet can tell it where to send HANDSHAKE_DONE.
    fn probe_one_rtt(&mut self) {
        let waiting = self.role.is_client() && self.handshake.is_complete() && !self.handshake.is_confirmed();
        let probing = self.handshake.level(LevelId::Handshake).is_some_and(|l| l.space.probes > 0);
        if waiting
            && probing
            && let Some(path) = self.paths.first_mut()
        {
            path.space.probes = path.space.probes.max(1);
        }
    }

    fn on_anti_deadlock(&mut self) {
        let id = if self.handshake.handshake.is_some() { LevelId::Handshake } else { LevelId::Initial };
        if let Some(level) = self.handshake.level(id) {
            level.space.probes = 1;
        }
        if let Some(path) = self.paths.first_mut() {
            path.recovery.on_pto();
        }
        self.probe_one_rtt();
    }

    fn expire_path(&mut self, now: Time, slot: usize) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if let Some(closing) = self.paths[slot].closing {
            if closing.forget_at > now {
                return;
            }
            if self.path_ids.is_announcing(self.paths[slot].id) {
                // Forgotten here, its packets would draw stateless resets, and a peer that has not heard of the end of
                // the path would take one for the end of the connection.
                let forget_at = now + self.largest_pto() * 3;
                self.paths[slot].closing = Some(Closing { forget_at });
                return;
            }
            self.forget_path(slot);
            return;
        }
        let (delay, confirmed) = (self.max_ack_delay(), self.handshake.is_confirmed());
        let alternative = self.has_alternative(slot);
        let path = &mut self.paths[slot];
        path.mtu.expire(now);
        if due(path.space.loss_at) {
            let Path { recovery, space, .. } = path;
            let verdict = recovery.on_loss_timer(space, now, delay, &mut self.fates);
            self.on_verdict(now, slot, &verdict);
            self.settle_tokens(LevelId::App);
        }
        let path = &mut self.paths[slot];
        if alternative && !path.silent && path.is_usable() {
            let silent_at = path.silent_at(delay);
            if due(silent_at) {
                self.on_silence(slot);
            }
        }
        let path = &mut self.paths[slot];
        path.expire_down(now);
        if confirmed && path.allowance() > 0 && due(path.pto_at(delay)) {
            self.on_path_pto(now, slot);
        }
        self.expire_keep_alive(now, slot);
        let path = &mut self.paths[slot];
        if path.validation.expire(now) {
            self.on_validation_failed(now, slot);
        }
        self.expire_probe(now, slot);
    }

    fn expire_keep_alive(&mut self, now: Time, slot: usize) {
        let path = &mut self.paths[slot];
        let at = path.keep_alive_at(self.config.keep_alive).filter(|_| self.handshake.is_confirmed());
        if at.is_some_and(|at| at <= now) {
            path.space.probes = 1;
        }
    }

    /// Nothing came back for two PTO and another path lives: everything in flight is offered to the others at once.
    pub(super) fn on_silence(&mut self, slot: usize) {
        self.paths[slot].silent = true;
        self.orphan_all(slot);
        // A probe notices when the path answers again.
        self.paths[slot].space.probes = 1;
        let id = self.paths[slot].id;
        self.push_event(Event::Path(PathEvent::Silent(id)));
    }

    fn on_path_pto(&mut self, now: Time, slot: usize) {
        let path = &mut self.paths[slot];
        path.recovery.on_pto();
        path.ecn.on_pto();
        path.space.pto_since = Some(now);
        path.space.probes = if path.silent { 1 } else { PROBES };
        // RFC 9002 §6.2.4: the oldest packets are sent again, wherever there is room; they are not called lost.
        for pn in path.space.sent.outstanding().take(usize::from(PROBES)).collect::<Vec<_>>() {
            self.fates.lost.extend(path.space.sent.tokens(pn));
        }
        self.settle_tokens(LevelId::App);
    }

    fn on_validation_failed(&mut self, now: Time, slot: usize) {
        if !self.handshake.is_complete() {
            // Nobody could be challenged yet.
            let pto = self.validation_pto();
            return self.paths[slot].validation.restart(now, pto);
        }
        // RFC 9000 §9.3.2: the new address was a spoof; the old one is still there.
        if self.paths[slot].fall_back() {
            return;
        }
        let others = (0..self.paths.len()).any(|other| other != slot && self.answers(now, other));
        if self.role.is_client() && !others {
            // The peer would not hear of it, and the id would be gone for good: go on trying.
            let pto = self.validation_pto();
            return self.paths[slot].validation.restart(now, pto);
        }
        self.give_up_path(now, slot, Code::PATH_UNSTABLE_OR_POOR);
    }
}
