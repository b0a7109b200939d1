//! The three capsules of RFC 9484 §4.7.

use super::{Invalid, Prefix};
use crate::capsule::{self, Capsule};
use crate::wire::varint;
use core::net::{Ipv4Addr, Ipv6Addr};
use mpquic_wire::{Malformed, Reader, VARINT_MAX};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub const ADDRESS_ASSIGN: u64 = 0x01;
pub const ADDRESS_REQUEST: u64 = 0x02;
pub const ROUTE_ADVERTISEMENT: u64 = 0x03;

/// Bytes that each capsule's value may have here, for [`capsule::Decoder::new`]: thousands of entries. Also the DATAGRAM
/// capsule, which holds one packet and a context id.
pub const LIMITS: &[(u64, usize)] = &[
    (ADDRESS_ASSIGN, 64 * 1024),
    (ADDRESS_REQUEST, 64 * 1024),
    (ROUTE_ADVERTISEMENT, 256 * 1024),
    (capsule::DATAGRAM, 64 * 1024 + 8),
];

/// Why a capsule ends the tunnel.
pub type CapsuleRefused = Invalid;

/// An address or prefix that the receiver may send from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedAddress {
    /// The request that this answers; 0 for none.
    pub request: u64,
    pub prefix: Prefix,
}

impl AssignedAddress {
    /// RFC 9484 §4.7.2: what says that a request was not met.
    #[must_use]
    pub const fn refusal(request: &RequestedAddress) -> Self {
        let unspecified = match request.prefix.address() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { request: request.request, prefix: Prefix::host(unspecified) }
    }

    /// Whether it says that a request was not met.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.prefix.is_host() && self.prefix.address().is_unspecified()
    }
}

/// An address or prefix that the sender would like to send from; all zeros is any of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedAddress {
    /// Not 0, and used once.
    pub request: u64,
    pub prefix: Prefix,
}

/// Addresses that the sender has a route to, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    pub start: IpAddr,
    pub end: IpAddr,
    /// 0 is every protocol.
    pub protocol: u8,
}

/// What one of the capsules says. Each replaces the one of its kind before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    AddressAssign(Vec<AssignedAddress>),
    AddressRequest(Vec<RequestedAddress>),
    RouteAdvertisement(Vec<IpRange>),
}

impl Configuration {
    /// Understands a capsule; `None` if it is none of these.
    ///
    /// # Errors
    /// If it breaks a rule: the request stream has to be aborted.
    pub fn decode(capsule: &Capsule) -> Result<Option<Self>, CapsuleRefused> {
        let mut reader = Reader::new(&capsule.value);
        let configuration = match capsule.kind {
            ADDRESS_ASSIGN => Self::AddressAssign(entries(&mut reader, |reader| {
                Ok(AssignedAddress { request: reader.varint()?, prefix: read_prefix(reader)? })
            })?),
            ADDRESS_REQUEST => Self::AddressRequest(entries(&mut reader, |reader| {
                Ok(RequestedAddress { request: reader.varint()?, prefix: read_prefix(reader)? })
            })?),
            ROUTE_ADVERTISEMENT => Self::RouteAdvertisement(entries(&mut reader, read_range)?),
            _ => return Ok(None),
        };
        configuration.check()?;
        Ok(Some(configuration))
    }

    /// Appends the capsule.
    ///
    /// # Errors
    /// If it breaks a rule; nothing was appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CapsuleRefused> {
        self.check()?;
        let mut value = Vec::new();
        let kind = match self {
            Self::AddressAssign(assigned) => {
                assigned.iter().for_each(|one| put_address(&mut value, one.request, one.prefix));
                ADDRESS_ASSIGN
            }
            Self::AddressRequest(requested) => {
                requested.iter().for_each(|one| put_address(&mut value, one.request, one.prefix));
                ADDRESS_REQUEST
            }
            Self::RouteAdvertisement(ranges) => {
                for range in ranges {
                    value.push(version(range.start));
                    put_ip(&mut value, range.start);
                    put_ip(&mut value, range.end);
                    value.push(range.protocol);
                }
                ROUTE_ADVERTISEMENT
            }
        };
        capsule::write(out, kind, &value);
        Ok(())
    }

    fn check(&self) -> Result<(), CapsuleRefused> {
        match self {
            Self::AddressAssign(assigned) => {
                let fits = assigned.iter().all(|one| one.request <= VARINT_MAX);
                if fits { Ok(()) } else { Err(Invalid("a request id that is too large")) }
            }
            Self::AddressRequest(requested) => check_requests(requested),
            Self::RouteAdvertisement(ranges) => check_ranges(ranges),
        }
    }
}

