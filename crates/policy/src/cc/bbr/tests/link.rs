//! A sender, a bottleneck and a receiver in virtual time, packet by packet: just enough world for a controller.
//!
//! Owns delivery rate samples (draft-ietf-ccwg-bbr-06 §4.1), loss detection by packet threshold and delayed ACKs.

use super::super::{Bbr, ENTRY, State};
use crate::cc::{AckBatch, Controller, LossBatch, RateSample, SentPacket};
use mpquic_base::{Duration, Rate, Rng, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

pub(super) const PACKET: u64 = 1200;
const ACK_EVERY: usize = 2;
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// How often the world writes down how it is.
const TICK: Duration = Duration::from_millis(10);

/// The bottleneck and what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) rate: Rate,
    /// One way.
    pub(super) delay: Duration,
    /// Standard deviation of what each direction adds. It wanders, forgetting itself over ten deviations' time, and
    /// packets keep their order.
    pub(super) jitter: Duration,
    /// Loss behind the bottleneck.
    pub(super) loss: f64,
    pub(super) queue: u64,
    /// ACKs are released together, at multiples of this.
    pub(super) ack_slot: Duration,
}

impl Link {
    /// A clean link with a queue of 1.5 BDP.
    pub(super) fn new(mbit: u64, rtt_ms: u64) -> Self {
        let rate = Rate::from_bits_per_second(mbit * 1_000_000);
        let rtt = Duration::from_millis(rtt_ms);
        Self {
            rate,
            delay: rtt / 2,
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: (rate.bytes_in(rtt) * 3 / 2).max(64 * 1024),
            ack_slot: Duration::ZERO,
        }
    }

    pub(super) fn bdp(&self) -> u64 {
        self.rate.bytes_in(self.delay * 2)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Bulk,
    /// Writes at a steady rate, so that the flow is application-limited below the link's rate.
    Steady(Rate),
    Silent,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The bottleneck has sent the packet at its head.
    Served,
    Arrives(u64),
    AckTimer,
    Ack(Vec<u64>),
    Send,
    Probe,
    Tick,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Time,
    first_sent: Time,
    delivered: u64,
    delivered_at: Time,
    lost: u64,
    tx_in_flight: u64,
    app_limited: bool,
}

/// How things stood at a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    pub(super) at: Time,
    /// Bytes that reached the receiver.
    pub(super) arrived: u64,
    pub(super) queue: u64,
    pub(super) in_flight: u64,
    pub(super) state: State,
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) link: Link,
    pub(super) cc: Bbr,
    pub(super) source: Source,
    pub(super) log: Vec<Snapshot>,
    /// Tell the controller of an ACK before the losses that it revealed.
    pub(super) acks_first: bool,
    /// Nothing passes the link.
    pub(super) cut: bool,
    rng: Rng,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    // The link.
    waiting: VecDeque<u64>,
    serving: bool,
    dropped: u64,
    last_arrival: [Time; 2],
    /// Each direction's jitter in deviations, and when that was.
    wander: [(f64, Time); 2],
    // The receiver.
    expected: u64,
    unacked: Vec<u64>,
    arrived: u64,
    // The sender.
    next_number: u64,
    flight: BTreeMap<u64, Sent>,
    next_send: Time,
    send_timer: Time,
    probe_at: Time,
    budget: u64,
    budget_at: Time,
    delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    lost: u64,
    app_mark: u64,
    largest: Option<u64>,
    round_until: u64,
    srtt: Duration,
    min_rtt: Duration,
}

