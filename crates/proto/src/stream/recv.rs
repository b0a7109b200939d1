//! The receiving half of one stream (RFC 9000 §3.2).
//!
//! Owns the bytes that arrived and were not read, the final size, and the credit of this stream. It charges the
//! connection's window for what it accepts; it does not know other streams, events or the table.

use super::flow::Window;
use super::{Shared, Tally};
use crate::error::Violation;
use mpquic_base::{PageStore, Pages, RangeSet};
use mpquic_wire::{Code, VARINT_MAX};

/// Ranges of one stream that wait for bytes before them. At 1200 bytes each and every other packet missing, that is
/// a window of 75 MiB; at one byte each it is 512 KiB of bookkeeping.
pub(super) const FRAGMENTS_MAX: usize = 32_768;
/// The same for all streams of a connection together: 2 MiB of bookkeeping.
pub(super) const FRAGMENTS_PER_CONNECTION: usize = 4 * FRAGMENTS_MAX;

/// What became of the data of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absorbed {
    Yes,
    /// Too fragmented to be kept: the packet must not be acknowledged, so that the bytes come again.
    NoRoom,
}

/// What the application finds when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Bytes(u64),
    Blocked,
    End,
    Reset(u64),
    /// The application itself gave up on this half.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Data,
    /// The application was told the end.
    Ended,
    Reset {
        code: u64,
        told: bool,
    },
    /// The application gets what lies below `reliable`, and then the reset.
    ResetAt {
        code: u64,
        reliable: u64,
    },
    /// The application wants no more; what still arrives is counted and dropped.
    Stopped {
        code: u64,
        due: bool,
    },
}

/// draft-ietf-quic-reliable-stream-reset-10 §5.2: the code of a reset stands.
fn same_code(before: u64, now: u64) -> Result<(), Violation> {
    let changed = || Violation::new(Code::STREAM_STATE_ERROR, "the code of a reset changed");
    if before == now { Ok(()) } else { Err(changed()) }
}

#[derive(Debug)]
pub(super) struct Recv {
    pages: Pages,
    /// Every byte below this one arrived.
    prefix: u64,
    /// What arrived above `prefix`.
    ahead: RangeSet,
    /// Bytes held for the application.
    unread: u64,
    /// Highest offset that arrived; what flow control counts.
    highest: u64,
    final_size: Option<u64>,
    /// `consumed` is the application's read position.
    window: Window,
    phase: Phase,
    /// The peer may hear nothing of the stream yet.
    pub(super) withheld: bool,
}

impl Recv {
    pub(super) fn new(window: u64, cap: u64) -> Self {
        Self {
            pages: Pages::new(),
            prefix: 0,
            ahead: RangeSet::new(),
            unread: 0,
            highest: 0,
            final_size: None,
            window: Window::new(window, cap),
            phase: Phase::Data,
            withheld: false,
        }
    }

    /// STREAM: data from the peer. Nothing changes unless the answer is `Absorbed::Yes`.
    pub(super) fn on_data(
        &mut self,
        shared: &mut Shared,
        offset: u64,
        data: &[u8],
        fin: bool,
    ) -> Result<Absorbed, Violation> {
        let end = offset + data.len() as u64;
        let grown = self.check(shared, end, fin)?;
        match self.phase {
            Phase::ResetAt { reliable, .. } => {
                // The final size is known and charged, and nobody reads what lies beyond.
                let wanted = usize::try_from(reliable.saturating_sub(offset)).unwrap_or(usize::MAX);
                let data = &data[..data.len().min(wanted)];
                if !self.has_room(shared, offset, offset + data.len() as u64) {
                    return Ok(Absorbed::NoRoom);
                }
                self.lay_down(shared, offset, data);
            }
            Phase::Data if !self.has_room(shared, offset, end) => return Ok(Absorbed::NoRoom),
            Phase::Data => {
                self.highest += grown;
                shared.received += grown;
                self.lay_down(shared, offset, data);
            }
            Phase::Stopped { .. } => {
                self.highest += grown;
                shared.received += grown;
                self.consume(shared, grown);
            }
            // The final size is known and charged.
            Phase::Ended | Phase::Reset { .. } => {}
        }
        if fin {
            self.final_size = Some(end);
        }
        Ok(Absorbed::Yes)
    }

