//! CONNECT-IP (RFC 9484): the request's scope, and the capsules that configure addresses and routes.
//!
//! What this module gives out has passed the RFC's rules; what it is asked to encode has to as well.

mod capsules;
mod scope;

pub use crate::connect_udp::Invalid;
pub use capsules::{
    ADDRESS_ASSIGN, ADDRESS_REQUEST, AssignedAddress, CapsuleRefused, Configuration, IpRange, LIMITS,
    ROUTE_ADVERTISEMENT, RequestedAddress,
};
pub use scope::{Scope, Target};

use std::net::IpAddr;

/// The value of `:protocol`.
pub const PROTOCOL: &str = "connect-ip";
/// RFC 9484 §5: the context id of whole IP packets.
pub const CONTEXT: u64 = 0;

/// An address and how many of its bits matter; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// # Errors
    /// If `len` is more than the address has bits, or bits beyond it are set.
    pub const fn new(address: IpAddr, len: u8) -> Result<Self, Invalid> {
        let (bits, width) = match address {
            IpAddr::V4(v4) => ((v4.to_bits() as u128) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        if len > width {
            return Err(Invalid("a prefix longer than the address"));
        }
        if len < 128 && bits << len != 0 {
            return Err(Invalid("an address with bits beyond its prefix"));
        }
        Ok(Self { address, len })
    }

    /// The address alone.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let len = if address.is_ipv4() { 32 } else { 128 };
        Self { address, len }
    }

    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the RFC's name; no prefix is empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether it names one address only.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.len == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

#[cfg(test)]
mod tests;
