//! What changes on links while time passes: cuts, flaps, brownouts, black holes, rebindings, rate traces.
//!
//! A schedule is data. What holds at an instant is a pure function of that instant, so nothing drifts and
//! any moment can be asked about; the only thing to remember is up to when it has been applied.
//! All times count from the origin that the links were made with.

use super::{Conditions, Way};
use mpquic_base::{Duration, Rate};

/// Rates over time. Before the first step the spec's rate holds; the last step holds on, unless it repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Ascending start times.
    pub steps: Vec<(Duration, Rate)>,
    /// Start again after this long.
    pub repeat: Option<Duration>,
}

/// Which directions of a link are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    Both,
    Only(Way),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// From the first instant on, and no longer at the second.
    Between(Duration, Duration),
    From(Duration),
    /// For `lasts` at `first`, and again after every `period`.
    Every {
        first: Duration,
        period: Duration,
        lasts: Duration,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Cut,
    /// Some of the conditions get worse; `None` leaves one as it is.
    Brownout {
        rate: Option<Rate>,
        delay: Option<Duration>,
        loss: Option<super::Loss>,
    },
    /// Larger packets vanish.
    Mtu(usize),
    /// Takes the trace's rates, its times counted from the links' origin.
    Rates(Trace),
    /// The NAT on the link gives out a new port whenever this begins.
    Rebind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Index into the list of links.
    pub link: usize,
    pub ways: Ways,
    pub when: When,
    pub effect: Effect,
}

/// Everything that happens to a set of links.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    pub faults: Vec<Fault>,
}

impl Schedule {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, link: usize, ways: Ways, when: When, effect: Effect) -> Self {
        self.faults.push(Fault { link, ways, when, effect });
        self
    }

    #[must_use]
    pub fn cut(self, link: usize, ways: Ways, from: Duration, to: Duration) -> Self {
        self.with(link, ways, When::Between(from, to), Effect::Cut)
    }

    /// Down for `down` in every `period`, for the first time after one whole period.
    #[must_use]
    pub fn flap(self, link: usize, down: Duration, period: Duration) -> Self {
        self.with(link, Ways::Both, When::Every { first: period, period, lasts: down }, Effect::Cut)
    }

    /// Packets over `mtu` bytes vanish from `after` on.
    #[must_use]
    pub fn black_hole(self, link: usize, mtu: usize, after: Duration) -> Self {
        self.with(link, Ways::Both, When::From(after), Effect::Mtu(mtu))
    }

    #[must_use]
    pub fn rebind(self, link: usize, every: Duration) -> Self {
        let when = When::Every { first: every, period: every, lasts: Duration::ZERO };
        self.with(link, Ways::Both, when, Effect::Rebind)
    }

    #[must_use]
    pub fn rates(self, link: usize, ways: Ways, trace: Trace) -> Self {
        self.with(link, ways, When::From(Duration::ZERO), Effect::Rates(trace))
    }
}

impl Trace {
    fn rate_at(&self, t: Duration) -> Option<Rate> {
        let (_, within) = self.fold(t);
        let begun = self.steps.partition_point(|&(at, _)| at <= within);
        Some(self.steps[begun.checked_sub(1)?].1)
    }

    /// The first change after `t`.
    fn next_edge(&self, t: Duration) -> Option<Duration> {
        let (lap, within) = self.fold(t);
        let begun = self.steps.partition_point(|&(at, _)| at <= within);
        let this_lap = self.steps.get(begun).map(|&(at, _)| lap + at);
        let next_lap = self.lap_time().map(|repeat| lap + repeat);
        earliest(this_lap, next_lap)
    }

    /// When the lap that `t` is in began, and how far into it `t` is.
    fn fold(&self, t: Duration) -> (Duration, Duration) {
        self.lap_time().map_or((Duration::ZERO, t), |repeat| {
            let lap = nanos(t) / nanos(repeat) * nanos(repeat);
            (Duration::from_nanos(lap), Duration::from_nanos(nanos(t) - lap))
        })
    }

    fn lap_time(&self) -> Option<Duration> {
        self.repeat.filter(|r| !r.is_zero() && !self.steps.is_empty())
    }
}

impl Ways {
    #[must_use]
    pub fn include(self, way: Way) -> bool {
        match self {
            Self::Both => true,
            Self::Only(only) => only == way,
        }
    }
}

impl When {
    fn holds_at(self, t: Duration) -> bool {
        match self {
            Self::Between(from, to) => from <= t && t < to,
            Self::From(from) => from <= t,
            Self::Every { first, period, lasts } => {
                first <= t && nanos(t - first) % nanos(period).max(1) < nanos(lasts)
            }
        }
    }

    fn next_edge(self, t: Duration) -> Option<Duration> {
        let later = |edge: Duration| (edge > t).then_some(edge);
        match self {
            Self::Between(from, to) => later(from).or_else(|| later(to)),
            Self::From(from) => later(from),
            Self::Every { first, period, lasts } => later(first).or_else(|| {
                let begun = t - Duration::from_nanos(nanos(t - first) % nanos(period).max(1));
                earliest(later(begun + lasts), Some(begun + period.max(Duration::from_nanos(1))))
            }),
        }
    }

    /// How often this has begun by `t`.
    fn begun_by(self, t: Duration) -> u64 {
        match self {
            Self::Between(from, _) | Self::From(from) => u64::from(from <= t),
            Self::Every { first, .. } if t < first => 0,
            Self::Every { first, period, .. } => nanos(t - first) / nanos(period).max(1) + 1,
        }
    }
}

/// The faults of one link, in the order in which they are laid over one another.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    faults: Vec<Fault>,
}

impl Timeline {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Self { faults }
    }

    /// Keeps the first `kept` faults and has `faults` after them.
    pub(super) fn replace_after(&mut self, kept: usize, faults: Vec<Fault>) {
        self.faults.truncate(kept);
        self.faults.extend(faults);
    }

    /// What holds at `t` for `way`, given what holds without any fault.
    pub(super) fn conditions(&self, way: Way, nominal: Conditions, t: Duration) -> Conditions {
        let mut now = nominal;
        for fault in self.faults.iter().filter(|f| f.ways.include(way) && f.when.holds_at(t)) {
            match &fault.effect {
                Effect::Cut => now.cut = true,
                Effect::Brownout { rate, delay, loss } => {
                    now.rate = rate.unwrap_or(now.rate);
                    now.delay = delay.unwrap_or(now.delay);
                    now.loss = loss.unwrap_or(now.loss);
                }
                Effect::Mtu(mtu) => now.mtu = now.mtu.min(*mtu),
                Effect::Rates(trace) => now.rate = trace.rate_at(t).unwrap_or(now.rate),
                Effect::Rebind => {}
            }
        }
        now
    }

    /// The first instant after `t` at which conditions may change.
    pub(super) fn next_edge(&self, t: Duration) -> Option<Duration> {
        self.faults.iter().fold(None, |soonest, fault| {
            let edge = match &fault.effect {
                Effect::Rebind => None,
                Effect::Rates(trace) => earliest(fault.when.next_edge(t), trace.next_edge(t)),
                _ => fault.when.next_edge(t),
            };
            earliest(soonest, edge)
        })
    }

    /// How many rebindings there have been by `t`.
    pub(super) fn rebinds_by(&self, t: Duration) -> u64 {
        self.faults.iter().filter(|f| f.effect == Effect::Rebind).map(|f| f.when.begun_by(t)).sum()
    }
}

fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
