//! What a client and a server are told before they begin.

use mpquic_proto::TransportConfig;
use mpquic_tls::{ConfigError, Identity, Pin};
use std::sync::Arc;

/// Connections that a server keeps at once unless told otherwise.
const CONNECTIONS_MAX: usize = 65_536;

/// Whom a client trusts, what it speaks, and how it behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) proto: mpquic_proto::ClientConfig,
    pub(crate) pinned: bool,
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

    /// With every choice of TLS made by the caller, see [`crate::tls`].
    #[must_use]
    pub fn with_tls(crypto: mpquic_tls::ClientConfig) -> Self {
        let pinned = crypto.is_pinned();
        Self::new(crypto, pinned)
    }

    fn new(crypto: mpquic_tls::ClientConfig, pinned: bool) -> Self {
        let proto = mpquic_proto::ClientConfig {
            crypto: Arc::new(crypto),
            transport: Arc::new(TransportConfig::default()),
        };
        Self { proto, pinned }
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
        Ok(Self::with_tls(tls.build(alpn)?))
    }

    /// With every choice of TLS made by the caller, see [`crate::tls`].
    #[must_use]
    pub fn with_tls(crypto: mpquic_tls::ServerConfig) -> Self {
        let transport = Arc::new(TransportConfig::default());
        let proto = mpquic_proto::ServerConfig {
            crypto: Arc::new(crypto),
            transport,
            max_connections: CONNECTIONS_MAX,
        };
        Self { proto }
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
