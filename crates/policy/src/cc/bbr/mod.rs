//! BBR version 3 (draft-ietf-ccwg-bbr-06): paces at a modelled bottleneck rate instead of filling the queue until it drops.
//!
//! Owns the path model ([`model`]), the state machine ([`state`], [`cycle`]) and the answer to loss ([`loss`]). It refuses to know
//! packets: delivery rates, loss totals and round trips come from the path, one batch per ACK frame.
//!
//! Radio links lose 0.5-2 % at random and their delay wanders by as much as it is long. Followed to the letter, the draft
//! fills a tenth to a half of the harder ones (the links in `tests/scenarios.rs`). Eight things are therefore different,
//! each explained where it is: loss must exceed the threshold by more than chance explains ([`Bbr::too_high`]), also
//! before it lowers the short-term bounds ([`Bbr::adapt_short_term`]); a wandering delay counts as part of the path
//! ([`model::Spread`]) and makes a plateau less certain ([`model::FullPipe`]); a rate far below the model is believed
//! without waiting for loss ([`model::Shortfall`]), and so is an RTT far above it ([`model::Overdue`]); a probe follows at once
//! where there may be much more to find ([`Bbr::more_to_find`]); and `ProbeRTT` comes less often on RTTs above half a
//! second ([`model::MinRtt`]).

mod cycle;
mod loss;
mod model;
mod state;
#[cfg(test)]
mod tests;

use super::{AckBatch, Controller, EcnBatch, LossBatch, MAX_WINDOW, SentPacket};
use crate::{Entry, Settings, Tunable};
use loss::{Latest, LongTerm, ShortTerm, Undo};
use model::{Aggregation, FullPipe, MaxRate, MinRtt, Overdue, Rounds, Shortfall, Spread};
use mpquic_base::{Duration, Rate, Time};
use state::{AckPhase, State};

/// The entry in the list of controllers.
pub(super) const ENTRY: Entry<dyn Controller> = Entry {
    name: "bbr",
    about: "BBRv3: paces at the modelled bottleneck rate; fills links with random loss and keeps queues short",
    tunables: &[
        Tunable {
            name: "loss_threshold",
            about: "share of a probe's flight that may be lost before the path counts as full",
            default: 0.02,
            min: 0.001,
            max: 0.3,
        },
        Tunable {
            name: "headroom",
            about: "share of the highest safe flight that is left to others between probes",
            default: 0.15,
            min: 0.0,
            max: 0.5,
        },
    ],
    build: |settings| Box::new(Bbr::new(settings)),
};

/// §2.5: the pacing rate stays this far below the modelled rate, so that queues drain on average.
const PACING_MARGIN: f64 = 0.01;
/// §2.8: the least window that keeps a delayed-ACK receiver busy, in packets.
const MIN_PIPE_PACKETS: u64 = 4;
/// §5.6.3: the largest burst in bytes, and the time it stands for.
const MAX_QUANTUM: u64 = 64 * 1024;
const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// §5.6.2: the RTT that the first pacing rate assumes until one was measured.
const NOMINAL_RTT: Duration = Duration::from_millis(1);
/// RFC 9000 §14: the datagram size that every path carries.
const INITIAL_MTU: u16 = 1200;
/// A bound that is not set.
const UNBOUNDED: u64 = u64::MAX;

/// `bytes` times `factor`, rounded down; an unset bound stays unset.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "byte counts of one flight fit 52 bits, and float-to-integer casts saturate"
)]
fn scale(bytes: u64, factor: f64) -> u64 {
    if bytes == UNBOUNDED { UNBOUNDED } else { (bytes as f64 * factor.max(0.0)) as u64 }
}

/// RFC 9002 §7.2: ten datagrams, but no more than 14720 bytes unless two datagrams are.
fn initial_window(mtu: u64) -> u64 {
    (10 * mtu).min(14720.max(2 * mtu))
}

