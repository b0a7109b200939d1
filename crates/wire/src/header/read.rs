//! Headers from bytes, before header protection is removed. Walks coalesced packets: each read says where the packet
//! ends in the datagram.

use super::{FIXED_BIT, LONG_BIT, LongKind, RETRY_TAG_LEN, types_of};
use crate::cursor::{Malformed, Reader};
use core::{fmt, ops::Range};
use mpquic_base::Cid;

/// Why the rest of a datagram is dropped; never the peer's provable fault, because nothing here is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Ends before its header does, or claims more bytes than there are.
    Truncated,
    /// RFC 9000 §17.2: more than 20 bytes of connection ID in a version that forbids them.
    CidTooLong,
    /// RFC 8999 §6: a Version Negotiation packet without versions or with half a version.
    NoVersions,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated packet header",
            Self::CidTooLong => "connection ID longer than 20 bytes",
            Self::NoVersions => "no whole list of versions",
        })
    }
}

impl core::error::Error for HeaderError {}

impl From<Malformed> for HeaderError {
    fn from(_: Malformed) -> Self {
        Self::Truncated
    }
}

/// What a header shows before its protection is removed. `Long` and `Short` borrow nothing, so that the packet can be
/// opened in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartialHeader<'a> {
    Long(Long),
    Short(Short),
    Retry(Retry<'a>),
    VersionNegotiation {
        dcid: &'a [u8],
        scid: &'a [u8],
        versions: Versions<'a>,
    },
    /// A long header of another version: all of it that RFC 8999 promises. Its connection IDs may have 255 bytes.
    UnknownVersion {
        version: u32,
        dcid: &'a [u8],
        scid: &'a [u8],
    },
}

/// An Initial, 0-RTT or Handshake packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Long {
    pub kind: LongKind,
    pub version: u32,
    pub dcid: Cid,
    pub scid: Cid,
    /// Where the token lies in the packet; empty unless Initial.
    pub token: Range<usize>,
    /// Where the protected packet number starts in the packet.
    pub pn_offset: usize,
    /// Length of the packet, tag included.
    pub end: usize,
    /// Clear only if the peer greases it (RFC 9287); otherwise the packet is to be dropped.
    pub fixed_bit: bool,
}

/// A 1-RTT packet; it reaches to the end of the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    pub dcid: Cid,
    pub pn_offset: usize,
    pub end: usize,
    /// As in [`Long::fixed_bit`].
    pub fixed_bit: bool,
}

/// A Retry packet; it has no length and reaches to the end of the datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry<'a> {
    pub version: u32,
    pub dcid: Cid,
    pub scid: Cid,
    /// May be empty, which RFC 9000 §17.2.5.2 tells the client to ignore.
    pub token: &'a [u8],
    /// What the integrity tag covers, behind the original destination connection ID.
    pub covered: &'a [u8],
    pub tag: [u8; RETRY_TAG_LEN],
    /// As in [`Long::fixed_bit`].
    pub fixed_bit: bool,
}

/// The list in a Version Negotiation packet; at least one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions<'a>(&'a [u8]);

impl Iterator for Versions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (version, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*version))
    }
}

/// The destination connection ID of a 1-RTT packet, and where its protected packet number starts: all that there is to
/// read of it. `None` for any other packet.
#[must_use]
#[inline]
pub fn short_dcid(datagram: &[u8], cid_len: usize) -> Option<(&[u8], usize)> {
    let first = *datagram.first()?;
    let dcid = datagram.get(1..1 + cid_len)?;
    (first & LONG_BIT == 0).then_some((dcid, 1 + cid_len))
}

