//! Copies bytes between two ends until both are done: the heart of every TCP lane.
//!
//! Owns half-close (an end of one direction leaves the other open), resets (a reset of one side becomes a reset of the
//! other), one bounded buffer per direction and the idle timeout. Refuses to know what the two ends are and what the
//! bytes say.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// A direction's buffer at first, and once a read has filled it.
const BUFFER_MIN: usize = 8 << 10;
const BUFFER_MAX: usize = 64 << 10;
/// A flow on which nothing moves for so long is ended. RFC 5382 §5 asks NATs for two hours and four minutes.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(7440);
/// No timeout is longer: keeps sums of times in range.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Ends an end at once, so that its peer sees a reset and not an orderly end.
pub(crate) trait Abort {
    fn abort(&mut self);
}

impl Abort for TcpStream {
    /// With a linger time of zero, closing the socket sends RST.
    fn abort(&mut self) {
        if let Err(error) = socket2::SockRef::from(&*self).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a TCP connection is closed instead of reset");
        }
    }
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions came to their end.
    Finished,
    LocalReset,
    FlowReset,
    /// Nothing moved for too long; both sides were reset.
    Idle,
}

/// Bytes that were handed over: up from the local side to the flow, down the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) end: End,
}

/// Sums over all relays. Bytes count while they move, ends when they come.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) up: AtomicU64,
    pub(crate) down: AtomicU64,
    pub(crate) finished: AtomicU64,
    pub(crate) local_resets: AtomicU64,
    pub(crate) flow_resets: AtomicU64,
    pub(crate) idle: AtomicU64,
}

impl Counters {
    fn count(&self, end: End) {
        let counter = match end {
            End::Finished => &self.finished,
            End::LocalReset => &self.local_resets,
            End::FlowReset => &self.flow_resets,
            End::Idle => &self.idle,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Copies both ways between `local` and `flow`. `early` are bytes that were already read from `local`.
pub(crate) async fn relay<L, F>(
    mut local: L,
    early: Vec<u8>,
    mut flow: F,
    idle: Duration,
    counters: &Counters,
) -> Relayed
where
    L: AsyncRead + AsyncWrite + Abort + Unpin,
    F: AsyncRead + AsyncWrite + Abort + Unpin,
{
    let idle = idle.min(TIMEOUT_MAX);
    let (mut up, mut down) = (Lane::new(early), Lane::new(Vec::new()));
    let mut due = Instant::now() + idle;
    let mut timer = pin!(sleep_until(due));
    let end = poll_fn(|cx| {
        let before = (up.activity, down.activity);
        let up_done = match up.poll(cx, &mut local, &mut flow, &counters.up) {
            Poll::Ready(Err(Fault::Source)) => return Poll::Ready(End::LocalReset),
            Poll::Ready(Err(Fault::Sink)) => return Poll::Ready(End::FlowReset),
            other => other.is_ready(),
        };
        let down_done = match down.poll(cx, &mut flow, &mut local, &counters.down) {
            Poll::Ready(Err(Fault::Source)) => return Poll::Ready(End::FlowReset),
            Poll::Ready(Err(Fault::Sink)) => return Poll::Ready(End::LocalReset),
            other => other.is_ready(),
        };
        if up_done && down_done {
            return Poll::Ready(End::Finished);
        }
        if before != (up.activity, down.activity) {
            due = Instant::now() + idle;
        }
        // The timer is moved only when it fires, not with every byte.
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(End::Idle);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    })
    .await;
    if end != End::Finished {
        flow.abort();
        local.abort();
    }
    counters.count(end);
    Relayed { up: up.written, down: down.written, end }
}

/// Whose fault it is that a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Source,
    Sink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copying,
    /// The source ended; what is left goes out, then the end itself.
    Draining,
    Done,
}

/// One direction.
struct Lane {
    /// Bytes `start..end` wait for the sink.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    stage: Stage,
    unflushed: bool,
    written: u64,
    /// Counts reads and writes that moved something.
    activity: u64,
}

impl Lane {
    fn new(early: Vec<u8>) -> Self {
        let end = early.len();
        let mut buffer = early;
        buffer.resize(end.max(BUFFER_MIN), 0);
        Self { buffer, start: 0, end, stage: Stage::Copying, unflushed: false, written: 0, activity: 0 }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        counter: &AtomicU64,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.stage == Stage::Done {
            return Poll::Ready(Ok(()));
        }
        loop {
            let dry = match self.fill(cx, source) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Source)),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            if ready!(self.drain(cx, sink, counter)).is_err() {
                return Poll::Ready(Err(Fault::Sink));
            }
            if self.stage == Stage::Draining {
                let ended = ready!(Pin::new(&mut *sink).poll_shutdown(cx));
                self.stage = Stage::Done;
                return Poll::Ready(ended.map_err(|_| Fault::Sink));
            }
            if dry {
                if self.unflushed {
                    let flushed = ready!(Pin::new(&mut *sink).poll_flush(cx));
                    self.unflushed = false;
                    if flushed.is_err() {
                        return Poll::Ready(Err(Fault::Sink));
                    }
                }
                return Poll::Pending;
            }
        }
    }

    /// Reads as much as there is and fits. Pending if the source has no more for now.
    fn fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
    ) -> Poll<std::io::Result<()>> {
        while self.stage == Stage::Copying && self.end < self.buffer.len() {
            let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
            ready!(Pin::new(&mut *source).poll_read(cx, &mut room))?;
            let n = room.filled().len();
            self.activity += 1;
            self.end += n;
            if n == 0 {
                self.stage = Stage::Draining;
            } else if self.end == self.buffer.len() && self.end < BUFFER_MAX {
                self.buffer.resize(BUFFER_MAX, 0);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that waits. Pending if the sink takes no more for now.
    fn drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        counter: &AtomicU64,
    ) -> Poll<std::io::Result<()>> {
        while self.start < self.end {
            let waiting = &self.buffer[self.start..self.end];
            let n = ready!(Pin::new(&mut *sink).poll_write(cx, waiting))?;
            if n == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.activity += 1;
            self.start += n;
            self.written += n as u64;
            self.unflushed = true;
            counter.fetch_add(n as u64, Ordering::Relaxed);
        }
        (self.start, self.end) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
