//! Sockets that come and go under living connections, over the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

use mpquic::{Bind, ClientConfig, Connection, Endpoint, Error, Identity, PathEvent, Pin, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl World {
    /// A server, and a client that has no socket yet.
    fn new() -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        Self {
            server: Endpoint::server(ServerConfig::new(identity, ALPN).unwrap(), &[any()]).unwrap(),
            client: Endpoint::client_on(&[]).unwrap(),
            config: ClientConfig::pinned(&[pin], ALPN).unwrap(),
        }
    }

    fn peer(&self) -> SocketAddr {
        self.server.local_addrs()[0]
    }

    async fn add(&self) -> SocketAddr {
        in_time(self.client.add_socket(&any().into())).await.unwrap()
    }

    async fn connect(&self, local: SocketAddr) -> (Connection, Connection) {
        let dialled = self.client.connect(&self.config, "localhost", local, self.peer());
        let (near, far) = in_time(async { tokio::join!(dialled, self.server.accept()) }).await;
        (near.unwrap(), far.unwrap())
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Sends a stream of `len` bytes from `from`, and returns a task that ends when all have arrived at `to`.
async fn transfer(from: &Connection, to: &Connection, len: usize) -> tokio::task::JoinHandle<()> {
    let mut send = from.open_uni().await.unwrap();
    let data: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let expected = data.clone();
    let to = to.clone();
    tokio::spawn(async move {
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
    });
    tokio::spawn(async move {
        let received = to.accept_uni().await.unwrap().read_to_end(len).await.unwrap();
        assert!(received == expected, "the bytes arrive unchanged");
    })
}

#[tokio::test]
async fn an_endpoint_without_sockets_connects_over_one_that_was_added() {
    let world = World::new();
    assert!(world.client.local_addrs().is_empty());
    let local = world.add().await;
    assert_eq!(world.client.local_addrs(), [local]);
    let (near, far) = world.connect(local).await;
    in_time(transfer(&near, &far, 100_000).await).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_changes_nothing() {
    let world = World::new();
    let local = world.add().await;
    assert!(world.client.add_socket(&local.into()).await.is_err());
    assert_eq!(world.client.local_addrs(), [local]);
    assert!(!world.client.remove_socket(any()).await, "no such socket");
    assert!(world.client.remove_socket(local).await);
    assert!(!world.client.remove_socket(local).await, "removed already");
    assert_eq!(world.client.add_socket(&local.into()).await.unwrap(), local, "the port is free again");
    world.client.shutdown().await;
    assert!(world.client.add_socket(&any().into()).await.is_err(), "after a shutdown");
}

#[tokio::test]
async fn a_removed_sockets_path_is_abandoned_and_its_data_takes_the_other() {
    let world = World::new();
    let (first, second) = (world.add().await, world.add().await);
    let (near, far) = world.connect(first).await;
    let path = in_time(near.open_path(second, world.peer(), false)).await.unwrap();
    let (up, down) = (transfer(&near, &far, 20_000_000).await, transfer(&far, &near, 20_000_000).await);
    sleep(Duration::from_millis(20)).await;
    assert!(world.client.remove_socket(first).await);
    in_time(up).await.unwrap();
    in_time(down).await.unwrap();
    let open: Vec<_> = near.paths().into_iter().filter(|p| !p.closing).map(|p| p.id).collect();
    assert_eq!(open, [path]);
    let refused = near.open_path(first, world.peer(), false).await;
    assert_eq!(refused, Err(Error::NoSuchAddress(first)));
}

#[tokio::test]
async fn a_connection_outlives_its_only_socket_and_goes_on_over_the_next() {
    let world = World::new();
    let first = world.add().await;
    let (near, far) = world.connect(first).await;
    let (up, down) = (transfer(&near, &far, 20_000_000).await, transfer(&far, &near, 20_000_000).await);
    sleep(Duration::from_millis(20)).await;
    assert!(world.client.remove_socket(first).await);
    sleep(Duration::from_millis(500)).await;
    assert!(near.paths().iter().all(|p| p.silent), "{:?}", near.paths());
    let second = world.add().await;
    let path = in_time(near.open_path(second, world.peer(), false)).await.unwrap();
    in_time(up).await.unwrap();
    in_time(down).await.unwrap();
    in_time(async { while near.path_event().await != Some(PathEvent::Closed(mpquic::PathId(0))) {} }).await;
    assert_eq!(near.paths().iter().map(|p| p.id).collect::<Vec<_>>(), [path]);
}

#[tokio::test]
async fn a_socket_that_returns_at_its_old_address_carries_its_path_again() {
    let world = World::new();
    let local = world.add().await;
    let (near, far) = world.connect(local).await;
    let up = transfer(&near, &far, 20_000_000).await;
    sleep(Duration::from_millis(20)).await;
    assert!(world.client.remove_socket(local).await);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.client.add_socket(&local.into()).await.unwrap(), local);
    in_time(up).await.unwrap();
    assert!(near.paths().iter().all(|p| !p.silent && !p.closing), "{:?}", near.paths());
}

/// Tells when a future can go on.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.send(()).ok();
    }
}

/// Waits until the answer for `future` is there, and gives up without looking at it. Returns an answer that came before
/// there was anything to give up.
fn give_up_when_answered<T>(future: impl Future<Output = T> + Send) -> Option<T> {
    let (ring, rung) = channel();
    let waker = Waker::from(Arc::new(Bell(ring)));
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => {
            rung.recv_timeout(PATIENCE).unwrap();
            None
        }
    }
}

#[tokio::test]
async fn what_was_given_up_when_the_answer_was_there_leaves_no_path_and_no_socket() {
    let world = World::new();
    let (first, second) = (world.add().await, world.add().await);
    let (near, _far) = world.connect(first).await;
    let closed = async || while !matches!(near.path_event().await, Some(PathEvent::Closed(_))) {};
    while let Some(path) = give_up_when_answered(near.open_path(second, world.peer(), false)) {
        near.abandon_path(path.unwrap()).await.unwrap();
        in_time(closed()).await;
    }
    in_time(closed()).await;
    assert_eq!(near.paths().len(), 1);
    let bind = Bind::from(any());
    while let Some(local) = give_up_when_answered(world.client.add_socket(&bind)) {
        assert!(world.client.remove_socket(local.unwrap()).await);
    }
    in_time(async {
        while world.client.local_addrs().len() > 2 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_counts_what_went_through_its_sockets_even_those_that_are_gone() {
    const LEN: usize = 1_000_000;
    let world = World::new();
    let local = world.add().await;
    let (near, far) = world.connect(local).await;
    in_time(transfer(&near, &far, LEN).await).await.unwrap();
    let before = world.client.stats().await.unwrap();
    assert!(before.datagrams_sent > LEN as u64 / 1452, "{before:?}");
    assert!(before.datagrams_sent > before.send_calls, "batches: {before:?}");
    assert!((1200..=1452).contains(&before.largest_sent) && before.over_limit == 0, "{before:?}");
    let server = world.server.stats().await.unwrap();
    assert!(server.datagrams_received > LEN as u64 / 1452 && server.accepted == 1, "{server:?}");
    assert!(world.client.remove_socket(local).await);
    let after = world.client.stats().await.unwrap();
    assert!(after.datagrams_sent >= before.datagrams_sent, "{after:?}");
    world.client.shutdown().await;
    assert_eq!(world.client.stats().await, None, "nobody is left to ask");
}
