//! Unreliable datagrams (RFC 9221): bounded queues in both directions, counted drops.

use crate::error::{Refused, Violation};
use crate::frames::{Frames, Token};
use mpquic_wire::Frame;
use std::collections::VecDeque;

/// Type and the longest length field of a DATAGRAM frame.
const OVERHEAD: usize = 1 + 4;

#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    queue_max: usize,
    local_max: u64,
    peer_max: u64,
    outgoing: VecDeque<Vec<u8>>,
    /// Bytes in `outgoing`.
    queued: u64,
    incoming: VecDeque<Vec<u8>>,
    blocked: bool,
    pub(crate) stats: DatagramStats,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct DatagramStats {
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    /// Dropped because the application did not read them in time, or because no path carries their size any more.
    pub dropped: u64,
}

impl Datagrams {
    pub(crate) fn new(local_max: u64, queue_max: usize) -> Self {
        Self { queue_max, local_max, ..Self::default() }
    }

    /// What was queued under a larger limit of an earlier visit, and is too large now, is dropped.
    pub(crate) fn on_peer_max(&mut self, max: u64) {
        self.peer_max = max;
        let before = self.outgoing.len();
        self.outgoing.retain(|data| (data.len() + OVERHEAD) as u64 <= max);
        self.stats.dropped += (before - self.outgoing.len()) as u64;
        self.queued = self.outgoing.iter().map(|data| data.len() as u64).sum();
    }

    /// `path_room` is the payload that one packet of the smallest usable path holds.
    pub(crate) fn send(&mut self, data: &[u8], path_room: usize) -> Result<(), Refused> {
        if !self.fits(data, path_room) {
            return Err(Refused::DatagramSize);
        }
        if self.outgoing.len() >= self.queue_max {
            self.blocked = true;
            return Err(Refused::Full);
        }
        self.queue(data.to_vec());
        Ok(())
    }

    /// Takes as many from the front as there is room for. Those that nobody can carry are taken and dropped.
    pub(crate) fn send_all(&mut self, from: &mut VecDeque<Vec<u8>>, path_room: usize) {
        while self.outgoing.len() < self.queue_max {
            match from.pop_front() {
                Some(data) if self.fits(&data, path_room) => self.queue(data),
                Some(_) => self.stats.dropped += 1,
                None => return,
            }
        }
        self.blocked = true;
    }

    /// The application of either end has sent one.
    pub(crate) const fn were_used(&self) -> bool {
        self.stats.sent + self.stats.received + self.queued > 0
    }

    /// Gives back the memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.outgoing.shrink_to_fit();
        self.incoming.shrink_to_fit();
    }

    fn fits(&self, data: &[u8], path_room: usize) -> bool {
        (data.len() + OVERHEAD) as u64 <= self.peer_max && data.len() + OVERHEAD <= path_room
    }

    fn queue(&mut self, data: Vec<u8>) {
        self.queued += data.len() as u64;
        self.outgoing.push_back(data);
    }

    /// Bytes that one datagram may hold with that much room in a packet.
    pub(crate) fn max_size(&self, path_room: usize) -> Option<usize> {
        let limit = usize::try_from(self.peer_max).unwrap_or(usize::MAX).min(path_room);
        limit.checked_sub(OVERHEAD).filter(|_| self.peer_max > 0)
    }

    /// True if this is the first one waiting.
    pub(crate) fn on_datagram(&mut self, data: &[u8], frame_len: usize) -> Result<bool, Violation> {
        if frame_len as u64 > self.local_max {
            return Err(Violation::protocol("a datagram larger than we accept"));
        }
        self.stats.received += 1;
        if self.incoming.len() >= self.queue_max {
            self.incoming.pop_front();
            self.stats.dropped += 1;
        }
        self.incoming.push_back(data.to_vec());
        Ok(self.incoming.len() == 1)
    }

    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        self.incoming.pop_front()
    }

    /// What waits to be sent, in bytes. An empty datagram is something to send as well: each counts its frame type.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued + self.outgoing.len() as u64
    }

    /// Datagrams in both queues, and their bytes.
    pub(crate) fn held(&self) -> (usize, u64) {
        let incoming: usize = self.incoming.iter().map(Vec::len).sum();
        (self.outgoing.len() + self.incoming.len(), self.queued + incoming as u64)
    }

    pub(crate) fn wants(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// `whole` is the room of an empty packet: what does not fit there never will and is dropped.
    pub(crate) fn write(&mut self, frames: &mut Frames<'_>, whole: usize) {
        while let Some(data) = self.outgoing.front() {
            let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
            if frames.push(&Frame::Datagram { data }, Token::Datagram { len }) {
                self.stats.sent += 1;
            } else if data.len() + OVERHEAD > whole {
                self.stats.dropped += 1;
            } else {
                return;
            }
            self.queued -= u64::from(len);
            self.outgoing.pop_front();
        }
    }

    pub(crate) const fn lost(&mut self) {
        self.stats.lost += 1;
    }

    /// True once after a refusal, when there is room again.
    pub(crate) fn take_unblocked(&mut self) -> bool {
        let room = self.blocked && self.outgoing.len() * 2 <= self.queue_max;
        self.blocked &= !room;
        room
    }
}
