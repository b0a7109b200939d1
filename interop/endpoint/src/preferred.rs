//! Where a server would rather be reached: the next port of each of its addresses.

use crate::Failure;
use mpquic::PreferredAddresses;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses of documentation (RFC 5737 and RFC 3849): nothing is sent there, they only ask the routing table which
/// address of ours leads out.
const OUT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OUT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Any port will do.
const DISCARD: u16 = 9;

/// Further addresses to listen on besides `listen`, and how clients reach them.
pub(crate) fn beside(listen: &[SocketAddr]) -> Result<(Vec<SocketAddr>, PreferredAddresses), Failure> {
    let (mut further, mut preferred) = (Vec::new(), PreferredAddresses::default());
    for address in listen {
        let next = next_port(*address).map_err(|e| Failure::new(address, e))?;
        further.push(next);
        match reachable(next) {
            Some(SocketAddr::V4(v4)) => preferred.v4 = preferred.v4.or(Some(v4)),
            Some(SocketAddr::V6(v6)) => preferred.v6 = preferred.v6.or(Some(v6)),
            // No way out in this family, so nobody comes in either.
            None => {}
        }
    }
    Ok((further, preferred))
}

fn next_port(address: SocketAddr) -> std::io::Result<SocketAddr> {
    match address.port().checked_add(1) {
        Some(next) if next > 1 => Ok(SocketAddr::new(address.ip(), next)),
        // Any free one.
        _ => UdpSocket::bind(SocketAddr::new(address.ip(), 0))?.local_addr(),
    }
}

fn reachable(address: SocketAddr) -> Option<SocketAddr> {
    if !address.ip().is_unspecified() {
        return Some(address);
    }
    let out = if address.is_ipv4() { OUT_V4 } else { OUT_V6 };
    let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).ok()?;
    socket.connect((out, DISCARD)).ok()?;
    Some(SocketAddr::new(socket.local_addr().ok()?.ip(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn the_next_port_of_a_definite_address_is_preferred() {
        let listen = ["127.0.0.1:4433".parse().unwrap(), "[::1]:4433".parse().unwrap()];
        let (further, preferred) = beside(&listen).unwrap();
        assert_eq!(further, ["127.0.0.1:4434".parse().unwrap(), "[::1]:4434".parse().unwrap()]);
        assert_eq!(preferred.v4, Some("127.0.0.1:4434".parse().unwrap()));
        assert_eq!(preferred.v6, Some("[::1]:4434".parse().unwrap()));
    }

    #[test]
    fn a_port_that_was_not_chosen_has_a_neighbour_all_the_same() {
        let (further, preferred) = beside(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        assert!(further[0].port() > 0);
        assert_eq!(preferred.v4.map(Into::into), Some(further[0]));
    }
}
