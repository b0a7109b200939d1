//! The packets that were sent, in order of their numbers, and the tokens of their frames.

use crate::frames::Token;
use core::ops::Range;
use mpquic_base::{RangeSet, Time};
use std::collections::VecDeque;

/// Packets with nothing but ACKs that are remembered, and how often they are counted. A peer need never acknowledge
/// them; one that acknowledges nothing else either must not make us remember them all.
const IDLE_MAX: usize = 16_384;
const IDLE_CHECK_EVERY: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its fate is open. Only such packets count as in flight.
    Outstanding,
    Acked,
    /// Declared lost; remembered for a while because a late ACK reveals that it was not.
    Lost,
    /// Taken out of flight without a verdict: its path fell silent, or it never left this host.
    Orphaned,
    /// A number that was never sent.
    Skipped,
}

/// What is remembered of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) state: State,
    pub(crate) sent_at: Time,
    pub(crate) size: u16,
    pub(crate) ack_eliciting: bool,
    /// Ack-eliciting or padded: counts towards bytes in flight (RFC 9002 §2).
    pub(crate) in_flight: bool,
    pub(crate) mtu_probe: bool,
    /// Sent as ECN-capable.
    pub(crate) ect: bool,
    /// Path state at departure, for the delivery rate sample when it is acknowledged.
    pub(crate) delivered: u64,
    pub(crate) delivered_at: Time,
    pub(crate) first_sent_at: Time,
    pub(crate) lost: u64,
    pub(crate) tx_in_flight: u64,
    pub(crate) app_limited: bool,
    /// Its stream data was also given to a quicker path.
    pub(crate) doubled: bool,
    tokens: u16,
}

/// A packet that leaves now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) sent_at: Time,
    pub(crate) size: u16,
    pub(crate) ack_eliciting: bool,
    pub(crate) in_flight: bool,
    pub(crate) mtu_probe: bool,
    pub(crate) ect: bool,
}

impl Departure {
    pub(crate) const fn new(sent_at: Time, size: u16, ack_eliciting: bool, in_flight: bool) -> Self {
        Self { sent_at, size, ack_eliciting, in_flight, mtu_probe: false, ect: false }
    }
}

impl Sent {
    const SKIPPED: Self = Self {
        state: State::Skipped,
        sent_at: Time::ZERO,
        size: 0,
        ack_eliciting: false,
        in_flight: false,
        mtu_probe: false,
        ect: false,
        delivered: 0,
        delivered_at: Time::ZERO,
        first_sent_at: Time::ZERO,
        lost: 0,
        tx_in_flight: 0,
        app_limited: false,
        doubled: false,
        tokens: 0,
    };

    /// Bytes this packet adds to the bytes in flight while its fate is open.
    pub(crate) fn flight_bytes(&self) -> u64 {
        if self.in_flight { u64::from(self.size) } else { 0 }
    }
}

/// A ring from the oldest packet still of interest to the newest.
#[derive(Debug)]
pub(crate) struct SentRing {
    /// Number of `packets[0]`.
    base: u64,
    packets: VecDeque<Sent>,
    /// Tokens of all packets in the ring, in order; `first_token` is the running number of `tokens[0]`.
    tokens: VecDeque<Token>,
    /// Running number of the first token of each packet in the ring.
    token_starts: VecDeque<u64>,
    first_token: u64,
    /// Numbers acknowledged so far, from `base` on: an ACK that repeats old ranges costs nothing.
    acked: RangeSet,
    largest_acked: Option<u64>,
    /// Every packet below is no longer outstanding; every one below the second elicits no ACK or is not either.
    outstanding_from: u64,
    eliciting_from: u64,
}

impl SentRing {
    pub(crate) const fn new_at(base: u64) -> Self {
        Self {
            base,
            packets: VecDeque::new(),
            tokens: VecDeque::new(),
            token_starts: VecDeque::new(),
            first_token: 0,
            acked: RangeSet::empty(),
            largest_acked: None,
            outstanding_from: base,
            eliciting_from: base,
        }
    }

