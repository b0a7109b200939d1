//! NewReno as RFC 9002 §7 writes it: double per round trip, then one packet per round trip, halve on congestion.
//!
//! Owns nothing but a window and a threshold. The plainest controller there is, and the yardstick for others.

use super::controller::{AckBatch, Controller, EcnBatch, LossBatch, SentPacket};
use super::loss_based::{INITIAL_WINDOW, Limits, Recovery};
use crate::{Entry, Settings};
use mpquic_base::Time;

pub(super) static ENTRY: Entry<dyn Controller> = Entry {
    name: "newreno",
    about: "the plain controller of RFC 9002: grows by a packet per round trip, halves on loss",
    tunables: &[INITIAL_WINDOW],
    build: |settings| Box::new(NewReno::new(settings)),
};

/// RFC 9002 App. B.1, kLossReductionFactor.
const REDUCTION: f64 = 0.5;

#[derive(Debug)]
struct NewReno {
    limits: Limits,
    recovery: Recovery,
    /// Bytes, with the fractions that single acknowledgements add.
    window: f64,
    /// Slow start ends here.
    threshold: f64,
    /// Nothing came back yet, so the window is still the initial one.
    fresh: bool,
}

impl NewReno {
    fn new(settings: &Settings) -> Self {
        let limits = Limits::new(settings.get(INITIAL_WINDOW.name));
        Self {
            limits,
            recovery: Recovery::default(),
            window: limits.initial(),
            threshold: f64::INFINITY,
            fresh: true,
        }
    }

    fn on_congestion(&mut self, now: Time, newest_sent_at: Time) {
        if self.recovery.covers(newest_sent_at) {
            return;
        }
        self.recovery.begin(now);
        self.window = self.limits.bound(self.window * REDUCTION);
        self.threshold = self.window;
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, packet: &SentPacket) {
        self.recovery.on_sent(packet);
    }

    fn on_ack(&mut self, batch: &AckBatch) {
        self.fresh = false;
        // RFC 9002 §7.8: a window that was not used is not known to be too small.
        if batch.app_limited || self.recovery.covers(batch.newest_sent_at) {
            return;
        }
        let bytes = batch.bytes as f64;
        let doubling = bytes.min((self.threshold - self.window).max(0.0));
        self.window += doubling;
        // RFC 9002 §7.3.3: one packet for each window that is acknowledged.
        self.window += self.limits.packet() * (bytes - doubling) / self.window;
        self.window = self.limits.bound(self.window);
    }

    fn on_loss(&mut self, batch: &LossBatch) {
        self.fresh = false;
        self.on_congestion(batch.now, batch.newest_sent_at);
        if batch.persistent {
            self.window = self.limits.floor();
            self.recovery.end();
        }
    }

    fn on_ecn(&mut self, batch: &EcnBatch) {
        self.fresh = false;
        if batch.marked > 0 {
            self.on_congestion(batch.now, batch.newest_sent_at);
        }
    }

    /// A window counts bytes, and what a path holds does not change with the packets it is cut into.
    fn on_mtu(&mut self, mtu: u16) {
        self.limits.on_mtu(mtu);
        self.window = if self.fresh { self.limits.initial() } else { self.limits.bound(self.window) };
    }

    fn window(&self) -> u64 {
        self.window as u64
    }

    fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }
}

#[cfg(test)]
mod tests;