/// One ACK in the draft's terms: its rate sample, or zeros where the path could not take one.
#[derive(Clone, Copy, Debug)]
struct Ack {
    now: Time,
    acked: u64,
    in_flight: u64,
    rtt: Option<Duration>,
    rate: Rate,
    /// Bytes delivered over the sample.
    over_sample: u64,
    prior_delivered: Option<u64>,
    /// Bytes delivered on the path in total.
    delivered: u64,
    lost: u64,
    tx_in_flight: u64,
    app_limited: bool,
    /// The path's own round mark, for an ACK without a sample.
    path_round: bool,
}

/// Samples of packets sent between `from` and the delivery of byte `until` say nothing about the path's rate.
#[derive(Clone, Copy, Debug)]
struct OwnLimit {
    from: Time,
    until: u64,
}

/// The controller of one path.
#[derive(Debug)]
struct Bbr {
    loss_threshold: f64,
    headroom: f64,
    mtu: u64,
    /// What was told to the path.
    cwnd: u64,
    pacing: Rate,
    /// The pacing rate rests on a measured RTT.
    rtt_seen: bool,
    /// The clock is known and the filters run.
    begun: bool,

    state: State,
    phase: AckPhase,
    cycle: cycle::Cycle,
    probe_rtt: cycle::ProbeRtt,

    rounds: Rounds,
    max_rate: MaxRate,
    aggregation: Aggregation,
    full_pipe: FullPipe,
    min_rtt: MinRtt,
    spread: Spread,
    shortfall: Shortfall,
    overdue: Overdue,
    latest: Latest,
    short_term: ShortTerm,
    long_term: LongTerm,
    undo: Undo,

    /// Bytes delivered on the path in total, as of the last batch.
    delivered: u64,
    app_limited: bool,
    own_limit: Option<OwnLimit>,
    /// The flight ran into the window in this round, in the last one.
    window_full: [bool; 2],
    /// When the last ACK left nothing in flight, and whether the application was the cause.
    drained: Option<(Time, bool)>,
    idle_restart: bool,
    /// The window before loss recovery or `ProbeRTT` cut it.
    prior_cwnd: u64,
    /// Loss recovery lasts until a packet sent after this is acknowledged.
    recovery: Option<Time>,
    dice: u64,
}

