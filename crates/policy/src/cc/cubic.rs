//! CUBIC (RFC 9438) with HyStart++: after a reduction the window returns to where it was along a cubic curve,
//! lingers there, then probes beyond; where Reno would be faster it follows Reno.
//!
//! Owns the curve, the reductions and their undoing. Sizes are bytes; the RFC counts packets, so its C and alpha
//! appear multiplied by the packet size. Random loss on a radio link keeps the window small: that is how CUBIC is.

use super::controller::{AckBatch, Controller, EcnBatch, LossBatch, SentPacket};
use super::hystart::{Advice, CAUTIOUS_DIVISOR, HyStart};
use super::loss_based::{INITIAL_WINDOW, Limits, Recovery};
use crate::{Entry, Settings, Tunable};
use mpquic_base::{Duration, Time};

pub(super) static ENTRY: Entry<dyn Controller> = Entry {
    name: "cubic",
    about: "RFC 9438 with HyStart++: the Internet's usual controller, at home on wired links",
    tunables: &[INITIAL_WINDOW, BETA, BETA_ECN, HYSTART],
    build: |settings| Box::new(Cubic::new(settings)),
};

const BETA: Tunable = Tunable {
    name: "beta",
    about: "what a loss leaves of the window (RFC 9438 §4.6)",
    default: 0.7,
    min: 0.5,
    max: 0.9,
};

const BETA_ECN: Tunable = Tunable {
    name: "beta_ecn",
    about: "what an ECN mark leaves of the window; marking queues are short, so more than a loss (RFC 8511)",
    default: 0.8,
    min: 0.5,
    max: 0.9,
};

const HYSTART: Tunable = Tunable {
    name: "hystart",
    about: "leave slow start when the delay rises (1) or only at the first loss (0)",
    default: 1.0,
    min: 0.0,
    max: 1.0,
};

/// RFC 9438 §5, in packets per second cubed.
const C: f64 = 0.4;

/// RFC 9438 §4.2: the curve never asks for more than this within one round trip.
const TARGET_MAX: f64 = 1.5;

#[derive(Debug)]
struct Cubic {
    limits: Limits,
    recovery: Recovery,
    /// `None` where slow start runs until the first loss.
    hystart: Option<HyStart>,
    beta: f64,
    beta_ecn: f64,
    state: State,
    /// What the last reduction found, for as long as it may turn out to have been a mistake.
    undo: Option<(State, Recovery)>,
    /// Nothing came back yet, so the window is still the initial one.
    fresh: bool,
}

/// All that a reduction changes.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes, with the fractions that single acknowledgements add.
    window: f64,
    /// Slow start ends here.
    threshold: f64,
    /// The window when the threshold was last set (cwnd_prior).
    prior: f64,
    /// Where the curve levels off (W_max); zero if unknown.
    plateau: f64,
    epoch: Option<Epoch>,
}

/// One stage of congestion avoidance, from a reduction to the next.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// How long the window has been the limit since the stage began (t).
    elapsed: Duration,
    seen: Time,
    /// Seconds until the curve reaches its plateau (K).
    k: f64,
    plateau: f64,
    packet: f64,
    /// The window that Reno would have (W_est).
    reno: f64,
}

impl Epoch {
    fn begin(now: Time, window: f64, plateau: f64, packet: f64) -> Self {
        let k = ((plateau - window) / (C * packet)).cbrt();
        Self { elapsed: Duration::ZERO, seen: now, k, plateau, packet, reno: window }
    }

    /// The clock stood still until `now`: the window was not what limited the sender (RFC 9438 §4.2, §5.8).
    const fn pause(&mut self, now: Time) {
        self.seen = now;
    }

    fn run(&mut self, now: Time) {
        self.elapsed += now.since(self.seen);
        self.seen = now;
    }

    /// W_cubic, `ahead` from now.
    fn curve(&self, ahead: Duration) -> f64 {
        let t = (self.elapsed + ahead).as_secs_f64();
        C * self.packet * (t - self.k).powi(3) + self.plateau
    }
}

impl Cubic {
    fn new(settings: &Settings) -> Self {
        let limits = Limits::new(settings.get(INITIAL_WINDOW.name));
        let window = limits.initial();
        Self {
            limits,
            recovery: Recovery::default(),
            hystart: (settings.get(HYSTART.name) >= 0.5).then(HyStart::default),
            beta: settings.get(BETA.name),
            beta_ecn: settings.get(BETA_ECN.name),
            state: State { window, threshold: f64::INFINITY, prior: window, plateau: 0.0, epoch: None },
            undo: None,
            fresh: true,
        }
    }

    fn start_slowly(&mut self, batch: &AckBatch, advice: Advice) {
        let state = &mut self.state;
        let bytes = batch.bytes as f64;
        let growth = if advice == Advice::Cautious { bytes / CAUTIOUS_DIVISOR } else { bytes };
        state.window = self.limits.bound((state.window + growth).min(state.threshold));
    }

    /// RFC 9438 §4.10: without a loss the plateau is where slow start was left.
    const fn leave_slow_start(&mut self) {
        self.state.threshold = self.state.window;
        self.state.prior = self.state.window;
    }

