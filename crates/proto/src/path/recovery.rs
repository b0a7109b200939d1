//! Loss detection, RTT, congestion and pacing of one path (RFC 9002), over whichever packet number space it is
//! shown: the path's own, or those of the handshake while it runs on path 0.

use super::delivery::Delivery;
use super::pacer::Pacer;
use super::rtt::{GRANULARITY, Rtt};
use crate::error::Violation;
use crate::frames::Token;
use crate::space::{Departure, Sent, Space, State};
use core::ops::Range;
use mpquic_base::{Duration, Rate, Time};
use mpquic_policy::cc::{AckBatch, Controller, EcnBatch, LossBatch, SentPacket};
use mpquic_wire::Code;

/// RFC 9002 §6.1.1; grows when a packet declared lost turns out to have been reordered.
const PACKET_THRESHOLD: u64 = 3;
const PACKET_THRESHOLD_MAX: u64 = 128;
/// RFC 9002 §6.1.2, in eighths of an RTT; grows likewise, at most to two round trips.
const TIME_THRESHOLD_EIGHTHS: u32 = 9;
const TIME_THRESHOLD_EIGHTHS_MAX: u32 = 16;
/// RFC 9002 §7.6.1.
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;
/// The PTO back-off stops doubling here: one packet a second harms nobody, and a link that returns is noticed.
const PTO_COUNT_MAX: u32 = 6;
const PTO_MAX: Duration = Duration::from_secs(1);
/// Without a sample over the path itself for this long, ACKs that come over other paths are samples too.
const OWN_SAMPLE_STALE: Duration = Duration::from_secs(1);
/// Weight of one packet in the running loss share.
const LOSS_WEIGHT: f64 = 1.0 / 256.0;

/// Tokens on their way home. The buffers are reused from ACK to ACK.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) acked: Vec<Token>,
    pub(crate) lost: Vec<Token>,
    /// Packet numbers being sorted out; kept only for its allocation.
    numbers: Vec<u64>,
}

/// What an ACK or a loss timer brought about, beyond tokens.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Sizes of packets, for the MTU search: newly acknowledged (the largest) and lost ones.
    pub(crate) acked_largest: u16,
    pub(crate) lost: Vec<(u16, bool)>,
    pub(crate) probe_acked: Option<u16>,
    pub(crate) progress: bool,
    /// Packets newly acknowledged, those of them that were marked ECT, and when the newest departed.
    pub(crate) packets: u64,
    pub(crate) ect_acked: u64,
    pub(crate) newest_sent_at: Option<Time>,
    /// The largest acknowledged number grew.
    pub(crate) newest: bool,
    /// Marked packets declared lost.
    pub(crate) ect_lost: u64,
}

#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) rtt: Rtt,
    pub(crate) pacer: Pacer,
    controller: Box<dyn Controller>,
    window: u64,
    in_flight: u64,
    delivery: Delivery,
    /// When an ACK last came back over the path itself; whether the last RTT sample came by way of another path.
    own_sample_at: Option<Time>,
    detour: bool,
    pto_count: u32,
    /// When an ACK last acknowledged something new.
    last_progress: Time,
    packet_threshold: u64,
    time_threshold_eighths: u32,
    /// Packets declared lost since the last reduction that may still turn out to have arrived.
    undoable: u32,
    loss_share: f64,
    pub(crate) lost_packets: u64,
    pub(crate) spurious_losses: u64,
    /// Packets that the peer reported as marked for congestion.
    pub(crate) marks: u64,
}

/// What is known of the ACK besides its ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckMeta {
    pub(crate) now: Time,
    pub(crate) largest: u64,
    /// The peer's delay, already capped (RFC 9002 §5.3); zero in the handshake spaces.
    pub(crate) delay: Duration,
    /// The ACK came over the same path, so that it is a clean RTT sample.
    pub(crate) same_path: bool,
    /// The peer's max_ack_delay where it counts, for the duration of persistent congestion.
    pub(crate) max_ack_delay: Duration,
}

