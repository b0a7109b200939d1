//! Where connections begin: by our own wish, or by a stranger's Initial packet.

use super::admission::Host;
use super::answers::{refusal, retry};
use super::slots::Entry;
use super::{ConnectionId, Endpoint, REPLIES_MAX, Received};
use crate::cids::LOCAL_CID_LEN;
use crate::config::{PreferredAddresses, TransportConfig};
use crate::conn::negotiation::Attempt;
use crate::conn::setup::{Setup, local_parameters, reserved_version, version_information};
use crate::conn::{Arrival, Connection, INITIAL_DATAGRAM_MIN, Tag, Transmit};
use crate::crypto::{ClientCrypto, ResetTokens, ServerCrypto};
use crate::handshake::{Start, Undecided};
use crate::steering::CidSource;
use crate::tokens::{Mint, Reading};
use core::fmt;
use mpquic_base::{Cid, Ecn, FourTuple, PathId, Role, Time};
use mpquic_wire::header::{Long, LongKind, PartialHeader, VERSION_1, VersionNegotiationHeader};
use mpquic_wire::parameters::PreferredAddress;
use mpquic_wire::{Code, TransportParameters, Writer};
use std::net::SocketAddr;
use std::sync::Arc;

/// RFC 9000 §7.2: a client's first destination ID has at least this many bytes.
const FIRST_DCID_MIN: usize = 8;

/// What a client's token was good for.
struct Proof {
    validated: bool,
    /// Where the first packet of an attempt that was sent around by a Retry went.
    original: Option<Cid>,
}

/// What a client needs to begin.
#[derive(Clone)]
pub struct ClientConfig {
    pub crypto: Arc<dyn ClientCrypto>,
    pub transport: Arc<TransportConfig>,
}

/// What a server needs to accept.
#[derive(Clone)]
pub struct ServerConfig {
    pub crypto: Arc<dyn ServerCrypto>,
    pub transport: Arc<TransportConfig>,
    /// Connections kept at once, handshakes included; more are ignored until some end.
    pub max_connections: usize,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// The TLS stack cannot begin with this name or configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    pub why: String,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl core::error::Error for ConnectError {}

impl Endpoint {
    /// Begins a connection to `tuple.peer`.
    ///
    /// # Errors
    /// If the TLS stack refuses the name or its configuration.
    pub fn connect(
        &mut self,
        now: Time,
        config: &ClientConfig,
        server_name: &str,
        tuple: FourTuple,
    ) -> Result<ConnectionId, ConnectError> {
        let (scid, dcid) = (self.new_cid(), CidSource::default().draw(&mut self.rng));
        let versions = &config.transport.versions;
        // RFC 9369 §5: tokens and tickets are of use in the version that was spoken when they were given.
        let spoken = self.purse.spoken(server_name).filter(|version| versions.contains(version));
        let version = spoken.or_else(|| versions.first().copied()).unwrap_or(VERSION_1);
        let mut parameters = local_parameters(&config.transport, scid, None);
        parameters.version_information = Some(version_information(&config.transport, version, &mut self.rng));
        let encoded = parameters.encode(Role::Client, Some(self.rng.u64()));
        let crypto = Arc::clone(&config.crypto);
        let resets = self.resets.source(|| Arc::clone(&config.crypto) as Arc<dyn ResetTokens>);
        let initial_keys = crypto.initial_keys(version, &dcid, Role::Client);
        let session = crypto.start(version, server_name, encoded).map_err(|why| ConnectError { why })?;
        let connection = Connection::new(
            now,
            Setup {
                role: Role::Client,
                config: Arc::clone(&config.transport),
                rng: self.rng.fork(),
                version,
                tuple,
                scid,
                resets,
                cids: self.seat.cids(),
                dcid,
                first_dcid: dcid,
                start: Start::Session(session),
                initial_keys,
                attempt: Some(Attempt {
                    crypto: Arc::clone(&config.crypto),
                    server_name: server_name.to_owned(),
                    negotiated: false,
                }),
                token: self.purse.take(server_name, version).unwrap_or_default(),
                validated: false,
                retry_scid: None,
                mint: None,
                preferred: None,
            },
        );
        let id = self
            .connections
            .insert(Entry { server_name: Some(server_name.to_owned()), ..Entry::new(connection) });
        self.seat.commons.on_connection();
        self.apply_route_changes(id);
        self.touch(id);
        Ok(id)
    }

    fn new_cid(&mut self) -> Cid {
        self.seat.cids().draw(&mut self.rng)
    }