/// RFC 9484 §4.7.2: at least one; ids are not 0 and each is used once.
fn check_requests(requested: &[RequestedAddress]) -> Result<(), CapsuleRefused> {
    if requested.is_empty() {
        return Err(Invalid("a request for no address"));
    }
    let mut seen = BTreeSet::new();
    for one in requested {
        if one.request == 0 || one.request > VARINT_MAX {
            return Err(Invalid("a request id that may not be"));
        }
        if !seen.insert(one.request) {
            return Err(Invalid("a request id twice"));
        }
    }
    Ok(())
}

/// RFC 9484 §4.7.3: by version, protocol and address, and without overlap.
fn check_ranges(ranges: &[IpRange]) -> Result<(), CapsuleRefused> {
    for range in ranges {
        if range.start.is_ipv4() != range.end.is_ipv4() || range.start > range.end {
            return Err(Invalid("a range that ends before it starts"));
        }
    }
    for (before, after) in ranges.iter().zip(ranges.iter().skip(1)) {
        let key = |range: &IpRange| (version(range.start), range.protocol);
        if key(before) > key(after) {
            return Err(Invalid("ranges out of order"));
        }
        if key(before) == key(after) && before.end >= after.start {
            return Err(Invalid("ranges that overlap or are out of order"));
        }
    }
    // Those for every protocol come first within their version, so they are sorted by address as well.
    let universal: Vec<&IpRange> = ranges.iter().filter(|range| range.protocol == 0).collect();
    for range in ranges.iter().filter(|range| range.protocol != 0) {
        let at = universal.partition_point(|other| other.end < range.start);
        let overlaps = universal
            .get(at)
            .is_some_and(|other| other.start.is_ipv4() == range.start.is_ipv4() && other.start <= range.end);
        if overlaps {
            return Err(Invalid("a range within another that is for every protocol"));
        }
    }
    Ok(())
}

/// Why an entry cannot be read.
enum Unreadable {
    Cut,
    Invalid(Invalid),
}

impl From<Malformed> for Unreadable {
    fn from(Malformed: Malformed) -> Self {
        Self::Cut
    }
}

impl From<Invalid> for Unreadable {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

fn entries<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Unreadable>,
) -> Result<Vec<T>, CapsuleRefused> {
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(read(reader).map_err(|error| match error {
            Unreadable::Cut => Invalid("a capsule that ends within an entry"),
            Unreadable::Invalid(invalid) => invalid,
        })?);
    }
    Ok(all)
}

fn read_prefix(reader: &mut Reader<'_>) -> Result<Prefix, Unreadable> {
    let version = reader.u8()?;
    let address = read_ip(reader, version)?;
    Ok(Prefix::new(address, reader.u8()?)?)
}

fn read_range(reader: &mut Reader<'_>) -> Result<IpRange, Unreadable> {
    let version = reader.u8()?;
    let (start, end) = (read_ip(reader, version)?, read_ip(reader, version)?);
    Ok(IpRange { start, end, protocol: reader.u8()? })
}

fn read_ip(reader: &mut Reader<'_>, version: u8) -> Result<IpAddr, Unreadable> {
    match version {
        4 => Ok(IpAddr::from(reader.array::<4>()?)),
        6 => Ok(IpAddr::from(reader.array::<16>()?)),
        _ => Err(Unreadable::Invalid(Invalid("an IP version that is neither 4 nor 6"))),
    }
}

fn put_address(value: &mut Vec<u8>, request: u64, prefix: Prefix) {
    varint::put(value, request);
    value.push(version(prefix.address()));
    put_ip(value, prefix.address());
    value.push(prefix.len());
}

fn put_ip(value: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => value.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => value.extend_from_slice(&v6.octets()),
    }
}

const fn version(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}
