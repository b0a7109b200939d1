//! BBR's answer to loss and CE marks: what a round of them lowers, what a probe's loss bounds, and how to take it back.

use super::state::State;
use super::{Ack, Bbr, UNBOUNDED, scale};
use crate::cc::{EcnBatch, LossBatch};
use mpquic_base::{Rate, Time};

/// §2.8 Beta: what a round with loss leaves of a bound at least.
const BETA: f64 = 0.7;
/// §5.3.1.3: losses in so many places of one round end Startup.
const STARTUP_LOSS_EVENTS: u32 = 6;
/// Faster than any path; a short-term rate that is not set.
const UNBOUNDED_RATE: Rate = Rate::from_bytes_per_second(u64::MAX);

/// What the path delivered over the last round, and whether it lost anything.
#[derive(Debug, Default)]
pub(super) struct Latest {
    pub(super) rate: Rate,
    pub(super) inflight: u64,
    /// The ACK at hand ends a loss round. These run on their own: the first loss starts one.
    pub(super) round_ended: bool,
    pub(super) lossy: bool,
    /// Times that something was lost or marked in this loss round, and the bytes marked.
    pub(super) events: u32,
    pub(super) marked: u64,
    round_until: u64,
}

impl Latest {
    pub(super) fn on_ack(&mut self, ack: &Ack) {
        self.rate = self.rate.max(ack.rate);
        self.inflight = self.inflight.max(ack.over_sample);
        self.round_ended = ack.prior_delivered.map_or(ack.path_round, |prior| prior >= self.round_until);
        if self.round_ended {
            self.round_until = ack.delivered;
        }
    }

    pub(super) fn advance(&mut self, ack: &Ack) {
        if self.round_ended {
            self.rate = ack.rate;
            self.inflight = ack.over_sample;
        }
    }

    pub(super) fn reset(&mut self) {
        self.lossy = false;
        self.rate = Rate::ZERO;
        self.inflight = 0;
    }
}

/// Bounds from the losses of the current cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortTerm {
    pub(super) rate: Rate,
    pub(super) inflight: u64,
}

impl ShortTerm {
    pub(super) const UNSET: Self = Self { rate: UNBOUNDED_RATE, inflight: UNBOUNDED };

    pub(super) fn reset(&mut self) {
        *self = Self::UNSET;
    }
}

/// The largest flight that probes found safe.
#[derive(Debug)]
pub(super) struct LongTerm {
    pub(super) inflight: u64,
}

impl Default for LongTerm {
    fn default() -> Self {
        Self { inflight: UNBOUNDED }
    }
}

/// The state that a loss made BBR leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UndoTo {
    #[default]
    Stay,
    Startup,
    Up,
}

/// The bounds as they were before the loss episode.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) to: UndoTo,
    short_term: ShortTerm,
    long_term: u64,
}

impl Default for Undo {
    fn default() -> Self {
        // Zero bounds restore nothing: every bound in force is higher.
        Self { to: UndoTo::Stay, short_term: ShortTerm { rate: Rate::ZERO, inflight: 0 }, long_term: 0 }
    }
}

impl Bbr {
    pub(super) fn lost(&mut self, batch: &LossBatch) {
        self.delivered = self.delivered.max(batch.total_delivered);
        self.note_congestion(batch.now, batch.newest_sent_at);
        if batch.persistent {
            // RFC 9002 §7.6.2: down to the least window until an ACK shows that the path lives. §5.6.4.4 of the draft adds
            // a packet to what is in flight; after the losses of an RTO that is nothing, here it may be a whole window.
            self.save_cwnd();
            self.cwnd = self.min_window();
            // RFC 9002 §5.2: the path may have changed, so its lowest RTT may be out of date.
            self.min_rtt.doubt();
        }
        if self.cycle.probe_sample && self.too_high(batch.lost_since, batch.tx_in_flight) {
            let flight = self.flight_at_loss(batch);
            self.probe_went_too_high(flight, batch.now);
        }
    }

    /// RFC 9002 §7.1: a mark says what a loss says. The draft leaves the form of the answer open.
    pub(super) fn marked(&mut self, batch: &EcnBatch) {
        self.note_congestion(batch.now, batch.newest_sent_at);
        self.latest.marked = self.latest.marked.saturating_add(batch.marked.saturating_mul(self.mtu));
        if self.cycle.probe_sample {
            self.probe_went_too_high(batch.in_flight, batch.now);
        }
    }

