//! A server that has not yet decided which version of QUIC answers the client (RFC 9368 §2.3): the decision takes the
//! client's whole ClientHello, which may come in several packets, and TLS wants to know it before it reads the first byte.

use crate::config::TransportConfig;
use crate::conn::setup::version_information;
use crate::crypto::{Hello, LevelKeys, NewKeys, ServerCrypto, Session, TlsFailure};
use core::any::Any;
use mpquic_base::{Cid, Rng, Role};
use mpquic_wire::TransportParameters;
use std::sync::Arc;

/// What the beginning of a server's handshake waits for, and what it takes.
pub(crate) struct Undecided {
    pub(crate) crypto: Arc<dyn ServerCrypto>,
    pub(crate) config: Arc<TransportConfig>,
    /// The version of the client's first packet, and where that was sent to.
    pub(crate) begun: u32,
    pub(crate) first_dcid: Cid,
    /// Ours, but for the version.
    pub(crate) parameters: TransportParameters,
    pub(crate) rng: Rng,
    /// What has arrived of the ClientHello. Bounded by the longest that [`ServerCrypto::parameters_in`] waits for.
    pub(crate) hello: Vec<u8>,
}

/// A server's handshake that has begun.
pub(crate) struct Decided {
    pub(crate) session: Box<dyn Session>,
    /// The version that was changed to, and its Initial keys.
    pub(crate) change: Option<(u32, LevelKeys)>,
    /// What the session has to read first.
    pub(crate) hello: Vec<u8>,
}

impl Undecided {
    /// Takes in bytes of the ClientHello; `None` until there are enough.
    pub(crate) fn read(&mut self, chunk: &[u8]) -> Option<Result<Decided, String>> {
        self.hello.extend_from_slice(chunk);
        let version = match self.crypto.parameters_in(&self.hello) {
            Hello::Incomplete => return None,
            Hello::Parameters(encoded) => self.pick(encoded),
            Hello::Without => self.begun,
        };
        Some(self.decide(version))
    }

    /// RFC 9368 §2.3: the first of ours that the client's packets could as well have had.
    fn pick(&self, encoded: &[u8]) -> u32 {
        let client = TransportParameters::decode(encoded, Role::Client).ok();
        // What is wrong with it is found when the session has read it.
        let info = client.and_then(|p| p.version_information).filter(|info| info.chosen == self.begun);
        let offered = info.map(|info| info.available).unwrap_or_default();
        let best = self.config.versions.iter().find(|version| offered.contains(version));
        best.copied().filter(|_| offered.contains(&self.begun)).unwrap_or(self.begun)
    }

    fn decide(&mut self, version: u32) -> Result<Decided, String> {
        let information = version_information(&self.config, version, &mut self.rng);
        self.parameters.version_information = Some(information);
        let encoded = self.parameters.encode(Role::Server, Some(self.rng.u64()));
        let crypto = Arc::clone(&self.crypto);
        let hello = core::mem::take(&mut self.hello);
        if version == self.begun {
            return Ok(Decided { session: crypto.start(version, encoded)?, change: None, hello });
        }
        let keys = crypto.initial_keys(version, &self.first_dcid, Role::Server);
        let session = crypto.start_changed(self.begun, version, encoded)?;
        Ok(Decided { session, change: Some((version, keys)), hello })
    }
}

/// Stands where a session will be.
pub(super) struct Unborn;

impl Session for Unborn {
    fn read(&mut self, _: &[u8]) -> Result<(), TlsFailure> {
        Ok(())
    }

    fn write(&mut self, _: &mut Vec<u8>) -> Option<NewKeys> {
        None
    }

    fn change_version(&mut self, _: u32) -> bool {
        false
    }

    fn is_handshaking(&self) -> bool {
        true
    }

    fn peer_parameters(&self) -> Option<&[u8]> {
        None
    }

    fn alpn(&self) -> Option<&[u8]> {
        None
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn export(&self, _: &mut [u8], _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
