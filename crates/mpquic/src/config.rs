//! What a client and a server are told before they begin.

use mpquic_proto::{Admission, TransportConfig};
use mpquic_tls::{ConfigError, Identity, Pin};
use std::sync::Arc;

/// Connections that a server keeps at once unless told otherwise.
const CONNECTIONS_MAX: usize = 65_536;
/// Servers whose tickets a client keeps, and sessions that a server remembers, if early data needs them and nobody said
/// how many.
const TICKETS_MAX: usize = 256;
const SESSIONS_MAX: usize = 4096;

/// Whom a client trusts, what it speaks, and how it behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) proto: mpquic_proto::ClientConfig,
    pub(crate) pinned: bool,
    tls: mpquic_tls::ClientConfig,
    tickets: Tickets,
}

/// How many sessions are remembered, and whether they allow 0-RTT.
#[derive(Clone, Copy, Debug, Default)]
struct Tickets {
    sessions: usize,
    early_data: bool,
}

impl Tickets {
    fn of(self, unless_said: usize) -> usize {
        if self.early_data && self.sessions == 0 { unless_said } else { self.sessions }
    }
}

impl ClientConfig {
    /// Trusts servers that match one of `pins`, whatever their names; offers the protocols `alpn`.
    ///
    /// # Errors
    /// If there is no pin or no usable protocol.
    pub fn pinned(pins: &[Pin], alpn: &[&[u8]]) -> Result<Self, ConfigError> {
        Ok(Self::new(mpquic_tls::ClientConfig::pinned(pins)?.build(alpn)?, true))
    }

    /// Trusts servers whose certificate chains to one of the certificates in `pem`; offers the protocols `alpn`.
    ///
    /// # Errors
    /// If there is no usable certificate or protocol.
    pub fn with_roots_pem(pem: &[u8], alpn: &[&[u8]]) -> Result<Self, ConfigError> {
        Ok(Self::new(mpquic_tls::ClientConfig::with_roots_pem(pem)?.build(alpn)?, false))
    }

    fn new(tls: mpquic_tls::ClientConfig, pinned: bool) -> Self {
        let proto = mpquic_proto::ClientConfig {
            crypto: Arc::new(tls.clone()),
            transport: Arc::new(TransportConfig::default()),
        };
        Self { proto, pinned, tls, tickets: Tickets::default() }
    }

    /// Remembers tickets of that many servers, so that a later connection to one needs no certificate (resumption). They
    /// are kept in this configuration and its clones, each is used once, and they end with the process.
    ///
    /// Off by default: a ticket lets a server recognise its visitor, and spares it proving anew who it is.
    #[must_use]
    pub fn resumption(mut self, servers: usize) -> Self {
        self.tickets.sessions = servers;
        self.with_tickets()
    }

    /// Allows to send before the handshake is complete (0-RTT) to servers that gave a ticket for it; used through
    /// [`crate::Connecting::into_early`]. It needs tickets: without [`ClientConfig::resumption`], those of 256 servers are
    /// remembered.
    ///
    /// Off by default: whoever records such data can send it to the server once more.
    #[must_use]
    pub fn early_data(mut self, on: bool) -> Self {
        self.tickets.early_data = on;
        self.with_tickets()
    }

    fn with_tickets(mut self) -> Self {
        self.tls = self.tls.with_tickets(self.tickets.of(TICKETS_MAX), self.tickets.early_data);
        self.proto.crypto = Arc::new(self.tls.clone());
        self
    }

    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.proto.transport = Arc::new(transport);
        self
    }
}

/// Who a server is, what it speaks, and how it behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) proto: mpquic_proto::ServerConfig,
    pub(crate) admission: Admission,
    tls: mpquic_tls::ServerConfig,
    tickets: Tickets,
}

impl ServerConfig {
    /// Proves to be `identity`; speaks the protocols `alpn`.
    ///
    /// # Errors
    /// If there is no usable protocol or the key does not belong to the certificate.
    pub fn new(identity: Identity, alpn: &[&[u8]]) -> Result<Self, ConfigError> {
        Self::build(mpquic_tls::ServerConfig::with_identity(identity), alpn)
    }

    /// As [`ServerConfig::new`], and makes address tokens and stateless resets of `secret`: a server that is started again
    /// with the same secret tells its former peers at once that their connections are gone.
    ///
    /// # Errors
    /// As [`ServerConfig::new`].
    pub fn with_secret(identity: Identity, alpn: &[&[u8]], secret: [u8; 32]) -> Result<Self, ConfigError> {
        Self::build(mpquic_tls::ServerConfig::with_identity(identity).master_secret(secret), alpn)
    }

    fn build(tls: mpquic_tls::ServerBuilder, alpn: &[&[u8]]) -> Result<Self, ConfigError> {
        let tls = tls.build(alpn)?;
        let transport = Arc::new(TransportConfig::default());
        let proto = mpquic_proto::ServerConfig {
            crypto: Arc::new(tls.clone()),
            transport,
            max_connections: CONNECTIONS_MAX,
        };
        Ok(Self { proto, admission: Admission::default(), tls, tickets: Tickets::default() })
    }

    /// What is asked of strangers before their handshake begins (a Retry: never, always, or under load), how many
    /// handshakes may be in progress, and whether clients get a token that spares them the next Retry.
    /// [`Admission::epoch`] is filled in by the endpoint.
    ///
    /// ```
    /// # fn example(config: mpquic::ServerConfig) -> mpquic::ServerConfig {
    /// use mpquic::{Admission, RetryPolicy};
    ///
    /// // Everybody proves their address first; at most 500 handshakes at once.
    /// config.admission(Admission {
    ///     retry: RetryPolicy::Always,
    ///     handshakes_max: 500,
    ///     ..Admission::default()
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Gives clients tickets and remembers that many sessions, so that a client that comes back need not be shown the
    /// certificate again (resumption). Sessions are kept in this configuration and its clones, and end with the process.
    ///
    /// Off by default.
    #[must_use]
    pub fn resumption(mut self, sessions: usize) -> Self {
        self.tickets.sessions = sessions;
        self.with_tickets()
    }

    /// Takes what clients with a ticket send before the handshake is complete (0-RTT). Without
    /// [`ServerConfig::resumption`], 4096 sessions are remembered for that.
    ///
    /// Off by default, because an attacker can record such data and send it again. A ticket is good for one attempt at
    /// this server, so a replay finds its session used up and its data is refused; but machines that share an identity
    /// without sharing sessions, and packets that arrive before the first attempt did, are beyond that. So only what does
    /// no harm when it is done twice may be done before [`crate::Connection::handshake_completed`]:
    /// [`crate::RecvStream::is_early`] marks the streams.
    ///
    /// With this, [`crate::Endpoint::accept`] hands out connections before their handshake is complete, if such data came.
    /// What is written to them leaves when it is.
    #[must_use]
    pub fn early_data(mut self, on: bool) -> Self {
        self.tickets.early_data = on;
        self.with_tickets()
    }

    fn with_tickets(mut self) -> Self {
        self.tls = self.tls.with_tickets(self.tickets.of(SESSIONS_MAX), self.tickets.early_data);
        self.proto.crypto = Arc::new(self.tls.clone());
        self
    }

    #[must_use]
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.proto.transport = Arc::new(transport);
        self
    }

    /// Connections kept at once, handshakes included; more are ignored until some end.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.proto.max_connections = max;
        self
    }
}
