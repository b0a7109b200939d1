//! A path is a house within the house: its packet number space, loss detection, RTT, controller, pacer, MTU search,
//! validation and status. It knows its own id and addresses and nothing of other paths, streams or keys.

mod delivery;
mod ecn;
mod mtu;
mod observed;
mod pacer;
mod probe;
mod recovery;
mod rtt;
mod spin;
mod status;
mod validation;

pub(crate) use ecn::{EcnReport, EcnTest};
pub(crate) use mtu::{MTU_BASE, MtuSearch};
pub(crate) use observed::Observed;
pub(crate) use probe::Probe;
pub(crate) use recovery::{AckMeta, Fates, Recovery, Verdict};
pub(crate) use spin::Spin;
pub(crate) use status::Status;
pub(crate) use validation::Validation;

use crate::event::PathStats;
use crate::frames::{Frames, Token};
use crate::space::Space;
use mpquic_base::{Duration, Ecn, FourTuple, PathId, Rng, Time};
use mpquic_policy::cc::Controller;
use mpquic_policy::sched::PathView;
use mpquic_wire::Frame;
use mpquic_wire::frame::{AckHeader, EcnCounts};
use std::net::SocketAddr;

/// RFC 9000 §8.1: bytes sent to an address that has not proven itself, per byte received from it.
const AMPLIFICATION: u64 = 3;
/// A path that fell silent is probed at least this often, so that its return is noticed.
const SILENT_PROBE_MAX: Duration = Duration::from_millis(300);

/// A path that the host cannot send on is tried again after this time, doubled up to once a second.
const DOWN_PROBE_MIN: Duration = Duration::from_millis(100);
const DOWN_PROBE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) tuple: FourTuple,
    pub(crate) space: Space,
    pub(crate) recovery: Recovery,
    pub(crate) mtu: MtuSearch,
    pub(crate) validation: Validation,
    pub(crate) status: Status,
    pub(crate) ecn: EcnTest,
    pub(crate) spin: Spin,
    pub(crate) observed: Observed,
    /// Set once PATH_ABANDON was sent or received: nothing new is sent here, and at this time it is forgotten.
    pub(crate) closing: Option<Closing>,
    /// No answer for two PTO (or the link is gone): data goes elsewhere, only probes are sent here.
    pub(crate) silent: bool,
    /// The host itself has no way out here (device gone, no route): nothing is sent but rare probes.
    pub(crate) down: Option<Down>,
    /// We moved it to other addresses, and the peer has yet to follow.
    moving: bool,
    /// Other addresses that we, or the peer, think of moving it to.
    pub(crate) probe: Option<Probe>,
    /// The addresses to fall back to if a changed peer address does not prove itself.
    previous: Option<Previous>,
    amplification: Option<Amplification>,
    /// When the last datagram went either way.
    quiet_since: Time,
    /// When something last arrived.
    heard_at: Time,
    bytes_sent: u64,
    bytes_received: u64,
    packets_sent: u64,
    packets_received: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) forget_at: Time,
}

/// When the host is asked again whether it can send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Down {
    pub(crate) probe_at: Time,
    wait: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amplification {
    received: u64,
    sent: u64,
}

/// Where a path was before its peer's packets came from elsewhere.
#[derive(Clone, Copy, Debug)]
struct Previous {
    tuple: FourTuple,
    /// What it may still be sent, if it was not proven either.
    amplification: Option<Amplification>,
}

/// What a new path starts from.
pub(crate) struct PathSetup {
    pub(crate) id: PathId,
    pub(crate) tuple: FourTuple,
    pub(crate) controller: Box<dyn Controller>,
    pub(crate) initial_rtt: Duration,
    pub(crate) mtu_ceiling: u16,
    pub(crate) pacing: bool,
    pub(crate) ecn: bool,
    pub(crate) spin: bool,
    /// The peer wants to know its address.
    pub(crate) tells: bool,
    pub(crate) validation: Validation,
    /// We may send to the peer's address only what it earned.
    pub(crate) limited: bool,
}

