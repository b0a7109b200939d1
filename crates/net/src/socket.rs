//! Batched, non-blocking UDP sockets for IPv4 and IPv6.
//!
//! Owns one descriptor with its options and counters: packet info, ECN in both directions, don't-fragment, GSO
//! and GRO where the kernel has them. Refuses to know when to send and what the bytes mean. Nothing here waits,
//! and nothing allocates after `bind`.

mod group;
mod receive;
mod send;

use crate::address::Name;
use crate::cmsg::Control;
use crate::qdisc;
use crate::sys;
use crate::throttle::Throttle;
use core::cell::Cell;
use core::ffi::c_int;
use core::time::Duration;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

pub use receive::{ReceiveBatch, Train};
pub use send::{Batch, Stopped};

/// How a socket is set up.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// The network interface that all traffic of this socket uses, whatever the routing table says.
    pub device: Option<String>,
    /// The mark (`SO_MARK`) that routing rules and firewalls see on all traffic of this socket. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Receive buffer to ask for, in bytes. The kernel may grant less.
    pub recv_buffer: usize,
    /// Send buffer to ask for, in bytes. The kernel may grant less.
    pub send_buffer: usize,
    /// Send datagram by datagram even where the kernel could cut batches itself.
    pub disable_gso: bool,
    /// Receive datagram by datagram even where the kernel could put trains together.
    pub disable_gro: bool,
    /// Have the kernel note when each datagram (or GRO train) came in: [`Train::received_at`].
    pub timestamps: bool,
    /// Whether the kernel is to hold batches until their time, so that nobody has to wake up for them.
    pub kernel_pacing: KernelPacing,
    /// Bounds what leaves through this socket, and through others that share it.
    pub throttle: Option<Arc<Throttle>>,
    /// How long the kernel may look for arrivals at the device itself, without waiting for its interrupt. More than
    /// the host's own setting takes `CAP_NET_ADMIN`. Zero leaves it alone.
    pub busy_poll: Duration,
}

/// Who waits for a batch's departure: this process, or the kernel's `fq` queueing discipline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KernelPacing {
    /// The kernel if the socket's interface has `fq` (alone, or below `mq`), else this process.
    #[default]
    Auto,
    Never,
    /// The kernel, even if it looks unable: batches then leave at once.
    Always,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            device: None,
            mark: None,
            recv_buffer: 4 << 20,
            send_buffer: 4 << 20,
            disable_gso: false,
            disable_gro: false,
            timestamps: false,
            kernel_pacing: KernelPacing::default(),
            throttle: None,
            busy_poll: Duration::ZERO,
        }
    }
}

/// Counters and abilities of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    /// System calls that sent or tried to.
    pub send_calls: u64,
    pub datagrams_sent: u64,
    /// Bytes of the largest datagram sent.
    pub largest_sent: u64,
    /// System calls that received or tried to.
    pub receive_calls: u64,
    pub datagrams_received: u64,
    /// Arrivals thrown away because the kernel had to cut them or their description.
    pub arrivals_cut: u64,
    /// The kernel cuts batches into datagrams. Falls when it turns out that this route cannot.
    pub gso: bool,
    /// The kernel puts arriving datagrams together.
    pub gro: bool,
    /// The kernel holds batches until their time.
    pub kernel_pacing: bool,
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    io: socket2::Socket,
    local: SocketAddr,
    stats: Cell<SocketStats>,
    throttle: Option<Arc<Throttle>>,
}

