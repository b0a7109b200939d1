//! Moves data on streams and counts what arrived.
//!
//! Each data stream carries zeros both ways or one way, as was agreed. A sender whose time is up resets the stream:
//! what still waits for the network then does not prolong the test.

use super::request::{Amount, Request};
use crate::lock::lock;
use bytes::Bytes;
use core::time::Duration;
use mpquic::{ReadError, RecvStream, SendStream, WriteError};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::task::JoinSet;

/// Written at once.
const PIECE: usize = 128 * 1024;
/// Read at once.
const READ: usize = 256 * 1024;
/// The code of a stream that ends because its time is up.
const TIME_IS_UP: u64 = 0;

static ZEROS: [u8; PIECE] = [0; PIECE];

/// What moved at this end so far.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Moved>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) written: u64,
    pub(super) received: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Meter {
    pub(super) fn moved(&self) -> Moved {
        *lock(&self.0)
    }

    fn wrote(&self, bytes: usize) {
        lock(&self.0).written += bytes as u64;
    }

    fn received(&self, bytes: usize) {
        let (mut moved, now) = (lock(&self.0), Instant::now());
        moved.received += bytes as u64;
        moved.first.get_or_insert(now);
        moved.last = Some(now);
    }
}

impl Moved {
    /// From the first byte that arrived to the last.
    pub(super) fn receiving(&self) -> Duration {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.duration_since(first),
            _ => Duration::ZERO,
        }
    }
}

/// What the streams of one end do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    sends: bool,
    amount: Amount,
    streams: u16,
}

impl Work {
    pub(super) fn of_client(request: &Request) -> Self {
        Self { sends: request.up, amount: request.amount, streams: request.streams }
    }

    pub(super) fn of_server(request: &Request) -> Self {
        Self { sends: request.down, amount: request.amount, streams: request.streams }
    }

    /// The share of stream `number`: all together send exactly what was asked for.
    fn share(&self, number: u16) -> Option<u64> {
        let Amount::Bytes(bytes) = self.amount else { return None };
        let (streams, number) = (u64::from(self.streams), u64::from(number));
        Some(bytes / streams + u64::from(number < bytes % streams))
    }
}

/// Runs both halves of stream `number` in `running`.
pub(super) fn start(
    running: &mut JoinSet<Result<(), String>>,
    (to, from): (SendStream, RecvStream),
    number: u16,
    work: Work,
    meter: &Arc<Meter>,
) {
    let (sending, receiving) = (Arc::clone(meter), Arc::clone(meter));
    running.spawn(async move { send(to, work, number, &sending).await });
    running.spawn(async move { receive(from, &receiving).await });
}

/// Waits for all streams, or for the first that fails.
pub(super) async fn finish(running: &mut JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

async fn send(mut to: SendStream, work: Work, number: u16, meter: &Meter) -> Result<(), String> {
    let told = |error: WriteError| format!("sending failed: {error}");
    if !work.sends {
        return to.finish().map_err(told);
    }
    let Amount::Seconds(seconds) = work.amount else {
        let mut left = work.share(number).unwrap_or(0);
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            to.write_chunk(Bytes::from_static(&ZEROS[..piece])).await.map_err(told)?;
            meter.wrote(piece);
            left -= piece as u64;
        }
        to.finish().map_err(told)?;
        return to.finished().await.map_err(told);
    };
    let filled = async {
        loop {
            to.write_chunk(Bytes::from_static(&ZEROS)).await.map_err(told)?;
            meter.wrote(PIECE);
        }
    };
    match tokio::time::timeout(Duration::from_secs(seconds.into()), filled).await {
        Ok(failed) => failed,
        Err(_) => {
            to.reset(TIME_IS_UP);
            Ok(())
        }
    }
}

async fn receive(mut from: RecvStream, meter: &Meter) -> Result<(), String> {
    loop {
        match from.read_chunk(READ).await {
            Ok(Some(chunk)) => meter.received(chunk.len()),
            Ok(None) | Err(ReadError::Reset(TIME_IS_UP)) => return Ok(()),
            Err(error) => return Err(format!("receiving failed: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Work;
    use crate::perf::request::Amount;

    #[test]
    fn the_shares_of_all_streams_are_the_whole() {
        for (bytes, streams) in [(1, 1000), (1000, 7), (10_u64.pow(9), 1), (999, 1000)] {
            let work = Work { sends: true, amount: Amount::Bytes(bytes), streams };
            let all: u64 = (0..streams).filter_map(|number| work.share(number)).sum();
            assert_eq!(all, bytes);
        }
    }
}