    /// Whether the peer may reach `end`, and by how much that is further than before.
    fn check(&self, shared: &Shared, end: u64, is_final: bool) -> Result<u64, Violation> {
        let flow = |why| Err(Violation::new(Code::FLOW_CONTROL_ERROR, why));
        let size = |why| Err(Violation::new(Code::FINAL_SIZE_ERROR, why));
        // RFC 9000 §19.8: no stream reaches beyond 2^62-1.
        if end > VARINT_MAX {
            return flow("stream offset above 2^62-1");
        }
        // RFC 9000 §4.5: the final size never changes, and nothing lies beyond it.
        match self.final_size {
            Some(known) if end > known => return size("data beyond the final size"),
            Some(known) if is_final && end != known => return size("the final size changed"),
            None if is_final && end < self.highest => return size("final size below data already received"),
            _ => {}
        }
        let grown = end.saturating_sub(self.highest);
        if grown > 0 && end > self.window.granted() {
            return flow("more than MAX_STREAM_DATA");
        }
        if grown > shared.receive.granted() - shared.received {
            return flow("more than MAX_DATA");
        }
        Ok(grown)
    }

    /// Data that continues the prefix always fits, so a full table never stops progress.
    fn has_room(&self, shared: &Shared, offset: u64, end: u64) -> bool {
        if offset <= self.prefix || offset == end {
            return true;
        }
        if self.ahead.len() < FRAGMENTS_MAX && shared.fragments < FRAGMENTS_PER_CONNECTION {
            return true;
        }
        // What touches a range that is there already makes no new one.
        self.ahead.contains(offset - 1) || self.ahead.contains(offset) || self.ahead.contains(end)
    }

