//! One flow of the reorder window: the next number, what waits for it, and whether waiting pays.
//!
//! Owns the order within the flow. Refuses to know other flows and the limits they share: the caller says when
//! something has to go.

use super::history::History;
use mpquic_base::{Duration, Time};
use std::collections::VecDeque;

/// A flow that lost rather than reordered is not held for this long; doubles with every try in vain.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(16);
/// A larger queue gives its memory back once it is empty.
const QUEUE_KEPT: usize = 32;

#[derive(Debug)]
struct Held {
    sequence: u32,
    /// When the first packet came that is not older than this one. Never falls from one entry to the next, so the
    /// front entry alone decides when waiting ends.
    opened: Time,
    packet: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: u16,
    /// Whether the caller's list of waiting flows has this one.
    pub(super) listed: bool,
    next: u32,
    held: VecDeque<Held>,
    held_bytes: usize,
    history: History,
    /// Holes in a row for which waiting was in vain.
    vain: u32,
    rest: Duration,
    resting_until: Time,
    jump: Option<Jump>,
}

/// The last numbers that were passed over, and when the first packet behind them came.
#[derive(Clone, Copy, Debug)]
struct Jump {
    from: u32,
    count: u32,
    opened: Time,
}

/// What the caller sets for all flows alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How long a packet may wait.
    pub(super) hold: Duration,
    /// How many numbers a queue may span, at least one.
    pub(super) window: u32,
    /// Holes in a row that may stay open before the flow rests.
    pub(super) tries: u32,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    InOrder,
    /// In order, and it filled a hole that others waited for.
    Filled,
    Late,
    Duplicate,
    Held,
    /// As `Held`, but the queue spanned too much and gave up a hole.
    Squeezed,
    /// Passed at once although others are missing before it.
    Passed,
}

