//! What the machine asks of a TLS stack. It never sees a key, a cipher or a certificate.
//!
//! `mpquic-tls` implements these traits with rustls; the simulator implements them with a transparent code that
//! catches reused packet numbers.

use mpquic_base::{Cid, PathId, Role};
pub use mpquic_wire::frame::RESET_TOKEN_LEN;
use mpquic_wire::header::RETRY_TAG_LEN;
use std::any::Any;
use std::sync::Arc;

/// A packet that does not decrypt: forged, corrupted or under other keys. Never a connection error by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// Packet protection in one direction (RFC 9001 §5.3, nonce by draft-ietf-quic-multipath-21 §2.4).
pub trait PacketKey: Send + Sync {
    /// Encrypts in place. `payload` is the plaintext followed by [`PacketKey::tag_len`] bytes for the tag.
    fn seal(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]);
    /// Encrypts a plaintext whose end, `rest`, lies elsewhere: `payload` has room for it before that for the tag. Where the
    /// cipher can write to another place than it reads from, that saves a copy.
    fn seal_with(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8], rest: &[u8]) {
        let end = payload.len() - self.tag_len();
        payload[end - rest.len()..end].copy_from_slice(rest);
        self.seal(path, pn, header, payload);
    }
    /// Decrypts in place and returns the length of the plaintext.
    ///
    /// # Errors
    /// `Forged` if the tag does not match; the contents of `payload` are then undefined.
    fn open(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, Forged>;
    fn tag_len(&self) -> usize;
    /// Packets that may be sealed under one key (RFC 9001 §6.6), summed over all paths.
    fn confidentiality_limit(&self) -> u64;
    /// Packets that may fail to open under one key, summed over all paths.
    fn integrity_limit(&self) -> u64;
}

/// Header protection in one direction (RFC 9001 §5.4). Never changes with a key update.
pub trait HeaderKey: Send + Sync {
    /// Bytes of ciphertext sampled, starting 4 bytes after the start of the packet number.
    fn sample_len(&self) -> usize;
    /// Masks the low bits of the first byte and the packet number bytes.
    fn protect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]);
    /// Unmasks the first byte, then as many bytes of `pn` (4 long) as it announces.
    fn unprotect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]);
}

pub struct DirectionKeys {
    pub header: Box<dyn HeaderKey>,
    pub packet: Box<dyn PacketKey>,
}

/// Both directions of one encryption level.
pub struct LevelKeys {
    pub local: DirectionKeys,
    pub peer: DirectionKeys,
}

/// The packet keys of one 1-RTT key phase: ours for sealing, the peer's for opening.
pub struct PhaseKeys {
    pub local: Box<dyn PacketKey>,
    pub peer: Box<dyn PacketKey>,
}

/// Derives one key phase after the other.
pub trait NextPhase: Send {
    fn next(&mut self) -> PhaseKeys;
}

/// Keys that became available while handshake bytes were written.
pub enum NewKeys {
    Handshake(LevelKeys),
    OneRtt { keys: LevelKeys, next: Box<dyn NextPhase> },
}

/// The TLS stack refused what the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// The TLS alert; it becomes the QUIC error 0x0100 + alert.
    pub alert: u8,
    pub reason: String,
}