    pub(crate) const fn new() -> Self {
        Self::new_at(0)
    }

    pub(crate) fn next_pn(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) const fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// Records packet [`SentRing::next_pn`] with the tokens of its frames.
    #[inline]
    pub(crate) fn push(&mut self, departure: Departure, tokens: &[Token]) -> &mut Sent {
        let Departure { sent_at, size, ack_eliciting, in_flight, mtu_probe, ect } = departure;
        self.token_starts.push_back(self.first_token + self.tokens.len() as u64);
        tokens.iter().for_each(|token| self.tokens.push_back(*token));
        // Filled in where it lies: to copy what was just put together would be to wait for each of its parts.
        let sent = self.packets.push_back_mut(Sent::SKIPPED);
        sent.state = State::Outstanding;
        sent.tokens = u16::try_from(tokens.len()).expect("a packet holds fewer frames than bytes");
        (sent.sent_at, sent.size) = (sent_at, size);
        (sent.ack_eliciting, sent.in_flight) = (ack_eliciting, in_flight);
        (sent.mtu_probe, sent.ect) = (mtu_probe, ect);
        sent
    }

    pub(crate) fn skip(&mut self) {
        self.token_starts.push_back(self.first_token + self.tokens.len() as u64);
        self.packets.push_back(Sent::SKIPPED);
    }

    /// Nothing sent so far can have been read: an acknowledgement of any of it is as good as one of a skipped number.
    pub(crate) fn disown(&mut self) {
        self.packets.iter_mut().for_each(|packet| packet.state = State::Skipped);
    }

    pub(crate) fn get_mut(&mut self, pn: u64) -> Option<&mut Sent> {
        self.packets.get_mut(usize::try_from(pn.checked_sub(self.base)?).ok()?)
    }

    pub(crate) fn get(&self, pn: u64) -> Option<&Sent> {
        self.packets.get(usize::try_from(pn.checked_sub(self.base)?).ok()?)
    }

