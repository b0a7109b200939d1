//! The real world: UDP sockets, a poller and a clock.
//!
//! Owns which socket a source address means, and which sockets are worth a system call: one is read only while the
//! poller says that something waits there, and is not written to between a refusal and the poller's all-clear.

use crate::io::{Io, SendOutcome, Traffic};
use mpquic_base::{Duration, Ecn, FourTuple, Rate, Time};
use mpquic_net::{Batch, Clock, Poller, ReceiveBatch, Socket, Waker, serves};
use std::io;
use std::net::SocketAddr;

/// Sockets of one shard. A socket per link: its local address is what paths are opened on. They may come and go; the
/// number of one that went is given to the next that comes.
#[derive(Debug)]
pub struct SocketIo {
    clock: Clock,
    poller: Poller,
    ports: Vec<Option<Port>>,
    arrivals: ReceiveBatch,
    /// Where the next search for a readable socket begins, so that a busy one cannot starve the others.
    next: usize,
    woken: bool,
    /// Keys of sockets that have room again; kept for its allocation.
    with_room: Vec<u16>,
    /// Changes of what is waited for.
    changes: u64,
    /// Of sockets that are gone.
    past: Traffic,
}

#[derive(Debug)]
struct Port {
    socket: Socket,
    readable: bool,
    /// Refused a packet, and has not had room since.
    full: bool,
}

impl SocketIo {
    /// Takes over bound sockets.
    ///
    /// # Errors
    /// What the system reports, as a rule too many open files.
    pub fn new(clock: Clock, sockets: Vec<Socket>) -> io::Result<Self> {
        let mut io = Self {
            clock,
            poller: Poller::new()?,
            ports: Vec::new(),
            arrivals: ReceiveBatch::new(),
            next: 0,
            woken: false,
            with_room: Vec::new(),
            changes: 0,
            past: Traffic::default(),
        };
        sockets.into_iter().try_for_each(|socket| io.add_socket(socket))?;
        Ok(io)
    }

    /// Ends a wait from another thread and has the application called.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// Where the sockets are bound, in their order.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.ports.iter().flatten().map(|p| p.socket.local_addr())
    }

    /// Waits until a socket is ready, somebody wakes, or `until` has come; a time that has passed only looks. It stays
    /// awake for that long before it sleeps. Returns whether anything but the time has come.
    ///
    /// # Errors
    /// What the system reports about the wait itself.
    pub fn wait(&mut self, until: Option<Time>, awake: Duration) -> io::Result<bool> {
        let ready = self.poller.watch(until, awake, &self.clock)?;
        self.woken |= ready.woken;
        self.with_room.clear();
        for event in ready.events {
            let Some(Some(port)) = self.ports.get_mut(usize::from(event.key)) else { continue };
            port.readable |= event.readable;
            if event.writable && port.full {
                port.full = false;
                self.with_room.push(event.key);
            }
        }
        let called = ready.woken || !ready.events.is_empty();
        for &key in &self.with_room {
            if let Some(Some(port)) = self.ports.get(usize::from(key)) {
                self.changes += 1;
                self.poller.want_writable(&port.socket, key, false)?;
            }
        }
        Ok(called)
    }
}

impl SocketIo {
    fn port(&self, socket: u16) -> Option<&Port> {
        self.ports.get(usize::from(socket))?.as_ref()
    }
}

impl Io for SocketIo {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn socket(&self, local: SocketAddr) -> Option<u16> {
        let position = |fits: &dyn Fn(SocketAddr) -> bool| {
            self.ports.iter().position(|p| p.as_ref().is_some_and(|p| fits(p.socket.local_addr())))
        };
        let exact = position(&|bound| bound == local);
        exact.or_else(|| position(&|bound| serves(bound, local))).and_then(|index| u16::try_from(index).ok())
    }

