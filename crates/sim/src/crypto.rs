//! A transparent stand-in for TLS: no secrets, but every rule about keys is enforced.
//!
//! Packets stay readable and carry a checksum over everything that a real key would bind: level, direction, phase, path,
//! packet number, header and payload. Sealing two packets under one key, path and number panics, because with a
//! real cipher it would give the key away. Everything is deterministic.

use mpquic_base::{Cid, PathId, Role};
use mpquic_proto::crypto::{
    ClientCrypto, DirectionKeys, Forged, HeaderKey, Hello, InitialCrypto, LevelKeys, NONCE_LEN, NewKeys,
    NextPhase, PacketKey, PhaseKeys, RESET_TOKEN_LEN, ResetTokens, Sealing, ServerCrypto, Session,
    TlsFailure,
};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const TAG_LEN: usize = 16;
const SAMPLE_LEN: usize = 16;
/// What a server sends besides its parameters, so that its first flight needs several packets.
const CERTIFICATE_LEN: usize = 2500;

/// Both ends' configuration; the same value serves clients and servers.
#[derive(Debug, Default)]
pub struct PlainCrypto;

impl PlainCrypto {
    /// The first 1-RTT keys of every connection, for tests that play an endpoint by hand.
    #[must_use]
    pub fn one_rtt(role: Role) -> LevelKeys {
        level_keys(ONE_RTT, role)
    }

    /// What `role` seals with after `phase` key updates.
    #[must_use]
    pub fn one_rtt_phase(role: Role, phase: u64) -> DirectionKeys {
        level_keys(ONE_RTT + phase, role).local
    }

    /// The Handshake keys of every connection.
    #[must_use]
    pub fn handshake(role: Role) -> LevelKeys {
        level_keys(HANDSHAKE, role)
    }

    /// The 0-RTT keys of every connection, for the same tests.
    #[must_use]
    pub fn early(role: Role) -> LevelKeys {
        level_keys(EARLY, role)
    }
}

impl InitialCrypto for PlainCrypto {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        level_keys(mix(u64::from(version), dcid.as_slice()), role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; TAG_LEN] {
        checksum(mix(u64::from(version), b"retry"), pseudo)
    }
}

impl ResetTokens for PlainCrypto {
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        checksum(RESETS, cid)
    }
}

impl Sealing for PlainCrypto {
    fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>) {
        let tag = checksum(mix(mix(TOKENS, nonce), bound), text);
        text.extend(tag);
    }

    fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool {
        let Some((text, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return false };
        let (right, len) = (checksum(mix(mix(TOKENS, nonce), bound), text) == *tag, text.len());
        sealed.truncate(len);
        right
    }
}

impl ClientCrypto for PlainCrypto {
    fn start(
        self: Arc<Self>,
        version: u32,
        _: &str,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let mut session = PlainSession::new(Role::Client, version);
        session.outbox.push(Out::Message(message(&parameters)));
        Ok(Box::new(session))
    }
}

impl ServerCrypto for PlainCrypto {
    fn start(self: Arc<Self>, version: u32, parameters: Vec<u8>) -> Result<Box<dyn Session>, String> {
        self.start_changed(version, version, parameters)
    }

    fn parameters_in<'a>(&self, hello: &'a [u8]) -> Hello<'a> {
        let Some((head, rest)) = hello.split_first_chunk() else { return Hello::Incomplete };
        let Some(body) = rest.get(..usize::from(u16::from_be_bytes(*head))) else { return Hello::Incomplete };
        Hello::Parameters(body.strip_suffix(EARLY_MARK).unwrap_or(body))
    }

    fn start_changed(
        self: Arc<Self>,
        _: u32,
        version: u32,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let mut session = PlainSession::new(Role::Server, version);
        session.local = parameters;
        Ok(Box::new(session))
    }
}

/// The same for a client that was here before and a server that remembers it: 0-RTT, accepted or not.
#[derive(Debug, Default)]
pub struct PlainTickets {
    /// What the server said at the last visit.
    pub remembered: Option<Vec<u8>>,
    pub accepts: bool,
}

impl InitialCrypto for PlainTickets {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        PlainCrypto.initial_keys(version, dcid, role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; TAG_LEN] {
        PlainCrypto.retry_tag(version, pseudo)
    }
}

impl ResetTokens for PlainTickets {
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        PlainCrypto.reset_token(cid)
    }
}

impl Sealing for PlainTickets {
    fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>) {
        PlainCrypto.seal(nonce, bound, text);
    }

    fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool {
        PlainCrypto.unseal(nonce, bound, sealed)
    }
}

impl ClientCrypto for PlainTickets {
    fn start(
        self: Arc<Self>,
        version: u32,
        _: &str,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let mut session = PlainSession::new(Role::Client, version);
        session.early = self.remembered.is_some();
        session.remembered.clone_from(&self.remembered);
        let offer = [&parameters[..], EARLY_MARK].concat();
        session.outbox.push(Out::Message(message(if session.early { &offer } else { &parameters })));
        Ok(Box::new(session))
    }
}