impl Path {
    pub(crate) fn new(setup: PathSetup, now: Time, rng: &mut Rng) -> Self {
        Self {
            id: setup.id,
            tuple: setup.tuple,
            space: Space::new(rng),
            recovery: Recovery::new(setup.initial_rtt, setup.controller, setup.pacing),
            mtu: MtuSearch::new(setup.mtu_ceiling),
            validation: setup.validation,
            status: Status::default(),
            ecn: EcnTest::new(setup.ecn),
            spin: Spin::new(setup.spin, rng),
            observed: Observed::new(setup.tells),
            closing: None,
            silent: false,
            down: None,
            moving: false,
            probe: None,
            previous: None,
            amplification: setup.limited.then(Amplification::default),
            quiet_since: now,
            heard_at: now,
            bytes_sent: 0,
            bytes_received: 0,
            packets_sent: 0,
            packets_received: 0,
        }
    }

    /// The peer answers here and data may be sent, as far as window and pacer allow.
    pub(crate) const fn is_usable(&self) -> bool {
        self.validation.is_validated() && self.closing.is_none()
    }

    /// Nothing speaks against sending data here.
    pub(crate) const fn is_living(&self) -> bool {
        self.is_usable() && !self.silent
    }

    /// The host refused to send: ask again later, and ever more rarely.
    pub(crate) fn on_down(&mut self, now: Time) {
        let wait = self.down.map_or(DOWN_PROBE_MIN, |down| (down.wait * 2).min(DOWN_PROBE_MAX));
        self.down = Some(Down { probe_at: now + wait, wait });
        self.space.probes = 0;
    }

    /// Time to ask the host again: one probe.
    pub(crate) fn expire_down(&mut self, now: Time) {
        if let Some(down) = self.down.as_mut().filter(|down| down.probe_at <= now) {
            down.probe_at = now + down.wait;
            self.space.probes = 1;
        }
    }

    /// Another pair of addresses for a path that is dead where it was: they have to prove themselves.
    pub(crate) fn on_own_move(&mut self, now: Time, tuple: FourTuple, pto: Duration) {
        self.tuple = tuple;
        self.down = None;
        self.previous = None;
        self.probe = None;
        self.validation.restart(now, pto);
        self.moving = true;
    }

    /// Another pair of addresses for a path that lives: they have proven themselves.
    pub(crate) fn on_proven_move(&mut self, probe: Probe) {
        self.tuple = probe.tuple;
        self.down = None;
        // What the peer asks there is answered there.
        self.validation = probe.validation;
        self.on_validated();
        self.ecn.restart(true);
        self.observed.on_move();
    }

    pub(crate) const fn quiet_since(&self) -> Time {
        self.quiet_since
    }

    /// When something has to be said to keep the path open. Never while a probe waits to be sent: an address that may get
    /// nothing more for now would keep the clock from going on.
    pub(crate) fn keep_alive_at(&self, interval: Option<Duration>) -> Option<Time> {
        let wanted = self.is_usable() && self.down.is_none() && self.space.probes == 0;
        interval.filter(|_| wanted).map(|interval| self.quiet_since + interval)
    }

    /// Bytes that may be sent before the peer has to show itself.
    pub(crate) fn allowance(&self) -> u64 {
        self.amplification.map_or(u64::MAX, |a| (a.received * AMPLIFICATION).saturating_sub(a.sent))
    }

    /// When what is in flight should try elsewhere, with `max_ack_delay` of the peer.
    pub(crate) fn silent_at(&mut self, max_ack_delay: Duration) -> Option<Time> {
        self.recovery.silent_at(&mut self.space, max_ack_delay, self.heard_at)
    }

    /// RFC 9000 §8.1: bytes earn credit for the address that they came from, whatever is in them, and for no other.
    pub(crate) fn on_datagram_received(&mut self, from: &SocketAddr, bytes: usize) {
        self.bytes_received += bytes as u64;
        if let Some(a) = self.amplification.as_mut().filter(|_| *from == self.tuple.peer) {
            a.received += bytes as u64;
        }
    }

