//! draft-ietf-quic-ack-frequency: when we acknowledge, as the peer wishes, and what we wish of the peer.
//!
//! Neither frame names a path, so with multipath both wishes hold for every path of the connection. What to wish for
//! is a choice (`mpquic_policy::acks`); here are the rules: numbers, limits, and one wish on its way at a time.

use crate::error::Violation;
use crate::frames::{Frames, Token};
use mpquic_base::{Duration, Time};
use mpquic_policy::acks::{self, AckWish};
use mpquic_policy::sched::PathView;
use mpquic_wire::Frame;
use mpquic_wire::frame::AckFrequency;

/// The least delay that we accept to be asked for: what a timer of a busy host is good for.
const MIN_ACK_DELAY: Duration = Duration::from_millis(1);
/// RFC 9000 §18.2: in milliseconds.
const MAX_ACK_DELAY_END: u64 = 1 << 14;

/// When an ACK is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckRules {
    /// Ack-eliciting packets that may arrive without an ACK.
    pub(crate) threshold: u32,
    pub(crate) delay: Duration,
    /// How far a packet may come behind before that is reported at once; 0 for never.
    pub(crate) reordering: u64,
}

impl AckRules {
    /// RFC 9000 §13.2: every other packet, and at once whatever is out of order.
    pub(crate) const fn unasked(delay: Duration) -> Self {
        Self { threshold: 1, delay, reordering: 1 }
    }
}

/// What the peer asked of us.
#[derive(Debug)]
pub(crate) struct AckOrders {
    rules: AckRules,
    /// Frames with a smaller number are old news.
    next_seq: u64,
    enabled: bool,
}

impl AckOrders {
    pub(crate) const fn new(delay: Duration, enabled: bool) -> Self {
        Self { rules: AckRules::unasked(delay), next_seq: 0, enabled }
    }

    pub(crate) const fn rules(&self) -> AckRules {
        self.rules
    }

    /// What we announce, with `delay` as our max_ack_delay.
    pub(crate) fn min_ack_delay(delay: Duration) -> Duration {
        MIN_ACK_DELAY.min(delay)
    }

    pub(crate) fn on_ack_frequency(&mut self, wish: &AckFrequency, ours: Duration) -> Result<(), Violation> {
        self.check_announced()?;
        let delay = Duration::from_micros(wish.max_ack_delay);
        // draft-ietf-quic-ack-frequency §4: neither below our min_ack_delay nor beyond what the parameter could say.
        if delay < Self::min_ack_delay(ours) || delay >= Duration::from_millis(MAX_ACK_DELAY_END) {
            return Err(Violation::protocol("an ACK delay that was not offered"));
        }
        if wish.seq >= self.next_seq {
            self.next_seq = wish.seq + 1;
            let threshold = u32::try_from(wish.eliciting_threshold).unwrap_or(u32::MAX);
            self.rules = AckRules { threshold, delay, reordering: wish.reordering_threshold };
        }
        Ok(())
    }

    /// IMMEDIATE_ACK and ACK_FREQUENCY are for those who announced min_ack_delay.
    pub(crate) fn check_announced(&self) -> Result<(), Violation> {
        if self.enabled { Ok(()) } else { Err(Violation::protocol("an ACK frequency frame unasked for")) }
    }
}

/// What we ask of the peer.
#[derive(Debug)]
pub(crate) struct AckWishes {
    /// The peer's min_ack_delay and max_ack_delay, if it takes wishes.
    limits: Option<(Duration, Duration)>,
    wish: AckWish,
    reordering: u64,
    /// Number of the next frame.
    next_seq: u64,
    due: bool,
    /// The newest frame is on its way.
    pending: bool,
    /// The longest delay that may be in force at the peer.
    delay: Duration,
    /// No new wish before this time, and no other packet that wants its ACK at once.
    review_at: Time,
    immediate_at: Time,
}

