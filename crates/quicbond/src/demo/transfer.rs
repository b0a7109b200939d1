//! One payload across one connection, on one stream, with its hash made at both ends.
//!
//! The client opens the stream and says which way the data shall go and how much there is; knows nothing of links.

use super::payload::{Digest, Hasher, Payload};
use super::plan::Direction;
use crate::lock::lock;
use mpquic::{Connection, RecvStream, SendStream};
use mpquic_base::Duration;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// Read at once.
const PIECE: usize = 256 * 1024;
/// `PUT 18446744073709551615\n` and a little more.
const MAX_REQUEST: usize = 32;

/// What the receiver sees, for those who watch.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    /// When bytes came last.
    pub(crate) last: Option<Instant>,
    /// The longest time between two reads that returned something.
    pub(crate) longest_gap: Duration,
}

/// The hashes of what was sent and of what was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digests {
    pub(crate) sent: Digest,
    pub(crate) received: Digest,
}

/// Carries the payload and returns when the receiver has seen its end.
pub(crate) async fn carry(
    direction: Direction,
    payload: &Payload,
    client: &Connection,
    server: &Connection,
    meter: &Meter,
) -> Result<Digests, String> {
    let (client, server) =
        tokio::try_join!(client_end(direction, payload, client, meter), server_end(payload, server, meter))?;
    let (sent, received) = match direction {
        Direction::Up => (client, server),
        Direction::Down => (server, client),
    };
    Ok(Digests { sent, received })
}

async fn client_end(
    direction: Direction,
    payload: &Payload,
    connection: &Connection,
    meter: &Meter,
) -> Result<Digest, String> {
    let (mut to, from) = connection.open_bi().await.map_err(|e| e.to_string())?;
    let verb = match direction {
        Direction::Up => "PUT",
        Direction::Down => "GET",
    };
    to.write_all(format!("{verb} {}\n", payload.bytes).as_bytes()).await.map_err(|e| e.to_string())?;
    match direction {
        Direction::Up => send(to, payload).await,
        Direction::Down => {
            to.finish().map_err(|e| e.to_string())?;
            receive(from, &[], payload.bytes, meter).await
        }
    }
}

async fn server_end(payload: &Payload, connection: &Connection, meter: &Meter) -> Result<Digest, String> {
    let (to, mut from) = connection.accept_bi().await.map_err(|e| e.to_string())?;
    let mut head = Vec::new();
    let end = loop {
        let mut piece = [0; MAX_REQUEST];
        let read = from.read(&mut piece).await.map_err(|e| e.to_string())?;
        head.extend_from_slice(&piece[..read.ok_or("the request ended in its middle")?]);
        if let Some(end) = head.iter().position(|&b| b == b'\n') {
            break end;
        }
        if head.len() >= MAX_REQUEST {
            return Err("the request is no request".to_owned());
        }
    };
    match parse_request(&head[..end]) {
        Some((Direction::Down, bytes)) if bytes == payload.bytes => send(to, payload).await,
        Some((Direction::Up, bytes)) => receive(from, &head[end + 1..], bytes, meter).await,
        _ => {
            Err(format!("the request {:?} is not what was asked for", String::from_utf8_lossy(&head[..end])))
        }
    }
}

fn parse_request(line: &[u8]) -> Option<(Direction, u64)> {
    let (verb, bytes) = core::str::from_utf8(line).ok()?.split_once(' ')?;
    let direction = match verb {
        "PUT" => Direction::Up,
        "GET" => Direction::Down,
        _ => return None,
    };
    Some((direction, bytes.parse().ok()?))
}

async fn send(mut to: SendStream, payload: &Payload) -> Result<Digest, String> {
    let mut pieces = payload.pieces();
    while let Some(piece) = pieces.next().await {
        to.write_all(&piece).await.map_err(|e| format!("sending failed: {e}"))?;
    }
    let digest = pieces.digest().await?;
    to.finish().map_err(|e| format!("sending failed: {e}"))?;
    Ok(digest)
}

/// Reads `bytes` bytes, of which `early` came with the request, and the end of the stream.
async fn receive(mut from: RecvStream, early: &[u8], bytes: u64, meter: &Meter) -> Result<Digest, String> {
    let mut hasher = Hasher::new();
    let mut got = 0;
    let mut take = |piece: &[u8]| {
        if !piece.is_empty() {
            meter.delivered(piece.len() as u64, Instant::now());
            hasher.update(piece);
            got += piece.len() as u64;
        }
    };
    take(early);
    let mut piece = vec![0; PIECE];
    while let Some(n) = from.read(&mut piece).await.map_err(|e| format!("receiving failed: {e}"))? {
        take(&piece[..n]);
    }
    if got != bytes {
        return Err(format!("{got} bytes arrived instead of {bytes}"));
    }
    Ok(hasher.finish())
}

impl Meter {
    pub(crate) fn seen(&self) -> Seen {
        *self.lock()
    }

    fn delivered(&self, bytes: u64, now: Instant) {
        let mut seen = self.lock();
        if let Some(last) = seen.last {
            seen.longest_gap = seen.longest_gap.max(now.duration_since(last));
        }
        seen.last = Some(now);
        seen.bytes += bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

#[cfg(test)]
mod tests;
