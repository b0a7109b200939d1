//! BBR's state machine: Startup and Drain once, then the four phases of `ProbeBW` with `ProbeRTT` in between.

use super::loss::{LongTerm, UndoTo};
use super::model::{FULL_GROWTH, FullPipe, PROBE_RTT_DURATION};
use super::state::{AckPhase, State};
use super::{Ack, Bbr, OwnLimit, UNBOUNDED, scale};
use mpquic_base::{Duration, Rate, Time};

/// §5.3.2: Drain gives up after this many rounds; the rate filter will correct an estimate that was too high.
const DRAIN_ROUNDS: u64 = 3;
/// §5.3.3.8: the wait for the next probe: 2 s, and up to 1 s at random.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// §5.3.3.8: or as many rounds as Reno would need to regain one window, but no more than these.
const RENO_ROUNDS: u64 = 63;

/// Where `ProbeBW` stands in its cycle.
#[derive(Debug, Default)]
pub(super) struct Cycle {
    pub(super) since: Time,
    pub(super) wait: Duration,
    pub(super) drain_round: u64,
    /// ACKs cover data of a probe that has not been judged yet.
    pub(super) probe_sample: bool,
    /// The last probe lost too much.
    pub(super) too_high: bool,
    /// The last probe stopped early, at the flight that had lost too much before.
    pub(super) precautionary: bool,
    /// What the path was believed to carry when the last probe began.
    probed_from: Rate,
    up_rounds: u32,
    up_acked: u64,
    acked_per_step: u64,
}

#[derive(Debug, Default)]
pub(super) struct ProbeRtt {
    /// The flight is low; when that may end.
    pub(super) done_at: Option<Time>,
    round_done: bool,
    /// The visit was called because the model is wrong: the lowest RTT found replaces a lower one.
    anew: bool,
}

impl Bbr {
    fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    /// §5.3.1.3: loss ends Startup if a full round of recovery lost over 2 % in six places.
    pub(super) fn check_startup_done(&mut self, ack: &Ack) {
        if !self.full_pipe.once && self.startup_loss_too_high(ack) {
            self.undo.to = UndoTo::Startup;
            self.full_pipe.once = true;
            self.full_pipe.now = true;
            self.long_term.inflight = self.bdp(self.bw()).max(self.latest.inflight);
        }
        if self.latest.round_ended {
            self.latest.events = 0;
            self.latest.marked = 0;
        }
        if self.state == State::Startup && self.full_pipe.once {
            self.state = State::Drain;
            self.cycle.drain_round = self.rounds.count;
        }
    }

    pub(super) fn check_drain_done(&mut self, ack: &Ack) {
        let empty = ack.in_flight <= self.with_budget(self.bdp(self.bw()));
        if self.state == State::Drain && (empty || self.rounds.count > self.cycle.drain_round + DRAIN_ROUNDS)
        {
            self.start_down(ack.now);
        }
    }

    pub(super) fn start_down(&mut self, now: Time) {
        self.latest.reset();
        self.cycle.acked_per_step = UNBOUNDED;
        self.rounds.since_probe = u64::from(self.roll(now) >= 0.5);
        let wait = PROBE_WAIT + Duration::from_secs(1).mul_f64(self.roll(now));
        self.cycle.wait = if self.more_to_find() { Duration::ZERO } else { wait };
        self.cycle.since = now;
        self.phase = AckPhase::Stopping;
        self.rounds.restart(self.delivered);
        self.state = State::Down;
    }

    /// Departs from the draft, which waits 2 to 3 s in any case: from a tenth of the rate, at which a wandering delay can
    /// end Startup, that takes half a minute. So a probe that found much more is followed by the next at once, and so is a
    /// Startup whose end is in doubt.
    fn more_to_find(&self) -> bool {
        match self.state {
            State::Up => self.max_rate.get() >= self.cycle.probed_from.scaled(FULL_GROWTH),
            State::Drain => self.is_noisy(),
            _ => false,
        }
    }

    pub(super) fn start_refill(&mut self) {
        self.short_term.reset();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.precautionary = false;
        self.phase = AckPhase::Refilling;
        self.rounds.restart(self.delivered);
        self.state = State::Refill;
    }