impl Recovery {
    pub(crate) fn new(initial_rtt: Duration, controller: Box<dyn Controller>, pacing: bool) -> Self {
        let mut recovery = Self {
            rtt: Rtt::new(initial_rtt),
            pacer: Pacer::new(pacing),
            window: controller.window(),
            controller,
            in_flight: 0,
            delivery: Delivery::default(),
            own_sample_at: None,
            detour: false,
            pto_count: 0,
            last_progress: Time::ZERO,
            packet_threshold: PACKET_THRESHOLD,
            time_threshold_eighths: TIME_THRESHOLD_EIGHTHS,
            undoable: 0,
            loss_share: 0.0,
            lost_packets: 0,
            spurious_losses: 0,
            marks: 0,
        };
        recovery.refresh();
        recovery
    }

    pub(crate) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) const fn window(&self) -> u64 {
        self.window
    }

    pub(crate) const fn window_left(&self) -> u64 {
        self.window.saturating_sub(self.in_flight)
    }

    pub(crate) const fn packet_threshold(&self) -> u64 {
        self.packet_threshold
    }

    pub(crate) const fn loss_share(&self) -> f64 {
        self.loss_share
    }

    /// The best estimate of what the path carries: measured, or else what the pacer would send.
    pub(crate) fn rate(&self) -> Rate {
        let measured = self.delivery.rate();
        if measured == Rate::ZERO { self.pacer.rate() } else { measured }
    }

    pub(crate) fn in_slow_start(&self) -> bool {
        self.controller.in_slow_start()
    }

    /// Another path than before lies behind the same id (RFC 9000 §9.4): what was learned no longer counts.
    pub(crate) fn restart(&mut self, initial_rtt: Duration, controller: Box<dyn Controller>) {
        self.rtt = Rtt::new(initial_rtt);
        self.own_sample_at = None;
        self.pto_count = 0;
        self.controller = controller;
        self.delivery.restart();
        self.refresh();
    }

    pub(crate) fn on_mtu(&mut self, mtu: u16) {
        self.controller.on_mtu(mtu);
        self.refresh();
    }

    /// The application (or the scheduler, or flow control) left the window unfilled.
    pub(crate) fn on_app_limited(&mut self) {
        self.delivery.on_app_limited(self.in_flight);
    }

    /// Records the packet numbered `space.sent.next_pn()`.
    pub(crate) fn on_sent(&mut self, space: &mut Space, packet: Departure, tokens: &[Token]) {
        if packet.ack_eliciting {
            space.pto_since = Some(packet.sent_at);
        }
        let packet = space.sent.push(packet, tokens);
        let bytes = packet.flight_bytes();
        if packet.in_flight {
            self.delivery.stamp(packet, self.in_flight);
            self.in_flight += bytes;
            let sent = SentPacket { departs: packet.sent_at, bytes, in_flight: self.in_flight };
            self.controller.on_sent(&sent);
        }
    }

    /// Takes in one ACK frame for `space`.
    pub(crate) fn on_ack(
        &mut self,
        space: &mut Space,
        meta: AckMeta,
        ranges: impl Iterator<Item = Range<u64>>,
        fates: &mut Fates,
    ) -> Result<Verdict, Violation> {
        let largest_before = space.sent.largest_acked();
        let newly = self.collect_acked(space, meta, ranges, fates)?;
        let mut verdict = Verdict {
            acked_largest: newly.largest_size,
            probe_acked: newly.mtu_probe,
            progress: newly.packets > 0,
            packets: newly.packets,
            ect_acked: newly.ect,
            newest_sent_at: newly.newest.map(|(_, packet)| packet.sent_at),
            newest: space.sent.largest_acked() > largest_before,
            ..Verdict::default()
        };
        let Some((newest_pn, newest)) = newly.newest else { return Ok(verdict) };
        self.last_progress = meta.now;
        self.pto_count = 0;
        space.probes = 0;
        // RFC 9002 §5.1: a sample only if the largest is newly acknowledged and something eliciting was.
        let mut sample = None;
        if newest_pn == meta.largest && newly.eliciting && self.is_sample(&meta) {
            let latest = meta.now.since(newest.sent_at);
            self.rtt.on_sample(latest, meta.delay);
            sample = Some(latest);
            if self.detour == meta.same_path {
                // draft-ietf-quic-multipath-21 §5.4: another way back has another minimum.
                self.detour = !meta.same_path;
                self.rtt.reset_min();
            }
        }
        let (rate, round_start) = self.delivery.sample(self.rtt.min());
        let in_flight_before = self.in_flight + newly.bytes;
        self.detect_lost(space, meta.now, meta.max_ack_delay, fates, &mut verdict);
        if newly.bytes > 0 {
            self.controller.on_ack(&AckBatch {
                now: meta.now,
                bytes: newly.bytes,
                newest_sent_at: newest.sent_at,
                rtt: sample,
                srtt: self.rtt.smoothed(),
                min_rtt: self.rtt.min(),
                in_flight_before,
                in_flight: self.in_flight,
                app_limited: newest.app_limited,
                round_start,
                rate,
            });
        }
        self.on_spurious(meta.now, &newly);
        space.sent.forget(meta.now - self.rtt.pto_base() * 3);
        self.refresh();
        Ok(verdict)
    }

    /// draft-ietf-quic-multipath-21 §5.4: a peer may acknowledge every path over one of them, for good; the sum of the
    /// two one-way delays is then what there is to know. One that mixes is measured by what comes straight back.
    fn is_sample(&mut self, meta: &AckMeta) -> bool {
        if meta.same_path {
            self.own_sample_at = Some(meta.now);
        }
        meta.same_path || self.own_sample_at.is_none_or(|at| meta.now.since(at) > OWN_SAMPLE_STALE)
    }

    fn collect_acked(
        &mut self,
        space: &mut Space,
        meta: AckMeta,
        ranges: impl Iterator<Item = Range<u64>>,
        fates: &mut Fates,
    ) -> Result<Newly, Violation> {
        let mut newly = Newly::default();
        let largest_before = space.sent.largest_acked();
        let mut newest = None;
        for range in ranges {
            let mut note = |pn, packet: &Sent| {
                newly.add(pn, packet, largest_before);
                newest = newest.max(Some(pn));
                self.delivery.on_acked(meta.now, packet);
                if packet.state == State::Outstanding {
                    self.in_flight -= packet.flight_bytes();
                    self.loss_share -= self.loss_share * LOSS_WEIGHT;
                }
            };
            if !space.sent.acknowledge(range, &mut note, &mut fates.acked) {
                // RFC 9000 §13.1 and §21.4: a number that was never sent.
                return Err(Violation::protocol("acknowledged a packet that was never sent"));
            }
        }
        newly.newest = newest.and_then(|pn| Some((pn, *space.sent.get(pn)?)));
        Ok(newly)
    }

    fn on_spurious(&mut self, now: Time, newly: &Newly) {
        if newly.spurious == 0 {
            return;
        }
        self.spurious_losses += u64::from(newly.spurious);
        self.packet_threshold =
            self.packet_threshold.max(newly.spurious_distance + 1).min(PACKET_THRESHOLD_MAX);
        self.time_threshold_eighths = (self.time_threshold_eighths + 1).min(TIME_THRESHOLD_EIGHTHS_MAX);
        let before = self.undoable;
        self.undoable = self.undoable.saturating_sub(newly.spurious);
        if before > 0 && self.undoable == 0 {
            self.controller.on_spurious_loss(now);
        }
    }

    /// RFC 9002 §7.1: a mark is a sign of congestion like a loss.
    pub(crate) fn on_ecn(&mut self, now: Time, newest_sent_at: Time, marked: u64, acked: u64) {
        self.marks += marked;
        self.controller.on_ecn(&EcnBatch { now, newest_sent_at, marked, acked, in_flight: self.in_flight });
        self.refresh();
    }

    /// The loss timer of `space` ran out.
    pub(crate) fn on_loss_timer(
        &mut self,
        space: &mut Space,
        now: Time,
        max_ack_delay: Duration,
        fates: &mut Fates,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        self.detect_lost(space, now, max_ack_delay, fates, &mut verdict);
        self.refresh();
        verdict
    }

    /// RFC 9002 §6.1: declares lost what is too far or too long behind the largest acknowledged packet.
    fn detect_lost(
        &mut self,
        space: &mut Space,
        now: Time,
        max_ack_delay: Duration,
        fates: &mut Fates,
        verdict: &mut Verdict,
    ) {
        space.loss_at = None;
        let Some(largest) = space.sent.largest_acked() else { return };
        let patience =
            (self.rtt.smoothed().max(self.rtt.latest()) * self.time_threshold_eighths / 8).max(GRANULARITY);
        let mut lost = core::mem::take(&mut fates.numbers);
        for (pn, packet) in space.sent.open().take_while(|(pn, _)| *pn < largest) {
            let overdue_at = packet.sent_at + patience;
            if pn + self.packet_threshold <= largest || overdue_at <= now {
                lost.push(pn);
            } else {
                space.loss_at = Time::soonest(space.loss_at, Some(overdue_at));
            }
        }
        if !lost.is_empty() {
            self.declare_lost(space, now, max_ack_delay, &lost, fates, verdict);
        }
        lost.clear();
        fates.numbers = lost;
    }

    fn declare_lost(
        &mut self,
        space: &mut Space,
        now: Time,
        max_ack_delay: Duration,
        lost: &[u64],
        fates: &mut Fates,
        verdict: &mut Verdict,
    ) {
        let in_flight_before = self.in_flight;
        let (mut bytes, mut packets, mut newest) = (0, 0, None::<Sent>);
        for &pn in lost {
            let Some(packet) = space.sent.get_mut(pn) else { continue };
            packet.state = State::Lost;
            let packet = *packet;
            self.in_flight -= packet.flight_bytes();
            verdict.lost.push((packet.size, packet.mtu_probe));
            verdict.ect_lost += u64::from(packet.ect);
            fates.lost.extend(space.sent.tokens(pn));
            // RFC 9000 §14.4: a lost MTU probe is no sign of congestion.
            if packet.mtu_probe || !packet.in_flight {
                continue;
            }
            bytes += packet.flight_bytes();
            packets += 1;
            newest = Some(packet);
            self.loss_share += (1.0 - self.loss_share) * LOSS_WEIGHT;
        }
        let Some(newest) = newest else { return };
        self.lost_packets += u64::from(packets);
        self.undoable += packets;
        self.delivery.on_lost(bytes);
        let persistent = self.is_persistent(space, lost, max_ack_delay);
        let (total_lost, total_delivered) = self.delivery.totals();
        self.controller.on_loss(&LossBatch {
            now,
            bytes,
            packets,
            newest_sent_at: newest.sent_at,
            tx_in_flight: newest.tx_in_flight,
            lost_since: total_lost - newest.lost,
            persistent,
            in_flight_before,
            in_flight: self.in_flight,
            srtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            total_lost,
            total_delivered,
        });
        if persistent {
            self.rtt.reset_min();
        }
    }

    /// RFC 9002 §7.6: two eliciting packets lost, far apart in time, and nothing between them acknowledged.
    fn is_persistent(&self, space: &Space, lost: &[u64], max_ack_delay: Duration) -> bool {
        if !self.rtt.is_sampled() {
            return false;
        }
        let span = (self.rtt.pto_base() + max_ack_delay) * PERSISTENT_CONGESTION_THRESHOLD;
        let mut run_start: Option<(u64, Time)> = None;
        for &pn in lost {
            let Some(packet) = space.sent.get(pn).filter(|p| p.ack_eliciting && !p.mtu_probe) else {
                continue;
            };
            let unbroken = run_start.is_some_and(|(first, _)| {
                (first..pn).all(|n| space.sent.get(n).is_none_or(|p| p.state != State::Acked))
            });
            match run_start {
                Some((_, since)) if unbroken => {
                    if packet.sent_at.since(since) > span {
                        return true;
                    }
                }
                _ => run_start = Some((pn, packet.sent_at)),
            }
        }
        false
    }

    /// Takes everything outstanding out of flight without a verdict on congestion and offers its frames again: the
    /// path fell silent, or its packets never left this host.
    pub(crate) fn orphan_all(&mut self, space: &mut Space, fates: &mut Fates) {
        for pn in space.sent.outstanding().collect::<Vec<_>>() {
            self.orphan(space, pn, fates);
        }
        space.loss_at = None;
        space.pto_since = None;
    }

    /// A peer that acknowledges nothing does not make us remember everything: what is oldest is taken out of flight,
    /// offered again and forgotten. A late ACK of it counts for nothing.
    pub(crate) fn prune(&mut self, space: &mut Space, fates: &mut Fates) {
        if !space.sent.is_overgrown() {
            return;
        }
        let old = space.sent.older_half();
        for pn in old.clone() {
            self.orphan(space, pn, fates);
        }
        space.sent.forget_below(old.end);
    }

    pub(crate) fn orphan(&mut self, space: &mut Space, pn: u64, fates: &mut Fates) {
        let Some(packet) = space.sent.get_mut(pn).filter(|p| p.state == State::Outstanding) else { return };
        packet.state = State::Orphaned;
        self.in_flight -= packet.flight_bytes();
        fates.lost.extend(space.sent.tokens(pn));
    }

    /// RFC 9002 §6.4: a space is dropped with its keys; its bytes leave the flight, nothing else changes.
    pub(crate) fn discard(&mut self, space: &mut Space) {
        for pn in space.sent.outstanding().collect::<Vec<_>>() {
            self.in_flight -= space.sent.get(pn).map_or(0, Sent::flight_bytes);
        }
        self.pto_count = 0;
    }

    pub(crate) fn pto_interval(&self, max_ack_delay: Duration) -> Duration {
        self.rtt.pto_base() + max_ack_delay
    }

    /// RFC 9002 §6.2.1: when the space's newest eliciting packet has waited for one PTO, doubled per time it fired.
    pub(crate) fn pto_at(&self, space: &mut Space, max_ack_delay: Duration) -> Option<Time> {
        let since = space.pto_since?;
        if !space.sent.has_outstanding_eliciting() {
            return None;
        }
        Some(since + self.backed_off(max_ack_delay))
    }

    pub(crate) fn backed_off(&self, max_ack_delay: Duration) -> Duration {
        let pto = self.pto_interval(max_ack_delay);
        (pto * (1 << self.pto_count.min(PTO_COUNT_MAX))).min(pto.max(PTO_MAX))
    }

    pub(crate) const fn on_pto(&mut self) {
        self.pto_count += 1;
    }

    /// When the path has been silent for so long (two PTO) that what is in flight should try elsewhere. While packets
    /// keep arriving, an ACK may be queued behind them on the way: that earns up to four PTO more, and no more, because
    /// our own direction may be cut alone.
    pub(super) fn silent_at(
        &self,
        space: &mut Space,
        max_ack_delay: Duration,
        heard_at: Time,
    ) -> Option<Time> {
        let oldest = space.sent.oldest_outstanding()?;
        if !space.sent.has_outstanding_eliciting() {
            return None;
        }
        let since = space.sent.get(oldest)?.sent_at.max(self.last_progress);
        let pto = self.pto_interval(max_ack_delay);
        Some((since + pto * 2).max((heard_at + pto * 2).min(since + pto * 6)))
    }

    /// The real departure of a packet, where it differs from the planned one.
    pub(crate) fn on_departed(space: &mut Space, first: u64, count: u64, at: Time) {
        for pn in first..first + count {
            if let Some(packet) = space.sent.get_mut(pn).filter(|p| p.state == State::Outstanding) {
                packet.sent_at = at;
            }
        }
    }

    fn refresh(&mut self) {
        self.window = self.controller.window();
        self.pacer.set_rate(self.controller.pacing(), self.window, self.rtt.smoothed());
    }
}

