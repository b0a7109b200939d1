//! The machine and TLS together: what has to agree between them and shows in no test of either alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use mpquic_base::{Dir, Ecn, FourTuple, Rng, Role, StreamId, Time};
use mpquic_proto::{
    Admission, ConnectionId, Endpoint, Event, Fate, Read, Received, RetryPolicy, TransportConfig,
};
use mpquic_tls::{ClientConfig, Identity, Pin, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;

const SAID: &[u8] = b"said before the handshake";

struct World {
    now: Time,
    client: Endpoint,
    server: Endpoint,
    tls: Arc<ServerConfig>,
    config: mpquic_proto::ClientConfig,
    events: Vec<Event>,
    accepted: Option<ConnectionId>,
}

impl World {
    fn new(versions: &[u32], retry: RetryPolicy, early: bool) -> Self {
        Self::unlike(versions, &self::versions(), (retry, early, false))
    }

    /// A client and a server that prefer different versions.
    fn unlike(near: &[u32], far: &[u32], (retry, early, post_quantum): (RetryPolicy, bool, bool)) -> Self {
        let identity = Identity::self_signed(&["localhost"]).unwrap();
        let pin = Pin::Certificate(identity.fingerprint());
        let client = ClientConfig::pinned(&[pin]).unwrap().resumption(4).early_data(true);
        let server = ServerConfig::with_identity(identity).resumption(4).early_data(early);
        let client = client.post_quantum(post_quantum).build(&[b"x"]).unwrap();
        let server = Arc::new(server.post_quantum(post_quantum).build(&[b"x"]).unwrap());
        let config = mpquic_proto::ClientConfig { crypto: Arc::new(client), transport: speaking(near) };
        Self {
            now: Time::from_millis(1),
            client: Endpoint::new(None, Rng::from_number(2)),
            server: Self::serve(&server, far, retry),
            tls: server,
            config,
            events: Vec::new(),
            accepted: None,
        }
    }

    fn serve(tls: &Arc<ServerConfig>, versions: &[u32], retry: RetryPolicy) -> Endpoint {
        let crypto = Arc::clone(tls) as _;
        let server = mpquic_proto::ServerConfig { crypto, transport: speaking(versions), max_connections: 9 };
        let mut server = Endpoint::new(Some(server), Rng::from_number(1));
        server.set_admission(Admission { retry, ..Admission::default() });
        server
    }

    fn connect(&mut self) -> ConnectionId {
        let [local, peer]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.2:2"].map(|a| a.parse().unwrap());
        self.events.clear();
        self.client.connect(self.now, &self.config, "localhost", FourTuple { local, peer }).unwrap()
    }

    fn carry(now: Time, from: &mut Endpoint, to: &mut Endpoint) -> bool {
        let (mut out, mut any) = (vec![0; 65_536], false);
        while let Some((id, transmit)) = from.transmit(now, &mut out) {
            any = true;
            let tuple = FourTuple { local: transmit.tuple.peer, peer: transmit.tuple.local };
            for datagram in out[..transmit.len].chunks_mut(transmit.segment) {
                to.receive(now, Received { tuple, ecn: Ecn::NotEct }, datagram);
            }
            if let Some(id) = id {
                from.settle(now, id, transmit.tag, Fate::Sent(now));
            }
        }
        any
    }

    fn run(&mut self) {
        while Self::carry(self.now, &mut self.client, &mut self.server)
            | Self::carry(self.now, &mut self.server, &mut self.client)
        {
            while let Some((_, event)) = self.client.event() {
                self.events.push(event);
            }
            while let Some((id, _)) = self.server.event() {
                self.accepted = Some(id);
            }
        }
    }

    /// What the newest connection's first stream of the client's brought.
    fn heard(&mut self) -> Vec<u8> {
        let connection = self.server.connection(self.accepted.unwrap()).unwrap();
        connection.accept(Dir::Uni);
        let mut chunk = [0; 100];
        match connection.read(StreamId::new(Role::Client, Dir::Uni, 0), &mut chunk) {
            Ok(Read::Data(n)) => chunk[..n].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Says something before the handshake is done, and whether the server took it at once.
    fn say_early(&mut self) -> bool {
        let id = self.connect();
        let connection = self.client.connection(id).unwrap();
        assert!(connection.can_send_early());
        let stream = connection.open(Dir::Uni).unwrap();
        connection.write(stream, SAID).unwrap();
        self.run();
        assert!(self.client.peek(id).unwrap().is_confirmed(), "{:?}", self.events);
        assert_eq!(self.heard(), SAID);
        self.events.contains(&Event::EarlyData { accepted: true })
    }
}

#[test]
fn both_versions_connect_under_real_keys_with_and_without_a_retry() {
    for version in versions() {
        for retry in [RetryPolicy::Never, RetryPolicy::Always] {
            let mut world = World::new(&[version], retry, false);
            let id = world.connect();
            world.run();
            assert!(
                world.client.peek(id).unwrap().is_confirmed(),
                "{version:#x}, {retry:?}: {:?}",
                world.events
            );
        }
    }
}

fn versions() -> Vec<u32> {
    TransportConfig::default().versions
}

fn speaking(versions: &[u32]) -> Arc<TransportConfig> {
    Arc::new(TransportConfig { versions: versions.to_vec(), ..TransportConfig::default() })
}

#[test]
fn a_server_goes_on_in_another_version_under_real_keys_with_and_without_a_retry() {
    for [first, second] in [[1, 0x6b33_43cf], [0x6b33_43cf, 1]] {
        for (retry, post_quantum) in
            [(RetryPolicy::Never, false), (RetryPolicy::Always, false), (RetryPolicy::Never, true)]
        {
            let mut world = World::unlike(&[first, second], &[second, first], (retry, false, post_quantum));
            let id = world.connect();
            world.run();
            let client = world.client.peek(id).unwrap();
            assert!(client.is_confirmed(), "{first:#x}, {retry:?}, {post_quantum}: {:?}", world.events);
            assert_eq!(client.version(), second);
            let server = world.server.peek(world.accepted.unwrap()).unwrap();
            assert_eq!((server.version(), server.is_retried()), (second, retry == RetryPolicy::Always));
            assert_eq!(world.server.counters().version_negotiations, 0);
        }
    }
}

#[test]
fn early_data_of_a_client_that_knew_another_version_is_taken() {
    let mut world = World::new(&versions(), RetryPolicy::Never, true);
    world.connect();
    world.run();
    // The operator has come to prefer version 2.
    world.server = World::serve(&world.tls, &[0x6b33_43cf, 1], RetryPolicy::Never);
    assert!(world.say_early());
    let server = world.server.peek(world.accepted.unwrap()).unwrap();
    assert!(server.counters().early_packets > 0);
    assert_eq!(server.version(), 0x6b33_43cf);
    // The next visit begins in version 2, with a ticket of that.
    assert!(world.say_early());
}

#[test]
fn a_second_visit_says_something_with_its_first_packets() {
    let mut world = World::new(&versions(), RetryPolicy::Never, true);
    world.connect();
    world.run();
    assert!(world.say_early());
    let server = world.server.peek(world.accepted.unwrap()).unwrap();
    assert!(server.counters().early_packets > 0);
}

#[test]
fn early_data_behind_a_retry_still_arrives() {
    let mut world = World::new(&versions(), RetryPolicy::Always, true);
    world.connect();
    world.run();
    assert!(world.say_early());
}

#[test]
fn a_server_without_early_data_gets_no_early_packets() {
    let mut world = World::new(&versions(), RetryPolicy::Never, false);
    world.connect();
    world.run();
    let id = world.connect();
    assert!(!world.client.connection(id).unwrap().can_send_early());
    world.run();
    assert!(world.client.peek(id).unwrap().is_confirmed());
}
