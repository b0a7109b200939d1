//! Packet keys made here of the handshake's secrets, where those that rustls makes do not do.
//!
//! For another version of QUIC than the one that a handshake began with (RFC 9368 §2.3, RFC 9369 §3.3.2): versions differ in
//! the labels under which keys are derived, and rustls derives with those of the version that a session was started with.
//! And for AES-GCM by AWS-LC, which can read the plaintext from one place and write to another
//! (`docs/decisions/0014-full-packets-are-sealed-from-the-stream.md`): rustls's keys only work in place.
//!
//! Owns the way from a secret to keys. Each secret is dropped with its keys, whether it was needed or not.

use crate::provider::{QUIC_V2, aws_lc_is_fastest};
use crate::tap::Secrets;
use aws_lc_rs::aead::quic::HeaderProtectionKey;
use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use mpquic_base::{PathId, Role};
use mpquic_proto::crypto::{
    DirectionKeys, Forged, HeaderKey, LevelKeys, NewKeys, NextPhase, PacketKey, PhaseKeys,
};
use rustls::crypto::tls13::OkmBlock;
use rustls::quic::KeyChange;
use rustls::{CipherSuite, Tls13CipherSuite};

/// Whether the keys made here are better than those of rustls, where both would do.
pub(crate) fn is_better(change: &KeyChange, suite: &Tls13CipherSuite) -> bool {
    let bulk = matches!(change, KeyChange::OneRtt { .. });
    bulk && aws_lc_is_fastest() && suite.common.suite != CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
}

/// The keys that `change` stands for, with the labels of `version`; `None` if the secrets or the suite are unknown.
pub(crate) fn derived(
    change: &KeyChange,
    secrets: Secrets,
    suite: &'static Tls13CipherSuite,
    version: u32,
    role: Role,
) -> Option<NewKeys> {
    let [client, server] = secrets;
    let (local, peer) = if role.is_client() { (client?, server?) } else { (server?, client?) };
    let recipe = Recipe::new(suite, version)?;
    let keys = LevelKeys { local: recipe.direction(&local)?, peer: recipe.direction(&peer)? };
    Some(match change {
        KeyChange::Handshake { .. } => NewKeys::Handshake(keys),
        KeyChange::OneRtt { .. } => NewKeys::OneRtt { keys, next: Box::new(Phases { recipe, local, peer }) },
    })
}

/// How keys are made of secrets in one version of QUIC and under one cipher suite.
#[derive(Clone, Copy)]
struct Recipe {
    suite: &'static Tls13CipherSuite,
    /// RFC 9001 §5.1 and RFC 9369 §3.3.2.
    prefix: &'static str,
    cipher: &'static aead::Algorithm,
    mask: &'static aead::quic::Algorithm,
    /// RFC 9001 §6.6.
    confidentiality_limit: u64,
    integrity_limit: u64,
}

impl Recipe {
    fn new(suite: &'static Tls13CipherSuite, version: u32) -> Option<Self> {
        let (cipher, mask, confidentiality_limit, integrity_limit) = match suite.common.suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => {
                (&aead::AES_128_GCM, &aead::quic::AES_128, 1 << 23, 1 << 52)
            }
            CipherSuite::TLS13_AES_256_GCM_SHA384 => {
                (&aead::AES_256_GCM, &aead::quic::AES_256, 1 << 23, 1 << 52)
            }
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => {
                (&aead::CHACHA20_POLY1305, &aead::quic::CHACHA20, u64::MAX, 1 << 36)
            }
            _ => return None,
        };
        let prefix = if version == QUIC_V2 { "quicv2 " } else { "quic " };
        Some(Self { suite, prefix, cipher, mask, confidentiality_limit, integrity_limit })
    }

    /// RFC 8446 §7.1: HKDF-Expand-Label with an empty context.
    fn expand(&self, secret: &OkmBlock, what: &str, out: &mut [u8]) -> Option<()> {
        let label = ["tls13 ", self.prefix, what].concat();
        let (len, label_len) = (u16::try_from(out.len()).ok()?, u8::try_from(label.len()).ok()?);
        let info: [&[u8]; 4] = [&len.to_be_bytes(), &[label_len], label.as_bytes(), &[0]];
        self.suite.hkdf_provider.expander_for_okm(secret).expand_slice(&info, out).ok()
    }

    fn direction(&self, secret: &OkmBlock) -> Option<DirectionKeys> {
        let mut key = [0; 32];
        let key = key.get_mut(..self.mask.key_len())?;
        self.expand(secret, "hp", key)?;
        let header = Box::new(Header(HeaderProtectionKey::new(self.mask, key).ok()?));
        Some(DirectionKeys { header, packet: self.packet(secret)? })
    }

    fn packet(&self, secret: &OkmBlock) -> Option<Box<dyn PacketKey>> {
        let (mut key, mut iv) = ([0; 32], [0; NONCE_LEN]);
        let key = key.get_mut(..self.cipher.key_len())?;
        self.expand(secret, "key", key)?;
        self.expand(secret, "iv", &mut iv)?;
        let key = LessSafeKey::new(UnboundKey::new(self.cipher, key).ok()?);
        Some(Box::new(Packet { key, iv: Mask::new(iv), recipe: *self }))
    }

    /// RFC 9001 §6.1: the secret of the next phase.
    fn updated(&self, secret: &OkmBlock) -> Option<OkmBlock> {
        let mut next = [0; 64];
        let next = next.get_mut(..secret.as_ref().len())?;
        self.expand(secret, "ku", next)?;
        Some(OkmBlock::new(next))
    }
}

