//! The real world: UDP sockets, a poller and a clock.
//!
//! Owns which socket a source address means, and which sockets are worth a system call: one is read only while the
//! poller says that something waits there, and is not written to between a refusal and the poller's all-clear.

use crate::io::{Io, SendOutcome};
use mpquic_base::{Ecn, FourTuple, Time};
use mpquic_net::{Batch, Clock, Poller, ReceiveBatch, Socket, Waker};
use std::io;
use std::net::SocketAddr;

/// Sockets of one shard. A socket per link: its local address is what paths are opened on.
#[derive(Debug)]
pub struct SocketIo {
    clock: Clock,
    poller: Poller,
    ports: Vec<Port>,
    arrivals: ReceiveBatch,
    /// Where the next search for a readable socket begins, so that a busy one cannot starve the others.
    next: usize,
    woken: bool,
    /// Waits, and changes of what is waited for.
    polls: u64,
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
        let poller = Poller::new()?;
        let mut ports = Vec::with_capacity(sockets.len());
        for (socket, key) in sockets.into_iter().zip(0..=u16::MAX) {
            poller.add(&socket, key)?;
            ports.push(Port { socket, readable: true, full: false });
        }
        Ok(Self { clock, poller, ports, arrivals: ReceiveBatch::new(), next: 0, woken: false, polls: 0 })
    }

    /// Ends a wait from another thread and has the application called.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// Where the sockets are bound, in their order.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.ports.iter().map(|p| p.socket.local_addr())
    }

    /// Sleeps until a socket is ready, somebody wakes, or `until` has come; a time that has passed only looks.
    ///
    /// # Errors
    /// What the system reports about the wait itself.
    pub fn wait(&mut self, until: Option<Time>) -> io::Result<()> {
        self.polls += 1;
        let ready = self.poller.wait(until, &self.clock)?;
        self.woken |= ready.woken;
        let mut with_room = Vec::new();
        for event in ready.events {
            let Some(port) = self.ports.get_mut(usize::from(event.key)) else { continue };
            port.readable |= event.readable;
            if event.writable && port.full {
                port.full = false;
                with_room.push(event.key);
            }
        }
        for key in with_room {
            self.polls += 1;
            self.poller.want_writable(&self.ports[usize::from(key)].socket, key, false)?;
        }
        Ok(())
    }
}

impl Io for SocketIo {
    fn now(&self) -> Time {
        self.clock.now()
    }

    fn socket(&self, local: SocketAddr) -> Option<u16> {
        let exact = self.ports.iter().position(|p| p.socket.local_addr() == local);
        // A socket on all addresses of the host sends from any of them, as each packet asks.
        let any = || {
            self.ports.iter().position(|p| {
                let bound = p.socket.local_addr();
                bound.ip().is_unspecified()
                    && bound.port() == local.port()
                    && bound.is_ipv4() == local.is_ipv4()
            })
        };
        exact.or_else(any).and_then(|index| u16::try_from(index).ok())
    }

    fn receive(&mut self, on: &mut dyn FnMut(FourTuple, Ecn, &mut [u8])) -> bool {
        let Self { ports, arrivals, next, .. } = self;
        let count = ports.len();
        let Some(index) = (0..count).map(|i| (*next + i) % count).find(|&i| ports[i].readable) else {
            return false;
        };
        *next = index + 1;
        // An error of the socket itself is as good as nothing: the poller reports it again, paths fall silent.
        match ports[index].socket.receive(arrivals) {
            Ok(0) | Err(_) => ports[index].readable = false,
            Ok(_) => {
                for datagram in arrivals.datagrams() {
                    let tuple = FourTuple { local: datagram.local, peer: datagram.peer };
                    on(tuple, datagram.ecn, datagram.bytes);
                }
            }
        }
        ports.iter().any(|p| p.readable)
    }

    fn send(&mut self, socket: u16, batch: &Batch<'_>) -> SendOutcome {
        let Some(port) = self.ports.get_mut(usize::from(socket)) else { return SendOutcome::Failed };
        if port.full {
            return SendOutcome::Blocked { sent: 0 };
        }
        match port.socket.send(batch) {
            Ok(()) => SendOutcome::Sent,
            Err(stopped) if stopped.is_blocked() => {
                self.polls += 1;
                // If the poller cannot watch for room, the next turn simply tries again.
                port.full = self.poller.want_writable(&port.socket, socket, true).is_ok();
                SendOutcome::Blocked { sent: stopped.sent }
            }
            Err(_) => SendOutcome::Failed,
        }
    }

    fn take_woken(&mut self) -> bool {
        core::mem::take(&mut self.woken)
    }

    fn calls(&self) -> u64 {
        let stats = self.ports.iter().map(|p| p.socket.stats());
        self.polls + stats.map(|s| s.send_calls + s.receive_calls).sum::<u64>()
    }
}
