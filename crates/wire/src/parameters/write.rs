//! Transport parameters to bytes. A parameter at its default is left out, save those whose presence says something.

use super::{AddressDiscovery, PreferredAddress, TransportParameters, id};
use crate::cursor::{VARINT_MAX, Writer, varint_len};
use core::time::Duration;
use mpquic_base::Role;

impl TransportParameters {
    /// The extension as `sender` sends it; what a client may not send is left out.
    ///
    /// `grease` are random bits that become one parameter nobody knows (RFC 9000 §18.1). Durations round up to the
    /// unit they travel in.
    #[must_use]
    pub fn encode(&self, sender: Role, grease: Option<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        if sender == Role::Server {
            self.put_server_only(&mut out);
        }
        self.put_numbers(&mut out);
        self.put_flags(&mut out);
        if let Some(cid) = &self.initial_scid {
            put(&mut out, id::INITIAL_SCID, cid.as_slice());
        }
        if let Some(info) = &self.version_information {
            let versions: Vec<u8> =
                [info.chosen].iter().chain(&info.available).flat_map(|v| v.to_be_bytes()).collect();
            put(&mut out, id::VERSION_INFORMATION, &versions);
        }
        if let Some(bits) = grease {
            let value = bits.to_be_bytes();
            put(&mut out, grease_id(bits), &value[..usize::from(value[0] & 7)]);
        }
        out
    }

    fn put_server_only(&self, out: &mut Vec<u8>) {
        if let Some(cid) = &self.original_dcid {
            put(out, id::ORIGINAL_DCID, cid.as_slice());
        }
        if let Some(token) = &self.stateless_reset_token {
            put(out, id::STATELESS_RESET_TOKEN, token);
        }
        if let Some(preferred) = &self.preferred_address {
            put(out, id::PREFERRED_ADDRESS, &preferred.encode());
        }
        if let Some(cid) = &self.retry_scid {
            put(out, id::RETRY_SCID, cid.as_slice());
        }
    }

    fn put_numbers(&self, out: &mut Vec<u8>) {
        let absent = Self::default();
        let milliseconds = |d: Duration| number(d.as_nanos().div_ceil(1_000_000));
        let numbers = [
            (
                id::MAX_IDLE_TIMEOUT,
                milliseconds(self.max_idle_timeout),
                milliseconds(absent.max_idle_timeout),
            ),
            (id::MAX_UDP_PAYLOAD_SIZE, self.max_udp_payload_size, absent.max_udp_payload_size),
            (id::INITIAL_MAX_DATA, self.initial_max_data, 0),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, self.initial_max_stream_data_bidi_local, 0),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, self.initial_max_stream_data_bidi_remote, 0),
            (id::INITIAL_MAX_STREAM_DATA_UNI, self.initial_max_stream_data_uni, 0),
            (id::INITIAL_MAX_STREAMS_BIDI, self.initial_max_streams_bidi, 0),
            (id::INITIAL_MAX_STREAMS_UNI, self.initial_max_streams_uni, 0),
            (
                id::ACK_DELAY_EXPONENT,
                u64::from(self.ack_delay_exponent),
                u64::from(absent.ack_delay_exponent),
            ),
            (id::MAX_ACK_DELAY, milliseconds(self.max_ack_delay), milliseconds(absent.max_ack_delay)),
            (
                id::ACTIVE_CONNECTION_ID_LIMIT,
                self.active_connection_id_limit,
                absent.active_connection_id_limit,
            ),
            (id::MAX_DATAGRAM_FRAME_SIZE, self.max_datagram_frame_size, 0),
        ];
        for (id, value, _) in numbers.iter().filter(|(_, value, default)| value != default) {
            put_number(out, *id, *value);
        }
        if let Some(max) = self.initial_max_path_id {
            put_number(out, id::INITIAL_MAX_PATH_ID, u64::from(max.0));
        }
        if let Some(delay) = self.min_ack_delay {
            put_number(out, id::MIN_ACK_DELAY, number(delay.as_nanos().div_ceil(1000)));
        }
        if let Some(who) = self.address_discovery {
            put_number(out, id::ADDRESS_DISCOVERY, who.number());
        }
    }

    fn put_flags(&self, out: &mut Vec<u8>) {
        let flags = [
            (id::DISABLE_ACTIVE_MIGRATION, self.disable_active_migration),
            (id::GREASE_QUIC_BIT, self.grease_quic_bit),
            (id::RESET_STREAM_AT, self.reset_stream_at),
        ];
        for (id, _) in flags.iter().filter(|(_, set)| *set) {
            put(out, *id, &[]);
        }
    }
}

impl AddressDiscovery {
    const fn number(self) -> u64 {
        match self {
            Self::Provides => 0,
            Self::Receives => 1,
            Self::Both => 2,
        }
    }
}

impl PreferredAddress {
    /// RFC 9000 §18.2: an address of zeros stands for none.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(61);
        out.extend(self.v4.map_or([0; 4], |v4| v4.ip().octets()));
        out.extend(self.v4.map_or(0, |v4| v4.port()).to_be_bytes());
        out.extend(self.v6.map_or([0; 16], |v6| v6.ip().octets()));
        out.extend(self.v6.map_or(0, |v6| v6.port()).to_be_bytes());
        #[allow(clippy::cast_possible_truncation, reason = "a connection ID has at most 20 bytes")]
        out.push(self.cid.len() as u8);
        out.extend(self.cid.as_slice());
        out.extend(self.reset_token);
        out
    }
}

/// RFC 9000 §18.1: 31 N + 27 is reserved to mean nothing.
pub(super) const fn grease_id(bits: u64) -> u64 {
    31 * (bits % ((VARINT_MAX - 27) / 31)) + 27
}

fn number(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(VARINT_MAX).min(VARINT_MAX)
}

fn put(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    put_varint(out, id);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_number(out: &mut Vec<u8>, id: u64, value: u64) {
    put_varint(out, id);
    put_varint(out, varint_len(value) as u64);
    put_varint(out, value);
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let at = out.len();
    out.resize(at + varint_len(value), 0);
    Writer::new(&mut out[at..]).put_varint(value);
}
