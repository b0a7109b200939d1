//! What arrives: blocks that the kernel fills, and the datagrams inside them.
//!
//! Owns the receive buffers and the reading of what the kernel says about each arrival. GRO trains are cut by
//! the size that came with them, so a caller sees single datagrams, each mutable where it lies.

use crate::cmsg::Incoming;
use crate::sys::{self, ARRIVALS, Arrival};
use core::fmt;
use core::slice::ChunksMut;
use core::time::Duration;
use mpquic_base::Ecn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;

/// Bytes per block: the largest GRO train.
const BLOCK_BYTES: usize = 65_536;
/// Bytes that one call should bring at the most, if what the last one brought is anything to go by: they are still in the
/// cache of the core (512 KiB is common) when they are opened.
const HOT_BYTES: usize = 128 * 1024;
/// Reports of ICMP errors that one call skips before it leaves the rest to the next.
const SKIPS_MAX: usize = 16;

/// Buffers for one receive call, made once and used for ever.
pub struct ReceiveBatch {
    blocks: Box<[u8]>,
    arrivals: [Arrival; ARRIVALS],
    trains: [Train; ARRIVALS],
    /// How many arrivals the next receive call takes.
    most: usize,
    /// The last receive call found as many as it could take.
    full: bool,
}

impl ReceiveBatch {
    #[must_use]
    pub fn new() -> Self {
        Self {
            blocks: vec![0; ARRIVALS * BLOCK_BYTES].into_boxed_slice(),
            arrivals: [Arrival::EMPTY; ARRIVALS],
            trains: [Train::EMPTY; ARRIVALS],
            most: ARRIVALS,
            full: false,
        }
    }

    /// Whether more may have been waiting than the last receive call took.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// What the last receive call brought, in order of arrival: what datagrams have in common, and their payloads, which the
    /// receiver may decrypt in place.
    pub fn trains(&mut self) -> impl Iterator<Item = (&Train, ChunksMut<'_, u8>)> {
        let Self { blocks, trains, .. } = self;
        let pairs = trains.iter().zip(blocks.chunks_exact_mut(BLOCK_BYTES));
        pairs
            .filter(|(train, _)| train.len > 0)
            .map(|(train, block)| (train, block[..train.len].chunks_mut(train.segment)))
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.trains.iter().filter(|t| t.len > 0)).finish()
    }
}

/// Datagrams of one block. They share addresses and mark, or GRO would not have put them together.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    len: usize,
    /// Never 0.
    segment: usize,
    pub peer: SocketAddr,
    /// The address that they were sent to, with the port that the socket is bound to.
    pub local: SocketAddr,
    pub ecn: Ecn,
    /// When the kernel took them in, since 1970; `None` unless the socket was bound with
    /// [`timestamps`](super::SocketOptions::timestamps).
    pub received_at: Option<Duration>,
}

impl Train {
    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    const EMPTY: Self = Self {
        len: 0,
        segment: 1,
        peer: Self::NOWHERE,
        local: Self::NOWHERE,
        ecn: Ecn::NotEct,
        received_at: None,
    };

    /// `None` if the arrival cannot be trusted to be whole, or does not say where it is from.
    fn new(arrival: &Arrival, bound: SocketAddr) -> Option<Self> {
        if arrival.cut {
            return None;
        }
        let incoming = Incoming::read(&arrival.control);
        let segment = if incoming.segment == 0 { arrival.len } else { incoming.segment };
        Some(Self {
            len: arrival.len,
            segment: segment.max(1),
            peer: arrival.name.address()?,
            local: local_address(&incoming, bound),
            ecn: incoming.ecn,
            received_at: incoming.at,
        })
    }

    fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment)
    }
}

/// What one receive call brought.
pub(super) struct Filled {
    pub(super) datagrams: usize,
    pub(super) cut: u64,
}

pub(super) fn fill(
    fd: BorrowedFd<'_>,
    bound: SocketAddr,
    batch: &mut ReceiveBatch,
    calls: &mut u64,
) -> io::Result<Filled> {
    batch.trains = [Train::EMPTY; ARRIVALS];
    batch.full = false;
    let ReceiveBatch { blocks, arrivals, trains, most, full } = batch;
    let arrived = past_disturbances(|| {
        *calls += 1;
        sys::receive(fd, blocks, arrivals, *most)
    })?;
    *full = arrived == *most;
    if arrived > 0 {
        let bytes: usize = arrivals[..arrived].iter().map(|arrival| arrival.len).sum();
        *most = (HOT_BYTES * arrived / bytes.max(1)).clamp(1, ARRIVALS);
    }
    let mut filled = Filled { datagrams: 0, cut: 0 };
    for (arrival, train) in arrivals.iter().zip(trains).take(arrived) {
        match Train::new(arrival, bound) {
            Some(whole) => {
                filled.datagrams += whole.datagrams();
                *train = whole;
            }
            None => filled.cut += 1,
        }
    }
    Ok(filled)
}

/// Repeats `call` past signals and ICMP reports; an empty socket is 0 arrivals.
fn past_disturbances(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..SKIPS_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if is_disturbance(&error) => {}
            result => return result,
        }
    }
    Ok(0)
}

/// A signal, or an error that ICMP brought: about one datagram to one peer, not about this socket.
fn is_disturbance(error: &io::Error) -> bool {
    const ICMP: [i32; 10] = [
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::EHOSTUNREACH,
        libc::EHOSTDOWN,
        libc::ENETUNREACH,
        libc::ENOPROTOOPT,
        libc::EMSGSIZE,
        libc::EPROTO,
        libc::EACCES,
        libc::EOPNOTSUPP,
    ];
    error.raw_os_error().is_some_and(|code| code == libc::EINTR || ICMP.contains(&code))
}

fn local_address(incoming: &Incoming, bound: SocketAddr) -> SocketAddr {
    match incoming.local {
        Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, bound.port(), 0, incoming.interface).into()
        }
        Some(ip) => SocketAddr::new(ip, bound.port()),
        None => bound,
    }
}

#[cfg(test)]
mod tests;