    /// Something genuine arrived: what anybody can forge proves nothing about the path.
    pub(crate) const fn on_heard(&mut self, now: Time) {
        self.quiet_since = now;
        self.heard_at = now;
    }

    pub(crate) const fn on_packet_received(&mut self) {
        self.packets_received += 1;
    }

    pub(crate) fn on_datagram_sent(&mut self, now: Time, bytes: u64, packets: u64) {
        self.quiet_since = now;
        self.bytes_sent += bytes;
        self.packets_sent += packets;
        if let Some(a) = &mut self.amplification {
            a.sent += bytes;
        }
    }

    /// The peer's address is proven: limits fall.
    pub(crate) fn on_validated(&mut self) {
        self.validation.mark_validated();
        self.amplification = None;
        self.previous = None;
        self.moving = false;
    }

    /// RFC 9000 §9.3.2: goes on where it was before; what was not proven there is not proven by that. False if it was
    /// nowhere.
    pub(crate) fn fall_back(&mut self) -> bool {
        let Some(Previous { tuple, amplification }) = self.previous else { return false };
        self.tuple = tuple;
        self.on_validated();
        self.amplification = amplification;
        true
    }

    /// The peer's packets come from other addresses (RFC 9000 §9.3): they have to prove themselves.
    pub(crate) fn on_address_change(&mut self, now: Time, tuple: FourTuple, pto: Duration, received: usize) {
        if self.validation.is_validated() {
            self.previous = Some(Previous { tuple: self.tuple, amplification: self.amplification });
        } else if self.previous.is_some_and(|previous| previous.tuple.peer == tuple.peer) {
            // Somebody had sent copies from elsewhere.
            self.fall_back();
            self.tuple = tuple;
            self.amplification.iter_mut().for_each(|a| a.received += received as u64);
            return;
        }
        self.tuple = tuple;
        self.amplification = Some(Amplification { received: received as u64, sent: 0 });
        self.validation.restart(now, pto);
        if let Some(probe) = self.probe.take_if(|probe| probe.tuple == tuple) {
            // The peer has looked around there before it came, and we with it.
            let proven = probe.validation.is_validated();
            self.validation = probe.validation;
            if proven {
                self.on_validated();
            }
        }
        self.ecn.restart(true);
        self.observed.on_move();
    }

    /// Writes an ACK of this path's packets; the caller says on which path it rides by choosing `frames`.
    pub(crate) fn write_ack(&mut self, now: Time, exponent: u8, multipath: bool, frames: &mut Frames<'_>) {
        let acks = &mut self.space.acks;
        let Some(largest) = acks.largest().filter(|_| acks.is_pending()) else { return };
        let delay = u64::try_from(acks.delay(now).as_micros()).unwrap_or(u64::MAX) >> exponent;
        let header = AckHeader { path: self.id, multipath, delay, ecn: acks.ecn() };
        if frames.push_with(|out| header.write(acks.ranges(), out)) > 0 {
            frames.leave(Token::Ack { path: self.id, largest });
            acks.on_ack_sent();
        }
    }

    /// Something must be sent on this very path, now: an answer, a challenge, or a probe.
    pub(crate) fn wants_own(&self, now: Time) -> bool {
        if self.closing.is_some() {
            return false;
        }
        self.validation.has_response() || self.validation.challenge_due(now) || self.space.probes > 0
    }

    /// The peer's address is to be told on this very path, if need be by a packet that says nothing else.
    pub(crate) fn wants_tell(&self) -> bool {
        let open = self.closing.is_none() && self.down.is_none();
        self.observed.wants() && open && self.allowance() > 0
    }