impl Flow {
    /// A flow begins with whatever comes first; what comes before it will be late.
    pub(super) fn new(id: u16, first: u32) -> Self {
        Self {
            id,
            listed: false,
            next: first,
            held: VecDeque::new(),
            held_bytes: 0,
            history: History::new(),
            vain: 0,
            rest: REST_MIN,
            resting_until: Time::ZERO,
            jump: None,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity()
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Since when the front hole has been open.
    pub(super) fn opened(&self) -> Option<Time> {
        self.held.front().map(|held| held.opened)
    }

    pub(super) fn on_packet(
        &mut self,
        now: Time,
        rules: &Rules,
        sequence: u32,
        packet: Vec<u8>,
        out: &mut Vec<Vec<u8>>,
    ) -> Fate {
        let ahead = sequence.wrapping_sub(self.next);
        if ahead > u32::MAX / 2 {
            return self.on_late(now, rules.hold, sequence, packet, out);
        }
        if ahead == 0 {
            let fate = if self.held.is_empty() { Fate::InOrder } else { Fate::Filled };
            self.deliver(sequence, packet, out);
            if fate == Fate::Filled {
                self.paid();
                self.release_run(out);
            }
            return fate;
        }
        if rules.hold.is_zero() || now < self.resting_until {
            // Nothing waits here: `expire` came first, and a flow goes to rest with an empty queue.
            debug_assert!(self.held.is_empty());
            self.jump_to(sequence, now);
            self.deliver(sequence, packet, out);
            return Fate::Passed;
        }
        match self.held.binary_search_by_key(&ahead, |held| held.sequence.wrapping_sub(self.next)) {
            Ok(_) => Fate::Duplicate,
            Err(at) => {
                self.keep(at, now, sequence, packet);
                self.slide(now, sequence, rules, out)
            }
        }
    }

    fn on_late(
        &mut self,
        now: Time,
        hold: Duration,
        sequence: u32,
        packet: Vec<u8>,
        out: &mut Vec<Vec<u8>>,
    ) -> Fate {
        let behind = self.next.wrapping_sub(sequence);
        if !self.history.is_first(sequence, self.next, behind) {
            return Fate::Duplicate;
        }
        // It came soon enough that waiting would have paid: the rest was a mistake.
        let would_pay =
            |jump: &Jump| sequence.wrapping_sub(jump.from) < jump.count && now < jump.opened + hold;
        if self.jump.as_ref().is_some_and(would_pay) {
            self.paid();
        }
        out.push(packet);
        Fate::Late
    }

    fn keep(&mut self, at: usize, now: Time, sequence: u32, packet: Vec<u8>) {
        let opened = self.held.get(at).map_or(now, |after| after.opened);
        self.held_bytes += packet.capacity();
        self.held.insert(at, Held { sequence, opened, packet });
    }

    /// Gives up the oldest holes until the queue spans no more than `window` numbers.
    fn slide(&mut self, now: Time, newest: u32, rules: &Rules, out: &mut Vec<Vec<u8>>) -> Fate {
        let mut fate = Fate::Held;
        while !self.held.is_empty() && newest.wrapping_sub(self.next) >= rules.window {
            self.squeeze(now, rules, out);
            fate = Fate::Squeezed;
        }
        fate
    }

    /// Gives up the front hole because a limit was reached.
    pub(super) fn squeeze(&mut self, now: Time, rules: &Rules, out: &mut Vec<Vec<u8>>) {
        self.release_front(out);
        self.vain = self.vain.saturating_add(1);
        self.rest_if_vain(now, rules, out);
    }

    /// Releases what waited long enough. Returns how many holes were given up.
    pub(super) fn expire(&mut self, now: Time, rules: &Rules, out: &mut Vec<Vec<u8>>) -> u64 {
        let mut given_up = 0;
        while self.opened().is_some_and(|opened| opened + rules.hold <= now) {
            self.release_front(out);
            self.vain = self.vain.saturating_add(1);
            given_up += 1;
        }
        if given_up > 0 {
            self.rest_if_vain(now, rules, out);
        }
        given_up
    }

    /// After some holes in vain nothing of this flow is held for a while.
    fn rest_if_vain(&mut self, now: Time, rules: &Rules, out: &mut Vec<Vec<u8>>) {
        if self.vain < rules.tries {
            return;
        }
        self.release_all(out);
        self.resting_until = now + self.rest;
        self.rest = (self.rest * 2).min(REST_MAX);
        // One more hole in vain is enough for the next rest.
        self.vain = rules.tries.saturating_sub(1);
    }

    /// Gives up the front hole and releases what is in order behind it.
    pub(super) fn release_front(&mut self, out: &mut Vec<Vec<u8>>) {
        if let Some(Held { sequence, opened, .. }) = self.held.front() {
            let (sequence, opened) = (*sequence, *opened);
            self.jump_to(sequence, opened);
            self.release_run(out);
        }
    }

    pub(super) fn release_all(&mut self, out: &mut Vec<Vec<u8>>) {
        while !self.held.is_empty() {
            self.release_front(out);
        }
    }

    fn release_run(&mut self, out: &mut Vec<Vec<u8>>) {
        while let Some(front) = self.held.pop_front_if(|held| held.sequence == self.next) {
            self.held_bytes -= front.packet.capacity();
            self.deliver(front.sequence, front.packet, out);
        }
        if self.held.is_empty() && self.held.capacity() > QUEUE_KEPT {
            self.held.shrink_to(QUEUE_KEPT);
        }
    }

    fn jump_to(&mut self, sequence: u32, opened: Time) {
        let count = sequence.wrapping_sub(self.next);
        self.history.advance(self.next, count);
        self.jump = Some(Jump { from: self.next, count, opened });
        self.next = sequence;
    }

    fn deliver(&mut self, sequence: u32, packet: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        self.next = sequence.wrapping_add(1);
        self.history.delivered(sequence);
        out.push(packet);
    }

    /// A hole was filled in time, or would have been.
    const fn paid(&mut self) {
        self.vain = 0;
        self.rest = REST_MIN;
        self.resting_until = Time::ZERO;
    }
}
