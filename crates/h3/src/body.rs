//! The two directions of a request stream behind its heads.
//!
//! This is the hot path of TCP tunnels: what is sent is copied once, into the stream's buffer together with the head of
//! its DATA frame; what is read is copied once, out of the stream's buffer.

use crate::code;
use crate::conn::{Handle, Ticket};
use crate::error::Error;
use crate::message::MessageReader;
use crate::wire::frame::{self, DATA_HEAD_MAX};
use bytes::Bytes;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use http::HeaderMap;
use mpquic::{SendStream, StreamId};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Content of one DATA frame that we send, and of one chunk that we hand out.
const CHUNK_MAX: usize = 64 * 1024;
/// A write waits for room for this much, if it has as much to write.
const CHUNK_LEAST: usize = 16 * 1024;

/// What both directions of a stream keep alive.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) ticket: Ticket,
    pub(crate) handle: Arc<Handle>,
}

/// Sends the content of a request or response, or the bytes of a standing CONNECT. Dropped before
/// [`BodySender::finish`], it resets the stream; what was finished is delivered even if it is dropped then.
#[derive(Debug)]
pub struct BodySender {
    /// Taken by the drop only.
    stream: Option<SendStream>,
    life: Arc<Life>,
    state: Sending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    Finished,
    /// Reset, or everything has arrived.
    Over,
}

impl BodySender {
    pub(crate) const fn new(stream: SendStream, life: Arc<Life>) -> Self {
        Self { stream: Some(stream), life, state: Sending::Open }
    }

    #[must_use]
    pub fn id(&self) -> StreamId {
        self.life.ticket.id
    }

    /// Sends all of `data`. Given up, it may have sent part of it.
    ///
    /// # Errors
    /// If the peer stopped the stream, it was finished, or the connection is over.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut rest = data;
        while !rest.is_empty() {
            let n = poll_fn(|cx| self.poll_send(cx, rest)).await?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Sends a header section, which was encoded.
    pub(crate) async fn send_block(&mut self, block: &[u8]) -> Result<(), Error> {
        let mut framed = Vec::with_capacity(block.len() + 16);
        frame::put(&mut framed, frame::HEADERS, block);
        let written = self.stream()?.write_all(&framed).await;
        written.map_err(|error| self.life.handle.core.judge(error.into()))
    }

    /// Ends this direction after what was sent.
    ///
    /// # Errors
    /// As [`BodySender::send`].
    pub fn finish(&mut self) -> Result<(), Error> {
        let finished = self.stream()?.finish();
        finished.map_err(|error| self.life.handle.core.judge(error.into()))?;
        if self.state == Sending::Open {
            self.state = Sending::Finished;
        }
        self.life.ticket.route.end_sending();
        Ok(())
    }

    /// Waits until the peer has everything, the end included. To be called after [`BodySender::finish`].
    ///
    /// # Errors
    /// If the peer stopped the stream, it was reset, or the connection ended before.
    pub async fn finished(&mut self) -> Result<(), Error> {
        let finished = self.stream()?.finished().await;
        self.state = Sending::Over;
        finished.map_err(|error| self.life.handle.core.judge(error.into()))
    }

    /// Gives up sending; what was not delivered may never be. The peer learns `code`, see [`crate::code`].
    pub fn reset(&mut self, code: u64) {
        if self.state != Sending::Over
            && let Ok(stream) = self.stream()
        {
            stream.reset(code);
            self.state = Sending::Over;
            self.life.ticket.route.end_sending();
        }
    }

    fn stream(&mut self) -> Result<&mut SendStream, Error> {
        self.stream.as_mut().ok_or(Error::Finished)
    }

    /// One DATA frame: its head and as much of `data` as there is room for go into the stream together, or not at all.
    fn poll_send(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        let sent = self.poll_frame(cx, data);
        sent.map_err(|error| self.life.handle.core.judge(error))
    }

    fn poll_frame(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let stream = self.stream()?;
        let room = ready!(stream.poll_room(cx, data.len().min(CHUNK_LEAST) + DATA_HEAD_MAX))?;
        let n = data.len().min(CHUNK_MAX).min(room - DATA_HEAD_MAX);
        let mut head = [0; DATA_HEAD_MAX];
        let taken = stream.write_parts(&[frame::data_head(&mut head, n), &data[..n]])?;
        debug_assert!(taken, "only we make the room less");
        Poll::Ready(Ok(if taken { n } else { 0 }))
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        match self.state {
            Sending::Open => self.reset(code::REQUEST_CANCELLED),
            Sending::Finished => {
                // The connection may not end before all of it has arrived.
                let (Some(mut stream), Ok(runtime)) =
                    (self.stream.take(), tokio::runtime::Handle::try_current())
                else {
                    return;
                };
                let life = Arc::clone(&self.life);
                runtime.spawn(async move {
                    stream.finished().await.ok();
                    drop(life);
                });
            }
            Sending::Over => {}
        }
    }
}

impl AsyncWrite for BodySender {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, data).map_err(io::Error::from)
    }

    /// What was written is on its way without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As [`BodySender::finish`]: does not wait for delivery.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().finish().map_err(io::Error::from))
    }
}