    /// Writes what belongs on this path alone; true if the datagram must be padded to the base MTU.
    pub(crate) fn write_own(
        &mut self,
        now: Time,
        rng: &mut Rng,
        observed_seq: &mut u64,
        frames: &mut Frames<'_>,
    ) -> bool {
        let mut pad = false;
        while let Some(data) = self.validation.peek_response() {
            if !frames.push_untracked(&Frame::PathResponse(data)) {
                break;
            }
            self.validation.commit_response();
            pad = true;
        }
        if frames.remaining() > CHALLENGE_LEN
            && let Some(data) = self.validation.next_challenge(now, rng)
        {
            // It fits: a challenge is nine bytes.
            let _fits = frames.push_untracked(&Frame::PathChallenge(data));
            pad = true;
            if self.moving {
                // RFC 9000 §9.2: a server follows only packets that are more than probing.
                let _fits = frames.push_untracked(&Frame::Ping);
            }
        }
        self.observed.write(self.id, self.tuple.peer, observed_seq, frames);
        pad
    }

    /// How packets of this path are marked now. Challenges are not, lest a path that drops marks seem dead.
    pub(crate) const fn mark(&self) -> Ecn {
        if self.is_usable() { self.ecn.mark() } else { Ecn::NotEct }
    }

    /// The marks of what one ACK acknowledged, against what the peer counted.
    pub(crate) fn on_ecn(&mut self, now: Time, verdict: &Verdict, counts: Option<EcnCounts>) {
        let report = EcnReport { counts, acked: verdict.ect_acked, newest: verdict.newest };
        let marked = self.ecn.on_ack(report);
        if let Some(newest_sent_at) = verdict.newest_sent_at.filter(|_| marked > 0) {
            self.recovery.on_ecn(now, newest_sent_at, marked, verdict.packets);
        }
    }

    pub(crate) fn view(&self, now: Time) -> PathView {
        let mtu = self.mtu.current();
        let window_left = self.recovery.window_left().min(self.allowance());
        PathView {
            id: self.id,
            srtt: self.recovery.rtt.smoothed(),
            rttvar: self.recovery.rtt.variance(),
            min_rtt: self.recovery.rtt.min(),
            window: self.recovery.window(),
            in_flight: self.recovery.in_flight(),
            window_left,
            rate: self.recovery.rate(),
            loss: self.recovery.loss_share(),
            mtu,
            backup: self.status.is_backup(),
            ready_at: self.recovery.pacer.departs_at(now),
            can_send: window_left >= u64::from(mtu) && self.recovery.pacer.is_open(now),
        }
    }

    /// The PTO of a silent path is bounded, so that its return is noticed soon.
    pub(crate) fn pto_at(&mut self, max_ack_delay: Duration) -> Option<Time> {
        let at = self.recovery.pto_at(&mut self.space, max_ack_delay)?;
        if !self.silent {
            return Some(at);
        }
        let bound = self.recovery.pto_interval(max_ack_delay).max(SILENT_PROBE_MAX);
        self.space.pto_since.map(|since| at.min(since + bound))
    }

    pub(crate) const fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    pub(crate) fn stats(&self) -> PathStats {
        PathStats {
            id: self.id,
            tuple: self.tuple,
            validated: self.validation.is_validated(),
            closing: self.closing.is_some(),
            silent: self.silent,
            backup: self.status.is_backup(),
            srtt: self.recovery.rtt.smoothed(),
            rttvar: self.recovery.rtt.variance(),
            min_rtt: self.recovery.rtt.min(),
            window: self.recovery.window(),
            in_flight: self.recovery.in_flight(),
            slow_start: self.recovery.in_slow_start(),
            rate: self.recovery.rate(),
            pacing_rate: self.recovery.pacer.rate(),
            mtu: self.mtu.current(),
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            packets_sent: self.packets_sent,
            packets_received: self.packets_received,
            packets_lost: self.recovery.lost_packets,
            spurious_losses: self.recovery.spurious_losses,
            ecn: self.ecn.is_capable(),
            congestion_marks: self.recovery.marks,
            observed: self.observed.heard(),
        }
    }
}

const CHALLENGE_LEN: usize = 9;
