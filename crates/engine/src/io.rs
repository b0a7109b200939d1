//! All that a shard sees of the world.

use mpquic_base::{Ecn, FourTuple, Rate, Time};
use mpquic_net::{Batch, Socket};
use std::io;
use std::net::SocketAddr;

/// The world behind a shard: sockets and a clock, or simulated links and a simulated time.
pub trait Io {
    fn now(&self) -> Time;

    /// Which socket a packet with this source address leaves through; `None` if there is none (any more).
    fn socket(&self, local: SocketAddr) -> Option<u16>;

    /// Hands over one bounded batch of what has arrived, datagram by datagram. Returns whether more may wait.
    fn receive(&mut self, on: &mut dyn FnMut(FourTuple, Ecn, &mut [u8])) -> bool;

    /// Sends a batch. After [`SendOutcome::Blocked`] it is offered again each turn, so the refusal should be cheap
    /// until the socket has room, and having room must end the driver's wait.
    fn send(&mut self, socket: u16, batch: &Batch<'_>) -> SendOutcome;

    /// As [`Io::send`], for a batch that is not to leave before `at`: the world may hold it until then if
    /// [`Io::holds_until_due`] says so.
    fn send_at(&mut self, socket: u16, batch: &Batch<'_>, _at: Time) -> SendOutcome {
        self.send(socket, batch)
    }

    /// Batches for this socket need not wait in the wheel: the world holds them until their time.
    fn holds_until_due(&self, _socket: u16) -> bool {
        false
    }

    /// Books a batch, meant to leave at `at`, on the link behind the socket; if the link has a limit, says when that lets
    /// the batch leave, and what the limit is.
    fn book(&self, _socket: u16, _batch: &Batch<'_>, _at: Time) -> Option<(Time, Rate)> {
        None
    }

    /// Whether somebody asked for the application's attention since the last call.
    fn take_woken(&mut self) -> bool;

    /// Takes over a bound socket.
    ///
    /// # Errors
    /// What the system reports, or that this world has no such thing; the socket is closed then.
    fn add_socket(&mut self, socket: Socket) -> io::Result<()> {
        drop(socket);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes the socket that is bound to exactly this address and says which it was.
    fn remove_socket(&mut self, _local: SocketAddr) -> Option<u16> {
        None
    }

    /// System calls made so far.
    fn calls(&self) -> u64 {
        0
    }

    /// What went through the sockets so far, those included that are gone.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

/// What went through sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// System calls that sent or tried to.
    pub send_calls: u64,
    pub datagrams_sent: u64,
    /// Bytes of the largest datagram sent.
    pub largest_sent: u64,
    /// System calls that received or tried to.
    pub receive_calls: u64,
    pub datagrams_received: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    Sent,
    /// The socket is full. The first `sent` datagrams have left; the rest is to be offered again.
    Blocked {
        sent: usize,
    },
    /// The host refused the batch, and waiting will not help.
    Failed,
    /// The host has no way out: the device is gone, or there is no route or no such address.
    Unreachable,
    /// The host does not send datagrams of that size there.
    TooLarge,
}
