//! Limits of links, and threads that are tied down or never sleep.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test; its world is built outside the test functions, and it says what it measured"
)]

use mpquic::{
    Bind, ClientConfig, Connection, Endpoint, Identity, KernelPacing, Pin, Rate, ServerConfig, Threads,
};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(60);

fn any() -> Bind {
    Bind::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())
}

fn capped(bits: u64) -> Bind {
    Bind { max_rate: Some(Rate::from_bits_per_second(bits)), ..any() }
}

struct World {
    server: Endpoint,
    client: Endpoint,
    near: Connection,
    far: Connection,
}

impl World {
    async fn new(binds: &[Bind], threads: &Threads) -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let config = ClientConfig::pinned(&[pin], ALPN).unwrap();
        let server = Endpoint::server_on(ServerConfig::new(identity, ALPN).unwrap(), &[any()]).unwrap();
        let client = Endpoint::client_with(binds, threads).unwrap();
        let dialled = client.connect(&config, "localhost", client.local_addrs()[0], server.local_addrs()[0]);
        let (near, far) = in_time(async { tokio::join!(dialled, server.accept()) }).await;
        Self { near: near.unwrap(), far: far.unwrap(), server, client }
    }

    /// How long it takes until so many bytes of the client have arrived.
    async fn send(&self, bytes: usize) -> Duration {
        let started = Instant::now();
        let mut send = in_time(self.near.open_uni()).await.unwrap();
        let far = self.far.clone();
        let receiver = tokio::spawn(async move { far.accept_uni().await.unwrap().read_to_end(bytes).await });
        in_time(send.write_all(&vec![3; bytes])).await.unwrap();
        send.finish().unwrap();
        assert_eq!(in_time(receiver).await.unwrap().unwrap().len(), bytes);
        started.elapsed()
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_keeps_below_its_limit_and_is_free_again_when_that_is_lifted() {
    let world = World::new(&[capped(16_000_000)], &Threads::default()).await;
    let took = world.send(2_000_000).await;
    println!("2 MB at 16 Mbit/s: {took:?}");
    // One second for the bytes alone, a little more with headers; the burst and what was in flight before come off.
    assert!(took > Duration::from_millis(990), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let stats = world.client.shard_stats().await;
    // Batches of a millisecond of the limit, or two packets: about seven hundred.
    assert!(stats[0].counters.throttled > 300, "{stats:?}");
    assert!(stats[0].pool.allocated <= 128, "the limit's queue is short: {stats:?}");
    let local = world.client.local_addrs()[0];
    assert!(world.client.set_max_rate(local, None));
    assert!(!world.client.set_max_rate("127.0.0.1:1".parse().unwrap(), None), "no such socket");
    let free = world.send(2_000_000).await;
    assert!(free < took, "{free:?} without a limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_link_does_not_hold_back_the_other() {
    let begun = Instant::now();
    let world = World::new(&[capped(2_000_000), any()], &Threads::default()).await;
    let free = world.client.local_addrs()[1];
    in_time(world.near.open_path(free, world.server.local_addrs()[0], false)).await.unwrap();
    let took = world.send(40_000_000).await;
    println!("40 MB over 2 Mbit/s and a free link: {took:?}");
    // The limited one alone would need 160 s.
    assert!(took < Duration::from_secs(20), "{took:?}");
    let limited = world.near.paths().into_iter().find(|p| p.tuple.local != free).unwrap();
    // The handshake is never held back, and what it sent is paid for later.
    let allowed = Rate::from_bits_per_second(2_000_000).bytes_in(begun.elapsed()) + 20_000;
    assert!(limited.bytes_sent < allowed, "{} of {allowed} bytes", limited.bytes_sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn departure_times_are_handed_to_the_kernel_if_that_is_asked_for() {
    let asked = Bind { kernel_pacing: KernelPacing::Always, ..any() };
    let world = World::new(&[asked], &Threads::default()).await;
    world.send(5_000_000).await;
    let stats = world.client.shard_stats().await;
    assert_eq!((stats[0].counters.failed, stats[0].counters.cancelled), (0, 0), "{stats:?}");
}

/// The processors that each of our threads named `name` may run on.
fn allowed(name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of_name = tasks
        .filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name));
    of_name
        .filter_map(|t| {
            let status = std::fs::read_to_string(t.path().join("status")).ok()?;
            Some(status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned())
        })
        .collect()
}

#[test]
fn threads_run_where_they_are_told_and_an_endpoint_without_its_processor_does_not_begin() {
    // The third is this test's own name for a thread: nobody else here has as many.
    let threads = Threads { shards: 3, processors: vec![0], ..Threads::default() };
    let client = match Endpoint::client_with(&[any()], &threads) {
        Ok(client) => client,
        Err(error) => return println!("skipped: processor 0 is not ours ({error})"),
    };
    assert_eq!(allowed("mpquic-2"), ["0"]);
    drop(client);
    let nowhere = Threads { processors: vec![1020], ..threads };
    let refused = Endpoint::client_with(&[any()], &nowhere).unwrap_err();
    assert!(refused.to_string().contains("cannot be tied to processor 1020"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_thread_looks_for_packets_without_sleeping() {
    let mut turns = Vec::new();
    for busy_poll in [Duration::ZERO, Duration::from_millis(300)] {
        let world = World::new(&[any()], &Threads { busy_poll, ..Threads::default() }).await;
        world.send(1000).await;
        let before = world.client.shard_stats().await[0].counters.turns;
        sleep(Duration::from_millis(200)).await;
        turns.push(world.client.shard_stats().await[0].counters.turns - before);
    }
    println!("turns in 200 ms: {turns:?}");
    assert!(turns[1] > 200 && turns[1] > 4 * turns[0], "{turns:?}");
}
