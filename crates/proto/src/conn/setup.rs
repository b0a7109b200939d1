//! Before the first packet, and when the peer's parameters arrive.

use super::negotiation::Attempt;
use super::versions::Begun;
use super::{ACK_DELAY_EXPONENT, Connection, ConnectionCounters, Idle, Peer};
use crate::ack_frequency::{AckOrders, AckWishes};
use crate::cids::{Cids, PEER_CIDS_PER_PATH};
use crate::close::Close;
use crate::config::TransportConfig;
use crate::crypto::{LevelKeys, ResetTokens};
use crate::datagrams::Datagrams;
use crate::error::Violation;
use crate::handshake::{Handshake, Start};
use crate::path::{Path, PathSetup, Validation};
use crate::path_ids::PathIds;
use crate::steering::CidSource;
use crate::stream::{StreamConfig, StreamLimits, Streams};
use crate::tokens::{Grants, Mint};
use mpquic_base::{Cid, FourTuple, PathId, Rng, Role, Time};
use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::parameters::{AddressDiscovery, VersionInformation};
use mpquic_wire::{Code, TransportParameters};
use std::collections::VecDeque;
use std::sync::Arc;

/// Everything that the endpoint decides about a new connection.
pub(crate) struct Setup {
    pub(crate) role: Role,
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) rng: Rng,
    pub(crate) version: u32,
    pub(crate) tuple: FourTuple,
    pub(crate) scid: Cid,
    pub(crate) resets: Arc<dyn ResetTokens>,
    pub(crate) cids: CidSource,
    /// The peer's ID as far as it is known: for a client its own random choice.
    pub(crate) dcid: Cid,
    pub(crate) first_dcid: Cid,
    pub(crate) start: Start,
    pub(crate) initial_keys: LevelKeys,
    /// Client only.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) token: Vec<u8>,
    /// Server only: a token proved the client's address; what makes tokens for its next visit.
    pub(crate) validated: bool,
    /// Server only: our ID in the Retry that the client followed.
    pub(crate) retry_scid: Option<Cid>,
    pub(crate) mint: Option<Mint>,
    /// Server only: our ID for the address that it prefers.
    pub(crate) preferred: Option<Cid>,
}

/// The transport parameters that we send.
pub(crate) fn local_parameters(
    config: &TransportConfig,
    scid: Cid,
    server: Option<(Cid, [u8; RESET_TOKEN_LEN])>,
) -> TransportParameters {
    TransportParameters {
        original_dcid: server.map(|(odcid, _)| odcid),
        stateless_reset_token: server.map(|(_, token)| token),
        max_idle_timeout: config.max_idle_timeout,
        initial_max_data: config.initial_connection_window,
        initial_max_stream_data_bidi_local: config.initial_stream_window,
        initial_max_stream_data_bidi_remote: config.initial_stream_window,
        initial_max_stream_data_uni: config.initial_stream_window,
        initial_max_streams_bidi: config.max_streams_bidi,
        initial_max_streams_uni: config.max_streams_uni,
        ack_delay_exponent: ACK_DELAY_EXPONENT,
        max_ack_delay: config.max_ack_delay,
        min_ack_delay: config.ack_frequency.then(|| AckOrders::min_ack_delay(config.max_ack_delay)),
        active_connection_id_limit: PEER_CIDS_PER_PATH,
        initial_scid: Some(scid),
        grease_quic_bit: config.greasing,
        reset_stream_at: true,
        address_discovery: config.address_discovery.then_some(if server.is_some() {
            AddressDiscovery::Provides
        } else {
            AddressDiscovery::Receives
        }),
        max_datagram_frame_size: u64::from(config.max_datagram_frame),
        initial_max_path_id: config.multipath.then(|| PathIds::new(u32::from(config.max_paths)).local_max()),
        ..TransportParameters::default()
    }
}

