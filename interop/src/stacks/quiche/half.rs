//! A stream of quiche as tokio's byte stream.

use super::driver::{Driver, Id};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Half {
    driver: Rc<Driver>,
    id: Id,
    stream: u64,
    /// Everything was read; quiche may have forgotten the stream.
    ended: bool,
}

impl Half {
    pub(super) const fn new(driver: Rc<Driver>, id: Id, stream: u64) -> Self {
        Self { driver, id, stream, ended: false }
    }

    fn write(&self, cx: &Context<'_>, data: &[u8], end: bool) -> Poll<io::Result<usize>> {
        let mut state = self.driver.state();
        let connection = state.connection(self.id);
        let written = connection.quic.stream_send(self.stream, data, end);
        match written {
            Ok(n) if n > 0 || data.is_empty() => {
                drop(state);
                self.driver.wake();
                Poll::Ready(Ok(n))
            }
            _ if connection.is_over() => Poll::Ready(Err(io::Error::other(connection.why()))),
            Ok(_) | Err(quiche::Error::Done) => {
                connection.await_room(self.stream, cx);
                drop(state);
                self.driver.wake();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(io::Error::other(error))),
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, data, false)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, &[], true).map_ok(drop)
    }
}

impl AsyncRead for Half {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let driver = Rc::clone(&self.driver);
        let mut state = driver.state();
        let connection = state.connection(self.id);
        match connection.quic.stream_recv(self.stream, buffer.initialize_unfilled()) {
            Ok((n, end)) => {
                buffer.advance(n);
                self.ended = end;
                // It may have to tell about a larger window.
                drop(state);
                driver.wake();
                Poll::Ready(Ok(()))
            }
            Err(_) if connection.is_over() => Poll::Ready(Err(io::Error::other(connection.why()))),
            // Until something was sent on it, quiche does not know a stream that we opened.
            Err(quiche::Error::Done | quiche::Error::InvalidStreamState(_)) => {
                connection.await_data(self.stream, cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(io::Error::other(error))),
        }
    }
}
