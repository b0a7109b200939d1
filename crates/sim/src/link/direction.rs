//! One direction of a link: a queue, a serialiser and a wire.
//!
//! Told the time with every call, it catches up with what happened since the last one, so that queue, rate
//! changes and cuts act at their exact instants however rarely it is asked. It carries items of any type and
//! knows of them only a size and ECN bits; even corruption is left to the driver, as the number of a bit.

use super::codel::Codel;
use super::noise::{Channel, Wander};
use super::stats::{Cause, DirectionStats};
use super::{DirectionSpec, Discipline, Limit, Loss};
use core::cmp::Ordering;
use mpquic_base::{Duration, Ecn, Rate, Rng, Time};
use std::collections::{BinaryHeap, VecDeque};

/// The serialiser counts in byte-nanoseconds, so that no rounding piles up from packet to packet.
const WORK_PER_BYTE: u128 = 1_000_000_000;

/// What may change while a link is in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    pub rate: Rate,
    pub delay: Duration,
    pub loss: Loss,
    pub mtu: usize,
    /// Nothing enters, and what was inside when the cut began is lost.
    pub cut: bool,
}

/// A packet at the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<T> {
    pub item: T,
    pub bytes: usize,
    pub ecn: Ecn,
    /// When it arrived, which is no later than when it was asked for.
    pub at: Time,
    pub corrupted: Option<Corruption>,
}

/// Says which bit of a packet was flipped on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption(u64);

impl Corruption {
    /// Flips the bit. An empty packet has none.
    pub fn apply(self, packet: &mut [u8]) {
        let bits = packet.len() as u64 * 8;
        if let Some(bit) = self.0.checked_rem(bits) {
            packet[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
        }
    }
}

#[derive(Debug)]
struct Packet<T> {
    item: T,
    bytes: usize,
    ecn: Ecn,
    queued_at: Time,
}

/// The packet on its way into the wire.
#[derive(Debug)]
struct Sending<T> {
    packet: Packet<T>,
    /// Byte-nanoseconds of work left at `since`.
    left: u128,
    since: Time,
}

#[derive(Debug)]
struct Flight<T> {
    arrival: Arrival<T>,
    /// Breaks ties, so that packets with one arrival time keep their order.
    number: u64,
}

#[derive(Debug)]
pub struct Direction<T> {
    spec: DirectionSpec,
    conditions: Conditions,
    queue: VecDeque<Packet<T>>,
    queue_bytes: u64,
    sending: Option<Sending<T>>,
    wire: BinaryHeap<Flight<T>>,
    flights: u64,
    /// No packet that keeps its place arrives before this.
    last_arrival: Time,
    rng: Rng,
    channel: Channel,
    wander: Wander,
    codel: Codel,
    stats: DirectionStats,
}

impl<T: Clone> Direction<T> {
    #[must_use]
    pub fn new(spec: DirectionSpec, rng: Rng) -> Self {
        Self {
            conditions: nominal(&spec),
            spec,
            queue: VecDeque::new(),
            queue_bytes: 0,
            sending: None,
            wire: BinaryHeap::new(),
            flights: 0,
            last_arrival: Time::ZERO,
            rng,
            channel: Channel::default(),
            wander: Wander::default(),
            codel: Codel::default(),
            stats: DirectionStats::default(),
        }
    }

    /// Sends a packet of `bytes`. `Some` says why it is gone already; a packet taken in may still be lost later.
    pub fn push(&mut self, now: Time, item: T, bytes: usize, ecn: Ecn) -> Option<Cause> {
        self.advance(now);
        self.stats.packets += 1;
        self.stats.bytes += bytes as u64;
        let refused = self.refusal(bytes);
        if let Some(cause) = refused {
            self.stats.drops.count(cause, 1);
            return refused;
        }
        self.queue.push_back(Packet { item, bytes, ecn, queued_at: now });
        self.queue_bytes += bytes as u64;
        if self.sending.is_none() {
            self.start(now, 0);
            self.advance(now);
        }
        self.stats.max_queue_bytes = self.stats.max_queue_bytes.max(self.queue_bytes);
        None
    }

