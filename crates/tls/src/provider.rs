//! Which algorithms are offered and accepted, built once per process; and the QUIC versions whose labels rustls knows.

use crate::error::ConfigError;
#[cfg(target_arch = "x86_64")]
use crate::vaes::{aes_gcm, ring_is_faster};
use mpquic_base::{Cid, Role};
use mpquic_proto::crypto::LevelKeys;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::quic::{Suite, Version};
use rustls::{Side, SupportedCipherSuite};
use std::sync::{Arc, OnceLock};

/// RFC 9001 §5.2.
pub(crate) const QUIC_V1: u32 = 0x0000_0001;
/// RFC 9369 §3.1.
pub(crate) const QUIC_V2: u32 = 0x6b33_43cf;

/// TLS 1.3 only. AES-128-GCM comes first because it seals about a tenth faster than AES-256-GCM.
fn suites() -> Vec<SupportedCipherSuite> {
    [&aes_gcm()[..], &[cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]].concat()
}

#[cfg(not(target_arch = "x86_64"))]
fn aes_gcm() -> [SupportedCipherSuite; 2] {
    [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384]
}

/// Whether it is AWS-LC that seals with AES-GCM here.
pub(crate) fn aws_lc_is_fastest() -> bool {
    !ring_is_faster()
}

#[cfg(not(target_arch = "x86_64"))]
const fn ring_is_faster() -> bool {
    false
}

/// Classical groups, the one whose key share is sent unasked first.
static GROUPS: [&dyn SupportedKxGroup; 3] = [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// The provider for every configuration of this process.
///
/// With `post_quantum` the hybrid X25519MLKEM768 is preferred: its key share of about 1200 bytes makes the
/// ClientHello longer than one packet.
pub(crate) fn provider(post_quantum: bool) -> Arc<CryptoProvider> {
    static CLASSICAL: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    static HYBRID: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let (cell, first): (_, &[&'static dyn SupportedKxGroup]) =
        if post_quantum { (&HYBRID, &[kx_group::X25519MLKEM768]) } else { (&CLASSICAL, &[]) };
    let build = || {
        Arc::new(CryptoProvider {
            cipher_suites: suites(),
            kx_groups: [first, &GROUPS[..]].concat(),
            ..aws_lc_rs::default_provider()
        })
    };
    Arc::clone(cell.get_or_init(build))
}

/// Which ciphers the handshake may choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ciphers {
    /// All of TLS 1.3's that are strong: AES-GCM with both key sizes, and ChaCha20-Poly1305.
    #[default]
    All,
    /// ChaCha20-Poly1305 alone: the quickest where the processor has no instructions for AES.
    ChaCha20,
}

/// As [`provider`], with only some of the ciphers.
pub(crate) fn provider_with(post_quantum: bool, ciphers: Ciphers) -> Arc<CryptoProvider> {
    let all = provider(post_quantum);
    match ciphers {
        Ciphers::All => all,
        Ciphers::ChaCha20 => Arc::new(CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
            ..CryptoProvider::clone(&all)
        }),
    }
}

/// `None` for a version that this crate has no labels for.
pub(crate) fn quic_version(version: u32) -> Option<Version> {
    match version {
        QUIC_V1 => Some(Version::V1),
        QUIC_V2 => Some(Version::V2),
        _ => None,
    }
}

/// Keys of the Initial level. A version other than 1 and 2 gets the keys of version 1: the caller negotiates
/// versions before it asks, and a packet under unexpected keys merely fails to open.
pub(crate) fn initial_keys(version: u32, dcid: &Cid, role: Role) -> LevelKeys {
    let version = quic_version(version).unwrap_or(Version::V1);
    let side = if role.is_client() { Side::Client } else { Side::Server };
    crate::keys::level(initial_suite().keys(dcid.as_slice(), side, version))
}

/// RFC 9001 §5.2: Initial packets always use AES-128-GCM and SHA-256.
fn initial_suite() -> Suite {
    cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .expect("the TLS 1.3 suites of aws-lc-rs all come with QUIC keys")
}

/// Checks the list and brings it into the form rustls wants.
///
/// RFC 9001 §8.1: QUIC without an agreed application protocol is an error, so an empty list cannot work.
pub(crate) fn alpn_list(alpn: &[&[u8]]) -> Result<Vec<Vec<u8>>, ConfigError> {
    if alpn.is_empty() {
        return Err(ConfigError::new("ALPN", "at least one application protocol is needed"));
    }
    // RFC 7301 §3.1: a name has a length of one byte and is not empty.
    if alpn.iter().any(|name| !(1..=255).contains(&name.len())) {
        return Err(ConfigError::new("ALPN", "a protocol name is 1 to 255 bytes long"));
    }
    Ok(alpn.iter().map(|name| name.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_and_x25519_come_first_and_the_hybrid_only_on_request() {
        let names = |pq| provider(pq).kx_groups.iter().map(|g| format!("{:?}", g.name())).collect::<Vec<_>>();
        assert_eq!(names(false), ["X25519", "secp256r1", "secp384r1"]);
        assert_eq!(names(true), ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"]);
        assert_eq!(provider(false).cipher_suites[0], cipher_suite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(provider(false).cipher_suites.len(), 3);
    }

    #[test]
    fn the_provider_is_built_once() {
        assert!(Arc::ptr_eq(&provider(false), &provider(false)));
        assert!(!Arc::ptr_eq(&provider(false), &provider(true)));
    }

    #[test]
    fn an_empty_or_overlong_protocol_list_is_refused() {
        assert!(alpn_list(&[]).is_err());
        assert!(alpn_list(&[b""]).is_err());
        assert!(alpn_list(&[&[b'x'; 256]]).is_err());
        assert_eq!(alpn_list(&[b"h3", b"hq"]), Ok(vec![b"h3".to_vec(), b"hq".to_vec()]));
    }
}