    fn start_up(&mut self, ack: &Ack) {
        self.cycle.probed_from = self.max_rate.get();
        self.cycle.probe_sample = true;
        self.phase = AckPhase::Starting;
        self.rounds.restart(self.delivered);
        self.full_pipe.search_from(ack.rate);
        self.state = State::Up;
        self.steepen();
    }

    /// One ACK's worth of the `ProbeBW` cycle.
    pub(super) fn step_probe_bw(&mut self, ack: &Ack) {
        if !self.full_pipe.once || self.adapt_long_term(ack) {
            return;
        }
        match self.state {
            State::Down if self.time_to_probe(ack.now) => self.start_refill(),
            State::Down if self.time_to_cruise(ack) => self.state = State::Cruise,
            State::Cruise if self.time_to_probe(ack.now) => self.start_refill(),
            State::Refill if self.rounds.ended => self.start_up(ack),
            State::Up => self.step_up(ack),
            _ => {}
        }
    }

    fn step_up(&mut self, ack: &Ack) {
        if self.time_to_go_down(ack) {
            self.cycle.too_high = false;
            self.start_down(ack.now);
        }
    }

    fn time_to_probe(&self, now: Time) -> bool {
        let reno = (self.target_inflight() / self.mtu).min(RENO_ROUNDS);
        now > self.cycle.since + self.cycle.wait || self.rounds.since_probe >= reno
    }

    fn time_to_cruise(&self, ack: &Ack) -> bool {
        ack.in_flight <= self.inflight_with_headroom()
            && ack.in_flight <= self.with_budget(self.bdp(self.max_rate.get()))
    }

    fn time_to_go_down(&mut self, ack: &Ack) -> bool {
        if self.cycle.too_high && ack.in_flight >= self.long_term.inflight {
            self.cycle.precautionary = true;
            return true;
        }
        if self.window_limited() && self.cwnd >= self.long_term.inflight {
            // The bound hides what the path could do, so the search for the plateau starts over.
            self.full_pipe.search_from(ack.rate);
            return false;
        }
        self.full_pipe.now
    }

