//! What `quicbond server run` reads.

use super::kind::{Address, AnyNet, Count, FilePath, Flag, Interface, Lasting, List, Net4, Net6, Size};
use super::section::section;
use super::shared::{Log, Transport};
use super::{Paths, beside};
use core::time::Duration;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// Sockets per server; more would only be a slip of the pen.
const LISTEN_MAX: usize = 16;
const NETS_MAX: usize = 1024;
/// As many as an endpoint can have.
const THREADS_MAX: u32 = 64;

section! {
    /// Where the server listens and where its files are. A path that is not absolute counts from the folder of this
    /// file.
    pub(crate) struct Server {
        keys {
            /// Addresses and UDP ports that clients connect to.
            listen: Vec<SocketAddr> = any(443), List { of: Address, min: 1, max: LISTEN_MAX };
            /// Threads that do the protocol's work. More than one pays when a single processor cannot carry all clients
            /// together; one client never uses more than one of them.
            threads: u32 = 1, Count { min: 1, max: THREADS_MAX };
            /// The certificate (PEM). `quicbond server init` makes it; clients pin its public key.
            certificate: PathBuf = "certificate.pem".into(), FilePath;
            /// The private key that belongs to the certificate (PEM). Only the server may be able to read it.
            key: PathBuf = "key.pem".into(), FilePath;
            /// The tenants and their secrets, written by `quicbond server tenant`.
            tenants: PathBuf = "tenants.toml".into(), FilePath;
            /// The socket on which `quicbond status` asks.
            control: PathBuf = super::SERVER_CONTROL.into(), FilePath;
        }
        sections {
            network: Network;
            targets: Targets;
            limits: Limits;
            transport: Transport;
            log: Log;
        }
    }
}

section! {
    /// The network inside the tunnel.
    pub(crate) struct Network {
        keys {
            /// Name of the TUN interface.
            interface: String = "quicbond".to_owned(), Interface;
            /// Clients get their IPv4 addresses from here; the server itself takes the first.
            ipv4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 181, 0, 0), 16),
                Net4 { shortest: 8, longest: 30 };
            /// Clients get one IPv6 address each from here; the server itself takes the first.
            ipv6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd51, 0xbd, 0, 0, 0, 0, 0, 0), 64),
                Net6 { shortest: 32, longest: 120 };
            /// Hide the clients behind the server's own addresses (masquerade). Without it, the networks above have to
            /// be routed to this server.
            nat: bool = true, Flag;
        }
        sections {}
    }
}

section! {
    /// What clients may reach through the server.
    pub(crate) struct Targets {
        keys {
            /// Networks that clients can reach although they are private.
            allow: Vec<IpNet> = Vec::new(), List { of: AnyNet, min: 0, max: NETS_MAX };
            /// These networks can never be reached, whatever `allow` says.
            deny: Vec<IpNet> = Vec::new(), List { of: AnyNet, min: 0, max: NETS_MAX };
            /// Let clients reach private networks behind the server (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,
            /// 100.64.0.0/10, fc00::/7). Loopback and link-local addresses need an entry in `allow`.
            allow_private: bool = false, Flag;
        }
        sections {}
    }
}

section! {
    /// How much anybody can use up.
    pub(crate) struct Limits {
        keys {
            /// Clients connected at once, of all tenants; more are refused.
            clients: u32 = 256, Count { min: 1, max: 65_536 };
            /// TCP and UDP flows of one tenant at once, unless the tenant has a limit of its own.
            flows_per_tenant: u32 = 16_384, Count { min: 1, max: 1_000_000 };
            /// Bytes that one session may keep in memory in each direction; then its senders have to pause. What several
            /// fast links with long delays need: the sum of their rates times the longest round trip, twice.
            session_buffer: u64 = 64 * MIB, Size { min: MIB, max: 1024 * MIB };
            /// Failed authentications of one address (IPv6: one /64) in a minute; further attempts are refused unread.
            auth_failures_per_minute: u32 = 10, Count { min: 1, max: 10_000 };
            /// A client that has not been heard of for this long is gone, and its address is free.
            idle_timeout: Duration = Duration::from_secs(60),
                Lasting { min: Duration::from_secs(5), max: Duration::from_secs(3600) };
        }
        sections {}
    }
}

impl Network {
    /// The server's own address inside the tunnel: the first of the network.
    pub(crate) fn server_v4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.ipv4.network().to_bits() + 1)
    }

    /// As [`Network::server_v4`].
    pub(crate) fn server_v6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.ipv6.network().to_bits() + 1)
    }
}

impl Paths for Server {
    fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.certificate, &mut self.key, &mut self.tenants, &mut self.control] {
            beside(folder, path);
        }
    }

    fn contradiction(&self) -> Option<String> {
        let twice = (1..self.listen.len()).find(|&i| self.listen[..i].contains(&self.listen[i]))?;
        Some(format!("listen names {} twice; remove one", self.listen[twice]))
    }
}

/// Every address of this host, in both families.
pub(crate) fn any(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}
