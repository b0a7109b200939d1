//! The largest UDP payload of one path, searched by probes (RFC 9000 §14.3, RFC 8899).

use mpquic_base::{Duration, Time};

/// RFC 9000 §14: what every QUIC path must carry.
pub(crate) const MTU_BASE: u16 = 1200;
/// RFC 8899 §5.1.4: lost this often, a size is taken to be too large.
const PROBES_MAX: u8 = 3;
/// The search ends when it is this close (bytes).
const PRECISION: u16 = 20;
/// RFC 8899 §5.1.1: after this time a larger size is tried again.
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Large packets lost in a row, with small ones arriving, that prove a black hole.
const BLACK_HOLE_LOSSES: u8 = 6;
/// RFC 9000 §18.2: what fits into a UDP datagram.
const PAYLOAD_MAX: u16 = 65_527;

#[derive(Debug)]
pub(crate) struct MtuSearch {
    current: u16,
    /// Nothing at or above this size got through.
    too_large: u16,
    ceiling: u16,
    probing: bool,
    failures: u8,
    raise_at: Option<Time>,
    large_lost: u8,
    small_acked: bool,
}

impl MtuSearch {
    /// `ceiling` is the largest payload worth trying: ours, and the peer's max_udp_payload_size.
    pub(crate) fn new(ceiling: u16) -> Self {
        let ceiling = ceiling.clamp(MTU_BASE, PAYLOAD_MAX);
        Self {
            current: MTU_BASE,
            too_large: ceiling + 1,
            ceiling,
            probing: false,
            failures: 0,
            raise_at: None,
            large_lost: 0,
            small_acked: false,
        }
    }

    /// The peer's limit became known.
    pub(crate) fn set_ceiling(&mut self, ceiling: u16) {
        self.ceiling = ceiling.clamp(MTU_BASE, PAYLOAD_MAX);
        self.too_large = self.ceiling + 1;
    }

    pub(crate) const fn deadline(&self) -> Option<Time> {
        self.raise_at
    }

    pub(crate) const fn current(&self) -> u16 {
        self.current
    }

    /// The size to probe now, if the search goes on and no probe is under way.
    pub(crate) fn wanted(&self) -> Option<u16> {
        let untried = self.too_large == self.ceiling + 1;
        if self.probing || self.current >= self.ceiling {
            return None;
        }
        if untried {
            // The ceiling first: on most paths the search is over after one probe.
            return Some(self.ceiling);
        }
        (self.too_large.saturating_sub(self.current) > PRECISION)
            .then(|| self.current.midpoint(self.too_large))
    }

    pub(crate) const fn on_probe_sent(&mut self) {
        self.probing = true;
    }

    pub(crate) fn on_probe_acked(&mut self, size: u16) {
        self.probing = false;
        self.failures = 0;
        self.large_lost = 0;
        self.current = self.current.max(size);
        if self.current >= self.too_large {
            // It was called lost too often, and came through after all: so may everything up to the ceiling.
            self.too_large = self.ceiling + 1;
        }
    }

    pub(crate) fn on_probe_lost(&mut self, now: Time, size: u16) {
        self.probing = false;
        self.failures += 1;
        if self.failures >= PROBES_MAX && size > self.current {
            self.failures = 0;
            self.too_large = self.too_large.min(size);
            self.raise_at = Some(now + RAISE_AFTER);
        }
    }

    /// The host itself cannot send that size on this path.
    pub(crate) fn on_probe_refused(&mut self, now: Time, size: u16) {
        self.failures = PROBES_MAX - 1;
        self.on_probe_lost(now, size);
    }

    /// A probe never left, or nobody waits for it any more.
    pub(crate) const fn on_probe_taken_back(&mut self) {
        self.probing = false;
    }

    /// The host itself no longer sends packets of that size here: back to the base.
    pub(crate) fn on_refused(&mut self, now: Time, size: u16) {
        if size > MTU_BASE && size <= self.current {
            self.too_large = self.too_large.min(size);
            self.current = MTU_BASE;
            self.large_lost = 0;
            self.raise_at = Some(now + RAISE_AFTER);
        }
    }

    pub(crate) fn on_acked(&mut self, size: u16) {
        if size > MTU_BASE {
            self.large_lost = 0;
            self.small_acked = false;
        } else if self.large_lost > 0 {
            self.small_acked = true;
        }
    }

    /// A packet that was no probe is lost; true if the size must fall back to the base.
    pub(crate) fn on_lost(&mut self, now: Time, size: u16) -> bool {
        if size > MTU_BASE && size <= self.current {
            self.large_lost = self.large_lost.saturating_add(1);
        }
        let black_hole = self.large_lost >= BLACK_HOLE_LOSSES && self.small_acked;
        if black_hole {
            self.too_large = self.current;
            self.current = MTU_BASE;
            self.large_lost = 0;
            self.small_acked = false;
            self.raise_at = Some(now + RAISE_AFTER);
        }
        black_hole
    }

