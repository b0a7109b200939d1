//! Packets are built to measure (RFC 9000 §14): whatever is to be said, and however the paths change under way.

use crate::rig::{Duo, Packet, ms, server_address};
use mpquic_base::{Dir, FourTuple, Rng, Role, StreamId, Time};
use mpquic_proto::{Admission, Connection, Endpoint, Event, Fate, Read, StreamEvent, TransportConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

const BASE: u64 = 1200;
const LARGEST: u64 = 9000;

fn home(path: u64) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, u8::try_from(path).unwrap()], 4000))
}

/// The byte at `at` of a stream.
fn pattern(id: StreamId, at: usize) -> u8 {
    (at as u64 ^ (at as u64 >> 8) ^ id.0.wrapping_mul(37)).to_le_bytes()[0]
}

/// What one end says on its streams and in datagrams, and what the other has heard of it.
#[derive(Default)]
struct Talk {
    written: BTreeMap<StreamId, usize>,
    finished: BTreeSet<StreamId>,
    read: BTreeMap<StreamId, usize>,
    ended: BTreeSet<StreamId>,
    datagrams: u64,
    arrived: BTreeSet<u64>,
}

struct Mix {
    seed: u64,
    rng: Rng,
    duo: Duo,
    /// UDP payload that gets through, by the client's address.
    limits: BTreeMap<IpAddr, u64>,
    ceilings: [u16; 2],
    loss: f64,
    talks: [Talk; 2],
    initials: u64,
}

