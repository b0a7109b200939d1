//! The sending half of one stream (RFC 9000 §3.1).
//!
//! Owns the bytes from the application's write until their acknowledgement, and what became of each of them. It
//! charges the connection's credit for what it sends first; it does not know other streams, events or the table.

use super::flow::Credit;
use super::{Shared, Tally};
use crate::error::Refused;
use crate::frames::Frames;
use core::ops::Range;
use mpquic_base::{PageStore, Pages, RangeSet, StreamId};

/// What a packet takes, about, in bytes.
const AHEAD: usize = 1500;
/// Bytes whose copy costs more than it does to seal them from another place.
const APART_MIN: usize = 256;

/// What happened to the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    No,
    /// The application finished; not sent yet.
    Wanted,
    Sent,
    Lost,
    Acked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Data,
    Reset {
        code: u64,
        due: bool,
        /// The peer's STOP_SENDING was the reason.
        asked: bool,
        /// The peer knows; nothing is left to do.
        acked: bool,
    },
    /// The first `reliable` bytes are delivered, then comes the reset. Nothing beyond is sent any more.
    ResetAt {
        code: u64,
        reliable: u64,
        due: bool,
        /// The peer may have heard of it: code and final size stand.
        said: bool,
        acked: bool,
    },
    /// All data and the FIN were acknowledged.
    Delivered,
}

/// What an attempt to write a STREAM frame came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// There was nothing to send.
    Nothing,
    /// The packet is full.
    Full,
    /// That many bytes went out.
    Bytes(u64),
}