    fn lay_down(&mut self, shared: &mut Shared, offset: u64, data: &[u8]) {
        let skip = usize::try_from(self.prefix.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        let (offset, data) = (offset + skip as u64, &data[skip..]);
        let end = offset + data.len() as u64;
        if data.is_empty() {
            return;
        }
        self.pages.write(&mut shared.store, offset, data);
        if offset == self.prefix && self.ahead.is_empty() {
            self.unread += end - offset;
            self.prefix = end;
            return;
        }
        let before = self.ahead.len();
        self.unread += self.ahead.insert(offset..end);
        if offset == self.prefix
            && let Some(first) = self.ahead.pop_first()
        {
            self.prefix = first.end;
        }
        shared.fragments = shared.fragments + self.ahead.len() - before;
    }

    /// RESET_STREAM. True if the application has something new to hear.
    pub(super) fn on_reset(&mut self, shared: &mut Shared, code: u64, size: u64) -> Result<bool, Violation> {
        let grown = self.check(shared, size, true)?;
        let complete = self.final_size == Some(self.prefix);
        self.charge_final(shared, grown, size);
        match self.phase {
            Phase::ResetAt { code: before, .. } => {
                same_code(before, code)?;
                self.phase = Phase::Reset { code, told: false };
                self.discard(shared);
                Ok(true)
            }
            // RFC 9000 §3.2: once everything arrived, FIN included, a reset may be ignored.
            Phase::Data if complete => Ok(false),
            Phase::Data => {
                self.phase = Phase::Reset { code, told: false };
                self.discard(shared);
                Ok(true)
            }
            Phase::Stopped { .. } => {
                self.consume(shared, grown);
                Ok(false)
            }
            Phase::Ended | Phase::Reset { .. } => Ok(false),
        }
    }

    /// RFC 9000 §4.5: bytes that were skipped count like bytes that were sent.
    fn charge_final(&mut self, shared: &mut Shared, grown: u64, size: u64) {
        self.highest += grown;
        shared.received += grown;
        self.final_size = Some(size);
    }

    /// RESET_STREAM_AT. True if the application may have something new to find.
    pub(super) fn on_reset_at(
        &mut self,
        shared: &mut Shared,
        code: u64,
        size: u64,
        reliable: u64,
    ) -> Result<bool, Violation> {
        let grown = self.check(shared, size, true)?;
        let complete = self.final_size == Some(self.prefix);
        self.charge_final(shared, grown, size);
        match self.phase {
            // As with RESET_STREAM.
            Phase::Data if complete => Ok(false),
            Phase::Data => {
                self.shrink_to(shared, code, reliable);
                Ok(true)
            }
            Phase::ResetAt { code: before, reliable: held } => {
                same_code(before, code)?;
                // draft-ietf-quic-reliable-stream-reset-10 §5.2: frames may overtake each other; the smallest counts.
                if reliable < held {
                    self.shrink_to(shared, code, reliable);
                }
                Ok(reliable < held)
            }
            Phase::Stopped { .. } => {
                self.consume(shared, grown);
                Ok(false)
            }
            Phase::Reset { code: before, .. } => same_code(before, code).map(|()| false),
            Phase::Ended => Ok(false),
        }
    }

    fn shrink_to(&mut self, shared: &mut Shared, code: u64, reliable: u64) {
        self.phase = Phase::ResetAt { code, reliable };
        // What lies beyond is not read any more: neither its pages nor its ranges are kept.
        let beyond = reliable.max(self.window.consumed())..self.highest.max(reliable);
        let below = self.prefix.min(beyond.end).saturating_sub(beyond.start);
        let ahead: u64 = self.ahead.overlapping(beyond.clone()).map(|r| r.end - r.start).sum();
        let fragments = self.ahead.len();
        self.unread -= below + ahead;
        self.ahead.remove(beyond.clone());
        shared.fragments = shared.fragments + self.ahead.len() - fragments;
        self.prefix = self.prefix.min(beyond.start);
        self.pages.truncate(&mut shared.store, beyond.start);
        self.settle_reset(shared);
    }

    /// The reliable part was read: what follows is the reset.
    fn settle_reset(&mut self, shared: &mut Shared) {
        if let Phase::ResetAt { code, reliable } = self.phase
            && self.window.consumed() >= reliable
        {
            self.phase = Phase::Reset { code, told: false };
            self.discard(shared);
        }
    }

    /// Drops what is held and returns the credit for it.
    fn discard(&mut self, shared: &mut Shared) {
        shared.fragments -= self.ahead.len();
        self.ahead = RangeSet::new();
        self.unread = 0;
        self.pages.release(&mut shared.store, self.highest);
        self.pages.clear(&mut shared.store);
        let rest = self.highest - self.window.consumed();
        self.consume(shared, rest);
    }

    fn consume(&mut self, shared: &mut Shared, n: u64) {
        self.window.consume(n);
        shared.receive.consume(n);
    }

    pub(super) fn look(&self) -> Look {
        match self.phase {
            Phase::Ended => Look::End,
            Phase::Reset { code, .. } => Look::Reset(code),
            Phase::Stopped { .. } => Look::Stopped,
            Phase::Data | Phase::ResetAt { .. } if self.prefix > self.window.consumed() => {
                Look::Bytes(self.prefix - self.window.consumed())
            }
            Phase::Data if self.final_size == Some(self.prefix) => Look::End,
            Phase::Data | Phase::ResetAt { .. } => Look::Blocked,
        }
    }

    /// The application saw what [`Recv::look`] found; an end that was seen is over.
    pub(super) fn told(&mut self) {
        match self.look() {
            Look::End => self.phase = Phase::Ended,
            Look::Reset(code) => self.phase = Phase::Reset { code, told: true },
            Look::Bytes(_) | Look::Blocked | Look::Stopped => {}
        }
    }

    /// How far the application could come: changes whenever there is something new to read.
    pub(super) fn horizon(&self) -> (u64, bool) {
        (self.prefix, self.final_size == Some(self.prefix))
    }

    /// Copies as much as fits; the caller looked and found bytes.
    pub(super) fn read(&mut self, shared: &mut Shared, out: &mut [u8]) -> usize {
        let n = usize::try_from(self.prefix - self.window.consumed()).unwrap_or(usize::MAX).min(out.len());
        self.pages.read(self.window.consumed(), &mut out[..n]);
        shared.copied_out += n as u64;
        self.skip(shared, n as u64);
        n
    }

    /// Moves up to `max` bytes to a window that has the offsets of this stream; the caller looked and found bytes.
    pub(super) fn read_pages(
        &mut self,
        shared: &mut Shared,
        into: (&mut Pages, &mut PageStore),
        max: usize,
    ) -> usize {
        let from = self.window.consumed();
        let n = usize::try_from(self.prefix - from).unwrap_or(usize::MAX).min(max);
        into.0.adopt(into.1, &mut self.pages, &mut shared.store, from..from + n as u64);
        self.skip(shared, n as u64);
        n
    }

    /// The next bytes as far as they lie together.
    pub(super) fn chunk(&self) -> &[u8] {
        let available = usize::try_from(self.prefix - self.window.consumed()).unwrap_or(usize::MAX);
        let chunk = self.pages.chunk(self.window.consumed());
        &chunk[..chunk.len().min(available)]
    }

    /// Takes up to `n` readable bytes away.
    pub(super) fn skip(&mut self, shared: &mut Shared, n: u64) {
        if !matches!(self.phase, Phase::Data | Phase::ResetAt { .. }) {
            return;
        }
        let n = n.min(self.prefix - self.window.consumed());
        self.consume(shared, n);
        self.unread -= n;
        self.release(&mut shared.store);
        self.settle_reset(shared);
    }

    fn release(&mut self, store: &mut PageStore) {
        self.pages.release(store, self.window.consumed());
        if self.unread == 0 {
            self.pages.clear(store); // an idle stream holds no page
        }
    }

    /// The application wants no more of it; false if there is nothing left to stop.
    pub(super) fn stop(&mut self, shared: &mut Shared, code: u64) -> bool {
        match self.phase {
            Phase::Data | Phase::ResetAt { .. } => {
                // RFC 9000 §3.5: with the final size known, asking the peer to stop is of little use.
                self.phase = Phase::Stopped { code, due: self.final_size.is_none() };
                self.discard(shared);
                true
            }
            Phase::Reset { told: false, .. } => {
                self.told();
                true
            }
            Phase::Ended | Phase::Reset { .. } | Phase::Stopped { .. } => false,
        }
    }

    /// The code of a STOP_SENDING that waits to be written.
    pub(super) fn stop_due(&self) -> Option<u64> {
        match self.phase {
            Phase::Stopped { code, due: true } if self.final_size.is_none() => Some(code),
            _ => None,
        }
    }

    pub(super) fn set_stop_due(&mut self, lost: bool) {
        if let Phase::Stopped { due, .. } = &mut self.phase {
            *due = lost;
        }
    }

    /// The window, as long as more credit could be of use to the peer.
    pub(super) fn window(&mut self) -> Option<&mut Window> {
        (self.phase == Phase::Data && self.final_size.is_none()).then_some(&mut self.window)
    }

    pub(super) fn credit_due(&self) -> bool {
        self.phase == Phase::Data && self.final_size.is_none() && self.window.due()
    }

    pub(super) fn worth_tuning(&self) -> bool {
        self.phase == Phase::Data && self.final_size.is_none() && self.window.worth_tuning()
    }

    #[cfg(test)]
    pub(super) fn fragments(&self) -> usize {
        self.ahead.len()
    }

    #[cfg(test)]
    pub(super) fn window_size(&self) -> u64 {
        self.window.size()
    }

    /// What this half adds to the sums.
    #[inline]
    pub(super) fn tally(&self) -> Tally {
        let control = u64::from(!self.withheld && (self.stop_due().is_some() || self.credit_due()));
        Tally { control, unread: self.unread, ..Tally::default() }
    }

    /// Nothing will come, nothing is held, and the application knows.
    pub(super) fn is_done(&self) -> bool {
        match self.phase {
            Phase::Data | Phase::ResetAt { .. } => false,
            Phase::Ended => true,
            Phase::Reset { told, .. } => told,
            Phase::Stopped { .. } => self.final_size.is_some(),
        }
    }
}
