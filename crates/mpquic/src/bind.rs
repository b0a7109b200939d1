//! What a socket is bound to.

use mpquic_net::{Socket, SocketOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Where a socket of an endpoint is bound, and which way its packets leave. As a rule one per link.
///
/// An address of the link, or an unspecified one with the link's device; port 0 picks a free one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    pub address: SocketAddr,
    /// The network interface that all traffic of the socket uses, whatever the routing table says.
    pub device: Option<String>,
    /// The mark (`SO_MARK`) that routing rules and firewalls see. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Self { address, device: None, mark: None }
    }
}

impl Bind {
    pub(crate) fn open(&self) -> io::Result<Socket> {
        Socket::bind(self.address, &self.options())
    }

    /// The address that packets to `peer` leave from if the socket leaves the choice to the routing table.
    pub(crate) fn source_towards(&self, peer: SocketAddr) -> io::Result<IpAddr> {
        Socket::source_towards(peer, &self.options())
    }

    fn options(&self) -> SocketOptions {
        SocketOptions { device: self.device.clone(), mark: self.mark, ..SocketOptions::default() }
    }
}
