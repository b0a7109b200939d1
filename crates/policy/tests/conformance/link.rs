//! A toy bottleneck: one rate, one propagation delay, one drop-tail queue, and greedy paced senders behind it.
//!
//! Just enough to see a controller work: packets stay in order, acknowledgements are never lost, nothing is sent
//! again. The queue is not a list but the time at which the link will be idle.

use mpquic_base::{Duration, Rate, Rng, Time};
use mpquic_policy::cc::{AckBatch, Controller, LossBatch, RateSample, SentPacket};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const PACKET: u64 = 1200;
/// RFC 9002 §6.1.1, kPacketThreshold.
const REORDER: u64 = 3;
/// How often a sender looks whether its whole flight is gone.
const CHECK: Duration = Duration::from_millis(100);
/// No test's link carries half of this, and a packet causes two or three events.
const MOST_PACKETS: u64 = 1_000_000;
const MOST_EVENTS: u64 = 3 * MOST_PACKETS;

#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) rate: Rate,
    /// Without queueing.
    pub(crate) rtt: Duration,
    /// How long the queue may take to drain.
    pub(crate) queue: Duration,
    /// Probability that a packet is lost for no reason.
    pub(crate) loss: f64,
}

impl Link {
    /// What fits into pipe and queue, in bytes.
    pub(crate) fn holds(&self) -> u64 {
        self.rate.bytes_in(self.rtt + self.queue)
    }
}

/// What became of one sender.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Bytes that arrived after the warm-up.
    pub(crate) delivered: u64,
    pub(crate) largest_window: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake { flow: usize },
    Ack { flow: usize, number: u64 },
    Check { flow: usize },
}

struct Sent {
    at: Time,
    tx_in_flight: u64,
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
}

struct Flow {
    cc: Box<dyn Controller>,
    next: u64,
    flight: BTreeMap<u64, Sent>,
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
    srtt: Duration,
    min_rtt: Duration,
    /// The pacer's next slot, and whether a wake-up for it is on its way.
    slot: Time,
    waking: bool,
    round_ends: u64,
    outcome: Outcome,
}

impl Flow {
    fn in_flight(&self) -> u64 {
        self.flight.len() as u64 * PACKET
    }

    fn pacing(&self) -> Rate {
        let own = || Rate::from_delivery(self.cc.window(), self.srtt).scaled(1.25);
        self.cc.pacing().unwrap_or_else(own)
    }

    fn on_rtt(&mut self, rtt: Duration) {
        self.min_rtt = self.min_rtt.min(rtt);
        self.srtt = if self.delivered == 0 { rtt } else { (7 * self.srtt + rtt) / 8 };
    }

    /// draft-ietf-ccwg-bbr-06 §4.1, for a sender that is never short of data.
    fn rate_sample(&mut self, sent: &Sent) -> RateSample {
        let interval = (sent.at.since(sent.first_sent_at)).max(self.delivered_at.since(sent.delivered_at));
        self.first_sent_at = sent.at;
        let delivered = self.delivered - sent.delivered;
        RateSample {
            rate: Rate::from_delivery(delivered, interval),
            delivered,
            interval,
            prior_delivered: sent.delivered,
            total_delivered: self.delivered,
            lost: self.lost - sent.lost,
            tx_in_flight: sent.tx_in_flight,
            app_limited: false,
        }
    }

    fn on_ack(&mut self, now: Time, number: u64) {
        let in_flight_before = self.in_flight();
        // Absent if it was given up before; a toy need not call that spurious.
        let Some(sent) = self.flight.remove(&number) else { return };
        let rtt = now.since(sent.at);
        self.on_rtt(rtt);
        self.delivered += PACKET;
        self.delivered_at = now;
        let round_start = number >= self.round_ends;
        if round_start {
            self.round_ends = self.next;
        }
        let rate = Some(self.rate_sample(&sent));
        self.cc.on_ack(&AckBatch {
            now,
            bytes: PACKET,
            newest_sent_at: sent.at,
            rtt: Some(rtt),
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            in_flight_before,
            in_flight: self.in_flight(),
            app_limited: false,
            round_start,
            rate,
        });
        self.give_up_before(now, (number + 1).saturating_sub(REORDER));
    }

    /// Declares lost whatever is in flight below `number`.
    fn give_up_before(&mut self, now: Time, number: u64) {
        let in_flight_before = self.in_flight();
        let kept = self.flight.split_off(&number);
        let gone = core::mem::replace(&mut self.flight, kept);
        let Some((_, newest)) = gone.last_key_value() else { return };
        let bytes = gone.len() as u64 * PACKET;
        self.lost += bytes;
        self.cc.on_loss(&LossBatch {
            now,
            bytes,
            packets: u32::try_from(gone.len()).expect("a flight is small"),
            newest_sent_at: newest.at,
            tx_in_flight: newest.tx_in_flight,
            lost_since: self.lost - newest.lost,
            persistent: false,
            in_flight_before,
            in_flight: self.in_flight(),
            srtt: self.srtt,
            min_rtt: self.min_rtt,
            total_lost: self.lost,
            total_delivered: self.delivered,
        });
    }

