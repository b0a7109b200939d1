//! Bytes between a stream's handle and its shard: one bounded box per direction.
//!
//! A box holds pages that are addressed as the stream is. Whole pages change hands at each step, so a byte is copied only
//! where the handle's user brings or takes it. The shard holds the lock of a box for moving pages, a handle for one write.
//! Empty pages go to the [`Depot`] of the connection, and none is allocated before its first byte.
//! Each box knows whether the shard is already going to look at it; only if not does a handle have to tell.

use super::bells::Bells;
use super::depot::{Depot, INBOX_BYTES, OUTBOX_BYTES};
use crate::error::{ReadError, WriteError};
use crate::locked;
use bytes::{Buf as _, Bytes};
use core::ops::Range;
use core::task::{Context, Poll, Waker};
use mpquic_base::pages::PAGE;
use mpquic_base::{PageStore, Pages, StreamId};
use mpquic_proto::{Connection, Read, Refused};
use std::sync::{Arc, Mutex};

/// Bytes of a stream, in their order.
#[derive(Debug)]
pub(crate) struct Piece {
    pages: Pages,
    store: PageStore,
    range: Range<u64>,
    depot: Arc<Depot>,
}

impl Piece {
    pub(crate) fn new(depot: Arc<Depot>) -> Self {
        Self { pages: Pages::new(), store: PageStore::keeping(INBOX_BYTES / PAGE), range: 0..0, depot }
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.stock(data.len());
        self.pages.write(&mut self.store, self.range.end, data);
        self.range.end += data.len() as u64;
    }

    /// The next bytes as far as they lie together.
    pub(crate) fn front(&self) -> &[u8] {
        let chunk = self.pages.chunk(self.range.start);
        &chunk[..chunk.len().min(self.len())]
    }

    /// Takes the next `n` bytes away, or as many as there are.
    pub(crate) fn advance(&mut self, n: usize) {
        self.range.start += n.min(self.len()) as u64;
        self.pages.release(&mut self.store, self.range.start);
        if self.is_empty() {
            self.pages.clear(&mut self.store);
        }
        self.restock();
    }

    /// Copies the next bytes.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        let n = self.len().min(out.len());
        self.pages.read(self.range.start, &mut out[..n]);
        self.advance(n);
        n
    }

    /// Takes all that `from` holds and leaves it empty, at the place where the stream goes on; this one has to be empty.
    /// No byte is copied: a page that is not full yet changes hands as well, and what follows gets another.
    fn take_all(&mut self, from: &mut Self) {
        assert!(self.is_empty(), "its bytes would be lost");
        core::mem::swap(self, from);
        from.range = self.range.end..self.range.end;
        from.pages.release(&mut from.store, from.range.end);
    }

    /// Takes spare pages for `bytes` more.
    fn stock(&mut self, bytes: usize) {
        self.depot.stock(&mut self.store, bytes);
    }

    fn restock(&mut self) {
        self.depot.restock(&mut self.store);
    }

    /// Nothing will come any more.
    fn close(&mut self) {
        (self.pages, self.store) = (Pages::new(), PageStore::keeping(0));
        self.range.start = self.range.end;
    }
}

/// From a handle to the peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    out: Mutex<Out>,
    depot: Arc<Depot>,
}

#[derive(Debug)]
struct Out {
    piece: Piece,
    /// The shard was told, or waits until the connection takes more of this stream.
    attended: bool,
    finish: bool,
    /// `Ok`: the peer has everything.
    over: Option<Result<(), WriteError>>,
    waker: Option<Waker>,
}

/// What the shard found in an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// Some of it is left, or more will be announced.
    Rest,
    /// Nothing more will come; everything before was collected.
    Finish,
}

impl Outbox {
    pub(crate) fn new(depot: &Arc<Depot>) -> Arc<Self> {
        let piece = Piece::new(Arc::clone(depot));
        let out = Out { piece, attended: false, finish: false, over: None, waker: None };
        Arc::new(Self { out: Mutex::new(out), depot: Arc::clone(depot) })
    }

