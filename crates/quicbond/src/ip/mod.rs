//! IP packets between a device and one session: a CONNECT-IP request (RFC 9484) seen from either end.
//!
//! Owns how a packet travels: as an HTTP datagram, with a stamp of its flow's order where both ends agreed on that, or as
//! a capsule if it is too large for a datagram and may not be cut. Refuses to know whose packets these are and where
//! the device is.

mod capsules;
mod inward;

pub(crate) use capsules::{next_configuration, read as read_capsules, send as send_capsules};
pub(crate) use inward::{Admits, Inward};

use core::hash::BuildHasher;
use core::sync::atomic::{AtomicU64, Ordering};
use mpquic_bond::order::{Stamp, Stamper};
use mpquic_bond::packet::Packet;
use mpquic_h3::{Datagrams, SendDatagramError};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
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
    stamper: Option<Mutex<Stamping>>,
    capsules: mpsc::Sender<Vec<u8>>,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Stamping {
    stamper: Stamper,
    /// Kept for its allocation.
    buffer: Vec<u8>,
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
        let stamping = || Mutex::new(Stamping { stamper: Stamper::new(seed), buffer: Vec::new() });
        Self {
            addresses,
            datagrams,
            stamper: stamped.then(stamping),
            capsules,
            counters: Counters::default(),
        }
    }

    /// The client's addresses inside the tunnel.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The largest packet that fits into a datagram now, but never less than what every link must carry.
    pub(crate) fn mtu(&self) -> usize {
        let context = if self.stamper.is_some() { STAMPED } else { PLAIN };
        let stamp = if self.stamper.is_some() { Stamp::LEN } else { 0 };
        let room = self.datagrams.max_payload(context).unwrap_or(0).saturating_sub(stamp);
        room.max(ALWAYS_FITS)
    }

    pub(crate) fn send(&self, packet: &[u8]) -> Sent {
        let Ok(read) = Packet::read(packet) else { return Sent::Done };
        let result = match &self.stamper {
            None => self.datagrams.send(PLAIN, packet),
            Some(stamping) => {
                let mut stamping = stamping.lock().unwrap_or_else(PoisonError::into_inner);
                let Stamping { stamper, buffer } = &mut *stamping;
                buffer.clear();
                buffer.extend_from_slice(&stamper.stamp(&read.flow()).encode());
                buffer.extend_from_slice(packet);
                self.datagrams.send(STAMPED, buffer)
            }
        };
        let sent = match result {
            Ok(()) => Sent::Done,
            Err(SendDatagramError::Full) => Sent::Full,
            Err(SendDatagramError::Closed | SendDatagramError::Unsupported) => Sent::Gone,
            Err(SendDatagramError::TooLarge) => self.send_large(packet, read.dont_fragment()),
        };
        self.count(&sent, packet.len());
        sent
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
