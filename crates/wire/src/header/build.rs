//! Headers to bytes, unprotected. Lengths are exact, so that a packet can be laid out before it is written.

use super::{FIXED_BIT, LONG_BIT, LongKind, type_bits};
use crate::{
    cursor::{Writer, varint_len},
    packet_number,
};
use mpquic_base::Cid;

/// Bytes of the length field of a long header; 2 reach 16383, more than any packet here has.
const LENGTH_LEN: usize = 2;

/// An Initial, 0-RTT or Handshake header up to the end of its packet number.
#[derive(Clone, Copy, Debug)]
pub struct LongHeader<'a> {
    pub kind: LongKind,
    pub version: u32,
    pub dcid: Cid,
    pub scid: Cid,
    /// Left out unless `kind` is Initial.
    pub token: &'a [u8],
    pub pn: u64,
    /// 1 to 4.
    pub pn_len: usize,
}

/// Where to come back to in the writer that took a [`LongHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongOffsets {
    pub length_at: usize,
    pub pn_at: usize,
}

impl LongOffsets {
    /// Sets the length field for a packet that ends, tag included, at `end`; all counted from the start of `written`.
    pub fn patch_length(self, written: &mut [u8], end: usize) {
        let mut field = Writer::new(&mut written[self.length_at..self.length_at + LENGTH_LEN]);
        field.put_varint2(end - self.pn_at);
    }
}

impl LongHeader<'_> {
    /// Encoded size in bytes, packet number included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub fn len(&self) -> usize {
        let token = match self.kind {
            LongKind::Initial => varint_len(self.token.len() as u64) + self.token.len(),
            LongKind::ZeroRtt | LongKind::Handshake => 0,
        };
        ids_len(self.dcid.as_slice(), self.scid.as_slice()) + token + LENGTH_LEN + self.pn_len
    }

    /// Appends the header with a length of 0, to be patched when the payload is known.
    ///
    /// # Panics
    /// If it does not fit.
    pub fn write(&self, out: &mut Writer<'_>) -> LongOffsets {
        let first =
            LONG_BIT | FIXED_BIT | type_bits(self.version, Some(self.kind)) | pn_len_bits(self.pn_len);
        write_ids(first, self.version, self.dcid.as_slice(), self.scid.as_slice(), out);
        if self.kind == LongKind::Initial {
            out.put_varint(self.token.len() as u64);
            out.put(self.token);
        }
        let length_at = out.len();
        out.put_varint2(0);
        let pn_at = out.len();
        packet_number::write(self.pn, self.pn_len, out);
        LongOffsets { length_at, pn_at }
    }
}

/// A 1-RTT header up to the end of its packet number.
#[derive(Clone, Copy, Debug)]
pub struct ShortHeader {
    pub dcid: Cid,
    pub pn: u64,
    /// 1 to 4.
    pub pn_len: usize,
    pub key_phase: bool,
    pub spin: bool,
}

impl ShortHeader {
    /// Encoded size in bytes, packet number included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub const fn len(&self) -> usize {
        1 + self.dcid.len() + self.pn_len
    }

    /// Appends the header and returns where its packet number starts.
    ///
    /// # Panics
    /// If it does not fit.
    pub fn write(&self, out: &mut Writer<'_>) -> usize {
        let spin = if self.spin { 0x20 } else { 0 };
        let key_phase = if self.key_phase { 0x04 } else { 0 };
        out.put_u8(FIXED_BIT | spin | key_phase | pn_len_bits(self.pn_len));
        // Most IDs are that long, and a copy of a known length is a move and no call.
        match <&[u8; 8]>::try_from(self.dcid.as_slice()) {
            Ok(id) => out.put(id),
            Err(_) => out.put(self.dcid.as_slice()),
        }
        let pn_at = out.len();
        packet_number::write(self.pn, self.pn_len, out);
        pn_at
    }
}

/// A whole Version Negotiation packet (RFC 9000 §17.2.1).
#[derive(Clone, Copy, Debug)]
pub struct VersionNegotiationHeader<'a> {
    /// Random bits for the unused part of the first byte.
    pub unused: u8,
    /// The source connection ID of the packet it answers; up to 255 bytes.
    pub dcid: &'a [u8],
    /// The destination connection ID of the packet it answers; up to 255 bytes.
    pub scid: &'a [u8],
    pub versions: &'a [u32],
}

impl VersionNegotiationHeader<'_> {
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub const fn len(&self) -> usize {
        ids_len(self.dcid, self.scid) + 4 * self.versions.len()
    }

    /// # Panics
    /// If it does not fit.
    pub fn write(&self, out: &mut Writer<'_>) {
        // The fixed bit keeps apart from other protocols on the port, though no version demands it here.
        write_ids(self.unused | LONG_BIT | FIXED_BIT, 0, self.dcid, self.scid, out);
        self.versions.iter().for_each(|version| out.put_u32(*version));
    }
}

/// A Retry packet without its integrity tag, which covers just these bytes.
#[derive(Clone, Copy, Debug)]
pub struct RetryHeader<'a> {
    pub version: u32,
    pub dcid: Cid,
    pub scid: Cid,
    pub token: &'a [u8],
    /// Random bits for the unused part of the first byte; the low four count.
    pub unused: u8,
}

impl RetryHeader<'_> {
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub const fn len(&self) -> usize {
        1 + 4 + 1 + self.dcid.len() + 1 + self.scid.len() + self.token.len()
    }

    /// # Panics
    /// If it does not fit.
    pub fn write(&self, out: &mut Writer<'_>) {
        let first = LONG_BIT | FIXED_BIT | type_bits(self.version, None) | self.unused & 0x0f;
        write_ids(first, self.version, self.dcid.as_slice(), self.scid.as_slice(), out);
        out.put(self.token);
    }
}

const fn ids_len(dcid: &[u8], scid: &[u8]) -> usize {
    1 + 4 + 1 + dcid.len() + 1 + scid.len()
}

fn write_ids(first: u8, version: u32, dcid: &[u8], scid: &[u8], out: &mut Writer<'_>) {
    out.put_u8(first);
    out.put_u32(version);
    for cid in [dcid, scid] {
        debug_assert!(cid.len() <= 255);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "RFC 8999 §5.1: came behind a length of one byte"
        )]
        out.put_u8(cid.len() as u8);
        out.put(cid);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "two bits")]
fn pn_len_bits(pn_len: usize) -> u8 {
    debug_assert!(matches!(pn_len, 1..=4));
    (pn_len - 1) as u8 & 0x03
}
