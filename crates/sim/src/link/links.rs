//! Several links side by side, and the bottleneck that some of them may share.

use super::{Arrival, Cause, Corruption, Fault, Link, LinkSpec, Schedule, Stats, Way, Ways};
use mpquic_base::{Ecn, Rng, Time};

/// A bottleneck that packets enter after they have crossed their own link, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Neck {
    pub spec: LinkSpec,
    /// Indices of the links that lead into it.
    pub links: Vec<usize>,
}

/// A packet that has crossed its link and, if there is one, the bottleneck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<T> {
    pub link: usize,
    pub way: Way,
    pub arrival: Arrival<T>,
}

/// An item within the neck; it remembers what its link did to it.
#[derive(Clone, Debug)]
struct Tagged<T> {
    link: usize,
    item: T,
    corrupted: Option<Corruption>,
}

#[derive(Debug)]
pub struct Links<T> {
    links: Vec<Link<T>>,
    neck: Option<(Link<Tagged<T>>, Vec<usize>)>,
}

impl<T: Clone> Links<T> {
    /// The schedule's times count from `origin`. One seed and one sequence of calls give one sequence of results.
    #[must_use]
    pub fn new(
        specs: &[LinkSpec],
        neck: Option<&Neck>,
        schedule: &Schedule,
        origin: Time,
        seed: u64,
    ) -> Self {
        let mut rng = Rng::from_number(seed);
        let make = |(i, spec)| Link::new(spec, faults_of(schedule, i), origin, &mut rng);
        let links = specs.iter().enumerate().map(make).collect();
        let neck = neck.map(|n| (Link::new(&n.spec, Vec::new(), origin, &mut rng), n.links.clone()));
        Self { links, neck }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Sends over one link. `Some` says why the packet is gone already, or that there is no such link.
    pub fn push(
        &mut self,
        link: usize,
        way: Way,
        now: Time,
        item: T,
        bytes: usize,
        ecn: Ecn,
    ) -> Option<Cause> {
        match self.links.get_mut(link) {
            Some(link) => link.push(way, now, item, bytes, ecn),
            None => Some(Cause::Cut),
        }
    }

    /// The earliest packet that has arrived anywhere by `now`.
    pub fn pop(&mut self, now: Time) -> Option<Delivery<T>> {
        self.squeeze(now);
        let mut first: Option<(Time, Way, Option<usize>)> = None;
        let mut consider = |due: Option<Time>, way, source| {
            if let Some(at) = due
                && first.is_none_or(|(soonest, ..)| at < soonest)
            {
                first = Some((at, way, source));
            }
        };
        for way in Way::BOTH {
            for (i, link) in self.links.iter_mut().enumerate() {
                // What a member of the neck has delivered by now is in the neck already.
                consider(link.due(way, now), way, Some(i));
            }
            if let Some((neck, _)) = &mut self.neck {
                consider(neck.due(way, now), way, None);
            }
        }
        let (_, way, source) = first?;
        match source {
            Some(link) => Some(Delivery { link, way, arrival: self.links[link].pop(way, now)? }),
            None => self.pop_neck(way, now),
        }
    }

    /// When to look again; `None` while nothing is on the way.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let links = self.links.iter().fold(None, |soonest, link| Time::soonest(soonest, link.next()));
        Time::soonest(links, self.neck.as_ref().and_then(|(neck, _)| neck.next()))
    }

    /// One link, for its cuts, conditions and rebindings.
    pub fn link(&mut self, index: usize) -> Option<&mut Link<T>> {
        self.links.get_mut(index)
    }

    pub fn cut(&mut self, link: usize, now: Time, ways: Ways) {
        if let Some(link) = self.advanced(link, now) {
            link.cut(now, ways);
        }
    }

    pub fn restore(&mut self, link: usize, now: Time, ways: Ways) {
        if let Some(link) = self.advanced(link, now) {
            link.restore(now, ways);
        }
    }

    /// Puts `schedule` in the place of the one before; its times count from `now`.
    pub fn reschedule(&mut self, now: Time, schedule: &Schedule) {
        self.squeeze(now);
        for (i, link) in self.links.iter_mut().enumerate() {
            link.reschedule(now, faults_of(schedule, i));
        }
    }

    /// Ends every fault on every link for good.
    pub fn heal(&mut self, now: Time) {
        self.squeeze(now);
        self.links.iter_mut().for_each(|link| link.heal(now));
        if let Some((neck, _)) = &mut self.neck {
            neck.heal(now);
        }
    }

    /// How many NAT rebindings the schedule brought to `link` since this was last asked.
    pub fn rebinds_due(&mut self, link: usize, now: Time) -> u64 {
        self.links.get_mut(link).map_or(0, |link| link.rebinds_due(now))
    }

    /// Per link, in order.
    #[must_use]
    pub fn stats(&self) -> Vec<Stats> {
        self.links.iter().map(Link::stats).collect()
    }

    #[must_use]
    pub fn neck_stats(&self) -> Option<Stats> {
        self.neck.as_ref().map(|(neck, _)| neck.stats())
    }

    /// The link, after everything that left it by `now` has gone on into the neck.
    fn advanced(&mut self, link: usize, now: Time) -> Option<&mut Link<T>> {
        self.squeeze(now);
        self.links.get_mut(link)
    }

    /// Moves what has crossed the neck's links by `now` into the neck, in the order of arrival.
    fn squeeze(&mut self, now: Time) {
        let Some((neck, members)) = &mut self.neck else { return };
        for way in Way::BOTH {
            loop {
                let due = |i: usize, links: &mut [Link<T>]| Some((links.get_mut(i)?.due(way, now)?, i));
                let Some((at, link)) = members.iter().filter_map(|&i| due(i, &mut self.links)).min() else {
                    break;
                };
                let Some(arrival) = self.links[link].pop(way, now) else { break };
                let Arrival { item, bytes, ecn, corrupted, .. } = arrival;
                neck.push(way, at, Tagged { link, item, corrupted }, bytes, ecn);
            }
        }
    }

    fn pop_neck(&mut self, way: Way, now: Time) -> Option<Delivery<T>> {
        let arrival = self.neck.as_mut()?.0.pop(way, now)?;
        let Arrival { item: tagged, bytes, ecn, at, corrupted } = arrival;
        let Tagged { link, item, corrupted: before } = tagged;
        let arrival = Arrival { item, bytes, ecn, at, corrupted: before.or(corrupted) };
        Some(Delivery { link, way, arrival })
    }
}

fn faults_of(schedule: &Schedule, link: usize) -> Vec<Fault> {
    schedule.faults.iter().filter(|f| f.link == link).cloned().collect()
}