    pub(crate) fn tokens(&self, pn: u64) -> impl Iterator<Item = Token> + '_ {
        self.tokens_of(pn..pn + 1)
    }

    /// The tokens of all packets in `range` that are still in the ring, in order.
    fn tokens_of(&self, range: Range<u64>) -> impl Iterator<Item = Token> + '_ {
        let places = self.places(range);
        let start_of = |i: usize| {
            let start = self.token_starts.get(i).map(|start| start - self.first_token);
            start.map_or(self.tokens.len(), |start| usize::try_from(start).unwrap_or(usize::MAX))
        };
        self.tokens.range(start_of(places.start)..start_of(places.end)).copied()
    }

    /// Where the packets of `range` are in the ring, as far as they are.
    fn places(&self, range: Range<u64>) -> Range<usize> {
        let place = |pn: u64| {
            usize::try_from(pn.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.packets.len())
        };
        place(range.start)..place(range.end)
    }

    /// Marks `range` acknowledged, calls `newly` for each packet that was not yet, and adds their tokens to `tokens`; false
    /// if one was never sent.
    #[must_use]
    pub(crate) fn acknowledge(
        &mut self,
        range: Range<u64>,
        newly: &mut impl FnMut(u64, &Sent),
        tokens: &mut Vec<Token>,
    ) -> bool {
        if range.end > self.next_pn() {
            return false;
        }
        self.largest_acked = self.largest_acked.max(Some(range.end - 1));
        let range = range.start.max(self.base)..range.end;
        let mut at = range.start;
        while at < range.end {
            // The next stretch that no earlier ACK covered.
            let known = self.acked.first_touching(at);
            let (stretch_end, resume) = match known {
                Some(k) if k.start <= at => {
                    at = k.end;
                    continue;
                }
                Some(k) if k.start < range.end => (k.start, k.end),
                _ => (range.end, range.end),
            };
            for (pn, packet) in (at..stretch_end).zip(self.packets.range_mut(self.places(at..stretch_end))) {
                if packet.state == State::Skipped {
                    return false;
                }
                newly(pn, packet);
                packet.state = State::Acked;
            }
            tokens.extend(self.tokens_of(at..stretch_end));
            self.acked.insert(at..stretch_end);
            at = resume;
        }
        true
    }

    /// Numbers of the packets whose fate is open, oldest first.
    pub(crate) fn outstanding(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.open().map(|(pn, _)| pn)
    }

    /// The packets whose fate is open, oldest first.
    pub(crate) fn open(&mut self) -> impl Iterator<Item = (u64, &Sent)> + '_ {
        while self.get(self.outstanding_from).is_some_and(|p| p.state != State::Outstanding) {
            self.outstanding_from += 1;
        }
        let from = self.outstanding_from;
        let left = self.packets.range(self.places(from..self.next_pn()));
        (from..).zip(left).filter(|(_, p)| p.state == State::Outstanding)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sent> + '_ {
        self.packets.iter()
    }

    pub(crate) fn oldest_outstanding(&mut self) -> Option<u64> {
        self.outstanding().next()
    }

    /// Asked for every timer: packets that elicit nothing, of which a mere receiver sends thousands, are passed once.
    pub(crate) fn has_outstanding_eliciting(&mut self) -> bool {
        self.eliciting_from = self.eliciting_from.max(self.base);
        let settled = |p: &Sent| p.state != State::Outstanding || !p.ack_eliciting;
        while self.get(self.eliciting_from).is_some_and(settled) {
            self.eliciting_from += 1;
        }
        self.eliciting_from < self.next_pn()
    }

    /// True if packets that nobody has to acknowledge pile up: the peer acknowledges nothing at all. Looks only now and
    /// then.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.packets.len() > IDLE_MAX
            && self.next_pn().is_multiple_of(IDLE_CHECK_EVERY)
            && self.packets.iter().filter(|p| p.state == State::Outstanding && !p.in_flight).count()
                > IDLE_MAX
    }

    /// The older half of the numbers that are kept when the ring is overgrown.
    pub(crate) fn older_half(&self) -> Range<u64> {
        self.base..self.base + self.packets.len() as u64 / 2
    }

    /// Forgets everything below `pn`, whatever its state; nothing there is in flight any more.
    pub(crate) fn forget_below(&mut self, pn: u64) {
        while self.base < pn && self.pop_front() {}
        self.tidy();
    }

    /// Forgets packets from the old end whose fate is settled; lost ones only once they were sent before `lost_before`.
    pub(crate) fn forget(&mut self, lost_before: Time) {
        while let Some(packet) = self.packets.front() {
            let done = match packet.state {
                State::Outstanding => false,
                State::Acked | State::Skipped => true,
                State::Lost | State::Orphaned => packet.sent_at < lost_before,
            };
            // A skipped number at the very end must stay: it is how an optimistic ACK is caught.
            if !done || (packet.state == State::Skipped && self.packets.len() == 1) {
                break;
            }
            self.pop_front();
        }
        self.tidy();
    }

    fn pop_front(&mut self) -> bool {
        let Some(packet) = self.packets.pop_front() else { return false };
        for _ in 0..packet.tokens {
            self.tokens.pop_front();
        }
        self.first_token += u64::from(packet.tokens);
        self.token_starts.pop_front();
        self.base += 1;
        true
    }

    fn tidy(&mut self) {
        self.acked.remove_below(self.base);
        self.outstanding_from = self.outstanding_from.max(self.base);
    }

    /// Gives back the memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.packets.shrink_to_fit();
        self.tokens.shrink_to_fit();
        self.token_starts.shrink_to_fit();
        self.acked.shrink();
    }
}

#[cfg(test)]
mod tests;