impl Wrote {
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::Bytes(n) => n,
            Self::Nothing | Self::Full => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Send {
    pages: Pages,
    /// Where the application's next write goes.
    written: u64,
    /// The peer's limit; `used` is the highest offset that was sent.
    credit: Credit,
    /// Every byte below this one was acknowledged.
    acked: u64,
    /// What was acknowledged above `acked`, and how many bytes that is.
    ahead: RangeSet,
    ahead_bytes: u64,
    /// What has to be sent again, and how many bytes that is; disjoint from all that was acknowledged.
    lost: RangeSet,
    lost_bytes: u64,
    fin: Fin,
    phase: Phase,
    pub(super) priority: i32,
    /// The application wants to write and could not.
    pub(super) waiting: bool,
    /// The peer may hear nothing of the stream yet.
    pub(super) withheld: bool,
}

impl Send {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            pages: Pages::new(),
            written: 0,
            credit: Credit::new(limit),
            acked: 0,
            ahead: RangeSet::new(),
            ahead_bytes: 0,
            lost: RangeSet::new(),
            lost_bytes: 0,
            fin: Fin::No,
            phase: Phase::Data,
            priority: 0,
            waiting: false,
            withheld: false,
        }
    }

    /// Whether the application may still write, finish or reset.
    pub(super) fn check_open(&self) -> Result<(), Refused> {
        match self.phase {
            Phase::Data if self.fin == Fin::No => Ok(()),
            Phase::Reset { code, asked: true, .. } => Err(Refused::Stopped(code)),
            Phase::Data | Phase::Reset { .. } | Phase::ResetAt { .. } | Phase::Delivered => {
                Err(Refused::Finished)
            }
        }
    }

    pub(super) fn write(&mut self, store: &mut PageStore, data: &[u8]) {
        self.pages.write(store, self.written, data);
        self.written += data.len() as u64;
    }

    /// Moves `n` bytes over from a window that has the offsets of this stream.
    pub(super) fn write_pages(&mut self, store: &mut PageStore, from: (&mut Pages, &mut PageStore), n: u64) {
        let range = self.written..self.written + n;
        self.pages.adopt(store, from.0, from.1, range);
        self.written += n;
        from.0.release(from.1, self.written);
    }

    pub(super) fn finish(&mut self) -> Result<(), Refused> {
        self.check_open()?;
        self.fin = Fin::Wanted;
        self.waiting = false;
        Ok(())
    }

    pub(super) fn reset(&mut self, store: &mut PageStore, code: u64) -> Result<(), Refused> {
        match self.phase {
            Phase::Data | Phase::ResetAt { .. } => self.abort(store, code, false),
            Phase::Reset { .. } | Phase::Delivered => return self.check_open(),
        }
        Ok(())
    }

    /// Ends the stream after its first `reliable` bytes, or all that were written if those are fewer.
    pub(super) fn reset_at(&mut self, store: &mut PageStore, code: u64, size: u64) -> Result<(), Refused> {
        let size = size.min(self.written);
        match &mut self.phase {
            Phase::Data => {
                self.phase = Phase::ResetAt { code, reliable: size, due: true, said: false, acked: false };
                self.fin = Fin::No;
            }
            // draft-ietf-quic-reliable-stream-reset-10 §5.2: it may only shrink, and the code stands.
            Phase::ResetAt { reliable, .. } if size >= *reliable => return Ok(()),
            Phase::ResetAt { reliable, due, acked, .. } => {
                *reliable = size;
                (*due, *acked) = (true, false);
            }
            Phase::Reset { .. } | Phase::Delivered => return self.check_open(),
        }
        self.waiting = false;
        self.cut(store, size);
        Ok(())
    }

    /// What lies beyond `size` is neither kept nor sent again.
    fn cut(&mut self, store: &mut PageStore, size: u64) {
        let size = size.max(self.acked);
        let beyond = size..self.written;
        let sum = |set: &RangeSet| set.overlapping(beyond.clone()).map(|r| r.end - r.start).sum::<u64>();
        self.ahead_bytes -= sum(&self.ahead);
        self.lost_bytes -= sum(&self.lost);
        self.ahead.remove(beyond.clone());
        self.lost.remove(beyond);
        self.written = size;
        self.pages.truncate(store, size);
        // A smaller size is yet to be said, so this cannot be the end.
    }

    /// The peer turns out not to know such resets: a plain one takes the place of this.
    pub(super) fn forgo_reliable(&mut self, store: &mut PageStore) {
        if let Phase::ResetAt { code, .. } = self.phase {
            self.abort(store, code, false);
        }
    }

    /// A reset whose reliable part and frame were acknowledged is over; true if that is news.
    fn settle_reset(&mut self) -> bool {
        if let Phase::ResetAt { code, acked: true, .. } = self.phase
            && self.acked >= self.written
        {
            self.phase = Phase::Reset { code, due: false, asked: false, acked: true };
            return true;
        }
        false
    }

    /// STOP_SENDING: answered with a reset that carries the peer's code (RFC 9000 §3.5). True if that is news.
    pub(super) fn on_stop(&mut self, store: &mut PageStore, code: u64) -> bool {
        let news = self.is_sending();
        match self.phase {
            Phase::Data => self.abort(store, code, true),
            // draft-ietf-quic-reliable-stream-reset-10 §5.4: nobody wants the reliable part any more.
            Phase::ResetAt { .. } => self.abort(store, code, false),
            Phase::Reset { .. } | Phase::Delivered => {}
        }
        news
    }

    fn abort(&mut self, store: &mut PageStore, code: u64, asked: bool) {
        let code = match self.phase {
            Phase::ResetAt { code, said: true, .. } => code,
            _ => code,
        };
        self.phase = Phase::Reset { code, due: true, asked, acked: false };
        self.drop_data(store);
        self.waiting = false;
    }

    fn drop_data(&mut self, store: &mut PageStore) {
        (self.ahead, self.ahead_bytes) = (RangeSet::new(), 0);
        (self.lost, self.lost_bytes) = (RangeSet::new(), 0);
        self.pages.release(store, self.written);
        self.pages.clear(store);
        self.written = self.credit.used();
        self.acked = self.written;
    }

    /// The reset that waits to be written: code, final size, and the reliable size if there is one.
    pub(super) fn reset_due(&self) -> Option<(u64, u64, Option<u64>)> {
        let sent = self.credit.used();
        match self.phase {
            Phase::Reset { code, due: true, .. } => Some((code, sent, None)),
            // draft-ietf-quic-reliable-stream-reset-10 §4: put off until credit has let the reliable part go.
            Phase::ResetAt { code, reliable, due: true, .. } if sent >= self.written => {
                Some((code, sent, Some(reliable)))
            }
            _ => None,
        }
    }

    pub(super) fn reset_written(&mut self) {
        match &mut self.phase {
            Phase::Reset { due, .. } => *due = false,
            Phase::ResetAt { due, said, .. } => (*due, *said) = (false, true),
            Phase::Data | Phase::Delivered => {}
        }
    }

    /// The reset with this reliable size was lost.
    pub(super) fn reset_lost(&mut self, size: Option<u64>) {
        match (&mut self.phase, size) {
            (Phase::Reset { due, acked: false, .. }, None) => *due = true,
            (Phase::ResetAt { due, reliable, acked: false, .. }, Some(size)) if *reliable == size => {
                *due = true;
            }
            _ => {} // overtaken
        }
    }

    /// True if that completed what the reset had promised.
    pub(super) fn reset_acked(&mut self, size: Option<u64>) -> bool {
        match (&mut self.phase, size) {
            (Phase::Reset { due, acked, .. }, None) => {
                (*due, *acked) = (false, true);
                false
            }
            (Phase::ResetAt { due, acked, reliable, .. }, Some(size)) if *reliable == size => {
                (*due, *acked) = (false, true);
                self.settle_reset()
            }
            _ => false,
        }
    }

    /// Bytes are still sent and sent again.
    const fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Data | Phase::ResetAt { .. })
    }

    /// The peer's code, if its STOP_SENDING ended this half.
    pub(super) fn stopped(&self) -> Option<u64> {
        match self.phase {
            Phase::Reset { code, asked: true, .. } => Some(code),
            _ => None,
        }
    }

    pub(super) fn raise(&mut self, limit: u64) {
        self.credit.raise(limit);
    }

    /// The limit of a STREAM_DATA_BLOCKED that waits to be written.
    pub(super) fn blocked(&self) -> Option<u64> {
        self.credit.blocked(self.is_sending() && self.written > self.credit.used())
    }

    pub(super) fn credit(&mut self) -> &mut Credit {
        &mut self.credit
    }

    /// True if this acknowledgement completed the stream, or all that was promised of it.
    pub(super) fn acked(&mut self, store: &mut PageStore, range: Range<u64>, fin: bool) -> bool {
        if !self.is_sending() {
            return false;
        }
        let whole = self.phase == Phase::Data;
        if fin && whole {
            self.fin = Fin::Acked;
        }
        let range = range.start..range.end.min(self.written);
        if range.is_empty() && !whole {
            return false; // beyond the reliable part
        }
        if !self.lost.is_empty() {
            let found: u64 = self.lost.overlapping(range.clone()).map(|r| r.end - r.start).sum();
            self.lost_bytes -= found;
            self.lost.remove(range.clone());
        }
        if range.start > self.acked {
            self.ahead_bytes += self.ahead.insert(range);
        } else if range.end > self.acked {
            self.acked = range.end;
            self.absorb_ahead();
            self.pages.release(store, self.acked);
            if self.acked == self.written {
                self.pages.clear(store); // an idle stream holds no page
            }
        }
        if !whole {
            return self.settle_reset();
        }
        let done = self.fin == Fin::Acked && self.acked == self.written;
        if done {
            self.phase = Phase::Delivered;
        }
        done
    }

    /// The prefix grew: takes over what it reached.
    fn absorb_ahead(&mut self) {
        while let Some(first) = self.ahead.first().filter(|r| r.start <= self.acked) {
            self.ahead.pop_first();
            self.ahead_bytes -= first.end - first.start;
            self.acked = self.acked.max(first.end);
        }
    }

    pub(super) fn lost(&mut self, range: Range<u64>, fin: bool) {
        if !self.is_sending() {
            return;
        }
        if fin && self.fin == Fin::Sent {
            self.fin = Fin::Lost;
        }
        let range = range.start.max(self.acked)..range.end.min(self.written);
        if range.is_empty() {
            return;
        }
        self.lost_bytes += self.lost.insert(range.clone());
        // A copy of it may have arrived.
        for arrived in self.ahead.overlapping(range) {
            self.lost_bytes -= arrived.end - arrived.start;
            self.lost.remove(arrived);
        }
    }

    /// Nothing that was sent has arrived, nor ever will: all of it is new again, under another limit.
    pub(super) fn rewind(&mut self, limit: Option<u64>) {
        self.credit = Credit::new(limit);
        (self.lost, self.lost_bytes) = (RangeSet::new(), 0);
        if matches!(self.fin, Fin::Sent | Fin::Lost) {
            self.fin = Fin::Wanted;
        }
        match &mut self.phase {
            Phase::Reset { due, .. } => {
                *due = true;
                (self.written, self.acked) = (0, 0);
            }
            Phase::ResetAt { due, said, .. } => (*due, *said) = (true, false),
            Phase::Data | Phase::Delivered => {}
        }
    }

    fn fin_unsent(&self) -> bool {
        matches!(self.fin, Fin::Wanted | Fin::Lost)
    }

    /// The FIN is all that is left to send, for the first time.
    pub(super) fn bare_fin(&self) -> bool {
        self.phase == Phase::Data && self.fin == Fin::Wanted && self.credit.used() == self.written
    }

    /// Sends again what was lost, or a FIN on its own; neither needs credit.
    pub(super) fn write_again(&mut self, id: StreamId, frames: &mut Frames<'_>) -> Wrote {
        let range = match self.lost.first() {
            Some(range) => range,
            None if self.wants_again() => self.written..self.written,
            None => return Wrote::Nothing,
        };
        let fin = self.fin_unsent() && range.end == self.written;
        let Some(len) = self.put(id, frames, range.clone(), fin) else { return Wrote::Full };
        self.lost.remove(range.start..range.start + len);
        self.lost_bytes -= len;
        Wrote::Bytes(len)
    }

    /// Sends bytes for the first time.
    pub(super) fn write_fresh(
        &mut self,
        id: StreamId,
        shared: &mut Shared,
        frames: &mut Frames<'_>,
    ) -> Wrote {
        let from = self.credit.used();
        let available = self.fresh().min(shared.send.left());
        if available == 0 {
            return Wrote::Nothing;
        }
        let fin = self.fin_unsent() && from + available == self.written;
        let Some(len) = self.put(id, frames, from..from + available, fin) else { return Wrote::Full };
        self.credit.take(len);
        shared.send.take(len);
        Wrote::Bytes(len)
    }

    /// Bytes from `offset` on, within a page, that were written and not yet acknowledged.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> &[u8] {
        &self.pages.chunk(offset)[..len]
    }

    /// The next packet's bytes are going to be read soon.
    pub(super) fn expect_fresh(&self) {
        self.pages.expect(self.credit.used(), AHEAD);
    }

    fn put(&mut self, id: StreamId, frames: &mut Frames<'_>, range: Range<u64>, fin: bool) -> Option<u64> {
        let pages = &self.pages;
        let fill = |out: &mut [u8], may_leave: bool| {
            let last = Pages::in_last_page(range.start, out.len());
            let left = if may_leave && last >= APART_MIN { last } else { 0 };
            let copied = out.len() - left;
            pages.read(range.start, &mut out[..copied]);
            left
        };
        let (len, fin_out) = frames.stream(id, range.start, range.end - range.start, fin, fill)?;
        if fin_out {
            self.fin = Fin::Sent;
        }
        Some(u64::from(len))
    }

    /// Bytes never sent that the stream's own limit lets go.
    pub(super) fn fresh(&self) -> u64 {
        self.written.min(self.credit.limit()).saturating_sub(self.credit.used())
    }

    /// Bytes to send again, and a lost FIN as one.
    pub(super) fn again(&self) -> u64 {
        self.lost_bytes + u64::from(self.phase == Phase::Data && self.fin == Fin::Lost)
    }

    pub(super) fn wants_again(&self) -> bool {
        !self.withheld && (self.again() > 0 || self.bare_fin())
    }

    /// Bytes in the buffer, acknowledged ones that wait for their turn included.
    pub(super) fn held(&self) -> u64 {
        self.written - self.acked
    }

    /// Bytes beyond the peer's limit, which no path could carry now.
    pub(super) fn stalled(&self) -> u64 {
        self.written.saturating_sub(self.credit.limit().max(self.acked))
    }

    /// How far it may be written with at most `slack` bytes beyond the peer's limit.
    pub(super) fn headroom(&self, slack: u64) -> u64 {
        self.credit.limit().saturating_add(slack).saturating_sub(self.written)
    }

    /// Bytes that are in flight or could be.
    pub(super) fn moving(&self) -> u64 {
        self.held() - self.ahead_bytes - self.stalled()
    }

    /// What this half adds to the sums.
    #[inline]
    pub(super) fn tally(&self) -> Tally {
        let again = if self.withheld { 0 } else { self.again() };
        Tally { again, held: self.held(), moving: self.moving(), ..self.unsent() }
    }

    /// What of that sending for the first time can change.
    #[inline]
    pub(super) fn unsent(&self) -> Tally {
        if self.withheld {
            return Tally::default();
        }
        Tally {
            fresh: self.fresh(),
            bare_fins: u64::from(self.bare_fin()),
            control: u64::from(self.reset_due().is_some() || self.blocked().is_some()),
            ..Tally::default()
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Delivered | Phase::Reset { acked: true, .. })
    }
}
