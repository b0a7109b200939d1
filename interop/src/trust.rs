//! One self-signed certificate, pinned by us and a root of its own for the others.

use crate::exchange::ALPN;
use mpquic::Identity;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The name that the certificate is for and that clients ask for.
pub const NAME: &str = "localhost";

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
    /// For our server, and to be pinned by our client.
    ///
    /// # Panics
    /// Never: it was just made.
    #[must_use]
    pub fn our_identity(&self) -> Identity {
        Identity::from_der(vec![self.certificate.clone()], self.key.clone()).expect("made by rcgen")
    }

    /// A peer's client, for which the certificate is the only root.
    #[must_use]
    pub fn rustls_client(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).expect("made by rcgen");
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls
    }

    #[must_use]
    pub fn rustls_server(&self) -> rustls::ServerConfig {
        let chain = vec![CertificateDer::from(self.certificate.clone())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("made by rcgen");
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
