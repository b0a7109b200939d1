//! The client's side of trust: which servers are believed, which protocols are spoken.
//!
//! There are two ways to trust a server, pins and certificate authorities, and no third. A client shows no
//! certificate of its own: who it is gets proven above TLS, bound to the handshake by the exporter.

use crate::error::ConfigError;
use crate::key_log::KeyLog;
use crate::pin::{Pin, PinVerifier};
use crate::provider::{Ciphers, alpn_list, initial_keys, provider_with, quic_version};
use crate::secrets::{Secrets, retry_tag};
use crate::session::TlsSession;
use crate::tap::Tap;
use crate::tickets::{Album, Visitor};
use core::fmt;
use mpquic_base::{Cid, Role};
use mpquic_proto::crypto::{ClientCrypto, InitialCrypto, LevelKeys, RESET_TOKEN_LEN, ResetTokens, Session};
use rustls::RootCertStore;
use rustls::client::{ClientSessionStore, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::quic::ClientConnection;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What all handshakes of a client have in common. Built by [`ClientConfig::pinned`], [`ClientConfig::with_roots`]
/// or [`ClientConfig::with_roots_pem`].
#[derive(Clone)]
pub struct ClientConfig {
    tls: Arc<rustls::ClientConfig>,
    album: Option<Album>,
    pinned: bool,
    secrets: Arc<Secrets>,
}

impl ClientConfig {
    /// Trusts servers that match one of `pins`; names and dates of their certificates do not matter.
    ///
    /// # Errors
    /// If `pins` is empty.
    pub fn pinned(pins: &[Pin]) -> Result<ClientBuilder, ConfigError> {
        if pins.is_empty() {
            return Err(ConfigError::new("pins", "at least one is needed"));
        }
        Ok(ClientBuilder::new(Trust::Pins(pins.to_vec())))
    }

    /// Trusts servers whose certificate chains to one of `roots` and is valid for the name asked for. rustls reads
    /// the system's clock for the dates.
    ///
    /// # Errors
    /// If `roots` is empty.
    pub fn with_roots(roots: RootCertStore) -> Result<ClientBuilder, ConfigError> {
        if roots.is_empty() {
            return Err(ConfigError::new("root certificates", "at least one is needed"));
        }
        Ok(ClientBuilder::new(Trust::Roots(Arc::new(roots))))
    }

    /// As [`ClientConfig::with_roots`], with all certificates of a PEM file's contents.
    ///
    /// # Errors
    /// If there is none or one cannot be read.
    pub fn with_roots_pem(pem: &[u8]) -> Result<ClientBuilder, ConfigError> {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(pem) {
            let cert = cert.map_err(|e| ConfigError::new("root certificates", e))?;
            roots.add(cert).map_err(|e| ConfigError::new("root certificate", e))?;
        }
        Self::with_roots(roots)
    }

    /// Whether servers are known by their pins, and not by what an authority says of their names.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// The same with [`ClientBuilder::resumption`] and [`ClientBuilder::early_data`] chosen anew; it shares no ticket.
    #[must_use]
    pub fn with_tickets(&self, servers: usize, early_data: bool) -> Self {
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        // Each connection brings the store of its version.
        tls.resumption = Resumption::disabled();
        tls.enable_early_data = early_data;
        let album = (servers > 0).then(|| Album::new(servers));
        Self { tls: Arc::new(tls), album, ..self.clone() }
    }

    fn server_name(&self, name: &str) -> Result<ServerName<'static>, String> {
        // A bracketed IPv6 address, as in a URL.
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        match ServerName::try_from(bare.to_owned()) {
            Ok(name) => Ok(name),
            // With a pin the name has no part in trust. An address stands in for it because rustls sends no server
            // name indication for one.
            Err(_) if self.pinned => Ok(IpAddr::from(Ipv4Addr::UNSPECIFIED).into()),
            Err(error) => Err(format!("server name {name:?}: {error}")),
        }
    }
}