    /// Takes as much of `data` as there is room for. The flag says whether the shard has to be told.
    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        data: &[u8],
    ) -> Poll<Result<(usize, bool), WriteError>> {
        self.poll_put(cx, data.len(), |piece, n| piece.write(&data[..n]))
    }

    /// Takes as much off the front of `chunk` as there is room for.
    pub(crate) fn poll_write_chunk(
        &self,
        cx: &Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(usize, bool), WriteError>> {
        self.poll_put(cx, chunk.len(), |piece, n| {
            piece.write(&chunk[..n]);
            chunk.advance(n);
        })
    }

    fn poll_put(
        &self,
        cx: &Context<'_>,
        wanted: usize,
        put: impl FnOnce(&mut Piece, usize),
    ) -> Poll<Result<(usize, bool), WriteError>> {
        let mut out = locked(&self.out);
        out.writable()?;
        let n = wanted.min(self.depot.per_box().saturating_sub(out.piece.len()));
        if n == 0 && wanted > 0 {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        put(&mut out.piece, n);
        self.depot.on_put(n);
        Poll::Ready(Ok((n, !core::mem::replace(&mut out.attended, true))))
    }

    /// The room there is, once it is at least `least` bytes (or all that the box can hold). Only a write makes it less.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, least: usize) -> Poll<Result<usize, WriteError>> {
        let mut out = locked(&self.out);
        out.writable()?;
        let least = least.min(OUTBOX_BYTES);
        let share = self.depot.per_box().saturating_sub(out.piece.len());
        if share == 0 || OUTBOX_BYTES - out.piece.len() < least {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(share.max(least)))
    }

    /// Takes `parts` one after the other if there is room for all of them, and says so; else nothing. The second flag
    /// says whether the shard has to be told.
    pub(crate) fn write_parts(&self, parts: &[&[u8]]) -> Result<(bool, bool), WriteError> {
        let mut out = locked(&self.out);
        out.writable()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > OUTBOX_BYTES - out.piece.len() {
            return Ok((false, false));
        }
        for part in parts {
            out.piece.write(part);
        }
        self.depot.on_put(total);
        Ok((true, !core::mem::replace(&mut out.attended, true)))
    }

    /// Returns whether the shard has to be told.
    pub(crate) fn finish(&self) -> Result<bool, WriteError> {
        let mut out = locked(&self.out);
        if let Some(Err(error)) = &out.over {
            return Err(error.clone());
        }
        let news = !core::mem::replace(&mut out.finish, true);
        Ok(news && !core::mem::replace(&mut out.attended, true))
    }

    /// Takes nothing more; what is here goes on. The caller tells the shard.
    pub(crate) fn close(&self) {
        let mut out = locked(&self.out);
        (out.finish, out.attended) = (true, true);
    }

    pub(crate) fn is_finished(&self) -> bool {
        let out = locked(&self.out);
        out.finish || out.over.is_some()
    }

    /// Ready once the peer has everything, or never will.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        let mut out = locked(&self.out);
        if let Some(over) = &out.over {
            return Poll::Ready(over.clone());
        }
        out.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The shard moves what it can into the connection.
    pub(crate) fn collect(&self, connection: &mut Connection, id: StreamId, bells: &mut Bells) -> Collected {
        let mut out = locked(&self.out);
        let Out { piece, .. } = &mut *out;
        while !piece.is_empty() {
            let available = piece.len();
            let taken = connection.write_pages(id, (&mut piece.pages, &mut piece.store), available);
            // A refusal means that the peer stopped it or all is over; an event says which.
            let Ok(taken) = taken else { return Collected::Rest };
            piece.advance(taken);
            self.depot.on_taken(taken);
            if taken < available {
                break;
            }
        }
        let left = piece.len();
        out.attended = left > 0;
        // Woken for a few bytes of room, a writer would come for each packet that was acknowledged.
        if !out.finish && left <= self.depot.per_box() / 2 {
            bells.add(out.waker.take());
        }
        if left == 0 && out.finish { Collected::Finish } else { Collected::Rest }
    }

    /// Bytes that were collected so far.
    pub(crate) fn taken(&self) -> u64 {
        locked(&self.out).piece.range.start
    }

    /// What was not collected is not wanted any more.
    pub(crate) fn discard(&self) {
        self.empty(&mut locked(&self.out));
    }

    /// The first verdict stands.
    pub(crate) fn end(&self, verdict: Result<(), WriteError>) {
        let mut out = locked(&self.out);
        if out.over.is_none() {
            out.over = Some(verdict);
            self.empty(&mut out);
        }
        let waker = out.waker.take();
        drop(out);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Drops what is here; nothing will come any more.
    fn empty(&self, out: &mut Out) {
        self.depot.on_taken(out.piece.len());
        out.piece.close();
    }
}

impl Out {
    fn writable(&self) -> Result<(), WriteError> {
        match &self.over {
            Some(over) => Err(over.clone().err().unwrap_or(WriteError::Finished)),
            None if self.finish => Err(WriteError::Finished),
            None => Ok(()),
        }
    }
}

/// From the peer to a handle.
#[derive(Debug)]
pub(crate) struct Inbox(Mutex<In>);

#[derive(Debug)]
struct In {
    piece: Piece,
    /// What the depot knows of its bytes.
    counted: usize,
    /// The shard left bytes behind because the box was full.
    starving: bool,
    /// What follows the bytes; `Ok` is the end of the stream.
    end: Option<Result<(), ReadError>>,
    waker: Option<Waker>,
}

/// What a handle found in an [`Inbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Bytes; the shard has to be told that there is room again.
    BytesAndRoom,
    Bytes,
    End,
}

