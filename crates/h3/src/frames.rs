//! Frames of one stream, as they arrive: heads one by one, payloads where they lie. Which frames may come is for others
//! to say.

use crate::code;
use crate::error::Error;
use crate::wire::frame::{Head, PartialHead};
use core::task::{Context, Poll, ready};
use mpquic::RecvStream;

/// Heads of frames that were skipped, after which others get their turn.
const SKIPPED_IN_A_ROW: u32 = 64;

#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    head: PartialHead,
    /// Bytes of the current frame's payload still to come.
    left: u64,
    skipping: bool,
    skipped: u32,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, head: PartialHead::default(), left: 0, skipping: false, skipped: 0 }
    }

    /// Gives up reading.
    pub(crate) fn stop(&mut self, code: u64) {
        self.stream.stop(code);
    }

    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// The head of the next frame, `None` at the end of the stream. The frame before was consumed or skipped.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Head>, Error>> {
        if self.skipping {
            ready!(self.poll_skip(cx))?;
        }
        loop {
            let Some(bytes) = ready!(self.stream.poll_peek(cx))? else {
                if self.head.is_open() {
                    return Poll::Ready(Err(cut()));
                }
                return Poll::Ready(Ok(None));
            };
            let mut taken = 0;
            let mut found = None;
            for byte in bytes {
                taken += 1;
                found = self.head.push(*byte);
                if found.is_some() {
                    break;
                }
            }
            self.stream.consume(taken);
            if let Some(head) = found {
                self.left = head.len;
                return Poll::Ready(Ok(Some(head)));
            }
        }
    }

    /// Some of the current frame's payload, which has bytes left.
    pub(crate) fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        let Some(bytes) = ready!(self.stream.poll_peek(cx))? else { return Poll::Ready(Err(cut())) };
        let n = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        Poll::Ready(Ok(&bytes[..n]))
    }

    /// Takes `n` of the bytes that [`FrameReader::poll_payload`] showed.
    pub(crate) fn consume(&mut self, n: usize) {
        self.stream.consume(n);
        self.left = self.left.saturating_sub(n as u64);
    }

    /// Leaves out the rest of the current frame, before the next head; nothing is kept of it.
    pub(crate) fn skip(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.skipping = true;
        self.skipped += 1;
        if self.skipped.is_multiple_of(SKIPPED_IN_A_ROW) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.left > 0 {
            let n = ready!(self.poll_payload(cx))?.len();
            self.consume(n);
        }
        self.skipping = false;
        Poll::Ready(Ok(()))
    }

    /// All of the current frame's payload onto `into`. The caller has looked at the length.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<Result<(), Error>> {
        while self.left > 0 {
            let bytes = ready!(self.poll_payload(cx))?;
            into.extend_from_slice(bytes);
            let n = bytes.len();
            self.consume(n);
        }
        Poll::Ready(Ok(()))
    }
}

/// RFC 9114 §7.1: a frame that the end of its stream cuts off is an error of the connection.
const fn cut() -> Error {
    Error::violation(code::FRAME_ERROR, "a stream ends within a frame")
}
