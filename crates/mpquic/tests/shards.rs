//! Endpoints of several threads: every datagram reaches its connection, whatever port it comes from.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

mod relay;

use mpquic::{
    ClientConfig, CloseReason, Connection, Endpoint, Error, Identity, Pin, ServerConfig, ShardStats, Threads,
    TransportConfig,
};
use relay::Relay;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(120);
const SHARDS: u16 = 4;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An address for one server alone: its datagrams are counted, so nobody else's may find their way there.
fn own() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)], 0))
}

fn threads(shards: u16, kernel_steering: bool) -> Threads {
    Threads { shards, kernel_steering, ..Threads::default() }
}

struct World {
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl World {
    fn new(server: Threads, client: &Threads, transport: TransportConfig) -> Self {
        Self::with_secret(server, client, transport, own(), [7; 32])
    }

    fn with_secret(
        server: Threads,
        client: &Threads,
        transport: TransportConfig,
        address: SocketAddr,
        secret: [u8; 32],
    ) -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let config = ServerConfig::with_secret(identity, ALPN, secret).unwrap().threads(server);
        Self {
            server: Endpoint::server(config.transport(transport.clone()), &[address]).unwrap(),
            client: Endpoint::client_with(&[any().into()], client).unwrap(),
            config: ClientConfig::pinned(&[pin], ALPN).unwrap().transport(transport),
        }
    }

    fn address(&self) -> SocketAddr {
        self.server.local_addrs()[0]
    }

    async fn relay(&self) -> Relay {
        Relay::between(self.client.local_addrs()[0], self.address()).await
    }

