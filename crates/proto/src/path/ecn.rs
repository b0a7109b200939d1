//! Whether a path and its peer carry ECN, and what the peer's counts say (RFC 9000 §13.4.2, §A.4).
//!
//! Knows counts only; what a mark means for the window is the controller's affair. Nothing but ECT(0) is ever sent.

use mpquic_base::Ecn;
use mpquic_wire::frame::EcnCounts;

/// RFC 9000 §A.4: packets that are marked before anything is known of the path.
const TEST_PACKETS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first packets are marked.
    Testing,
    /// Their fate is awaited; nothing more is marked.
    Unknown,
    Capable,
    Failed,
}

#[derive(Debug)]
pub(crate) struct EcnTest {
    state: State,
    /// Marked packets since the test began, and those of them declared lost.
    tested: u64,
    lost: u64,
    /// Marked packets in all, and what the peer reported of them.
    sent: u64,
    seen: EcnCounts,
}

/// What one ACK frame said besides its counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EcnReport {
    pub(crate) counts: Option<EcnCounts>,
    /// Marked packets among the newly acknowledged.
    pub(crate) acked: u64,
    /// The ACK is not overtaken by one that came before it.
    pub(crate) newest: bool,
}

impl EcnTest {
    pub(crate) fn new(enabled: bool) -> Self {
        let state = if enabled { State::Testing } else { State::Failed };
        Self { state, tested: 0, lost: 0, sent: 0, seen: EcnCounts::default() }
    }

    /// Another path lies behind the same id, or it answers again: what it carries has to be found out anew.
    pub(crate) fn restart(&mut self, moved: bool) {
        if self.state == State::Unknown || (moved && self.state == State::Capable) {
            self.state = State::Testing;
            self.tested = 0;
            self.lost = 0;
        }
    }

    /// How to mark the next packets.
    pub(crate) const fn mark(&self) -> Ecn {
        match self.state {
            State::Testing | State::Capable => Ecn::Ect0,
            State::Unknown | State::Failed => Ecn::NotEct,
        }
    }

    pub(crate) const fn on_sent(&mut self, packets: u64) {
        self.sent += packets;
        self.tested += packets;
        if matches!(self.state, State::Testing) && self.tested >= TEST_PACKETS {
            self.state = State::Unknown;
        }
    }

    /// A probe timeout during the test: from now on without marks, in case that it is them.
    pub(crate) fn on_pto(&mut self) {
        if self.state == State::Testing && self.tested > 0 {
            self.state = State::Unknown;
        }
    }

    /// RFC 9000 §13.4.2.1: a path that loses every marked packet is taken for one that drops them.
    pub(crate) fn on_lost(&mut self, packets: u64) {
        self.lost += packets;
        if self.state == State::Unknown && self.lost >= self.tested {
            self.state = State::Failed;
        }
    }

    /// How many packets were newly reported as marked CE.
    pub(crate) fn on_ack(&mut self, report: EcnReport) -> u64 {
        // RFC 9000 §13.4.2.1: an ACK that does not raise the largest acknowledged may be an old one.
        if self.state == State::Failed || !report.newest {
            return 0;
        }
        let Some(new) = report.counts.or((report.acked == 0).then_some(self.seen)) else {
            return self.fail();
        };
        let grown = |new: u64, old: u64| new.checked_sub(old);
        let (Some(ect0), Some(ce)) = (grown(new.ect0, self.seen.ect0), grown(new.ce, self.seen.ce)) else {
            return self.fail();
        };
        let missing = ect0.saturating_add(ce) < report.acked;
        let invented = new.ect1 > 0 || new.ect0.saturating_add(new.ce) > self.sent;
        if missing || invented {
            return self.fail();
        }
        self.seen = new;
        if report.acked > 0 {
            self.state = State::Capable;
        }
        ce
    }

    fn fail(&mut self) -> u64 {
        self.state = State::Failed;
        0
    }

    pub(crate) fn is_capable(&self) -> bool {
        self.state == State::Capable
    }
}