/// One handshake in progress, and what it leaves behind.
pub trait Session: Send {
    /// Handshake bytes of the peer, in order, of whatever level comes next.
    ///
    /// # Errors
    /// The alert to close the connection with.
    fn read(&mut self, data: &[u8]) -> Result<(), TlsFailure>;
    /// Appends handshake bytes for the peer to `out`, up to the next change of keys. Bytes written together with
    /// `Some(keys)` still belong to the level before; call again until nothing is written and `None` returned.
    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys>;
    /// On a client: the server answers in another version of QUIC, under whose labels all keys but those of 0-RTT are
    /// derived from now on (RFC 9368 §2.3). False if that cannot be, or comes too late.
    fn change_version(&mut self, version: u32) -> bool;
    fn is_handshaking(&self) -> bool;
    /// The peer's encoded transport parameters, once they are authenticated enough to use.
    fn peer_parameters(&self) -> Option<&[u8]>;
    /// Keys of 0-RTT packets: for sealing on a client that was here before, for opening on a server that accepts them.
    fn early_keys(&self) -> Option<DirectionKeys> {
        None
    }
    /// On a client with early keys: the server's parameters of that earlier visit.
    fn remembered_parameters(&self) -> Option<&[u8]> {
        None
    }
    /// On a client, once the handshake is done: whether the server took the 0-RTT packets.
    fn early_accepted(&self) -> Option<bool> {
        None
    }
    /// Whether the peer was believed because of an earlier connection, and showed no certificate.
    fn resumed(&self) -> bool {
        false
    }
    /// The name of the cipher suite, once agreed.
    fn cipher(&self) -> Option<&'static str> {
        None
    }
    fn alpn(&self) -> Option<&[u8]>;
    /// The peer's end-entity certificate or raw public key (DER), once known.
    fn peer_certificate(&self) -> Option<Vec<u8>>;
    /// RFC 8446 §7.5: fills `out` with keying material bound to this handshake; false before it is complete.
    fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool;
    /// The handshake is complete, and its messages, keys and parameters were taken: what only they needed may go.
    fn shed(&mut self) {}
    /// For what a particular TLS stack offers beyond this trait.
    fn as_any(&self) -> &dyn Any;
}

/// Keys that everybody can derive from the version and the client's first destination connection ID.
pub trait InitialCrypto: Send + Sync {
    fn initial_keys(&self, version: u32, dcid: &Cid, role: Role) -> LevelKeys;
    /// RFC 9001 §5.8: the tag that ends a Retry packet; `pseudo` is the Retry Pseudo-Packet.
    fn retry_tag(&self, version: u32, pseudo: &[u8]) -> [u8; RETRY_TAG_LEN];
}

/// Bytes of the nonce that [`Sealing`] takes. Random ones may be used: too few tokens are made to ever meet twice.
pub const NONCE_LEN: usize = 12;

/// A secret of this server alone: what it seals only it (or whoever shares its secret) can read, and nobody can make.
pub trait Sealing: Send + Sync {
    /// Encrypts `text` and appends a tag; `bound` is authenticated with it.
    fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>);
    /// The reverse; false if it was not sealed here, with the contents of `sealed` then undefined.
    fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool;
}

/// A static secret of an endpoint, the same after a restart and on all machines that answer for one another.
pub trait ResetTokens: Send + Sync {
    /// RFC 9000 §10.3.2: the token of the connection ID `cid`; nobody can tell it from randomness.
    fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN];
}

/// Starts client handshakes.
pub trait ClientCrypto: InitialCrypto + ResetTokens {
    /// # Errors
    /// In words for the caller: a server name or configuration that cannot be used.
    fn start(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String>;
}

/// Starts server handshakes.
pub trait ServerCrypto: InitialCrypto + ResetTokens + Sealing {
    /// # Errors
    /// In words for the operator: a configuration that cannot be used.
    fn start(self: Arc<Self>, version: u32, parameters: Vec<u8>) -> Result<Box<dyn Session>, String>;
    /// The client's transport parameters in the first bytes that it sent, which no session has read yet.
    fn parameters_in<'a>(&self, hello: &'a [u8]) -> Hello<'a>;
    /// As [`ServerCrypto::start`], of a handshake that the client began in version `begun` and that goes on in `version`:
    /// only the keys of 0-RTT are those of `begun`.
    ///
    /// # Errors
    /// As [`ServerCrypto::start`].
    fn start_changed(
        self: Arc<Self>,
        begun: u32,
        version: u32,
        parameters: Vec<u8>,
    ) -> Result<Box<dyn Session>, String>;
}

/// What a look into a client's first bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello<'a> {
    /// More bytes are needed.
    Incomplete,
    /// The client's encoded transport parameters.
    Parameters(&'a [u8]),
    /// There are none: whatever this is, a session has to judge it.
    Without,
}

/// Keys never show in logs; what kind of thing they are does.
macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

opaque!(DirectionKeys, LevelKeys, PhaseKeys, NewKeys);