/// A nonce, or what it is mixed with: its first 8 bytes and its last 4, as which AWS-LC reads it, so that no load spans two
/// stores and has to wait for them.
#[derive(Clone, Copy)]
struct Mask(u64, u32);

impl Mask {
    fn new(iv: [u8; NONCE_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, last @ ..] = iv;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes(last))
    }

    /// draft-ietf-quic-multipath-21 §2.4: the path id above the packet number.
    #[allow(clippy::cast_possible_truncation, reason = "the high half goes to the first word")]
    fn nonce(self, path: PathId, pn: u64) -> Nonce {
        let first = self.0 ^ (u64::from(path.0) << 32 | pn >> 32);
        let last = self.1 ^ pn as u32;
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&first.to_be_bytes());
        nonce[8..].copy_from_slice(&last.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

struct Packet {
    key: LessSafeKey,
    iv: Mask,
    recipe: Recipe,
}

impl PacketKey for Packet {
    fn seal(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) {
        self.seal_with(path, pn, header, payload, &[]);
    }

    fn seal_with(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8], rest: &[u8]) {
        let (nonce, tag_len) = (self.iv.nonce(path, pn), self.tag_len());
        let text = payload.len().checked_sub(tag_len + rest.len());
        let (plain, room) =
            payload.split_at_mut(text.expect("the caller leaves room for the rest and the tag"));
        // A failure would leave plaintext in the buffer, so going on is no option.
        self.key
            .seal_in_place_scatter(nonce, Aad::from(header), plain, rest, room)
            .expect("a datagram is far below the AEAD's size limit");
    }

    fn open(&self, path: PathId, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, Forged> {
        let text = self.key.open_in_place(self.iv.nonce(path, pn), Aad::from(header), payload);
        text.map(|text| text.len()).map_err(|_| Forged)
    }

    fn tag_len(&self) -> usize {
        self.recipe.cipher.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.recipe.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.recipe.integrity_limit
    }
}

struct Header(HeaderProtectionKey);

impl Header {
    /// RFC 9001 §5.4.1: the bits that are masked depend on the form of the header.
    fn bits(first: u8) -> u8 {
        if first & 0x80 == 0 { 0x1f } else { 0x0f }
    }
}

impl HeaderKey for Header {
    fn sample_len(&self) -> usize {
        self.0.algorithm().sample_len()
    }

    fn protect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        let mask = self.0.new_mask(sample).expect("the sample is sample_len bytes");
        *first ^= mask[0] & Self::bits(*first);
        pn.iter_mut().zip(&mask[1..]).for_each(|(byte, m)| *byte ^= m);
    }

    fn unprotect(&self, sample: &[u8], first: &mut u8, pn: &mut [u8]) {
        // A wrong length is a mistake of the caller; the packet then fails to open, as a forged one does.
        let Ok(mask) = self.0.new_mask(sample) else { return };
        *first ^= mask[0] & Self::bits(*first);
        let len = usize::from(*first & 3) + 1;
        pn.iter_mut().take(len).zip(&mask[1..]).for_each(|(byte, m)| *byte ^= m);
    }
}

/// The secrets of the current phase.
struct Phases {
    recipe: Recipe,
    local: OkmBlock,
    peer: OkmBlock,
}

impl NextPhase for Phases {
    fn next(&mut self) -> PhaseKeys {
        let recipe = self.recipe;
        let advance = |secret: &mut OkmBlock| {
            *secret = recipe.updated(secret)?;
            recipe.packet(secret)
        };
        let keys = advance(&mut self.local).zip(advance(&mut self.peer));
        let (local, peer) = keys.expect("what was derived once can be derived again");
        PhaseKeys { local, peer }
    }
}

#[cfg(test)]
mod tests;
