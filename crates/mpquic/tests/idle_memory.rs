//! What a connection holds while nothing happens on it, counted by the allocator: alone in its process, so that nothing
//! else is counted with it.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test function")]

use mpquic::{ClientConfig, Connection, Endpoint, Identity, Pin, ServerConfig, TransportConfig};
use mpquic_net::heap_in_use;
use std::time::Duration;
use tokio::time::sleep;

/// Connections that are counted, after as many that let tables and pools grow.
const COUNTED: usize = 200;
/// Bytes for one end of one connection. A step towards more is a decision, not an accident.
const BOUND: usize = 12_800;
/// Long enough for both ends to notice that nothing happens any more, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(5);

struct World {
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl World {
    fn new() -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let server = ServerConfig::new(identity, &[b"test"]).unwrap();
        let local = "127.0.0.1:0".parse().unwrap();
        Self {
            server: Endpoint::server(server.transport(forever()), &[local]).unwrap(),
            client: Endpoint::client(&[local]).unwrap(),
            config: ClientConfig::pinned(&[pin], &[b"test"]).unwrap().transport(forever()),
        }
    }

    async fn connect(&self) -> [Connection; 2] {
        let (local, peer) = (self.client.local_addrs()[0], self.server.local_addrs()[0]);
        let dial = self.client.connect(&self.config, "localhost", local, peer);
        let (near, far) = tokio::join!(dial, self.server.accept());
        [near.unwrap(), far.unwrap()]
    }
}

/// None of them may end while the others are made.
fn forever() -> TransportConfig {
    TransportConfig { max_idle_timeout: Duration::ZERO, ..TransportConfig::default() }
}

#[test]
fn an_idle_connection_holds_little() {
    if heap_in_use().is_none() {
        return println!("skipped: this C library does not say what its allocator handed out");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new();
        let mut kept = Vec::with_capacity(4 * COUNTED);
        let mut before = 0;
        for _ in 0..2 {
            before = heap_in_use().unwrap();
            for _ in 0..COUNTED {
                kept.extend(world.connect().await);
            }
            at_rest(before + 2 * COUNTED * BOUND).await;
        }
        let each = (heap_in_use().unwrap() - before) / (2 * COUNTED);
        println!("{each} bytes for one end of an idle connection");
        assert!(each <= BOUND, "{each} bytes");
        drop(kept);
    });
}

/// Waits until no more than that is in use, at most as long as patience lasts.
async fn at_rest(enough: usize) {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
        sleep(LOOK_EVERY).await;
        if heap_in_use().unwrap() <= enough {
            return;
        }
    }
}