    /// A datagram that leads to no connection.
    pub(super) fn on_stranger(&mut self, now: Time, received: Received, datagram: &mut [u8]) {
        let spoken = |version| self.server.as_ref().is_some_and(|s| s.transport.versions.contains(&version));
        match PartialHeader::read(datagram, LOCAL_CID_LEN) {
            Ok((PartialHeader::Long(long), _)) if self.server.is_some() && !spoken(long.version) => {
                let (dcid, scid) = (long.dcid, long.scid);
                self.negotiate_version(now, received.tuple, datagram.len(), dcid.as_slice(), scid.as_slice());
            }
            Ok((PartialHeader::Long(long), _)) if long.kind == LongKind::Initial && self.takes(&long) => {
                self.accept(now, received, &long, datagram);
            }
            Ok((PartialHeader::UnknownVersion { dcid, scid, .. }, _)) if self.server.is_some() => {
                let (dcid, scid) = (dcid.to_vec(), scid.to_vec());
                self.negotiate_version(now, received.tuple, datagram.len(), &dcid, &scid);
            }
            Ok((PartialHeader::Short(short), _)) => {
                self.counters.unroutable += 1;
                self.on_unknown_short(now, received, &short, datagram);
            }
            _ => self.counters.unroutable += 1,
        }
    }

    /// RFC 9287 §3.1: a client may clear the QUIC bit of its first packet if it knows from last time that we do not care; it
    /// then brings a token.
    fn takes(&self, long: &Long) -> bool {
        let Some(server) = &self.server else { return false };
        long.fixed_bit || (server.transport.greasing && !long.token.is_empty())
    }

    fn accept(&mut self, now: Time, received: Received, long: &Long, datagram: &mut [u8]) {
        let Some(server) = self.server.clone() else { return };
        // RFC 9000 §14.1 and §7.2: neither is an honest client's first packet.
        if datagram.len() < INITIAL_DATAGRAM_MIN || long.dcid.len() < FIRST_DCID_MIN {
            self.counters.unroutable += 1;
            return;
        }
        if self.seat.commons.connections() >= server.max_connections {
            self.counters.refused += 1;
            return;
        }
        let (epoch, new_tokens) = self.seat.commons.gate().minting();
        let mint = Mint { crypto: Arc::clone(&server.crypto), epoch };
        let Some(proof) = self.admit(now, &mint, received.tuple, long, &datagram[long.token.clone()]) else {
            return;
        };
        let scid = self.new_cid();
        let reset_token = server.crypto.reset_token(scid.as_slice());
        let original = proof.original.unwrap_or(long.dcid);
        let mut parameters = local_parameters(&server.transport, scid, Some((original, reset_token)));
        parameters.retry_scid = proof.original.map(|_| long.dcid);
        let preferred = self.prefer(&server, &mut parameters);
        let initial_keys = server.crypto.initial_keys(long.version, &long.dcid, Role::Server);
        let Some(start) = self.start(&server, long, parameters) else {
            self.counters.refused += 1;
            return;
        };
        let mut connection = Connection::new(
            now,
            Setup {
                role: Role::Server,
                config: Arc::clone(&server.transport),
                rng: self.rng.fork(),
                version: long.version,
                tuple: received.tuple,
                scid,
                resets: Arc::clone(&server.crypto) as Arc<dyn ResetTokens>,
                cids: self.seat.cids(),
                dcid: long.scid,
                first_dcid: long.dcid,
                start,
                initial_keys,
                attempt: None,
                token: Vec::new(),
                validated: proof.validated,
                retry_scid: proof.original.map(|_| long.dcid),
                mint: Some(mint).filter(|_| new_tokens),
                preferred,
            },
        );
        let Received { tuple, ecn } = received;
        let arrival = Arrival { tuple, ecn, path: PathId::ZERO, len: datagram.len(), cid_seq: None };
        connection.receive(now, &arrival, datagram);
        if !connection.heard_from_peer() {
            // Nothing in the datagram was genuine: leave no trace of it.
            self.counters.unroutable += 1;
            return;
        }
        self.enter(connection, long.dcid, received.tuple.peer);
    }

    fn enter(&mut self, connection: Connection, first_dcid: Cid, peer: SocketAddr) {
        let key = (first_dcid, peer);
        let host = Host::of(peer.ip());
        self.seat.commons.gate().on_begun(host);
        self.seat.commons.on_connection();
        let entry = Entry { first_dcid: Some(key), handshaking: Some(host), ..Entry::new(connection) };
        let id = self.connections.insert(entry);
        self.first_dcids.insert(key, id);
        self.counters.accepted += 1;
        self.apply_route_changes(id);
        self.touch(id);
    }

