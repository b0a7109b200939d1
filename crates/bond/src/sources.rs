//! Which source addresses a tenant may use.
//!
//! Owns the check that keeps one tenant from speaking in another's name. Refuses to know who the tenant is.

use crate::packet::Packet;
use core::fmt;
use ipnet::IpNet;
use std::net::IpAddr;

/// The addresses that were assigned to somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Vec<IpNet>);

impl Prefixes {
    #[must_use]
    pub const fn new(prefixes: Vec<IpNet>) -> Self {
        Self(prefixes)
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|prefix| prefix.contains(&address))
    }

    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

impl FromIterator<IpNet> for Prefixes {
    fn from_iter<T: IntoIterator<Item = IpNet>>(prefixes: T) -> Self {
        Self(prefixes.into_iter().collect())
    }
}

/// The packet's source belongs to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignSource(pub IpAddr);

impl fmt::Display for ForeignSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the source address {} was not assigned to this sender", self.0)
    }
}

impl core::error::Error for ForeignSource {}

/// RFC 2827 §3: a packet goes on only if its source lies within what its sender was given. An address that names no
/// host is refused even where the prefixes cover everything.
///
/// # Errors
/// If the source is not the sender's.
pub fn check(packet: &Packet<'_>, allowed: &Prefixes) -> Result<(), ForeignSource> {
    let source = packet.source();
    let names_a_host = match source {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_unspecified() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    };
    if names_a_host && allowed.contains(source) { Ok(()) } else { Err(ForeignSource(source)) }
}

#[cfg(test)]
mod tests;
