//! Between a client and a server: a UDP forwarder that sees what both send, can change its port towards the server as a NAT
//! does, and can send a connection to another server.
//!
//! It reads what is readable without keys (RFC 8999, RFC 9000 §17.2, RFC 9369 §3.2) and is the witness that no stack can
//! talk into anything: sizes of datagrams, Retry, 0-RTT, versions. It runs on a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

/// Larger than any datagram.
const DATAGRAM_MAX: usize = 1 << 16;
const BUFFER: usize = 4 << 20;

/// What passed in one direction.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    pub datagrams: u64,
    pub bytes: u64,
    /// Bytes of the largest datagram.
    pub largest: usize,
    pub initial: u64,
    pub early: u64,
    pub handshake: u64,
    pub retry: u64,
    pub version_negotiation: u64,
    /// Of packets with a long header.
    pub versions: BTreeSet<u32>,
}

/// What passed so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the client to the server.
    pub up: Passed,
    pub down: Passed,
    /// Changes of the port towards the server.
    pub rebinds: u64,
}

#[derive(Debug)]
enum Order {
    Rebind,
    Redirect(SocketAddr),
    Delay(Duration),
}

#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// Closed when dropped, which ends the thread.
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// # Errors
    /// What the system says about sockets or the thread.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let front = bind()?;
        let address = front.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (orders, inbox) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let noted = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("relay".into()).spawn(move || {
            // Its sockets are gone only when the test is: nobody is left to be told.
            runtime.block_on(forward(front, server, inbox, &noted)).ok();
        })?;
        Ok(Self { address, seen, orders: Some(orders), thread: Some(thread) })
    }

    /// Where clients send to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn seen(&self) -> Seen {
        locked(&self.seen).clone()
    }

    /// From now on the server sees the client at another port; what goes to the old one is lost.
    pub fn rebind(&self) {
        self.order(Order::Rebind);
    }

    /// From now on the client's datagrams go to another server.
    pub fn redirect(&self, server: SocketAddr) {
        self.order(Order::Redirect(server));
    }

    /// From now on every datagram to the client takes that long, one after the other.
    pub fn delay(&self, by: Duration) {
        self.order(Order::Delay(by));
    }

    fn order(&self, order: Order) {
        // If the thread has ended, the test fails for want of answers.
        self.orders.as_ref().and_then(|orders| orders.send(order).ok());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.orders = None;
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}

async fn forward(
    front: std::net::UdpSocket,
    mut server: SocketAddr,
    mut orders: UnboundedReceiver<Order>,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    let front = UdpSocket::from_std(front)?;
    let mut back = UdpSocket::from_std(bind()?)?;
    let (mut client, mut delay) = (None, Duration::ZERO);
    let (mut up, mut down) = (vec![0; DATAGRAM_MAX], vec![0; DATAGRAM_MAX]);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Rebind) => {
                    back = UdpSocket::from_std(bind()?)?;
                    locked(seen).rebinds += 1;
                }
                Some(Order::Redirect(to)) => server = to,
                Some(Order::Delay(by)) => delay = by,
                None => return Ok(()),
            },
            // A refusal is about a datagram sent earlier, to a port that is closed by now.
            arrived = front.recv_from(&mut up) => if let Ok((len, from)) = arrived {
                client = Some(from);
                locked(seen).up.note(&up[..len]);
                back.send_to(&up[..len], server).await.ok();
            },
            arrived = back.recv_from(&mut down) => if let (Ok((len, _)), Some(client)) = (arrived, client) {
                locked(seen).down.note(&down[..len]);
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                front.send_to(&down[..len], client).await.ok();
            },
        }
    }
}