impl Socket {
    /// Opens a socket at `address`; port 0 picks a free one. An IPv6 socket takes no IPv4 traffic.
    ///
    /// # Errors
    /// What the system reports: address in use or not ours, unknown device, no permission, too many files.
    pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        Self::open(address, options, false)
    }

    /// `joins`: shares the address with the sockets of its group.
    fn open(address: SocketAddr, options: &SocketOptions, joins: bool) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let io = socket2::Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if address.is_ipv6() {
            io.set_only_v6(true)?;
        }
        if let Some(device) = &options.device {
            io.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(mark) = options.mark {
            io.set_mark(mark)?;
        }
        if joins {
            io.set_reuse_port(true)?;
        }
        ask_for_buffers(&io, options);
        busy_poll(io.as_fd(), options.busy_poll);
        set_ip_options(io.as_fd(), address.is_ipv6())?;
        // Support is found out by asking: 0 turns segmentation off, which a kernel without it does not know.
        let knows = |name, value| sys::set_option(io.as_fd(), libc::SOL_UDP, name, value).is_ok();
        let gso = !options.disable_gso && knows(libc::UDP_SEGMENT, 0);
        let gro = !options.disable_gro && knows(libc::UDP_GRO, 1);
        if options.timestamps {
            sys::set_option(io.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS_NEW, 1)?;
        }
        io.bind(&address.into())?;
        let local = io.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let kernel_pacing = match options.kernel_pacing {
            KernelPacing::Never => false,
            KernelPacing::Always => true,
            KernelPacing::Auto => qdisc::paces(options.device.as_deref(), local.ip()),
        };
        let kernel_pacing = kernel_pacing && departs_by_clock(io.as_fd());
        let stats = SocketStats { gso, gro, kernel_pacing, ..SocketStats::default() };
        Ok(Self { io, local, stats: Cell::new(stats), throttle: options.throttle.clone() })
    }

    /// The address that this host would send to `peer` from, by way of the same device and mark. Sends nothing.
    ///
    /// # Errors
    /// What the system reports: no route, unknown device.
    pub fn source_towards(peer: SocketAddr, options: &SocketOptions) -> io::Result<IpAddr> {
        let io = socket2::Socket::new(Domain::for_address(peer), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
        if let Some(device) = &options.device {
            io.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(mark) = options.mark {
            io.set_mark(mark)?;
        }
        io.connect(&peer.into())?;
        let source = io.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(source.ip())
    }

    /// Where the socket is bound; the IP may be unspecified.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.stats.get()
    }

    /// What bounds the rate of this socket, if anything does.
    #[must_use]
    pub const fn throttle(&self) -> Option<&Arc<Throttle>> {
        self.throttle.as_ref()
    }

    /// Sends a batch: with GSO whole or not at all, otherwise datagram by datagram.
    ///
    /// A batch that GSO cannot take on this route goes out datagram by datagram within the same call, and
    /// so does every later one. A batch beyond one system call's limits (64 datagrams, 65507 bytes) takes several.
    ///
    /// # Errors
    /// [`Stopped`] says how many datagrams left before the kernel refused, and whether to wait or give up.
    pub fn send(&self, batch: &Batch<'_>) -> Result<(), Stopped> {
        self.send_with(batch, Control::outgoing(batch.local, batch.peer.is_ipv6(), batch.ecn))
    }

    /// As [`Socket::send`], and has the kernel hold the batch until this time of the monotonic clock. Of use only with
    /// [`SocketStats::kernel_pacing`]; elsewhere the batch leaves at once.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_at(&self, batch: &Batch<'_>, monotonic_ns: u64) -> Result<(), Stopped> {
        let control = Control::outgoing(batch.local, batch.peer.is_ipv6(), batch.ecn);
        self.send_with(batch, control.with_departure(monotonic_ns))
    }

    fn send_with(&self, batch: &Batch<'_>, control: Control) -> Result<(), Stopped> {
        let mut wire = Wire { socket: self, name: Name::new(batch.peer), control };
        let mut gso = self.stats.get().gso;
        let result = send::send_out(batch, &mut gso, &mut wire);
        self.count(|s| s.gso = gso);
        result
    }

    /// Takes what has arrived, replacing what the batch held. Returns the number of datagrams: 0 if none wait.
    ///
    /// ICMP errors that the kernel reports here are about some datagram sent earlier; they are skipped.
    ///
    /// # Errors
    /// What the system reports about the socket itself.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        let mut calls = 0;
        let result = receive::fill(self.io.as_fd(), self.local, batch, &mut calls);
        self.count(|s| {
            s.receive_calls += calls;
            if let Ok(filled) = &result {
                s.datagrams_received += filled.datagrams as u64;
                s.arrivals_cut += filled.cut;
            }
        });
        result.map(|filled| filled.datagrams)
    }

    fn count(&self, change: impl FnOnce(&mut SocketStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

/// Whether a socket bound to `bound` sends packets from `local`: one on all addresses sends from any, as a packet asks.
#[must_use]
pub fn serves(bound: SocketAddr, local: SocketAddr) -> bool {
    let any = bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4();
    bound == local || (any && bound.port() == local.port())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

/// The kernel, as [`send::send_out`] sees it: one peer, one source, one mark.
struct Wire<'a> {
    socket: &'a Socket,
    name: Name,
    control: Control,
}

impl send::Kernel for Wire<'_> {
    fn send_whole(&mut self, bytes: &[u8], segment: u16) -> io::Result<()> {
        let datagrams = bytes.len().div_ceil(usize::from(segment));
        let fd = self.socket.as_fd();
        let result = if datagrams > 1 {
            sys::send(fd, bytes, &self.name, &self.control.with_segment(segment))
        } else {
            sys::send(fd, bytes, &self.name, &self.control)
        };
        self.note(if result.is_ok() { datagrams } else { 0 }, bytes.len().min(usize::from(segment)));
        result
    }

    fn send_each(&mut self, bytes: &[u8], segment: u16) -> io::Result<usize> {
        let fd = self.socket.as_fd();
        let result = sys::send_each(fd, bytes, usize::from(segment), &self.name, &self.control);
        self.note(*result.as_ref().unwrap_or(&0), bytes.len().min(usize::from(segment)));
        result
    }
}

impl Wire<'_> {
    /// One call that sent so many datagrams, the first of `largest` bytes and none larger.
    fn note(&self, datagrams: usize, largest: usize) {
        self.socket.count(|s| {
            s.send_calls += 1;
            s.datagrams_sent += datagrams as u64;
            if datagrams > 0 {
                s.largest_sent = s.largest_sent.max(largest as u64);
            }
        });
    }
}

