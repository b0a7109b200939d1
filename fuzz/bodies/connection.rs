//! A client, a server, and whoever sits between them or has become one of them.
//!
//! The first byte sets the stage, every further one is a step with its arguments behind it: datagrams out of nothing,
//! old ones again (bent, cut, from elsewhere), packets of a peer that has the keys and keeps to no rule, the
//! application's doings, and time. After every step the books are audited and what is held is compared with fixed
//! bounds. Without a hostile peer the connection must survive everything else and still carry data in the end.

mod bounds;
mod script;

use bounds::within_bounds;
use mpquic_base::{Cid, Dir, Duration, Ecn, FourTuple, PathId, Rng, Role, StreamId, Time};
use mpquic_proto::crypto::InitialCrypto;
use mpquic_proto::{
    Admission, ClientConfig, CloseReason, ConnectionId, Endpoint, Event, Fate, PathEvent, Read, Received,
    RetryPolicy, ServerConfig, StreamEvent, TransportConfig,
};
use mpquic_sim::crypto::{Elsewhere, PlainCrypto, PlainTickets};
use mpquic_sim::hostile::{Hostile, seal_long};
use mpquic_wire::header::{LongHeader, LongKind, PartialHeader, VERSION_1};
use mpquic_wire::{Code, TransportParameters};
use script::Script;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

const STEPS_MAX: usize = 60;
/// Datagrams kept to be sent again.
const OLD_MAX: usize = 24;
/// Datagrams that an end may send without being told anything or time passing.
const BURST_MAX: usize = 400;
/// Calls of `expire` at one instant after which an end has to be content.
const ROUNDS_MAX: usize = 40;

const SERVER: SocketAddr = addr([192, 0, 2, 1], 443);
const HOMES: [SocketAddr; 3] =
    [addr([198, 51, 100, 1], 4000), addr([198, 51, 100, 2], 4000), addr([198, 51, 100, 3], 4000)];
const STRANGER: SocketAddr = addr([203, 0, 113, 9], 9);

const fn addr(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])), port)
}

pub(crate) fn run(data: &[u8]) {
    let Some((mode, script)) = data.split_first() else { return };
    let mut script = Script::new(script);
    let mut play = Play::new(*mode);
    for _ in 0..STEPS_MAX {
        let Some(step) = script.byte() else { break };
        play.step(step, &mut script);
        play.check();
    }
    play.end();
}

#[derive(Clone)]
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    bytes: Vec<u8>,
}

struct End {
    role: Role,
    endpoint: Endpoint,
    ids: Vec<ConnectionId>,
    closed: Vec<CloseReason>,
    /// Streams that its application knows, and those whose every byte the peer has.
    streams: Vec<StreamId>,
    finished: Vec<StreamId>,
}

struct Play {
    now: Time,
    ends: [End; 2],
    wire: VecDeque<Packet>,
    old: Vec<Packet>,
    /// Set once a peer has broken loose, and which may.
    hostile: Option<Hostile>,
    villain: Option<Role>,
    fate: Option<Fate>,
    /// Bytes from and to the stranger.
    stranger: (usize, usize),
    /// The application closed a connection or gave paths up.
    meddled: bool,
    initial_dcid: Option<Cid>,
    out: Vec<u8>,
}

fn config() -> TransportConfig {
    TransportConfig {
        initial_stream_window: 16 << 10,
        initial_connection_window: 32 << 10,
        stream_window_max: 64 << 10,
        connection_window_max: 128 << 10,
        send_buffer_max: 64 << 10,
        max_streams_bidi: 8,
        max_streams_uni: 8,
        datagram_queue: 16,
        max_paths: 4,
        key_update_packets: 30,
        ..TransportConfig::default()
    }
}