    fn note_congestion(&mut self, now: Time, sent_at: Time) {
        if self.recovery.is_none_or(|start| sent_at > start) {
            self.save_cwnd();
            self.recovery = Some(now);
            self.undo =
                Undo { to: UndoTo::Stay, short_term: self.short_term, long_term: self.long_term.inflight };
        }
        if !self.latest.lossy {
            self.latest.lossy = true;
            self.latest.round_until = self.delivered;
        }
        self.latest.events = self.latest.events.saturating_add(1);
    }

    /// Whether `lost` of a flight is more than the threshold, and not by chance.
    ///
    /// The draft compares with the threshold alone, which one random loss exceeds in any flight below 50 packets and
    /// which a link with 1 % loss exceeds now and then in any flight. Three deviations of a Poisson count are left to chance.
    pub(super) fn too_high(&self, lost: u64, flight: u64) -> bool {
        if lost == 0 {
            return false;
        }
        let expected = scale(flight, self.loss_threshold);
        lost > expected.saturating_add(3 * expected.saturating_mul(self.mtu).isqrt())
    }

    pub(super) fn startup_loss_too_high(&self, ack: &Ack) -> bool {
        self.latest.round_ended
            && self.recovery.is_some()
            && self.latest.events >= STARTUP_LOSS_EVENTS
            && self.too_high(ack.lost.saturating_add(self.latest.marked), ack.tx_in_flight)
    }

    /// §5.5.10.2: the part of the flight up to which losses stayed within the threshold.
    fn flight_at_loss(&self, batch: &LossBatch) -> u64 {
        let flight_before = batch.tx_in_flight.saturating_sub(batch.bytes);
        let lost_before = batch.lost_since.saturating_sub(batch.bytes);
        let room = scale(flight_before, self.loss_threshold).saturating_sub(lost_before);
        flight_before.saturating_add(scale(room, 1.0 / (1.0 - self.loss_threshold)))
    }

    /// A probe put more in flight than the path takes: once per probe, that becomes the bound.
    fn probe_went_too_high(&mut self, flight: u64, now: Time) {
        self.cycle.too_high = true;
        self.cycle.probe_sample = false;
        if !self.app_limited {
            self.long_term.inflight = flight.max(scale(self.target_inflight(), BETA));
        }
        if self.state == State::Up {
            self.undo.to = UndoTo::Up;
            self.start_down(now);
        }
    }

    /// At the end of a round with loss, outside of probes: follow what was delivered, by at most 30 %.
    ///
    /// The draft does so for any loss. Losing 1 % at random then costs 2 % of the rate per round, the pacing margin
    /// included: half of the rate over one cycle on a short path. Here a round counts if it lost too much to be chance,
    /// or carried a CE mark, which never is.
    pub(super) fn adapt_short_term(&mut self, ack: &Ack) {
        if !self.latest.round_ended {
            return;
        }
        let lossy = core::mem::take(&mut self.latest.lossy);
        let congested = self.latest.marked > 0 || self.too_high(ack.lost, ack.tx_in_flight);
        if !lossy || !congested || self.state.probes() {
            return;
        }
        if self.short_term.rate == UNBOUNDED_RATE {
            self.short_term.rate = self.max_rate.get();
        }
        if self.short_term.inflight == UNBOUNDED {
            self.short_term.inflight = self.cwnd;
        }
        self.short_term.rate = self.latest.rate.max(self.short_term.rate.scaled(BETA));
        self.short_term.inflight = self.latest.inflight.max(scale(self.short_term.inflight, BETA));
    }

    pub(super) fn undo_loss(&mut self) {
        self.restore_cwnd();
        self.recovery = None;
        self.latest.lossy = false;
        self.full_pipe.search_from(Rate::ZERO);
        self.short_term.rate = self.short_term.rate.max(self.undo.short_term.rate);
        self.short_term.inflight = self.short_term.inflight.max(self.undo.short_term.inflight);
        self.long_term.inflight = self.long_term.inflight.max(self.undo.long_term);
        let to = core::mem::take(&mut self.undo.to);
        self.return_to(to);
    }
}
