//! A client and a server in memory, for the tests of this crate: carries handshake bytes level by level, as a
//! transport does, and keeps the keys that come out.

use crate::{ClientConfig, Identity, Pin, ServerConfig};
use mpquic_base::PathId;
use mpquic_proto::crypto::{
    ClientCrypto, DirectionKeys, LevelKeys, NewKeys, NextPhase, PacketKey, ServerCrypto, Session, TlsFailure,
};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) const V1: u32 = crate::provider::QUIC_V1;
pub(crate) const V2: u32 = crate::provider::QUIC_V2;
pub(crate) const CLIENT_PARAMETERS: &[u8] = b"\x04\x01\x25";
pub(crate) const SERVER_PARAMETERS: &[u8] = b"\x05\x02\x41\x00";

/// Bytes of one level on their way: 0 Initial, 1 Handshake, 2 1-RTT.
pub(crate) type Flight = (usize, Vec<u8>);

pub(crate) struct End {
    pub(crate) session: Box<dyn Session>,
    pub(crate) handshake: Option<LevelKeys>,
    pub(crate) one_rtt: Option<LevelKeys>,
    pub(crate) next: Option<Box<dyn NextPhase>>,
    level: usize,
}

impl End {
    pub(crate) fn new(session: Box<dyn Session>) -> Self {
        Self { session, handshake: None, one_rtt: None, next: None, level: 0 }
    }

    /// Everything the session wants to send now, one entry per level.
    pub(crate) fn flush(&mut self) -> Vec<Flight> {
        let mut flights = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let keys = self.session.write(&mut bytes);
            let idle = bytes.is_empty() && keys.is_none();
            if !bytes.is_empty() {
                flights.push((self.level, bytes));
            }
            match keys {
                Some(NewKeys::Handshake(keys)) => {
                    assert!(self.handshake.replace(keys).is_none(), "Handshake keys come once");
                    self.level = 1;
                }
                Some(NewKeys::OneRtt { keys, next }) => {
                    assert!(self.one_rtt.replace(keys).is_none(), "1-RTT keys come once");
                    self.next = Some(next);
                    self.level = 2;
                }
                None => {}
            }
            if idle {
                return flights;
            }
        }
    }
}

/// Which end failed, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Client(TlsFailure),
    Server(TlsFailure),
}

impl Outcome {
    pub(crate) fn client_alert(&self) -> Option<u8> {
        if let Self::Client(failure) = self { Some(failure.alert) } else { None }
    }

    pub(crate) fn server_alert(&self) -> Option<u8> {
        if let Self::Server(failure) = self { Some(failure.alert) } else { None }
    }
}

pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
}

impl Pair {
    pub(crate) fn new(client: Box<dyn Session>, server: Box<dyn Session>) -> Self {
        Self { client: End::new(client), server: End::new(server) }
    }

    pub(crate) fn of(
        client: &Arc<ClientConfig>,
        server: &Arc<ServerConfig>,
        version: u32,
        name: &str,
    ) -> Self {
        let server = Arc::clone(server).start(version, SERVER_PARAMETERS.to_vec()).unwrap();
        let client = Arc::clone(client).start(version, name, CLIENT_PARAMETERS.to_vec()).unwrap();
        Self::new(client, server)
    }

    /// A client that pins the server's certificate.
    pub(crate) fn pinned(version: u32) -> Self {
        let (client, server) = configs();
        Self::of(&client, &server, version, "localhost")
    }

    /// Runs until nobody has anything to say, with at most `chunk` bytes per call of `read`.
    pub(crate) fn run(&mut self, chunk: usize) -> Outcome {
        let mut to_server: VecDeque<Flight> = self.client.flush().into();
        let mut to_client: VecDeque<Flight> = VecDeque::new();
        loop {
            if let Some((_, bytes)) = to_server.pop_front() {
                match deliver(&mut self.server, &bytes, chunk) {
                    Ok(replies) => to_client.extend(replies),
                    Err(failure) => return Outcome::Server(failure),
                }
            } else if let Some((_, bytes)) = to_client.pop_front() {
                match deliver(&mut self.client, &bytes, chunk) {
                    Ok(replies) => to_server.extend(replies),
                    Err(failure) => return Outcome::Client(failure),
                }
            } else {
                return Outcome::Done;
            }
        }
    }

    /// As `run`, for a handshake that has to succeed.
    pub(crate) fn complete(mut self) -> Self {
        assert_eq!(self.run(usize::MAX), Outcome::Done);
        assert!(!self.client.session.is_handshaking() && !self.server.session.is_handshaking());
        self
    }
}

fn deliver(to: &mut End, bytes: &[u8], chunk: usize) -> Result<Vec<Flight>, TlsFailure> {
    let mut replies = Vec::new();
    for piece in bytes.chunks(chunk) {
        to.session.read(piece)?;
        replies.extend(to.flush());
    }
    Ok(replies)
}

/// Two configurations that fit: the client pins the server.
pub(crate) fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let identity = Identity::self_signed(&["localhost"]).unwrap();
    let client = pinning(&[Pin::Certificate(identity.fingerprint())]);
    (client, serving(identity))
}

pub(crate) fn pinning(pins: &[Pin]) -> Arc<ClientConfig> {
    Arc::new(ClientConfig::pinned(pins).unwrap().build(&[b"bond", b"h3"]).unwrap())
}

pub(crate) fn serving(identity: Identity) -> Arc<ServerConfig> {
    Arc::new(ServerConfig::with_identity(identity).build(&[b"h3"]).unwrap())
}

/// Seals with one end's key and opens with the other's, header protection included.
pub(crate) fn assert_agree(sender: &DirectionKeys, receiver: &DirectionKeys) {
    assert_packets_agree(&*sender.packet, &*receiver.packet);
    let sample = vec![0x5a; sender.header.sample_len()];
    let (mut first, mut pn) = (0x43, [1, 2, 3, 4]);
    sender.header.protect(&sample, &mut first, &mut pn);
    assert_ne!(pn, [1, 2, 3, 4]);
    receiver.header.unprotect(&sample, &mut first, &mut pn);
    assert_eq!((first, pn), (0x43, [1, 2, 3, 4]));
}

pub(crate) fn assert_packets_agree(sender: &dyn PacketKey, receiver: &dyn PacketKey) {
    assert_eq!(open(receiver, &seal(sender, b"plaintext")).as_deref(), Some(&b"plaintext"[..]));
}

pub(crate) fn seal(key: &dyn PacketKey, text: &[u8]) -> Vec<u8> {
    let mut payload = [text, &vec![0; key.tag_len()]].concat();
    key.seal(PathId(1), 7, b"header", &mut payload);
    payload
}

pub(crate) fn open(key: &dyn PacketKey, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut payload = sealed.to_vec();
    let len = key.open(PathId(1), 7, b"header", &mut payload).ok()?;
    payload.truncate(len);
    Some(payload)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}
