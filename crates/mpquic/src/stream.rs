//! The handles of a stream's two halves.

use crate::bridge::door::Request;
use crate::bridge::mailbox::{Fetched, Inbox, Outbox, Piece};
use crate::error::{ReadError, WriteError};
use crate::guard::Guard;
use bytes::{Buf, Bytes, BytesMut};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use mpquic_base::StreamId;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The sending half. Dropped before [`SendStream::finish`], it resets the stream with code 0.
#[derive(Debug)]
pub struct SendStream {
    guard: Arc<Guard>,
    id: StreamId,
    early: bool,
    outbox: Arc<Outbox>,
}

impl SendStream {
    pub(crate) const fn new(guard: Arc<Guard>, (id, early): (StreamId, bool), outbox: Arc<Outbox>) -> Self {
        Self { guard, id, early, outbox }
    }

    /// As [`RecvStream::is_early`].
    #[must_use]
    pub const fn is_early(&self) -> bool {
        self.early
    }

    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Takes as much of `data` as there is room for, at least one byte; waits while there is none.
    ///
    /// # Errors
    /// If the peer stopped the stream, it was finished, or the connection is over.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.write_some(cx, data)).await
    }

    /// Takes all of `data`. Given up, it may have taken part of it.
    ///
    /// # Errors
    /// As [`SendStream::write`].
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let mut rest = data;
        while !rest.is_empty() {
            let n = self.write(rest).await?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Takes all of `chunk`. Given up, it may have taken part of it.
    ///
    /// # Errors
    /// As [`SendStream::write`].
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), WriteError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            poll_fn(|cx| {
                self.guard.wake_others();
                let (_, tell) = ready!(self.outbox.poll_write_chunk(cx, &mut rest))?;
                self.tell(tell);
                Poll::Ready(Ok(()))
            })
            .await?;
        }
        Ok(())
    }

    /// The bytes that [`SendStream::write_parts`] would take now, once these are at least `least` (or as many as a stream
    /// holds back at the most). For protocols that say beforehand how much follows.
    ///
    /// # Errors
    /// As [`SendStream::write`].
    pub fn poll_room(&mut self, cx: &Context<'_>, least: usize) -> Poll<Result<usize, WriteError>> {
        self.guard.wake_others();
        self.outbox.poll_room(cx, least)
    }

    /// Takes `parts` one after the other, or nothing at all if there is not room for all of them.
    ///
    /// # Errors
    /// As [`SendStream::write`].
    pub fn write_parts(&mut self, parts: &[&[u8]]) -> Result<bool, WriteError> {
        let (taken, tell) = self.outbox.write_parts(parts)?;
        self.tell(tell);
        Ok(taken)
    }

    /// Ends the stream after what was written. Everything is delivered even if the handle is dropped then.
    ///
    /// # Errors
    /// If the peer stopped the stream, it was reset, or the connection is over.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let tell = self.outbox.finish()?;
        self.tell(tell);
        Ok(())
    }

    /// Waits until the peer has everything, the end included. To be called after [`SendStream::finish`].
    ///
    /// # Errors
    /// If the peer stopped the stream, it was reset, or the connection ended before.
    pub async fn finished(&mut self) -> Result<(), WriteError> {
        poll_fn(|cx| {
            self.guard.wake_others();
            self.outbox.poll_over(cx)
        })
        .await
    }

    /// Gives up sending; what was not delivered may never be. The peer learns `code`.
    pub fn reset(&mut self, code: u64) {
        self.outbox.end(Err(WriteError::Finished));
        self.guard.door.send(Request::Reset(self.guard.id, self.id, code));
    }

    /// Gives up sending, but has the first `reliable_size` bytes delivered (all that were written, if those are fewer);
    /// then the peer learns `code`. Called again it can only make the size smaller. [`SendStream::finished`] then waits
    /// until the peer has this part.
    ///
    /// Whether the peer knows this is what [`crate::Connection::can_reset_at`] says; one that does not is sent a plain
    /// reset, as by [`SendStream::reset`].
    pub fn reset_at(&mut self, code: u64, reliable_size: u64) {
        self.outbox.close();
        self.guard.door.send(Request::ResetAt(self.guard.id, self.id, code, reliable_size));
    }

    fn write_some(&self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, WriteError>> {
        self.guard.wake_others();
        let (n, tell) = ready!(self.outbox.poll_write(cx, data))?;
        self.tell(tell);
        Poll::Ready(Ok(n))
    }

    fn tell(&self, tell: bool) {
        if tell {
            self.guard.door.send(Request::Write(self.guard.id, self.id));
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.outbox.is_finished() {
            self.reset(0);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.write_some(cx, data).map_err(io::Error::from)
    }

    /// What was written is on its way without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As [`SendStream::finish`]: does not wait for delivery.
    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish().map_err(io::Error::from))
    }
}

/// The receiving half. Dropped before its end, it asks the peer to stop with code 0.
#[derive(Debug)]
pub struct RecvStream {
    guard: Arc<Guard>,
    id: StreamId,
    early: bool,
    inbox: Arc<Inbox>,
    /// Fetched and not yet read.
    piece: Piece,
    /// What comes before that, in one piece for those who want to see it so.
    bytes: BytesMut,
}