    async fn dial(&self, peer: SocketAddr) -> Connection {
        let local = self.client.local_addrs()[0];
        in_time(self.client.connect(&self.config, "localhost", local, peer)).await.unwrap()
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The server sends everything back on the stream it came by.
fn serve(server: &Endpoint) {
    let server = server.clone();
    tokio::spawn(async move {
        while let Some(connection) = server.accept().await {
            tokio::spawn(async move {
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    tokio::spawn(async move {
                        tokio::io::copy(&mut recv, &mut send).await.ok();
                        send.finish().ok();
                    });
                }
            });
        }
    });
}

async fn echo(connection: &Connection, len: usize) {
    let data: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let (mut send, mut recv) = in_time(connection.open_bi()).await.unwrap();
    in_time(send.write_all(&data)).await.unwrap();
    send.finish().unwrap();
    assert!(in_time(recv.read_to_end(len)).await.unwrap() == data, "the bytes come back unchanged");
}

/// Each connection is all its own from here: they talk at the same time.
async fn all_echo(connections: &[Connection]) {
    let mut talks = JoinSet::new();
    for connection in connections {
        let connection = connection.clone();
        talks.spawn(async move { echo(&connection, 3000).await });
    }
    talks.join_all().await;
}

fn sum(stats: &[ShardStats], what: impl Fn(&ShardStats) -> u64) -> u64 {
    stats.iter().map(what).sum()
}

/// 200 connections, each behind a relay of its own that changes its port towards the server again and again.
async fn two_hundred_wanderers(kernel_steering: bool) {
    let world = World::new(threads(SHARDS, kernel_steering), &Threads::default(), TransportConfig::default());
    serve(&world.server);
    let (mut relays, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let relay = world.relay().await;
        connections.push(world.dial(relay.address()).await);
        relays.push(relay);
    }
    all_echo(&connections).await;
    for _ in 0..3 {
        if !world.server.is_steered() {
            // Datagrams from two ports come by way of two threads, so that one may overtake the other, and with it the
            // connection ID that it gives up. So nothing is under way when a port changes.
            settled(&world.server, &relays).await;
        }
        for relay in &relays {
            relay.rebind().await;
        }
        all_echo(&connections).await;
    }
    let stats = settled(&world.server, &relays).await;
    let arrived = sum(&stats, |s| s.counters.datagrams_received - s.counters.taken_over);
    let passed_on: u64 = relays.iter().map(Relay::passed_on).sum();
    assert_eq!(arrived, passed_on, "datagrams at the sockets, {stats:?}");
    assert_eq!(sum(&stats, |s| s.endpoint.datagrams_received), passed_on, "each was judged by one shard");
    assert_eq!(sum(&stats, |s| s.endpoint.unroutable), 0, "each found its connection: {stats:?}");
    assert_eq!(sum(&stats, |s| s.counters.forward_dropped), 0);
    assert!(stats.iter().all(|s| s.connections >= 20), "{stats:?}");
    let forwarded = sum(&stats, |s| s.counters.forwarded);
    assert_eq!(forwarded, sum(&stats, |s| s.counters.taken_over));
    if world.server.is_steered() {
        assert_eq!(forwarded, 0, "the kernel found every shard");
    } else {
        assert!(forwarded > passed_on / 2, "{forwarded} of {passed_on} came to the wrong shard");
    }
    assert!(stats.iter().all(|s| s.pool.allocated <= 1024 && s.pool.exhausted == 0), "{stats:?}");
}

/// The server's statistics once nothing is under way any more.
async fn settled(server: &Endpoint, relays: &[Relay]) -> Vec<ShardStats> {
    let mut before = 0;
    for _ in 0..200 {
        sleep(Duration::from_millis(50)).await;
        let stats = server.shard_stats().await;
        let passed_on: u64 = relays.iter().map(Relay::passed_on).sum();
        if before == passed_on && sum(&stats, |s| s.endpoint.datagrams_received) == passed_on {
            return stats;
        }
        before = passed_on;
    }
    server.shard_stats().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_finds_the_shard_of_every_datagram_from_whatever_port_it_comes() {
    two_hundred_wanderers(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_kernels_help_the_shards_pass_datagrams_on_and_none_is_lost() {
    two_hundred_wanderers(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_transfers_pass_through_wrong_shards_unchanged() {
    let world = World::new(threads(SHARDS, false), &threads(SHARDS, false), TransportConfig::default());
    serve(&world.server);
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(world.dial(world.address()).await);
    }
    let mut talks = JoinSet::new();
    for connection in connections {
        talks.spawn(async move { echo(&connection, 3_000_000).await });
    }
    talks.join_all().await;
    for endpoint in [&world.server, &world.client] {
        let stats = endpoint.shard_stats().await;
        assert!(sum(&stats, |s| s.counters.forwarded) > 1000, "{stats:?}");
        assert_eq!(sum(&stats, |s| s.endpoint.unroutable), 0, "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_one_connection_all_move_while_some_are_greedy() {
    const STREAMS: usize = 1000;
    const GREEDY: usize = 10;
    let transport = TransportConfig { max_streams_bidi: STREAMS as u64, ..TransportConfig::default() };
    let world = World::new(threads(SHARDS, true), &Threads::default(), transport);
    serve(&world.server);
    let connection = world.dial(world.address()).await;
    let mut greedy = JoinSet::new();
    for _ in 0..GREEDY {
        let (mut send, mut recv) = in_time(connection.open_bi()).await.unwrap();
        greedy.spawn(async move { while send.write_all(&[1; 16_384]).await.is_ok() {} });
        greedy.spawn(async move { while let Ok(Some(_)) = recv.read(&mut [0; 16_384]).await {} });
    }
    // All are open at once, and none ends before each has had something back.
    let all_moved = Arc::new(Barrier::new(STREAMS - GREEDY));
    let mut talks = JoinSet::new();
    for n in 0..STREAMS - GREEDY {
        let (connection, all_moved) = (connection.clone(), Arc::clone(&all_moved));
        talks.spawn(async move {
            let byte = n.to_le_bytes()[0];
            let (mut send, mut recv) = in_time(connection.open_bi()).await.unwrap();
            in_time(send.write_all(&[byte; 1000])).await.unwrap();
            let mut first = [0; 1];
            assert_eq!(in_time(recv.read(&mut first)).await.unwrap(), Some(1));
            in_time(all_moved.wait()).await;
            send.finish().unwrap();
            assert!(in_time(recv.read_to_end(1000)).await.unwrap() == [byte; 999]);
        });
    }
    while let Some(talk) = talks.join_next().await {
        talk.unwrap();
        for endpoint in [&world.server, &world.client] {
            for shard in endpoint.shard_stats().await {
                // Each connection may have 32 transmissions under way, and ACKs besides.
                assert!(shard.waiting <= 64 && shard.pool.allocated <= 1024, "{shard:?}");
            }
        }
        if talks.len() % 100 != 0 {
            while talks.len() % 100 != 0 && talks.join_next().await.transpose().unwrap().is_some() {}
        }
    }
    greedy.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateless_reset_finds_the_shard_of_its_connection() {
    let (many, one) = (threads(SHARDS, true), Threads::default());
    let world = World::new(one.clone(), &many, TransportConfig::default());
    serve(&world.server);
    let mut connections = Vec::new();
    for _ in 0..16 {
        connections.push(world.dial(world.address()).await);
    }
    all_echo(&connections).await;
    // The server vanishes without a word, and another life of it, with the same secret, has its address.
    let relay = world.relay().await;
    let lost = world.dial(relay.address()).await;
    echo(&lost, 100).await;
    let reborn = World::with_secret(one, &many, TransportConfig::default(), any(), [7; 32]);
    relay.aim(reborn.address()).await;
    let mut opened = Vec::new();
    let closed = in_time(async {
        loop {
            match lost.open_uni().await {
                Ok(mut stream) => {
                    stream.write_all(&[1; 100]).await.ok();
                    opened.push(stream);
                    sleep(Duration::from_millis(20)).await;
                }
                Err(Error::Closed(reason)) => return reason,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(closed.await, CloseReason::StatelessReset);
    all_echo(&connections).await;
    let stats = world.client.shard_stats().await;
    // More than one if more was sent before the first came back.
    assert!(sum(&stats, |s| s.endpoint.resets_received) >= 1, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_come_and_go_on_every_shard() {
    let world = World::new(threads(SHARDS, true), &threads(2, true), TransportConfig::default());
    serve(&world.server);
    let first = world.client.local_addrs()[0];
    let second = in_time(world.client.add_socket(&any().into())).await.unwrap();
    assert_eq!(world.client.local_addrs(), [first, second]);
    assert!(world.client.add_socket(&second.into()).await.is_err(), "taken");
    let mut connections = Vec::new();
    for _ in 0..4 {
        let connection = world.dial(world.address()).await;
        in_time(connection.open_path(second, world.address(), false)).await.unwrap();
        connections.push(connection);
    }
    assert!(in_time(world.client.remove_socket(first)).await);
    assert!(!in_time(world.client.remove_socket(first)).await);
    all_echo(&connections).await;
    let stats = world.client.shard_stats().await;
    assert!(stats.len() == 2 && stats.iter().all(|s| s.connections == 2), "in turn: {stats:?}");
    world.server.shutdown().await;
    assert!(world.server.accept().await.is_none() && world.server.shard_stats().await.is_empty());
}

#[test]
fn the_number_of_shards_is_bounded() {
    for shards in [0, 65] {
        let refused = Endpoint::client_with(&[any().into()], &threads(shards, true)).unwrap_err();
        assert_eq!(refused.to_string(), format!("an endpoint has 1 to 64 shards, not {shards}"));
    }
    assert!(Endpoint::client_with(&[any().into()], &threads(64, true)).is_ok());
}
