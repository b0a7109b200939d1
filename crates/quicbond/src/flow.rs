//! A tunnelled TCP flow: the two halves of a standing CONNECT request as one byte stream.

use crate::relay::Abort;
use core::pin::Pin;
use core::task::{Context, Poll};
use mpquic_h3::{BodyReceiver, BodySender, code};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes to and from the other end of the tunnel. Dropped before its end, it aborts both directions.
#[derive(Debug)]
pub(crate) struct Flow {
    send: BodySender,
    receive: BodyReceiver,
}

impl Flow {
    pub(crate) const fn new(send: BodySender, receive: BodyReceiver) -> Self {
        Self { send, receive }
    }
}

impl Abort for Flow {
    /// RFC 9114 §4.4: a TCP connection that ended in error is told with H3_CONNECT_ERROR.
    fn abort(&mut self) {
        self.send.reset(code::CONNECT_ERROR);
        self.receive.stop(code::CONNECT_ERROR);
    }
}

impl AsyncRead for Flow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.receive).poll_read(cx, buf)
    }
}

impl AsyncWrite for Flow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_shutdown(cx)
    }
}