    /// Searches upwards again when the raise timer has run out.
    pub(crate) fn expire(&mut self, now: Time) {
        if self.raise_at.is_some_and(|at| at <= now) {
            self.raise_at = None;
            self.too_large = self.ceiling + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MTU_BASE, MtuSearch, PRECISION};
    use mpquic_base::{Duration, Rng, Time};

    fn search(real: u16, ceiling: u16) -> (u16, usize) {
        let mut mtu = MtuSearch::new(ceiling);
        let mut probes = 0;
        while let Some(size) = mtu.wanted() {
            probes += 1;
            mtu.on_probe_sent();
            assert!(mtu.wanted().is_none(), "one probe at a time");
            if size <= real {
                mtu.on_probe_acked(size);
            } else {
                mtu.on_probe_lost(Time::ZERO, size);
            }
            assert!(probes < 100, "the search ends");
        }
        (mtu.current(), probes)
    }

    #[test]
    fn the_search_finds_every_mtu_within_its_precision() {
        for real in (MTU_BASE..=9000).step_by(37) {
            for ceiling in [1200, 1452, 9000] {
                let (found, _) = search(real, ceiling);
                assert!(found <= real.min(ceiling), "{real} {ceiling} {found}");
                assert!(found + PRECISION >= real.min(ceiling), "{real} {ceiling} {found}");
            }
        }
        assert_eq!(search(1500, 1452), (1452, 1), "an ordinary path needs one probe");
    }

    #[test]
    fn a_size_that_the_host_refuses_is_not_tried_again() {
        let mut mtu = MtuSearch::new(1452);
        mtu.on_probe_sent();
        mtu.on_probe_refused(Time::ZERO, 1452);
        assert_eq!(mtu.wanted(), Some(1326));
    }

    #[test]
    fn a_probe_that_was_given_up_and_arrives_late_counts_and_the_search_goes_on() {
        let mut mtu = MtuSearch::new(1452);
        (0..3).for_each(|_| mtu.on_probe_lost(Time::ZERO, 1452));
        assert_eq!(mtu.wanted(), Some(1326));
        mtu.on_probe_acked(1452);
        assert_eq!((mtu.current(), mtu.wanted()), (1452, None));
        let mut mtu = MtuSearch::new(9000);
        (0..3).for_each(|_| mtu.on_probe_lost(Time::ZERO, 9000));
        (0..3).for_each(|_| mtu.on_probe_lost(Time::ZERO, 5100));
        mtu.on_probe_acked(5100);
        assert_eq!((mtu.current(), mtu.wanted()), (5100, Some(9000)));
    }

    #[test]
    fn no_order_of_events_breaks_the_search() {
        for seed in 0..2000 {
            let mut rng = Rng::from_number(seed);
            let mut mtu = MtuSearch::new(1200 + u16::try_from(rng.below(8000)).unwrap());
            let mut sizes = vec![1200, 1452];
            let mut now = Time::ZERO;
            for step in 0..60 {
                sizes.extend(mtu.wanted());
                let size = sizes[usize::try_from(rng.below(sizes.len() as u64)).unwrap()];
                now += Duration::from_secs(rng.below(200));
                match rng.below(9) {
                    0 | 1 => mtu.on_probe_sent(),
                    2 => mtu.on_probe_acked(size.min(mtu.ceiling)),
                    3 => mtu.on_probe_lost(now, size),
                    4 => mtu.on_probe_refused(now, size),
                    5 => mtu.on_refused(now, size),
                    6 => mtu.on_probe_taken_back(),
                    7 => drop(mtu.on_lost(now, size)),
                    _ => mtu.expire(now),
                }
                mtu.on_acked(if rng.chance(0.5) { 60 } else { size });
                let why = format!("seed {seed} step {step}: {mtu:?}");
                assert!((MTU_BASE..=mtu.ceiling).contains(&mtu.current()), "{why}");
                assert!(mtu.wanted().is_none_or(|w| w > mtu.current() && w <= mtu.ceiling), "{why}");
            }
        }
    }

    #[test]
    fn a_black_hole_falls_back_and_plain_loss_does_not() {
        let mut mtu = MtuSearch::new(1452);
        mtu.on_probe_acked(1452);
        assert!((0..20).all(|_| !mtu.on_lost(Time::ZERO, 1452)), "an outage is no black hole");
        mtu.on_acked(60);
        assert!(mtu.on_lost(Time::ZERO, 1452));
        assert_eq!(mtu.current(), MTU_BASE);
        assert!(mtu.wanted().is_some_and(|size| size < 1452));
    }
}
