//! What waits in the wheel and leaves through a socket: one batch of equally long datagrams to one peer.
//!
//! Owns the bytes, the addresses, the mark and the departure time. Refuses to know what the bytes say; the tag
//! is the sender's own, and every packet ends in exactly one [`Done`] that carries it home.

use crate::pool::Slot;
use crate::socket::Batch;
use mpquic_base::{Ecn, Time};
use std::net::SocketAddr;

/// Which of two queues a packet waits in when several leave in the same tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Acknowledgements and other packets that must not wait behind data.
    Control,
    Data,
}

/// A batch on its way out.
#[derive(Debug)]
pub struct Packet<T> {
    pub slot: Slot,
    /// How many bytes of the slot are meant.
    pub len: usize,
    /// Size of each datagram; the last may be shorter.
    pub segment: u16,
    /// Which of the engine's sockets it leaves through.
    pub socket: u16,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub ecn: Ecn,
    pub depart_at: Time,
    pub lane: Lane,
    pub tag: T,
}

impl<T> Packet<T> {
    /// The packet without its first `sent` datagrams, as a socket takes it.
    #[must_use]
    pub fn batch(&self, sent: usize) -> Batch<'_> {
        let bytes = &self.slot[..self.len];
        let skipped = sent.saturating_mul(usize::from(self.segment)).min(bytes.len());
        Batch {
            bytes: &bytes[skipped..],
            segment: self.segment,
            local: self.local.ip(),
            peer: self.peer,
            ecn: self.ecn,
        }
    }

    /// Gives the slot back and reports what became of the packet.
    #[must_use]
    pub fn done(self, fate: Fate) -> Done<T> {
        Done { tag: self.tag, fate }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The kernel took it at this time.
    Sent(Time),
    /// The kernel refused it; what it carried counts as lost.
    Failed,
    /// It was taken back before it left.
    Cancelled,
}

/// The end of a packet's journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<T> {
    pub tag: T,
    pub fate: Fate,
}

#[cfg(test)]
mod tests {
    use super::{Ecn, Fate, Lane, Packet, Time};
    use crate::pool::{Pool, PoolConfig};

    #[test]
    fn what_is_left_of_a_packet_begins_at_its_first_unsent_datagram() {
        let pool = Pool::new(PoolConfig { block_bytes: 4000, initial: 1, max: 1 });
        let packet = Packet {
            slot: pool.take().unwrap(),
            len: 3100,
            segment: 1200,
            socket: 0,
            local: "127.0.0.1:1".parse().unwrap(),
            peer: "127.0.0.1:2".parse().unwrap(),
            ecn: Ecn::Ect0,
            depart_at: Time::ZERO,
            lane: Lane::Data,
            tag: 7,
        };
        assert_eq!([0, 1, 2, 3, 9].map(|sent| packet.batch(sent).bytes.len()), [3100, 1900, 700, 0, 0]);
        assert_eq!(pool.stats().free, 0);
        assert_eq!(packet.done(Fate::Cancelled).tag, 7);
        assert_eq!(pool.stats().free, 1);
    }
}
