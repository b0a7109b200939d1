//! quinn 0.11: one path.

use super::Moved;
use crate::exchange::{Load, answer, ask};
use crate::trust::{NAME, Trust};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, ServerConfig, VarInt};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
}

impl Server {
    /// # Panics
    /// If there is no port to listen on.
    #[must_use]
    pub fn bind(trust: &Trust) -> Self {
        let tls = QuicServerConfig::try_from(trust.rustls_server()).expect("TLS 1.3");
        let config = ServerConfig::with_crypto(Arc::new(tls));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Self { endpoint }
    }

    /// # Panics
    /// Never, in practice.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.endpoint.local_addr().expect("it is bound").port()
    }

    /// Serves one exchange on one connection, until the client closes it.
    ///
    /// # Panics
    /// If anything is not as it should be.
    pub async fn serve(self) -> Vec<Moved> {
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
    let stats = connection.stats();
    vec![Moved { path: 0, sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }]
}

/// Connects and makes one exchange.
///
/// # Panics
/// If anything is not as it should be.
pub async fn client(trust: &Trust, server: SocketAddr, load: Load) -> Vec<Moved> {
    let tls = QuicClientConfig::try_from(trust.rustls_client()).expect("TLS 1.3");
    let config = ClientConfig::new(Arc::new(tls));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let connecting = endpoint.connect_with(config, server, NAME).expect("a usable configuration");
    let connection = connecting.await.expect("a handshake");
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    ask(&mut send, &mut recv, load).await.expect("an exchange");
    let moved = moved(&connection);
    connection.close(VarInt::from_u32(0), b"done");
    endpoint.wait_idle().await;
    moved
}
