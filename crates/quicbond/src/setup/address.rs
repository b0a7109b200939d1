//! Where clients may find this host, for a server that was not told.

use crate::token::{DEFAULT_PORT, ServerAddress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses for documentation (RFC 5737, RFC 3849): routed like any other, and nobody's.
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// The address that this host's packets to the Internet come from. Sends nothing.
pub(super) fn guess() -> Option<ServerAddress> {
    let source = SOMEWHERE.into_iter().find_map(source_towards)?;
    ServerAddress::new(source.to_string(), DEFAULT_PORT).ok()
}

/// Whether clients on the Internet cannot reach `address`.
pub(super) fn is_private(address: &ServerAddress) -> bool {
    match address.ip() {
        Some(IpAddr::V4(v4)) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4),
        Some(IpAddr::V6(v6)) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
        None => false,
    }
}

/// RFC 6598: 100.64.0.0/10.
fn is_shared(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    a == 100 && (64..128).contains(&b)
}

fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a UDP socket asks for a route and sends nothing.
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}