    fn receive(&mut self, on: &mut dyn FnMut(FourTuple, Ecn, &mut [u8])) -> bool {
        let Self { ports, arrivals, next, .. } = self;
        let count = ports.len();
        let Some(index) = (0..count).map(|i| (*next + i) % count).find(|&i| is_readable(&ports[i])) else {
            return false;
        };
        *next = index + 1;
        let Some(port) = ports[index].as_mut() else { return false };
        // An error of the socket itself is as good as nothing: the poller reports it again, paths fall silent.
        match port.socket.receive(arrivals) {
            Err(_) => port.readable = false,
            Ok(_) => {
                // What comes after a call that did not fill its room is the poller's to report.
                port.readable = arrivals.is_full();
                for (train, datagrams) in arrivals.trains() {
                    let tuple = FourTuple { local: train.local, peer: train.peer };
                    datagrams.for_each(|datagram| on(tuple, train.ecn, datagram));
                }
            }
        }
        ports.iter().any(is_readable)
    }

    fn send(&mut self, socket: u16, batch: &Batch<'_>) -> SendOutcome {
        self.send_at(socket, batch, Time::ZERO)
    }

    fn send_at(&mut self, socket: u16, batch: &Batch<'_>, at: Time) -> SendOutcome {
        let Some(Some(port)) = self.ports.get_mut(usize::from(socket)) else {
            return SendOutcome::Unreachable;
        };
        if port.full {
            return SendOutcome::Blocked { sent: 0 };
        }
        let result = if port.socket.stats().kernel_pacing {
            port.socket.send_at(batch, self.clock.kernel_ns(at))
        } else {
            port.socket.send(batch)
        };
        match result {
            Ok(()) => SendOutcome::Sent,
            Err(stopped) if stopped.is_blocked() => {
                self.changes += 1;
                // If the poller cannot watch for room, the next turn simply tries again.
                port.full = self.poller.want_writable(&port.socket, socket, true).is_ok();
                SendOutcome::Blocked { sent: stopped.sent }
            }
            Err(stopped) if stopped.is_unreachable() => SendOutcome::Unreachable,
            Err(stopped) if stopped.is_too_large() => SendOutcome::TooLarge,
            Err(_) => SendOutcome::Failed,
        }
    }

    fn holds_until_due(&self, socket: u16) -> bool {
        self.port(socket).is_some_and(|port| port.socket.stats().kernel_pacing)
    }

    fn book(&self, socket: u16, batch: &Batch<'_>, at: Time) -> Option<(Time, Rate)> {
        let throttle = self.port(socket)?.socket.throttle()?;
        let limit = throttle.rate()?;
        let datagrams = batch.bytes.len().div_ceil(usize::from(batch.segment.max(1)));
        let free_at = throttle.book(at, batch.bytes.len() as u64, datagrams as u64, batch.peer.is_ipv6());
        Some((free_at, limit))
    }

    fn take_woken(&mut self) -> bool {
        core::mem::take(&mut self.woken)
    }

    fn add_socket(&mut self, socket: Socket) -> io::Result<()> {
        if self.local_addrs().any(|bound| bound == socket.local_addr()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let free = self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len());
        let key = u16::try_from(free).map_err(|_| io::Error::other("too many sockets"))?;
        self.poller.add(&socket, key)?;
        if free == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[free] = Some(Port { socket, readable: true, full: false });
        Ok(())
    }

    fn remove_socket(&mut self, local: SocketAddr) -> Option<u16> {
        let bound = |p: &Option<Port>| p.as_ref().is_some_and(|p| p.socket.local_addr() == local);
        let index = self.ports.iter().position(bound)?;
        let port = self.ports[index].take()?;
        self.past = self.past.with(&port.socket);
        // Closing, which follows, would end the watch as well.
        self.poller.remove(&port.socket).ok();
        u16::try_from(index).ok()
    }

    fn calls(&self) -> u64 {
        let Traffic { send_calls, receive_calls, .. } = self.traffic();
        self.poller.calls() + self.changes + send_calls + receive_calls
    }

    fn traffic(&self) -> Traffic {
        self.ports.iter().flatten().fold(self.past, |sum, port| sum.with(&port.socket))
    }
}

impl Traffic {
    fn with(self, socket: &Socket) -> Self {
        let stats = socket.stats();
        Self {
            send_calls: self.send_calls + stats.send_calls,
            datagrams_sent: self.datagrams_sent + stats.datagrams_sent,
            largest_sent: self.largest_sent.max(stats.largest_sent),
            receive_calls: self.receive_calls + stats.receive_calls,
            datagrams_received: self.datagrams_received + stats.datagrams_received,
        }
    }
}

fn is_readable(port: &Option<Port>) -> bool {
    port.as_ref().is_some_and(|p| p.readable)
}
