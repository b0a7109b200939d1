//! Several endpoints that are one to the outside: each datagram has one shard, and what strangers can use up is
//! counted once.

use crate::rig::{Duo, Packet, client_address, ms, server_address};
use mpquic_base::{Dir, Duration, Ecn, FourTuple, Rng, Time};
use mpquic_proto::crypto::ResetTokens;
use mpquic_proto::{
    Admission, ClientConfig, CloseReason, Endpoint, Event, Fate, Received, RetryPolicy, Seat, ServerConfig,
    TransportConfig,
};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_wire::header::{FIXED_BIT, VERSION_1};
use std::sync::Arc;

const SHARDS: u16 = 3;

/// A server of three shards, and clients that come and go.
struct Row {
    now: Time,
    shards: Vec<Endpoint>,
    /// Datagrams that each shard got.
    taken: Vec<usize>,
    ports: u16,
}

impl Row {
    fn new(admission: &Admission, max_connections: usize) -> Self {
        let (mut rng, transport) = (Rng::from_number(5), Arc::new(TransportConfig::default()));
        let config = ServerConfig { crypto: Arc::new(PlainCrypto), transport, max_connections };
        let seats = Seat::row(SHARDS, &mut rng);
        let shard = |seat| {
            let mut shard = Endpoint::seated(Some(config.clone()), rng.fork(), seat);
            shard.set_admission(admission.clone());
            shard
        };
        let shards: Vec<Endpoint> = seats.into_iter().map(shard).collect();
        Self { now: Time::from_millis(1000), taken: vec![0; shards.len()], shards, ports: 0 }
    }

    /// A client with an endpoint of its own, about to begin.
    fn client(&mut self, token: Option<Vec<u8>>) -> Endpoint {
        self.ports += 1;
        let mut local = client_address();
        local.set_port(5000 + self.ports);
        let mut client = Endpoint::new(None, Rng::from_number(1000 + u64::from(self.ports)));
        token.into_iter().for_each(|token| client.remember_token("server", VERSION_1, token));
        let config =
            ClientConfig { crypto: Arc::new(PlainCrypto), transport: Arc::new(TransportConfig::default()) };
        client.connect(self.now, &config, "server", FourTuple { local, peer: server_address() }).unwrap();
        client
    }

    /// Whose a datagram is: all shards say the same.
    fn shard_of(&self, datagram: &[u8]) -> usize {
        let mine = |shard: &Endpoint| shard.stray(datagram).is_none();
        let owners: Vec<usize> = (0..self.shards.len()).filter(|n| mine(&self.shards[*n])).collect();
        assert_eq!(owners.len(), 1, "{owners:?}");
        for shard in &self.shards {
            assert!(shard.stray(datagram).is_none_or(|to| usize::from(to) == owners[0]));
        }
        owners[0]
    }

    fn hear(&mut self, tuple: FourTuple, ecn: Ecn, mut datagram: Vec<u8>) {
        let shard = self.shard_of(&datagram);
        self.taken[shard] += 1;
        let tuple = FourTuple { local: tuple.peer, peer: tuple.local };
        self.shards[shard].receive(self.now, Received { tuple, ecn }, &mut datagram);
    }

    /// Carries datagrams to and fro until nobody has any.
    fn flow(&mut self, client: &mut Endpoint) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..1000 {
            let up = said(self.now, client);
            let down: Vec<Packet> = self.shards.iter_mut().flat_map(|shard| said(self.now, shard)).collect();
            if up.is_empty() && down.is_empty() {
                return events;
            }
            up.into_iter().for_each(|p| self.hear(p.tuple, p.ecn, p.bytes));
            for mut p in down {
                let tuple = FourTuple { local: p.tuple.peer, peer: p.tuple.local };
                client.receive(self.now, Received { tuple, ecn: p.ecn }, &mut p.bytes);
            }
            events.extend(core::iter::from_fn(|| client.event()).map(|(_, event)| event));
            for shard in &mut self.shards {
                while shard.event().is_some() {}
            }
        }
        panic!("the endpoints never come to rest");
    }

    fn sum(&self, what: impl Fn(&Endpoint) -> u64) -> u64 {
        self.shards.iter().map(what).sum()
    }
}

fn said(now: Time, endpoint: &mut Endpoint) -> Vec<Packet> {
    let (mut packets, mut out) = (Vec::new(), vec![0; 65_536]);
    while let Some((id, transmit)) = endpoint.transmit(now, &mut out) {
        let datagrams = out[..transmit.len].chunks(transmit.segment);
        packets.extend(datagrams.map(|bytes| Packet {
            tuple: transmit.tuple,
            ecn: transmit.ecn,
            bytes: bytes.to_vec(),
        }));
        if let Some(id) = id {
            endpoint.settle(now, id, transmit.tag, Fate::Sent(now));
        }
    }
    packets
}

fn is_connected(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e, Event::Connected))
}

