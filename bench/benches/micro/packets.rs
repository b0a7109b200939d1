//! Two connections, back to back, with real keys: what it costs to build packets full of stream data, to take them in,
//! to acknowledge and to process acknowledgements. No sockets, no wheel; the time is virtual and runs as fast as pacing
//! wants it to, so windows are open as a rule.

use criterion::{Criterion, Throughput};
use mpquic_base::{Dir, Duration, Ecn, FourTuple, Rng, StreamId, Time};
use mpquic_net::Clock;
use mpquic_proto::{
    Chunk, ClientConfig, ConnectionId, Endpoint, Event, Fate, Received, ServerConfig, TransportConfig,
};
use mpquic_tls::{Identity, Pin};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4000);
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 443);
const BLOCK: usize = 1 << 16;
/// Written per cycle: a few batches.
const PIECE: usize = 256 * 1024;
/// Virtual time per cycle: a round trip.
const ROUND: Duration = Duration::from_millis(1);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut pair = Pair::connected();
    let mut group = criterion.benchmark_group("packets");
    group.throughput(Throughput::Elements(1));
    let phases: [(&str, Part); 4] = [
        ("build (frames, seal)", |spent| (spent.build, spent.packets)),
        ("receive (open, frames)", |spent| (spent.receive, spent.packets)),
        ("write an ACK packet", |spent| (spent.write_acks, spent.acks)),
        ("process an ACK packet", |spent| (spent.process_acks, spent.acks)),
    ];
    for (name, part) in phases {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|wanted| {
                let mut spent = Spent::default();
                while part(&spent).1 < wanted {
                    pair.cycle(&mut spent);
                }
                let (seconds, count) = part(&spent);
                Duration::from_secs_f64(seconds * wanted as f64 / count as f64)
            });
        });
    }
    group.finish();
}

/// The seconds and the count that matter for one phase.
type Part = fn(&Spent) -> (f64, u64);

/// Seconds by what they were spent on, and what was made in them.
#[derive(Default)]
struct Spent {
    build: f64,
    receive: f64,
    write_acks: f64,
    process_acks: f64,
    packets: u64,
    acks: u64,
}

struct Pair {
    clock: Clock,
    now: Time,
    client: Endpoint,
    server: Endpoint,
    id: ConnectionId,
    /// The server's side of it, once it has reported anything.
    accepted: Option<ConnectionId>,
    stream: StreamId,
    /// Datagrams under way, kept for their allocations.
    wire: Vec<u8>,
    cuts: Vec<(usize, usize)>,
    payload: Vec<u8>,
}

impl Pair {
    fn connected() -> Self {
        let identity = Identity::self_signed(&["bench"]).expect("a certificate");
        let pin = Pin::Certificate(identity.fingerprint());
        let server_tls = mpquic_tls::ServerConfig::with_identity(identity).build(&[b"bench"]);
        let client_tls =
            mpquic_tls::ClientConfig::pinned(&[pin]).and_then(|builder| builder.build(&[b"bench"]));
        let transport = Arc::new(TransportConfig::default());
        let server = ServerConfig {
            crypto: Arc::new(server_tls.expect("a server's TLS")),
            transport: Arc::clone(&transport),
            max_connections: 1,
        };
        let config = ClientConfig { crypto: Arc::new(client_tls.expect("a client's TLS")), transport };
        let now = Time::ZERO;
        let mut client = Endpoint::new(None, Rng::from_number(1));
        let tuple = FourTuple { local: CLIENT, peer: SERVER };
        let id = client.connect(now, &config, "bench", tuple).expect("a usable name");
        let mut pair = Self {
            clock: Clock::start(),
            now,
            client,
            server: Endpoint::new(Some(server), Rng::from_number(2)),
            id,
            accepted: None,
            stream: StreamId(0),
            wire: vec![0; 64 * BLOCK],
            cuts: Vec::new(),
            payload: vec![0x5a; PIECE],
        };
        let mut spent = Spent::default();
        for _ in 0..200 {
            pair.exchange(&mut spent);
        }
        let connection = pair.client.connection(id).expect("the connection");
        pair.stream = connection.open(Dir::Bi).expect("a handshake in 200 round trips");
        for _ in 0..200 {
            pair.cycle(&mut spent);
        }
        pair
    }

    /// A piece of the stream there, its acknowledgements back.
    fn cycle(&mut self, spent: &mut Spent) {
        let connection = self.client.connection(self.id).expect("it lives on");
        connection.write(self.stream, &self.payload).expect("an open stream");
        self.exchange(spent);
        self.drain();
    }

    fn exchange(&mut self, spent: &mut Spent) {
        self.now += ROUND;
        self.client.expire(self.now);
        self.server.expire(self.now);
        let Self { client, server, clock, now, wire, cuts, .. } = self;
        let started = clock.now();
        gather(client, *now, wire, cuts);
        let built = clock.now();
        spent.packets += deliver(server, *now, wire, cuts, SERVER, CLIENT);
        let received = clock.now();
        gather(server, *now, wire, cuts);
        let acked = clock.now();
        spent.acks += deliver(client, *now, wire, cuts, CLIENT, SERVER);
        let processed = clock.now();
        spent.build += built.since(started).as_secs_f64();
        spent.receive += received.since(built).as_secs_f64();
        spent.write_acks += acked.since(received).as_secs_f64();
        spent.process_acks += processed.since(acked).as_secs_f64();
    }

    /// Reads whatever the server has, so that its windows move on.
    fn drain(&mut self) {
        while let Some((id, event)) = self.server.event() {
            assert!(!matches!(event, Event::Closed(_)), "{event:?}");
            self.accepted = Some(id);
        }
        while let Some((_, event)) = self.client.event() {
            assert!(!matches!(event, Event::Closed(_)), "{event:?}");
        }
        let Some(connection) = self.accepted.and_then(|id| self.server.connection(id)) else { return };
        // Once, in truth: there is only this stream.
        connection.accept(Dir::Bi);
        while let Ok(Chunk::Data(data)) = connection.peek(self.stream) {
            let n = data.len();
            connection.consume(self.stream, n).expect("what was just seen");
        }
    }
}

/// Everything that an endpoint wants to send now.
fn gather(endpoint: &mut Endpoint, now: Time, wire: &mut [u8], cuts: &mut Vec<(usize, usize)>) {
    let mut at = 0;
    cuts.clear();
    while at + BLOCK <= wire.len()
        && let Some((id, transmit)) = endpoint.transmit(now, &mut wire[at..at + BLOCK])
    {
        let mut rest = transmit.len;
        while rest > 0 {
            let n = rest.min(transmit.segment);
            cuts.push((at, n));
            (at, rest) = (at + n, rest - n);
        }
        if let Some(id) = id {
            endpoint.settle(now, id, transmit.tag, Fate::Sent(now));
        }
    }
}

fn deliver(
    endpoint: &mut Endpoint,
    now: Time,
    wire: &mut [u8],
    cuts: &[(usize, usize)],
    local: SocketAddr,
    peer: SocketAddr,
) -> u64 {
    for (at, len) in cuts {
        let received = Received { tuple: FourTuple { local, peer }, ecn: Ecn::NotEct };
        endpoint.receive(now, received, &mut wire[*at..at + len]);
    }
    cuts.len() as u64
}
