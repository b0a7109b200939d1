//! Transport parameters from bytes.

use super::{
    AddressDiscovery, MAX_ENCODED_LEN, PreferredAddress, TransportParameters, VersionInformation, id,
};
use crate::{
    cursor::{Malformed, Reader},
    error::Code,
};
use core::{fmt, time::Duration};
use mpquic_base::{Cid, PathId, Role};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// RFC 9000 §18.2: no datagram limit below what every path must carry.
const MIN_UDP_PAYLOAD_SIZE: u64 = 1200;
/// RFC 9000 §18.2.
const MAX_ACK_DELAY_EXPONENT: u64 = 20;
/// RFC 9000 §18.2: in milliseconds.
const MAX_ACK_DELAY_END: u64 = 1 << 14;
/// RFC 9000 §18.2.
const MIN_ACTIVE_CONNECTION_ID_LIMIT: u64 = 2;
/// RFC 9000 §4.6.
const MAX_STREAM_COUNT: u64 = 1 << 60;

/// Why the peer's parameters cannot be accepted; the connection ends with [`ParameterError::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterError {
    /// `None` if no parameter is to blame by itself.
    pub id: Option<u64>,
    pub why: &'static str,
}

impl ParameterError {
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::TRANSPORT_PARAMETER_ERROR
    }

    const fn new(id: u64, why: &'static str) -> Self {
        Self { id: Some(id), why }
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(id) = self.id else { return write!(f, "transport parameters: {}", self.why) };
        match id::NAMES.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => write!(f, "transport parameter {name}: {}", self.why),
            None => write!(f, "transport parameter {id:#x}: {}", self.why),
        }
    }
}

impl core::error::Error for ParameterError {}

impl TransportParameters {
    /// Reads what `sender` sent. Unknown parameters are skipped, known ones must be right.
    pub fn decode(bytes: &[u8], sender: Role) -> Result<Self, ParameterError> {
        const TRUNCATED: ParameterError = ParameterError { id: None, why: "truncated" };
        if bytes.len() > MAX_ENCODED_LEN {
            return Err(ParameterError { id: None, why: "too long" });
        }
        let mut parameters = Self::default();
        let mut seen = Vec::with_capacity(32);
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let id = reader.varint().map_err(|Malformed| TRUNCATED)?;
            let value = reader.length().and_then(|len| reader.bytes(len));
            let value = value.map_err(|Malformed| ParameterError::new(id, "truncated"))?;
            parameters.on_parameter(id, value, sender).map_err(|why| ParameterError::new(id, why))?;
            seen.push(id);
        }
        // RFC 9000 §7.4: no parameter, known or not, comes twice. Sorting keeps a hostile list cheap.
        seen.sort_unstable();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ParameterError::new(pair[0], "sent twice"));
        }
        parameters.agree()?;
        Ok(parameters)
    }

    fn on_parameter(&mut self, id: u64, value: &[u8], sender: Role) -> Result<(), &'static str> {
        match id {
            id::ORIGINAL_DCID | id::STATELESS_RESET_TOKEN | id::PREFERRED_ADDRESS | id::RETRY_SCID => {
                // RFC 9000 §18.2: these four come from servers only.
                if sender.is_client() {
                    return Err("a client may not send it");
                }
                self.on_server_only(id, value)?;
            }
            id::DISABLE_ACTIVE_MIGRATION => self.disable_active_migration = flag(value)?,
            id::GREASE_QUIC_BIT => self.grease_quic_bit = flag(value)?,
            id::RESET_STREAM_AT => self.reset_stream_at = flag(value)?,
            id::INITIAL_SCID => self.initial_scid = Some(cid(value)?),
            id::VERSION_INFORMATION => self.version_information = Some(VersionInformation::decode(value)?),
            id::MAX_IDLE_TIMEOUT..=id::MAX_ACK_DELAY
            | id::ACTIVE_CONNECTION_ID_LIMIT
            | id::MAX_DATAGRAM_FRAME_SIZE
            | id::INITIAL_MAX_PATH_ID
            | id::MIN_ACK_DELAY
            | id::ADDRESS_DISCOVERY => self.on_number(id, number(value)?)?,
            _ => {}
        }
        Ok(())
    }

    fn on_server_only(&mut self, id: u64, value: &[u8]) -> Result<(), &'static str> {
        match id {
            id::ORIGINAL_DCID => self.original_dcid = Some(cid(value)?),
            id::RETRY_SCID => self.retry_scid = Some(cid(value)?),
            id::STATELESS_RESET_TOKEN => {
                self.stateless_reset_token = Some(value.try_into().map_err(|_| "not 16 bytes")?);
            }
            _ => self.preferred_address = Some(PreferredAddress::decode(value)?),
        }
        Ok(())
    }

    fn on_number(&mut self, id: u64, value: u64) -> Result<(), &'static str> {
        let streams = |count: u64| if count <= MAX_STREAM_COUNT { Ok(count) } else { Err("above 2^60") };
        match id {
            id::MAX_IDLE_TIMEOUT => self.max_idle_timeout = Duration::from_millis(value),
            id::MAX_UDP_PAYLOAD_SIZE if value < MIN_UDP_PAYLOAD_SIZE => return Err("below 1200"),
            id::MAX_UDP_PAYLOAD_SIZE => self.max_udp_payload_size = value,
            id::INITIAL_MAX_DATA => self.initial_max_data = value,
            id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => self.initial_max_stream_data_bidi_local = value,
            id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => self.initial_max_stream_data_bidi_remote = value,
            id::INITIAL_MAX_STREAM_DATA_UNI => self.initial_max_stream_data_uni = value,
            id::INITIAL_MAX_STREAMS_BIDI => self.initial_max_streams_bidi = streams(value)?,
            id::INITIAL_MAX_STREAMS_UNI => self.initial_max_streams_uni = streams(value)?,
            id::ACK_DELAY_EXPONENT => {
                let in_range = u8::try_from(value).ok().filter(|_| value <= MAX_ACK_DELAY_EXPONENT);
                self.ack_delay_exponent = in_range.ok_or("above 20")?;
            }
            id::MAX_ACK_DELAY if value >= MAX_ACK_DELAY_END => return Err("2^14 or above"),
            id::MAX_ACK_DELAY => self.max_ack_delay = Duration::from_millis(value),
            id::ACTIVE_CONNECTION_ID_LIMIT if value < MIN_ACTIVE_CONNECTION_ID_LIMIT => {
                return Err("below 2");
            }
            id::ACTIVE_CONNECTION_ID_LIMIT => self.active_connection_id_limit = value,
            id::MAX_DATAGRAM_FRAME_SIZE => self.max_datagram_frame_size = value,
            id::INITIAL_MAX_PATH_ID => {
                let max = u32::try_from(value).map_err(|_| "above 2^32-1")?;
                self.initial_max_path_id = Some(PathId(max));
            }
            id::MIN_ACK_DELAY => self.min_ack_delay = Some(Duration::from_micros(value)),
            id::ADDRESS_DISCOVERY => {
                self.address_discovery = Some(AddressDiscovery::from_number(value).ok_or("above 2")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// What holds between parameters.
    fn agree(&self) -> Result<(), ParameterError> {
        // draft-ietf-quic-ack-frequency §3: nobody may need longer than they promise.
        if self.min_ack_delay.is_some_and(|min| min > self.max_ack_delay) {
            return Err(ParameterError::new(id::MIN_ACK_DELAY, "above max_ack_delay"));
        }
        // RFC 9000 §18.2: a server without connection IDs cannot offer another address.
        if self.preferred_address.is_some() && self.initial_scid.is_some_and(|cid| cid.is_empty()) {
            return Err(ParameterError::new(
                id::PREFERRED_ADDRESS,
                "comes from a server without connection IDs",
            ));
        }
        Ok(())
    }
}

impl AddressDiscovery {
    const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Provides),
            1 => Some(Self::Receives),
            2 => Some(Self::Both),
            _ => None,
        }
    }
}

