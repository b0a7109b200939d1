//! IP packets between a device and one session: a CONNECT-IP request (RFC 9484) seen from either end.
//!
//! Owns how a packet travels: as an HTTP datagram, with a stamp of its flow's order where both ends agreed on that, or as
//! a capsule if it is too large for a datagram and may not be cut. Refuses to know whose packets these are and where
//! the device is.

mod capsules;
mod inward;

pub(crate) use capsules::{next_configuration, read as read_capsules, send as send_capsules};
pub(crate) use inward::{Admits, Inward};

use crate::lock::lock;
use core::hash::BuildHasher;
use core::sync::atomic::{AtomicU64, Ordering};
use mpquic_bond::order::{Stamp, Stamper};
use mpquic_bond::packet::Packet;
use mpquic_h3::{Datagrams, SendDatagramError};
use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;
use tokio::sync::mpsc;

/// RFC 9484 §6: a whole IP packet.
pub(crate) const PLAIN: u64 = 0;
/// Ours, agreed on by [`ORDER_HEADER`]: a stamp, then a whole IP packet. Even, as the client chose it (RFC 9298 §4).
pub(crate) const STAMPED: u64 = 2;
/// Asks for, and grants, stamped packets.
pub(crate) const ORDER_HEADER: &str = "quicbond-order";
/// RFC 8200 §5: what every link must carry. Smaller packets never need to be cut.
const ALWAYS_FITS: usize = 1280;
/// Packets that wait to leave as capsules.
pub(crate) const CAPSULES_WAITING: usize = 64;

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Done,
    /// The paths carry at most this many bytes; whoever sent it has to be told.
    TooBig(usize),
    /// No room now: the packet is lost if it is not tried again.
    Full,
    /// The session is over.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets_out: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) packets_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    /// Arrived with a source or for a destination that this session may not have.
    pub(crate) dropped_foreign: AtomicU64,
    pub(crate) reordered: AtomicU64,
    pub(crate) too_big: AtomicU64,
}

/// The sending side of a session's packets.
#[derive(Debug)]
pub(crate) struct Lane {
    addresses: Vec<IpAddr>,
    datagrams: Datagrams,
    /// `None` where the peer wants packets as they are.
    stamper: Option<Mutex<Stamper>>,
    capsules: mpsc::Sender<Vec<u8>>,
    pub(crate) counters: Counters,
}

/// Packets on their way into a lane: they go to the connection together, so that its thread is woken once for all.
#[derive(Debug)]
pub(crate) struct Batch {
    datagrams: mpquic_h3::Batch,
    /// Lengths of the packets in `datagrams`.
    lengths: VecDeque<usize>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

impl Lane {
    /// Packets for `capsules` are to be sent as DATAGRAM capsules on the request stream.
    pub(crate) fn new(
        addresses: Vec<IpAddr>,
        datagrams: Datagrams,
        stamped: bool,
        capsules: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        // Which flows share a number must not be for the peers of our tenants to choose.
        let seed = RandomState::new().hash_one(0);
        let stamper = stamped.then(|| Mutex::new(Stamper::new(seed)));
        Self { addresses, datagrams, stamper, capsules, counters: Counters::default() }
    }

    /// The client's addresses inside the tunnel.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The largest packet that fits into a datagram now, but never less than what every link must carry.
    pub(crate) fn mtu(&self) -> usize {
        let context = self.context();
        let stamp = if self.stamper.is_some() { Stamp::LEN } else { 0 };
        let room = self.datagrams.max_payload(context).unwrap_or(0).saturating_sub(stamp);
        room.max(ALWAYS_FITS)
    }

    const fn context(&self) -> u64 {
        if self.stamper.is_some() { STAMPED } else { PLAIN }
    }

    /// An empty batch; `None` once the session is over.
    pub(crate) fn batch(&self) -> Option<Batch> {
        let datagrams = self.datagrams.batch(self.context()).ok()?;
        Some(Batch { datagrams, lengths: VecDeque::new() })
    }

    /// Adds a packet to `batch`, or sends it another way if it is too large for a datagram.
    pub(crate) fn add(&self, batch: &mut Batch, packet: &[u8]) -> Sent {
        let Ok(read) = Packet::read(packet) else { return Sent::Done };
        let added = match &self.stamper {
            None => batch.datagrams.push(&[packet]),
            Some(stamper) => {
                let stamp = lock(stamper).stamp(&read.flow());
                batch.datagrams.push(&[&stamp.encode(), packet])
            }
        };
        if added.is_ok() {
            batch.lengths.push_back(packet.len());
            return Sent::Done;
        }
        let sent = self.send_large(packet, read.dont_fragment());
        self.count(&sent, packet.len());
        sent
    }

    /// Sends what is in `batch`. If that is [`Sent::Full`], the rest is still there.
    pub(crate) fn flush(&self, batch: &mut Batch) -> Sent {
        if batch.is_empty() {
            return Sent::Done;
        }
        let sent = match self.datagrams.send_batch(&mut batch.datagrams) {
            Ok(()) => Sent::Done,
            Err(SendDatagramError::Full) => Sent::Full,
            Err(_) => return Sent::Gone,
        };
        let taken = batch.lengths.len() - batch.datagrams.len();
        let bytes: usize = batch.lengths.drain(..taken).sum();
        self.counters.packets_out.fetch_add(taken as u64, Ordering::Relaxed);
        self.counters.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        sent
    }

    /// As [`Lane::flush`], for a sender who cannot wait: packets without room are lost.
    pub(crate) fn flush_or_drop(&self, mut batch: Batch) {
        if self.flush(&mut batch) == Sent::Full {
            self.counters.dropped_full.fetch_add(batch.lengths.len() as u64, Ordering::Relaxed);
        }
    }

    fn send_large(&self, packet: &[u8], dont_fragment: bool) -> Sent {
        if packet.len() > ALWAYS_FITS && dont_fragment {
            return Sent::TooBig(self.mtu());
        }
        match self.capsules.try_send(packet.to_vec()) {
            Ok(()) => Sent::Done,
            Err(mpsc::error::TrySendError::Full(_)) => Sent::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::Gone,
        }
    }

    fn count(&self, sent: &Sent, len: usize) {
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        match sent {
            Sent::Done => {
                add(&self.counters.packets_out, 1);
                add(&self.counters.bytes_out, len);
            }
            Sent::Full => {
                add(&self.counters.dropped_full, 1);
            }
            Sent::TooBig(_) => {
                add(&self.counters.too_big, 1);
            }
            Sent::Gone => {}
        }
    }
}
