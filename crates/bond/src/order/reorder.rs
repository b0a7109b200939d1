//! The receiving side: packets of many flows, each flow in order for as long as waiting is allowed.
//!
//! Owns the table of flows, the limits that they share and the next deadline. Refuses to choose how long to wait: the
//! caller measures the paths and sets it.

use super::flow::{Fate, Flow, Rules};
use super::{FLOWS, Stamp};
use core::cmp::Reverse;
use mpquic_base::{Duration, Time};
use std::collections::BinaryHeap;

/// What the window may hold back. A limit that is reached drops nothing: the flow at hand waits no longer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Numbers that the queue of one flow may span, from 1 to 2^16.
    pub window: u32,
    /// Bytes of one flow.
    pub flow_bytes: usize,
    /// Packets and bytes of all flows.
    pub packets: usize,
    pub bytes: usize,
    /// Holes in a row that may stay open until the flow is held no more for a while.
    pub tries: u32,
}

impl Default for Limits {
    /// One flow: 100 ms of full-sized packets at 750 Mbit/s. All: 32 MiB.
    fn default() -> Self {
        Self { window: 8192, flow_bytes: 12 << 20, packets: 1 << 15, bytes: 32 << 20, tries: 4 }
    }
}

impl Limits {
    const fn rules(&self, hold: Duration) -> Rules {
        Rules { hold, window: self.window, tries: self.tries }
    }
}

/// Packets by what became of them, and holes by how they ended. All but duplicates were delivered or are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub in_order: u64,
    /// Filled a hole that others waited for.
    pub filled: u64,
    /// Waited for others.
    pub held: u64,
    /// Came after the flow had gone on without them.
    pub late: u64,
    pub duplicates: u64,
    /// Went past a hole at once: holding was off or the flow at rest.
    pub passed: u64,
    /// Holes given up after the full wait.
    pub expired: u64,
    /// Packets that made their flow give up a hole because a limit was reached.
    pub overflows: u64,
    /// Flows that lost their place to another one.
    pub evicted: u64,
}

/// The reorder window of one tunnel.
pub struct Reorder {
    limits: Limits,
    hold: Duration,
    /// By the low bits of the flow's id; grows on first use.
    flows: Vec<Option<Box<Flow>>>,
    /// Flows that wait, by when their front hole opened. An entry may be early (the hole was filled) but never late.
    waiting: BinaryHeap<Reverse<(Time, u16)>>,
    held: usize,
    held_bytes: usize,
    counters: Counters,
}

impl core::fmt::Debug for Reorder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Reorder(hold {:?}, {} held, {} bytes)", self.hold, self.held, self.held_bytes)
    }
}

impl Reorder {
    /// Nothing is held until [`Reorder::set_hold`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { window: limits.window.clamp(1, 1 << 16), ..limits };
        Self {
            limits,
            hold: Duration::ZERO,
            flows: Vec::new(),
            waiting: BinaryHeap::new(),
            held: 0,
            held_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// How long a packet may wait for those before it: the measured gap between the paths and some jitter. Zero
    /// switches holding off; what is held then leaves at the next call of [`Reorder::expire`].
    pub const fn set_hold(&mut self, hold: Duration) {
        self.hold = hold;
    }

    #[must_use]
    pub const fn hold(&self) -> Duration {
        self.hold
    }

    /// Packets and bytes that wait.
    #[must_use]
    pub const fn held(&self) -> (usize, usize) {
        (self.held, self.held_bytes)
    }

    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a packet and appends to `out` what may go on now, in order.
    pub fn on_packet(&mut self, now: Time, stamp: Stamp, packet: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let slot = self.slot(stamp, out);
        let Some(flow) = self.flows[slot].as_deref_mut() else { return };
        let (others, other_bytes) = (self.held - flow.held(), self.held_bytes - flow.held_bytes());
        let rules = self.limits.rules(self.hold);
        // A caller that is late with `expire` must not make anybody wait longer.
        self.counters.expired += flow.expire(now, &rules, out);
        let fate = flow.on_packet(now, &rules, stamp.sequence, packet, out);
        let mut overflow = fate == Fate::Squeezed;
        while flow.held() > 0
            && (flow.held_bytes() > self.limits.flow_bytes
                || others + flow.held() > self.limits.packets
                || other_bytes + flow.held_bytes() > self.limits.bytes)
        {
            flow.squeeze(now, &rules, out);
            overflow = true;
        }
        self.held = others + flow.held();
        self.held_bytes = other_bytes + flow.held_bytes();
        self.counters.overflows += u64::from(overflow);
        if let Some(opened) = flow.opened()
            && !flow.listed
        {
            flow.listed = true;
            self.waiting.push(Reverse((opened, to_id(slot))));
        }
        self.count(fate);
    }

    /// The place of this flow. A different flow that has it goes, and takes what it held with it.
    fn slot(&mut self, stamp: Stamp, out: &mut Vec<Vec<u8>>) -> usize {
        let slot = usize::from(stamp.flow) % FLOWS;
        if self.flows.len() <= slot {
            self.flows.resize_with(slot + 1, || None);
        }
        let fresh = || Box::new(Flow::new(stamp.flow, stamp.sequence));
        let flow = self.flows[slot].get_or_insert_with(fresh);
        if flow.id != stamp.flow {
            self.held -= flow.held();
            self.held_bytes -= flow.held_bytes();
            flow.release_all(out);
            // The list goes by places, so the newcomer inherits the entry.
            let listed = flow.listed;
            *flow = fresh();
            flow.listed = listed;
            self.counters.evicted += 1;
        }
        slot
    }

    fn count(&mut self, fate: Fate) {
        let counter = match fate {
            Fate::InOrder => &mut self.counters.in_order,
            Fate::Filled => &mut self.counters.filled,
            Fate::Late => &mut self.counters.late,
            Fate::Duplicate => &mut self.counters.duplicates,
            Fate::Held | Fate::Squeezed => &mut self.counters.held,
            Fate::Passed => &mut self.counters.passed,
        };
        *counter += 1;
    }

    /// When [`Reorder::expire`] is due: never later than a packet's wait ends, sometimes earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.waiting.peek().map(|Reverse((opened, _))| *opened + self.hold)
    }

    /// Appends to `out` what waited long enough.
    pub fn expire(&mut self, now: Time, out: &mut Vec<Vec<u8>>) {
        while let Some(Reverse((opened, slot))) = self.waiting.peek().copied()
            && opened + self.hold <= now
        {
            self.waiting.pop();
            let Some(flow) = self.flows.get_mut(usize::from(slot)).and_then(Option::as_deref_mut) else {
                continue;
            };
            let (held, held_bytes) = (flow.held(), flow.held_bytes());
            self.counters.expired += flow.expire(now, &self.limits.rules(self.hold), out);
            self.held -= held - flow.held();
            self.held_bytes -= held_bytes - flow.held_bytes();
            flow.listed = flow.opened().is_some();
            if let Some(opened) = flow.opened() {
                self.waiting.push(Reverse((opened, slot)));
            }
        }
    }
}

fn to_id(slot: usize) -> u16 {
    u16::try_from(slot).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
