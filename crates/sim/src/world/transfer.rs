//! A stream from one side to the other whose every byte is known in advance.

use super::{Node, Side};
use mpquic_base::{Dir, Duration, Role, StreamId, Time};
use mpquic_proto::{ConnectionId, Read, Refused};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(Side, StreamId);

impl TransferId {
    pub(super) fn is_from(self, side: Side) -> bool {
        self.0 == side
    }
}

/// Bytes that one write or read moves at the most.
const CHUNK: usize = 16_384;

#[derive(Debug)]
pub struct Transfer {
    from: Side,
    stream: StreamId,
    bytes: u64,
    opened: bool,
    written: u64,
    finished: bool,
    read: u64,
    ended: bool,
    started: Time,
    delivered_at: Option<Time>,
    last_read_at: Time,
    longest_gap: Duration,
    buffer: Box<[u8]>,
}

impl Transfer {
    /// The `index`th transfer of its side; its stream is opened as soon as the peer allows.
    pub(super) fn new(from: Side, index: u64, bytes: u64, now: Time) -> Self {
        let role = match from {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        };
        Self {
            from,
            stream: StreamId::new(role, Dir::Uni, index),
            bytes,
            opened: false,
            written: 0,
            finished: false,
            read: 0,
            ended: false,
            started: now,
            delivered_at: None,
            last_read_at: now,
            longest_gap: Duration::ZERO,
            buffer: vec![0; CHUNK].into_boxed_slice(),
        }
    }

    pub(super) const fn id(&self) -> TransferId {
        TransferId(self.from, self.stream)
    }

    #[must_use]
    pub const fn is_delivered(&self) -> bool {
        self.delivered_at.is_some()
    }

    /// From the first write to the last byte.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.delivered_at.map(|at| at.since(self.started))
    }

    /// Bytes that the receiving application has.
    #[must_use]
    pub const fn delivered_bytes(&self) -> u64 {
        self.read
    }

    /// The longest time between two reads that gave something.
    #[must_use]
    pub const fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{:?} {:?}: {} written, {} of {} read",
            self.from, self.stream, self.written, self.read, self.bytes
        )
    }

    /// Writes or reads what it can on `side`.
    pub(super) fn go_on(
        &mut self,
        now: Time,
        node: &mut Node,
        connection: ConnectionId,
        side: Side,
    ) -> Result<(), String> {
        if side == self.from { self.write(node, connection) } else { self.read(now, node, connection) }
    }

    fn write(&mut self, node: &mut Node, connection: ConnectionId) -> Result<(), String> {
        if self.finished {
            return Ok(());
        }
        let Some(connection) = node.connection(connection) else { return Ok(()) };
        if !self.opened {
            match connection.open(Dir::Uni) {
                Ok(id) if id == self.stream => self.opened = true,
                Ok(id) => return Err(format!("{id:?} opened in place of {:?}", self.stream)),
                Err(Refused::StreamLimit) => return Ok(()),
                Err(refused) => return Err(format!("open refused: {refused}")),
            }
        }
        while self.written < self.bytes {
            let len = CHUNK.min(usize::try_from(self.bytes - self.written).unwrap_or(CHUNK));
            let chunk = &mut self.buffer[..len];
            chunk.iter_mut().zip(self.written..).for_each(|(byte, at)| *byte = pattern(at));
            match connection.write(self.stream, chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => self.written += n as u64,
                Err(refused) => return Err(format!("write refused: {refused}")),
            }
        }
        connection.finish(self.stream).map_err(|refused| format!("finish refused: {refused}"))?;
        self.finished = true;
        Ok(())
    }

    fn read(&mut self, now: Time, node: &mut Node, connection: ConnectionId) -> Result<(), String> {
        if self.ended {
            return Ok(());
        }
        let Some(connection) = node.connection(connection) else { return Ok(()) };
        loop {
            match connection.read(self.stream, &mut self.buffer) {
                Ok(Read::Data(n)) => {
                    if !self.buffer[..n].iter().zip(self.read..).all(|(byte, at)| *byte == pattern(at)) {
                        return Err(format!("wrong bytes at {} of {:?}", self.read, self.stream));
                    }
                    self.longest_gap = self.longest_gap.max(now.since(self.last_read_at));
                    self.last_read_at = now;
                    self.read += n as u64;
                }
                Ok(Read::End) if self.read == self.bytes => {
                    self.ended = true;
                    self.delivered_at = Some(now);
                    return Ok(());
                }
                Ok(Read::End) => {
                    return Err(format!("{:?} ended at {} of {}", self.stream, self.read, self.bytes));
                }
                // Nothing yet, or nothing of the stream has arrived at all.
                Ok(Read::Blocked) | Err(Refused::UnknownStream) => return Ok(()),
                Err(refused) => return Err(format!("read refused: {refused}")),
            }
        }
    }
}

/// The byte at `offset`: a function of its place alone.
const fn pattern(offset: u64) -> u8 {
    (offset ^ (offset >> 8).wrapping_mul(167) ^ (offset >> 16)).to_le_bytes()[0]
}
