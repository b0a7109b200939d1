//! The server's side: one identity, the protocols it speaks.
//!
//! Without being asked to it sends no session tickets, so there is neither resumption nor 0-RTT. Asks for no client certificate:
//! clients are told apart above TLS.

use crate::error::ConfigError;
use crate::hello::parameters_in;
use crate::identity::Identity;
use crate::key_log::KeyLog;
use crate::provider::{Ciphers, QUIC_V1, QUIC_V2, alpn_list, initial_keys, provider_with, quic_version};
use crate::secrets::{MASTER_SECRET_LEN, Secrets, retry_tag};
use crate::session::TlsSession;
use crate::tap::Tap;
use crate::tickets::Host;
use core::fmt;
use mpquic_base::{Cid, Role};
use mpquic_proto::crypto::{
    Hello, InitialCrypto, LevelKeys, NONCE_LEN, RESET_TOKEN_LEN, ResetTokens, Sealing, ServerCrypto, Session,
};
use rustls::quic::ServerConnection;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use std::sync::Arc;

/// Tickets per handshake: one for each of two visits at once.
const TICKETS: usize = 2;

/// What all handshakes of a server have in common.
#[derive(Clone)]
pub struct ServerConfig {
    /// For connections that begin and end in version 1, and in version 2.
    tls: [Arc<rustls::ServerConfig>; 2],
    sessions: Option<Arc<ServerSessionMemoryCache>>,
    secrets: Arc<Secrets>,
}

impl ServerConfig {
    #[must_use]
    pub fn with_identity(identity: Identity) -> ServerBuilder {
        ServerBuilder {
            identity,
            post_quantum: false,
            master: None,
            sessions: 0,
            early_data: false,
            ciphers: Ciphers::All,
            key_log: None,
        }
    }

    /// The same with [`ServerBuilder::resumption`] and [`ServerBuilder::early_data`] chosen anew; it knows no session yet.
    /// To be called when the transport's limits are lowered: with 0-RTT, what sessions were promised must be kept
    /// (RFC 9000 §7.4.1).
    #[must_use]
    pub fn with_tickets(&self, sessions: usize, early_data: bool) -> Self {
        let store = (sessions > 0).then(|| ServerSessionMemoryCache::new(sessions));
        let tls = [QUIC_V1, QUIC_V2].map(|version| {
            let mut tls = rustls::ServerConfig::clone(&self.tls[0]);
            tls.send_tls13_tickets = if store.is_some() { TICKETS } else { 0 };
            tls.session_storage = host(store.as_ref(), version, version);
            // RFC 9001 §4.6.1: the only value besides zero.
            tls.max_early_data_size = if early_data && store.is_some() { u32::MAX } else { 0 };
            Arc::new(tls)
        });
        Self { tls, sessions: store, secrets: Arc::clone(&self.secrets) }
    }

    fn tls(&self, version: u32) -> &Arc<rustls::ServerConfig> {
        &self.tls[usize::from(version == QUIC_V2)]
    }
}

fn host(
    sessions: Option<&Arc<ServerSessionMemoryCache>>,
    begun: u32,
    spoken: u32,
) -> Arc<dyn StoresServerSessions> {
    match sessions {
        Some(sessions) => Arc::new(Host { sessions: Arc::clone(sessions), begun, spoken }),
        None => Arc::new(NoServerSessionStorage {}),
    }
}

impl InitialCrypto for ServerConfig {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        initial_keys(version, dcid, role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; 16] {
        retry_tag(version, pseudo)
    }
}

impl Sealing for ServerConfig {
    fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>) {
        self.secrets.seal(nonce, bound, text);
    }

    fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool {
        self.secrets.unseal(nonce, bound, sealed)
    }
}

impl ResetTokens for ServerConfig {
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        self.secrets.reset_token(cid)
    }
}

