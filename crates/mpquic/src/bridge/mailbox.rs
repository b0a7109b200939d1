//! Bytes between a stream's handle and its shard: one bounded box per direction.
//!
//! A box holds pages that are addressed as the stream is. Whole pages change hands at each step, so a byte is copied only
//! where the handle's user brings or takes it. The shard holds the lock of a box for moving pages, a handle for one write.
//! Empty pages go back the same way, and none is allocated before its first byte.
//! Each box knows whether the shard is already going to look at it; only if not does a handle have to tell.

use crate::error::{ReadError, WriteError};
use crate::locked;
use bytes::{Buf as _, Bytes};
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use mpquic_base::pages::PAGE;
use mpquic_base::{PageStore, Pages, StreamId};
use mpquic_proto::{Connection, Read, Refused};
use std::sync::{Arc, Mutex};

/// Bytes that a box holds. The side that takes may hold as many again.
pub(crate) const MAILBOX_BYTES: usize = 256 * 1024;

/// What the outboxes of one connection hold together, so that memory does not grow with a whole box for each of many streams.
#[derive(Debug, Default)]
pub(crate) struct Allowance(AtomicUsize);

impl Allowance {
    /// Bytes of all boxes beyond which each is held to its minimum.
    const TOTAL: usize = 2 * 1024 * 1024;
    /// A box may always hold this much, however full the others are.
    const BOX_MIN: usize = 16 * 1024;

    /// What one box may hold now: as much as is left for all, so that boxes that fill up together get equal shares.
    fn per_box(&self) -> usize {
        let left = Self::TOTAL.saturating_sub(self.0.load(Ordering::Relaxed));
        left.clamp(Self::BOX_MIN, MAILBOX_BYTES)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes of a stream, in their order.
#[derive(Debug)]
pub(crate) struct Piece {
    pages: Pages,
    store: PageStore,
    range: Range<u64>,
}

impl Default for Piece {
    fn default() -> Self {
        Self { pages: Pages::new(), store: PageStore::keeping(MAILBOX_BYTES / PAGE), range: 0..0 }
    }
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    fn write(&mut self, data: &[u8]) {
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
    }

    /// Copies the next bytes.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        let n = self.len().min(out.len());
        self.pages.read(self.range.start, &mut out[..n]);
        self.advance(n);
        n
    }

    /// Takes over all of the bytes that follow on these, and leaves the pages that were read to the end.
    fn append(&mut self, next: &mut Self) {
        self.pages.adopt(&mut self.store, &mut next.pages, &mut next.store, next.range.clone());
        self.range.end = next.range.end;
        next.advance(next.len());
    }

    /// Nothing will come any more.
    fn close(&mut self) {
        (self.pages, self.store) = (Pages::new(), PageStore::keeping(0));
        self.range.start = self.range.end;
    }
}

/// Tasks that have something to do once the shard's turn is over. Woken one by one in the middle of it, each would take the
/// core from the shard for its few bytes.
#[derive(Debug, Default)]
pub(crate) struct Bells(Vec<Waker>);

impl Bells {
    pub(crate) fn ring(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// From a handle to the peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    out: Mutex<Out>,
    allowance: Arc<Allowance>,
}

#[derive(Debug, Default)]
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
    pub(crate) fn new(allowance: Arc<Allowance>) -> Self {
        Self { out: Mutex::default(), allowance }
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
        let n = wanted.min(self.allowance.per_box().saturating_sub(out.piece.len()));
        if n == 0 && wanted > 0 {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        put(&mut out.piece, n);
        self.allowance.add(n);
        Poll::Ready(Ok((n, !core::mem::replace(&mut out.attended, true))))
    }

    /// The room there is, once it is at least `least` bytes (or all that the box can hold). Only a write makes it less.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, least: usize) -> Poll<Result<usize, WriteError>> {
        let mut out = locked(&self.out);
        out.writable()?;
        let least = least.min(MAILBOX_BYTES);
        let share = self.allowance.per_box().saturating_sub(out.piece.len());
        if share == 0 || MAILBOX_BYTES - out.piece.len() < least {
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
        if total > MAILBOX_BYTES - out.piece.len() {
            return Ok((false, false));
        }
        for part in parts {
            out.piece.write(part);
        }
        self.allowance.add(total);
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
            self.allowance.give_back(taken);
            if taken < available {
                break;
            }
        }
        let left = piece.len();
        out.attended = left > 0;
        // Woken for a few bytes of room, a writer would come for each packet that was acknowledged.
        if !out.finish && left <= self.allowance.per_box() / 2 {
            bells.0.extend(out.waker.take());
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
        self.allowance.give_back(out.piece.len());
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
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<In>);

#[derive(Debug, Default)]
struct In {
    piece: Piece,
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
    /// The handle takes everything; `into` has to be empty.
    pub(crate) fn poll_fetch(&self, cx: &Context<'_>, into: &mut Piece) -> Poll<Result<Fetched, ReadError>> {
        let mut inbox = locked(&self.0);
        if !inbox.piece.is_empty() {
            into.append(&mut inbox.piece);
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
        let goes_on = inbox.end.is_none();
        if inbox.piece.len() > before || !goes_on {
            bells.0.extend(inbox.waker.take());
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

#[cfg(test)]
mod tests {
    use super::{Allowance, MAILBOX_BYTES, Outbox, Piece};
    use crate::error::WriteError;
    use core::sync::atomic::Ordering;
    use core::task::{Context, Poll, Waker};
    use std::sync::Arc;

    /// Writes a little to each box in turn until none takes anything, and says what each holds.
    fn filled(boxes: &[Outbox]) -> Vec<usize> {
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
    fn boxes_of_a_connection_share_its_allowance_evenly_and_none_goes_without() {
        let allowance = Arc::new(Allowance::default());
        let boxes = |n: usize| (0..n).map(|_| Outbox::new(Arc::clone(&allowance))).collect::<Vec<_>>();
        let twenty = boxes(20);
        let held = filled(&twenty);
        let total: usize = held.iter().sum();
        assert!(total <= Allowance::TOTAL && total > Allowance::TOTAL / 10 * 9, "{total}");
        assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 1000, "{held:?}");
        let many = boxes(200);
        let late: usize = filled(&many).iter().sum();
        assert_eq!(late, 200 * Allowance::BOX_MIN, "who comes late has the minimum");
        twenty.iter().chain(&many).for_each(|outbox| outbox.end(Err(WriteError::Finished)));
        assert_eq!(allowance.0.load(Ordering::Relaxed), 0);
        assert_eq!(filled(&boxes(1)), [MAILBOX_BYTES]);
    }

    #[test]
    fn a_piece_gives_its_bytes_once_and_takes_no_harm_from_a_claim_to_more() {
        let (mut first, mut held) = (Piece::default(), Piece::default());
        let data: Vec<u8> = (0..MAILBOX_BYTES / 4).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let mut got = Vec::new();
        for part in data.chunks(7001) {
            first.write(part);
            held.append(&mut first);
            assert!(first.is_empty());
            let mut out = [0; 5000];
            let n = held.read(&mut out);
            got.extend_from_slice(&out[..n]);
        }
        while !held.is_empty() {
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