/// What the server is said to have allowed at an earlier visit.
fn remembered() -> Vec<u8> {
    let parameters = TransportParameters {
        initial_max_data: 8192,
        initial_max_stream_data_bidi_remote: 4096,
        initial_max_stream_data_uni: 4096,
        initial_max_streams_bidi: 2,
        initial_max_streams_uni: 2,
        max_datagram_frame_size: 1000,
        ..TransportParameters::default()
    };
    parameters.encode(Role::Server, None)
}

impl Play {
    /// Bits of `mode`: 0 connected, 1 and 2 the villain, 3 two paths, 4 Retry, 5 early data, 6 it is refused.
    fn new(mode: u8) -> Self {
        let bit = |n: u8| mode >> n & 1 == 1;
        let crypto = Arc::new(PlainTickets { remembered: bit(5).then(remembered), accepts: !bit(6) });
        // With early data a second attempt, begun by a copy, says things under keys that only the stand-in gives to both.
        let max_connections = if bit(5) { 1 } else { 4 };
        let server = ServerConfig { crypto: crypto.clone(), transport: Arc::new(config()), max_connections };
        let mut far = Endpoint::new(Some(server), Rng::from_number(2));
        if bit(4) {
            far.set_admission(Admission { retry: RetryPolicy::Always, ..Admission::default() });
        }
        let mut near = Endpoint::new(None, Rng::from_number(1));
        let now = Time::from_millis(1000);
        let tuple = FourTuple { local: HOMES[0], peer: SERVER };
        let client = ClientConfig { crypto: Arc::new(Elsewhere(crypto)), transport: Arc::new(config()) };
        let id = near.connect(now, &client, "server", tuple).expect("the stand-in never refuses");
        let end = |role, endpoint, ids| End {
            role,
            endpoint,
            ids,
            closed: Vec::new(),
            streams: Vec::new(),
            finished: Vec::new(),
        };
        let mut play = Self {
            now,
            ends: [end(Role::Client, near, vec![id]), end(Role::Server, far, Vec::new())],
            wire: VecDeque::new(),
            old: Vec::new(),
            hostile: None,
            villain: [None, None, Some(Role::Client), Some(Role::Server)][usize::from(mode >> 1 & 3)],
            fate: None,
            stranger: (0, 0),
            meddled: false,
            initial_dcid: None,
            out: vec![0; 65_536],
        };
        play.drain();
        if bit(0) {
            play.carry();
            if bit(3) {
                play.open_path(1);
                play.carry();
            }
        }
        play
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 16 {
            0 => self.carry(),
            1 => self.wire.clear(),
            2 => {
                self.now += Duration::from_millis(script.number());
                self.drain();
            }
            3 => self.jump(),
            4 => self.say(script.below(4), script.piece().to_vec()),
            5 => self.known_id(script),
            6 | 7 => self.again(script),
            8 | 9 => self.inject(script),
            10 => self.inject_long(script),
            11 => self.acknowledge(script),
            12 | 13 => self.act(script),
            14 => {
                let fates = [
                    None,
                    Some(Fate::Failed),
                    Some(Fate::Unreachable),
                    Some(Fate::TooLarge),
                    Some(Fate::Cancelled),
                ];
                self.fate = fates[script.below(fates.len())];
            }
            _ => self.drop_one(script),
        }
    }

    /// Delivers what is on the wire, and what that brings about, until nobody says anything.
    fn carry(&mut self) {
        for _ in 0..200 {
            let Some(packet) = self.wire.pop_front() else { return };
            self.deliver(packet);
        }
    }

    fn drop_one(&mut self, script: &mut Script<'_>) {
        let at = script.below(8);
        if at < self.wire.len() {
            self.wire.remove(at);
        }
    }

    /// To the next instant at which an end wants to be woken.
    fn jump(&mut self) {
        let next = Time::soonest(self.ends[0].endpoint.deadline(), self.ends[1].endpoint.deadline());
        if let Some(at) = next {
            self.now = self.now.max(at);
        }
        self.drain();
    }

