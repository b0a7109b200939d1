//! How much a connection holds, in numbers: what a peer can make it keep has a bound, and tests look at it here.

use super::Connection;
use crate::handshake::LevelId;

/// Everything whose amount a peer has a say in.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub streams: usize,
    /// Bytes in send and receive buffers of streams.
    pub stream_bytes: u64,
    /// Received stream ranges that wait for bytes before them.
    pub fragments: usize,
    pub datagrams: usize,
    pub datagram_bytes: u64,
    pub paths: usize,
    pub local_cids: usize,
    pub peer_cids: usize,
    /// Retirements of the peer's connection IDs that it has not acknowledged.
    pub retirements: usize,
    /// PATH_ABANDON frames that it has not acknowledged.
    pub abandons: usize,
    /// Packets that wait for their keys.
    pub stashed: usize,
    /// Handshake data held for its order or for being sent again, in bytes.
    pub crypto_bytes: usize,
    pub events: usize,
    /// Packets whose fate is remembered, over all paths and levels.
    pub sent_packets: usize,
    /// Ranges of received packet numbers, likewise.
    pub ack_ranges: usize,
    /// Answers to challenges that wait.
    pub responses: usize,
}

impl Connection {
    #[doc(hidden)]
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let streams = self.streams.stats();
        let (datagrams, datagram_bytes) = self.datagrams.held();
        let (local_cids, peer_cids, retirements) = self.cids.held();
        let levels = [&self.handshake.initial, &self.handshake.handshake].into_iter().flatten();
        let spaces = || self.paths.iter().map(|p| &p.space).chain(levels.clone().map(|l| &l.space));
        Holdings {
            streams: streams.open,
            stream_bytes: streams.held_bytes,
            fragments: streams.fragments,
            datagrams,
            datagram_bytes,
            paths: self.paths.len(),
            local_cids,
            peer_cids,
            retirements,
            abandons: self.path_ids.unacknowledged(),
            stashed: self.stash.len(),
            crypto_bytes: LevelId::ALL.iter().map(|level| self.handshake.held(*level)).sum(),
            events: self.events.len(),
            sent_packets: spaces().map(|s| s.sent.len()).sum(),
            ack_ranges: spaces().map(|s| s.acks.ranges().count()).sum(),
            responses: self.paths.iter().map(|p| p.validation.waiting()).sum(),
        }
    }
}