    /// The next packet that has arrived by `now`.
    pub fn pop(&mut self, now: Time) -> Option<Arrival<T>> {
        self.due(now)?;
        let arrival = self.wire.pop()?.arrival;
        self.stats.delivered += 1;
        self.stats.delivered_bytes += arrival.bytes as u64;
        Some(arrival)
    }

    /// When the packet that `pop` would return arrived.
    pub fn due(&mut self, now: Time) -> Option<Time> {
        self.advance(now);
        self.wire.peek().map(|f| f.arrival.at).filter(|&at| at <= now)
    }

    /// When to look again. A call at that time need not find an arrival, but none comes earlier.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        let arrival = self.wire.peek().map(|f| f.arrival.at);
        let sent = self.sending.as_ref().map(|s| {
            let fastest =
                if self.spec.jitter.deviation.is_zero() { self.conditions.delay } else { Duration::ZERO };
            self.sent_at(s) + fastest
        });
        Time::soonest(arrival, sent)
    }

    /// Nothing is queued, being sent or in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty() && self.sending.is_none()
    }

    /// From `now` on, `conditions` hold; a packet being sent finishes at the new rate.
    pub fn set(&mut self, now: Time, conditions: Conditions) {
        self.advance(now);
        if let Some(sending) = &mut self.sending {
            sending.left =
                sending.left.saturating_sub(work_between(self.conditions.rate, sending.since, now));
            sending.since = now;
        }
        let begins = conditions.cut && !self.conditions.cut;
        self.conditions = conditions;
        if begins {
            self.lose_everything(now);
        }
        self.advance(now);
    }

    pub fn cut(&mut self, now: Time) {
        self.set(now, Conditions { cut: true, ..self.conditions });
    }

    pub fn restore(&mut self, now: Time) {
        self.set(now, Conditions { cut: false, ..self.conditions });
    }

    /// What holds now.
    #[must_use]
    pub const fn conditions(&self) -> Conditions {
        self.conditions
    }

    /// What holds by the spec alone.
    #[must_use]
    pub fn nominal(&self) -> Conditions {
        nominal(&self.spec)
    }

    /// Ends loss, duplication, reordering and corruption; rate, delay, jitter and queue stay.
    pub fn calm(&mut self, now: Time) {
        self.spec.loss = Loss::None;
        self.spec.duplicate = 0.0;
        self.spec.reorder = None;
        self.spec.corrupt = 0.0;
        self.set(now, Conditions { loss: Loss::None, ..self.conditions });
    }

    #[must_use]
    pub fn stats(&self) -> DirectionStats {
        DirectionStats {
            queue_bytes: self.queue_bytes,
            queue_packets: self.queue.len() as u64,
            in_flight: self.wire.len() as u64 + u64::from(self.sending.is_some()),
            ..self.stats
        }
    }

    fn refusal(&self, bytes: usize) -> Option<Cause> {
        if self.conditions.cut {
            return Some(Cause::Cut);
        }
        if bytes > self.conditions.mtu {
            return Some(Cause::Mtu);
        }
        let inside = self.queue.len() + usize::from(self.sending.is_some()) + self.wire.len();
        if let Limit::PacketsInAll(most) = self.spec.queue.limit {
            return (inside >= most).then_some(Cause::Queue);
        }
        // An idle sender takes a packet straight off: a link with the smallest queue still sends.
        if self.sending.is_none() || self.conditions.rate == Rate::ZERO {
            return None;
        }
        let after = self.queue_bytes + bytes as u64;
        let full = match self.spec.queue.limit {
            Limit::Rule => after > self.spec.queue_bytes_by_rule(),
            Limit::Bytes(most) => after > most,
            Limit::Time(most) => after > self.conditions.rate.bytes_in(most),
            Limit::Packets(most) => self.queue.len() >= most,
            Limit::PacketsInAll(_) => false,
        };
        full.then_some(Cause::Queue)
    }

    /// Sends everything that has left by `now`.
    fn advance(&mut self, now: Time) {
        while let Some(sending) = &self.sending {
            let sent = self.sent_at(sending);
            if sent > now {
                return;
            }
            let spare = work_between(self.conditions.rate, sending.since, sent).saturating_sub(sending.left);
            if let Some(done) = self.sending.take() {
                self.fly(done.packet, sent);
            }
            self.start(sent, spare);
        }
    }

    fn sent_at(&self, sending: &Sending<T>) -> Time {
        let rate = u128::from(self.conditions.rate.bytes_per_second());
        if rate == 0 {
            return sending.since;
        }
        let ns = u64::try_from(sending.left.div_ceil(rate)).unwrap_or(u64::MAX);
        sending.since + Duration::from_nanos(ns)
    }

    /// Takes the next packet off the queue; `spare` is the work that rounding up the last one's end left over.
    fn start(&mut self, now: Time, spare: u128) {
        while let Some(mut packet) = self.queue.pop_front() {
            self.queue_bytes -= packet.bytes as u64;
            if let Discipline::Codel(spec) = self.spec.queue.discipline
                && self.codel.condemns(&spec, now, now.since(packet.queued_at), self.queue_bytes)
            {
                if spec.ecn && packet.ecn != Ecn::NotEct {
                    packet.ecn = Ecn::Ce;
                    self.stats.marked += 1;
                } else {
                    self.stats.drops.count(Cause::Aqm, 1);
                    continue;
                }
            }
            let left = (packet.bytes as u128 * WORK_PER_BYTE).saturating_sub(spare);
            self.sending = Some(Sending { packet, left, since: now });
            return;
        }
    }

    /// Puts a packet on the wire, where chance decides what becomes of it.
    fn fly(&mut self, packet: Packet<T>, sent: Time) {
        if self.channel.loses(&self.conditions.loss, &mut self.rng) {
            self.stats.drops.count(Cause::Loss, 1);
            return;
        }
        let corrupted = self.happens(self.spec.corrupt).then(|| Corruption(self.rng.u64()));
        self.stats.corrupted += u64::from(corrupted.is_some());
        let twice = self.happens(self.spec.duplicate);
        let at = self.arrival(sent);
        let arrival = Arrival { item: packet.item, bytes: packet.bytes, ecn: packet.ecn, at, corrupted };
        if twice {
            self.stats.duplicated += 1;
            let again = self.arrival(sent);
            self.land(Arrival { at: again, ..arrival.clone() });
        }
        self.land(arrival);
    }

    fn happens(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.chance(p)
    }

    fn arrival(&mut self, sent: Time) -> Time {
        let offset = self.wander.offset(sent, &self.spec.jitter, &mut self.rng);
        let delay = (self.conditions.delay.as_nanos() as f64 + offset).max(0.0);
        // A jitter-free delay stays exact: doubles hold 104 days of nanoseconds.
        let at = sent + Duration::from_nanos(delay as u64);
        if let Some(reorder) = self.spec.reorder
            && self.happens(reorder.p)
        {
            self.stats.reordered += 1;
            return at.max(self.last_arrival) + reorder.extra;
        }
        if self.spec.jitter.reorders {
            return at;
        }
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }

    fn land(&mut self, arrival: Arrival<T>) {
        self.wire.push(Flight { arrival, number: self.flights });
        self.flights += 1;
    }

    /// What is inside at `now` is gone; what arrived earlier and was not yet asked for is not.
    fn lose_everything(&mut self, now: Time) {
        let inside = self.queue.len() + usize::from(self.sending.is_some()) + self.wire.len();
        self.queue.clear();
        self.queue_bytes = 0;
        self.sending = None;
        self.wire.retain(|flight| flight.arrival.at <= now);
        self.stats.drops.count(Cause::Cut, (inside - self.wire.len()) as u64);
        self.last_arrival = now;
    }
}

fn nominal(spec: &DirectionSpec) -> Conditions {
    Conditions { rate: spec.rate, delay: spec.delay, loss: spec.loss, mtu: spec.mtu, cut: false }
}

fn work_between(rate: Rate, from: Time, to: Time) -> u128 {
    u128::from(rate.bytes_per_second()) * to.since(from).as_nanos()
}

impl<T> Ord for Flight<T> {
    /// Reversed, because the heap pops its greatest element and the first arrival is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.arrival.at, other.number).cmp(&(self.arrival.at, self.number))
    }
}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Flight<T> {}

#[cfg(test)]
mod tests;
