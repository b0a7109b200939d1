//! Where connections begin: by our own wish, or by a stranger's Initial packet.

use super::{ConnectionId, Endpoint, REPLIES_MAX, Received};
use crate::cids::LOCAL_CID_LEN;
use crate::config::TransportConfig;
use crate::conn::setup::{Setup, local_parameters};
use crate::conn::{Arrival, Connection, INITIAL_DATAGRAM_MIN, Tag, Transmit};
use crate::crypto::{ClientCrypto, ServerCrypto};
use core::fmt;
use mpquic_base::{Cid, Ecn, FourTuple, PathId, Role, Time};
use mpquic_wire::Writer;
use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::header::{
    Long, LongKind, PartialHeader, SUPPORTED_VERSIONS, VERSION_1, VersionNegotiationHeader,
};
use std::sync::Arc;

/// RFC 9000 §7.2: a client's first destination ID has at least this many bytes.
const FIRST_DCID_MIN: usize = 8;

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
        let (scid, dcid) = (self.new_cid(), self.new_cid());
        let parameters = local_parameters(&config.transport, scid, None);
        let encoded = parameters.encode(Role::Client, Some(self.rng.u64()));
        let crypto = Arc::clone(&config.crypto);
        let initial_keys = crypto.initial_keys(VERSION_1, &dcid, Role::Client);
        let session = crypto.start(VERSION_1, server_name, encoded).map_err(|why| ConnectError { why })?;
        let connection = Connection::new(
            now,
            Setup {
                role: Role::Client,
                config: Arc::clone(&config.transport),
                rng: self.rng.fork(),
                version: VERSION_1,
                tuple,
                scid,
                reset_token: [0; RESET_TOKEN_LEN],
                dcid,
                first_dcid: dcid,
                session,
                initial_keys,
            },
        );
        let id = self.connections.insert(connection, None);
        self.apply_route_changes(id);
        self.touch(id);
        Ok(id)
    }

    fn new_cid(&mut self) -> Cid {
        let mut bytes = [0; LOCAL_CID_LEN];
        self.rng.fill(&mut bytes);
        Cid::new(&bytes).expect("eight bytes are a connection ID")
    }

    /// A datagram that leads to no connection.
    pub(super) fn on_stranger(&mut self, now: Time, received: Received, datagram: &mut [u8]) {
        match PartialHeader::read(datagram, LOCAL_CID_LEN) {
            Ok((PartialHeader::Long(long), _))
                if long.kind == LongKind::Initial && long.fixed_bit && self.server.is_some() =>
            {
                self.accept(now, received, &long, datagram);
            }
            Ok((PartialHeader::UnknownVersion { dcid, scid, .. }, _)) if self.server.is_some() => {
                let (dcid, scid) = (dcid.to_vec(), scid.to_vec());
                self.negotiate_version(received.tuple, datagram.len(), &dcid, &scid);
            }
            _ => self.counters.unroutable += 1,
        }
    }

    fn accept(&mut self, now: Time, received: Received, long: &Long, datagram: &mut [u8]) {
        let Some(server) = self.server.clone() else { return };
        // RFC 9000 §14.1 and §7.2: neither is an honest client's first packet.
        if datagram.len() < INITIAL_DATAGRAM_MIN || long.dcid.len() < FIRST_DCID_MIN {
            self.counters.unroutable += 1;
            return;
        }
        if self.connections.len() >= server.max_connections {
            self.counters.refused += 1;
            return;
        }
        let scid = self.new_cid();
        let mut reset_token = [0; RESET_TOKEN_LEN];
        self.rng.fill(&mut reset_token);
        let parameters = local_parameters(&server.transport, scid, Some((long.dcid, reset_token)));
        let encoded = parameters.encode(Role::Server, Some(self.rng.u64()));
        let initial_keys = server.crypto.initial_keys(long.version, &long.dcid, Role::Server);
        let Ok(session) = Arc::clone(&server.crypto).start(long.version, encoded) else {
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
                reset_token,
                dcid: long.scid,
                first_dcid: long.dcid,
                session,
                initial_keys,
            },
        );
        let arrival = Arrival { tuple: received.tuple, ecn: received.ecn, path: PathId::ZERO, cid_seq: None };
        connection.receive(now, arrival, datagram);
        if !connection.heard_from_peer() {
            // Nothing in the datagram was genuine: leave no trace of it.
            self.counters.unroutable += 1;
            return;
        }
        let key = (long.dcid, received.tuple.peer);
        let id = self.connections.insert(connection, Some(key));
        self.first_dcids.insert(key, id);
        self.counters.accepted += 1;
        self.apply_route_changes(id);
        self.touch(id);
    }

    /// RFC 9000 §6.1: only for a datagram large enough to open a connection, so that nothing is amplified.
    fn negotiate_version(&mut self, tuple: FourTuple, len: usize, dcid: &[u8], scid: &[u8]) {
        if len < INITIAL_DATAGRAM_MIN || self.replies.len() >= REPLIES_MAX {
            self.counters.unroutable += 1;
            return;
        }
        let header = VersionNegotiationHeader {
            unused: u8::try_from(self.rng.below(128)).unwrap_or(0),
            dcid: scid,
            scid: dcid,
            versions: &SUPPORTED_VERSIONS,
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