impl PreferredAddress {
    fn decode(value: &[u8]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(value);
        let preferred = Self::read(&mut reader).map_err(|Malformed| "malformed")?;
        if !reader.is_empty() {
            return Err("bytes left over");
        }
        if preferred.cid.is_empty() { Err("empty connection ID") } else { Ok(preferred) }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let v4 = SocketAddrV4::new(Ipv4Addr::from(reader.array::<4>()?), reader.u16()?);
        let v6 = SocketAddrV6::new(Ipv6Addr::from(reader.array::<16>()?), reader.u16()?, 0, 0);
        Ok(Self {
            v4: Some(v4).filter(|v4| !v4.ip().is_unspecified() || v4.port() != 0),
            v6: Some(v6).filter(|v6| !v6.ip().is_unspecified() || v6.port() != 0),
            cid: reader.cid()?,
            reset_token: reader.array()?,
        })
    }
}

impl VersionInformation {
    /// RFC 9368 §4: versions of 0 and broken lists are parsing failures.
    fn decode(value: &[u8]) -> Result<Self, &'static str> {
        let (versions, []) = value.as_chunks::<4>() else { return Err("half a version") };
        let mut versions = versions.iter().map(|v| u32::from_be_bytes(*v));
        let chosen = versions.next().ok_or("no version")?;
        let available: Vec<u32> = versions.collect();
        if chosen == 0 || available.contains(&0) { Err("version 0") } else { Ok(Self { chosen, available }) }
    }
}

fn flag(value: &[u8]) -> Result<bool, &'static str> {
    if value.is_empty() { Ok(true) } else { Err("not empty") }
}

fn number(value: &[u8]) -> Result<u64, &'static str> {
    let mut reader = Reader::new(value);
    match reader.varint() {
        Ok(number) if reader.is_empty() => Ok(number),
        _ => Err("not exactly one number"),
    }
}

fn cid(value: &[u8]) -> Result<Cid, &'static str> {
    Cid::new(value).ok_or("longer than 20 bytes")
}