    /// Nothing came back for long: the whole flight is gone, as a probe timeout would find out.
    fn check(&mut self, now: Time) {
        let newest = self.flight.last_key_value().map(|(_, sent)| sent.at);
        if newest.is_some_and(|at| now.since(at.max(self.delivered_at)) > 2 * self.srtt + CHECK) {
            self.give_up_before(now, self.next);
        }
    }
}

pub(crate) struct World {
    link: Link,
    now: Time,
    /// When the link will have sent all that is queued.
    idle_at: Time,
    flows: Vec<Flow>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    seed: u64,
    rng: Rng,
    warm_at: Time,
}

impl World {
    /// Senders start half a second apart. What is delivered before `warm_up` is not counted.
    pub(crate) fn new(link: Link, senders: Vec<Box<dyn Controller>>, warm_up: Duration, seed: u64) -> Self {
        let mut world = Self {
            link,
            now: Time::ZERO,
            idle_at: Time::ZERO,
            flows: Vec::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            seed,
            rng: Rng::from_number(seed),
            warm_at: Time::ZERO + warm_up,
        };
        for (flow, cc) in senders.into_iter().enumerate() {
            let start = Time::from_millis(500 * flow as u64);
            world.flows.push(Flow {
                cc,
                next: 0,
                flight: BTreeMap::new(),
                delivered: 0,
                delivered_at: start,
                first_sent_at: start,
                lost: 0,
                srtt: link.rtt,
                min_rtt: Duration::MAX,
                slot: start,
                waking: true,
                round_ends: 0,
                outcome: Outcome::default(),
            });
            world.schedule(start, Event::Wake { flow });
            world.schedule(start + CHECK, Event::Check { flow });
        }
        world
    }

    pub(crate) fn run(mut self, until: Duration) -> Vec<Outcome> {
        let end = Time::ZERO + until;
        while let Some(Reverse((at, _, event))) = self.events.pop().filter(|Reverse((at, ..))| *at < end) {
            self.now = at;
            assert!(
                self.scheduled < MOST_EVENTS,
                "seed {}: {} events by {at:?}: {:?}",
                self.seed,
                self.scheduled,
                self.flows.iter().map(|flow| &flow.cc).collect::<Vec<_>>()
            );
            match event {
                Event::Wake { flow } => {
                    self.flows[flow].waking = false;
                    self.send(flow);
                }
                Event::Ack { flow, number } => {
                    self.flows[flow].on_ack(at, number);
                    self.count(flow);
                    self.send(flow);
                }
                Event::Check { flow } => {
                    self.flows[flow].check(at);
                    self.send(flow);
                    self.schedule(at + CHECK, Event::Check { flow });
                }
            }
        }
        self.flows.iter().map(|flow| flow.outcome).collect()
    }

    fn count(&mut self, flow: usize) {
        let flow = &mut self.flows[flow];
        flow.outcome.largest_window = flow.outcome.largest_window.max(flow.cc.window());
        if self.now >= self.warm_at {
            flow.outcome.delivered += PACKET;
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn send(&mut self, index: usize) {
        loop {
            let flow = &mut self.flows[index];
            let tx_in_flight = flow.in_flight() + PACKET;
            if flow.waking || tx_in_flight > flow.cc.window() {
                return;
            }
            if flow.slot > self.now {
                flow.waking = true;
                let slot = flow.slot;
                self.schedule(slot, Event::Wake { flow: index });
                return;
            }
            // A real sender is never quite on time, which keeps two of them from moving in lockstep.
            let gap = flow.pacing().delay(PACKET).mul_f64(0.9 + 0.2 * self.rng.unit());
            flow.slot = self.now + gap;
            if flow.flight.is_empty() {
                (flow.first_sent_at, flow.delivered_at) = (self.now, self.now);
            }
            let number = flow.next;
            assert!(
                number < MOST_PACKETS,
                "seed {}: sends without end at {:?}: {:?}",
                self.seed,
                self.now,
                flow.cc
            );
            flow.next += 1;
            flow.flight.insert(
                number,
                Sent {
                    at: self.now,
                    tx_in_flight,
                    delivered: flow.delivered,
                    delivered_at: flow.delivered_at,
                    first_sent_at: flow.first_sent_at,
                    lost: flow.lost,
                },
            );
            flow.cc.on_sent(&SentPacket { departs: self.now, bytes: PACKET, in_flight: tx_in_flight });
            self.carry(index, number);
        }
    }

    fn carry(&mut self, flow: usize, number: u64) {
        if self.rng.chance(self.link.loss) || self.idle_at.since(self.now) > self.link.queue {
            return;
        }
        self.idle_at = self.idle_at.max(self.now) + self.link.rate.delay(PACKET);
        self.schedule(self.idle_at + self.link.rtt, Event::Ack { flow, number });
    }
}
