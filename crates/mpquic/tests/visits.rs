//! Clients that come back: address tokens, tickets, and what is said before the handshake is complete. Over real sockets
//! on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test; its world is built outside the test functions")]

use mpquic::{
    Admission, ClientConfig, Connection, Endpoint, Identity, Pin, RetryPolicy, ServerConfig, TransportConfig,
};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::timeout;

const ALPN: &[&[u8]] = &[b"test"];
const PATIENCE: Duration = Duration::from_secs(30);
const SAID: &[u8] = b"said before the handshake was complete";

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// Configurations that fit, with tickets and 0-RTT on both sides.
fn configs() -> (ClientConfig, ServerConfig) {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let pin = Pin::Certificate(identity.fingerprint());
    let client = ClientConfig::pinned(&[pin], ALPN).unwrap().early_data(true);
    (client, ServerConfig::new(identity, ALPN).unwrap().early_data(true))
}

fn retrying(config: &ServerConfig) -> ServerConfig {
    config.clone().admission(Admission { retry: RetryPolicy::Always, ..Admission::default() })
}

struct World {
    server: Endpoint,
    client: Endpoint,
    config: ClientConfig,
}

impl World {
    fn new(client: ClientConfig, server: ServerConfig) -> Self {
        Self {
            server: Endpoint::server(server, &[any()]).unwrap(),
            client: Endpoint::client(&[any()]).unwrap(),
            config: client,
        }
    }

    fn peer(&self) -> SocketAddr {
        self.server.local_addrs()[0]
    }

    fn dial(&self, peer: SocketAddr) -> mpquic::Connecting {
        self.client.connect(&self.config, "localhost", self.client.local_addrs()[0], peer)
    }

    /// A whole visit: both ends of a connection on which the server had its say, tickets and tokens included.
    async fn visit(&self, peer: SocketAddr) -> (Connection, Connection) {
        let (near, far) = in_time(async { tokio::join!(self.dial(peer), self.server.accept()) }).await;
        let (near, far) = (near.unwrap(), far.unwrap());
        in_time(far.handshake_completed()).await.unwrap();
        let mut send = in_time(far.open_uni()).await.unwrap();
        send.write_all(b"welcome").await.unwrap();
        send.finish().unwrap();
        let mut recv = in_time(near.accept_uni()).await.unwrap();
        assert_eq!(in_time(recv.read_to_end(100)).await.unwrap(), b"welcome");
        (near, far)
    }
}