impl ServerCrypto for ServerConfig {
    fn start(self: Arc<Self>, version: u32, parameters: Vec<u8>) -> Result<Box<dyn Session>, String> {
        let labels = quic_version(version).ok_or_else(|| format!("no TLS for QUIC version {version:#x}"))?;
        let tls = ServerConnection::new(Arc::clone(self.tls(version)), labels, parameters)
            .map_err(|error| error.to_string())?;
        Ok(Box::new(TlsSession::new(tls, version, None)))
    }

    fn parameters_in<'a>(&self, hello: &'a [u8]) -> Hello<'a> {
        parameters_in(hello)
    }

    fn start_changed(
        self: Arc<Self>,
        begun: u32,
        version: u32,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let labels = quic_version(begun).ok_or_else(|| format!("no TLS for QUIC version {begun:#x}"))?;
        let mut config = rustls::ServerConfig::clone(self.tls(begun));
        config.session_storage = host(self.sessions.as_ref(), begun, version);
        let tls =
            ServerConnection::new(Arc::new(config), labels, parameters).map_err(|error| error.to_string())?;
        let mut session = TlsSession::new(tls, begun, None);
        if !session.change_version(version) {
            return Err(format!("no TLS for QUIC version {version:#x}"));
        }
        Ok(Box::new(session))
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").finish_non_exhaustive()
    }
}

/// A [`ServerConfig`] that knows who it is and lacks its application protocols.
pub struct ServerBuilder {
    identity: Identity,
    post_quantum: bool,
    master: Option<[u8; MASTER_SECRET_LEN]>,
    sessions: usize,
    early_data: bool,
    ciphers: Ciphers,
    key_log: Option<Arc<KeyLog>>,
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Accepts the hybrid key exchange X25519MLKEM768 and prefers it. Off by default: it makes the first flight
    /// longer by more than a kilobyte.
    #[must_use]
    pub fn post_quantum(mut self, on: bool) -> Self {
        self.post_quantum = on;
        self
    }

    /// Remembers that many sessions, each for one resumption. Off by default.
    #[must_use]
    pub fn resumption(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Accepts 0-RTT from clients that resume. Off by default. A session is forgotten when it is resumed, so the table of
    /// sessions is the register of what was seen: a replayed ClientHello finds none and its 0-RTT is refused. Tickets
    /// older or younger than they claim (by more than ten seconds) are refused as well.
    #[must_use]
    pub fn early_data(mut self, on: bool) -> Self {
        self.early_data = on;
        self
    }

    /// What tokens are made of, those of stateless resets too. Without one they are made of a random secret, and none
    /// outlives the process.
    #[must_use]
    pub fn master_secret(mut self, secret: [u8; MASTER_SECRET_LEN]) -> Self {
        self.master = Some(secret);
        self
    }

    /// Accepts only some of the ciphers.
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

    /// Completes the configuration with the application protocols, the preferred one first.
    ///
    /// # Errors
    /// If the list is empty or holds an unusable name, or the key does not belong to the certificate.
    pub fn build(self, alpn: &[&[u8]]) -> Result<ServerConfig, ConfigError> {
        let alpn = alpn_list(alpn)?;
        let (chain, key) = self.identity.into_parts();
        let mut tls =
            rustls::ServerConfig::builder_with_provider(provider_with(self.post_quantum, self.ciphers))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|e| ConfigError::new("TLS", e))?
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .map_err(|e| ConfigError::new("certificate and key", e))?;
        tls.alpn_protocols = alpn;
        tls.key_log = Arc::new(Tap::new(self.key_log.map(|log| log as Arc<dyn rustls::KeyLog>)));
        let secrets = self.master.as_ref().map_or_else(Secrets::random, Secrets::from_master);
        let tls = Arc::new(tls);
        let config =
            ServerConfig { tls: [Arc::clone(&tls), tls], sessions: None, secrets: Arc::new(secrets) };
        Ok(config.with_tickets(self.sessions, self.early_data))
    }
}
