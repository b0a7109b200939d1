//! RTT samples by the path that an ACK took. The rest of recovery is tested in simulated worlds.

use super::{AckMeta, Fates, Recovery, Space};
use crate::space::Sent;
use mpquic_base::{Duration, Rng, Time};
use mpquic_policy::cc;

struct Bench {
    recovery: Recovery,
    space: Space,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let controller = (cc::ALL[0].build)(&cc::ALL[0].defaults());
        let recovery = Recovery::new(Duration::from_millis(333), controller, true);
        Self { recovery, space: Space::new(&mut Rng::from_number(1)), now: Time::from_millis(1) }
    }

    /// One packet goes out and is acknowledged after `rtt`.
    fn round(&mut self, rtt: u64, same_path: bool) {
        let pn = self.space.sent.next_pn();
        self.recovery.on_sent(&mut self.space, Sent::new(self.now, 1200, true, true), &[]);
        self.now += Duration::from_millis(rtt);
        let meta = AckMeta {
            now: self.now,
            largest: pn,
            delay: Duration::ZERO,
            same_path,
            max_ack_delay: Duration::ZERO,
        };
        let acked = core::iter::once(pn..pn + 1);
        self.recovery.on_ack(&mut self.space, meta, acked, &mut Fates::default()).unwrap();
    }

    fn rtt(&self) -> (u64, u64) {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap();
        (millis(self.recovery.rtt.smoothed()), millis(self.recovery.rtt.min()))
    }
}

#[test]
fn a_peer_that_acknowledges_over_another_path_alone_still_yields_an_rtt() {
    let mut bench = Bench::new();
    bench.round(80, false);
    assert_eq!(bench.rtt(), (80, 80));
}

#[test]
fn acks_over_another_path_do_not_disturb_samples_that_come_straight_back() {
    let mut bench = Bench::new();
    bench.round(20, true);
    bench.round(300, false);
    assert_eq!(bench.rtt(), (20, 20));
}

#[test]
fn a_new_way_back_has_a_new_minimum() {
    let mut bench = Bench::new();
    bench.round(20, true);
    bench.now += Duration::from_secs(2);
    bench.round(300, false);
    assert_eq!(bench.rtt().1, 300, "the peer changed its way of acknowledging");
    bench.round(20, true);
    assert_eq!(bench.rtt().1, 20);
}
