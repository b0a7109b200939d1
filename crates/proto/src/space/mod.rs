//! One packet number space: what was sent and awaits its fate, what was received and awaits an ACK.
//!
//! Knows nothing of congestion, RTT or frames: [`crate::path::Recovery`] judges, the owner of a token acts.

mod acks;
mod sent;

pub(crate) use acks::AckQueue;
pub(crate) use sent::{Departure, Sent, SentRing, State};

use mpquic_base::{Rng, Time};

#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) sent: SentRing,
    pub(crate) acks: AckQueue,
    /// When the oldest packet below the largest acknowledged one will have waited too long.
    pub(crate) loss_at: Option<Time>,
    /// The PTO counts from here: departure of the newest ack-eliciting packet, or the last time it fired.
    pub(crate) pto_since: Option<Time>,
    /// Ack-eliciting packets that a PTO asked for and that were not sent yet.
    pub(crate) probes: u8,
    next_skip: u64,
}

impl Space {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            sent: SentRing::new(),
            acks: AckQueue::new(),
            loss_at: None,
            pto_since: None,
            probes: 0,
            next_skip: SKIP_MIN + rng.below(SKIP_MIN),
        }
    }

    /// Before a packet is built: now and then leaves out a number, so that a peer that acknowledges what it never saw
    /// is caught (RFC 9000 §21.4).
    pub(crate) fn skip_sometimes(&mut self, rng: &mut Rng) {
        let next = self.sent.next_pn();
        if next >= self.next_skip {
            self.sent.skip();
            // The gap widens with the number, so a long transfer pays almost nothing.
            self.next_skip = next + SKIP_MIN + rng.below(SKIP_MIN.max(next / 2));
        }
    }
}

/// The first skipped number is at least this large: a handshake never meets it.
const SKIP_MIN: u64 = 128;
