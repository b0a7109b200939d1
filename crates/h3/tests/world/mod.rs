//! Two endpoints on the loopback interface, with HTTP/3 on one end or on both.

#![allow(dead_code, reason = "each test file uses what it needs")]

pub(crate) mod bytes;

use mpquic::{ClientConfig, Connection, Endpoint, Identity, Pin, ServerConfig, TransportConfig};
use mpquic_h3::{ALPN, Client, Server};
use std::net::SocketAddr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) server: Endpoint,
    pub(crate) client: Endpoint,
    config: ClientConfig,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(TransportConfig::default())
    }

    pub(crate) fn with(transport: TransportConfig) -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let server = ServerConfig::new(identity, &[ALPN]).unwrap().transport(transport.clone());
        Self {
            server: Endpoint::server(server, &[any()]).unwrap(),
            client: Endpoint::client(&[any()]).unwrap(),
            config: ClientConfig::pinned(&[pin], &[ALPN]).unwrap().transport(transport),
        }
    }

    /// The client's and the server's end of a connection without HTTP/3.
    pub(crate) async fn connect(&self) -> (Connection, Connection) {
        let local = self.client.local_addrs()[0];
        let dial = self.client.connect(&self.config, "localhost", local, self.server.local_addrs()[0]);
        let (near, far) = tokio::join!(dial, self.server.accept());
        (near.unwrap(), far.unwrap())
    }

    pub(crate) async fn pair(&self) -> (Client, Server) {
        let (near, far) = self.connect().await;
        let (client, server) = tokio::join!(Client::start(near), Server::start(far));
        (client.unwrap(), server.unwrap())
    }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251).to_le_bytes()[0]).collect()
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}