/// Best effort: the privileged call goes beyond the host's limit, the ordinary one up to it.
fn ask_for_buffers(io: &socket2::Socket, options: &SocketOptions) {
    let force = |name, bytes: usize| {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        sys::set_option(io.as_fd(), libc::SOL_SOCKET, name, bytes)
    };
    // A smaller buffer is slower, not wrong, so a refusal of both is no failure.
    force(libc::SO_SNDBUFFORCE, options.send_buffer)
        .or_else(|_| io.set_send_buffer_size(options.send_buffer))
        .ok();
    force(libc::SO_RCVBUFFORCE, options.recv_buffer)
        .or_else(|_| io.set_recv_buffer_size(options.recv_buffer))
        .ok();
}

/// Best effort: a kernel or a privilege that is missing costs speed only.
fn busy_poll(fd: BorrowedFd<'_>, span: Duration) {
    let Some(us) = c_int::try_from(span.as_micros()).ok().filter(|us| *us > 0) else { return };
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, us).ok();
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1).ok();
}

/// Asks for `SCM_TXTIME` by the monotonic clock, the one that `fq` goes by and that needs no privilege.
fn departs_by_clock(fd: BorrowedFd<'_>) -> bool {
    // struct sock_txtime: clock and flags, 32 bits each.
    let value = [libc::CLOCK_MONOTONIC.to_ne_bytes(), 0u32.to_ne_bytes()].concat();
    sys::set_option_bytes(fd, libc::SOL_SOCKET, libc::SO_TXTIME, &value).is_ok()
}

fn set_ip_options(fd: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    // PROBE sets don't-fragment and ignores the kernel's own idea of the path's MTU: ours is searched for.
    // RFC 9000 §14: UDP datagrams must not be fragmented at the IP layer.
    let options = if v6 {
        [
            (libc::IPV6_RECVPKTINFO, 1),
            (libc::IPV6_RECVTCLASS, 1),
            (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
        ]
    } else {
        [(libc::IP_PKTINFO, 1), (libc::IP_RECVTOS, 1), (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)]
    };
    let level = if v6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
    options.into_iter().try_for_each(|(name, value)| sys::set_option(fd, level, name, value))
}

#[cfg(test)]
mod tests;