    /// RFC 9000 §9.6: where we would rather be reached, and our ID for there.
    fn prefer(&mut self, server: &ServerConfig, parameters: &mut TransportParameters) -> Option<Cid> {
        let PreferredAddresses { v4, v6 } = server.transport.preferred_address?;
        let cid = self.new_cid();
        let reset_token = server.crypto.reset_token(cid.as_slice());
        parameters.preferred_address = Some(PreferredAddress { v4, v6, cid, reset_token });
        Some(cid)
    }

    /// A server's session; or what it waits for, if the client may be offering a version that we would rather speak.
    fn start(
        &mut self,
        server: &ServerConfig,
        long: &Long,
        mut parameters: TransportParameters,
    ) -> Option<Start> {
        let (crypto, config) = (Arc::clone(&server.crypto), Arc::clone(&server.transport));
        let begun = long.version;
        if config.versions.first() != Some(&begun) {
            let (first_dcid, rng, hello) = (long.dcid, self.rng.fork(), Vec::new());
            let undecided = Undecided { crypto, config, begun, first_dcid, parameters, rng, hello };
            return Some(Start::Undecided(Box::new(undecided)));
        }
        parameters.version_information = Some(version_information(&config, begun, &mut self.rng));
        let encoded = parameters.encode(Role::Server, Some(self.rng.u64()));
        crypto.start(begun, encoded).ok().map(Start::Session)
    }

    /// Decides whether a handshake may begin; `None` if the client was answered, or is ignored.
    fn admit(
        &mut self,
        now: Time,
        mint: &Mint,
        tuple: FourTuple,
        long: &Long,
        token: &[u8],
    ) -> Option<Proof> {
        if self.seat.commons.gate().is_full(Host::of(tuple.peer.ip())) {
            self.counters.refused += 1;
            return None;
        }
        let proof = match mint.read(now, (long.version, tuple.peer), &long.dcid, token) {
            Reading::Retried { original } => Proof { validated: true, original: Some(original) },
            Reading::Returning { nonce } => {
                Proof { validated: self.seat.commons.gate().spent.spend(nonce), original: None }
            }
            Reading::Nothing => Proof { validated: false, original: None },
            Reading::InvalidRetry => {
                // RFC 9000 §8.1.2: better an error now than a client that waits in vain.
                self.counters.invalid_tokens += 1;
                if !self.seat.commons.gate().answers.take(now) {
                    return None;
                }
                let keys = mint.crypto.initial_keys(long.version, &long.dcid, Role::Server);
                let scid = self.new_cid();
                let packet = refusal(&keys, long, scid, Code::INVALID_TOKEN, "the token proves nothing");
                self.answer(tuple, packet);
                return None;
            }
        };
        if proof.validated || !self.seat.commons.gate().wants_retry() {
            return Some(proof);
        }
        let scid = self.new_cid();
        let token = mint.retry(now, &mut self.rng, (long.version, tuple.peer), &long.dcid, &scid);
        let unused = u8::try_from(self.rng.below(16)).unwrap_or(0);
        let packet = retry(&*mint.crypto, long, scid, &token, unused);
        self.answer(tuple, packet);
        self.counters.retries += 1;
        None
    }

    fn answer(&mut self, tuple: FourTuple, packet: Vec<u8>) {
        if self.replies.len() < REPLIES_MAX {
            self.replies.push_back((tuple, packet));
        }
    }

    /// RFC 9000 §6.1: only for a datagram large enough to open a connection, so that nothing is amplified.
    fn negotiate_version(&mut self, now: Time, tuple: FourTuple, len: usize, dcid: &[u8], scid: &[u8]) {
        if len < INITIAL_DATAGRAM_MIN
            || self.replies.len() >= REPLIES_MAX
            || !self.seat.commons.gate().answers.take(now)
        {
            self.counters.unroutable += 1;
            return;
        }
        let Some(config) = self.server.as_ref().map(|s| Arc::clone(&s.transport)) else { return };
        let mut versions = config.versions.clone();
        if config.greasing {
            versions.push(reserved_version(&mut self.rng));
        }
        let header = VersionNegotiationHeader {
            unused: u8::try_from(self.rng.below(128)).unwrap_or(0),
            dcid: scid,
            scid: dcid,
            versions: &versions,
        };
        let mut packet = vec![0; header.len()];
        header.write(&mut Writer::new(&mut packet));
        self.replies.push_back((tuple, packet));
        self.counters.version_negotiations += 1;
    }
}

/// A datagram that belongs to no connection.
pub(super) const fn reply(tuple: FourTuple, len: usize, now: Time) -> Transmit {
    let tag = Tag::none();
    Transmit { tuple, len, segment: len, ecn: Ecn::NotEct, departs_at: now, urgent: true, tag }
}
