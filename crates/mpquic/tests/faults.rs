//! What hosts do to packets: full sockets, routes and interfaces that vanish. Needs root for namespaces; elsewhere the
//! tests say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its world is built outside the test functions, and it says what it measured"
)]

mod far;

use far::{Far, play, sh};
use mpquic::{
    Bind, ClientConfig, Connection, Endpoint, Identity, PathStats, Pin, Rate, RecvStream, SendStream,
    ServerConfig,
};
use mpquic_base::Ecn;
use mpquic_engine::{Io, SendOutcome, SocketIo};
use mpquic_net::{Batch, Clock, ReceiveBatch, Socket, SocketOptions, pin_thread};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(60);

fn near(link: u8) -> SocketAddr {
    SocketAddr::from(([10, 78, link, 1], 0))
}

/// Datagrams of 1000 bytes, each full of its number.
fn numbered(from: u32, count: u32) -> Vec<u8> {
    (from..from + count).flat_map(|n| n.to_be_bytes().repeat(250)).collect()
}

/// Sends all through a socket that is full most of the time, and returns how often it was.
fn send_all(io: &mut SocketIo, peer: SocketAddr, batches: u32) -> u32 {
    let mut refusals = 0;
    for n in 0..batches {
        let bytes = numbered(n * 5, 5);
        let mut rest = &bytes[..];
        loop {
            let batch = Batch { bytes: rest, segment: 1000, local: near(0).ip(), peer, ecn: Ecn::Ect0 };
            match io.send(0, &batch) {
                SendOutcome::Sent => break,
                SendOutcome::Blocked { sent } => {
                    rest = &rest[sent * 1000..];
                    refusals += 1;
                    let until = io.now() + Duration::from_secs(5);
                    io.wait(Some(until), Duration::ZERO).unwrap();
                    assert!(io.now() < until, "the socket tells when it has room again");
                }
                other => panic!("{other:?} at batch {n}"),
            }
        }
    }
    refusals
}

