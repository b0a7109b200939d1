//! Bytes between a stream's handle and its shard: one bounded box per direction.
//!
//! Both sides hold the lock only to append or to swap whole buffers, never while a connection is at work on them.
//! The buffers that are swapped keep their allocations, and none is allocated before its first byte.
//! Each box knows whether the shard is already going to look at it; only if not does a handle have to tell.

use super::parcel::Parcel;
use crate::error::{ReadError, WriteError};
use crate::locked;
use bytes::{Bytes, BytesMut};
use core::task::{Context, Poll, Waker};
use mpquic_base::StreamId;
use mpquic_proto::{Chunk, Connection, Refused};
use std::sync::Mutex;

/// Bytes that a box holds. The side that takes may hold as many again.
pub(crate) const MAILBOX_BYTES: usize = 256 * 1024;

/// From a handle to the peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Out>);

#[derive(Debug, Default)]
struct Out {
    bytes: Parcel,
    /// The shard was told, or waits until the connection takes what it has of this stream.
    attended: bool,
    finish: bool,
    /// `Ok`: the peer has everything.
    over: Option<Result<(), WriteError>>,
    waker: Option<Waker>,
}

/// What the shard found in an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    Bytes,
    /// Nothing more will come; everything before was collected.
    Finish,
    /// The next byte will be announced.
    Nothing,
}

impl Outbox {
    /// Takes as much of `data` as there is room for. The flag says whether the shard has to be told.
    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        data: &[u8],
    ) -> Poll<Result<(usize, bool), WriteError>> {
        self.poll_put(cx, data.len(), |bytes, n| bytes.write(&data[..n]))
    }

    /// Takes as much off the front of `chunk` as there is room for, without a copy.
    pub(crate) fn poll_write_chunk(
        &self,
        cx: &Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(usize, bool), WriteError>> {
        self.poll_put(cx, chunk.len(), |bytes, n| bytes.push(chunk.split_to(n)))
    }

    fn poll_put(
        &self,
        cx: &Context<'_>,
        wanted: usize,
        put: impl FnOnce(&mut Parcel, usize),
    ) -> Poll<Result<(usize, bool), WriteError>> {
        let mut out = locked(&self.0);
        out.writable()?;
        let n = wanted.min(MAILBOX_BYTES - out.bytes.len());
        if n == 0 && wanted > 0 {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        put(&mut out.bytes, n);
        Poll::Ready(Ok((n, !core::mem::replace(&mut out.attended, true))))
    }

    /// The room there is, once it is at least `least` bytes (or all that the box can hold). Only a write makes it less.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, least: usize) -> Poll<Result<usize, WriteError>> {
        let mut out = locked(&self.0);
        out.writable()?;
        let room = MAILBOX_BYTES - out.bytes.len();
        if room < least.min(MAILBOX_BYTES) {
            out.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(room))
    }

    /// Takes `parts` one after the other if there is room for all of them, and says so; else nothing. The second flag
    /// says whether the shard has to be told.
    pub(crate) fn write_parts(&self, parts: &[&[u8]]) -> Result<(bool, bool), WriteError> {
        let mut out = locked(&self.0);
        out.writable()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > MAILBOX_BYTES - out.bytes.len() {
            return Ok((false, false));
        }
        for part in parts {
            out.bytes.write(part);
        }
        Ok((true, !core::mem::replace(&mut out.attended, true)))
    }

    /// Returns whether the shard has to be told.
    pub(crate) fn finish(&self) -> Result<bool, WriteError> {
        let mut out = locked(&self.0);
        if let Some(Err(error)) = &out.over {
            return Err(error.clone());
        }
        let news = !core::mem::replace(&mut out.finish, true);
        Ok(news && !core::mem::replace(&mut out.attended, true))
    }

    /// Takes nothing more; what is here goes on. The caller tells the shard.
    pub(crate) fn close(&self) {
        let mut out = locked(&self.0);
        (out.finish, out.attended) = (true, true);
    }

    pub(crate) fn is_finished(&self) -> bool {
        let out = locked(&self.0);
        out.finish || out.over.is_some()
    }

    /// Ready once the peer has everything, or never will.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        let mut out = locked(&self.0);
        if let Some(over) = &out.over {
            return Poll::Ready(over.clone());
        }
        out.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The shard takes everything; `into` has to be empty.
    pub(crate) fn collect(&self, into: &mut Parcel) -> Collected {
        let mut out = locked(&self.0);
        if out.bytes.is_empty() {
            if !out.finish {
                out.attended = false;
                return Collected::Nothing;
            }
            return Collected::Finish;
        }
        core::mem::swap(&mut out.bytes, into);
        let waker = if out.finish { None } else { out.waker.take() };
        drop(out);
        waker.into_iter().for_each(Waker::wake);
        Collected::Bytes
    }

    /// The first verdict stands.
    pub(crate) fn end(&self, verdict: Result<(), WriteError>) {
        let mut out = locked(&self.0);
        if out.over.is_none() {
            out.over = Some(verdict);
            out.bytes = Parcel::default();
        }
        let waker = out.waker.take();
        drop(out);
        waker.into_iter().for_each(Waker::wake);
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
    bytes: BytesMut,
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
    pub(crate) fn poll_fetch(
        &self,
        cx: &Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<Result<Fetched, ReadError>> {
        let mut inbox = locked(&self.0);
        if !inbox.bytes.is_empty() {
            core::mem::swap(&mut inbox.bytes, into);
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
    pub(crate) fn fill(&self, connection: &mut Connection, id: StreamId, limit: usize) -> bool {
        let mut inbox = locked(&self.0);
        let before = inbox.bytes.len();
        while inbox.end.is_none() {
            if inbox.bytes.len() >= limit {
                inbox.starving = true;
                break;
            }
            let taken = match connection.peek(id) {
                Ok(Chunk::Data(chunk)) => {
                    let n = chunk.len().min(limit - inbox.bytes.len());
                    inbox.bytes.extend_from_slice(&chunk[..n]);
                    n
                }
                Ok(Chunk::Blocked) => break,
                Ok(Chunk::End) => {
                    inbox.end = Some(Ok(()));
                    break;
                }
                Err(Refused::Reset(code)) => {
                    inbox.end = Some(Err(ReadError::Reset(code)));
                    break;
                }
                Err(_) => {
                    inbox.end = Some(Err(ReadError::Stopped));
                    break;
                }
            };
            connection.consume(id, taken).ok();
        }
        let goes_on = inbox.end.is_none();
        let waker = if inbox.bytes.len() > before || !goes_on { inbox.waker.take() } else { None };
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
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
