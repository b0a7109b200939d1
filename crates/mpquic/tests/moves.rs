//! A client's path that goes to other addresses, over real sockets on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

use mpquic::tls::{self, Ciphers, KeyLog};
use mpquic::{
    Bind, ClientConfig, Connection, Endpoint, Error, Identity, PathId, Pin, PreferredAddresses, Refused,
    ServerConfig, TransportConfig,
};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(30);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An address that nobody is bound to any more.
fn free() -> SocketAddr {
    UdpSocket::bind(any()).unwrap().local_addr().unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// One path between two ends, the server's on all of `binds`.
async fn connected(
    binds: &[SocketAddr],
    preferred: Option<SocketAddr>,
) -> (Endpoint, Endpoint, Connection, Connection) {
    let plain = TransportConfig { multipath: false, ..TransportConfig::default() };
    let preferred_address = preferred.map(|address| match address {
        SocketAddr::V4(v4) => PreferredAddresses { v4: Some(v4), v6: None },
        SocketAddr::V6(v6) => PreferredAddresses { v4: None, v6: Some(v6) },
    });
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let config = ClientConfig::pinned(&[Pin::Certificate(identity.fingerprint())], ALPN).unwrap();
    let server = ServerConfig::new(identity, ALPN).unwrap();
    let server = server.transport(TransportConfig { preferred_address, ..plain.clone() });
    let server = Endpoint::server(server, binds).unwrap();
    let client = Endpoint::client(&[any()]).unwrap();
    let (local, peer) = (client.local_addrs()[0], server.local_addrs()[0]);
    let near = client.connect(&config.transport(plain), "localhost", local, peer).await.unwrap();
    let far = server.accept().await.unwrap();
    (client, server, near, far)
}

/// Both ways once, and the addresses that the server's end has then.
async fn exchange(near: &Connection, far: &Connection) -> mpquic::FourTuple {
    let (mut send, mut recv) = near.open_bi().await.unwrap();
    send.write_all(b"there").await.unwrap();
    send.finish().unwrap();
    let (mut back, mut heard) = far.accept_bi().await.unwrap();
    assert_eq!(heard.read_to_end(100).await.unwrap(), b"there");
    back.write_all(b"and back").await.unwrap();
    back.finish().unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"and back");
    far.fresh_paths().await.unwrap()[0].tuple
}

#[tokio::test]
async fn a_client_goes_where_its_server_would_rather_be_reached() {
    in_time(async {
        let preferred = free();
        let (client, _server, near, far) = connected(&[any(), preferred], Some(preferred)).await;
        assert_eq!(near.preferred_addresses(), [preferred]);
        let local = client.local_addrs()[0];
        near.move_path(PathId::ZERO, local, preferred).await.unwrap();
        let tuple = exchange(&near, &far).await;
        assert_eq!((tuple.local, tuple.peer), (preferred, local));
        assert_eq!(near.fresh_paths().await.unwrap()[0].tuple.peer, preferred);
    })
    .await;
}

#[tokio::test]
async fn a_client_goes_on_from_another_socket() {
    in_time(async {
        let (client, server, near, far) = connected(&[any()], None).await;
        assert!(near.preferred_addresses().is_empty());
        let other = client.add_socket(&Bind::from(any())).await.unwrap();
        near.move_path(PathId::ZERO, other, server.local_addrs()[0]).await.unwrap();
        assert_eq!(exchange(&near, &far).await.peer, other);
        // The old socket is no longer needed.
        assert!(client.remove_socket(client.local_addrs()[0]).await);
        assert_eq!(exchange(&near, &far).await.peer, other);
    })
    .await;
}

#[tokio::test]
async fn a_move_that_comes_to_nothing_leaves_the_path_where_it_was() {
    in_time(async {
        // Nobody listens where the server says that it would rather be.
        let preferred = free();
        let (client, server, near, far) = connected(&[any()], Some(preferred)).await;
        let (local, peer) = (client.local_addrs()[0], server.local_addrs()[0]);
        let failed = near.move_path(PathId::ZERO, local, preferred).await;
        assert!(matches!(failed, Err(Error::PathFailed(_))), "{failed:?}");
        assert_eq!(exchange(&near, &far).await.local, peer);
        let unnamed = near.move_path(PathId::ZERO, local, free()).await;
        assert_eq!(unnamed, Err(Error::Refused(Refused::NotAllowed)));
        let server_side = far.move_path(PathId::ZERO, peer, local).await;
        assert_eq!(server_side, Err(Error::Refused(Refused::NotAllowed)));
    })
    .await;
}

#[tokio::test]
async fn a_tls_configuration_made_by_hand_is_the_one_that_counts() {
    in_time(async {
        let path = std::env::temp_dir().join(format!("mpquic-by-hand-{}", std::process::id()));
        let log = Arc::new(KeyLog::append_to(&path).unwrap());
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pins = [Pin::Certificate(identity.fingerprint())];
        let tls = tls::ClientConfig::pinned(&pins).unwrap().ciphers(Ciphers::ChaCha20).key_log(log);
        let config = ClientConfig::with_tls(tls.build(ALPN).unwrap());
        let tls = tls::ServerConfig::with_identity(identity).build(ALPN).unwrap();
        let server = Endpoint::server(ServerConfig::with_tls(tls), &[any()]).unwrap();
        let client = Endpoint::client(&[any()]).unwrap();
        let (local, peer) = (client.local_addrs()[0], server.local_addrs()[0]);
        let connection = client.connect(&config, "localhost", local, peer).await.unwrap();
        assert_eq!(connection.cipher(), Some("TLS13_CHACHA20_POLY1305_SHA256"));
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(written.contains("CLIENT_TRAFFIC_SECRET_0 "), "{written}");
    })
    .await;
}