impl ServerCrypto for PlainTickets {
    fn start(self: Arc<Self>, version: u32, parameters: Vec<u8>) -> Result<Box<dyn Session>, String> {
        self.start_changed(version, version, parameters)
    }

    fn parameters_in<'a>(&self, hello: &'a [u8]) -> Hello<'a> {
        PlainCrypto.parameters_in(hello)
    }

    fn start_changed(
        self: Arc<Self>,
        _: u32,
        version: u32,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String> {
        let mut session = PlainSession::new(Role::Server, version);
        session.local = parameters;
        session.accepts_early = self.accepts;
        Ok(Box::new(session))
    }
}

/// A client's on another host than the server: its reset tokens have a secret of their own.
pub struct Elsewhere(pub Arc<dyn ClientCrypto>);

impl core::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Elsewhere").finish_non_exhaustive()
    }
}

impl InitialCrypto for Elsewhere {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys {
        self.0.initial_keys(version, dcid, role)
    }

    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; TAG_LEN] {
        self.0.retry_tag(version, pseudo)
    }
}

impl ResetTokens for Elsewhere {
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        checksum(RESETS_ELSEWHERE, cid)
    }
}

impl ClientCrypto for Elsewhere {
    fn start(self: Arc<Self>, v: u32, name: &str, parameters: Vec<u8>) -> Result<Box<dyn Session>, String> {
        Arc::clone(&self.0).start(v, name, parameters)
    }
}

/// Ends the hello of a client that offers 0-RTT, and of a server that accepts it.
const EARLY_MARK: &[u8] = b"early data!";

enum Out {
    Message(Vec<u8>),
    Handshake,
    OneRtt,
}

/// Client: hello with parameters. Server: hello; then parameters, certificate. Client: finished.
struct PlainSession {
    role: Role,
    version: u32,
    keys_given: bool,
    local: Vec<u8>,
    peer: Option<Vec<u8>>,
    inbox: Vec<u8>,
    messages_read: usize,
    outbox: Vec<Out>,
    done: bool,
    accepts_early: bool,
    /// Offered on a client, accepted on a server.
    early: bool,
    early_accepted: bool,
    remembered: Option<Vec<u8>>,
}

impl PlainSession {
    const fn new(role: Role, version: u32) -> Self {
        Self {
            role,
            version,
            keys_given: false,
            local: Vec::new(),
            peer: None,
            inbox: Vec::new(),
            messages_read: 0,
            outbox: Vec::new(),
            done: false,
            accepts_early: false,
            early: false,
            early_accepted: false,
            remembered: None,
        }
    }

    fn on_message(&mut self, body: Vec<u8>) -> Result<(), TlsFailure> {
        self.messages_read += 1;
        match (self.role, self.messages_read) {
            (Role::Server, 1) => {
                let offer = body.strip_suffix(EARLY_MARK);
                self.early = offer.is_some() && self.accepts_early;
                self.peer = Some(offer.unwrap_or(&body).to_vec());
                let accepted = [&b"server hello"[..], EARLY_MARK].concat();
                let hello = message(if self.early { &accepted } else { b"server hello" });
                let rest = [message(&self.local), message(&[0xce; CERTIFICATE_LEN])].concat();
                self.outbox.extend([Out::Message(hello), Out::Handshake, Out::Message(rest), Out::OneRtt]);
            }
            (Role::Server, 2) => self.done = true,
            (Role::Client, 1) => {
                self.early_accepted = body.ends_with(EARLY_MARK);
                self.outbox.push(Out::Handshake);
            }
            (Role::Client, 2) => self.peer = Some(body),
            (Role::Client, 3) => {
                self.outbox.extend([Out::Message(message(b"client finished")), Out::OneRtt]);
                self.done = true;
            }
            _ => return Err(TlsFailure { alert: 10, reason: "unexpected message".into() }),
        }
        Ok(())
    }
}

