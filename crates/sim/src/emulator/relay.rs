//! The sockets of one emulated link: one that clients send to, and one towards the server per client.
//!
//! Knows addresses and sockets; neither time nor what the link does to a packet.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Clients per link that the relay remembers; one more replaces the one that was silent the longest.
pub(super) const MAX_FLOWS: usize = 256;
/// Asked for per socket, so that a turn that comes late loses nothing; the kernel may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

pub(super) struct Relay {
    server: SocketAddr,
    pub(super) towards_clients: UdpSocket,
    flows: Vec<Flow>,
    by_client: HashMap<SocketAddr, usize>,
    uses: u64,
    /// Changes of the address that flows have towards a server on this host.
    moves: u8,
}

/// One client address.
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    /// Connected to the server; its port is what the NAT gave out.
    pub(super) towards_server: UdpSocket,
    /// Counts the clients that have had this slot.
    pub(super) tenant: u64,
    last_use: u64,
}

impl Relay {
    pub(super) fn bind(server: SocketAddr) -> io::Result<Self> {
        let towards_clients = udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { server, towards_clients, flows: Vec::new(), by_client: HashMap::new(), uses: 0, moves: 0 })
    }

    pub(super) fn client_addr(&self) -> io::Result<SocketAddr> {
        self.towards_clients.local_addr()
    }

    pub(super) fn flow(&self, slot: usize) -> Option<&Flow> {
        self.flows.get(slot)
    }

    /// The slot of `client`, and whether it has a new socket that nobody polls yet.
    pub(super) fn flow_of(&mut self, client: SocketAddr) -> io::Result<(usize, bool)> {
        self.uses += 1;
        if let Some(&slot) = self.by_client.get(&client) {
            self.flows[slot].last_use = self.uses;
            return Ok((slot, false));
        }
        let towards_server = self.towards_server()?;
        let oldest = (0..self.flows.len()).min_by_key(|&slot| self.flows[slot].last_use);
        let slot = match oldest {
            Some(slot) if self.flows.len() >= MAX_FLOWS => {
                self.by_client.remove(&self.flows[slot].client);
                let tenant = self.flows[slot].tenant + 1;
                self.flows[slot] = Flow { client, towards_server, tenant, last_use: self.uses };
                slot
            }
            _ => {
                self.flows.push(Flow { client, towards_server, tenant: 0, last_use: self.uses });
                self.flows.len() - 1
            }
        };
        self.by_client.insert(client, slot);
        Ok((slot, true))
    }

    pub(super) fn slots(&self) -> usize {
        self.flows.len()
    }

    /// Gives the client in `slot` a new port towards the server; what the server sends to the old one is lost.
    pub(super) fn rebind(&mut self, slot: usize) -> io::Result<()> {
        self.flows[slot].towards_server = self.towards_server()?;
        Ok(())
    }

    /// From now on flows have another address towards the server, as far as this host has one: all of 127.0.0.0/8 is its
    /// own. They get it when they are made, or by [`Relay::rebind`].
    pub(super) fn change_address(&mut self) {
        self.moves = self.moves.wrapping_add(1);
    }

    fn towards_server(&self) -> io::Result<UdpSocket> {
        let ip: IpAddr = match self.server.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::new(127, 0, self.moves, 1).into(),
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = udp(SocketAddr::new(ip, 0))?;
        socket.connect(self.server)?;
        Ok(socket)
    }
}

fn udp(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&SockAddr::from(bind))?;
    Ok(socket.into())
}
