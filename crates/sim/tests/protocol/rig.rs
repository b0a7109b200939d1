//! Two endpoints and whoever carries their datagrams. Nothing is lost or late unless a test wills it.

use mpquic_base::{Cid, Duration, Ecn, FourTuple, PathId, Rng, Role, Time};
use mpquic_proto::crypto::{
    ClientCrypto, DirectionKeys, Hello, InitialCrypto, LevelKeys, NONCE_LEN, ResetTokens, Sealing,
    ServerCrypto, Session,
};
use mpquic_proto::{
    Admission, ClientConfig, Connection, ConnectionId, Endpoint, Event, Fate, Received, RetryPolicy,
    ServerConfig, TransportConfig,
};
use mpquic_sim::crypto::PlainCrypto;
use mpquic_wire::header::ShortHeader;
use mpquic_wire::{Frame, TransportParameters, Writer};
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn server_address() -> SocketAddr {
    "192.0.2.1:443".parse().unwrap()
}

pub(crate) fn client_address() -> SocketAddr {
    "198.51.100.7:4000".parse().unwrap()
}

/// A datagram on its way, with the addresses as its sender sees them.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) tuple: FourTuple,
    pub(crate) ecn: Ecn,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    pub(crate) fn version(&self) -> u32 {
        u32::from_be_bytes(self.bytes[1..5].try_into().unwrap())
    }

    pub(crate) fn is_short(&self) -> bool {
        self.bytes[0] & 0x80 == 0
    }
}

pub(crate) struct Duo {
    pub(crate) now: Time,
    pub(crate) config: TransportConfig,
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
    /// The client's newest connection, and the server's that last had an event.
    pub(crate) id: ConnectionId,
    pub(crate) accepted: Option<ConnectionId>,
    pub(crate) client_events: Vec<Event>,
    pub(crate) server_events: Vec<Event>,
}

impl Duo {
    pub(crate) fn new() -> Self {
        Self::with(TransportConfig::default(), Admission::default())
    }

    pub(crate) fn retrying(retry: RetryPolicy) -> Self {
        Self::with(TransportConfig::default(), Admission { retry, ..Admission::default() })
    }

    pub(crate) fn with(config: TransportConfig, admission: Admission) -> Self {
        Self::unlike(config.clone(), config, admission)
    }