impl<'a> PartialHeader<'a> {
    /// Reads the packet at the front of `datagram` and returns it with its length; the next packet, if any, follows.
    ///
    /// `short_cid_len` is the length of the connection IDs that this endpoint issues.
    pub fn read(datagram: &'a [u8], short_cid_len: usize) -> Result<(Self, usize), HeaderError> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8()?;
        if first & LONG_BIT == 0 {
            let dcid = Cid::new(reader.bytes(short_cid_len)?).ok_or(HeaderError::CidTooLong)?;
            let short = Short {
                dcid,
                pn_offset: 1 + short_cid_len,
                end: datagram.len(),
                fixed_bit: first & FIXED_BIT != 0,
            };
            return Ok((Self::Short(short), datagram.len()));
        }
        let version = reader.u32()?;
        let dcid_len = usize::from(reader.u8()?);
        let dcid = reader.bytes(dcid_len)?;
        let scid_len = usize::from(reader.u8()?);
        let scid = reader.bytes(scid_len)?;
        if version == 0 {
            let list = reader.rest();
            if list.is_empty() || !list.len().is_multiple_of(4) {
                return Err(HeaderError::NoVersions);
            }
            let header = Self::VersionNegotiation { dcid, scid, versions: Versions(list) };
            return Ok((header, datagram.len()));
        }
        let Some(types) = types_of(version) else {
            return Ok((Self::UnknownVersion { version, dcid, scid }, datagram.len()));
        };
        let cid = |bytes| Cid::new(bytes).ok_or(HeaderError::CidTooLong);
        let ids = Ids { version, dcid: cid(dcid)?, scid: cid(scid)?, fixed_bit: first & FIXED_BIT != 0 };
        match types[usize::from(first >> 4 & 0x03)] {
            Some(kind) => ids.read_long(kind, datagram, reader),
            None => ids.read_retry(datagram, reader),
        }
    }

    /// RFC 9000 §17.2, RFC 9287 §3: false marks a packet to drop, unless this endpoint sent grease_quic_bit.
    #[must_use]
    pub const fn fixed_bit(&self) -> bool {
        match self {
            Self::Long(Long { fixed_bit, .. })
            | Self::Short(Short { fixed_bit, .. })
            | Self::Retry(Retry { fixed_bit, .. }) => *fixed_bit,
            // The bit means nothing outside the known versions.
            Self::VersionNegotiation { .. } | Self::UnknownVersion { .. } => true,
        }
    }

    /// Whom the packet is for.
    #[must_use]
    pub fn dcid(&self) -> &[u8] {
        match self {
            Self::Long(Long { dcid, .. })
            | Self::Short(Short { dcid, .. })
            | Self::Retry(Retry { dcid, .. }) => dcid.as_slice(),
            Self::VersionNegotiation { dcid, .. } | Self::UnknownVersion { dcid, .. } => dcid,
        }
    }
}

/// The part that all long headers of known versions share.
struct Ids {
    version: u32,
    dcid: Cid,
    scid: Cid,
    fixed_bit: bool,
}

impl Ids {
    fn read_long<'a>(
        self,
        kind: LongKind,
        datagram: &'a [u8],
        mut reader: Reader<'a>,
    ) -> Result<(PartialHeader<'a>, usize), HeaderError> {
        let at = |reader: &Reader<'_>| datagram.len() - reader.remaining();
        let token_len = if kind == LongKind::Initial { reader.length()? } else { 0 };
        let token = at(&reader)..at(&reader) + token_len;
        reader.bytes(token_len)?;
        let len = reader.length()?;
        let (pn_offset, end) = (at(&reader), at(&reader) + len);
        let Self { version, dcid, scid, fixed_bit } = self;
        let long = Long { kind, version, dcid, scid, token, pn_offset, end, fixed_bit };
        Ok((PartialHeader::Long(long), end))
    }

    fn read_retry<'a>(
        self,
        datagram: &'a [u8],
        mut reader: Reader<'a>,
    ) -> Result<(PartialHeader<'a>, usize), HeaderError> {
        let (token, tag) = reader.rest().split_last_chunk().ok_or(HeaderError::Truncated)?;
        let Self { version, dcid, scid, fixed_bit } = self;
        let covered = &datagram[..datagram.len() - RETRY_TAG_LEN];
        let retry = Retry { version, dcid, scid, token, covered, tag: *tag, fixed_bit };
        Ok((PartialHeader::Retry(retry), datagram.len()))
    }
}
