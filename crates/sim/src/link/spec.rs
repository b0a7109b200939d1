//! What a link is made of: plain numbers that do not change while packets pass.
//!
//! A [`LinkSpec`] is two [`DirectionSpec`]s. What changes with time (cuts, brownouts, rate traces) is laid
//! over these numbers by the schedule.

use super::{Trace, Way};
use mpquic_base::{Duration, Rate};

/// The smallest queue that [`Limit::Rule`] gives, in bytes.
pub const MIN_QUEUE_BYTES: u64 = 64 * 1024;
/// The size of the largest packet on an ordinary Internet link, IP header included.
pub const DEFAULT_MTU: usize = 1500;
/// RFC 8289 §4.3 and §4.4: CoDel's recommended target and interval.
const CODEL_TARGET: Duration = Duration::from_millis(5);
const CODEL_INTERVAL: Duration = Duration::from_millis(100);
/// netem's default limit: packets waiting and in flight together.
const NETEM_PACKETS: usize = 1000;

/// Both directions of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSpec {
    pub up: DirectionSpec,
    pub down: DirectionSpec,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionSpec {
    /// Capacity, counted in the bytes that the driver states with each packet. Zero: no limit.
    pub rate: Rate,
    pub delay: Duration,
    pub jitter: Jitter,
    pub loss: Loss,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    pub reorder: Option<Reorder>,
    /// Probability that one bit of a packet is flipped.
    pub corrupt: f64,
    pub queue: Queue,
    /// Packets of more bytes than this vanish.
    pub mtu: usize,
    pub trace: Option<Trace>,
}

/// Normally distributed delay variation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    pub deviation: Duration,
    /// Every packet draws for itself and may overtake, as in netem. Otherwise packets keep their order and the
    /// delay wanders smoothly, so that its mean and deviation stay what the spec says at any packet rate.
    pub reorders: bool,
}

/// How packets vanish on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    #[default]
    None,
    /// Each packet alone, with this probability.
    Bernoulli(f64),
    /// Two states that a packet may toggle: `enter` from good to bad, `leave` back; `good` and `bad` are the
    /// loss probabilities within them.
    GilbertElliott { enter: f64, leave: f64, good: f64, bad: f64 },
}

/// A share `p` of the packets arrives `extra` later than its neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    pub p: f64,
    pub extra: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queue {
    pub limit: Limit,
    pub discipline: Discipline,
}

/// How much may wait for the wire; the packet being sent is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// 1.5 x rate x (2 x delay), at least 64 KB.
    #[default]
    Rule,
    Bytes(u64),
    /// What the present rate carries in this time.
    Time(Duration),
    Packets(usize),
    /// Packets waiting, being sent and in flight together, which is how netem counts.
    PacketsInAll(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Discipline {
    #[default]
    TailDrop,
    Codel(CodelSpec),
}

/// RFC 8289. With `ecn`, packets that say they understand it are marked instead of dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodelSpec {
    pub target: Duration,
    pub interval: Duration,
    pub ecn: bool,
}

impl Default for CodelSpec {
    fn default() -> Self {
        Self { target: CODEL_TARGET, interval: CODEL_INTERVAL, ecn: false }
    }
}

impl DirectionSpec {
    /// A clean direction with the default queue.
    #[must_use]
    pub fn new(rate: Rate, delay: Duration) -> Self {
        Self {
            rate,
            delay,
            jitter: Jitter::default(),
            loss: Loss::None,
            duplicate: 0.0,
            reorder: None,
            corrupt: 0.0,
            queue: Queue::default(),
            mtu: DEFAULT_MTU,
            trace: None,
        }
    }

    /// What [`Limit::Rule`] stands for here.
    #[must_use]
    pub fn queue_bytes_by_rule(&self) -> u64 {
        // 1.5 x (2 x delay) = 3 x delay.
        self.rate.bytes_in(self.delay.saturating_mul(3)).max(MIN_QUEUE_BYTES)
    }
}

impl LinkSpec {
    /// Both directions alike and clean, with the default queue.
    #[must_use]
    pub fn new(rate: Rate, delay: Duration) -> Self {
        let direction = DirectionSpec::new(rate, delay);
        Self { up: direction.clone(), down: direction }
    }

    #[must_use]
    pub const fn direction(&self, way: Way) -> &DirectionSpec {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Changes both directions alike.
    #[must_use]
    pub fn both(mut self, mut change: impl FnMut(&mut DirectionSpec)) -> Self {
        change(&mut self.up);
        change(&mut self.down);
        self
    }

    #[must_use]
    pub fn jitter(self, deviation: Duration) -> Self {
        self.both(|d| d.jitter.deviation = deviation)
    }

    #[must_use]
    pub fn loss(self, loss: Loss) -> Self {
        self.both(|d| d.loss = loss)
    }

    #[must_use]
    pub fn queue(self, limit: Limit) -> Self {
        self.both(|d| d.queue.limit = limit)
    }

    #[must_use]
    pub fn codel(self, codel: CodelSpec) -> Self {
        self.both(|d| d.queue.discipline = Discipline::Codel(codel))
    }

    #[must_use]
    pub fn mtu(self, mtu: usize) -> Self {
        self.both(|d| d.mtu = mtu)
    }

    /// The same link as netem would do it: jitter reorders, and 1000 packets fit into queue and wire together.
    #[must_use]
    pub fn as_netem(self) -> Self {
        self.both(|d| {
            d.jitter.reorders = true;
            d.queue.limit = Limit::PacketsInAll(NETEM_PACKETS);
        })
    }
}
