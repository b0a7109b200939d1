//! Packet headers: as far as they can be read under header protection, the first byte once it is bare, and writing.
//!
//! Owns the formats of RFC 8999 and RFC 9000 §17 and the type bits of both versions. Knows neither keys nor which
//! connection a packet is for: the length of connection IDs in short headers comes from the caller.

mod build;
mod read;

pub use build::{LongHeader, LongOffsets, RetryHeader, ShortHeader, VersionNegotiationHeader};
pub use read::{HeaderError, Long, PartialHeader, Retry, Short, Versions, short_dcid};

/// QUIC version 1 (RFC 9000).
pub const VERSION_1: u32 = 1;
/// QUIC version 2 (RFC 9369).
pub const VERSION_2: u32 = 0x6b33_43cf;

/// The bit that tells QUIC from other protocols on the same port (RFC 9000 §17). May be cleared before sealing if the
/// peer sent grease_quic_bit (RFC 9287).
pub const FIXED_BIT: u8 = 0x40;

/// Bytes of the integrity tag that ends a Retry packet (RFC 9001 §5.8).
pub const RETRY_TAG_LEN: usize = 16;

const LONG_BIT: u8 = 0x80;

/// The versions whose long headers can be read, preferred first.
pub const SUPPORTED_VERSIONS: [u32; 2] = [VERSION_1, VERSION_2];

/// The long-header packets that carry frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LongKind {
    Initial,
    ZeroRtt,
    Handshake,
}

/// `None` stands for Retry; the position is the value of the type bits (RFC 9000 §17.2).
const TYPES_V1: [Option<LongKind>; 4] =
    [Some(LongKind::Initial), Some(LongKind::ZeroRtt), Some(LongKind::Handshake), None];
/// RFC 9369 §3.2 moves each type up by one.
const TYPES_V2: [Option<LongKind>; 4] =
    [None, Some(LongKind::Initial), Some(LongKind::ZeroRtt), Some(LongKind::Handshake)];

const fn types_of(version: u32) -> Option<&'static [Option<LongKind>; 4]> {
    match version {
        VERSION_1 => Some(&TYPES_V1),
        VERSION_2 => Some(&TYPES_V2),
        _ => None,
    }
}

/// The type bits in place; versions that are not supported are written like version 1.
fn type_bits(version: u32, kind: Option<LongKind>) -> u8 {
    let types = types_of(version).unwrap_or(&TYPES_V1);
    (0u8..4).zip(types).find(|(_, known)| **known == kind).map_or(0, |(bits, _)| bits << 4)
}

/// The first byte of a packet whose header protection is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstByte(pub u8);

impl FirstByte {
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0 & LONG_BIT != 0
    }

    /// The bits that header protection covers (RFC 9001 §5.4.1).
    #[must_use]
    pub const fn protected_bits(self) -> u8 {
        if self.is_long() { 0x0f } else { 0x1f }
    }

    /// RFC 9000 §17.2, §17.3.1: must be zero, to be judged only once the packet has proved authentic.
    #[must_use]
    pub const fn reserved_bits(self) -> u8 {
        self.0 & if self.is_long() { 0x0c } else { 0x18 }
    }

    /// 1 to 4.
    #[must_use]
    pub const fn pn_len(self) -> usize {
        1 + (self.0 & 0x03) as usize
    }

    /// Of a short header.
    #[must_use]
    pub const fn key_phase(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// Of a short header.
    #[must_use]
    pub const fn spin(self) -> bool {
        self.0 & 0x20 != 0
    }
}

#[cfg(test)]
mod tests;
