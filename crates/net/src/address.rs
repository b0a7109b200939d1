//! Socket addresses as the kernel lays them out.
//!
//! Written and read byte by byte, so that no pointer is ever cast: `sockaddr_in` is family, port and address;
//! `sockaddr_in6` has flow label and scope around it. Port and addresses are big-endian, the rest is the host's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Size of `sockaddr_in6`, the larger of the two.
pub(crate) const NAME_BYTES: usize = 28;
/// Size of `sockaddr_in`.
const NAME_V4_BYTES: usize = 16;

/// A peer's address in the kernel's form.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

impl Name {
    /// Room for the kernel to write into.
    pub(crate) const EMPTY: Self = Self { bytes: [0; NAME_BYTES], len: NAME_BYTES };

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut name = Self::EMPTY;
        let b = &mut name.bytes;
        b[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                b[..2].copy_from_slice(&family(libc::AF_INET).to_ne_bytes());
                b[4..8].copy_from_slice(&v4.ip().octets());
                name.len = NAME_V4_BYTES;
            }
            SocketAddr::V6(v6) => {
                b[..2].copy_from_slice(&family(libc::AF_INET6).to_ne_bytes());
                b[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                b[8..24].copy_from_slice(&v6.ip().octets());
                b[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            }
        }
        name
    }

    /// The address, unless the kernel left something else than IPv4 or IPv6 here.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let b = self.as_slice();
        let kind = u16::from_ne_bytes(array(b, 0)?);
        let port = u16::from_be_bytes(array(b, 2)?);
        if kind == family(libc::AF_INET) {
            return Some(SocketAddrV4::new(Ipv4Addr::from(array::<4>(b, 4)?), port).into());
        }
        if kind != family(libc::AF_INET6) {
            return None;
        }
        let ip = Ipv6Addr::from(array::<16>(b, 8)?);
        let scope = u32::from_ne_bytes(array(b, 24)?);
        // The flow label belongs to a packet, not to the peer: two addresses must not differ by it.
        Some(SocketAddrV6::new(ip, port, 0, scope).into())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn room(&mut self) -> &mut [u8; NAME_BYTES] {
        &mut self.bytes
    }

    /// Notes how much the kernel wrote.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len.min(NAME_BYTES);
    }
}

/// `N` bytes at `at`, if there are as many.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "address families are tiny numbers"
)]
const fn family(kind: libc::c_int) -> u16 {
    kind as u16
}

#[cfg(test)]
mod tests {
    use super::Name;
    use std::net::{SocketAddr, SocketAddrV6};

    #[test]
    fn addresses_survive_the_kernels_form() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 0, 7);
        for address in ["192.0.2.1:4433".parse().unwrap(), "[2001:db8::9]:1".parse().unwrap(), scoped.into()]
        {
            assert_eq!(Name::new(address).address(), Some(address));
        }
    }

    #[test]
    fn the_form_is_the_one_that_socket2_writes() {
        for address in ["192.0.2.1:4433", "[2001:db8::9]:65535"].map(|a| a.parse::<SocketAddr>().unwrap()) {
            let theirs = socket2::SockAddr::from(address);
            assert_eq!(Name::new(address).as_slice().len(), theirs.len() as usize);
            let (ip, port) = (Name::new(address), address.port().to_be_bytes());
            assert_eq!(ip.as_slice()[2..4], port);
            assert_eq!(u16::from_ne_bytes([ip.as_slice()[0], ip.as_slice()[1]]), theirs.family());
        }
    }

    #[test]
    fn a_cut_or_foreign_name_is_no_address() {
        let mut name = Name::new("192.0.2.1:4433".parse().unwrap());
        name.set_len(7);
        assert_eq!(name.address(), None);
        let mut unix = Name::EMPTY;
        unix.room()[0] = 1;
        assert_eq!(unix.address(), None);
    }
}