impl InitialCrypto for ClientConfig {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        initial_keys(version, dcid, role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; 16] {
        retry_tag(version, pseudo)
    }
}

impl ResetTokens for ClientConfig {
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        self.secrets.reset_token(cid)
    }
}

impl ClientCrypto for ClientConfig {
    fn start(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let labels = quic_version(version).ok_or_else(|| format!("no TLS for QUIC version {version:#x}"))?;
        let name = self.server_name(server_name)?;
        let visitor = self.album.as_ref().map(|album| Arc::new(Visitor::new(album, version)));
        let config = match &visitor {
            None => Arc::clone(&self.tls),
            Some(visitor) => {
                let mut config = rustls::ClientConfig::clone(&self.tls);
                config.resumption = Resumption::store(Arc::clone(visitor) as Arc<dyn ClientSessionStore>);
                Arc::new(config)
            }
        };
        let tls =
            ClientConnection::new(config, labels, name, parameters).map_err(|error| error.to_string())?;
        Ok(Box::new(TlsSession::new(tls, version, visitor)))
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig").field("pinned", &self.pinned).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Trust {
    Pins(Vec<Pin>),
    Roots(Arc<RootCertStore>),
}

/// A [`ClientConfig`] that knows whom to trust and lacks its application protocols.
#[derive(Debug)]
pub struct ClientBuilder {
    trust: Trust,
    post_quantum: bool,
    servers: usize,
    early_data: bool,
    ciphers: Ciphers,
    key_log: Option<Arc<KeyLog>>,
}

impl ClientBuilder {
    const fn new(trust: Trust) -> Self {
        Self {
            trust,
            post_quantum: false,
            servers: 0,
            early_data: false,
            ciphers: Ciphers::All,
            key_log: None,
        }
    }

    /// Keeps tickets of that many servers, so that a later visit needs no certificate. Off by default: tickets let a
    /// server recognise its visitors.
    #[must_use]
    pub fn resumption(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// Sends data with the first packet to servers that allow it. It needs tickets, and it can be replayed.
    #[must_use]
    pub fn early_data(mut self, on: bool) -> Self {
        self.early_data = on;
        self
    }

    /// Prefers the hybrid key exchange X25519MLKEM768. Off by default: the ClientHello then fills two packets, and
    /// the loss of either costs the handshake a timeout.
    #[must_use]
    pub fn post_quantum(mut self, on: bool) -> Self {
        self.post_quantum = on;
        self
    }

    /// Offers only some of the ciphers.
    #[must_use]
    pub const fn ciphers(mut self, ciphers: Ciphers) -> Self {
        self.ciphers = ciphers;
        self
    }

    /// Writes down the secrets of every handshake. For analysing traffic: whoever has the log can read the connections.
    #[must_use]
    pub fn key_log(mut self, log: Arc<KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Completes the configuration with the application protocols to offer, the preferred one first.
    ///
    /// # Errors
    /// If the list is empty or holds an unusable name.
    pub fn build(self, alpn: &[&[u8]]) -> Result<ClientConfig, ConfigError> {
        let alpn = alpn_list(alpn)?;
        let provider = provider_with(self.post_quantum, self.ciphers);
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| ConfigError::new("TLS", e))?;
        let pinned = matches!(self.trust, Trust::Pins(_));
        let builder = match self.trust {
            // rustls files every verifier of one's own under this name; this one verifies.
            Trust::Pins(pins) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(PinVerifier::new(pins, provider))),
            Trust::Roots(roots) => builder.with_root_certificates(roots),
        };
        let mut tls = builder.with_no_client_auth();
        tls.alpn_protocols = alpn;
        tls.key_log = Arc::new(Tap::new(self.key_log.map(|log| log as Arc<dyn rustls::KeyLog>)));
        let config =
            ClientConfig { tls: Arc::new(tls), album: None, pinned, secrets: Arc::new(Secrets::random()) };
        Ok(config.with_tickets(self.servers, self.early_data))
    }
}

#[cfg(test)]
mod tests;