/// Carries datagrams between a client and a server, keeps the client's, and holds the server's back when told to.
struct Relay {
    front: SocketAddr,
    held: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    fn to(server: SocketAddr) -> Self {
        let (front, back) = (UdpSocket::bind(any()).unwrap(), UdpSocket::bind(any()).unwrap());
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        }
        let (held, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (client, seen) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let address = front.local_addr().unwrap();
        let up = {
            let (front, back) = (front.try_clone().unwrap(), back.try_clone().unwrap());
            let (stop, client, seen) = (Arc::clone(&stop), Arc::clone(&client), Arc::clone(&seen));
            move || {
                let mut datagram = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((len, from)) = front.recv_from(&mut datagram) else { continue };
                    *client.lock().unwrap() = Some(from);
                    seen.lock().unwrap().push(datagram[..len].to_vec());
                    back.send_to(&datagram[..len], server).unwrap();
                }
            }
        };
        let down = {
            let (held, stop) = (Arc::clone(&held), Arc::clone(&stop));
            move || {
                let (mut datagram, mut waiting) = ([0; 2048], Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(len) = back.recv(&mut datagram) {
                        waiting.push(datagram[..len].to_vec());
                    }
                    let to = *client.lock().unwrap();
                    if let Some(to) = to.filter(|_| !held.load(Ordering::Relaxed)) {
                        waiting.drain(..).for_each(|bytes| drop(front.send_to(&bytes, to)));
                    }
                }
            }
        };
        let threads = vec![std::thread::spawn(up), std::thread::spawn(down)];
        Self { front: address, held, stop, seen, threads }
    }

    fn hold(&self, on: bool) {
        self.held.store(on, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A connection that said something before the server could answer, over a relay that still holds the answers back.
async fn said_early(world: &World, relay: &Relay) -> (Connection, mpquic::RecvStream) {
    relay.hold(true);
    let near = in_time(world.dial(relay.front).into_early()).await.expect("a ticket for early data");
    assert!(!near.is_established());
    let (mut send, recv) = in_time(near.open_bi()).await.unwrap();
    assert!(send.is_early() && recv.is_early());
    send.write_all(SAID).await.unwrap();
    send.finish().unwrap();
    (near, recv)
}

#[tokio::test]
async fn a_token_of_the_last_visit_spares_the_second_retry() {
    let (client, server) = configs();
    let world = World::new(client, retrying(&server));
    let (near, far) = world.visit(world.peer()).await;
    assert!(near.retried() && far.retried());
    let (near, far) = world.visit(world.peer()).await;
    assert!(!near.retried() && !far.retried());
}

#[tokio::test]
async fn without_being_asked_no_server_sends_its_clients_around() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let (near, far) = world.visit(world.peer()).await;
    assert!(!near.retried() && !far.retried());
}

#[tokio::test]
async fn exported_tokens_spare_another_endpoint_the_retry() {
    let (client, server) = configs();
    let mut world = World::new(client, retrying(&server));
    world.visit(world.peer()).await;
    let exported = in_time(world.client.export_tokens()).await;
    world.client = Endpoint::client(&[any()]).unwrap();
    assert!(world.client.import_tokens(b"garbage").is_err());
    assert_eq!(world.client.import_tokens(&exported).unwrap(), 1);
    let (near, _far) = world.visit(world.peer()).await;
    assert!(!near.retried());
    assert!(world.client.import_tokens(&in_time(world.client.export_tokens()).await).is_ok());
}

#[tokio::test]
async fn a_ticket_spares_the_certificate_once_both_ends_remember() {
    let (client, server) = configs();
    let plain = client.clone().early_data(false).resumption(0);
    let mut world = World::new(client.early_data(false).resumption(4), server);
    let (near, far) = world.visit(world.peer()).await;
    assert!(!near.resumed() && !far.resumed());
    let certificate = near.peer_certificate().unwrap().to_vec();
    let (near, far) = world.visit(world.peer()).await;
    assert!(near.resumed() && far.resumed());
    assert_eq!(near.peer_certificate(), Some(&certificate[..]));
    assert!(!in_time(near.early_data_accepted()).await.unwrap());
    // A client that keeps no tickets.
    world.config = plain;
    world.visit(world.peer()).await;
    let (near, _far) = world.visit(world.peer()).await;
    assert!(!near.resumed());
}

#[tokio::test]
async fn on_a_first_visit_nothing_can_be_said_early() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let connecting = in_time(world.dial(world.peer()).into_early()).await.expect_err("there is no ticket");
    let near = in_time(connecting).await.unwrap();
    assert!(near.is_established() && !in_time(near.early_data_accepted()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_early_is_heard_before_the_client_heard_anything() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let relay = Relay::to(world.peer());
    world.visit(relay.front).await;
    let (near, mut answer) = said_early(&world, &relay).await;
    let far = in_time(world.server.accept()).await.unwrap();
    let (mut send, mut recv) = in_time(far.accept_bi()).await.unwrap();
    assert!(send.is_early() && recv.is_early());
    assert_eq!(in_time(recv.read_to_end(100)).await.unwrap(), SAID);
    assert!(!far.is_established() && !near.is_established());
    send.write_all(b"heard").await.unwrap();
    send.finish().unwrap();
    relay.hold(false);
    assert!(in_time(near.early_data_accepted()).await.unwrap());
    assert!(in_time(far.early_data_accepted()).await.unwrap());
    assert_eq!(in_time(answer.read_to_end(100)).await.unwrap(), b"heard");
    assert!(near.resumed() && far.resumed());
    let (mut later, _recv) = in_time(near.open_bi()).await.unwrap();
    assert!(!later.is_early());
    later.write_all(b"later").await.unwrap();
    let (_send, recv) = in_time(far.accept_bi()).await.unwrap();
    assert!(!recv.is_early());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_to_hear_early_is_said_again() {
    let (client, server) = configs();
    let mut world = World::new(client, server.clone());
    let relay = Relay::to(world.peer());
    world.visit(relay.front).await;
    // The same identity, but it remembers no session.
    world.server = Endpoint::server(server.early_data(true), &[any()]).unwrap();
    let relay = Relay::to(world.peer());
    let (near, mut answer) = said_early(&world, &relay).await;
    relay.hold(false);
    assert!(!in_time(near.early_data_accepted()).await.unwrap());
    let far = in_time(world.server.accept()).await.unwrap();
    let (mut send, mut recv) = in_time(far.accept_bi()).await.unwrap();
    assert!(far.is_established() && !recv.is_early());
    assert_eq!(in_time(recv.read_to_end(100)).await.unwrap(), SAID);
    send.write_all(b"heard").await.unwrap();
    send.finish().unwrap();
    assert_eq!(in_time(answer.read_to_end(100)).await.unwrap(), b"heard");
    assert!(!near.resumed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_the_first_flight_reaches_no_application() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let relay = Relay::to(world.peer());
    world.visit(relay.front).await;
    relay.seen.lock().unwrap().clear();
    let (near, _answer) = said_early(&world, &relay).await;
    let far = in_time(world.server.accept()).await.unwrap();
    let (_send, mut recv) = in_time(far.accept_bi()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(100)).await.unwrap(), SAID);
    let flight = relay.seen.lock().unwrap().clone();
    assert!(flight.len() >= 2, "a hello and early data");
    let stranger = UdpSocket::bind(any()).unwrap();
    for datagram in &flight {
        stranger.send_to(datagram, world.peer()).unwrap();
    }
    // The server begins a handshake with the stranger; that is all.
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(stranger.recv(&mut [0; 2048]).unwrap() >= 1200);
    assert!(timeout(Duration::from_millis(300), world.server.accept()).await.is_err());
    relay.hold(false);
    assert!(in_time(near.early_data_accepted()).await.unwrap());
    assert!(timeout(Duration::from_millis(300), world.server.accept()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_dropped_before_its_handshake_leaves_nothing_behind() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let relay = Relay::to(world.peer());
    world.visit(relay.front).await;
    let (near, answer) = said_early(&world, &relay).await;
    let far = in_time(world.server.accept()).await.unwrap();
    drop((near, answer));
    relay.hold(false);
    in_time(far.closed()).await;
}

#[tokio::test]
async fn both_ends_say_what_was_agreed_on_and_change_keys_when_asked() {
    let (client, server) = configs();
    let world = World::new(client, server);
    let (near, far) = world.visit(world.peer()).await;
    for end in [&near, &far] {
        assert_eq!((end.version(), end.cipher()), (Some(1), Some("TLS13_AES_128_GCM_SHA256")));
    }
    near.update_keys().await.unwrap();
    in_time(async {
        while near.stats().counters.key_updates == 0 || far.stats().counters.key_updates == 0 {
            let mut send = near.open_uni().await.unwrap();
            send.write_all(b"something to acknowledge").await.unwrap();
            send.finish().unwrap();
            far.accept_uni().await.unwrap().read_to_end(100).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!((near.stats().counters.key_updates, far.stats().counters.key_updates), (1, 1));
}

#[tokio::test]
async fn an_unusual_transport_is_kept_by_every_choice() {
    // The order in which a configuration is made up plays no part.
    let (client, server) = configs();
    let transport = TransportConfig { max_streams_bidi: 1, ..TransportConfig::default() };
    let world = World::new(client, server.transport(transport).resumption(9).early_data(true));
    let (near, _far) = world.visit(world.peer()).await;
    let _one = in_time(near.open_bi()).await.unwrap();
    assert!(timeout(Duration::from_millis(100), near.open_bi()).await.is_err());
}
