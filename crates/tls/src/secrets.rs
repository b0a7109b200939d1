//! What only this endpoint (or a fleet that shares its master secret) can make and read: sealed tokens and reset tokens.
//!
//! Also the tag of Retry packets, whose key everybody knows. Everything is derived from one master secret, so that a
//! server that keeps it keeps its tokens across restarts.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use mpquic_proto::crypto::{NONCE_LEN, RESET_TOKEN_LEN};

/// Bytes of a master secret.
pub const MASTER_SECRET_LEN: usize = 32;
/// RFC 9001 §5.8 and RFC 9369 §3.3.3: keys and nonces that everybody knows.
const RETRY_V1: ([u8; 16], [u8; NONCE_LEN]) = (
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e],
    [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
);
const RETRY_V2: ([u8; 16], [u8; NONCE_LEN]) = (
    [0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc, 0x92],
    [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
);

pub(crate) struct Secrets {
    tokens: LessSafeKey,
    resets: hmac::Key,
}

impl Secrets {
    pub(crate) fn from_master(master: &[u8; MASTER_SECRET_LEN]) -> Self {
        Self {
            tokens: key(&aead::AES_256_GCM, derived(master, b"mpquic tokens").as_ref()),
            resets: hmac::Key::new(hmac::HMAC_SHA256, derived(master, b"mpquic resets").as_ref()),
        }
    }

    /// Lives as long as the process.
    pub(crate) fn random() -> Self {
        let mut master = [0; MASTER_SECRET_LEN];
        aws_lc_rs::rand::fill(&mut master).expect("the system has randomness");
        Self::from_master(&master)
    }

    pub(crate) fn reset_token(&self, cid: &[u8]) -> [u8; RESET_TOKEN_LEN] {
        let tag = hmac::sign(&self.resets, cid);
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }

    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], text: &mut Vec<u8>) {
        self.tokens
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(bound), text)
            .expect("a token is far below the AEAD's size limit");
    }

    pub(crate) fn unseal(&self, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &mut Vec<u8>) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(len) = self.tokens.open_in_place(nonce, Aad::from(bound), sealed).map(|text| text.len())
        else {
            return false;
        };
        sealed.truncate(len);
        true
    }
}

fn derived(master: &[u8], what: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, master), what)
}

fn key(algorithm: &'static aead::Algorithm, bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, bytes).expect("keys here have their algorithm's length"))
}

/// The tag over a Retry Pseudo-Packet.
pub(crate) fn retry_tag(version: u32, pseudo: &[u8]) -> [u8; 16] {
    let (bytes, nonce) = if version == crate::provider::QUIC_V2 { RETRY_V2 } else { RETRY_V1 };
    let tag = key(&aead::AES_128_GCM, &bytes)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(pseudo), &mut [])
        .expect("a packet is far below the AEAD's size limit");
    tag.as_ref().try_into().expect("AES-GCM has tags of 16 bytes")
}

#[cfg(test)]
mod tests {
    use super::{Secrets, retry_tag};
    use crate::rig::{V1, V2, unhex};

    /// The Retry Pseudo-Packet of a published Retry, and its tag.
    fn published(packet: &str) -> (Vec<u8>, Vec<u8>) {
        let packet = unhex(packet);
        let (covered, tag) = packet.split_at(packet.len() - 16);
        (
            ["088394c8f03e515708".to_owned().as_str()]
                .iter()
                .flat_map(|h| unhex(h))
                .chain(covered.to_vec())
                .collect(),
            tag.to_vec(),
        )
    }

    #[test]
    fn the_retry_of_version_1_is_the_published_one() {
        // RFC 9001 §A.4.
        let packet = "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba";
        let (pseudo, tag) = published(packet);
        assert_eq!(retry_tag(V1, &pseudo).to_vec(), tag);
    }

    #[test]
    fn the_retry_of_version_2_is_the_published_one() {
        // RFC 9369 §A.4.
        let packet = "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6";
        let (pseudo, tag) = published(packet);
        assert_eq!(retry_tag(V2, &pseudo).to_vec(), tag);
    }

    #[test]
    fn what_one_secret_sealed_another_cannot_open() {
        let (ours, theirs) = (Secrets::random(), Secrets::random());
        let mut sealed = b"text".to_vec();
        ours.seal(&[1; 12], b"bound", &mut sealed);
        assert!(!theirs.unseal(&[1; 12], b"bound", &mut sealed.clone()));
        assert!(!ours.unseal(&[2; 12], b"bound", &mut sealed.clone()));
        assert!(!ours.unseal(&[1; 12], b"other", &mut sealed.clone()));
        assert!(!ours.unseal(&[1; 12], b"bound", &mut sealed[..7].to_vec()));
        assert!(ours.unseal(&[1; 12], b"bound", &mut sealed));
        assert_eq!(sealed, b"text");
    }

    #[test]
    fn reset_tokens_depend_on_the_secret_and_the_connection_id_alone() {
        let (one, other) = (Secrets::from_master(&[7; 32]), Secrets::from_master(&[8; 32]));
        let again = Secrets::from_master(&[7; 32]);
        assert_eq!(one.reset_token(&[1; 8]), again.reset_token(&[1; 8]));
        assert_ne!(one.reset_token(&[1; 8]), one.reset_token(&[2; 8]));
        assert_ne!(one.reset_token(&[1; 8]), other.reset_token(&[1; 8]));
    }

    #[test]
    fn the_same_master_secret_reads_the_tokens_of_an_earlier_life() {
        let mut sealed = b"text".to_vec();
        Secrets::from_master(&[7; 32]).seal(&[1; 12], b"", &mut sealed);
        assert!(Secrets::from_master(&[7; 32]).unseal(&[1; 12], b"", &mut sealed));
    }
}