/// The packets that one ACK frame newly acknowledged.
#[derive(Debug, Default)]
struct Newly {
    packets: u64,
    bytes: u64,
    eliciting: bool,
    newest: Option<(u64, Sent)>,
    largest_size: u16,
    mtu_probe: Option<u16>,
    /// Marked ECT.
    ect: u64,
    spurious: u32,
    spurious_distance: u64,
}

impl Newly {
    fn add(&mut self, pn: u64, packet: &Sent, largest_before: Option<u64>) {
        self.packets += 1;
        self.eliciting |= packet.ack_eliciting;
        self.ect += u64::from(packet.ect);
        if packet.state == State::Outstanding {
            self.bytes += packet.flight_bytes();
        }
        if packet.state == State::Lost && !packet.mtu_probe {
            self.spurious += 1;
            let distance = largest_before.map_or(0, |l| l.saturating_sub(pn));
            self.spurious_distance = self.spurious_distance.max(distance);
        }
        if packet.mtu_probe {
            self.mtu_probe = Some(packet.size);
        }
        self.largest_size = self.largest_size.max(packet.size);
    }
}

impl Violation {
    /// RFC 9001 §6.6.
    pub(crate) const fn aead_limit() -> Self {
        Self::new(Code::AEAD_LIMIT_REACHED, "too many packets under one key")
    }
}

#[cfg(test)]
mod tests;
