//! Reading IP packets, as far as a tunnel needs it: who talks to whom, and where the transport header starts.
//!
//! Owns the IPv4 header, the IPv6 header with its extension headers, and the key of a flow. Refuses to know what
//! the transport says beyond its ports, and never changes a byte.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;

/// RFC 8504 §5.3 lets a node limit the number of extension headers that it follows.
const EXTENSIONS_MAX: usize = 8;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const ICMPV6: u8 = 58;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// One whole IP packet, checked once and then read without surprises.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    source: IpAddr,
    destination: IpAddr,
    headers: Headers,
}

/// What follows the fixed header.
#[derive(Clone, Copy, Debug)]
struct Headers {
    protocol: u8,
    transport_at: usize,
    fragment: Fragment,
    authenticated: bool,
}

/// `offset` counts units of eight bytes; both values are zero and false in a packet that is whole.
#[derive(Clone, Copy, Debug, Default)]
struct Fragment {
    offset: u16,
    more: bool,
}

impl Fragment {
    const fn from_ipv4(field: u16) -> Self {
        Self { offset: field & 0x1fff, more: field & 0x2000 != 0 }
    }

    const fn from_ipv6(field: u16) -> Self {
        Self { offset: field >> 3, more: field & 1 != 0 }
    }
}

/// The bytes are no IP packet; says what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an IP packet: {}", self.0)
    }
}

impl core::error::Error for Malformed {}

/// What tells one flow from another. Ports are zero where there are none and in every fragment, because only the
/// first one carries them; an ICMP echo keeps its identifier in `source_port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

impl<'a> Packet<'a> {
    /// # Errors
    /// If the bytes are not exactly one IPv4 or IPv6 packet.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|b| b >> 4) {
            Some(4) => Self::read_ipv4(bytes),
            Some(6) => Self::read_ipv6(bytes),
            Some(_) => Err(Malformed("the version is neither 4 nor 6")),
            None => Err(Malformed("it is empty")),
        }
    }

    fn read_ipv4(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; IPV4_HEADER] = bytes.first_chunk().ok_or(Malformed("the IPv4 header is cut off"))?;
        let header_len = usize::from(fixed[0] & 0xf) * 4;
        if header_len < IPV4_HEADER || header_len > bytes.len() {
            return Err(Malformed("the IPv4 header length is wrong"));
        }
        if usize::from(be16(fixed[2], fixed[3])) != bytes.len() {
            return Err(Malformed("the IPv4 total length is not the packet's length"));
        }
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
        Ok(Self {
            bytes,
            source: Ipv4Addr::new(s0, s1, s2, s3).into(),
            destination: Ipv4Addr::new(d0, d1, d2, d3).into(),
            headers: Headers {
                protocol: fixed[9],
                transport_at: header_len,
                fragment: Fragment::from_ipv4(be16(fixed[6], fixed[7])),
                authenticated: fixed[9] == AUTHENTICATION,
            },
        })
    }

    fn read_ipv6(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; IPV6_HEADER] = bytes.first_chunk().ok_or(Malformed("the IPv6 header is cut off"))?;
        if IPV6_HEADER + usize::from(be16(fixed[4], fixed[5])) != bytes.len() {
            return Err(Malformed("the IPv6 payload length is not the packet's length"));
        }
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&fixed[at..at + 16]);
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let headers = follow_extensions(bytes, fixed[6])?;
        Ok(Self { bytes, source: address(8), destination: address(24), headers })
    }

    #[must_use]
    pub const fn version(&self) -> u8 {
        if self.is_ipv4() { 4 } else { 6 }
    }

    pub(crate) const fn is_ipv4(&self) -> bool {
        matches!(self.source, IpAddr::V4(_))
    }

    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.destination
    }

    /// The protocol of the transport, behind all extension headers.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.headers.protocol
    }

    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The transport header and what follows it; in a later fragment, the fragment's data.
    #[must_use]
    pub fn transport(&self) -> &'a [u8] {
        &self.bytes[self.headers.transport_at..]
    }

    pub(crate) const fn transport_at(&self) -> usize {
        self.headers.transport_at
    }

    /// True if an authentication header covers the bytes, so that nobody may change them.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.headers.authenticated
    }

    /// Any fragment, the first one included.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.headers.fragment.more || self.headers.fragment.offset != 0
    }

    /// A fragment that does not start with the transport header.
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        self.headers.fragment.offset != 0
    }

    /// True for all of IPv6: routers never fragment it.
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        !self.is_ipv4() || self.bytes[6] & 0x40 != 0
    }

    #[must_use]
    pub fn flow(&self) -> FlowKey {
        let (source_port, destination_port) = self.ports();
        let (source, destination) = (self.source, self.destination);
        FlowKey { source, destination, protocol: self.headers.protocol, source_port, destination_port }
    }

    fn ports(&self) -> (u16, u16) {
        if self.is_fragment() {
            return (0, 0);
        }
        match (self.headers.protocol, self.transport()) {
            (TCP | UDP | DCCP | SCTP | UDP_LITE, &[s0, s1, d0, d1, ..]) => (be16(s0, s1), be16(d0, d1)),
            // Echo request and reply carry an identifier; errors and neighbour discovery do not.
            (ICMP, &[0 | 8, _, _, _, id0, id1, ..]) => (be16(id0, id1), 0),
            (ICMPV6, &[128 | 129, _, _, _, id0, id1, ..]) => (be16(id0, id1), 0),
            _ => (0, 0),
        }
    }
}

/// RFC 8200 §4: each extension header names the next one. A later fragment has no headers behind its fragment header.
fn follow_extensions(bytes: &[u8], first: u8) -> Result<Headers, Malformed> {
    let fragment = Fragment::default();
    let mut headers = Headers { protocol: first, transport_at: IPV6_HEADER, fragment, authenticated: false };
    for _ in 0..=EXTENSIONS_MAX {
        let rest = &bytes[headers.transport_at..];
        let unit_len = match headers.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => |n: usize| 8 * (n + 1),
            AUTHENTICATION => |n: usize| 4 * (n + 2),
            FRAGMENT => |_| 8,
            _ => return Ok(headers),
        };
        let &[next, len, b2, b3, ..] = rest else {
            return Err(Malformed("an IPv6 extension header is cut off"));
        };
        let len = unit_len(usize::from(len));
        if len > rest.len() {
            return Err(Malformed("an IPv6 extension header is cut off"));
        }
        if headers.protocol == FRAGMENT {
            headers.fragment = Fragment::from_ipv6(be16(b2, b3));
        }
        headers.authenticated |= headers.protocol == AUTHENTICATION;
        headers.protocol = next;
        headers.transport_at += len;
        if headers.fragment.offset != 0 {
            return Ok(headers);
        }
    }
    Err(Malformed("there are too many IPv6 extension headers"))
}

const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