    fn deliver(&mut self, mut packet: Packet) {
        let end = usize::from(packet.to == SERVER);
        if self.hostile.is_some() && Some(self.ends[end].role) == self.villain {
            if let Some(hostile) = &mut self.hostile {
                hostile.on_heard(&packet.bytes);
            }
            return;
        }
        if packet.from.ip() == STRANGER.ip() {
            self.stranger.0 += packet.bytes.len();
        }
        let tuple = FourTuple { local: packet.to, peer: packet.from };
        self.ends[end].endpoint.receive(self.now, Received { tuple, ecn: packet.ecn }, &mut packet.bytes);
        self.drain();
    }

    /// Invented bytes; bit 0 of `whom` says to whom, bit 1 whether from an address that nobody knows.
    fn say(&mut self, whom: usize, bytes: Vec<u8>) {
        let home = if whom & 2 == 0 { HOMES[0] } else { STRANGER };
        let (from, to) = match whom & 1 {
            0 => (home, SERVER),
            _ => (if whom & 2 == 0 { SERVER } else { STRANGER }, HOMES[0]),
        };
        self.deliver(Packet { from, to, ecn: Ecn::NotEct, bytes });
    }

    /// The start of an old datagram, then bytes out of nothing.
    fn known_id(&mut self, script: &mut Script<'_>) {
        let (whom, keep) = (script.below(4), script.below(40));
        let piece = script.piece();
        let to_server = whom & 1 == 0;
        let Some(like) = self.old.iter().rev().find(|p| (p.to == SERVER) == to_server) else { return };
        let mut bytes = like.bytes[..keep.min(like.bytes.len())].to_vec();
        bytes.extend(piece);
        self.say(whom, bytes);
    }

    /// An old datagram, as it was or not quite.
    fn again(&mut self, script: &mut Script<'_>) {
        let (which, how, at) = (script.below(OLD_MAX), script.byte().unwrap_or(0), script.number());
        let Some(mut packet) = self.old.get(which).cloned() else { return };
        let len = packet.bytes.len();
        let at = usize::try_from(at).unwrap_or(0) % len.max(1);
        match how & 7 {
            0 | 1 => {}
            2 => script::cut(&mut packet.bytes, at),
            3 | 4 => packet.bytes[at] ^= 1 << (how >> 5),
            5 => packet.bytes.extend(script.piece()),
            6 => core::mem::swap(&mut packet.from, &mut packet.to),
            _ => {
                if let Some(next) = self.old.get(which + 1) {
                    packet.bytes.extend(&next.bytes);
                }
            }
        }
        if how & 8 != 0 {
            packet.from = STRANGER;
        }
        if how & 16 != 0 && packet.from != SERVER {
            packet.from.set_port(4001);
        }
        self.deliver(packet);
    }

    /// The villain breaks loose, if there is one: from now on only the script speaks for it.
    fn unleash(&mut self) -> bool {
        let Some(role) = self.villain else { return false };
        if self.hostile.is_none() {
            let mut hostile = Hostile::new(role);
            for packet in &self.old {
                let own = (packet.from == SERVER) == (role == Role::Server);
                if own { hostile.on_own(&packet.bytes) } else { hostile.on_heard(&packet.bytes) }
            }
            self.hostile = Some(hostile);
            self.wire.clear();
        }
        true
    }

    fn inject(&mut self, script: &mut Script<'_>) {
        if !self.unleash() {
            return;
        }
        let (path, how) = (PathId(script.byte().unwrap_or(0).into()), script.byte().unwrap_or(0));
        let payload = script.piece();
        let path = PathId(path.0 % 6);
        let Some(hostile) = &mut self.hostile else { return };
        if how & 4 != 0 {
            hostile.change_cid(path);
        }
        let gap = if how & 2 != 0 { u64::from(how >> 4) } else { 0 };
        if let Some(bytes) = hostile.packet(path, gap, how & 1 != 0, payload) {
            self.send_as_villain(path, how, bytes);
        }
    }