impl RecvStream {
    pub(crate) fn new(guard: Arc<Guard>, (id, early): (StreamId, bool), inbox: Arc<Inbox>) -> Self {
        let piece = inbox.piece();
        Self { guard, id, early, inbox, piece, bytes: BytesMut::new() }
    }

    /// The stream was opened or accepted before the handshake was complete. On a server, what is read of it before
    /// [`crate::Connection::handshake_completed`] may be the replay of something that a client said once; a replay never
    /// completes the handshake.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        self.early
    }

    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Copies the next bytes into `out`, at least one; `None` at the end of the stream.
    ///
    /// # Errors
    /// If the peer reset the stream, it was stopped here, or the connection ended before it.
    pub async fn read(&mut self, out: &mut [u8]) -> Result<Option<usize>, ReadError> {
        poll_fn(|cx| self.read_some(cx, out)).await
    }

    /// The next bytes in one piece, at least one and at most `max` of them; `None` at the end of the stream. A piece that is
    /// kept keeps up to 256 KiB alive around it.
    ///
    /// # Errors
    /// As [`RecvStream::read`].
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        if max > 0 && !poll_fn(|cx| self.fetch(cx)).await? {
            return Ok(None);
        }
        self.join();
        Ok(Some(self.bytes.split_to(max.min(self.bytes.len())).freeze()))
    }

    /// The next bytes where they lie, at least one; `None` at the end of the stream. They stay until
    /// [`RecvStream::consume`].
    ///
    /// # Errors
    /// As [`RecvStream::read`].
    pub fn poll_peek(&mut self, cx: &Context<'_>) -> Poll<Result<Option<&[u8]>, ReadError>> {
        if !ready!(self.fetch(cx))? {
            return Poll::Ready(Ok(None));
        }
        self.join();
        Poll::Ready(Ok(Some(&self.bytes)))
    }

    /// Takes `n` of the bytes that [`RecvStream::poll_peek`] showed.
    pub fn consume(&mut self, n: usize) {
        self.bytes.advance(n.min(self.bytes.len()));
        if self.bytes.is_empty() {
            renew(&mut self.bytes);
        }
    }

    /// Everything up to the end of the stream. Given up, what it had read is lost.
    ///
    /// # Errors
    /// As [`RecvStream::read`]; [`ReadError::TooLong`] if there are more than `limit` bytes.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::new();
        while poll_fn(|cx| self.fetch(cx)).await? {
            if self.bytes.len() + self.piece.len() > limit - all.len() {
                return Err(ReadError::TooLong);
            }
            all.extend_from_slice(&self.bytes);
            renew(&mut self.bytes);
            while !self.piece.is_empty() {
                let chunk = self.piece.front();
                all.extend_from_slice(chunk);
                let n = chunk.len();
                self.piece.advance(n);
            }
        }
        Ok(all)
    }

    /// Gives up reading, and asks the peer to stop sending with `code`.
    pub fn stop(&mut self, code: u64) {
        self.bytes.clear();
        self.piece.advance(usize::MAX);
        self.inbox.end(Err(ReadError::Stopped));
        self.guard.door.send(Request::Stop(self.guard.id, self.id, code));
    }

    fn read_some(&mut self, cx: &Context<'_>, out: &mut [u8]) -> Poll<Result<Option<usize>, ReadError>> {
        if out.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        if !ready!(self.fetch(cx))? {
            return Poll::Ready(Ok(None));
        }
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(Some(self.piece.read(out))));
        }
        let n = self.bytes.len().min(out.len());
        self.bytes.copy_to_slice(&mut out[..n]);
        if self.bytes.is_empty() {
            renew(&mut self.bytes);
        }
        Poll::Ready(Ok(Some(n)))
    }

    /// Brings what was fetched into one piece.
    fn join(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.reserve(self.piece.len());
            while !self.piece.is_empty() {
                let chunk = self.piece.front();
                self.bytes.extend_from_slice(chunk);
                let n = chunk.len();
                self.piece.advance(n);
            }
        }
    }

    /// Sees to it that there are bytes; false at the end of the stream.
    fn fetch(&mut self, cx: &Context<'_>) -> Poll<Result<bool, ReadError>> {
        self.guard.wake_others();
        if self.bytes.is_empty() && self.piece.is_empty() {
            match ready!(self.inbox.poll_fetch(cx, &mut self.piece))? {
                Fetched::End => return Poll::Ready(Ok(false)),
                Fetched::Bytes => {}
                Fetched::BytesAndRoom => self.guard.door.send(Request::Read(self.guard.id, self.id)),
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if !self.inbox.is_over() {
            self.stop(0);
        }
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = ready!(this.read_some(cx, buf.initialize_unfilled()))?;
        buf.advance(read.unwrap_or(0));
        Poll::Ready(Ok(()))
    }
}

/// Makes all of a buffer's allocation free for what comes next, unless somebody still holds a part of it.
fn renew(buffer: &mut BytesMut) {
    buffer.clear();
    // One byte more than is left behind the point that reading came to: all that lies before it.
    let _renewed = buffer.try_reclaim(buffer.capacity() + 1);
}
