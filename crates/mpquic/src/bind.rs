//! What a socket is bound to.

use mpquic_base::Rate;
use mpquic_net::{KernelPacing, Socket, SocketOptions, Throttle};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Where a socket of an endpoint is bound, and which way its packets leave. As a rule one per link.
///
/// An address of the link, or an unspecified one with the link's device; port 0 picks a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub address: SocketAddr,
    /// The network interface that all traffic of the socket uses, whatever the routing table says.
    pub device: Option<String>,
    /// The mark (`SO_MARK`) that routing rules and firewalls see. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// What may leave through the socket at most, packet headers included, whatever congestion control allows; for the
    /// way to change it later see [`crate::Endpoint::set_max_rate`].
    pub max_rate: Option<Rate>,
    /// Who waits until a packet is due: the kernel if the interface's queueing discipline is `fq`, else the endpoint's
    /// own thread, unless it is said here.
    pub kernel_pacing: KernelPacing,
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Self {
        Self { address, device: None, mark: None, max_rate: None, kernel_pacing: KernelPacing::default() }
    }
}

impl Bind {
    /// One socket for each of `shards` threads, and what bounds them together.
    pub(crate) fn open(
        &self,
        shards: usize,
        busy_poll: Duration,
    ) -> io::Result<(Vec<Socket>, Arc<Throttle>)> {
        let throttle = Arc::new(Throttle::new(self.max_rate));
        let options = SocketOptions {
            kernel_pacing: self.kernel_pacing,
            throttle: Some(Arc::clone(&throttle)),
            busy_poll,
            ..self.options()
        };
        Ok((Socket::bind_group(self.address, &options, shards)?, throttle))
    }

    /// The address that packets to `peer` leave from if the socket leaves the choice to the routing table.
    pub(crate) fn source_towards(&self, peer: SocketAddr) -> io::Result<IpAddr> {
        Socket::source_towards(peer, &self.options())
    }

    fn options(&self) -> SocketOptions {
        SocketOptions { device: self.device.clone(), mark: self.mark, ..SocketOptions::default() }
    }
}