#[cfg(test)]
mod tests {
    use super::{EcnReport, EcnTest, TEST_PACKETS};
    use mpquic_base::Ecn;
    use mpquic_wire::frame::EcnCounts;

    fn report(acked: u64, ect0: u64, ce: u64) -> EcnReport {
        EcnReport { counts: Some(EcnCounts { ect0, ect1: 0, ce }), acked, newest: true }
    }

    fn tested() -> EcnTest {
        let mut ecn = EcnTest::new(true);
        ecn.on_sent(TEST_PACKETS);
        ecn
    }

    #[test]
    fn ten_packets_are_marked_and_then_none_until_the_peer_has_reported_them() {
        let mut ecn = EcnTest::new(true);
        for _ in 0..TEST_PACKETS {
            assert_eq!(ecn.mark(), Ecn::Ect0);
            ecn.on_sent(1);
        }
        assert_eq!(ecn.mark(), Ecn::NotEct);
        assert_eq!(ecn.on_ack(report(3, 3, 0)), 0);
        assert!(ecn.is_capable());
        assert_eq!(ecn.mark(), Ecn::Ect0);
    }

    #[test]
    fn an_ack_of_marked_packets_without_counts_ends_the_marking() {
        let mut ecn = tested();
        ecn.on_ack(EcnReport { counts: None, acked: 1, newest: true });
        assert_eq!(ecn.mark(), Ecn::NotEct);
        ecn.on_ack(report(1, 2, 0));
        assert!(!ecn.is_capable(), "for good");
    }

    #[test]
    fn an_ack_of_unmarked_packets_needs_no_counts() {
        let mut ecn = tested();
        ecn.on_ack(report(1, 1, 0));
        ecn.on_ack(EcnReport { counts: None, acked: 0, newest: true });
        assert!(ecn.is_capable());
    }

    #[test]
    fn counts_that_miss_a_packet_or_shrink_or_exceed_what_was_sent_end_the_marking() {
        for bad in [report(3, 4, 0), report(0, 1, 0), report(3, TEST_PACKETS, 1)] {
            let mut ecn = tested();
            ecn.on_ack(report(2, 2, 0));
            ecn.on_ack(bad);
            assert!(!ecn.is_capable(), "{bad:?}");
        }
        let mut ecn = tested();
        let counts = Some(EcnCounts { ect0: 0, ect1: 2, ce: 0 });
        ecn.on_ack(EcnReport { counts, acked: 0, newest: true });
        assert_eq!(ecn.mark(), Ecn::NotEct, "nobody sent ECT(1)");
    }

    #[test]
    fn an_overtaken_ack_is_not_judged() {
        let mut ecn = tested();
        ecn.on_ack(report(5, 5, 0));
        ecn.on_ack(EcnReport { newest: false, ..report(1, 3, 0) });
        assert!(ecn.is_capable());
    }

    #[test]
    fn congestion_marks_are_reported_once_and_count_as_arrivals() {
        let mut ecn = tested();
        assert_eq!(ecn.on_ack(report(4, 1, 3)), 3);
        assert_eq!(ecn.on_ack(report(1, 2, 3)), 0);
        assert_eq!(ecn.on_ack(report(2, 2, 5)), 2);
        assert!(ecn.is_capable());
    }

    #[test]
    fn a_path_that_loses_every_marked_packet_gets_no_more() {
        let mut ecn = tested();
        ecn.on_lost(TEST_PACKETS - 1);
        ecn.restart(false);
        assert_eq!(ecn.mark(), Ecn::Ect0, "not all of them");
        let mut ecn = tested();
        ecn.on_lost(TEST_PACKETS);
        ecn.restart(true);
        assert_eq!(ecn.mark(), Ecn::NotEct);
    }

    #[test]
    fn a_moved_path_is_tested_again_and_the_counts_go_on() {
        let mut ecn = tested();
        ecn.on_ack(report(10, 10, 0));
        ecn.restart(true);
        assert!(!ecn.is_capable());
        ecn.on_sent(2);
        ecn.on_ack(report(2, 12, 0));
        assert!(ecn.is_capable());
    }
}