    /// What we want in flight: the modelled pipe, unless congestion cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp(self.bw()).min(self.cwnd)
    }

    pub(super) fn inflight_with_headroom(&self) -> u64 {
        let long = self.long_term.inflight;
        if long == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = scale(long, self.headroom).max(self.mtu);
        long.saturating_sub(headroom).max(self.min_window())
    }

    /// Follows the meaning of the ACKs and lifts the long-term bound; true if that decided the next state.
    fn adapt_long_term(&mut self, ack: &Ack) -> bool {
        if self.rounds.ended && self.phase == AckPhase::Starting {
            self.phase = AckPhase::Feedback;
        }
        if self.rounds.ended && self.phase == AckPhase::Stopping {
            self.cycle.probe_sample = false;
            self.phase = AckPhase::Init;
            if self.state.in_probe_bw() {
                if !ack.app_limited {
                    self.max_rate.advance();
                }
                if self.cycle.precautionary && !self.cycle.too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        if self.long_term.inflight != UNBOUNDED && !self.too_high(ack.lost, ack.tx_in_flight) {
            self.long_term.inflight = self.long_term.inflight.max(ack.tx_in_flight);
            if self.state == State::Up {
                self.lift(ack);
            }
        }
        false
    }

    /// §5.3.3.5: the long-term bound grows by 1, 2, 4... packets in successive rounds, if the flight really uses it.
    fn lift(&mut self, ack: &Ack) {
        if !self.window_limited() || self.cwnd < self.long_term.inflight {
            return;
        }
        self.cycle.up_acked = self.cycle.up_acked.saturating_add(ack.acked);
        let steps = self.cycle.up_acked / self.cycle.acked_per_step;
        self.cycle.up_acked -= steps * self.cycle.acked_per_step;
        self.long_term.inflight = self.long_term.inflight.saturating_add(steps.saturating_mul(self.mtu));
        if self.rounds.ended {
            self.steepen();
        }
    }

    fn steepen(&mut self) {
        let growth = 1 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.acked_per_step = (self.cwnd / growth).max(self.mtu);
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        scale(self.bdp(self.bw()), State::ProbeRtt.cwnd_gain()).max(self.min_window())
    }

    /// A path that carries far less than it did, or has become much longer, is measured anew at once.
    pub(super) fn check_model(&mut self, ack: &Ack) {
        let held_back = !ack.app_limited && self.window_limited();
        let (modelled, usual) = (self.bw(), self.usual_rtt());
        let counts = held_back && self.state.in_probe_bw();
        let lower = self.shortfall.on_ack(ack, self.rounds.ended, counts, modelled);
        if let Some(rate) = lower {
            self.max_rate.replace(rate);
        }
        // A queue behind a lower rate is late, too.
        let counts = held_back && self.state != State::ProbeRtt && !self.shortfall.is_near();
        let overdue = self.overdue.on_ack(ack.rtt, self.rounds.ended, counts, usual);
        if overdue || lower.is_some() {
            self.min_rtt.forget_recent();
            self.enter_probe_rtt();
            self.probe_rtt.anew = true;
        }
    }

    fn enter_probe_rtt(&mut self) {
        self.save_cwnd();
        self.state = State::ProbeRtt;
        self.probe_rtt = ProbeRtt::default();
        self.phase = AckPhase::Stopping;
        self.rounds.restart(self.delivered);
        self.own_limit = None;
    }

    pub(super) fn check_probe_rtt(&mut self, ack: &Ack) {
        if self.state != State::ProbeRtt && self.min_rtt.stale && !self.idle_restart {
            self.enter_probe_rtt();
        }
        if self.state == State::ProbeRtt {
            self.hold_flight_down(ack);
        }
        if ack.acked > 0 {
            self.idle_restart = false;
        }
    }

    fn hold_flight_down(&mut self, ack: &Ack) {
        // §5.3.4.3: samples of this flight are low because of us, and must not count as the path's rate.
        let from = self.own_limit.map_or(ack.now, |own| own.from);
        self.own_limit = Some(OwnLimit { from, until: ack.delivered.saturating_add(ack.in_flight) });
        if self.probe_rtt.done_at.is_some() {
            self.probe_rtt.round_done |= self.rounds.ended;
            if self.probe_rtt.round_done {
                self.finish_probe_rtt(ack.now);
            }
        } else if ack.in_flight <= self.probe_rtt_window() {
            self.probe_rtt.done_at = Some(ack.now + PROBE_RTT_DURATION);
            self.probe_rtt.round_done = false;
            self.rounds.restart(self.delivered);
        }
    }

    /// Leaves `ProbeRTT` if its time is over. The queue is empty then, so the cycle goes on with Cruise.
    pub(super) fn finish_probe_rtt(&mut self, now: Time) {
        if self.probe_rtt.done_at.is_none_or(|done| now <= done) {
            return;
        }
        self.min_rtt.refreshed(now);
        if self.probe_rtt.anew {
            self.adopt_rtt(now);
        }
        self.restore_cwnd();
        self.short_term.reset();
        if self.full_pipe.once {
            self.start_down(now);
            self.state = State::Cruise;
        } else {
            self.enter_startup();
        }
    }

    /// Takes the RTT over that was measured anew. If the window could not even cover it once, then what was measured of the
    /// path until now was the window, and the search begins anew too.
    fn adopt_rtt(&mut self, now: Time) {
        let covered = self.usual_rtt().map(|usual| usual.mul_f64(State::Cruise.cwnd_gain()));
        self.min_rtt.adopt_recent(now);
        if self.min_rtt.get() > covered {
            self.full_pipe = FullPipe::default();
            self.long_term = LongTerm::default();
        }
    }

    /// Back to where a loss that was none drove us out.
    pub(super) fn return_to(&mut self, to: UndoTo) {
        match to {
            UndoTo::Startup if self.state != State::Startup => {
                self.full_pipe.once = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            UndoTo::Up if self.state != State::Up && self.state != State::ProbeRtt => self.start_refill(),
            _ => {}
        }
    }
}