    /// A client and a server that are configured differently.
    pub(crate) fn unlike(client: TransportConfig, server: TransportConfig, admission: Admission) -> Self {
        let mut near = Endpoint::new(None, Rng::from_number(1));
        let mut far = Endpoint::new(Some(server_config(&server)), Rng::from_number(2));
        far.set_admission(admission);
        let now = Time::from_millis(1000);
        let id = connect(&mut near, now, &client, client_address());
        Self {
            now,
            config: client,
            client: near,
            server: far,
            id,
            accepted: None,
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    /// One end's transport parameters are not what they should be.
    pub(crate) fn meddling(
        client: TransportConfig,
        server: TransportConfig,
        who: Role,
        how: fn(&mut TransportParameters),
    ) -> Self {
        let crypto = Arc::new(Meddling(who, how));
        Self::with_crypto((client, crypto.clone()), (server, crypto))
    }

    pub(crate) fn with_crypto(
        (client, near): (TransportConfig, Arc<dyn ClientCrypto>),
        (server, far): (TransportConfig, Arc<dyn ServerCrypto>),
    ) -> Self {
        let mut duo = Self::unlike(client.clone(), server.clone(), Admission::default());
        let server = ServerConfig { crypto: far, transport: Arc::new(server), max_connections: 16 };
        duo.server = Endpoint::new(Some(server), Rng::from_number(2));
        duo.client = Endpoint::new(None, Rng::from_number(1));
        let tuple = FourTuple { local: client_address(), peer: server_address() };
        let config = ClientConfig { crypto: near, transport: Arc::new(client) };
        duo.id = duo.client.connect(duo.now, &config, "server", tuple).unwrap();
        duo
    }

    /// The client begins another connection, from `local`.
    pub(crate) fn connect_from(&mut self, local: SocketAddr) {
        self.id = connect(&mut self.client, self.now, &self.config, local);
    }

    /// The server forgets everything but its secrets and its admission rules.
    pub(crate) fn restart_server(&mut self, seed: u64) {
        self.server = Endpoint::new(Some(server_config(&self.config)), Rng::from_number(seed));
        self.accepted = None;
    }

    /// Everything that the client wants to send now.
    pub(crate) fn client_says(&mut self) -> Vec<Packet> {
        said(self.now, &mut self.client)
    }

    pub(crate) fn server_says(&mut self) -> Vec<Packet> {
        said(self.now, &mut self.server)
    }

    pub(crate) fn tell_server(&mut self, packets: impl IntoIterator<Item = Packet>) {
        for packet in packets {
            hear(self.now, &mut self.server, packet);
        }
        self.collect();
    }

    pub(crate) fn tell_client(&mut self, packets: impl IntoIterator<Item = Packet>) {
        for packet in packets {
            hear(self.now, &mut self.client, packet);
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some((_, event)) = self.client.event() {
            self.client_events.push(event);
        }
        while let Some((id, event)) = self.server.event() {
            self.accepted = Some(id);
            self.server_events.push(event);
        }
    }

    /// Carries datagrams to and fro until nobody has any.
    pub(crate) fn flow(&mut self) {
        for _ in 0..10_000 {
            let (up, down) = (self.client_says(), self.server_says());
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.tell_server(up);
            self.tell_client(down);
        }
        panic!("the endpoints never come to rest");
    }

    /// Lets time pass while datagrams flow.
    pub(crate) fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.flow();
            let next = Time::soonest(self.client.deadline(), self.server.deadline());
            match next {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.expire();
        }
        self.now = until;
        self.expire();
        self.flow();
    }

    /// Lets time pass while nothing arrives.
    pub(crate) fn wait_alone(&mut self, span: Duration) {
        self.now += span;
        self.expire();
    }

    fn expire(&mut self) {
        self.client.expire(self.now);
        self.server.expire(self.now);
        self.collect();
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.client.connection(self.id).unwrap()
    }

    pub(crate) fn server_connection(&mut self) -> &mut Connection {
        self.server.connection(self.accepted.unwrap()).unwrap()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.peek(self.id).is_some_and(Connection::is_confirmed)
    }

    pub(crate) fn client_ended(&self) -> Option<&mpquic_proto::CloseReason> {
        ended(&self.client_events)
    }

    pub(crate) fn server_ended(&self) -> Option<&mpquic_proto::CloseReason> {
        ended(&self.server_events)
    }

    /// A 1-RTT packet of the client as it would be if it followed no rule; `like` shows where it goes.
    pub(crate) fn forge(like: &Packet, sender: Role, path: PathId, pn: u64, frames: &[Frame<'_>]) -> Packet {
        let payload: usize = frames.iter().map(Frame::len).sum();
        let mut body = vec![0; payload];
        let mut out = Writer::new(&mut body);
        frames.iter().for_each(|f| f.write(&mut out));
        Self::forge_bytes(like, sender, path, pn, &body)
    }

    pub(crate) fn forge_bytes(like: &Packet, sender: Role, path: PathId, pn: u64, body: &[u8]) -> Packet {
        let keys = PlainCrypto::one_rtt(sender).local;
        let dcid = Cid::new(&like.bytes[1..9]).unwrap();
        let header = ShortHeader { dcid, pn, pn_len: 4, key_phase: false, spin: false };
        Packet { bytes: sealed(&header, &keys, path, body), ..like.clone() }
    }
}

/// The stand-in for TLS, with one end's transport parameters changed on their way into the handshake.
pub(crate) struct Meddling(pub(crate) Role, pub(crate) fn(&mut TransportParameters));

impl Meddling {
    fn meddle(&self, sender: Role, parameters: Vec<u8>) -> Vec<u8> {
        if sender != self.0 {
            return parameters;
        }
        let mut read = TransportParameters::decode(&parameters, sender).unwrap();
        self.1(&mut read);
        read.encode(sender, None)
    }
}

impl InitialCrypto for Meddling {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        PlainCrypto.initial_keys(version, dcid, role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; 16] {
        PlainCrypto.retry_tag(version, pseudo)
    }
}

impl ResetTokens for Meddling {
    fn reset_token(&self, cid: &[u8]) -> [u8; 16] {
        PlainCrypto.reset_token(cid)
    }
}

impl Sealing for Meddling {
    fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>) {
        PlainCrypto.seal(nonce, bound, text);
    }

    fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool {
        PlainCrypto.unseal(nonce, bound, sealed)
    }
}

impl ClientCrypto for Meddling {
    fn start(
        self: Arc<Self>,
        version: u32,
        name: &str,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        ClientCrypto::start(Arc::new(PlainCrypto), version, name, self.meddle(Role::Client, parameters))
    }
}

impl ServerCrypto for Meddling {
    fn start(self: Arc<Self>, version: u32, parameters: Vec<u8>) -> Result<Box<dyn Session>, String> {
        ServerCrypto::start(Arc::new(PlainCrypto), version, self.meddle(Role::Server, parameters))
    }

    fn parameters_in<'a>(&self, hello: &'a [u8]) -> Hello<'a> {
        PlainCrypto.parameters_in(hello)
    }

    fn start_changed(
        self: Arc<Self>,
        begun: u32,
        version: u32,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let parameters = self.meddle(Role::Server, parameters);
        ServerCrypto::start_changed(Arc::new(PlainCrypto), begun, version, parameters)
    }
}

/// A short-header packet under `keys`.
pub(crate) fn sealed(header: &ShortHeader, keys: &DirectionKeys, path: PathId, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.len()];
    let pn_at = header.write(&mut Writer::new(&mut bytes));
    let mut payload = body.to_vec();
    payload.resize(body.len().max(4) + keys.packet.tag_len(), 0);
    keys.packet.seal(path, header.pn, &bytes, &mut payload);
    bytes.extend(&payload);
    let sample = bytes[pn_at + 4..pn_at + 20].to_vec();
    let (first, rest) = bytes.split_first_mut().unwrap();
    keys.header.protect(&sample, first, &mut rest[pn_at - 1..pn_at - 1 + header.pn_len]);
    bytes
}

fn ended(events: &[Event]) -> Option<&mpquic_proto::CloseReason> {
    events.iter().find_map(|e| if let Event::Closed(reason) = e { Some(reason) } else { None })
}

fn server_config(transport: &TransportConfig) -> ServerConfig {
    let transport = Arc::new(transport.clone());
    ServerConfig { crypto: Arc::new(PlainCrypto), transport, max_connections: 4096 }
}

fn connect(
    endpoint: &mut Endpoint,
    now: Time,
    transport: &TransportConfig,
    local: SocketAddr,
) -> ConnectionId {
    let config = ClientConfig { crypto: Arc::new(PlainCrypto), transport: Arc::new(transport.clone()) };
    endpoint.connect(now, &config, "server", FourTuple { local, peer: server_address() }).unwrap()
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

fn hear(now: Time, endpoint: &mut Endpoint, mut packet: Packet) {
    let tuple = FourTuple { local: packet.tuple.peer, peer: packet.tuple.local };
    endpoint.receive(now, Received { tuple, ecn: packet.ecn }, &mut packet.bytes);
}