    fn send_as_villain(&mut self, path: PathId, how: u8, bytes: Vec<u8>) {
        let home = HOMES[usize::try_from(path.0).unwrap_or(0).min(2)];
        let home = if how & 8 != 0 { SocketAddr::new(home.ip(), 5000 + u16::from(how >> 4)) } else { home };
        let ecn = if how == 0xff { Ecn::Ce } else { Ecn::Ect0 };
        let client = self.villain == Some(Role::Client);
        let (from, to) = if client { (home, SERVER) } else { (SERVER, HOMES[usize::from(path.0 == 1)]) };
        self.deliver(Packet { from, to, ecn, bytes });
    }

    /// An Initial, 0-RTT or Handshake packet under the right keys.
    fn inject_long(&mut self, script: &mut Script<'_>) {
        let (Some(role), Some(initial), true) = (self.villain, self.initial_dcid, self.unleash()) else {
            return;
        };
        let (how, pn, payload) = (script.byte().unwrap_or(0), script.number(), script.piece());
        let own = self.old.iter().find(|p| {
            (p.from == SERVER) == (role == Role::Server) && p.bytes.first().is_some_and(|b| b & 0x80 != 0)
        });
        let Some(Ok((PartialHeader::Long(like), _))) = own.map(|p| PartialHeader::read(&p.bytes, 8)) else {
            return;
        };
        let (kind, keys) = match how & 3 {
            0 => (LongKind::Initial, PlainCrypto.initial_keys(VERSION_1, &initial, role).local),
            1 => (LongKind::ZeroRtt, PlainCrypto::early(role).local),
            _ => (LongKind::Handshake, PlainCrypto::handshake(role).local),
        };
        let (dcid, scid) = (like.dcid, like.scid);
        let header = LongHeader { kind, version: VERSION_1, dcid, scid, token: &[], pn: 100 + pn, pn_len: 4 };
        let mut padded = payload.to_vec();
        if how & 4 != 0 {
            padded.resize(1300, 0);
        }
        let bytes = seal_long(&header, &keys, &padded);
        self.send_as_villain(PathId::ZERO, how & 0xf0, bytes);
    }

    /// The villain keeps the victim going: acknowledges what it heard, or answers a challenge.
    fn acknowledge(&mut self, script: &mut Script<'_>) {
        if !self.unleash() {
            return;
        }
        self.carry();
        let how = script.byte().unwrap_or(0);
        let path = PathId(u32::from(how >> 4) % 3);
        let Some(hostile) = &mut self.hostile else { return };
        let (about, payload) = match (how & 1, hostile.challenges.pop()) {
            (1, Some((about, data))) => (about, [&[0x1b][..], &data].concat()),
            _ => (path, hostile.acks(path, how & 2 != 0)),
        };
        if !payload.is_empty()
            && let Some(bytes) = hostile.packet(about, 0, false, &payload)
        {
            self.send_as_villain(about, 0, bytes);
        }
    }

    /// The application of one end does something.
    fn act(&mut self, script: &mut Script<'_>) {
        let (whom, what, n) = (script.below(2), script.byte().unwrap_or(0), script.number());
        if what % 16 == 15 {
            return self.open_path(1 + usize::from(whom == 1));
        }
        let now = self.now;
        let end = &mut self.ends[whom];
        let stream = end.streams.get(usize::from(what >> 4)).copied().unwrap_or(StreamId(n & 0xff));
        let Some(&id) = end.ids.last() else { return };
        let Some(connection) = end.endpoint.connection(id) else { return };
        let path = PathId(u32::from(what >> 4) % 4);
        match what % 16 {
            0 => end.streams.extend(connection.open(Dir::Uni)),
            1 => end.streams.extend(connection.open(Dir::Bi)),
            2 | 3 => {
                connection.write(stream, &vec![7; usize::try_from(n).unwrap_or(0) % 20_000]).ok();
            }
            4 => connection.finish(stream).unwrap_or(()),
            5 => connection.reset(stream, n).unwrap_or(()),
            6 => connection.stop(stream, n).unwrap_or(()),
            7 => {
                connection.read(stream, &mut [0; 5000]).ok();
            }
            8 => connection.send_datagram(&vec![9; usize::try_from(n).unwrap_or(0) % 1500]).unwrap_or(()),
            9 => while connection.read_datagram().is_some() {},
            10 => connection.set_priority(stream, i32::from(what)).unwrap_or(()),
            11 => connection.set_path_backup(path, n & 1 == 1).unwrap_or(()),
            12 => connection.path_down(now, path).unwrap_or(()),
            13 => self.meddled |= connection.abandon_path(now, path).is_ok(),
            _ => {
                // Rarely, lest most plays end here.
                if n == 0x0707 {
                    self.meddled = true;
                    connection.close(now, n, b"enough");
                }
            }
        }
        self.drain();
    }

