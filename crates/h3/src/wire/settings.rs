//! The payload of SETTINGS (RFC 9114 §7.2.4).

use super::varint;
use crate::code;
use crate::error::Fault;
use mpquic_wire::{Reader, VARINT_MAX};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
/// RFC 9220 §3.
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
/// RFC 9297 §2.1.1.
const H3_DATAGRAM: u64 = 0x33;
/// RFC 9114 §7.2.4.1: a reserved one (0x1f * N + 0x21), so that peers keep ignoring what they do not know.
const RESERVED: u64 = 0x1f * 0x21 + 0x21;

/// Bytes of a SETTINGS payload that we look at: hundreds of settings.
pub(crate) const PAYLOAD_MAX: u64 = 4096;
const FIELD_SECTION_SIZE: u64 = 64 * 1024;

/// What one end of an HTTP/3 connection announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest field section that is taken, as RFC 9114 §4.2.2 counts: names, values and 32 bytes for each field.
    pub max_field_section_size: u64,
    /// Requests with [`crate::Protocol`] are understood (a server's to say).
    pub extended_connect: bool,
    /// HTTP datagrams are understood.
    pub datagrams: bool,
}

impl Default for Settings {
    /// What we announce.
    fn default() -> Self {
        Self { max_field_section_size: FIELD_SECTION_SIZE, extended_connect: true, datagrams: true }
    }
}

impl Settings {
    /// RFC 9114 §7.2.4.1: what holds for a peer that names nothing.
    const UNNAMED: Self =
        Self { max_field_section_size: VARINT_MAX, extended_connect: false, datagrams: false };

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let settings = [
            (QPACK_MAX_TABLE_CAPACITY, 0),
            (QPACK_BLOCKED_STREAMS, 0),
            (MAX_FIELD_SECTION_SIZE, self.max_field_section_size),
            (ENABLE_CONNECT_PROTOCOL, u64::from(self.extended_connect)),
            (H3_DATAGRAM, u64::from(self.datagrams)),
            (RESERVED, 0),
        ];
        for (id, value) in settings {
            varint::put(out, id);
            varint::put(out, value);
        }
    }

    pub(crate) fn read(payload: &[u8]) -> Result<Self, Fault> {
        let mut settings = Self::UNNAMED;
        let mut seen = Vec::new();
        let mut reader = Reader::new(payload);
        let cut = |_| Fault { code: code::FRAME_ERROR, why: "SETTINGS end within a setting" };
        while !reader.is_empty() {
            let (id, value) = (reader.varint().map_err(cut)?, reader.varint().map_err(cut)?);
            // RFC 9114 §7.2.4: each setting once. The payload's limit bounds the search.
            if seen.contains(&id) {
                return Err(fault("a setting appears twice"));
            }
            seen.push(id);
            match id {
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = value,
                ENABLE_CONNECT_PROTOCOL => settings.extended_connect = flag(value)?,
                H3_DATAGRAM => settings.datagrams = flag(value)?,
                // RFC 9114 §7.2.4.1: those of HTTP/2 that mean nothing here.
                0x00 | 0x02..=0x05 => return Err(fault("a setting of HTTP/2")),
                _ => {}
            }
        }
        Ok(settings)
    }
}

/// RFC 8441 §3, RFC 9297 §2.1.1: 0 or 1.
const fn flag(value: u64) -> Result<bool, Fault> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(fault("a setting that is a flag is neither 0 nor 1")),
    }
}

const fn fault(why: &'static str) -> Fault {
    Fault { code: code::SETTINGS_ERROR, why }
}
