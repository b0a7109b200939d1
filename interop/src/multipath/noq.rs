//! noq's end.

use super::Moved;
use crate::exchange::{Load, answer, ask};
use crate::stack::Terms;
use crate::trust::{NAME, Trust};
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{
    ClientConfig, Connection, ConnectionError, Endpoint, FourTuple, PathId, PathStatus, ServerConfig,
    TransportConfig, VarInt,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// noq closes a connection by itself ("too many gaps in stream buffer") when reordering between paths leaves more
/// than a fixed number of holes in a stream, which above about 1.2 MB of receive window happens all the time. That is a
/// defect of noq's; below that its buffer never gets fragmented enough.
const RECEIVE_WINDOW: u32 = 1_000_000;
/// noq sends on its first path until that is full, which on loopback it hardly ever is. Its pacing limit counts for each
/// path, so this makes it need the others, in bytes per second.
const RATE_MAX: u64 = 40_000_000;
/// Paths that it allows at once.
const PATHS_MAX: u32 = 4;
/// How long our limits on paths may take to reach it.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(5);

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_multipath_paths(PATHS_MAX)
        .max_outgoing_bytes_per_second(Some(RATE_MAX))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW));
    Arc::new(transport)
}

#[derive(Debug)]
pub(super) struct Server {
    endpoint: Endpoint,
}

impl Server {
    /// Listens on one port of all addresses.
    pub(super) fn bind(trust: &Trust) -> Self {
        let tls = QuicServerConfig::try_from(trust.rustls_server(&Terms::default())).expect("TLS 1.3");
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(transport());
        let endpoint = Endpoint::server(config, (Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
        Self { endpoint }
    }

    pub(super) fn port(&self) -> u16 {
        self.endpoint.local_addr().expect("it is bound").port()
    }

    /// Serves one exchange on one connection, until the client closes it.
    pub(super) async fn serve(self) -> Vec<Moved> {
        let connection = self.endpoint.accept().await.expect("a client").await.expect("a handshake");
        let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
        answer(&mut send, &mut recv).await.expect("an exchange");
        // The client closes once it has everything.
        let end = connection.closed().await;
        assert!(matches!(end, ConnectionError::ApplicationClosed(_)), "{end}");
        let moved = moved(&connection);
        self.endpoint.wait_idle().await;
        moved
    }
}

fn moved(connection: &Connection) -> Vec<Moved> {
    let stats = (0..PATHS_MAX).filter_map(|id| Some((id, connection.path_stats(PathId::from(id))?)));
    stats.map(|(path, s)| Moved { path, sent: s.udp_tx.bytes, received: s.udp_rx.bytes }).collect()
}

/// Connects to the first of `servers`, opens a path to each of the others and makes one exchange.
pub(super) async fn client(trust: &Trust, servers: &[SocketAddr], load: Load) -> Vec<Moved> {
    let tls = QuicClientConfig::try_from(trust.rustls_client(&Terms::default())).expect("TLS 1.3");
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
    let connecting = endpoint.connect_with(config, servers[0], NAME).expect("a usable configuration");
    let connection = connecting.await.expect("a handshake");
    // A handle of each path keeps its counters.
    let mut opened = Vec::new();
    for &server in &servers[1..] {
        // From the address it goes to: loopback addresses are all ours.
        let tuple = FourTuple::new(server, Some(server.ip()));
        let path = async {
            loop {
                match connection.open_path(tuple, PathStatus::Available).await {
                    Ok(path) => return path,
                    Err(_) => sleep(RETRY_EVERY).await,
                }
            }
        };
        opened.push(timeout(PATIENCE, path).await.expect("a second path"));
    }
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    ask(&mut send, &mut recv, load).await.expect("an exchange");
    let moved = moved(&connection);
    connection.close(VarInt::from_u32(0), b"done");
    endpoint.wait_idle().await;
    moved
}