impl Mix {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let ceiling = |rng: &mut Rng| u16::try_from(BASE + rng.below(LARGEST - BASE + 1)).unwrap();
        let config = |rng: &mut Rng| TransportConfig {
            mtu_ceiling: ceiling(rng),
            initial_stream_window: 2000 + rng.below(60_000),
            initial_connection_window: 5000 + rng.below(200_000),
            max_streams_bidi: 1 + rng.below(20),
            max_streams_uni: 1 + rng.below(20),
            key_update_packets: [30, 1 << 20][usize::try_from(rng.below(2)).unwrap()],
            ..TransportConfig::default()
        };
        let (client, server) = (config(&mut rng), config(&mut rng));
        let ceilings = [client.mtu_ceiling, server.mtu_ceiling];
        let mut duo = Duo::unlike(client, server, Admission::default());
        // Nothing is known of such a token, so all that it does is to take room.
        let token = vec![7; usize::try_from(rng.below(1025)).unwrap()];
        duo.client.remember_token("server", mpquic_wire::header::VERSION_1, token);
        duo.connect_from(home(0));
        let limit = |rng: &mut Rng| BASE + rng.below(LARGEST - BASE + 1);
        let limits = (0..3).map(|path| (home(path).ip(), limit(&mut rng))).collect();
        let loss = [0.0, 0.0, 0.03][usize::try_from(rng.below(3)).unwrap()];
        Self { seed, rng, duo, limits, ceilings, loss, talks: Default::default(), initials: 0 }
    }

    fn end(&mut self, end: usize) -> (Time, &mut Endpoint) {
        (self.duo.now, if end == 0 { &mut self.duo.client } else { &mut self.duo.server })
    }

    fn connection(&mut self, end: usize) -> Option<&mut Connection> {
        if end == 0 {
            Some(self.duo.connection())
        } else {
            self.duo.accepted.map(|_| self.duo.server_connection())
        }
    }

    /// Everything that `end` has to say now, looked at and measured.
    fn say(&mut self, end: usize) -> Vec<Packet> {
        let (mut out, mut said) = (vec![0; 65_536], Vec::new());
        let (seed, ceiling) = (self.seed, u64::from(self.ceilings[end]));
        let (now, endpoint) = self.end(end);
        while let Some((id, transmit)) = endpoint.transmit(now, &mut out) {
            let stats = id.and_then(|id| endpoint.peek(id)).map(Connection::path_stats);
            let mtu = stats.and_then(|mut paths| paths.find(|p| p.id == transmit.tag.path)).map(|p| p.mtu);
            // Only a probe, alone in its datagram, may be larger than what the path is known to carry.
            let limit = if transmit.len > transmit.segment { mtu.map_or(BASE, u64::from) } else { ceiling };
            assert!(
                transmit.segment as u64 <= limit.max(BASE),
                "seed {seed}: {transmit:?} where {mtu:?} is known"
            );
            if let Some(id) = id {
                endpoint.settle(now, id, transmit.tag, Fate::Sent(now));
            }
            said.extend(out[..transmit.len].chunks(transmit.segment).map(|bytes| Packet {
                tuple: transmit.tuple,
                ecn: transmit.ecn,
                bytes: bytes.to_vec(),
            }));
        }
        for packet in said.iter().filter(|p| end == 0 && p.bytes[0] & 0xb0 == 0x80) {
            assert!(packet.bytes.len() as u64 >= BASE, "seed {seed}: an Initial in {}", packet.bytes.len());
            self.initials += 1;
        }
        said
    }

    /// Carries what fits.
    fn carry(&mut self) {
        for _ in 0..400 {
            let (up, down) = (self.say(0), self.say(1));
            if up.is_empty() && down.is_empty() {
                return;
            }
            let (up, down) = (self.filter(up, 0), self.filter(down, 1));
            self.duo.tell_server(up);
            self.duo.tell_client(down);
            self.listen();
        }
        panic!("seed {}: the endpoints never come to rest", self.seed);
    }

    fn filter(&mut self, packets: Vec<Packet>, end: usize) -> Vec<Packet> {
        let client = |p: &Packet| if end == 0 { p.tuple.local.ip() } else { p.tuple.peer.ip() };
        let fits =
            |p: &Packet| p.bytes.len() as u64 <= self.limits.get(&client(p)).copied().unwrap_or(LARGEST);
        packets.into_iter().filter(|p| fits(p) && !self.rng.chance(self.loss)).collect()
    }

    fn wait(&mut self, span: mpquic_base::Duration) {
        let until = self.duo.now + span;
        loop {
            self.carry();
            let next = Time::soonest(self.duo.client.deadline(), self.duo.server.deadline());
            let Some(at) = next.filter(|at| *at <= until) else { break };
            let span = at.max(self.duo.now).since(self.duo.now);
            self.duo.wait_alone(span);
        }
        self.duo.now = until;
    }

    /// Both applications read whatever there is and compare.
    fn listen(&mut self) {
        let mut talks = core::mem::take(&mut self.talks);
        let seed = self.seed;
        for end in 0..2 {
            let talk = &mut talks[1 - end];
            let Some(connection) = self.connection(end) else { continue };
            for dir in [Dir::Bi, Dir::Uni] {
                while connection.accept(dir).is_some() {}
            }
            let mut chunk = [0; 5000];
            for id in talk.written.keys().copied().collect::<Vec<_>>() {
                while let Ok(read) = connection.read(id, &mut chunk) {
                    let at = talk.read.entry(id).or_default();
                    match read {
                        Read::Data(n) => {
                            let right =
                                chunk[..n].iter().enumerate().all(|(i, b)| *b == pattern(id, *at + i));
                            assert!(right, "seed {seed}: wrong bytes at {at} of {id:?}");
                            *at += n;
                        }
                        Read::End => {
                            talk.ended.insert(id);
                            break;
                        }
                        Read::Blocked => break,
                    }
                }
            }
            while let Some(datagram) = connection.read_datagram() {
                let (number, rest) = datagram.split_first_chunk::<8>().expect("the number is there");
                assert!(rest.iter().all(|b| *b == number[7]), "seed {seed}: a datagram was changed");
                assert!(
                    talk.arrived.insert(u64::from_be_bytes(*number)),
                    "seed {seed}: a datagram came twice"
                );
            }
        }
        self.talks = talks;
    }

    /// One of the applications says something, or a path changes.
    fn act(&mut self) {
        let end = usize::try_from(self.rng.below(2)).unwrap();
        let (what, n) = (self.rng.below(12), usize::try_from(self.rng.below(30_000)).unwrap());
        let pick = self.rng.u64();
        if what == 11 {
            let path = home(self.rng.below(3)).ip();
            let limit = BASE + self.rng.below(LARGEST - BASE + 1);
            self.limits.insert(path, if self.rng.chance(0.3) { BASE } else { limit });
            return;
        }
        let role = if end == 0 { Role::Client } else { Role::Server };
        let mut talks = core::mem::take(&mut self.talks);
        let talk = &mut talks[end];
        if let Some(connection) = self.connection(end) {
            let open: Vec<StreamId> =
                talk.written.keys().copied().filter(|id| !talk.finished.contains(id)).collect();
            let one = (!open.is_empty()).then(|| open[usize::try_from(pick % open.len() as u64).unwrap()]);
            match (what, one) {
                (0..=2, _) => {
                    let dir = if what == 0 { Dir::Bi } else { Dir::Uni };
                    if let Ok(id) = connection.open(dir) {
                        assert_eq!(id.opener(), role);
                        talk.written.insert(id, 0);
                    }
                }
                (3..=6, Some(id)) => {
                    let at = talk.written[&id];
                    let bytes: Vec<u8> = (at..at + n).map(|at| pattern(id, at)).collect();
                    if let Ok(taken) = connection.write(id, &bytes) {
                        talk.written.insert(id, at + taken);
                    }
                }
                (7, Some(id)) => {
                    connection.finish(id).unwrap();
                    talk.finished.insert(id);
                }
                (8 | 9, _) => {
                    let number = talk.datagrams.to_be_bytes();
                    let most = connection.max_datagram_size().unwrap_or(0);
                    let len = if pick.is_multiple_of(3) { most } else { 8 + n % 1200 };
                    if len >= 8
                        && connection
                            .send_datagram(&[&number[..], &vec![number[7]; len - 8]].concat())
                            .is_ok()
                    {
                        talk.datagrams += 1;
                    }
                }
                (10, _) => {
                    let path = connection.path_stats().next().map(|p| p.id);
                    path.map(|id| connection.set_path_backup(id, pick.is_multiple_of(2)));
                }
                _ => {}
            }
        }
        self.talks = talks;
    }

    fn is_delivered(&self) -> bool {
        self.talks.iter().all(|talk| {
            let read = talk.written.iter().all(|(id, n)| talk.read.get(id).copied().unwrap_or(0) == *n);
            read && talk.finished.iter().all(|id| talk.ended.contains(id))
        })
    }

    fn run(&mut self) {
        self.wait(ms(3000));
        assert!(self.duo.is_connected() && self.initials > 0, "seed {}", self.seed);
        for path in 1..1 + self.rng.below(3) {
            let tuple = FourTuple { local: home(path), peer: server_address() };
            let now = self.duo.now;
            self.duo.connection().open_path(now, tuple, false).unwrap();
        }
        for _ in 0..150 {
            for _ in 0..1 + self.rng.below(4) {
                self.act();
            }
            let span = ms(self.rng.below(60));
            self.wait(span);
        }
        self.loss = 0.0;
        for _ in 0..240 {
            if self.is_delivered() {
                break;
            }
            self.wait(ms(500));
            self.listen();
        }
        let ends = (self.duo.client_ended(), self.duo.server_ended());
        assert!(
            self.is_delivered() && ends == (None, None),
            "seed {}: something is missing, {ends:?}",
            self.seed
        );
        for end in 0..2 {
            let (sent, arrived) = (self.talks[end].datagrams, self.talks[end].arrived.len() as u64);
            let stats = self.connection(end).unwrap().datagram_stats();
            assert!(arrived <= sent, "seed {}", self.seed);
            assert!(sent <= arrived + stats.lost + stats.dropped + 1024, "seed {}: {stats:?}", self.seed);
        }
    }
}

#[test]
fn whatever_is_said_fits_the_paths_and_arrives_once_and_in_order() {
    for seed in 0..40 {
        Mix::new(seed).run();
    }
}

#[test]
fn finished_streams_are_reported_even_if_every_path_shrinks() {
    let mut mix = Mix::new(1);
    mix.loss = 0.0;
    mix.limits.values_mut().for_each(|limit| *limit = LARGEST);
    mix.wait(ms(2000));
    let id = mix.duo.connection().open(Dir::Uni).unwrap();
    mix.talks[0].written.insert(id, 0);
    let mut written = 0;
    for round in 0..400 {
        let bytes: Vec<u8> = (written..written + 3000).map(|at| pattern(id, at)).collect();
        written += mix.duo.connection().write(id, &bytes).unwrap();
        mix.talks[0].written.insert(id, written);
        if round == 100 {
            mix.limits.values_mut().for_each(|limit| *limit = BASE);
        }
        mix.wait(ms(10));
    }
    mix.duo.connection().finish(id).unwrap();
    mix.wait(ms(10_000));
    assert!(mix.is_delivered());
    let told = |e: &Event| *e == Event::Stream(StreamEvent::Finished(id));
    assert!(mix.duo.client_events.iter().any(told));
}