/// RFC 9368 §3: what is in use and what would do, and a version that nobody speaks (§6). A client's list holds only
/// versions that its first packets could be changed into; all of ours can (RFC 9369 §4).
pub(crate) fn version_information(
    config: &TransportConfig,
    chosen: u32,
    rng: &mut Rng,
) -> VersionInformation {
    let mut available = config.versions.clone();
    if available.is_empty() {
        available.push(chosen);
    }
    if config.greasing {
        available.push(reserved_version(rng));
    }
    VersionInformation { chosen, available }
}

/// RFC 9000 §15: versions of the form 0x?a?a?a?a are reserved for this.
pub(crate) fn reserved_version(rng: &mut Rng) -> u32 {
    u32::try_from(rng.u64() >> 32).unwrap_or(0) & 0xf0f0_f0f0 | 0x0a0a_0a0a
}

impl Connection {
    pub(crate) fn new(now: Time, mut setup: Setup) -> Self {
        let config = Arc::clone(&setup.config);
        let client = setup.role.is_client();
        let path = first_path(now, &mut setup, &config);
        let handshake = Handshake::new(setup.start, setup.initial_keys, &mut setup.rng);
        let mut connection = Self {
            role: setup.role,
            version: setup.version,
            begun: Begun::new(setup.version),
            scid: setup.scid,
            first_dcid: setup.first_dcid,
            attempt: setup.attempt,
            retry_scid: setup.retry_scid,
            initial_token: setup.token,
            grants: Grants::new(setup.mint),
            tokens_received: 0,
            observed_seq: 0,
            handshake,
            keys: None,
            early: None,
            early_outcome: None,
            paths: vec![path],
            path_ids: PathIds::new(u32::from(config.max_paths)),
            cids: Cids::new(setup.scid, setup.dcid).with(setup.resets, setup.cids),
            streams: Streams::new(setup.role, stream_config(&config)),
            datagrams: Datagrams::new(u64::from(config.max_datagram_frame), config.datagram_queue),
            ack_orders: AckOrders::new(config.max_ack_delay, config.ack_frequency),
            ack_wishes: AckWishes::new(),
            peer: None,
            close: Close::Open,
            idle: Idle { since: now, started: now, sent_since_heard: false },
            scheduler: config.new_scheduler(),
            events: VecDeque::new(),
            credits_used: 0,
            pacing_wake: None,
            asked_at: None,
            asked_for_credit: 0,
            read_since_tune: false,
            stash: Vec::new(),
            peer_scid: (!client).then_some(setup.dcid),
            counters: ConnectionCounters::default(),
            doubled: 0,
            rested: false,
            fates: crate::path::Fates::default(),
            tokens: Vec::new(),
            views: Vec::new(),
            slots: Vec::new(),
            rng: setup.rng,
            config,
        };
        if let Some(cid) = setup.preferred {
            connection.cids.issue_preferred(cid);
        }
        if client {
            connection.handshake.advance(&mut connection.rng);
            connection.begin_early();
        }
        connection
    }

    /// Takes in the peer's transport parameters as soon as TLS hands them out.
    pub(super) fn learn_parameters(&mut self) -> Result<(), Violation> {
        if self.peer.is_some() {
            return Ok(());
        }
        let Some(bytes) = self.handshake.session.peer_parameters() else { return Ok(()) };
        let parameters = TransportParameters::decode(bytes, self.role.peer()).map_err(|_| {
            Violation::new(Code::TRANSPORT_PARAMETER_ERROR, "transport parameters that make no sense")
        })?;
        self.authenticate_cids(&parameters)?;
        self.authenticate_version(&parameters)?;
        self.streams.on_peer_limits(&stream_limits(&parameters));
        self.streams.allow_reset_at(parameters.reset_stream_at);
        self.datagrams.on_peer_max(parameters.max_datagram_frame_size);
        if let Some(token) = parameters.stateless_reset_token {
            self.cids.set_first_peer_token(token);
        }
        if let Some(preferred) = &parameters.preferred_address {
            self.cids.on_preferred(preferred.cid, preferred.reset_token)?;
        }
        // draft-ietf-quic-multipath-21 §2.1: presence on both sides counts, not the value.
        let multipath = parameters.initial_max_path_id.filter(|_| self.config.multipath);
        if let Some(max) = multipath {
            if self.cids.peer_cid(PathId::ZERO).is_none_or(|cid| cid.is_empty()) {
                return Err(Violation::protocol("multipath with an empty connection ID"));
            }
            self.path_ids.on_negotiated(max);
        }
        self.cids.on_parameters(multipath.is_some(), parameters.active_connection_id_limit);
        let min_ack_delay = parameters.min_ack_delay.filter(|_| self.config.ack_frequency);
        self.ack_wishes.start(min_ack_delay, parameters.max_ack_delay);
        let ceiling = self.mtu_ceiling(&parameters);
        for path in &mut self.paths {
            path.mtu.set_ceiling(ceiling);
        }
        self.peer = Some(Peer { parameters });
        if self.tells_addresses() {
            self.paths.iter_mut().for_each(|p| p.observed.start());
        }
        Ok(())
    }