/// Receives the content of a request or response, or the bytes of a standing CONNECT. Dropped before its end, it asks
/// the peer to stop.
#[derive(Debug)]
pub struct BodyReceiver {
    message: MessageReader,
    life: Arc<Life>,
    /// What the peer is told if this is dropped early.
    drop_code: u64,
}

impl BodyReceiver {
    pub(crate) const fn new(message: MessageReader, life: Arc<Life>, drop_code: u64) -> Self {
        Self { message, life, drop_code }
    }

    #[must_use]
    pub fn id(&self) -> StreamId {
        self.life.ticket.id
    }

    /// The head of the final response, if the stream was split before it arrived.
    ///
    /// # Errors
    /// As [`crate::RequestStream::response`].
    pub async fn response(&mut self) -> Result<http::Response<()>, Error> {
        let response = self.message.response().await;
        response.map_err(|error| self.on_error(error))
    }

    /// The next bytes, at most 64 KiB; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Reset`] if the peer gave up, [`Error::Malformed`] or [`Error::Violation`] if it does not keep to the
    /// rules, [`Error::Closed`] if the connection ended before.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// All that is still to come.
    ///
    /// # Errors
    /// As [`BodyReceiver::chunk`]; [`Error::TooLarge`] if there are more than `limit` bytes.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(Error::TooLarge);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// The fields that followed the content; known once it was read to its end.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.message.trailers()
    }

    /// Gives up reading, and asks the peer to stop sending with `code`, see [`crate::code`].
    pub fn stop(&mut self, code: u64) {
        self.message.stop(code);
        self.life.ticket.end_receiving();
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let chunk = match ready!(self.message.poll_content(cx)) {
            Ok(None) => {
                self.life.ticket.end_receiving();
                return Poll::Ready(Ok(None));
            }
            Ok(Some(bytes)) => Bytes::copy_from_slice(&bytes[..bytes.len().min(CHUNK_MAX)]),
            Err(error) => return Poll::Ready(Err(self.on_error(error))),
        };
        self.message.consume(chunk.len());
        Poll::Ready(Ok(Some(chunk)))
    }

    /// Draws the consequences for the connection or the stream.
    fn on_error(&mut self, error: Error) -> Error {
        let error = self.life.handle.core.judge(error);
        if let Some(code) = stream_code(&error) {
            self.message.abandon(code);
        }
        if self.message.is_over() {
            self.life.ticket.end_receiving();
        }
        error
    }
}

/// What a stream is ended with after this, if it is not over by itself.
pub(crate) const fn stream_code(error: &Error) -> Option<u64> {
    match error {
        Error::Malformed(fault) => Some(fault.code),
        Error::TooLarge => Some(code::EXCESSIVE_LOAD),
        _ => None,
    }
}

impl Drop for BodyReceiver {
    fn drop(&mut self) {
        self.stop(self.drop_code);
    }
}

impl AsyncRead for BodyReceiver {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            let n = match this.message.poll_content(cx) {
                Poll::Ready(Ok(Some(bytes))) => {
                    let n = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..n]);
                    n
                }
                Poll::Ready(Ok(None)) => {
                    this.life.ticket.end_receiving();
                    break;
                }
                // What was read comes first; the message remembers its error.
                Poll::Ready(Err(_)) | Poll::Pending if buf.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(this.on_error(error).into())),
                Poll::Pending => return Poll::Pending,
            };
            this.message.consume(n);
        }
        Poll::Ready(Ok(()))
    }
}
