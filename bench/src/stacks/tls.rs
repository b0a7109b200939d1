//! rustls, for the stacks that take its configuration: AES-128-GCM (by the quicker of two libraries) and X25519 first, as in
//! ours, and no resumption.

use super::ALPN;
use super::aead::is_ring_quicker;
use crate::Failure;
use crate::stack::Certificate;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::ring::cipher_suite as by_ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use std::sync::Arc;

pub(super) fn server(certificate: &Certificate) -> Result<rustls::ServerConfig, Failure> {
    let chain = vec![CertificateDer::from(certificate.der.clone())];
    let key = PrivatePkcs8KeyDer::from(certificate.key.clone());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

pub(super) fn client(certificate: &Certificate) -> Result<rustls::ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der.clone()))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

fn provider() -> Arc<CryptoProvider> {
    let quicker = is_ring_quicker();
    let aes_128 =
        if quicker { by_ring::TLS13_AES_128_GCM_SHA256 } else { cipher_suite::TLS13_AES_128_GCM_SHA256 };
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aes_128,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    })
}
