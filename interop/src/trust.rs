//! One self-signed certificate, pinned by us and a root of its own for the others.

use crate::exchange::ALPN;
use crate::stack::Terms;
use mpquic::Identity;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use std::sync::Arc;

/// The name that the certificate is for and that clients ask for.
pub const NAME: &str = "localhost";
/// Servers that a client keeps tickets of.
const SERVERS: usize = 8;

#[derive(Debug)]
pub struct Trust {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Default for Trust {
    fn default() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a plain name");
        Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }
}

impl Trust {
    /// Encoded (DER).
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Encoded (PKCS#8).
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// For our server, and to be pinned by our client.
    ///
    /// # Panics
    /// Never: it was just made.
    #[must_use]
    pub fn our_identity(&self) -> Identity {
        Identity::from_der(vec![self.certificate.clone()], self.key.clone()).expect("made by rcgen")
    }

    /// A peer's client, for which the certificate is the only root.
    ///
    /// # Panics
    /// Never: the certificate was just made.
    #[must_use]
    pub fn rustls_client(&self, terms: &Terms) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).expect("made by rcgen");
        let mut tls = rustls::ClientConfig::builder_with_provider(provider(terms))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption =
            if terms.tickets { Resumption::in_memory_sessions(SERVERS) } else { Resumption::disabled() };
        tls.enable_early_data = terms.early;
        tls
    }

    /// A peer's server.
    ///
    /// # Panics
    /// Never: certificate and key were made together.
    #[must_use]
    pub fn rustls_server(&self, terms: &Terms) -> rustls::ServerConfig {
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider(terms))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("made by rcgen");
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // RFC 9001 §4.6.1: the only value besides zero.
        tls.max_early_data_size = if terms.early { u32::MAX } else { 0 };
        tls
    }
}

fn provider(terms: &Terms) -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    if terms.chacha {
        provider.cipher_suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    }
    Arc::new(provider)
}
