//! The application inside a shard: what it is told, and what it may reach.

use mpquic_base::{FourTuple, Time};
use mpquic_proto::{ClientConfig, ConnectError, Connection, ConnectionId, Endpoint, Event};

/// Code that lives in a shard, with direct access to its connections.
///
/// Every call must return soon: the shard's packets wait for it.
pub trait App {
    /// Something happened on a connection. After [`Event::Closed`] nothing more comes from it.
    fn on_event(&mut self, cx: &mut Cx<'_>, id: ConnectionId, event: Event);

    /// Another thread asked for attention, or [`App::deadline`] has come.
    fn on_wake(&mut self, cx: &mut Cx<'_>);

    /// When [`App::on_wake`] is to be called next even if nobody wakes the shard.
    fn deadline(&self) -> Option<Time> {
        None
    }
}

/// What an [`App`] sees of its shard: the time and the connections.
#[derive(Debug)]
pub struct Cx<'a> {
    pub(crate) now: Time,
    pub(crate) endpoint: &'a mut Endpoint,
}

impl Cx<'_> {
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// A connection to act on; it is asked for packets in this very turn.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.endpoint.connection(id)
    }

    /// A connection to look at.
    #[must_use]
    pub fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        self.endpoint.peek(id)
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
