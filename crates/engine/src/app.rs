//! The application inside a shard: what it is told, and what it may reach.

use crate::shard::{ShardCounters, ShardStats};
use core::fmt;
use mpquic_base::{FourTuple, Time};
use mpquic_net::{PoolStats, Socket};
use mpquic_proto::{ClientConfig, ConnectError, Connection, ConnectionId, Endpoint, Event};
use std::io;
use std::net::SocketAddr;

/// Code that lives in a shard, with direct access to its connections.
///
/// Every call must return soon: the shard's packets wait for it.
pub trait App {
    /// Something happened on a connection. After [`Event::Closed`] nothing more comes from it.
    fn on_event(&mut self, cx: &mut Cx<'_>, id: ConnectionId, event: Event);

    /// Another thread asked for attention, or [`App::deadline`] has come.
    fn on_wake(&mut self, cx: &mut Cx<'_>);

    /// A socket that was asked for has come, or one has gone. Packets that waited to leave through it have come back
    /// as cancelled; its paths are for the application to give up.
    fn on_socket(&mut self, _cx: &mut Cx<'_>, _change: SocketChange) {}

    /// The turn is over, and what could be sent has been: the time to wake other threads.
    fn on_turn_end(&mut self, _now: Time) {}

    /// When [`App::on_wake`] is to be called next even if nobody wakes the shard.
    fn deadline(&self) -> Option<Time> {
        None
    }
}

/// What became of a wish of [`Cx::add_socket`] or [`Cx::remove_socket`].
#[derive(Debug)]
pub enum SocketChange {
    Added {
        local: SocketAddr,
        result: io::Result<()>,
    },
    /// `found`: there was such a socket.
    Removed {
        local: SocketAddr,
        found: bool,
    },
}

/// Changes of the sockets that the application asked for.
#[derive(Debug)]
pub(crate) enum SocketWish {
    Add(Socket),
    Remove(SocketAddr),
}

/// What a shard holds and has counted, beside its endpoint.
pub(crate) struct Holds {
    pub(crate) counters: ShardCounters,
    pub(crate) pool: PoolStats,
    pub(crate) waiting: usize,
}

/// What an [`App`] sees of its shard: the time and the connections.
pub struct Cx<'a> {
    pub(crate) now: Time,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) wishes: &'a mut Vec<SocketWish>,
    pub(crate) holds: &'a dyn Fn() -> Holds,
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("now", &self.now).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Cx<'_> {
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Has the shard take over a bound socket before this turn ends; [`App::on_socket`] follows.
    pub fn add_socket(&mut self, socket: Socket) {
        self.wishes.push(SocketWish::Add(socket));
    }

    /// Has the shard close the socket bound to this address before this turn ends; [`App::on_socket`] follows.
    pub fn remove_socket(&mut self, local: SocketAddr) {
        self.wishes.push(SocketWish::Remove(local));
    }

    /// A connection to act on; it is asked for packets in this very turn.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.endpoint.connection(id)
    }

    /// The address tokens that servers gave: server, QUIC version, token.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, u32, &[u8])> {
        self.endpoint.tokens()
    }

    /// Keeps an address token of an earlier life for the next connection of that version to that server.
    pub fn remember_token(&mut self, server_name: &str, version: u32, token: Vec<u8>) {
        self.endpoint.remember_token(server_name, version, token);
    }

    /// A connection to look at.
    #[must_use]
    pub fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        self.endpoint.peek(id)
    }

    /// What the shard has done so far and holds now.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let Holds { counters, pool, waiting } = (self.holds)();
        let (endpoint, connections) = (self.endpoint.counters(), self.endpoint.len());
        ShardStats { counters, endpoint, pool, waiting, connections }
    }

    /// Begins a connection; [`Event::Connected`] or [`Event::Closed`] follows.
    ///
    /// # Errors
    /// If the TLS stack refuses the name or its configuration.
    pub fn connect(
        &mut self,
        config: &ClientConfig,
        server_name: &str,
        tuple: FourTuple,
    ) -> Result<ConnectionId, ConnectError> {
        self.endpoint.connect(self.now, config, server_name, tuple)
    }
}