impl Bbr {
    fn new(settings: &Settings) -> Self {
        let mtu = u64::from(INITIAL_MTU);
        let cwnd = initial_window(mtu);
        Self {
            loss_threshold: settings.get("loss_threshold"),
            headroom: settings.get("headroom"),
            mtu,
            cwnd,
            pacing: Rate::from_delivery(cwnd, NOMINAL_RTT).scaled(State::Startup.pacing_gain()),
            rtt_seen: false,
            begun: false,
            state: State::Startup,
            phase: AckPhase::Init,
            cycle: cycle::Cycle::default(),
            probe_rtt: cycle::ProbeRtt::default(),
            rounds: Rounds::default(),
            max_rate: MaxRate::default(),
            aggregation: Aggregation::default(),
            full_pipe: FullPipe::default(),
            min_rtt: MinRtt::default(),
            spread: Spread::default(),
            shortfall: Shortfall::default(),
            overdue: Overdue::default(),
            latest: Latest::default(),
            short_term: ShortTerm::UNSET,
            long_term: LongTerm::default(),
            undo: Undo::default(),
            delivered: 0,
            app_limited: false,
            own_limit: None,
            window_full: [false; 2],
            drained: None,
            idle_restart: false,
            prior_cwnd: 0,
            recovery: None,
            dice: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The clock shows itself with the first event only.
    fn begin(&mut self, now: Time) {
        if !self.begun {
            self.begun = true;
            self.min_rtt = MinRtt::start(now);
            self.aggregation.restart(now);
            self.cycle.since = now;
        }
    }

    fn in_draft_terms(&mut self, batch: &AckBatch) -> Ack {
        self.delivered = batch.rate.map_or(self.delivered.saturating_add(batch.bytes), |r| r.total_delivered);
        let mut ack = Ack {
            now: batch.now,
            acked: batch.bytes,
            in_flight: batch.in_flight,
            rtt: batch.rtt,
            rate: Rate::ZERO,
            over_sample: 0,
            prior_delivered: None,
            delivered: self.delivered,
            lost: 0,
            tx_in_flight: 0,
            app_limited: batch.app_limited,
            path_round: batch.round_start,
        };
        if let Some(rate) = batch.rate {
            ack.rate = rate.rate;
            ack.over_sample = rate.delivered;
            ack.prior_delivered = Some(rate.prior_delivered);
            ack.lost = rate.lost;
            ack.tx_in_flight = rate.tx_in_flight;
            ack.app_limited = rate.app_limited || self.limits(batch.newest_sent_at, rate.prior_delivered);
        }
        self.app_limited = ack.app_limited;
        ack
    }

    /// Whether we ourselves held the flight of this sample down.
    fn limits(&self, sent_at: Time, prior_delivered: u64) -> bool {
        self.own_limit.is_some_and(|own| sent_at >= own.from && prior_delivered <= own.until)
    }

    /// The rate that the path is believed to carry now.
    fn bw(&self) -> Rate {
        self.max_rate.get().min(self.short_term.rate)
    }

    fn bdp(&self, rate: Rate) -> u64 {
        self.usual_rtt().map_or(initial_window(self.mtu), |rtt| rate.bytes_in(rtt))
    }

    /// The lowest RTT and what a wandering delay usually adds.
    fn usual_rtt(&self) -> Option<Duration> {
        self.min_rtt.get().map(|rtt| rtt.saturating_add(self.spread.get()))
    }

    /// The delay wanders so much that a few rounds prove little.
    fn is_noisy(&self) -> bool {
        self.min_rtt.get().is_some_and(|rtt| self.spread.get() > rtt / 4)
    }

    fn min_window(&self) -> u64 {
        MIN_PIPE_PACKETS * self.mtu
    }

    fn quantum(&self) -> u64 {
        self.pacing.bytes_in(QUANTUM_TIME).min(MAX_QUANTUM).max(2 * self.mtu)
    }

    /// A flight made large enough for bursts, delayed ACKs and, when probing, for the probe to show.
    fn with_budget(&self, flight: u64) -> u64 {
        let flight = flight.max(self.quantum()).max(self.min_window());
        if self.state == State::Up { flight.saturating_add(2 * self.mtu) } else { flight }
    }

    fn set_pacing(&mut self, gain: f64) {
        let rate = self.bw().scaled(gain * (1.0 - PACING_MARGIN));
        // §5.6.2: before the pipe was full once the rate only rises, so that app-limited samples cannot lower it.
        if rate != Rate::ZERO && (self.full_pipe.once || rate > self.pacing) {
            self.pacing = rate;
        }
    }

    fn first_pacing(&mut self, batch: &AckBatch) {
        if !self.rtt_seen && batch.rtt.is_some() && batch.srtt > Duration::ZERO {
            self.rtt_seen = true;
            let nominal = Rate::from_delivery(initial_window(self.mtu), batch.srtt);
            self.pacing = nominal.scaled(State::Startup.pacing_gain());
        }
    }

    fn set_cwnd(&mut self, ack: &Ack) {
        let flight = scale(self.bdp(self.bw()), self.state.cwnd_gain());
        let most = self.with_budget(flight.saturating_add(self.aggregation.extra(self.full_pipe.once)));
        if self.full_pipe.once {
            self.cwnd = self.cwnd.saturating_add(ack.acked).min(most);
        } else if self.cwnd < most || ack.delivered < initial_window(self.mtu) {
            self.cwnd = self.cwnd.saturating_add(ack.acked);
        }
        let cap = self.cwnd_cap().clamp(self.min_window(), MAX_WINDOW);
        self.cwnd = self.cwnd.clamp(self.min_window(), cap);
    }

    /// §5.6.4.7: the volume cap of each state.
    fn cwnd_cap(&self) -> u64 {
        let long = match self.state {
            State::Startup => UNBOUNDED,
            State::Drain | State::Down | State::Refill | State::Up => self.long_term.inflight,
            State::Cruise => self.inflight_with_headroom(),
            State::ProbeRtt => self.inflight_with_headroom().min(self.probe_rtt_window()),
        };
        long.min(self.short_term.inflight)
    }

    /// Remembers the window that loss recovery or `ProbeRTT` is about to cut.
    fn save_cwnd(&mut self) {
        let untouched = self.recovery.is_none() && self.state != State::ProbeRtt;
        self.prior_cwnd = if untouched { self.cwnd } else { self.prior_cwnd.max(self.cwnd) };
    }

    fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// Whether the window held back the flight in the last two rounds.
    fn window_limited(&self) -> bool {
        self.window_full.contains(&true)
    }

    /// §5.4.1: a flow that comes back from idleness paces at the path's rate and need not drain a queue.
    fn restart_from_idle(&mut self, now: Time) {
        self.idle_restart = true;
        self.aggregation.restart(now);
        if self.state.in_probe_bw() {
            self.set_pacing(1.0);
        } else if self.state == State::ProbeRtt {
            self.finish_probe_rtt(now);
        }
    }

    /// A number in `0.0..1.0` for spreading probes. The clock is part of it, so that flows do not probe in step.
    #[allow(clippy::cast_precision_loss, reason = "32 bits fit a double exactly")]
    fn roll(&mut self, now: Time) -> f64 {
        self.dice ^= now.nanos();
        // Knuth's MMIX multiplier; the high bits are the random ones.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 32) as f64 / (1u64 << 32) as f64
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, packet: &SentPacket) {
        self.begin(packet.departs);
        if packet.in_flight.saturating_add(self.mtu) > self.cwnd {
            self.window_full[0] = true;
        }
        if let Some((since, app_limited)) = self.drained.take() {
            // The path marks a pause only on packets sent after it; a whole RTT without anything in flight is one too.
            let pause = self.min_rtt.get().is_some_and(|rtt| packet.departs.since(since) > rtt);
            if packet.in_flight <= packet.bytes && (app_limited || pause) {
                self.restart_from_idle(packet.departs);
            }
        }
    }

    fn on_ack(&mut self, batch: &AckBatch) {
        self.begin(batch.now);
        self.first_pacing(batch);
        if self.recovery.is_some_and(|start| batch.newest_sent_at > start) {
            self.recovery = None;
            self.restore_cwnd();
        }
        let ack = self.in_draft_terms(batch);

        self.latest.on_ack(&ack);
        self.rounds.on_ack(&ack);
        if self.rounds.ended {
            self.window_full = [false, self.window_full[0]];
        }
        if ack.rate >= self.max_rate.get() || !ack.app_limited {
            self.max_rate.add(ack.rate);
        }
        self.adapt_short_term(&ack);
        self.aggregation.on_ack(&ack, self.bw(), self.cwnd, self.rounds.count);
        self.full_pipe.on_ack(&ack, self.rounds.ended, self.is_noisy());
        self.check_startup_done(&ack);
        self.check_drain_done(&ack);
        self.step_probe_bw(&ack);
        self.min_rtt.on_ack(ack.now, ack.rtt);
        self.spread.on_ack(ack.now, ack.rtt);
        self.check_model(&ack);
        self.check_probe_rtt(&ack);
        self.latest.advance(&ack);

        self.set_pacing(self.state.pacing_gain());
        self.set_cwnd(&ack);
        self.drained = (ack.in_flight == 0).then_some((ack.now, ack.app_limited));
    }

    fn on_loss(&mut self, batch: &LossBatch) {
        self.begin(batch.now);
        self.drained = None;
        self.lost(batch);
    }

    fn on_ecn(&mut self, batch: &EcnBatch) {
        self.begin(batch.now);
        if batch.marked > 0 {
            self.marked(batch);
        }
    }

    fn on_spurious_loss(&mut self, _now: Time) {
        self.undo_loss();
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu.max(INITIAL_MTU));
        if self.delivered == 0 {
            self.cwnd = self.cwnd.max(initial_window(self.mtu));
        }
        self.cwnd = self.cwnd.max(self.min_window());
    }

    fn window(&self) -> u64 {
        self.cwnd
    }

    fn pacing(&self) -> Option<Rate> {
        Some(self.pacing)
    }

    fn in_slow_start(&self) -> bool {
        self.state == State::Startup
    }
}
