//! A link between two hosts, as a model that somebody else's clock drives.
//!
//! Owns rate, queue, delay, jitter, loss, reordering, duplication, corruption, MTU, cuts and their schedule.
//! Refuses to know what an item is, who sends it, and the time: tests drive it with virtual time, the
//! emulator with real time, and both see the same link. One seed decides everything random.
//!
//! [`Direction`] is one way of one link, [`Link`] two of them under a schedule, [`Links`] several links that
//! may share a bottleneck behind them.

mod codel;
mod direction;
mod links;
mod noise;
mod schedule;
mod spec;
mod stats;

pub use direction::{Arrival, Conditions, Corruption, Direction};
pub use links::{Delivery, Links, Neck};
pub use schedule::{Effect, Fault, Schedule, Trace, Ways, When};
pub use spec::{
    CodelSpec, DEFAULT_MTU, DirectionSpec, Discipline, Jitter, Limit, LinkSpec, Loss, MIN_QUEUE_BYTES, Queue,
    Reorder,
};
pub use stats::{Cause, DirectionStats, Drops};

use mpquic_base::{Duration, Ecn, Rng, Time};
use schedule::Timeline;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// A link's both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub up: DirectionStats,
    pub down: DirectionStats,
}

/// Both directions of a link and what is going to happen to it.
#[derive(Debug)]
pub struct Link<T> {
    up: Direction<T>,
    down: Direction<T>,
    timeline: Timeline,
    /// How many of the timeline's faults are the rate traces of the spec; they come first.
    traces: usize,
    /// What the timeline's times count from.
    origin: Time,
    next_edge: Option<Time>,
    /// Cut by the driver, besides what the schedule cuts.
    cut_up: bool,
    cut_down: bool,
    rebinds_told: u64,
}

impl<T: Clone> Link<T> {
    /// `faults` are those of this link, whatever index they carry; their times count from `origin`.
    #[must_use]
    pub fn new(spec: &LinkSpec, faults: Vec<Fault>, origin: Time, rng: &mut Rng) -> Self {
        let traces = Way::BOTH.into_iter().filter_map(|way| {
            let effect = Effect::Rates(spec.direction(way).trace.clone()?);
            Some(Fault { link: 0, ways: Ways::Only(way), when: When::From(Duration::ZERO), effect })
        });
        let mut all: Vec<Fault> = traces.collect();
        let traces = all.len();
        all.extend(faults);
        let mut link = Self {
            up: Direction::new(spec.up.clone(), rng.fork()),
            down: Direction::new(spec.down.clone(), rng.fork()),
            timeline: Timeline::new(all),
            traces,
            origin,
            next_edge: None,
            cut_up: false,
            cut_down: false,
            rebinds_told: 0,
        };
        link.apply(origin);
        link
    }

    pub fn push(&mut self, way: Way, now: Time, item: T, bytes: usize, ecn: Ecn) -> Option<Cause> {
        self.catch_up(now);
        self.direction_mut(way).push(now, item, bytes, ecn)
    }

    pub fn pop(&mut self, way: Way, now: Time) -> Option<Arrival<T>> {
        self.catch_up(now);
        self.direction_mut(way).pop(now)
    }

    /// When the packet that `pop` would return arrived.
    pub fn due(&mut self, way: Way, now: Time) -> Option<Time> {
        self.catch_up(now);
        self.direction_mut(way).due(now)
    }

    /// When to look again; `None` while the link is empty.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let event = Time::soonest(self.up.next(), self.down.next())?;
        // A change may bring an arrival forward, so it is an event as long as there is something to arrive.
        Time::soonest(Some(event), self.next_edge)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.up.is_empty() && self.down.is_empty()
    }

    pub fn cut(&mut self, now: Time, ways: Ways) {
        self.set_cut(now, ways, true);
    }

    /// Takes back a `cut`; what the schedule cuts stays cut.
    pub fn restore(&mut self, now: Time, ways: Ways) {
        self.set_cut(now, ways, false);
    }

    /// Puts `faults` in the place of those scheduled before. Their times count from `now`, as do those of the spec's
    /// rate traces from here on.
    pub fn reschedule(&mut self, now: Time, faults: Vec<Fault>) {
        self.catch_up(now);
        self.timeline.replace_after(self.traces, faults);
        self.origin = now;
        self.rebinds_told = 0;
        self.apply(now);
    }

    /// Ends every fault for good: cuts, the schedule, and random harm. Rate traces of the spec end as well.
    pub fn heal(&mut self, now: Time) {
        self.catch_up(now);
        self.timeline = Timeline::default();
        self.traces = 0;
        self.rebinds_told = 0;
        self.up.calm(now);
        self.down.calm(now);
        self.set_cut(now, Ways::Both, false);
    }

    /// How many NAT rebindings the schedule brought since this was last asked.
    pub fn rebinds_due(&mut self, now: Time) -> u64 {
        let all = self.timeline.rebinds_by(now.since(self.origin));
        let due = all.saturating_sub(self.rebinds_told);
        self.rebinds_told = all;
        due
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { up: self.up.stats(), down: self.down.stats() }
    }

    /// What holds for `way` at `now`.
    pub fn conditions(&mut self, way: Way, now: Time) -> Conditions {
        self.catch_up(now);
        self.direction_mut(way).conditions()
    }

    fn direction_mut(&mut self, way: Way) -> &mut Direction<T> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn set_cut(&mut self, now: Time, ways: Ways, cut: bool) {
        self.catch_up(now);
        if ways.include(Way::Up) {
            self.cut_up = cut;
        }
        if ways.include(Way::Down) {
            self.cut_down = cut;
        }
        self.apply(now);
    }

    /// Applies every change up to `now`, each at its own time.
    fn catch_up(&mut self, now: Time) {
        while let Some(edge) = self.next_edge
            && edge <= now
        {
            // With nothing inside, only what holds in the end matters.
            self.apply(if self.is_empty() { now } else { edge });
        }
    }

    fn apply(&mut self, at: Time) {
        let t = at.since(self.origin);
        for (direction, way, cut) in
            [(&mut self.up, Way::Up, self.cut_up), (&mut self.down, Way::Down, self.cut_down)]
        {
            let mut conditions = self.timeline.conditions(way, direction.nominal(), t);
            conditions.cut |= cut;
            direction.set(at, conditions);
        }
        self.next_edge = self.timeline.next_edge(t).map(|edge| self.origin + edge);
    }
}

#[cfg(test)]
mod tests;
