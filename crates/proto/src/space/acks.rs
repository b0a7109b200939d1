//! What was received and must be acknowledged.

use crate::ack_frequency::AckRules;
use mpquic_base::{Duration, Ecn, RangeSet, Time};
use mpquic_wire::frame::EcnCounts;

/// Ranges kept for ACK frames; older ones are forgotten, newest kept (RFC 9000 §13.2.3).
const RANGES_MAX: usize = 256;
/// With this many ranges every packet is acknowledged at once, so that none is forgotten unreported.
const RANGES_MANY: usize = RANGES_MAX / 2;

#[derive(Debug)]
pub(crate) struct AckQueue {
    received: RangeSet,
    /// Everything below counts as received: it fell out of the ranges or the peer knows that we have it.
    floor: u64,
    largest_at: Time,
    /// Ack-eliciting packets received since the last ACK was sent.
    unacked: u32,
    due_at: Option<Time>,
    /// Numbers below this one were reported, or were missing from a report.
    reported: u64,
    ecn: EcnCounts,
    /// The newest packet to arrive was marked CE.
    marked: bool,
}

impl AckQueue {
    pub(crate) fn new() -> Self {
        Self {
            received: RangeSet::new(),
            floor: 0,
            largest_at: Time::ZERO,
            unacked: 0,
            due_at: None,
            reported: 0,
            ecn: EcnCounts::default(),
            marked: false,
        }
    }

    pub(crate) fn largest(&self) -> Option<u64> {
        self.received.max()
    }

    /// RFC 9000 §12.3: a number seen before must not be acted on again.
    pub(crate) fn is_duplicate(&self, pn: u64) -> bool {
        pn < self.floor || self.received.contains(pn)
    }

    /// Records a packet whose frames were all taken in. Without `rules` its ACK is due at once (Initial, Handshake).
    pub(crate) fn on_packet(
        &mut self,
        now: Time,
        pn: u64,
        eliciting: bool,
        ecn: Ecn,
        rules: Option<AckRules>,
    ) {
        let previous = self.largest();
        self.received.insert(pn..pn + 1);
        if self.received.len() > RANGES_MAX
            && let Some(oldest) = self.received.pop_first()
        {
            self.floor = self.floor.max(oldest.end);
        }
        match ecn {
            Ecn::NotEct => {}
            Ecn::Ect0 => self.ecn.ect0 += 1,
            Ecn::Ect1 => self.ecn.ect1 += 1,
            Ecn::Ce => self.ecn.ce += 1,
        }
        let was_marked = core::mem::replace(&mut self.marked, ecn == Ecn::Ce);
        let newest = previous.is_none_or(|largest| pn > largest);
        if newest {
            self.largest_at = now;
        }
        if !eliciting {
            return;
        }
        self.unacked += 1;
        // RFC 9000 §13.2.1: at once if marked CE; for those who want few ACKs (draft-ietf-quic-ack-frequency §6.3), if
        // the packet before it was not.
        let alarms = |rules: &AckRules| ecn == Ecn::Ce && !(rules.threshold > 1 && was_marked);
        let waits = rules.filter(|rules| {
            self.unacked <= rules.threshold
                && !alarms(rules)
                && !self.is_out_of_order(pn, previous, rules.reordering)
        });
        let due = waits.map_or(now, |rules| now + rules.delay);
        self.due_at = Some(self.due_at.map_or(due, |at| at.min(due)));
    }

    /// Whether a packet came so far out of order that the peer should know at once.
    fn is_out_of_order(&self, pn: u64, previous: Option<u64>, threshold: u64) -> bool {
        if threshold == 1 {
            // RFC 9000 §13.2.1: behind another one, or after a gap.
            return previous.is_some_and(|largest| pn != largest + 1);
        }
        if self.received.len() >= RANGES_MANY {
            return true;
        }
        if threshold == 0 {
            return false;
        }
        // draft-ietf-quic-ack-frequency §6.2: its loss was reported already, or that of another one can be.
        let declared = pn.saturating_add(threshold) < self.reported;
        let from = self.reported.saturating_sub(threshold).max(self.floor);
        let largest = self.received.max().unwrap_or(pn);
        declared
            || self.first_missing(from).is_some_and(|missing| largest.saturating_sub(missing) >= threshold)
    }

    /// The smallest number from `from` on that is missing below the largest.
    fn first_missing(&self, from: u64) -> Option<u64> {
        let range = self.received.first_touching(from)?;
        let missing = if range.start <= from { range.end } else { from };
        (Some(missing) < self.received.max()).then_some(missing)
    }

    /// When an ACK must go out, if ack-eliciting packets wait for one.
    pub(crate) const fn due_at(&self) -> Option<Time> {
        self.due_at
    }

    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Something ack-eliciting is not yet acknowledged: an ACK may ride along.
    pub(crate) const fn is_pending(&self) -> bool {
        self.due_at.is_some()
    }

    /// The ranges to report, newest first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = core::ops::Range<u64>> + '_ {
        self.received.iter().rev()
    }

    pub(crate) fn delay(&self, now: Time) -> Duration {
        now.since(self.largest_at)
    }

    /// Counts to report, once any mark was ever seen.
    pub(crate) fn ecn(&self) -> Option<EcnCounts> {
        (self.ecn != EcnCounts::default()).then_some(self.ecn)
    }

    /// An ACK that holds everything received so far has been written.
    pub(crate) fn on_ack_sent(&mut self) {
        self.unacked = 0;
        self.due_at = None;
        self.reported = self.received.max().map_or(0, |largest| largest + 1);
    }

    /// The peer has an ACK that reported `largest`: older numbers need not be reported again.
    pub(crate) fn on_ack_acked(&mut self, largest: u64) {
        // The largest itself stays, so that an ACK is never empty.
        self.received.remove_below(largest);
        self.floor = self.floor.max(largest);
    }
}

#[cfg(test)]
mod tests;
