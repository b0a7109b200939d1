//! The client's answers to a server that wants the attempt begun again: Retry and Version Negotiation.

use super::Connection;
use super::setup::{local_parameters, version_information};
use super::versions::Begun;
use crate::cids::LOCAL_CID_LEN;
use crate::crypto::ClientCrypto;
use crate::endpoint::pseudo_retry;
use crate::event::CloseReason;
use crate::handshake::{Handshake, LevelId, Start};
use crate::tokens::TOKEN_MAX;
use mpquic_base::{Cid, Role};
use mpquic_wire::header::{RETRY_TAG_LEN, Retry};
use std::sync::Arc;

/// What a client needs to begin again.
pub(crate) struct Attempt {
    pub(crate) crypto: Arc<dyn ClientCrypto>,
    pub(crate) server_name: String,
    /// The server sent a list of its versions, and this is not the first that we tried.
    pub(crate) negotiated: bool,
}

/// A Retry packet, taken out of its datagram.
pub(super) struct RetryCopy {
    version: u32,
    scid: Cid,
    token: Vec<u8>,
    covered: Vec<u8>,
    tag: [u8; RETRY_TAG_LEN],
}

impl From<Retry<'_>> for RetryCopy {
    fn from(r: Retry<'_>) -> Self {
        Self {
            version: r.version,
            scid: r.scid,
            token: r.token.to_vec(),
            covered: r.covered.to_vec(),
            tag: r.tag,
        }
    }
}

impl Connection {
    /// RFC 9000 §17.2.5.2: one Retry per attempt, and none once the server was heard.
    pub(super) fn on_retry(&mut self, retry: RetryCopy) {
        let first = self.peer_scid.is_none() && self.retry_scid.is_none();
        let Some(attempt) = self.attempt.as_ref().filter(|_| first && retry.version == self.version) else {
            return;
        };
        let senseless =
            retry.token.is_empty() || retry.token.len() > TOKEN_MAX || retry.scid == self.first_dcid;
        let pseudo = pseudo_retry(&self.first_dcid, &retry.covered);
        if senseless || attempt.crypto.retry_tag(self.version, &pseudo) != retry.tag {
            return;
        }
        let keys = attempt.crypto.initial_keys(self.version, &retry.scid, Role::Client);
        self.retry_scid = Some(retry.scid);
        self.initial_token = retry.token;
        self.cids.set_first_peer_cid(retry.scid);
        if let (Some(level), Some(path)) = (self.handshake.initial.as_mut(), self.paths.first_mut()) {
            // The same ClientHello under new keys; numbers go on (RFC 9000 §17.2.5.3).
            level.keys = keys;
            path.recovery.orphan_all(&mut level.space, &mut self.fates);
        }
        self.settle_tokens(LevelId::Initial);
        self.again_early();
        self.counters.retries += 1;
    }

    pub(super) fn on_version_negotiation(&mut self, scid: Option<Cid>, versions: &[u32]) {
        // RFC 9000 §6.2: ignored once anything else was heard, and if it lists the version we speak.
        let first = self.peer_scid.is_none() && self.retry_scid.is_none() && scid == Some(self.first_dcid);
        let Some(attempt) = self.attempt.as_mut().filter(|_| first && !versions.contains(&self.version))
        else {
            return;
        };
        let ours = self.config.versions.iter().find(|v| versions.contains(v));
        let Some(version) = ours.copied().filter(|_| !attempt.negotiated) else {
            return self.end(CloseReason::VersionMismatch);
        };
        attempt.negotiated = true;
        if self.begin_again(version).is_none() {
            self.end(CloseReason::VersionMismatch);
        }
    }

    /// RFC 9368 §2.1: another version is another connection; only our own ID stays.
    fn begin_again(&mut self, version: u32) -> Option<()> {
        let attempt = self.attempt.as_ref()?;
        let mut parameters = local_parameters(&self.config, self.scid, None);
        parameters.version_information = Some(version_information(&self.config, version, &mut self.rng));
        let encoded = parameters.encode(Role::Client, Some(self.rng.u64()));
        let session = Arc::clone(&attempt.crypto).start(version, &attempt.server_name, encoded).ok()?;
        let mut bytes = [0; LOCAL_CID_LEN];
        self.rng.fill(&mut bytes);
        let dcid = Cid::new(&bytes)?;
        let keys = attempt.crypto.initial_keys(version, &dcid, Role::Client);
        self.discard_level(LevelId::Initial);
        self.version = version;
        self.begun = Begun::new(version);
        self.first_dcid = dcid;
        self.cids.set_first_peer_cid(dcid);
        self.handshake = Handshake::new(Start::Session(session), keys, &mut self.rng);
        self.handshake.advance(&mut self.rng);
        if self.early.take().is_some() {
            self.disown_early();
            self.early_outcome = Some(false);
        }
        self.begin_early();
        Some(())
    }
}
