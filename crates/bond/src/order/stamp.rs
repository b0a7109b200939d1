//! Numbering packets per flow, on the sending side.
//!
//! A fixed table of [`FLOWS`] slots in sets of four; a flow keeps its slot until four younger ones of its set push it
//! out. The counter belongs to the slot and goes on under the next flow, so the receiver never sees a number go back
//! and needs no word about who moved in.

use super::FLOWS;
use crate::packet::FlowKey;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

/// Slots that one flow may fall into.
const WAYS: usize = 4;

/// A packet's flow and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub flow: u16,
    /// Wraps around; compared as serial numbers (RFC 1982).
    pub sequence: u32,
}

impl Stamp {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 6;

    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let ([f0, f1], [s0, s1, s2, s3]) = (self.flow.to_be_bytes(), self.sequence.to_be_bytes());
        [f0, f1, s0, s1, s2, s3]
    }

    #[must_use]
    pub const fn decode([f0, f1, s0, s1, s2, s3]: [u8; Self::LEN]) -> Self {
        Self { flow: u16::from_be_bytes([f0, f1]), sequence: u32::from_be_bytes([s0, s1, s2, s3]) }
    }

    /// The stamp in front of a packet, and the packet; `None` if the bytes are too few.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (stamp, packet) = bytes.split_first_chunk()?;
        Some((Self::decode(*stamp), packet))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// A hash of the flow's key; zero if the slot was never used.
    tag: u64,
    used: u32,
    next: u32,
}

/// The sending side's table of flows.
pub struct Stamper {
    seed: u64,
    clock: u32,
    slots: Box<[[Slot; WAYS]]>,
}

impl core::fmt::Debug for Stamper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Stamper({} packets)", self.clock)
    }
}

impl Stamper {
    /// `seed` should be random, so that nobody can choose flows that fall into one set.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, clock: 0, slots: vec![[Slot::default(); WAYS]; FLOWS / WAYS].into_boxed_slice() }
    }

    /// The next number of this flow. Two flows share numbers only if 64 bits of their hashes are equal.
    pub fn stamp(&mut self, key: &FlowKey) -> Stamp {
        let tag = self.tag(key);
        let set = usize::try_from(tag % (FLOWS / WAYS) as u64).unwrap_or(0);
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let slots = &mut self.slots[set];
        let way = slots.iter().position(|slot| slot.tag == tag).unwrap_or_else(|| oldest(slots, clock));
        let slot = &mut slots[way];
        let sequence = slot.next;
        *slot = Slot { tag, used: clock, next: sequence.wrapping_add(1) };
        Stamp { flow: u16::try_from(set * WAYS + way).unwrap_or(0), sequence }
    }

    fn tag(&self, key: &FlowKey) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish().max(1)
    }
}

fn oldest(slots: &[Slot; WAYS], clock: u32) -> usize {
    let age = |slot: &Slot| if slot.tag == 0 { u32::MAX } else { clock.wrapping_sub(slot.used) };
    (0..WAYS).max_by_key(|way| (age(&slots[*way]), WAYS - way)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
