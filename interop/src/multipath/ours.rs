//! Our end, through its async API.

use super::Moved;
use crate::exchange::{ALPN, Load, answer, ask};
use crate::trust::{NAME, Trust};
use mpquic::policy::sched;
use mpquic::{ClientConfig, CloseReason, Connection, Endpoint, Pin, ServerConfig, TransportConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::sleep;

/// A connection's path counters are at most 50 ms old; after this much silence they are final.
const COUNTERS_SETTLE: Duration = Duration::from_millis(150);

/// Takes turns over all paths: by default we would leave the slower one alone until the quicker one is full, which the
/// small window of a peer on loopback may never achieve.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let scheduler = sched::ALL.iter().find(|entry| entry.name == "roundrobin");
    transport.set_scheduler(scheduler.expect("it is in the list"));
    transport
}

#[derive(Debug)]
pub(super) struct Server {
    endpoint: Endpoint,
}

impl Server {
    /// Listens on a port of its own on each of `links`.
    pub(super) fn bind(trust: &Trust, links: &[Ipv4Addr]) -> Self {
        let config = ServerConfig::new(trust.our_identity(), &[ALPN]).expect("an ALPN");
        let endpoint = Endpoint::server(config.transport(transport()), &any_ports(links));
        Self { endpoint: endpoint.expect("free ports") }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoint.local_addrs()
    }

    /// Serves one exchange on one connection, until the client closes it.
    pub(super) async fn serve(self) -> Vec<Moved> {
        let connection = self.endpoint.accept().await.expect("a client");
        let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
        answer(&mut send, &mut recv).await.expect("an exchange");
        let end = connection.closed().await;
        assert!(matches!(end, CloseReason::PeerApplication { code: 0, .. }), "{end}");
        let moved = moved(&connection);
        self.endpoint.shutdown().await;
        moved
    }
}

/// Connects from the first of `links` to the first of `servers`, opens a path from each other link to the server in the
/// same place and makes one exchange.
pub(super) async fn client(
    trust: &Trust,
    links: &[Ipv4Addr],
    servers: &[SocketAddr],
    load: Load,
) -> Vec<Moved> {
    let pins = [Pin::Certificate(trust.our_identity().fingerprint())];
    let config = ClientConfig::pinned(&pins, &[ALPN]).expect("a pin").transport(transport());
    let endpoint = Endpoint::client(&any_ports(links)).expect("free ports");
    let locals = endpoint.local_addrs();
    let connection = endpoint.connect(&config, NAME, locals[0], servers[0]).await.expect("a handshake");
    for (local, server) in locals.iter().zip(servers).skip(1) {
        connection.open_path(*local, *server, false).await.expect("a further path");
    }
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    ask(&mut send, &mut recv, load).await.expect("an exchange");
    sleep(COUNTERS_SETTLE).await;
    let moved = moved(&connection);
    connection.close(0, b"done");
    endpoint.shutdown().await;
    moved
}

fn any_ports(links: &[Ipv4Addr]) -> Vec<SocketAddr> {
    links.iter().map(|link| (*link, 0).into()).collect()
}

fn moved(connection: &Connection) -> Vec<Moved> {
    let paths = connection.paths();
    paths.iter().map(|p| Moved { path: p.id.0, sent: p.bytes_sent, received: p.bytes_received }).collect()
}