    fn avoid_congestion(&mut self, batch: &AckBatch) {
        let State { window, plateau, prior, .. } = self.state;
        let packet = self.limits.packet();
        // After persistent congestion, or above the old plateau, the curve starts out level (K = 0).
        self.state.plateau = plateau.max(window);
        let epoch = self
            .state
            .epoch
            .get_or_insert_with(|| Epoch::begin(batch.now, window, plateau.max(window), packet));
        epoch.run(batch.now);

        let share = batch.bytes as f64 / window;
        epoch.reno += packet * share * if epoch.reno >= prior { 1.0 } else { reno_alpha(self.beta) };
        self.state.window = if epoch.curve(Duration::ZERO) < epoch.reno {
            window.max(epoch.reno)
        } else {
            let target = epoch.curve(batch.srtt).clamp(window, TARGET_MAX * window);
            window + (target - window) * share.min(1.0)
        };
        self.state.window = self.limits.bound(self.state.window);
    }

    fn reduce(&mut self, now: Time, beta: f64) {
        let state = &mut self.state;
        // RFC 9438 §4.7, fast convergence: below the old plateau another flow wants a share, so level off earlier.
        let shrinking = state.window < state.plateau;
        state.plateau = if shrinking { state.window * (1.0 + beta) / 2.0 } else { state.window };
        state.prior = state.window;
        state.window = self.limits.bound(state.window * beta);
        state.threshold = state.window;
        state.epoch = None;
        self.recovery.begin(now);
    }

    /// RFC 9002 §7.6.2: start over from the smallest window; RFC 9438 §4.8: with no plateau to return to.
    fn collapse(&mut self) {
        self.state.window = self.limits.floor();
        self.state.plateau = 0.0;
        self.state.epoch = None;
        self.recovery.end();
    }
}

/// RFC 9438 §4.3: the packets per round trip that make AIMD with this beta as fast as Reno.
fn reno_alpha(beta: f64) -> f64 {
    3.0 * (1.0 - beta) / (1.0 + beta)
}

impl Controller for Cubic {
    fn on_sent(&mut self, packet: &SentPacket) {
        self.recovery.on_sent(packet);
        let idle_before = packet.in_flight <= packet.bytes;
        if let Some(epoch) = self.state.epoch.as_mut().filter(|_| idle_before) {
            epoch.pause(packet.departs);
        }
    }

    fn on_ack(&mut self, batch: &AckBatch) {
        self.fresh = false;
        if self.recovery.covers(batch.newest_sent_at) {
            return;
        }
        // RFC 9406 §4.2: for the first slow start only, while no congestion has set the threshold.
        let first = self.state.threshold == f64::INFINITY;
        let advice = match &mut self.hystart {
            Some(hystart) if first => hystart.on_ack(batch.round_start, batch.rtt, batch.app_limited),
            _ => Advice::Double,
        };
        if advice == Advice::Leave {
            self.leave_slow_start();
        }
        if batch.app_limited {
            if let Some(epoch) = &mut self.state.epoch {
                epoch.pause(batch.now);
            }
        } else if self.in_slow_start() {
            self.start_slowly(batch, advice);
        } else {
            self.avoid_congestion(batch);
        }
    }

    fn on_loss(&mut self, batch: &LossBatch) {
        self.fresh = false;
        let before = (self.state, self.recovery);
        let new_period = !self.recovery.covers(batch.newest_sent_at);
        if new_period {
            self.reduce(batch.now, self.beta);
        }
        if batch.persistent {
            self.collapse();
        }
        if new_period || batch.persistent {
            self.undo = Some(before);
        }
    }

    fn on_ecn(&mut self, batch: &EcnBatch) {
        self.fresh = false;
        if batch.marked == 0 {
            return;
        }
        // A router said so: whatever becomes of the losses, this congestion was real.
        self.undo = None;
        if !self.recovery.covers(batch.newest_sent_at) {
            self.reduce(batch.now, self.beta_ecn);
        }
    }

    /// RFC 9438 §4.9.2. The time spent at the reduced window does not count towards the curve.
    fn on_spurious_loss(&mut self, now: Time) {
        let Some((state, recovery)) = self.undo.take() else { return };
        if self.state.window < state.window {
            self.state = state;
            self.recovery.undo_to(recovery);
            if let Some(epoch) = &mut self.state.epoch {
                epoch.pause(now);
            }
        }
    }

    /// What a path holds in bytes does not change with the packets; the curve is drawn anew in the new unit.
    fn on_mtu(&mut self, mtu: u16) {
        if !self.limits.on_mtu(mtu) {
            return;
        }
        self.state.epoch = None;
        self.undo = None;
        self.state.window =
            if self.fresh { self.limits.initial() } else { self.limits.bound(self.state.window) };
    }

    fn window(&self) -> u64 {
        self.state.window as u64
    }

    fn in_slow_start(&self) -> bool {
        self.state.window < self.state.threshold
    }
}

#[cfg(test)]
mod tests;