    fn open_path(&mut self, home: usize) {
        let (now, tuple) = (self.now, FourTuple { local: HOMES[home], peer: SERVER });
        let end = &mut self.ends[0];
        if let Some(connection) = end.endpoint.connection(end.ids[0]) {
            connection.open_path(now, tuple, false).ok();
        }
        self.drain();
    }

    /// Lets both ends do what is due, and collects what they have to say and to tell.
    fn drain(&mut self) {
        for end in 0..2 {
            if self.hostile.is_some() && Some(self.ends[end].role) == self.villain {
                continue;
            }
            let mut rounds = 0;
            loop {
                self.collect(end);
                rounds += 1;
                assert!(rounds < ROUNDS_MAX, "{:?} never comes to rest", self.ends[end].role);
                if self.ends[end].endpoint.deadline().is_none_or(|at| at > self.now) {
                    break;
                }
                self.ends[end].endpoint.expire(self.now);
            }
        }
        let excess = self.old.len().saturating_sub(OLD_MAX);
        self.old.drain(..excess);
    }

    fn collect(&mut self, end: usize) {
        let mut burst = 0;
        loop {
            self.listen(end);
            let End { endpoint, ids, .. } = &mut self.ends[end];
            let Some((id, transmit)) = endpoint.transmit(self.now, &mut self.out) else { break };
            for bytes in self.out[..transmit.len].chunks(transmit.segment) {
                let FourTuple { local, peer } = transmit.tuple;
                let packet = Packet { from: local, to: peer, ecn: transmit.ecn, bytes: bytes.to_vec() };
                if let (None, Ok((PartialHeader::Long(long), _))) =
                    (self.initial_dcid, PartialHeader::read(bytes, 8))
                {
                    self.initial_dcid = Some(long.dcid);
                }
                // The stand-in's Handshake keys are the same on every connection: what belongs to an attempt that a
                // copy began elsewhere must not reach the client.
                if peer.ip() == STRANGER.ip() {
                    self.stranger.1 += bytes.len();
                } else {
                    if self.fate.is_none() {
                        self.wire.push_back(packet.clone());
                    }
                    self.old.push(packet);
                }
                burst += 1;
            }
            assert!(burst < BURST_MAX, "{:?} sends and sends: {transmit:?}", self.ends[end].role);
            if let Some(id) = id {
                if !ids.contains(&id) {
                    ids.push(id);
                }
                let fate = self.fate.unwrap_or(Fate::Sent(self.now));
                if fate == Fate::Cancelled {
                    // Whoever takes packets back for ever asks for them for ever.
                    self.fate = None;
                }
                endpoint.settle(self.now, id, transmit.tag, fate);
            }
        }
    }

