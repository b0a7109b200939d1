//! Packet protection for processors on which AWS-LC is slow: those that have AES instructions on whole vectors (VAES) but
//! not AVX-512. ring seals there in about half the time (`docs/decisions/0009-ring-seals-where-it-is-faster.md`).
//!
//! Owns the choice and the packet keys. The handshake, key schedules and header protection stay with AWS-LC, and rustls's
//! own `ring` feature stays off: with two providers compiled in, other people's `ClientConfig::builder()` would panic.

use ring::aead::{self, Aad, LessSafeKey, UnboundKey};
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{AeadKey, Iv, Nonce};
use rustls::quic::{self, HeaderProtectionKey, PacketKey, Tag};
use rustls::{Error, SupportedCipherSuite, Tls13CipherSuite};
use std::sync::LazyLock;

/// RFC 9001 §6.6: packets sealed with one AES-GCM key, and forgeries tried against one.
const CONFIDENTIALITY_LIMIT: u64 = 1 << 23;
const INTEGRITY_LIMIT: u64 = 1 << 52;

static AES_128: LazyLock<Tls13CipherSuite> = LazyLock::new(|| by_ring(&KEYS_128));
static AES_256: LazyLock<Tls13CipherSuite> = LazyLock::new(|| by_ring(&KEYS_256));

static KEYS_128: AesGcm =
    AesGcm { aead: &aead::AES_128_GCM, aws_lc: &cipher_suite::TLS13_AES_128_GCM_SHA256 };
static KEYS_256: AesGcm =
    AesGcm { aead: &aead::AES_256_GCM, aws_lc: &cipher_suite::TLS13_AES_256_GCM_SHA384 };

/// AES-GCM with keys of 128 and of 256 bits, by whichever library is quicker on this processor.
pub(crate) fn aes_gcm() -> [SupportedCipherSuite; 2] {
    if ring_is_faster() {
        [SupportedCipherSuite::Tls13(&AES_128), SupportedCipherSuite::Tls13(&AES_256)]
    } else {
        [*KEYS_128.aws_lc, *KEYS_256.aws_lc]
    }
}

/// AWS-LC uses VAES only together with AVX-512, ring with AVX2 as well.
pub(crate) fn ring_is_faster() -> bool {
    let vectors = std::is_x86_feature_detected!("vaes") && std::is_x86_feature_detected!("vpclmulqdq");
    vectors && std::is_x86_feature_detected!("avx2") && !std::is_x86_feature_detected!("avx512vl")
}

fn by_ring(keys: &'static AesGcm) -> Tls13CipherSuite {
    let suite = keys.aws_lc();
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit, .. } = suite.common;
    Tls13CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: Some(keys),
    }
}

struct AesGcm {
    aead: &'static aead::Algorithm,
    /// Has everything else.
    aws_lc: &'static SupportedCipherSuite,
}

impl AesGcm {
    fn aws_lc(&self) -> &'static Tls13CipherSuite {
        self.aws_lc.tls13().expect("both are of TLS 1.3")
    }
}

impl quic::Algorithm for AesGcm {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        let key =
            UnboundKey::new(self.aead, key.as_ref()).expect("rustls asks for the length and keeps to it");
        Box::new(Key { key: LessSafeKey::new(key), iv })
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        self.aws_lc().quic.expect("made for QUIC").header_protection_key(key)
    }

    fn aead_key_len(&self) -> usize {
        self.aead.key_len()
    }
}

struct Key {
    key: LessSafeKey,
    iv: Iv,
}

impl Key {
    fn nonce(&self, path: u32, pn: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::for_path(path, &self.iv, pn).0)
    }
}

impl PacketKey for Key {
    fn encrypt_in_place(&self, pn: u64, header: &[u8], payload: &mut [u8]) -> Result<Tag, Error> {
        self.encrypt_in_place_for_path(0, pn, header, payload)
    }

    fn encrypt_in_place_for_path(
        &self,
        path: u32,
        pn: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(path, pn), Aad::from(header), payload);
        sealed.map(|tag| Tag::from(tag.as_ref())).map_err(|_| Error::EncryptError)
    }

    fn decrypt_in_place<'a>(&self, pn: u64, header: &[u8], payload: &'a mut [u8]) -> Result<&'a [u8], Error> {
        self.decrypt_in_place_for_path(0, pn, header, payload)
    }

    fn decrypt_in_place_for_path<'a>(
        &self,
        path: u32,
        pn: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let opened = self.key.open_in_place(self.nonce(path, pn), Aad::from(header), payload);
        opened.map(|plain| &*plain).map_err(|_| Error::DecryptError)
    }

    fn tag_len(&self) -> usize {
        self.key.algorithm().tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        CONFIDENTIALITY_LIMIT
    }

    fn integrity_limit(&self) -> u64 {
        INTEGRITY_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::{AES_128, AES_256, KEYS_128, KEYS_256};
    use rustls::Side;
    use rustls::Tls13CipherSuite;
    use rustls::quic::{Keys, Version};

    fn pairs() -> [(&'static Tls13CipherSuite, &'static Tls13CipherSuite); 2] {
        [(&*AES_128, KEYS_128.aws_lc()), (&*AES_256, KEYS_256.aws_lc())]
    }

    fn keys(suite: &'static Tls13CipherSuite, side: Side) -> Keys {
        suite.quic_suite().unwrap().keys(b"a connection", side, Version::V1)
    }

    #[test]
    fn what_either_library_seals_the_other_opens_on_every_path() {
        for (ring, aws) in pairs() {
            assert_eq!(ring.common.suite, aws.common.suite);
            for (from, to) in [(ring, aws), (aws, ring)] {
                let (client, server) = (keys(from, Side::Client), keys(to, Side::Server));
                for (path, pn, len) in
                    [(0, 0, 0), (0, 7, 1), (3, 1 << 40, 1400), (u32::MAX, u64::MAX >> 2, 9000)]
                {
                    let plain: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
                    let mut packet = plain.clone();
                    let sealed =
                        client.local.packet.encrypt_in_place_for_path(path, pn, b"head", &mut packet);
                    packet.extend(sealed.unwrap().as_ref());
                    let mut forged = packet.clone();
                    *forged.last_mut().unwrap() ^= 1;
                    let opener = &server.remote.packet;
                    assert!(opener.decrypt_in_place_for_path(path, pn, b"head", &mut forged).is_err());
                    assert!(
                        opener.decrypt_in_place_for_path(path ^ 1, pn, b"head", &mut packet.clone()).is_err()
                    );
                    let opened = opener.decrypt_in_place_for_path(path, pn, b"head", &mut packet).unwrap();
                    assert_eq!(opened, plain);
                }
            }
        }
    }

    #[test]
    fn both_libraries_keys_have_the_same_limits_and_lengths() {
        for (ring, aws) in pairs() {
            let [ring, aws] = [ring, aws].map(|suite| keys(suite, Side::Client).local.packet);
            let of = |key: &dyn rustls::quic::PacketKey| {
                (key.tag_len(), key.confidentiality_limit(), key.integrity_limit())
            };
            assert_eq!(of(&*ring), of(&*aws));
        }
    }
}
