//! Tasks that wait for streams: one is woken for all of them, and none is forgotten.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

use mpquic::{ClientConfig, Connection, Endpoint, Identity, Pin, RecvStream, ServerConfig};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(60);

/// The two ends of a connection, and what keeps them alive.
async fn connected() -> (Connection, Connection, [Endpoint; 2]) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let config = ClientConfig::pinned(&[Pin::Certificate(identity.fingerprint())], ALPN).unwrap();
    let server = Endpoint::server(ServerConfig::new(identity, ALPN).unwrap(), &[any]).unwrap();
    let client = Endpoint::client(&[any]).unwrap();
    let dialled = client.connect(&config, "localhost", client.local_addrs()[0], server.local_addrs()[0]);
    let (near, far) = in_time(async { tokio::join!(dialled, server.accept()) }).await;
    (near.unwrap(), far.unwrap(), [client, server])
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Reads one byte, but says first that it waits for it and then keeps its thread busy until it is let go.
fn read_late(stream: &mut RecvStream, waits: impl FnOnce(), let_go: impl FnOnce()) {
    let mut byte = [0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut read = pin!(stream.read(&mut byte));
        let came = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
        assert!(!came, "nobody has written");
        waits();
        let_go();
        assert_eq!(in_time(read).await.unwrap(), Some(1));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_does_not_come_when_it_is_woken_holds_up_no_other() {
    let (near, far, _endpoints) = connected().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut send = in_time(far.open_uni()).await.unwrap();
        in_time(send.write_all(b"-")).await.unwrap();
        let mut recv = in_time(near.accept_uni()).await.unwrap();
        assert_eq!(in_time(recv.read(&mut [0])).await.unwrap(), Some(1));
        streams.push((send, recv));
    }
    let [(mut to_late, mut late), (mut to_other, mut other)] = <[_; 2]>::try_from(streams).ok().unwrap();
    for _ in 0..50 {
        let ((waits, waiting), (release, released)) = (channel(), channel());
        let thread = std::thread::spawn(move || {
            read_late(&mut late, || waits.send(()).unwrap(), || released.recv_timeout(PATIENCE).unwrap());
            late
        });
        waiting.recv_timeout(PATIENCE).unwrap();
        let read = tokio::spawn(async move {
            let mut byte = [0];
            let got = other.read(&mut byte).await;
            (got, other)
        });
        // Both leave in one packet, as a rule.
        let (one, two) = tokio::join!(to_late.write_all(b"-"), to_other.write_all(b"-"));
        one.and(two).unwrap();
        let (got, back) = timeout(PATIENCE / 4, read).await.expect("not held up").unwrap();
        assert_eq!(got.unwrap(), Some(1));
        other = back;
        release.send(()).unwrap();
        late = thread.join().unwrap();
    }
}
