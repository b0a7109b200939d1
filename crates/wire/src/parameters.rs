//! The transport parameters that both ends exchange in the TLS handshake (RFC 9000 §18).
//!
//! Checks all that the bytes alone can tell: ranges, duplicates, and parameters that this end may not send. Whether
//! connection IDs match the handshake, and what both sides agreed on, is decided elsewhere.

mod read;
mod write;

pub use read::ParameterError;

use crate::frame::RESET_TOKEN_LEN;
use core::time::Duration;
use mpquic_base::{Cid, PathId};
use std::net::{SocketAddrV4, SocketAddrV6};

/// The largest extension that is read, in bytes. Real ones take 100 to 400; a cap keeps the search for duplicates and
/// the list of versions small.
pub const MAX_ENCODED_LEN: usize = 4096;

/// What one end declares. The default is what absent parameters mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportParameters {
    /// Server only.
    pub original_dcid: Option<Cid>,
    /// Zero: none. Whole milliseconds.
    pub max_idle_timeout: Duration,
    /// Server only.
    pub stateless_reset_token: Option<[u8; RESET_TOKEN_LEN]>,
    pub max_udp_payload_size: u64,
    pub initial_max_data: u64,
    /// For bidirectional streams that the sender of the parameter opens.
    pub initial_max_stream_data_bidi_local: u64,
    /// For bidirectional streams that the receiver of the parameter opens.
    pub initial_max_stream_data_bidi_remote: u64,
    pub initial_max_stream_data_uni: u64,
    pub initial_max_streams_bidi: u64,
    pub initial_max_streams_uni: u64,
    /// The delay in ACK frames counts 2^this microseconds; at most 20.
    pub ack_delay_exponent: u8,
    /// Whole milliseconds, less than 2^14.
    pub max_ack_delay: Duration,
    pub disable_active_migration: bool,
    /// Server only.
    pub preferred_address: Option<PreferredAddress>,
    pub active_connection_id_limit: u64,
    pub initial_scid: Option<Cid>,
    /// Server only.
    pub retry_scid: Option<Cid>,
    /// RFC 9368.
    pub version_information: Option<VersionInformation>,
    /// RFC 9221: the largest DATAGRAM frame, header included, that is welcome; 0 for none.
    pub max_datagram_frame_size: u64,
    /// RFC 9287: tolerates packets without the fixed bit.
    pub grease_quic_bit: bool,
    /// draft-ietf-quic-multipath-21 §2.1: present, even if 0, offers multipath.
    pub initial_max_path_id: Option<PathId>,
    /// draft-ietf-quic-ack-frequency: whole microseconds; present offers the extension.
    pub min_ack_delay: Option<Duration>,
    /// draft-ietf-quic-reliable-stream-reset.
    pub reset_stream_at: bool,
    /// draft-ietf-quic-address-discovery.
    pub address_discovery: Option<AddressDiscovery>,
}

impl Default for TransportParameters {
    fn default() -> Self {
        Self {
            original_dcid: None,
            max_idle_timeout: Duration::ZERO,
            stateless_reset_token: None,
            max_udp_payload_size: 65_527,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            ack_delay_exponent: 3,
            max_ack_delay: Duration::from_millis(25),
            disable_active_migration: false,
            preferred_address: None,
            active_connection_id_limit: 2,
            initial_scid: None,
            retry_scid: None,
            version_information: None,
            max_datagram_frame_size: 0,
            grease_quic_bit: false,
            initial_max_path_id: None,
            min_ack_delay: None,
            reset_stream_at: false,
            address_discovery: None,
        }
    }
}

/// Where a server would rather be reached (RFC 9000 §18.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredAddress {
    pub v4: Option<SocketAddrV4>,
    /// Without flow label and scope, which do not travel.
    pub v6: Option<SocketAddrV6>,
    /// 1 to 20 bytes; sequence number 1.
    pub cid: Cid,
    pub reset_token: [u8; RESET_TOKEN_LEN],
}

/// Which version is in use and which would do (RFC 9368 §3). None is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInformation {
    pub chosen: u32,
    /// Preferred first.
    pub available: Vec<u32>,
}

/// Which end tells the other the address it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDiscovery {
    Provides,
    Receives,
    Both,
}

/// Numbers of the parameters: RFC 9000 §18.2 and the documents named above.
mod id {
    pub(super) const ORIGINAL_DCID: u64 = 0x00;
    pub(super) const MAX_IDLE_TIMEOUT: u64 = 0x01;
    pub(super) const STATELESS_RESET_TOKEN: u64 = 0x02;
    pub(super) const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
    pub(super) const INITIAL_MAX_DATA: u64 = 0x04;
    pub(super) const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
    pub(super) const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
    pub(super) const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
    pub(super) const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
    pub(super) const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
    pub(super) const ACK_DELAY_EXPONENT: u64 = 0x0a;
    pub(super) const MAX_ACK_DELAY: u64 = 0x0b;
    pub(super) const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
    pub(super) const PREFERRED_ADDRESS: u64 = 0x0d;
    pub(super) const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;
    pub(super) const INITIAL_SCID: u64 = 0x0f;
    pub(super) const RETRY_SCID: u64 = 0x10;
    pub(super) const VERSION_INFORMATION: u64 = 0x11;
    pub(super) const RESET_STREAM_AT: u64 = 0x1d;
    pub(super) const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
    pub(super) const INITIAL_MAX_PATH_ID: u64 = 0x3e;
    pub(super) const GREASE_QUIC_BIT: u64 = 0x2ab2;
    pub(super) const MIN_ACK_DELAY: u64 = 0xff04_de1b;
    pub(super) const ADDRESS_DISCOVERY: u64 = 0x9f81_a176;

    /// For messages; the unnamed ones are unknown.
    pub(super) const NAMES: [(u64, &str); 24] = [
        (ORIGINAL_DCID, "original_destination_connection_id"),
        (MAX_IDLE_TIMEOUT, "max_idle_timeout"),
        (STATELESS_RESET_TOKEN, "stateless_reset_token"),
        (MAX_UDP_PAYLOAD_SIZE, "max_udp_payload_size"),
        (INITIAL_MAX_DATA, "initial_max_data"),
        (INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, "initial_max_stream_data_bidi_local"),
        (INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, "initial_max_stream_data_bidi_remote"),
        (INITIAL_MAX_STREAM_DATA_UNI, "initial_max_stream_data_uni"),
        (INITIAL_MAX_STREAMS_BIDI, "initial_max_streams_bidi"),
        (INITIAL_MAX_STREAMS_UNI, "initial_max_streams_uni"),
        (ACK_DELAY_EXPONENT, "ack_delay_exponent"),
        (MAX_ACK_DELAY, "max_ack_delay"),
        (DISABLE_ACTIVE_MIGRATION, "disable_active_migration"),
        (PREFERRED_ADDRESS, "preferred_address"),
        (ACTIVE_CONNECTION_ID_LIMIT, "active_connection_id_limit"),
        (INITIAL_SCID, "initial_source_connection_id"),
        (RETRY_SCID, "retry_source_connection_id"),
        (VERSION_INFORMATION, "version_information"),
        (RESET_STREAM_AT, "reset_stream_at"),
        (MAX_DATAGRAM_FRAME_SIZE, "max_datagram_frame_size"),
        (INITIAL_MAX_PATH_ID, "initial_max_path_id"),
        (GREASE_QUIC_BIT, "grease_quic_bit"),
        (MIN_ACK_DELAY, "min_ack_delay"),
        (ADDRESS_DISCOVERY, "address_discovery"),
    ];
}

#[cfg(test)]
mod tests;