#[test]
fn connections_spread_over_the_shards_and_every_packet_finds_its_own() {
    let mut row = Row::new(&Admission::default(), 1000);
    for _ in 0..60 {
        let mut client = row.client(None);
        assert!(is_connected(&row.flow(&mut client)));
        row.now += Duration::from_millis(30);
    }
    assert_eq!(row.sum(|s| s.counters().unroutable), 0);
    assert_eq!(row.sum(|s| s.counters().accepted), 60);
    assert!(row.shards.iter().all(|s| s.len() > 8), "{:?}", row.shards);
}

#[test]
fn a_token_is_spent_once_on_whichever_shard() {
    let mut row = Row::new(&Admission { retry: RetryPolicy::Always, ..Admission::default() }, 1000);
    let mut first = row.client(None);
    let events = row.flow(&mut first);
    let token = events.iter().find_map(|e| match e {
        Event::TokenReceived(token) => Some(token.clone()),
        _ => None,
    });
    let token = token.expect("a token for the next visit");
    assert_eq!(row.sum(|s| s.counters().retries), 1);
    let mut homes = std::collections::BTreeSet::new();
    for visit in 1..=12 {
        row.now += Duration::from_millis(30);
        let mut client = row.client(Some(token.clone()));
        let before = row.taken.clone();
        assert!(is_connected(&row.flow(&mut client)));
        homes.extend((0..row.taken.len()).filter(|n| row.taken[*n] > before[*n]));
        // The first visit is let in by the token; all others are sent around.
        assert_eq!(row.sum(|s| s.counters().retries), visit);
    }
    assert_eq!(homes.len(), usize::from(SHARDS), "on every shard");
}

#[test]
fn limits_on_connections_and_handshakes_hold_for_all_shards_together() {
    let mut row = Row::new(&Admission::default(), 7);
    let mut clients: Vec<Endpoint> = (0..20).map(|_| row.client(None)).collect();
    for client in &mut clients {
        row.flow(client);
    }
    assert_eq!(row.shards.iter().map(Endpoint::len).sum::<usize>(), 7);
    assert_eq!(row.sum(|s| s.counters().accepted), 7);
    assert!(row.sum(|s| s.counters().refused) >= 13);

    let mut row = Row::new(&Admission { handshakes_per_host: 5, ..Admission::default() }, 1000);
    for _ in 0..20 {
        let mut client = row.client(None);
        // The clients' first packets only: handshakes that are begun and not finished.
        for p in said(row.now, &mut client) {
            row.hear(p.tuple, p.ecn, p.bytes);
        }
    }
    assert_eq!(row.sum(|s| s.counters().accepted), 5);
    assert!(row.shards.iter().filter(|s| !s.is_empty()).count() > 1, "{:?}", row.shards);
}

/// A reset with this token whose connection ID, which means nothing, leads to `shard`.
fn reset_to(endpoint: &Endpoint, shard: u16, token: [u8; 16], rng: &mut Rng) -> Vec<u8> {
    loop {
        let mut packet = vec![0; 43];
        rng.fill(&mut packet);
        packet[0] = FIXED_BIT | packet[0] & 0x3f;
        packet[27..].copy_from_slice(&token);
        if endpoint.stray(&packet).unwrap_or(0) == shard {
            return packet;
        }
    }
}

#[test]
fn a_stateless_reset_that_came_to_another_shard_is_handed_on_and_ends_its_connection() {
    for to in 0..SHARDS {
        let mut duo = Duo::new();
        let mut rng = Rng::from_number(u64::from(to));
        // The client's endpoint has three shards; the first has the connection.
        let seats = Seat::row(SHARDS, &mut rng);
        let mut shards: Vec<Endpoint> =
            seats.into_iter().map(|seat| Endpoint::seated(None, rng.fork(), seat)).collect();
        let config =
            ClientConfig { crypto: Arc::new(PlainCrypto), transport: Arc::new(TransportConfig::default()) };
        let tuple = FourTuple { local: client_address(), peer: server_address() };
        duo.client = shards.remove(0);
        duo.id = duo.client.connect(duo.now, &config, "server", tuple).unwrap();
        duo.wait(ms(200));
        let stream = duo.connection().open(Dir::Uni).unwrap();
        duo.connection().write(stream, &[7; 200]).unwrap();
        let packet = duo.client_says().into_iter().rfind(Packet::is_short).unwrap();
        let token = PlainCrypto.reset_token(&packet.bytes[1..9]);
        let mut reset = reset_to(&duo.client, to, token, &mut rng);
        let received = Received { tuple, ecn: Ecn::NotEct };
        if to > 0 {
            let shard = &mut shards[usize::from(to) - 1];
            shard.receive(duo.now, received, &mut reset);
            let (home, _, handed_on) = shard.foreign().expect("it is somebody else's");
            assert_eq!((home, &handed_on), (0, &reset));
            assert!(shard.foreign().is_none() && shard.counters().resets_received == 0);
            assert!(said(duo.now, shard).is_empty(), "and no answer");
        }
        let way = FourTuple { local: server_address(), peer: client_address() };
        duo.tell_client([Packet { tuple: way, ecn: Ecn::NotEct, bytes: reset }]);
        assert_eq!(duo.client_ended(), Some(&CloseReason::StatelessReset), "to shard {to}");
    }
}