fn bind() -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(&socket);
    // As much as the system grants.
    options.set_recv_buffer_size(BUFFER)?;
    options.set_send_buffer_size(BUFFER)?;
    Ok(socket)
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passed {
    fn note(&mut self, datagram: &[u8]) {
        self.datagrams += 1;
        self.bytes += datagram.len() as u64;
        self.largest = self.largest.max(datagram.len());
        let mut rest = datagram;
        while let Some((version, kind, len)) = long_packet(rest) {
            self.versions.insert(version);
            match kind {
                Kind::Initial => self.initial += 1,
                Kind::Early => self.early += 1,
                Kind::Handshake => self.handshake += 1,
                Kind::Retry => self.retry += 1,
                Kind::VersionNegotiation => self.version_negotiation += 1,
            }
            rest = rest.get(len..).unwrap_or_default();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Initial,
    Early,
    Handshake,
    Retry,
    VersionNegotiation,
}

/// RFC 9369 §3.1.
const VERSION_2: u32 = 0x6b33_43cf;

/// Version, kind and length of a packet with a long header at the beginning of `bytes`.
fn long_packet(bytes: &[u8]) -> Option<(u32, Kind, usize)> {
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    let version = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?);
    if version == 0 {
        return Some((version, Kind::VersionNegotiation, bytes.len()));
    }
    // RFC 9369 §3.2: version 2 has the same kinds, each one number on.
    let number = ((first >> 4) + if version == VERSION_2 { 3 } else { 0 }) & 3;
    let kind = [Kind::Initial, Kind::Early, Kind::Handshake, Kind::Retry][usize::from(number)];
    if kind == Kind::Retry {
        return Some((version, kind, bytes.len()));
    }
    let mut at = 5;
    for _ in 0..2 {
        at += 1 + usize::from(*bytes.get(at)?);
    }
    if kind == Kind::Initial {
        let (token, width) = varint(bytes.get(at..)?)?;
        at += width + token;
    }
    let (length, width) = varint(bytes.get(at..)?)?;
    Some((version, kind, at + width + length))
}

/// RFC 9000 §16: a number and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    let width = 1 << (first >> 6);
    let rest = bytes.get(1..width)?.iter();
    let number = rest.fold(usize::from(first & 0x3f), |number, byte| (number << 8) | usize::from(*byte));
    Some((number, width))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Passed, Relay, long_packet};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    /// A packet with empty connection IDs, an empty token and `payload` bytes.
    fn packet(first: u8, version: u32, token: bool, payload: u8) -> Vec<u8> {
        let mut bytes = vec![first];
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(token.then_some(0));
        bytes.push(payload);
        bytes.extend(std::iter::repeat_n(0xee, payload.into()));
        bytes
    }

    #[test]
    fn coalesced_packets_are_told_apart() {
        let mut passed = Passed::default();
        let packets = [packet(0xc3, 1, true, 20), packet(0xd1, 1, false, 30), packet(0xe0, 1, false, 5)];
        passed.note(&[packets.concat(), vec![0x40, 1, 2]].concat());
        assert_eq!((passed.initial, passed.early, passed.handshake, passed.retry), (1, 1, 1, 0));
        assert_eq!((passed.datagrams, passed.largest), (1, 9 + 20 + 8 + 30 + 8 + 5 + 3));
        assert!(passed.versions.iter().eq(&[1]));
    }

    #[test]
    fn version_2_numbers_its_kinds_anew() {
        let kind = |first| long_packet(&packet(first, super::VERSION_2, first >> 4 == 0xd, 9)).unwrap().1;
        assert_eq!(
            [0xc0, 0xd0, 0xe0, 0xf0].map(kind),
            [Kind::Retry, Kind::Initial, Kind::Early, Kind::Handshake]
        );
    }

    #[test]
    fn what_is_cut_or_short_is_no_long_packet() {
        assert_eq!(long_packet(&[]), None);
        assert_eq!(long_packet(&[0x40; 100]), None);
        let whole = packet(0xc0, 1, true, 50);
        assert!((0..9).all(|len| long_packet(&whole[..len]).is_none()));
    }

    #[test]
    fn after_a_rebinding_the_server_sees_another_port_and_the_client_the_same() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        let relay = Relay::start(server.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 100];
        let mut ports = Vec::new();
        for round in 0..2 {
            client.send_to(b"ping", relay.address()).unwrap();
            let (n, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"ping");
            ports.push(from.port());
            server.send_to(b"pong", from).unwrap();
            assert_eq!(client.recv_from(&mut buffer).unwrap(), (4, relay.address()));
            if round == 0 {
                relay.rebind();
                while relay.seen().rebinds == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        assert_ne!(ports[0], ports[1]);
        assert_eq!((relay.seen().up.datagrams, relay.seen().down.datagrams), (2, 2));
    }
}