impl World {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        let mut world = Self {
            now: Time::from_millis(1000),
            link,
            cc: Bbr::new(&ENTRY.defaults()),
            source: Source::Bulk,
            log: Vec::new(),
            acks_first: false,
            cut: false,
            rng: Rng::from_number(seed),
            events: BinaryHeap::new(),
            order: 0,
            waiting: VecDeque::new(),
            serving: false,
            dropped: 0,
            last_arrival: [Time::ZERO; 2],
            wander: [(0.0, Time::ZERO); 2],
            expected: 0,
            unacked: Vec::new(),
            arrived: 0,
            next_number: 0,
            flight: BTreeMap::new(),
            next_send: Time::ZERO,
            send_timer: Time::ZERO,
            probe_at: Time::NEVER,
            budget: 0,
            budget_at: Time::from_millis(1000),
            delivered: 0,
            delivered_at: Time::ZERO,
            first_sent: Time::ZERO,
            lost: 0,
            app_mark: 0,
            largest: None,
            round_until: 0,
            srtt: Duration::ZERO,
            min_rtt: Duration::MAX,
        };
        world.at(world.now, Event::Tick);
        world
    }

    /// Lets `duration` pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run_until(|w| w.now >= end);
    }

    /// Runs until `done` holds after some event; the time it took.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Duration {
        let start = self.now;
        self.send();
        while !done(self) {
            assert!(self.now.since(start) < Duration::from_secs(120), "the awaited state never came");
            let Reverse((at, _, event)) = self.events.pop().expect("the tick goes on forever");
            self.now = at;
            self.step(event);
        }
        self.now.since(start)
    }

    /// Bytes that arrived over the last `duration`, as a share of what the link can carry.
    pub(super) fn utilisation(&self, duration: Duration) -> f64 {
        let from = self.now - duration;
        let before = self.log.iter().rev().find(|s| s.at <= from).map_or(0, |s| s.arrived);
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        {
            (self.arrived - before) as f64 / self.link.rate.bytes_in(duration) as f64
        }
    }

    /// Snapshots of the last `duration`.
    pub(super) fn recent(&self, duration: Duration) -> &[Snapshot] {
        let from = self.now - duration;
        &self.log[self.log.partition_point(|s| s.at < from)..]
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.flight.len() as u64 * PACKET
    }

    fn at(&mut self, time: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time.max(self.now), self.order, event)));
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Served => self.served(),
            Event::Arrives(number) => self.arrives(number),
            Event::AckTimer if !self.unacked.is_empty() => self.acknowledge(),
            Event::Ack(numbers) => self.acked(&numbers),
            Event::Probe if self.now >= self.probe_at && !self.flight.is_empty() => {
                self.transmit();
                self.arm_probe();
            }
            Event::Tick => {
                self.snapshot();
                self.send();
                self.at(self.now + TICK, Event::Tick);
            }
            Event::Send => self.send(),
            Event::AckTimer | Event::Probe => {}
        }
    }

    fn snapshot(&mut self) {
        self.log.push(Snapshot {
            at: self.now,
            arrived: self.arrived,
            queue: self.waiting.len() as u64 * PACKET,
            in_flight: self.in_flight(),
            state: self.cc.state,
            dropped: self.dropped,
        });
    }

    // The link.

    fn enqueue(&mut self, number: u64) {
        if (self.waiting.len() as u64 + 1) * PACKET > self.link.queue {
            self.dropped += PACKET;
            return;
        }
        self.waiting.push_back(number);
        if !self.serving {
            self.serving = true;
            self.at(self.now + self.link.rate.delay(PACKET), Event::Served);
        }
    }

    fn served(&mut self) {
        let number = self.waiting.pop_front().expect("a packet is being served");
        self.serving = !self.waiting.is_empty();
        if self.serving {
            self.at(self.now + self.link.rate.delay(PACKET), Event::Served);
        }
        if !self.cut && !self.rng.chance(self.link.loss) {
            let at = self.delayed(0);
            self.at(at, Event::Arrives(number));
        }
    }

    fn delayed(&mut self, direction: usize) -> Time {
        let mut delay = self.link.delay;
        if self.link.jitter > Duration::ZERO {
            // Twelve uniform numbers make a normal one.
            let fresh = (0..12).map(|_| self.rng.unit()).sum::<f64>() - 6.0;
            let (value, then) = self.wander[direction];
            let keep = (-self.now.since(then).as_secs_f64() / (self.link.jitter.as_secs_f64() * 10.0)).exp();
            let value = value * keep + fresh * (1.0 - keep * keep).sqrt();
            self.wander[direction] = (value, self.now);
            let shift = self.link.jitter.mul_f64(value.abs());
            delay = if value < 0.0 { delay.saturating_sub(shift) } else { delay + shift };
        }
        let mut at = (self.now + delay).max(self.last_arrival[direction]);
        if direction == 1 && self.link.ack_slot > Duration::ZERO {
            let slot = self.link.ack_slot.as_nanos() as u64;
            at = Time::from_nanos(at.nanos().div_ceil(slot) * slot);
        }
        self.last_arrival[direction] = at;
        at
    }

    // The receiver.

    fn arrives(&mut self, number: u64) {
        self.arrived += PACKET;
        let gap = number != self.expected;
        self.expected = number + 1;
        self.unacked.push(number);
        if gap || self.unacked.len() >= ACK_EVERY {
            self.acknowledge();
        } else {
            self.at(self.now + MAX_ACK_DELAY, Event::AckTimer);
        }
    }

    fn acknowledge(&mut self) {
        let numbers = std::mem::take(&mut self.unacked);
        let at = self.delayed(1);
        if !self.cut {
            self.at(at, Event::Ack(numbers));
        }
    }

    // The sender.

    fn has_data(&mut self) -> bool {
        let passed = self.now.since(self.budget_at);
        self.budget_at = self.now;
        if let Source::Steady(rate) = self.source {
            self.budget = (self.budget + rate.bytes_in(passed)).min(20 * PACKET);
        }
        self.source == Source::Bulk || (self.source != Source::Silent && self.budget >= PACKET)
    }

    fn send(&mut self) {
        while self.in_flight() + PACKET <= self.cc.window() {
            if !self.has_data() {
                // §4.1.2.4: the window has room, but there is nothing to send.
                self.app_mark = self.delivered + self.in_flight().max(1);
                return;
            }
            if self.next_send > self.now {
                if self.send_timer != self.next_send {
                    self.send_timer = self.next_send;
                    self.at(self.next_send, Event::Send);
                }
                return;
            }
            self.budget = self.budget.saturating_sub(PACKET);
            self.transmit();
        }
    }

    fn transmit(&mut self) {
        if self.flight.is_empty() {
            self.first_sent = self.now;
            self.delivered_at = self.now;
            self.arm_probe();
        }
        let number = self.next_number;
        self.next_number += 1;
        let in_flight = self.in_flight() + PACKET;
        let sent = Sent {
            at: self.now,
            first_sent: self.first_sent,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            lost: self.lost,
            tx_in_flight: in_flight,
            app_limited: self.app_mark != 0,
        };
        self.flight.insert(number, sent);
        self.cc.on_sent(&SentPacket { departs: self.now, bytes: PACKET, in_flight });
        let pace = self.cc.pacing().map_or(Duration::ZERO, |rate| rate.delay(PACKET));
        self.next_send = self.next_send.max(self.now) + pace;
        self.enqueue(number);
    }

    fn arm_probe(&mut self) {
        let timeout = if self.srtt == Duration::ZERO { Duration::from_secs(1) } else { self.srtt * 3 };
        self.probe_at = self.now + timeout;
        self.at(self.probe_at, Event::Probe);
    }

    fn acked(&mut self, numbers: &[u64]) {
        let in_flight_before = self.in_flight();
        let mut newest: Option<(u64, Sent)> = None;
        let mut bytes = 0;
        for &number in numbers {
            // Declared lost in error: too late to count.
            let Some(sent) = self.flight.remove(&number) else { continue };
            bytes += PACKET;
            newest = Some((number, sent));
        }
        let Some((number, sent)) = newest else { return };
        self.delivered += bytes;
        self.delivered_at = self.now;
        self.first_sent = sent.at;
        self.largest = self.largest.max(Some(number));
        if self.delivered > self.app_mark {
            self.app_mark = 0;
        }
        let rtt = self.now.since(sent.at);
        self.srtt = if self.srtt == Duration::ZERO { rtt } else { self.srtt * 7 / 8 + rtt / 8 };
        self.min_rtt = self.min_rtt.min(rtt);
        let round_start = sent.delivered >= self.round_until;
        if round_start {
            self.round_until = self.delivered;
        }
        let in_flight_acked = self.in_flight();
        let losses = self.detect_losses(rtt);
        let interval = sent.at.since(sent.first_sent).max(self.now.since(sent.delivered_at));
        let batch = AckBatch {
            now: self.now,
            bytes,
            newest_sent_at: sent.at,
            rtt: Some(rtt),
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            in_flight_before,
            in_flight: if self.acks_first { in_flight_acked } else { self.in_flight() },
            app_limited: sent.app_limited,
            round_start,
            rate: (interval >= self.min_rtt).then(|| RateSample {
                rate: Rate::from_delivery(self.delivered - sent.delivered, interval),
                delivered: self.delivered - sent.delivered,
                interval,
                prior_delivered: sent.delivered,
                total_delivered: self.delivered,
                lost: self.lost - sent.lost,
                tx_in_flight: sent.tx_in_flight,
                app_limited: sent.app_limited,
            }),
        };
        match losses {
            Some(losses) if self.acks_first => {
                self.cc.on_ack(&batch);
                self.cc.on_loss(&losses);
            }
            Some(losses) => {
                self.cc.on_loss(&losses);
                self.cc.on_ack(&batch);
            }
            None => self.cc.on_ack(&batch),
        }
        self.arm_probe();
        self.send();
    }

    fn detect_losses(&mut self, latest: Duration) -> Option<LossBatch> {
        let in_flight_before = self.in_flight();
        let largest = self.largest?;
        let overdue = self.now - self.srtt.max(latest) * 9 / 8;
        let lost: Vec<(u64, Sent)> = self
            .flight
            .range(..largest)
            .filter(|&(&number, sent)| number + 3 <= largest || sent.at <= overdue)
            .map(|(&number, &sent)| (number, sent))
            .collect();
        let (&(first, oldest), &(last, newest)) = (lost.first()?, lost.last()?);
        for (number, _) in &lost {
            self.flight.remove(number);
        }
        self.lost += lost.len() as u64 * PACKET;
        let unbroken = last - first + 1 == lost.len() as u64;
        Some(LossBatch {
            now: self.now,
            bytes: lost.len() as u64 * PACKET,
            packets: u32::try_from(lost.len()).unwrap(),
            newest_sent_at: newest.at,
            tx_in_flight: newest.tx_in_flight,
            lost_since: self.lost - newest.lost,
            // RFC 9002 §7.6.1 with a variance of a quarter of the RTT.
            persistent: unbroken && newest.at.since(oldest.at) > (self.srtt * 2 + MAX_ACK_DELAY) * 3,
            in_flight_before,
            in_flight: self.in_flight(),
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            total_lost: self.lost,
            total_delivered: self.delivered,
        })
    }
}