    /// RFC 9000 §7.3: what the peer signed must match what we saw on the wire.
    fn authenticate_cids(&self, parameters: &TransportParameters) -> Result<(), Violation> {
        let wrong = |why| Violation::new(Code::TRANSPORT_PARAMETER_ERROR, why);
        if parameters.initial_scid != self.cids.peer_cid(PathId::ZERO) {
            return Err(wrong("the source connection ID is not the one that was signed"));
        }
        if self.role.is_client() {
            if parameters.original_dcid != Some(self.first_dcid) {
                return Err(wrong("the original connection ID is not the one that was signed"));
            }
            if parameters.retry_scid != self.retry_scid {
                return Err(wrong("the retry connection ID is not the one that was signed"));
            }
        }
        Ok(())
    }

    pub(super) fn mtu_ceiling(&self, parameters: &TransportParameters) -> u16 {
        let peer = u16::try_from(parameters.max_udp_payload_size).unwrap_or(u16::MAX);
        self.config.mtu_ceiling.min(peer)
    }

    /// Gives the peer connection IDs for every path id that both ends allow, with a spare one for those in use.
    pub(super) fn issue_cids(&mut self) {
        if !self.handshake.is_complete() {
            return;
        }
        for path in self.path_ids.wanting_cids() {
            if self.path_ids.is_consumed(path) {
                self.cids.issue(path, &mut self.rng);
            } else {
                self.cids.offer(path, &mut self.rng);
            }
        }
    }
}

/// The handshake itself proves the addresses of path 0; until it has, a server is limited.
fn first_path(now: Time, setup: &mut Setup, config: &TransportConfig) -> Path {
    let first = PathSetup {
        id: PathId::ZERO,
        tuple: setup.tuple,
        controller: config.new_controller(),
        initial_rtt: config.initial_rtt,
        mtu_ceiling: config.mtu_ceiling,
        pacing: config.pacing,
        ecn: config.ecn,
        spin: config.spin,
        tells: false,
        validation: Validation::validated(),
        limited: !setup.role.is_client() && !setup.validated,
    };
    Path::new(first, now, &mut setup.rng)
}

pub(super) const fn stream_limits(parameters: &TransportParameters) -> StreamLimits {
    StreamLimits {
        max_data: parameters.initial_max_data,
        max_stream_data_bidi_local: parameters.initial_max_stream_data_bidi_local,
        max_stream_data_bidi_remote: parameters.initial_max_stream_data_bidi_remote,
        max_stream_data_uni: parameters.initial_max_stream_data_uni,
        max_streams_bidi: parameters.initial_max_streams_bidi,
        max_streams_uni: parameters.initial_max_streams_uni,
    }
}

fn stream_config(config: &TransportConfig) -> StreamConfig {
    StreamConfig {
        initial: StreamLimits {
            max_data: config.initial_connection_window,
            max_stream_data_bidi_local: config.initial_stream_window,
            max_stream_data_bidi_remote: config.initial_stream_window,
            max_stream_data_uni: config.initial_stream_window,
            max_streams_bidi: config.max_streams_bidi,
            max_streams_uni: config.max_streams_uni,
        },
        receive_window_max: config.connection_window_max,
        stream_window_max: config.stream_window_max,
        send_buffer_max: config.send_buffer_max,
    }
}