impl AckWishes {
    pub(crate) const fn new() -> Self {
        Self {
            limits: None,
            wish: AckWish { threshold: 1, max_delay: Duration::ZERO },
            reordering: 1,
            next_seq: 0,
            due: false,
            pending: false,
            delay: Duration::ZERO,
            review_at: Time::ZERO,
            immediate_at: Time::ZERO,
        }
    }

    /// The peer's transport parameters are here.
    pub(crate) fn start(&mut self, min_ack_delay: Option<Duration>, max_ack_delay: Duration) {
        self.limits = min_ack_delay.map(|min| (min, max_ack_delay));
        self.wish.max_delay = max_ack_delay;
        self.delay = max_ack_delay;
    }

    /// The peer's max_ack_delay, for PTO and the like. draft-ietf-quic-ack-frequency §7: while a wish is on its way, the
    /// longer one counts.
    pub(crate) const fn delay(&self) -> Duration {
        self.delay
    }

    /// Whether IMMEDIATE_ACK means something to the peer.
    pub(crate) const fn are_heeded(&self) -> bool {
        self.limits.is_some()
    }

    pub(crate) fn wants_review(&self, now: Time) -> bool {
        self.limits.is_some() && !self.pending && now >= self.review_at
    }

    /// Thinks again, with the paths in use and the least packet threshold of their loss detection.
    pub(crate) fn review(&mut self, now: Time, paths: &[PathView], reordering: u64) {
        let Some((least, most)) = self.limits else { return };
        // Once per round trip of the shortest path.
        self.review_at = now + paths.iter().map(|p| p.srtt).min().unwrap_or(most);
        let Some(wish) = acks::wish(paths, least, most) else { return };
        let packets = |wish: &AckWish| u64::from(wish.threshold) + 1;
        let changed = differs(packets(&wish), packets(&self.wish))
            || differs(micros(wish.max_delay), micros(self.wish.max_delay));
        // Without fewer ACKs there is nothing to say about reordering.
        if changed || (wish.threshold > 1 && reordering != self.reordering) {
            self.wish = wish;
            // draft-ietf-quic-ack-frequency §9: the threshold of our loss detection.
            self.reordering = if wish.threshold > 1 { reordering } else { 1 };
            self.due = true;
        }
    }

    pub(crate) const fn wants(&self) -> bool {
        self.due
    }

    pub(crate) fn write(&mut self, frames: &mut Frames<'_>) {
        if !self.due {
            return;
        }
        let frame = AckFrequency {
            seq: self.next_seq,
            eliciting_threshold: u64::from(self.wish.threshold),
            max_ack_delay: micros(self.wish.max_delay),
            reordering_threshold: self.reordering,
        };
        if frames.push(&Frame::AckFrequency(frame), Token::AckFrequency(frame.seq)) {
            self.next_seq += 1;
            (self.due, self.pending) = (false, true);
            self.delay = self.delay.max(self.wish.max_delay);
        }
    }

    pub(crate) fn acked(&mut self, seq: u64) {
        if seq + 1 == self.next_seq {
            self.pending = false;
            if !self.due {
                self.delay = self.wish.max_delay;
            }
        }
    }

    /// Said again under a new number, with what is wished for then.
    pub(crate) fn lost(&mut self, seq: u64) {
        if self.pending && seq + 1 == self.next_seq {
            (self.due, self.pending) = (true, false);
        }
    }

    /// Whether the last packet of what there is to send asks for its ACK, instead of waiting for the timer: only where
    /// ACKs were made rare, and once per round trip, lest a trickle of small messages has every packet acknowledged.
    pub(crate) fn takes_tail(&mut self, now: Time, srtt: Duration) -> bool {
        let takes = self.are_heeded() && self.wish.threshold > 1 && now >= self.immediate_at;
        if takes {
            self.immediate_at = now + srtt;
        }
        takes
    }
}

/// By more than half: smaller changes are not worth a frame.
const fn differs(new: u64, old: u64) -> bool {
    new * 2 > old * 3 || old * 2 > new * 3
}

fn micros(delay: Duration) -> u64 {
    u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