impl Session for PlainSession {
    fn read(&mut self, data: &[u8]) -> Result<(), TlsFailure> {
        self.inbox.extend_from_slice(data);
        while let Some((head, rest)) = self.inbox.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*head));
            let Some(body) = rest.get(..len).map(<[u8]>::to_vec) else { break };
            self.inbox.drain(..2 + len);
            self.on_message(body)?;
        }
        Ok(())
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        while !self.outbox.is_empty() {
            match self.outbox.remove(0) {
                Out::Message(bytes) => out.extend(bytes),
                Out::Handshake => {
                    self.keys_given = true;
                    let secret = of_version(HANDSHAKE, self.version);
                    return Some(NewKeys::Handshake(level_keys(secret, self.role)));
                }
                Out::OneRtt => {
                    let secret = of_version(ONE_RTT, self.version);
                    let next = Box::new(PlainPhases { role: self.role, secret, phase: 0 });
                    return Some(NewKeys::OneRtt { keys: level_keys(secret, self.role), next });
                }
            }
        }
        None
    }

    fn change_version(&mut self, version: u32) -> bool {
        if !self.keys_given {
            self.version = version;
        }
        !self.keys_given
    }

    fn is_handshaking(&self) -> bool {
        !self.done
    }

    fn peer_parameters(&self) -> Option<&[u8]> {
        self.peer.as_deref()
    }

    fn early_keys(&self) -> Option<DirectionKeys> {
        let keys = level_keys(EARLY, self.role);
        self.early.then_some(if self.role.is_client() { keys.local } else { keys.peer })
    }

    fn remembered_parameters(&self) -> Option<&[u8]> {
        self.remembered.as_deref()
    }

    fn early_accepted(&self) -> Option<bool> {
        self.done.then_some(self.early_accepted)
    }

    fn alpn(&self) -> Option<&[u8]> {
        Some(b"sim")
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        let seed = mix(mix(0, label), context);
        out.chunks_mut(8).zip(1u64..).for_each(|(chunk, i)| {
            chunk.copy_from_slice(&seed.wrapping_mul(i).to_be_bytes()[..chunk.len()]);
        });
        self.done
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const HANDSHAKE: u64 = 0x1000;
const ONE_RTT: u64 = 0x2000;
const TOKENS: u64 = 0x3000;
const RESETS: u64 = 0x4000;
const EARLY: u64 = 0x5000;
const RESETS_ELSEWHERE: u64 = 0x6000;

/// Versions share no keys; those of version 1 are plain.
fn of_version(secret: u64, version: u32) -> u64 {
    if version == 1 { secret } else { mix(secret, &version.to_be_bytes()) }
}

struct PlainPhases {
    role: Role,
    secret: u64,
    phase: u64,
}

impl NextPhase for PlainPhases {
    fn next(&mut self) -> PhaseKeys {
        self.phase += 1;
        let secret = self.secret + self.phase;
        let key = |by| Box::new(PlainKey::new(secret, by));
        PhaseKeys { local: key(self.role), peer: key(self.role.peer()) }
    }
}

fn level_keys(secret: u64, role: Role) -> LevelKeys {
    let one = |by: Role| DirectionKeys {
        header: Box::new(PlainHeader),
        packet: Box::new(PlainKey::new(secret, by)),
    };
    LevelKeys { local: one(role), peer: one(role.peer()) }
}

fn message(body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("simulated handshake messages are short");
    [&len.to_be_bytes(), body].concat()
}

struct PlainHeader;

fn mask(sample: &[u8]) -> [u8; 5] {
    let hash = mix(0x4d, sample).to_be_bytes();
    [hash[0], hash[1], hash[2], hash[3], hash[4]]
}

impl HeaderKey for PlainHeader {
    fn sample_len(&self) -> usize {
        SAMPLE_LEN
    }

    fn protect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        let mask = mask(sample);
        *first ^= mask[0] & if *first & 0x80 == 0 { 0x1f } else { 0x0f };
        pn.iter_mut().zip(&mask[1..]).for_each(|(b, m)| *b ^= m);
    }

    fn unprotect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        let mask = mask(sample);
        *first ^= mask[0] & if *first & 0x80 == 0 { 0x1f } else { 0x0f };
        let len = usize::from(*first & 3) + 1;
        pn.iter_mut().take(len).zip(&mask[1..]).for_each(|(b, m)| *b ^= m);
    }
}

struct PlainKey {
    secret: u64,
    /// The highest number sealed per path: numbers only ever grow.
    sealed: Mutex<BTreeMap<PathId, u64>>,
}

impl PlainKey {
    fn new(secret: u64, by: Role) -> Self {
        Self { secret: mix(secret, &[u8::from(by.is_client())]), sealed: Mutex::default() }
    }

    fn tag(&self, path: PathId, pn: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_LEN] {
        let bound = self.secret ^ u64::from(path.0).rotate_left(40) ^ pn.rotate_left(7);
        checksum(mix(bound, header), payload)
    }
}

impl PacketKey for PlainKey {
    fn seal(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) {
        let before = self.sealed.lock().unwrap_or_else(PoisonError::into_inner).insert(path, pn);
        assert!(
            before.is_none_or(|b| b < pn),
            "number {pn} of {path:?} sealed after {before:?}: nonce reuse"
        );
        let (text, tag) = payload.split_at_mut(payload.len() - TAG_LEN);
        tag.copy_from_slice(&self.tag(path, pn, header, text));
    }

    fn open(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, Forged> {
        let (text, tag) = payload.split_last_chunk::<TAG_LEN>().ok_or(Forged)?;
        if *tag == self.tag(path, pn, header, text) { Ok(text.len()) } else { Err(Forged) }
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        1 << 23
    }

    fn integrity_limit(&self) -> u64 {
        1 << 52
    }
}

fn checksum(secret: u64, bytes: &[u8]) -> [u8; TAG_LEN] {
    let low = mix(secret, bytes);
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&low.to_be_bytes());
    tag[8..].copy_from_slice(&mix(low, &[1]).to_be_bytes());
    tag
}

/// A quick mixing hash; it only has to notice damage.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ 0x9e37_79b9_7f4a_7c15;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash ^ bytes.len() as u64
}