    fn listen(&mut self, end: usize) {
        let End { endpoint, ids, closed, streams, finished, .. } = &mut self.ends[end];
        while let Some((id, event)) = endpoint.event() {
            if !ids.contains(&id) {
                ids.push(id);
            }
            match event {
                Event::Closed(reason) => closed.push(reason),
                Event::Stream(StreamEvent::Opened(dir)) => {
                    let connection = endpoint.connection(id);
                    streams.extend(connection.and_then(|c| c.accept(dir)));
                }
                Event::Stream(StreamEvent::Finished(stream)) => finished.push(stream),
                Event::Path(PathEvent::Abandoned { .. }) => self.meddled = true,
                _ => {}
            }
        }
    }

    fn check(&self) {
        for end in &self.ends {
            for connection in end.ids.iter().filter_map(|id| end.endpoint.peek(*id)) {
                if let Err(what) = connection.audit() {
                    panic!("{:?}: {what}", end.role);
                }
                within_bounds(end.role, &connection.holdings());
            }
            if self.villain.is_none() {
                assert!(
                    end.closed.iter().all(|reason| self.is_harmless(reason)),
                    "{:?} was brought down: {:?}",
                    end.role,
                    end.closed
                );
            }
        }
        // RFC 9000 §8: whoever it is, it draws no more than three times what it sent.
        let (received, sent) = self.stranger;
        assert!(self.villain.is_some() || sent <= 3 * received, "{sent} bytes for {received}");
    }

    /// What chance and silence may do to a connection. Before the server was heard nothing protects Version Negotiation.
    fn is_harmless(&self, reason: &CloseReason) -> bool {
        match reason {
            CloseReason::IdleTimeout
            | CloseReason::HandshakeTimeout
            | CloseReason::VersionMismatch
            | CloseReason::Local(_)
            | CloseReason::PeerApplication { .. } => true,
            CloseReason::PeerTransport { code, .. } | CloseReason::Violation { code, .. } => {
                // Two applications may have given up each other's last path; a Retry for another port proves nothing.
                let pathless = self.meddled && *code == Code::NO_VIABLE_PATH;
                pathless || [Code::NO_ERROR, Code::APPLICATION_ERROR, Code::INVALID_TOKEN].contains(code)
            }
            // One end has forgotten the connection, and the other learns of it.
            CloseReason::StatelessReset => {
                let forgot = |end: &End| end.closed.iter().any(|r| *r != CloseReason::StatelessReset);
                self.ends.iter().any(forgot)
            }
        }
    }

    /// The faults stop: unless somebody authentic wished otherwise, data must get through.
    fn end(&mut self) {
        self.fate = None;
        if self.villain.is_some() || self.meddled || self.ends.iter().any(|end| !end.closed.is_empty()) {
            return;
        }
        self.settle_down(20);
        let end = &mut self.ends[0];
        let Some(connection) = end.endpoint.connection(end.ids[0]).filter(|c| c.is_confirmed()) else {
            return;
        };
        let Ok(stream) = connection.open(Dir::Uni) else { return };
        if !matches!(connection.write(stream, b"still here"), Ok(10)) {
            return;
        }
        connection.finish(stream).expect("it was just opened");
        for _ in 0..60 {
            self.settle_down(20);
            if self.ends[0].finished.contains(&stream) || self.ends.iter().any(|end| !end.closed.is_empty()) {
                return;
            }
        }
        panic!("nothing gets through any more: {:?}", self.ends[0].endpoint.peek(self.ends[0].ids[0]));
    }

    fn settle_down(&mut self, times: usize) {
        for _ in 0..times {
            self.carry();
            if self.wire.is_empty() {
                self.jump();
            }
            self.read_all();
            self.check();
        }
    }

    /// The server's application reads whatever there is.
    fn read_all(&mut self) {
        let end = &mut self.ends[1];
        for id in end.ids.clone() {
            let Some(connection) = end.endpoint.connection(id) else { continue };
            for dir in [Dir::Bi, Dir::Uni] {
                end.streams.extend(core::iter::from_fn(|| connection.accept(dir)));
            }
            for stream in &end.streams {
                while let Ok(Read::Data(_)) = connection.read(*stream, &mut [0; 5000]) {}
            }
        }
        self.drain();
    }
}