impl Inbox {
    pub(crate) fn new(depot: &Arc<Depot>) -> Arc<Self> {
        let piece = Piece::new(Arc::clone(depot));
        Arc::new(Self(Mutex::new(In { piece, counted: 0, starving: false, end: None, waker: None })))
    }

    /// For the handle to keep what it fetches.
    pub(crate) fn piece(&self) -> Piece {
        Piece::new(Arc::clone(&locked(&self.0).piece.depot))
    }

    /// The handle takes everything; `into` has to be empty.
    pub(crate) fn poll_fetch(&self, cx: &Context<'_>, into: &mut Piece) -> Poll<Result<Fetched, ReadError>> {
        let mut inbox = locked(&self.0);
        if !inbox.piece.is_empty() {
            into.take_all(&mut inbox.piece);
            inbox.count();
            let tell = core::mem::take(&mut inbox.starving);
            return Poll::Ready(Ok(if tell { Fetched::BytesAndRoom } else { Fetched::Bytes }));
        }
        match &inbox.end {
            Some(Ok(())) => Poll::Ready(Ok(Fetched::End)),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                inbox.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        locked(&self.0).end.is_some()
    }

    /// The shard moves over what has arrived, up to `limit` bytes in the box. Returns whether the stream goes on.
    pub(crate) fn fill(
        &self,
        connection: &mut Connection,
        id: StreamId,
        limit: usize,
        bells: &mut Bells,
    ) -> bool {
        let mut inbox = locked(&self.0);
        let before = inbox.piece.len();
        // For each page that the connection gives it gets one.
        inbox.piece.stock(limit - before.min(limit));
        while inbox.end.is_none() {
            let piece = &mut inbox.piece;
            let room = limit - piece.len().min(limit);
            if room == 0 {
                inbox.starving = true;
                break;
            }
            match connection.read_pages(id, (&mut piece.pages, &mut piece.store), room) {
                Ok(Read::Data(n)) => piece.range.end += n as u64,
                Ok(Read::Blocked) => break,
                Ok(Read::End) => inbox.end = Some(Ok(())),
                Err(Refused::Reset(code)) => inbox.end = Some(Err(ReadError::Reset(code))),
                Err(_) => inbox.end = Some(Err(ReadError::Stopped)),
            }
        }
        inbox.piece.restock();
        inbox.count();
        let goes_on = inbox.end.is_none();
        if inbox.piece.len() > before || !goes_on {
            bells.add(inbox.waker.take());
        }
        goes_on
    }

    /// The first verdict stands; bytes that are here can still be read.
    pub(crate) fn end(&self, verdict: Result<(), ReadError>) {
        let mut inbox = locked(&self.0);
        inbox.end.get_or_insert(verdict);
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl In {
    fn count(&mut self) {
        let before = core::mem::replace(&mut self.counted, self.piece.len());
        self.piece.depot.on_inbox(before, self.counted);
    }
}

impl Drop for In {
    fn drop(&mut self) {
        self.piece.depot.on_inbox(self.counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Depot, INBOX_BYTES, Inbox, OUTBOX_BYTES, Outbox, Piece};
    use crate::error::WriteError;
    use crate::locked;
    use core::task::{Context, Poll, Waker};
    use std::sync::Arc;

    /// Writes a little to each box in turn until none takes anything, and says what each holds.
    fn filled(boxes: &[Arc<Outbox>]) -> Vec<usize> {
        let cx = Context::from_waker(Waker::noop());
        let mut held = vec![0; boxes.len()];
        loop {
            let before: usize = held.iter().sum();
            for (outbox, held) in boxes.iter().zip(&mut held) {
                if let Poll::Ready(taken) = outbox.poll_write(&cx, &[7; 1000]) {
                    *held += taken.unwrap().0;
                }
            }
            if held.iter().sum::<usize>() == before {
                return held;
            }
        }
    }

    #[test]
    fn outboxes_of_a_connection_share_what_it_may_hold_evenly_and_none_goes_without() {
        let depot = Arc::new(Depot::default());
        let boxes = |n: usize| (0..n).map(|_| Outbox::new(&depot)).collect::<Vec<_>>();
        let hundred = boxes(100);
        let held = filled(&hundred);
        let total: usize = held.iter().sum();
        assert!(total <= Depot::TOTAL && total > Depot::TOTAL / 10 * 9, "{total}");
        assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 1000, "{held:?}");
        let many = boxes(200);
        let late: usize = filled(&many).iter().sum();
        assert_eq!(late, 200 * Depot::BOX_MIN, "who comes late has the minimum");
        hundred.iter().chain(&many).for_each(|outbox| outbox.end(Err(WriteError::Finished)));
        assert_eq!(depot.held(), 0);
        assert_eq!(filled(&boxes(1)), [OUTBOX_BYTES]);
    }

    #[test]
    fn inboxes_that_nobody_reads_leave_the_others_their_minimum_until_they_are_read_or_dropped() {
        let depot = Arc::new(Depot::default());
        let boxes: Vec<_> = (0..100).map(|_| Inbox::new(&depot)).collect();
        for inbox in &boxes {
            let mut inbox = locked(&inbox.0);
            let limit = depot.per_inbox();
            inbox.piece.write(&vec![7; limit]);
            inbox.count();
        }
        let arrived = depot.arrived();
        assert!(arrived > Depot::TOTAL && arrived <= Depot::TOTAL + 100 * Depot::BOX_MIN, "{arrived}");
        assert_eq!(depot.per_inbox(), Depot::BOX_MIN);
        let (cx, mut hands) = (Context::from_waker(Waker::noop()), boxes[0].piece());
        assert!(boxes[0].poll_fetch(&cx, &mut hands).is_ready());
        assert_eq!((hands.len(), depot.arrived()), (INBOX_BYTES, arrived - INBOX_BYTES));
        drop(boxes);
        assert_eq!((depot.arrived(), depot.per_inbox()), (0, INBOX_BYTES));
    }

    #[test]
    fn a_piece_gives_its_bytes_once_and_takes_no_harm_from_a_claim_to_more() {
        let depot = Arc::new(Depot::default());
        let [mut first, mut held] = [0, 1].map(|_| Piece::new(Arc::clone(&depot)));
        let data: Vec<u8> = (0..OUTBOX_BYTES / 4).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let mut got = Vec::new();
        for part in data.chunks(7001) {
            first.write(part);
            if held.is_empty() {
                let copied = held.store.copied() + first.store.copied();
                held.take_all(&mut first);
                assert_eq!(held.store.copied() + first.store.copied(), copied);
                assert!(first.is_empty());
            }
            let mut out = [0; 5000];
            let n = held.read(&mut out);
            got.extend_from_slice(&out[..n]);
        }
        while !held.is_empty() || !first.is_empty() {
            if held.is_empty() {
                held.take_all(&mut first);
            }
            let n = held.front().len();
            got.extend_from_slice(held.front());
            held.advance(n);
        }
        assert_eq!(got, data);
        held.write(b"more");
        held.advance(usize::MAX);
        assert!(held.is_empty() && held.front().is_empty());
    }
}