#[test]
fn a_full_socket_is_waited_for_and_loses_doubles_and_reorders_nothing() {
    play(1, |far| {
        // A cable has a queue for each processor that puts something in, and two of them are emptied in any order.
        (0..64).find(|processor| pin_thread(*processor).is_ok()).unwrap();
        sh("tc qdisc add dev wan0 root tbf rate 40mbit burst 6kb limit 10mb");
        for disable_gso in [false, true] {
            let there =
                far.run(|| Socket::bind("10.78.0.2:0".parse().unwrap(), &SocketOptions::default()).unwrap());
            let options = SocketOptions { send_buffer: 4096, disable_gso, ..SocketOptions::default() };
            let socket = Socket::bind(near(0), &options).unwrap();
            let mut io = SocketIo::new(Clock::start(), vec![socket]).unwrap();
            let refusals = send_all(&mut io, there.local_addr(), 200);
            assert!(refusals > 20, "{refusals} refusals");
            let (mut arrivals, mut next) = (ReceiveBatch::new(), 0u32);
            for _ in 0..1000 {
                there.receive(&mut arrivals).unwrap();
                for bytes in arrivals.trains().flat_map(|(_, datagrams)| datagrams) {
                    assert_eq!(bytes, numbered(next, 1), "datagram {next}");
                    next += 1;
                }
                if next == 1000 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(next, 1000);
        }
    });
}

/// A client and a server over two links of 100 Mbit/s, with a stream under way in each direction.
struct World {
    near: Connection,
    peers: Vec<SocketAddr>,
    flows: [tokio::task::JoinHandle<()>; 2],
    _ends: [Endpoint; 2],
}

const BYTES: usize = 24_000_000;

fn pattern(at: usize) -> u8 {
    (at % 251).to_le_bytes()[0]
}

async fn write(mut send: SendStream) {
    let data: Vec<u8> = (0..BYTES).map(pattern).collect();
    send.write_all(&data).await.unwrap();
    send.finish().unwrap();
    send.finished().await.unwrap();
}

async fn read(mut recv: RecvStream) {
    let data = timeout(PATIENCE, recv.read_to_end(BYTES)).await.expect("in time").unwrap();
    assert_eq!(data.len(), BYTES);
    assert!(data.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "the bytes arrive unchanged");
}

impl World {
    async fn begin(far: &Far) -> Self {
        let bind = |local: SocketAddr| Bind {
            max_rate: Some(Rate::from_bits_per_second(100_000_000)),
            ..Bind::from(local)
        };
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let config = ClientConfig::pinned(&[Pin::Certificate(identity.fingerprint())], ALPN).unwrap();
        let there = [bind("10.78.0.2:0".parse().unwrap()), bind("10.78.1.2:0".parse().unwrap())];
        let server =
            far.run(move || Endpoint::server_on(ServerConfig::new(identity, ALPN).unwrap(), &there).unwrap());
        let client = Endpoint::client_on(&[bind(near(0)), bind(near(1))]).unwrap();
        let (locals, peers) = (client.local_addrs(), server.local_addrs());
        let dialled = client.connect(&config, "localhost", locals[0], peers[0]);
        let both = timeout(PATIENCE, async { tokio::join!(dialled, server.accept()) });
        let (near, far) = both.await.expect("in time");
        let (near, far) = (near.unwrap(), far.unwrap());
        timeout(PATIENCE, near.open_path(locals[1], peers[1], false)).await.unwrap().unwrap();
        let mut flows = Vec::new();
        for (from, to) in [(near.clone(), far.clone()), (far, near.clone())] {
            tokio::spawn(write(from.open_uni().await.unwrap()));
            flows.push(tokio::spawn(async move { read(to.accept_uni().await.unwrap()).await }));
        }
        let flows = flows.try_into().unwrap();
        Self { near, peers, flows, _ends: [client, server] }
    }

    fn path(&self, link: usize) -> PathStats {
        let paths = self.near.paths();
        *paths.iter().find(|p| p.tuple.peer == self.peers[link] && !p.closing).unwrap()
    }

    async fn until(&self, what: &str, goal: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !goal(self) {
                sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?}", self.near.paths());
    }

    async fn both_links_are_used(&self) {
        let used = |w: &Self| (0..2).all(|link| w.path(link).bytes_sent > 1_000_000);
        self.until("both links are used", used).await;
    }

    async fn all_arrived(self) {
        for flow in self.flows {
            flow.await.unwrap();
        }
    }
}

/// Plays in a runtime of the calling thread, whose namespace the client's sockets are in.
fn in_runtime(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story);
}

#[test]
fn a_route_that_vanishes_silences_its_path_at_once_and_costs_no_byte() {
    play(2, |far| {
        in_runtime(async move {
            let w = World::begin(&far).await;
            w.both_links_are_used().await;
            sh("ip route del 10.78.1.0/24");
            w.until("the path is silent", |w| w.path(1).silent).await;
            let before = (w.path(0).bytes_sent, w.path(1).packets_sent);
            w.until("the other goes on", |w| w.path(0).bytes_sent > before.0 + 2_000_000).await;
            let tries = w.path(1).packets_sent - before.1;
            assert!(tries < 50, "{tries} packets to a network that cannot be reached");
            sh("ip route add 10.78.1.0/24 dev wan1 src 10.78.1.1");
            w.until("the path is back", |w| !w.path(1).silent).await;
            w.all_arrived().await;
        });
    });
}

#[test]
fn an_interface_that_is_removed_in_the_middle_costs_no_byte() {
    play(2, |far| {
        in_runtime(async move {
            let w = World::begin(&far).await;
            w.both_links_are_used().await;
            sh("ip link del wan1");
            w.until("the path is silent", |w| w.path(1).silent).await;
            w.all_arrived().await;
        });
    });
}
